"""Writes docs/BENCHMARKS.md: what a call costs beside a bare Flask view and beside peers, measured in one run.

    make bench        (python -m tests.benchmarks PYTHON_OF_THE_PEERS)

Ours and the peers take turns, three rounds each, since absolute times drift. A peer that is missing fails the run.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles

from service.compiled import is_current
from tests.benchmarks import hook

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent.parent / "docs" / "BENCHMARKS.md"
TURNS = 3
PACKAGES = ("flask", "gunicorn", "waitress", "fhir.resources", "msgspec", "SQLAlchemy")
_HEADER = "| what | median | middle half | times the floor |"
Costs = dict[str, list[float]]


def main(peers_python: str) -> None:
    ours, peers, versions = Costs(), Costs(), dict[str, str]()
    with tempfile.NamedTemporaryFile(suffix=".json") as call:
        Path(call.name).write_bytes(hook.in_scope_call())
        for _ in range(TURNS):
            _add(ours, _ours())
            told = _peers(peers_python, call.name)
            _add(peers, {f"{one['name']} ({one['version']})": one["costs"] for one in told})
    versions = {package: version(package) for package in PACKAGES}
    TARGET.write_text("\n".join(_page(ours, peers, versions)) + "\n", encoding="utf-8")
    print(f"{TARGET.name} is written.")


def _add(kept: Costs, new: Costs) -> None:
    for name, costs in new.items():
        kept.setdefault(name, []).extend(costs)


def _ours() -> Costs:
    """A process of its own each time, as the collector is frozen in it."""
    code = "import json; from tests.benchmarks import hook; print(json.dumps(hook.costs()))"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    costs: Costs = json.loads(told.stdout.splitlines()[-1])
    return costs


def _peers(python: str, call: str) -> Iterator[dict[str, object]]:
    command = [python, str(HERE / "peers.py"), call, str(hook.REPORTS), "200"]
    told = subprocess.run(command, check=True, capture_output=True, text=True)
    return map(json.loads, told.stdout.splitlines())


def _page(ours: Costs, peers: Costs, versions: dict[str, str]) -> Iterator[str]:
    floor = median(next(iter(ours.values())))
    yield "# Benchmarks"
    yield ""
    yield "Made by `make bench`, all in one run; look at the ratios, since absolute times drift with the machine. CPU"
    yield f"microseconds of a call, {TURNS} turns of 200 rounds, ours and the peers in turn. Nothing is left out:"
    yield "the call is validated, read, ruled on, answered with its cards, recorded for the audit and logged. The peers"
    yield "get the same body; HealthChain answers it with a card that is made beforehand."
    yield ""
    processor = platform.processor() or platform.machine()
    yield f"Python {platform.python_version()}, {platform.system()} on {processor}, {os.cpu_count()} cores; core "
    yield f"{'compiled' if is_current() else 'not compiled'}; {', '.join(f'{n} {v}' for n, v in versions.items())}."
    yield ""
    yield _HEADER
    yield "|---|---:|---:|---:|"
    for name, costs in {**ours, **peers}.items():
        low, _, high = quantiles(costs, n=4)
        half = median(costs)
        yield f"| {name.strip()} | {half:,.0f} | {low:,.0f} to {high:,.0f} | {half / floor:.2f} |"
    yield ""
    yield "Reading alone, growth and 50 packs: `python tests/benchmarks/reader.py`; batches: `python -m"
    yield "tests.benchmarks.bulk`; what the audit costs: `python tests/benchmarks/audit.py`."


if __name__ == "__main__":
    main(*sys.argv[1:])
