"""What `coding-assist compile` does once after installing, so that each start and each answer takes less.

The core becomes C by mypyc, all Python byte code, and what is derived from the terminology is kept (`coding.kept`).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from compileall import compile_dir
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from service.coding.kept import keep
from service.coding.releases import entries_to_keep
from service.coding.yaml_strict import entry_to_keep
from service.compiled import CORE, FOLDER, MADE_FROM, MODULES, fingerprint, is_current
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


def compile_all(terminology: Path) -> None:
    """All three; the core last and where it changed: that needs a compiler. CannotCompile tells the remedy."""
    keep_derived(terminology)
    compile_dir(CORE.parent, quiet=2)  # as pip does; where nobody does and Python may not, each start would do it
    if not is_current():
        compile_core()


def keep_derived(terminology: Path) -> None:
    """What a start would else derive from the terminology; PackError where that is not sound."""
    pages = [entry_to_keep(path) for path in sorted(terminology.rglob("*.yaml"))]
    keep({key: page for each in [*pages, entries_to_keep(terminology / "icd-10-cm")] for key, page in each.items()})


def compile_core() -> None:
    """Compile the modules and put them beside their source; raises CannotCompile with the remedy."""
    if not find_spec("mypyc") or not find_spec("setuptools"):
        raise CannotCompile("mypyc or setuptools is missing. Install them: pip install 'mypy[mypyc]' setuptools")
    made_from = fingerprint()
    with TemporaryDirectory() as folder:
        libraries = _compile(Path(folder))
        FOLDER.mkdir(exist_ok=True)
        for before in FOLDER.glob("*.so"):
            before.unlink()
        for library in libraries:
            shutil.copy(library, FOLDER)
    MADE_FROM.write_text(made_from, "ascii")


def _compile(work: Path) -> list[Path]:
    (work / "service").mkdir()
    (work / "service" / "__init__.py").touch()
    shutil.copytree(CORE, work / "service" / "coding", ignore=shutil.ignore_patterns(FOLDER.name, "__pycache__"))
    for path in (work / "service" / "coding").glob("*.py"):
        path.write_text(_with_final_constants(path.read_text("utf-8")), "utf-8")
    done = subprocess.run(
        [sys.executable, "-c", _SETUP], cwd=work, capture_output=True, text=True, errors="replace", check=False
    )
    built = sorted((work / "built" / "service" / "coding").glob(f"*{EXTENSION_SUFFIXES[0]}"))
    if done.returncode or len(built) <= len(MODULES):
        raise CannotCompile(
            f"{_told(done)} A C compiler and Python's headers are needed (apt: gcc libc6-dev python3-dev)."
        )
    return built


_CONSTANT = re.compile(r"^(_?[A-Z][A-Z0-9_]+)(?:: (.+?))? = ", re.MULTILINE)
_FUTURE = "from __future__ import annotations"


def _with_final_constants(source: str) -> str:
    """The source with each constant said to be Final, on the same lines.

    Such a one mypyc keeps in C; what may change it looks up in the module's dict each time: a twentieth of a reading.
    """
    final = _CONSTANT.sub(lambda m: f"{m[1]}: _Final[{m[2]}] = " if m[2] else f"{m[1]}: _Final = ", source)
    return final.replace(_FUTURE, f"{_FUTURE}; from typing import Final as _Final", 1)


def _told(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if "error" in line.lower()]
    return f"Compiling failed: {lines[0] if lines else f'status {done.returncode}'}."
