"""The batch against its goals: `python -m tests.benchmarks.bulk [--megabytes 100]`.

All figures are of one run on one machine; ratios count, not rows a second. The start of the command is taken off. The
rows are made here from the texts of tests/data and the titles of ICD-10-CM, from a fixed seed. The rounds of a
comparison take turns, and the median counts.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import multiprocessing
import os
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from service.assist import open_assist
from service.bulk_files import Part, Source, parts_of, pieces_of
from service.gate import Gate
from service.settings import Settings
from service.shipped import terminology_dir
from tests.benchmarks.figures import pss

DATA = Path(__file__).parent.parent / "data"
TEXTS = [json.loads(line)["text"] for line in (DATA / "statements.jsonl").read_text("utf-8").splitlines()]
REPORTS = [json.loads(line)["text"] for line in (DATA / "reports.jsonl").read_text("utf-8").splitlines()]
TERMS = "http://terminology.hl7.org/CodeSystem"
RELEVANT = 0.005
FORK = multiprocessing.get_context("fork")


def titles() -> list[tuple[str, str]]:
    """Codes of other chapters, billable, with their titles."""
    packed = (terminology_dir() / "icd-10-cm" / "codes.csv.gz").read_bytes()
    rows = csv.reader(gzip.decompress(packed).decode().splitlines()[1:])
    return [(row[0], row[3]) for row in rows if row[1] == "1" and "2026" in row[2] and row[0][0] in "AEFIJKLNR"]


def condition(number: int, code: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A problem-list item as a server exports it, about 950 bytes."""

    def concept(system: str, value: str) -> dict[str, Any]:
        return {"coding": [{"system": f"{TERMS}/{system}", "code": value, "display": value.capitalize()}]}

    return {
        "resourceType": "Condition",
        "id": f"c{number}",
        "meta": {
            "versionId": "1",
            "lastUpdated": f"2026-10-20T08:{number // 60 % 60:02}:{number % 60:02}.000+00:00",
            "profile": ["http://hl7.org/fhir/us/core/StructureDefinition/us-core-condition-problems-health-concerns"],
        },
        "clinicalStatus": concept("condition-clinical", "active"),
        "verificationStatus": concept("condition-ver-status", "confirmed"),
        "category": [concept("condition-category", "problem-list-item")],
        "code": code,
        "subject": {"reference": f"Patient/p{number // 8}"},
        "onsetDateTime": "2026-01-05",
        "recordedDate": f"2026-10-{1 + number % 28:02}",
        "asserter": {"reference": f"Practitioner/d{number % 300}"},
        **more,
    }


def stream(megabytes: int, draw: random.Random, *, anew: bool = False) -> Iterator[bytes]:
    """Conditions of which one in two hundred is relevant: of 500 wordings, or each `anew` in words of its own."""
    known, written, number = titles(), 0, 0
    common = [draw.choice(known) for _ in range(3000)]
    while written < megabytes * 1_000_000:
        if draw.random() < RELEVANT:
            row = condition(number, {"text": draw.choice(TEXTS) + (f" ({number})" if anew else "")})
        else:
            code, title = draw.choice(common)
            coding = {"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": code, "display": title}
            text = f"{title}, seen {number}" if number % 10 == 0 else title
            row = condition(number, {"coding": [coding], "text": text})
        line = json.dumps(row, separators=(",", ":")).encode() + b"\n"
        written += len(line)
        number += 1
        yield line


def relevant(rows: int, distinct: int, draw: random.Random) -> Iterator[bytes]:
    """Short Conditions, all relevant, of so many different texts."""
    for number in range(rows):
        text = f"{TEXTS[number % distinct % len(TEXTS)]} {number % distinct // len(TEXTS) or ''}".strip()
        yield (
            json.dumps(
                {
                    "resourceType": "Condition",
                    "id": f"c{number}",
                    "subject": {"reference": f"Patient/p{draw.randrange(rows)}"},
                    "code": {"text": text},
                    "recordedDate": "2026-10-20",
                }
            ).encode()
            + b"\n"
        )


