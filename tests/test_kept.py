"""What is kept of the terminology for the next start says what its files say, and nothing of a file that changed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.coding import kept
from service.coding.releases import load_icd10cm
from service.coding.yaml_parsing import parse_yaml
from service.coding.yaml_strict import PAGE, entry_to_keep, load_yaml
from service.compiling import keep_derived
from service.shipped import terminology_dir

TITLES = ["Cholera", "cholera due to vibrio cholerae 01, biovar eltor", "no title of any code"]


@pytest.fixture(scope="module")
def terminology(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the shipped terminology."""
    return Path(shutil.copytree(terminology_dir(), tmp_path_factory.mktemp("site") / "terminology"))


@pytest.fixture(scope="module", autouse=True)
def _kept_of(terminology: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What `coding-assist compile` keeps of it, in a place of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "FILE", tmp_path_factory.mktemp("kept") / "kept.json")
        keep_derived(terminology)
        yield
    kept._entries.cache_clear()


def test_a_page_that_is_kept_says_what_its_file_says(terminology: Path) -> None:
    pages = sorted(terminology.rglob("*.yaml"))

    assert [path for path in pages if kept.kept(PAGE, path.read_bytes()) is None] == []
    assert [path for path in pages if load_yaml(path) != parse_yaml(path, path.read_bytes())] == []


def test_the_codes_are_read_from_what_is_kept_as_from_their_file(
    terminology: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = load_icd10cm(terminology / "icd-10-cm")
    monkeypatch.setattr("service.coding.kept._entries", dict)
    read = load_icd10cm(terminology / "icd-10-cm")

    assert quick.vocabulary() == read.vocabulary()
    asked = [(quick.is_title_of_another(title, "E11.9"), read.is_title_of_another(title, "E11.9")) for title in TITLES]
    assert asked == [(True, True), (True, True), (False, False)]


def test_a_changed_page_is_read_anew(terminology: Path) -> None:
    page = terminology / "flags.yaml"
    before = load_yaml(page)
    page.write_text(page.read_text("utf-8") + "added: true\n", "utf-8")

    assert load_yaml(page) == {**before, "added": True}


def test_what_other_code_derived_is_left_alone(terminology: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (terminology / "concepts" / "snomed-ct.yaml").read_bytes()
    assert kept.kept(PAGE, page) is not None

    monkeypatch.setattr(kept, "_deriving", lambda: "another version")
    assert kept.kept(PAGE, page) is None


def test_a_damaged_file_of_what_is_kept_counts_as_none(terminology: Path) -> None:
    whole = kept.FILE.read_bytes()
    try:
        kept.FILE.write_bytes(whole[:-100])
        kept._entries.cache_clear()
        assert kept.kept(PAGE, (terminology / "concepts" / "snomed-ct.yaml").read_bytes()) is None
    finally:
        kept.FILE.write_bytes(whole)
        kept._entries.cache_clear()


def test_a_page_that_json_would_tell_differently_is_not_kept(tmp_path: Path) -> None:
    page = tmp_path / "dates.yaml"
    page.write_text("day: 2015-10-01\n")
    assert entry_to_keep(page) == {}


def test_every_page_that_is_shipped_can_be_kept() -> None:
    pages = sorted(terminology_dir().rglob("*.yaml"))
    assert [page.name for page in pages if not entry_to_keep(page)] == []
