"""How the cost of a call grows: with the length of a report, with the Conditions, and with the rule packs.

    python -m tests.benchmarks.growth [--values 5]

CPU time of whole calls, as hook.py measures it. A step is what one kB, or one Condition, adds between two sizes: where
the cost is linear, all steps are alike. Reports of every length are cut from the same 128 kB, since some of it takes
longer to read than the rest. The Conditions that are in scope are of wordings that differ. A further pack stands for a
hundred terms of its own in the lexicon, given as a site gives its terms.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from flask import Flask

from service.app import create_app
from service.settings import Settings
from tests.benchmarks import hook
from tests.benchmarks.figures import Goal, heading, tell

STATEMENTS = Path(__file__).parent.parent / "data" / "statements.jsonl"
KILOBYTES = (2, 8, 32, 128)
CONDITIONS = (20, 100, 500)
PACKS = (1, 10, 50)
LINEAR = 1.25  # of the steps, the last against the first; a quarter is what they differ by from run to run
STRIDE = 7  # so that any ten calls are of parts from all over the text
Costs = dict[int, list[float]]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="How the cost of a call grows.")
    parser.add_argument("--values", type=int, default=5, help="of each figure, each of ten calls")
    rounds = parser.parse_args().values * hook.TOGETHER
    with TemporaryDirectory() as name:
        app = create_app(Settings(database_url=f"sqlite:///{name}/store.db"))
        bodies = {size: with_report(size) for size in KILOBYTES}
        tell_growth("kB of report", _measured(app, bodies, rounds), None)
        bodies = {count: [hook.call(in_scope(count), [])] for count in CONDITIONS}
        tell_growth("Condition in scope", _measured(app, bodies, rounds), Goal(120))
        bodies = {count: [hook.call(out_of_scope(count), [])] for count in CONDITIONS}
        tell_growth("Condition out of scope", _measured(app, bodies, rounds), Goal(15))
        tell_packs(_with_packs(Path(name), rounds))


def with_report(kilobytes: int) -> list[bytes]:
    """Calls with a report each of so many kB, all of them together of all the text that the longest has."""
    whole, number = hook.whole_reports(), max(KILOBYTES) // kilobytes
    ours = hook.condition(f"c1-{hook.RECORD.decode()}", *hook.STENOSIS)
    texts = [hook.report_text(whole, part, kilobytes * 1000) for part in range(number)]
    return [hook.call([ours], [hook.report(0, text)]) for text in texts]


def in_scope(count: int) -> list[dict[str, Any]]:
    """Conditions of the wordings that the reader is tested on, each with a number of its own."""
    texts = [json.loads(line)["text"] for line in STATEMENTS.read_text("utf-8").splitlines()]
    return [
        {
            **hook.condition(f"c{n}-{hook.RECORD.decode()}", hook.STENOSIS[0], hook.STENOSIS[1]),
            "code": {"text": f"{texts[n]} ({n})"},
        }
        for n in range(count)
    ]


def out_of_scope(count: int) -> list[dict[str, Any]]:
    """Conditions as a problem list has them."""
    return [hook.condition(f"o{n}-{hook.RECORD.decode()}", *hook.OTHERS[n % len(hook.OTHERS)]) for n in range(count)]


def tell_growth(unit: str, costs: Costs, goal: Goal | None) -> None:
    """The cost at each size, and what one unit more adds between each and the next."""
    heading(f"CPU us of a call by {unit}")
    for size, found in costs.items():
        tell(f"{size}", found)
    steps = steps_of(costs)
    for (smaller, larger), found in steps.items():
        last = larger == max(costs)
        tell(f"one {unit} more, {smaller} to {larger}", found, goal if last else None, 1)
    first, *_, last_step = (median(found) for found in steps.values())
    tell("the last step against the first (1 is linear)", [last_step / first], Goal(LINEAR), 2)
    print()


def steps_of(costs: Costs) -> dict[tuple[int, int], list[float]]:
    """What one unit more costs between two sizes."""
    sizes = sorted(costs)
    return {
        (smaller, larger): [
            (more - less) / (larger - smaller) for less, more in zip(costs[smaller], costs[larger], strict=True)
        ]
        for smaller, larger in pairwise(sizes)
    }


def tell_packs(costs: Costs) -> None:
    """The call in scope with the terms of so many packs."""
    heading("CPU us of the call in scope by packs")
    for packs, found in costs.items():
        tell(f"{packs}", found)
    least, most = min(costs), max(costs)
    tell(f"{most} packs against {least}", [median(costs[most]) / median(costs[least])], Goal(2), 2)


def _measured(app: Flask, bodies: dict[int, list[bytes]], rounds: int) -> Costs:
    return _in_turns({size: (app, some) for size, some in bodies.items()}, rounds)


def _in_turns(calls: dict[int, tuple[Flask, list[bytes]]], rounds: int) -> Costs:
    def run(app: Flask, bodies: list[bytes]) -> Callable[[int], None]:
        return lambda number: hook.served(app, bodies[number * STRIDE % len(bodies)], number)

    runs = {str(size): run(*each) for size, each in calls.items()}
    with hook.log_unseen():
        return {int(size): costs for size, costs in hook.measured(runs, rounds).items()}


def _with_packs(folder: Path, rounds: int) -> Costs:
    bodies = [hook.calls()[hook.IN_SCOPE]]
    apps = {}
    for packs in PACKS:
        lexicon = folder / f"{packs}.yaml"
        lexicon.write_text(json.dumps({"sources": ["made up for this benchmark"], "concepts": _concepts(packs)}))
        settings = Settings(lexicon=lexicon if packs > 1 else None, database_url=f"sqlite:///{folder}/{packs}.db")
        apps[packs] = (create_app(settings), bodies)
    return _in_turns(apps, rounds)


def _concepts(packs: int) -> list[dict[str, Any]]:
    letters = "abcdefghij"
    return [
        {"kind": "other-organ", "terms": [f"pack {number} organ {one}{two}" for one in letters for two in letters]}
        for number in range(2, packs + 1)
    ]


if __name__ == "__main__":
    main()