def visits(count: int, draw: random.Random) -> list[list[bytes]]:
    """Conditions, reports and encounters, each in a file of its own and in any order; one visit in twenty relevant."""
    known, files = titles(), [list[bytes](), list[bytes](), list[bytes]()]
    outpatient = {"system": f"{TERMS}/v3-ActCode", "code": "AMB"}
    for visit in range(count):
        ours = visit % 20 == 0
        about = {"subject": {"reference": f"Patient/p{visit // 4}"}, "encounter": {"reference": f"Encounter/e{visit}"}}
        for place in range(3):
            code, title = draw.choice(known)
            coding = {"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": code, "display": title}
            said = {"text": f"{draw.choice(TEXTS)} ({visit})"} if ours and place == 0 else {"coding": [coding]}
            row = condition(3 * visit + place, said) | about
            files[0].append(json.dumps(row).encode())
        report = {
            "resourceType": "DiagnosticReport", "id": f"r{visit}", "status": "final", "code": {"text": "MRI spine"},
            "effectiveDateTime": "2026-10-01", **about,
            "conclusion": draw.choice(REPORTS) if ours else f"Chest film {visit} without infiltrate or effusion.",
        }  # fmt: skip
        files[1].append(json.dumps(report).encode())
        met = {
            "resourceType": "Encounter", "id": f"e{visit}", "status": "finished", "class": outpatient,
            "subject": about["subject"], "period": {"start": "2026-10-05", "end": "2026-10-05"},
        }  # fmt: skip
        files[2].append(json.dumps(met).encode())
    for file in files:
        draw.shuffle(file)
    return files


# --- measuring ----------------------------------------------------------------------------------------------------


