"""The compiled core says what its source says, and is never taken for a source that has changed since."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from service import compiled, compiling
from service.cli import main
from service.coding.lexicon import Lexicon
from service.coding.model import Passage
from service.coding.narrative import read
from service.coding.packs import load_terminology
from service.shipped import terminology_dir

REPO = Path(__file__).resolve().parent.parent
TEXTS = [json.loads(line)["text"] for line in (REPO / "tests/data/reports.jsonl").read_text("utf-8").splitlines()]
_FROM_SOURCE = """
import sys
from service import compiled
compiled.FOLDER = compiled.FOLDER / "none"
import service.coding
service.coding.__path__[:] = [str(compiled.CORE)]
from tests.test_compiled import readings
import service.coding.narrative
assert service.coding.narrative.__file__.endswith(".py")
print(readings())
"""


def readings() -> str:
    """What is read in every labelled text, as one string."""
    lexicon: Lexicon = load_terminology(terminology_dir()).lexicon
    return "\n".join(repr(read(Passage(text, "r", "x", "report"), lexicon)) for text in TEXTS)


@pytest.fixture
def _is_compiled() -> None:
    if not compiled.is_current():
        reason = "the core is not compiled: run `make compile` (a C compiler and Python's headers are needed)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


@pytest.mark.usefixtures("_is_compiled")
def test_the_compiled_core_reads_what_the_source_reads() -> None:
    done = subprocess.run([sys.executable, "-c", _FROM_SOURCE], cwd=REPO, capture_output=True, text=True, check=True)

    assert Path(sys.modules["service.coding.narrative"].__file__ or "").suffix != ".py"
    assert done.stdout.strip() == readings().strip()


@pytest.mark.usefixtures("_is_compiled")
def test_a_changed_source_is_read_instead_of_what_was_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for source in compiled.CORE.glob("*.py"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    monkeypatch.setattr(compiled, "CORE", tmp_path)
    assert compiled.is_current()

    (tmp_path / "scene.py").write_text((tmp_path / "scene.py").read_text() + "\n# changed\n")

    assert not compiled.is_current()


@pytest.mark.usefixtures("_is_compiled")
def test_what_was_compiled_for_another_python_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "EXTENSION_SUFFIXES", [".cpython-30-none.so"])
    assert not compiled.is_current()


def test_what_a_compiled_module_imports_of_the_core_is_compiled_too() -> None:
    left = compiled.READING  # only used while the knowledge is loaded
    for module in compiled.MODULES:
        imported = re.findall(
            r"from service\.coding\.(\w+) import", (compiled.CORE / f"{module}.py").read_text("utf-8")
        )
        assert set(imported) <= {*compiled.MODULES, *left}, module


def test_without_the_compiler_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compiling, "find_spec", lambda name: None)
    monkeypatch.setattr(compiling, "is_current", lambda: False)

    assert main(["compile"]) == 2
    assert capsys.readouterr().err.startswith("mypyc or setuptools is missing. Install them: pip install")


def test_a_compiler_that_fails_leaves_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    before = compiled.is_current()
    monkeypatch.setattr(compiling, "_SETUP", "raise SystemExit('error: no cc')")

    with pytest.raises(compiling.CannotCompile, match=r"error: no cc\. A C compiler"):
        compiling.compile_core()
    assert compiled.is_current() == before


def test_a_constant_is_compiled_as_final_and_stays_on_its_line() -> None:
    source = "from __future__ import annotations\n\nKNOWN: dict[str, int] = {}\n_SIGNS = (\n    1,\n)\nother = KNOWN\n"
    assert compiling._with_final_constants(source).splitlines() == [
        "from __future__ import annotations; from typing import Final as _Final",
        "",
        "KNOWN: _Final[dict[str, int]] = {}",
        "_SIGNS: _Final = (",
        "    1,",
        ")",
        "other = KNOWN",
    ]
