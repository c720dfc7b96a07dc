"""The table that all benchmarks print: what, its median, its spread, and beside them the goal with its verdict."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

FEW = 10


@dataclass(frozen=True)
class Goal:
    """What a figure should not pass, or with `at_least` should reach."""

    bound: float
    at_least: bool = False

    def verdict(self, measured: float) -> str:
        met = measured >= self.bound if self.at_least else measured <= self.bound
        return f"goal {'>=' if self.at_least else '<='} {self.bound:,g}: {'met' if met else 'MISSED'}"


def heading(what: str) -> None:
    """The first line of a table; the spread is the middle half, and of fewer than ten values least to most."""
    print(f"{what:60}{'median':>11}{'spread':>24}", flush=True)


def tell(what: str, values: list[float], goal: Goal | None = None, digits: int = 0) -> None:
    """A line with the median of the values; the goal is held against it as measured, not as rounded."""
    half = median(values)
    least, most = _spread(values)
    spread = f"{least:,.{digits}f} to {most:,.{digits}f}" if len(values) > 1 else ""
    print(f"{what:60}{half:>11,.{digits}f}{spread:>24}   {goal.verdict(half) if goal else ''}".rstrip(), flush=True)


def processor() -> str:
    """The model that the system names, or else the architecture."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def pss(process: int) -> float:
    """MiB that a process holds, what it shares counted in parts; 0 for one that is gone."""
    try:
        told = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return sum(map(float, re.findall(r"^Pss: +(\d+)", told, re.M))) / 1024


def _spread(values: list[float]) -> tuple[float, float]:
    if len(values) < FEW:
        return min(values), max(values)
    low, _, high = quantiles(values, n=4)
    return low, high
