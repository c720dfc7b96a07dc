"""Counts for the operator, for Prometheus to fetch: what was asked and answered, never of or for whom.

The labels are closed sets: route templates, methods, statuses, dispositions, rule ids and kinds of card.
"""

from __future__ import annotations

import fcntl
import os
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

from service.decisions import Visit

FORMAT = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def share_counts(folder: Path) -> None:
    """Keep the counts of this process in files there, so that each that does so can tell the sum.

    They go on from what a process that has ended left in them: there are never more than processes at once.
    """
    os.environ[FOLDER] = str(folder)
    place = next(number for number in count() if _is_free(folder / str(number)))
    # The library looks at the environment only when it is imported, and has no types.
    values.ValueClass = values.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]


def _is_free(place: Path) -> bool:
    """Whether no other process has it; this one has it from now on, for as long as it lives."""
    held = os.open(place, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        return False
    return True


def _labelled(metric: Any, *values: str) -> Any:
    """One count of a metric; to find it by its labels takes longer than to count."""
    return metric.labels(*values)


class Metrics:
    """What one process has counted; where counts are shared, `told` sums them over all."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "coding_assist_requests", "Requests answered", ["route", "method", "status"], registry=registry
        )
        self._seconds = Histogram(
            "coding_assist_request_seconds", "Time to an answer", ["route"], registry=registry, buckets=SECONDS
        )
        self._assessments = Counter(
            "coding_assist_assessments", "Conditions assessed", ["disposition"], registry=registry
        )
        self._rules = Counter("coding_assist_rules", "Answers that a rule decided", ["rule"], registry=registry)
        self._cards = Counter("coding_assist_cards", "Cards shown", ["kind"], registry=registry)
        self._labelled = cache(_labelled)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """One request was answered; route and method are of a closed set."""
        self._labelled(self._requests, route, method, str(status)).inc()
        self._labelled(self._seconds, route).observe(seconds)

    def assessed(self, visit: Visit) -> None:
        """What came of one visit that was answered."""
        if visit.answer is None:
            return
        for disposition, number in visit.answer.dispositions.items():
            self._labelled(self._assessments, disposition).inc(number)
        for rule in visit.answer.rules:
            self._labelled(self._rules, rule).inc()
        for card in visit.cards or ():
            self._labelled(self._cards, card.kind).inc()

    def told(self) -> bytes:
        """All counts as Prometheus reads them."""
        if FOLDER not in os.environ:
            return generate_latest(self._registry)
        summed = CollectorRegistry()
        MultiProcessCollector(summed)  # type: ignore[no-untyped-call]
        return generate_latest(summed)
