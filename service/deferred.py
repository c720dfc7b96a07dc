"""Libraries that the first answer does not need, imported when something of them is first asked for.

    if TYPE_CHECKING:
        import jwt
    else:
        jwt = Deferred("jwt")

A start would else spend a third of its time, and a worker as much of its memory, on what most workers never use.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


class Deferred:
    """Stands for a module until it is there; threads that ask at once wait for one another, as at any import."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)


@contextmanager
def doing_without(name: str) -> Iterator[None]:
    """What is imported meanwhile finds this library not installed: one that it could use, and we do not."""
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]  # so Python's import system says that there is none
    try:
        yield
    finally:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
