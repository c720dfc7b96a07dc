"""Libraries that the first answer does not need, imported when something of them is first asked for.

    if TYPE_CHECKING:
        from joserfc import jwt
    else:
        jwt = Deferred("joserfc.jwt")

A start would else spend a third of its time, and a worker as much of its memory, on what most workers never use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Deferred:
    """Stands for a module until it is there; threads that ask at once wait for one another, as at any import."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)
