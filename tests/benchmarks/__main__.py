"""Writes docs/BENCHMARKS.md: all figures beside bare Flask, beside peers and beside the goals, measured in one run.

    make bench        (python -m tests.benchmarks PYTHON_OF_THE_PEERS [--soak FILE])

Each program runs in a process of its own, one after the other; one that fails ends the run, and the page stays as it
was. The soak takes an hour: what `python -m tests.benchmarks.soak` printed is given as a file.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from service.compiled import is_current
from tests.benchmarks.figures import processor
from tests.benchmarks.load import require_tools

REPO = Path(__file__).resolve().parent.parent.parent
TARGET = REPO / "docs" / "BENCHMARKS.md"
PACKAGES = ("flask", "gunicorn", "waitress", "msgspec", "orjson", "fhir.resources", "SQLAlchemy")
PEER_PACKAGES = ("healthchain", "granian", "negspacy", "spacy")
PEERS = "PYTHON_OF_THE_PEERS"


class Section(NamedTuple):
    """A part of the page: what a program prints."""

    title: str
    command: tuple[str, ...]


SECTIONS = (
    Section("A call", ("call", PEERS)),
    Section("Requests a second and waits", ("load", PEERS)),
    Section("Growth", ("growth",)),
    Section("Cold start and memory", ("start",)),
    Section("Reading alone", ("reader",)),
    Section("The batch", ("bulk", "--rounds", "3")),
    Section("What the audit costs", ("audit",)),
)


def main() -> None:
    """Measure and write the page; CalledProcessError when a program fails."""
    parser = argparse.ArgumentParser(description="Writes docs/BENCHMARKS.md.")
    parser.add_argument("peers", help="Python of the environment that has the peers")
    parser.add_argument("--soak", type=Path, help="what an earlier run of tests.benchmarks.soak printed")
    options = parser.parse_args()
    require_tools()
    peers = versions_of_peers(options.peers)
    load, begun = os.getloadavg()[0], time.monotonic()
    told = [(section, _printed(section, options.peers)) for section in SECTIONS]
    written = page(told, peers, (time.monotonic() - begun) / 60, load, options.soak)
    TARGET.write_text("\n".join(written) + "\n", encoding="utf-8")
    print(f"{TARGET.name} is written.")


def _printed(section: Section, peers: str) -> str:
    """What the program prints, shown as it comes."""
    program, *options = (peers if part == PEERS else part for part in section.command)
    print(f"\n{section.title}", flush=True)
    command = [sys.executable, "-m", f"tests.benchmarks.{program}", *options]
    with subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        lines = []
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return "".join(lines)


def page(told: list[tuple[Section, str]], peers: str, minutes: float, load: float, soak: Path | None) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield f"Made by `make bench` on {datetime.now(UTC):%Y-%m-%d}, all in one run of {minutes:.0f} minutes. Absolute"
    yield "times drift with the machine, so look at the ratios: what is compared took turns. Nothing of ours is left"
    yield "out: a call is validated, read, ruled on, answered with its cards, recorded for the audit and logged. The"
    yield "goals are our own; where one is missed, it says so."
    yield ""
    yield f"- Machine: {processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"
    yield f"- Load before the run: {load:.1f} (above 0.3, others were at work, and the figures are worth less)"
    yield f"- Python {platform.python_version()}, core {'compiled' if is_current() else 'NOT compiled'}"
    yield f"- Ours: {', '.join(f'{name} {version(name)}' for name in PACKAGES)}"
    yield f"- Peers: {peers}"
    for section, printed in told:
        yield from _section(section.title, section.command, printed)
    if soak:
        yield from _section("Soak", ("soak",), soak.read_text("utf-8"))


def _section(title: str, command: tuple[str, ...], printed: str) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    yield ""
    yield f"`python -m tests.benchmarks.{' '.join(command)}`"
    yield ""
    yield "```text"
    yield printed.strip("\n")
    yield "```"


def versions_of_peers(python: str) -> str:
    """Their names and versions; the run ends when one is missing."""
    code = (
        "import sys; from importlib.metadata import version as v; print(', '.join(f'{n} {v(n)}' for n in sys.argv[1:]))"
    )
    found = subprocess.run([python, "-c", code, *PEER_PACKAGES], capture_output=True, text=True, check=False)
    if found.returncode:
        sys.exit(f"A peer is missing, so nothing is measured: {found.stderr.splitlines()[-1]}. Run `make bench`.")
    return found.stdout.strip()


if __name__ == "__main__":
    main()