def seconds(work: Callable[[], object]) -> float:
    """CPU time of this process."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def check(files: list[Path], output: Path, workers: int = 1) -> tuple[float, float, float]:
    """Wall seconds of the command as it counts them (without its start), CPU seconds in all, peak MiB."""
    command = [sys.executable, "-m", "service.cli", "check", *files, "--output", output, "--workers", str(workers)]
    before = os.times()
    with subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True) as process:
        peak = Peak(process.pid)
        told = process.communicate()[1]
    after = os.times()
    assert process.returncode in (0, 1, 2), told
    wall = float(re.findall(r", (\d+\.\d) s, ", told)[-1])
    return wall, after.children_user + after.children_system - before.children_user - before.children_system, peak.end()


class Peak:
    """The most memory, shared pages shared out (PSS), that a process and its children take; looked at often."""

    def __init__(self, root: int) -> None:
        self._root, self._most, self._over = root, 0.0, False
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> float:
        self._over = True
        self._thread.join()
        return self._most

    def _watch(self) -> None:
        while not self._over:
            self._most = max(self._most, sum(map(pss, _family(self._root))))
            time.sleep(0.1)


def _family(root: int) -> list[int]:
    try:
        children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    except OSError:
        return []
    return [root, *(one for child in children for one in _family(int(child)))]


def written(path: Path, lines: Iterator[bytes] | list[bytes]) -> int:
    """How many lines a new file has."""
    count = 0
    with path.open("wb") as target:
        for line in lines:
            target.write(line if line.endswith(b"\n") else line + b"\n")
            count += 1
    return count


def loaded(path: Path) -> None:
    """Every line read by orjson, and nothing more done with it."""
    with path.open("rb") as lines:
        for line in lines:
            orjson.loads(line)


def loaded_at_once(path: Path, processes: int) -> float:
    """Seconds by the clock in which so many processes, each with its share, read every line by orjson."""
    parts = list(parts_of([Source(path.name, path, path.stat().st_size, is_ndjson=True)]))
    running = [FORK.Process(target=_loaded_parts, args=(path, parts[n::processes])) for n in range(processes)]
    begun = time.monotonic()
    for each in running:
        each.start()
    for each in running:
        each.join()
    return time.monotonic() - begun


def _loaded_parts(path: Path, parts: list[Part]) -> None:
    for part in parts:
        for piece in pieces_of(path, part):
            for line in BytesIO(piece.block):
                orjson.loads(line)


def looked_at(path: Path, gate: Gate) -> None:
    """Every line looked at by the gate, as the batch does it."""
    for part in parts_of([Source(path.name, path, path.stat().st_size, is_ndjson=True)]):
        for piece in pieces_of(path, part):
            gate.passing(piece.block)


def told(name: str, figure: str, goal: str = "") -> None:
    print(f"{name:<64} {figure:>18}   {goal}", flush=True)


def started(folder: Path, workers: int) -> tuple[float, float]:
    """Wall and CPU seconds of the command on a single row: its start."""
    file = folder / "one.ndjson"
    written(file, relevant(1, 1, random.Random(0)))
    return check([file], folder / "out", workers)[:2]


def worked(files: list[Path], folder: Path, workers: int = 1) -> tuple[float, float]:
    """Wall and CPU seconds of the command without its start."""
    begun = started(folder, workers)
    wall, cpu, _ = check(files, folder / "out", workers)
    return max(wall - begun[0], 0.1), cpu - begun[1]


def measure_stream(folder: Path, megabytes: int, rounds: int, *, anew: bool) -> None:
    """The gate and the whole command, its start taken off, against orjson.loads on the same lines."""
    file = folder / "stream.ndjson"
    rows = written(file, stream(megabytes, random.Random(1), anew=anew))
    assist = open_assist(Settings())
    found: dict[str, list[float]] = {
        name: [] for name in ("loads", "alone", "halved", "gate", "one", "wall", "two", "both")
    }
    for _ in range(rounds):
        found["loads"].append(seconds(lambda: loaded(file)))
        found["alone"].append(loaded_at_once(file, 1))
        found["halved"].append(loaded_at_once(file, 2))
        gate = Gate(assist.terminology, assist.reader.concepts)  # which has met nothing yet
        found["gate"].append(seconds(partial(looked_at, file, gate)))
        wall, cpu = worked([file], folder)
        found["wall"].append(wall)
        found["one"].append(cpu)
        wall, cpu = worked([file], folder, 2)
        found["two"].append(wall)
        found["both"].append(cpu)
    took = {name: statistics.median(each) for name, each in found.items()}
    spread = f"{min(found['one']):.1f} to {max(found['one']):.1f} s"
    wordings = "each in words of its own" if anew else "of 500 wordings"
    print(f"{rows} Conditions, {megabytes} MB, {RELEVANT:.1%} relevant, {wordings}; medians of {rounds}")
    told("orjson.loads alone", f"{rows / took['loads']:,.0f} rows/s")
    told("gate alone", f"{rows / took['gate']:,.0f} rows/s", f"{took['loads'] / took['gate']:.2f} x orjson.loads")
    told("coding-assist check, 1 process, CPU time too", f"{rows / took['one']:,.0f} rows/s", spread)
    told("  against orjson.loads alone", f"{took['loads'] / took['one']:.2f} x", "goal >= 0.8, stretch 1.1")
    told(
        "coding-assist check, 2 processes, against 1, by the clock",
        f"{took['wall'] / took['two']:.2f} x",
        "goal >= 1.7",
    )
    told("  the same by CPU time, were both cores ours", f"{2 * took['one'] / took['both']:.2f} x")
    told(
        "  of orjson.loads with nothing shared, by the clock",
        f"{took['alone'] / took['halved']:.2f} x",
        "what this machine gives",
    )


def measure_relevant(folder: Path, rows: int) -> None:
    """Short rows that are all relevant: of few wordings, as problem lists are, and of nothing but new ones."""
    for distinct in (500, rows):
        file = folder / f"relevant-{distinct}.ndjson"
        written(file, relevant(rows, distinct, random.Random(2)))
        took = statistics.median(worked([file], folder)[1] for _ in range(3))
        told(
            f"relevant short rows, {rows} of {distinct} wordings, CPU time",
            f"{rows / took:,.0f} rows/s",
            "goal >= 5,000",
        )


def measure_join(folder: Path, count: int) -> None:
    """Three files in any order."""
    files = []
    for name, lines in zip(("conditions", "reports", "encounters"), visits(count, random.Random(3)), strict=True):
        files.append(folder / f"{name}.ndjson")
        written(files[-1], lines)
    for workers in (1, 2):
        wall, _, peak = check(files, folder / "out", workers)
        told(f"joined: {count} visits, {5 * count} rows, {workers} process(es)", f"{5 * count / wall:,.0f} rows/s",
             f"peak {peak:.0f} MiB")  # fmt: skip


def measure_memory(folder: Path, sizes: tuple[int, int]) -> None:
    """The peak against the size of the file."""
    peaks = []
    for megabytes in sizes:
        file = folder / "memory.ndjson"
        written(file, stream(megabytes, random.Random(4)))
        peaks.append(check([file], folder / "out")[2])
        told(f"peak memory, {megabytes} MB, 1 process", f"{peaks[-1]:.0f} MiB")
    told("  of the larger file against the smaller", f"{peaks[1] / peaks[0]:.2f} x", "goal <= 1.2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000, help="of the stream of Conditions")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=50_000, help="relevant short rows")
    parser.add_argument("--visits", type=int, default=20_000)
    parser.add_argument("--memory", type=int, nargs=2, default=(100, 1000), help="sizes of file in MB")
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        measure_stream(Path(name), options.megabytes, options.rounds, anew=False)
        measure_stream(Path(name), options.megabytes, options.rounds, anew=True)
        measure_relevant(Path(name), options.rows)
        measure_join(Path(name), options.visits)
        measure_memory(Path(name), tuple(options.memory))


if __name__ == "__main__":
    main()
