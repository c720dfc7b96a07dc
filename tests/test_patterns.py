"""No regular expression of ours can be made to run away: none repeats without end what itself repeats without end."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from re import _parser  # type: ignore[attr-defined]  # the only parser of patterns there is; it is not public
from typing import Any

import pytest

import service

REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT"})


def patterns() -> dict[str, re.Pattern[Any]]:
    """Every compiled pattern that a module of the service holds, by its name."""
    found = {}
    for module in pkgutil.walk_packages(service.__path__, "service."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, re.Pattern):
                found[f"{module.name}.{name}"] = value
    return found


def nested(parsed: Any, *, repeated: bool = False) -> Iterator[str]:
    """Each repeat without end inside another one."""
    for operation, argument in parsed:
        endless = str(operation) in REPEATS and argument[1] == _parser.MAXREPEAT
        if endless and repeated:
            yield str(argument[2])
        for inner in inside(argument):
            yield from nested(inner, repeated=repeated or endless)


def inside(argument: Any) -> Iterator[Any]:
    if isinstance(argument, _parser.SubPattern):
        yield argument
    elif isinstance(argument, list | tuple):
        for part in argument:
            yield from inside(part)


PATTERNS = patterns()


def test_the_patterns_of_all_modules_are_found() -> None:
    assert len(PATTERNS) > 30


@pytest.mark.parametrize("name", PATTERNS)
def test_no_repeat_without_end_lies_in_another(name: str) -> None:
    pattern = PATTERNS[name]
    source = pattern.pattern.decode("latin-1") if isinstance(pattern.pattern, bytes) else pattern.pattern
    assert list(nested(_parser.parse(source, pattern.flags & ~re.ASCII))) == []


@pytest.mark.parametrize("source", ["(a+)+", "(?:a*b?)*", "((?:x+y)+)*"])
def test_a_pattern_that_could_run_away_is_found(source: str) -> None:
    assert list(nested(_parser.parse(source)))
