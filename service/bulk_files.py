"""The files of a batch cut into parts that any process can read by itself, and lines told apart in them.

What is packed (gzip) or comes through a pipe is first laid down unpacked: a report on the last line may belong to the
Condition on the first.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

from service.json_body import Issue, Refusal

# Room for a Bundle of a long stay with scanned reports; a file without line ends must not fill the memory.
MAX_RECORD = 32 * 1024 * 1024
PART_BYTES = 1024 * 1024
PIECE_BYTES = 64 * 1024  # what lies in the processor's cache while its lines are looked at
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Source:
    """One input: the name that the user gave, and the plain file that holds its bytes."""

    name: str
    path: Path
    size: int
    is_ndjson: bool


@dataclass(frozen=True, slots=True)
class Part:
    """The lines of a source that begin from `start` to before `end`; of a JSON file the whole."""

    source: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line with its number in the part (from 1), where it starts in the file, and the bytes that it takes there."""

    number: int
    start: int
    body: bytes
    size: int


class Piece(NamedTuple):
    """Whole lines that follow each other: where the first one starts, their bytes, and how many they are in the file.

    Of a line that is longer than MAX_RECORD only the beginning is kept; a piece ends behind it.
    """

    start: int
    block: bytes
    size: int

    def lines(self) -> Iterator[tuple[bytes, int]]:
        """The bytes of each line without its end, and how many it takes in the file with it."""
        left_out = self.size - len(self.block)  # of a line too long, which then has no end here
        for line in BytesIO(self.block):
            body = line.removesuffix(b"\n")
            yield body, len(line) if len(body) < len(line) else len(line) + left_out


def lay_down(names: Iterable[str], folder: Path) -> list[Source]:
    """The inputs as plain files; what has to be unpacked goes into the folder."""
    return [_source(name, folder / f"{number}.unpacked") for number, name in enumerate(names)]


def parts_of(sources: Sequence[Source]) -> Iterator[Part]:
    """All parts in the order of the files."""
    for number, source in enumerate(sources):
        step = PART_BYTES if source.is_ndjson else max(source.size, 1)
        for start in range(0, source.size, step):
            yield Part(number, start, min(start + step, source.size))


def pieces_of(path: Path, part: Part) -> Iterator[Piece]:
    """The lines that begin in a part; the last one may end beyond it."""
    with path.open("rb") as stream:
        start = _next_line(stream, part)
        stream.seek(start)
        while block := stream.read(max(0, min(part.end - start, PIECE_BYTES))):
            rest = b"" if block.endswith(b"\n") else stream.readline(MAX_RECORD + 2)
            block += rest
            size = len(block)
            while rest and not rest.endswith(b"\n"):
                rest = stream.readline(PART_BYTES)
                size += len(rest)
            yield Piece(start, block, size)
            start += size


def lines_of(path: Path, part: Part) -> Iterator[Line]:
    """The lines that begin in a part, one by one."""
    number = 0
    for piece in pieces_of(path, part):
        start = piece.start
        for body, size in piece.lines():
            number += 1
            yield Line(number, start, body, size)
            start += size


def read_document(source: Source) -> tuple[bytes, int]:
    """The bytes of a JSON file, at most just more than MAX_RECORD, and how many it has."""
    with source.path.open("rb") as stream:
        return stream.read(MAX_RECORD + 1), source.size


def read_at(stream: BinaryIO, start: int, size: int) -> bytes:
    """One line again, by its place."""
    stream.seek(start)
    return stream.read(min(size, MAX_RECORD + 2))


def _source(name: str, unpacked: Path) -> Source:
    path = Path(name)
    if name == "-" or not path.is_file() or _is_packed(path):
        _unpack(name, unpacked)
        path = unpacked
    with path.open("rb") as stream:
        is_ndjson = _is_ndjson(name.lower().removesuffix(".gz"), stream)
    return Source(name, path, path.stat().st_size, is_ndjson)


def _is_packed(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == _GZIP


def _unpack(name: str, unpacked: Path) -> None:
    with ExitStack() as opened:
        raw = sys.stdin.buffer if name == "-" else opened.enter_context(Path(name).open("rb"))
        begins = raw.read(2)
        target = opened.enter_context(unpacked.open("wb"))
        if begins != _GZIP:
            target.write(begins)
            shutil.copyfileobj(raw, target, PART_BYTES)
            return
        try:
            with gzip.GzipFile(fileobj=_Again(begins, raw), mode="rb") as stream:
                shutil.copyfileobj(stream, target, PART_BYTES)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            sentence = f"{name} is not a whole gzip file; fetch it again, or unpack it to see how far it goes."
            raise Refusal(400, [Issue("error", "structure", sentence)]) from None


class _Again:
    """A stream whose first bytes were read already, to tell what it is."""

    def __init__(self, begins: bytes, rest: BinaryIO) -> None:
        self._begins, self._rest = begins, rest

    def read(self, size: int = -1, /) -> bytes:
        """The first bytes once more, then the rest."""
        begins, self._begins = self._begins, b""
        return begins or self._rest.read(size)

    def seek(self, _offset: int, /) -> NoReturn:
        """Only there for who looks whether it can be wound back: it cannot."""
        raise OSError("a pipe cannot be wound back")


def _is_ndjson(name: str, stream: BinaryIO) -> bool:
    """By the name, else by a line that is a record of its own: the second may be the one, where the first is broken."""
    if name.endswith((".ndjson", ".jsonl")):
        return True
    objects = [_json_object(line) for line in _first_lines(stream)]
    return any(found is not None and (index == 0 or "resourceType" in found) for index, found in enumerate(objects))


def _first_lines(stream: BinaryIO) -> list[bytes]:
    """The first two that are not blank."""
    found: list[bytes] = []
    while len(found) < 2 and (line := stream.readline(MAX_RECORD + 2)):
        if line.strip():
            found.append(line)
    return found


def _json_object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _next_line(stream: BinaryIO, part: Part) -> int:
    """Where the first line that begins in the part does; somewhere beyond its end where none does."""
    if part.start == 0:
        return 0
    stream.seek(part.start - 1)
    while piece := stream.readline(PART_BYTES):
        if piece.endswith(b"\n") or stream.tell() >= part.end:
            break
    return stream.tell()
