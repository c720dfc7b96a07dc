"""What a batch writes: findings that appear under their name only when they are whole, and go on after a kill.

Beside the output `F` lies, while it is unfinished, the folder `.F.part`: the findings so far, and a journal that says
how many parts of the inputs they stand for. What was written behind the journal's last word is cut off and found again,
so no finding is lost and none stands there twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, BinaryIO

from service import __version__
from service.batch import COUNTERS, Tally
from service.settings import Settings
from service.shipped import terminology_dir

KEPT_EVERY = 1.0  # seconds; what was under way since is done again after a kill
_JOURNAL, _FINDINGS = "journal.json", "findings.ndjson"


class Journal:
    """How far a batch has come: `done` parts, the line `at` which it stands, the figures so far."""

    def __init__(self, path: Path | None = None, fingerprint: str = "") -> None:
        self._path, self._fingerprint = path, fingerprint
        self.done, self.at, self.joined, self.tally = 0, (0, 0), False, Tally()
        self._kept_at = time.monotonic()

    def resume(self, output: BinaryIO) -> None:
        """Go on where a run over the same inputs was interrupted, if there is one; else begin with nothing."""
        kept = self._kept()
        if kept:
            self.done, self.at, self.joined = kept["done"], (kept["at"][0], kept["at"][1]), kept["joined"]
            self.tally = _tally_of(kept["tally"])
        output.truncate(kept["size"] if kept else 0)
        output.seek(0, os.SEEK_END)

    def begin_joined(self) -> None:
        """The parts are judged anew, visit by visit."""
        self.done, self.at, self.joined, self.tally = 0, (0, 0), True, Tally()

    def keep(self, output: BinaryIO, tally: Tally, at: tuple[int, int]) -> None:
        """One more part is done; about once a second all is brought to the disk."""
        self.done, self.at, self.tally = self.done + 1, at, tally
        if self._path and time.monotonic() - self._kept_at >= KEPT_EVERY:
            self._keep(self._path, output)
            self._kept_at = time.monotonic()

    def _keep(self, path: Path, output: BinaryIO) -> None:
        output.flush()
        os.fsync(output.fileno())
        page = {
            "fingerprint": self._fingerprint,
            "done": self.done,
            "at": self.at,
            "joined": self.joined,
            "size": output.tell(),
            "tally": asdict(self.tally) | {name: list(getattr(self.tally, name).items()) for name in COUNTERS},
        }
        beside = path.with_suffix(".new")
        with beside.open("w", encoding="utf-8") as stream:
            json.dump(page, stream)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)

    def _kept(self) -> dict[str, Any] | None:
        try:
            page = json.loads(self._path.read_text("utf-8")) if self._path else None
        except (OSError, ValueError):
            return None
        return page if isinstance(page, dict) and page.get("fingerprint") == self._fingerprint else None


def _tally_of(page: dict[str, Any]) -> Tally:
    tally = Tally(**{name: value for name, value in page.items() if name not in COUNTERS})
    for name in COUNTERS:
        for key, count in page[name]:
            getattr(tally, name)[tuple(key) if isinstance(key, list) else key] = count
    return tally


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Where a batch writes while it runs."""

    findings: BinaryIO
    folder: Path
    journal: Journal


@contextmanager
def unfinished(target: Path | None, inputs: Sequence[str], settings: Settings, *, every: bool) -> Iterator[Unfinished]:
    """The findings of a batch; at the end they stand in the target (standard output where there is none).

    Where the batch is interrupted, what it had is kept for the same command to go on with, if it had come far enough
    and reads files alone.
    """
    beside = target.resolve() if target and (target.is_file() or not target.exists()) else None
    folder = beside.with_name(f".{beside.name}.part") if beside else Path(mkdtemp(prefix="coding-assist-"))
    repeatable = bool(beside) and all(Path(name).is_file() for name in inputs)
    keep = False
    try:
        folder.mkdir(exist_ok=True)
        journal = Journal(folder / _JOURNAL if repeatable else None, _fingerprint(inputs, settings, every=every))
        (folder / _FINDINGS).touch()
        with (folder / _FINDINGS).open("r+b") as findings:
            journal.resume(findings)
            yield Unfinished(findings, folder, journal)
            findings.flush()
        _deliver(folder / _FINDINGS, target, beside)
    except BaseException:
        keep = (folder / _JOURNAL).exists()
        raise
    finally:
        _clear(folder, keep=keep)


def _fingerprint(inputs: Sequence[str], settings: Settings, *, every: bool) -> str:
    """Of all that the findings rest on: the inputs, the settings, the terminology and the software."""
    folder = settings.terminology or terminology_dir()
    files = [Path(name) for name in inputs if name != "-"] + sorted(p for p in folder.rglob("*") if p.is_file())
    states = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr((list(inputs), states, settings, every, __version__)).encode()).hexdigest()


def _deliver(findings: Path, target: Path | None, beside: Path | None) -> None:
    if beside and beside.suffix == ".parquet":
        write_parquet(findings, findings.with_suffix(".parquet"))
        findings.with_suffix(".parquet").replace(beside)
    elif beside:
        findings.replace(beside)
    else:
        with findings.open("rb") as stream:
            if target:  # a pipe or /dev/null is written to, never replaced
                with target.open("wb") as taker:
                    shutil.copyfileobj(stream, taker)
            else:
                shutil.copyfileobj(stream, sys.stdout.buffer)


def _clear(folder: Path, *, keep: bool) -> None:
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for file in folder.iterdir():  # what was unpacked or indexed is made anew
        if file.name not in (_JOURNAL, _FINDINGS):
            file.unlink()


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name only when it is complete."""
    target = path.resolve()
    if target.exists() and not target.is_file():  # a pipe or /dev/null is written to, never replaced
        with target.open("wb") as stream:
            yield stream
        return
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as stream:
            yield stream
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


# --- Parquet ------------------------------------------------------------------------------------------------------

ROWS_AT_ONCE = 20_000


def write_parquet(findings: Path, target: Path) -> None:
    """The findings once more as Parquet, a column for each key; lists and issues keep their shape."""
    import pyarrow  # noqa: PLC0415  # an extra: only who asks for Parquet needs it
    import pyarrow.parquet  # noqa: PLC0415

    text, texts = pyarrow.string(), pyarrow.list_(pyarrow.string())

    def record(*names: str) -> Any:
        return pyarrow.struct([(name, text) for name in names])

    schema = pyarrow.schema(
        [
            ("input", text),
            ("line", pyarrow.int64()),
            ("condition", text),
            ("disposition", text),
            ("suggestions", texts),
            ("candidates", texts),
            ("ask", texts),
            ("issues", pyarrow.list_(record("code", "severity", "expression", "rule"))),
            ("release", record("date", "pack", "packVersion", "icd10cm", "software")),
            ("error", text),
        ]
    )
    with findings.open("rb") as lines, pyarrow.parquet.ParquetWriter(target, schema, compression="zstd") as writer:
        while rows := [json.loads(line) for _, line in zip(range(ROWS_AT_ONCE), lines, strict=False)]:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
