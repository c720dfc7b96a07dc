"""The core compiled to C by mypyc (`service.compiling`): the same source, the same answers, sooner.

It is taken only while the source is, byte for byte, the one that it was made from, and only by the Python that it was
made for; else Python reads the source as ever.
"""

from __future__ import annotations

import hashlib
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

CORE = Path(__file__).parent / "coding"
FOLDER = CORE / "compiled"
RECIPE = Path(__file__).with_name("compiling.py")
# The whole core; mypyc compiles it as one, so that a call between two of its modules is a call in C.
# Left out is what only reads files; a class for each file that inherits from one of its own cannot be compiled anyway.
READING = frozenset({"kept", "yaml_strict", "yaml_parsing"})
MODULES = tuple(sorted(path.stem for path in CORE.glob("[a-z]*.py") if path.stem not in READING))
MADE_FROM = FOLDER / "made-from.sha256"


def prefer() -> None:
    """Have the compiled modules imported instead of their source, where they were made from just this source."""
    if is_current():
        import_module("service.coding").__path__.insert(0, str(FOLDER))


def is_current() -> bool:
    """Whether the modules that lie there were compiled from the source as it is now, for this Python."""
    built = FOLDER / f"narrative{EXTENSION_SUFFIXES[0]}"
    return built.is_file() and MADE_FROM.is_file() and MADE_FROM.read_text("ascii") == fingerprint()


def fingerprint() -> str:
    """Of the source that is compiled, and of how that is done."""
    digest = hashlib.sha256(RECIPE.read_bytes())
    for module in MODULES:
        digest.update((CORE / f"{module}.py").read_bytes())
    return digest.hexdigest()
