"""Compiles the core to C with mypyc, once after installing (`coding-assist compile`)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from service.compiled import CORE, FOLDER, MADE_FROM, MODULES, fingerprint
from service.errors import OperatorError

# Apart from pyproject.toml, which setuptools would take for its own.
_SETUP = f"""
from mypyc.build import mypycify
from setuptools import setup
files = [f"service/coding/{{module}}.py" for module in {MODULES!r}]
modules = mypycify(["--ignore-missing-imports", *files], debug_level="0", group_name="service.coding.core")
setup(name="core", packages=[], ext_modules=modules, script_args=["build_ext", "--build-lib", "built"])
"""


class CannotCompile(OperatorError):
    """Why the core was not compiled, and what to do."""


def compile_core() -> None:
    """Compile the modules and put them beside their source; raises CannotCompile with the remedy."""
    if not find_spec("mypyc") or not find_spec("setuptools"):
        raise CannotCompile("mypyc or setuptools is missing. Install them: pip install 'mypy[mypyc]' setuptools")
    made_from = fingerprint()
    with TemporaryDirectory() as folder:
        libraries = _compile(Path(folder))
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir()
        for library in libraries:
            shutil.copy(library, FOLDER)
    MADE_FROM.write_text(made_from, "ascii")


def _compile(work: Path) -> list[Path]:
    (work / "service").mkdir()
    (work / "service" / "__init__.py").touch()
    shutil.copytree(CORE, work / "service" / "coding", ignore=shutil.ignore_patterns(FOLDER.name, "__pycache__"))
    done = subprocess.run(
        [sys.executable, "-c", _SETUP], cwd=work, capture_output=True, text=True, errors="replace", check=False
    )
    built = sorted((work / "built" / "service" / "coding").glob(f"*{EXTENSION_SUFFIXES[0]}"))
    if done.returncode or len(built) <= len(MODULES):
        raise CannotCompile(
            f"{_told(done)} A C compiler and Python's headers are needed (apt: gcc libc6-dev python3-dev)."
        )
    return built


def _told(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if "error" in line.lower()]
    return f"Compiling failed: {lines[0] if lines else f'status {done.returncode}'}."
