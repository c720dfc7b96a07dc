"""What a call costs in CPU beside bare Flask and beside peers, in turns: the cost of each, and the goals.

    python -m tests.benchmarks.call PYTHON_OF_THE_PEERS [--rounds 200] [--turns 3]

The peers get the same input; HealthChain answers the call with a card that is made beforehand, negspacy reads reports.
A peer that is missing fails the run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.benchmarks import hook
from tests.benchmarks.figures import Goal, heading, tell

HERE = Path(__file__).resolve().parent
READING_KB = 2
Costs = dict[str, list[float]]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="CPU of a call beside bare Flask and beside peers.")
    parser.add_argument("peers", help="Python of the environment that has the peers")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    ours, peers = Costs(), Costs()
    with tempfile.NamedTemporaryFile(suffix=".json") as body:
        Path(body.name).write_bytes(hook.calls()[hook.IN_SCOPE])
        for _ in range(options.turns):
            _add(ours, _ours(options.rounds))
            told = _peers(options.peers, body.name, options.rounds)
            _add(peers, {f"{one['name']} ({one['version']})": one["costs"] for one in told})
    tell_ours(ours)
    tell_peers(peers, ours)


def tell_ours(costs: Costs) -> None:
    """Each call of ours, and what the goals ask of them."""
    heading("CPU us of a call")
    goals = {hook.OUT_OF_SCOPE: Goal(250), hook.IN_SCOPE: Goal(900)}
    for name, found in costs.items():
        tell(name, found, goals.get(name))
    half = {name: median(found) for name, found in costs.items()}
    beside = [call - half[hook.READING] for call in costs[hook.IN_SCOPE]]
    tell("in scope, all but the reading of the report", beside, Goal(400))
    added = [call - half[hook.IN_SCOPE] for call in costs[hook.WITH_TOKEN]]
    tell("what an RS384 token adds", added, Goal(100))
    print()
    heading("Against bare Flask, which is 1")
    for name in (hook.OUT_OF_SCOPE, hook.IN_SCOPE):
        goal = Goal(0.4, at_least=True) if name == hook.OUT_OF_SCOPE else None
        tell(f"{name}: calls for the same CPU", [half[hook.FLOOR] / half[name]], goal, 2)


def tell_peers(peers: Costs, ours: Costs) -> None:
    """Each peer beside what of ours takes the same input."""
    print()
    heading("Peers, CPU us")
    reading = median(ours[hook.READING]) / READING_KB
    for name, found in peers.items():
        tell(name, found)
        beside = reading if "each kB" in name else median(ours[hook.IN_SCOPE])
        what = "our reading of a kB" if "each kB" in name else "our call in scope"
        tell(f"  {what}, times that", [beside / median(found)], None, 2)


def _add(kept: Costs, new: Costs) -> None:
    for name, costs in new.items():
        kept.setdefault(name, []).extend(costs)


def _ours(rounds: int) -> Costs:
    """A process of its own each time, as the collector is frozen in it."""
    code = f"import json; from tests.benchmarks import hook; print(json.dumps(hook.costs({rounds})))"
    told = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    costs: Costs = json.loads(told.stdout.splitlines()[-1])
    return costs


def _peers(python: str, body: str, rounds: int) -> Iterator[dict[str, object]]:
    command = [python, str(HERE / "peers.py"), body, str(hook.REPORTS), str(rounds)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return map(json.loads, told.stdout.splitlines())


if __name__ == "__main__":
    main()
