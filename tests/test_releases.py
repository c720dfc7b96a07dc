"""Which ICD-10-CM codes hold on a date of service, and how a site adds next year's official file."""

import shutil
from pathlib import Path

import pytest

from service.coding.code_lines import CodeLines
from service.coding.errors import PackError
from service.coding.releases import Icd10Cm, fiscal_year, load_icd10cm, normalise
from service.coding.unspecified import better_code
from service.coding.yaml_strict import load_yaml
from service.releases import (
    MergedRows,
    ReleaseRefused,
    add_release,
    merge,
    read_merged,
    read_official,
    read_order_file,
    read_tabular,
    table_of,
    write_folder,
)

TERMINOLOGY = Path(__file__).resolve().parent.parent / "terminology"

FILES = ["releases.yaml", "codes.csv.gz", "dates.yaml", "validity.csv", "excludes1.csv", "manifestation.yaml"]
ORDER_2028 = """\
00001 M99     0 Biomechanical lesions, NEC                                   Biomechanical lesions NEC
00002 M994    0 Connective tissue stenosis of neural canal                   Connective tissue stenosis of neural canal
00003 M9940   1 Conn tiss stenosis of neural canal of head region            Connective tissue stenosis, head
00004 M9941   0 Conn tiss stenosis of neural canal of cervical region        Connective tissue stenosis, cervical
00005 M99411  1 Conn tiss stenosis of neural canal, upper cervical           Connective tissue stenosis, upper cervical
"""
CODES_2028 = (
    "M9940   Connective tissue stenosis of neural canal, head\nM99411  Connective tissue stenosis, upper cervical\n"
)
TABULAR_2028 = """<?xml version="1.0" encoding="utf-8"?>
<ICD10CM.tabular><version>2028</version><chapter><section id="S00-S09">
<diag><name>S06</name><desc>Intracranial injury</desc>
<sevenChrDef><extension char="A">initial encounter</extension><extension char="D">subsequent encounter</extension>
<extension char="S">sequela</extension></sevenChrDef>
<notes><note>7th characters D and S do not apply to codes in category S06 with 6th character 7 - death due to injury, or
 8 - death due to other cause.</note></notes>
<diag><name>S06.1</name><desc>Cerebral edema</desc><diag><name>S06.1X</name><desc>Cerebral edema</desc>
<diag><name>S06.1X0</name><desc>Edema without loss of consciousness</desc></diag>
<diag><name>S06.1X7</name><desc>Edema with death</desc></diag></diag></diag></diag>
</section></chapter></ICD10CM.tabular>
"""


@pytest.fixture(scope="module")
def icd10cm() -> Icd10Cm:
    return load_icd10cm(TERMINOLOGY / "icd-10-cm")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site's own copy of terminology/ with all its codes."""
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(TERMINOLOGY / "icd-10-cm", site / "icd-10-cm")
    return site


@pytest.fixture
def small_site(tmp_path: Path) -> Path:
    """A site whose only release, FY2026, has four codes."""
    folder = tmp_path / "terminology" / "icd-10-cm"
    shutil.copytree(TERMINOLOGY / "icd-10-cm", folder)
    (folder / "dates.yaml").write_text(
        "begins: {day: 2015-10-01, cites: [rule]}\nvalidity: {from: 2015-10-01, until: 2015-10-01, cites: [rule]}\n"
        "checked: []\ncitations: {rule: {title: t}}\n"
    )
    (folder / "validity.csv").write_text("code,from,until\n")
    _write_release(folder)
    return tmp_path / "terminology"


def _write_release(folder: Path) -> None:
    m99, *others = ORDER_2028.splitlines()[:4]
    lines = [m99.replace("Biomechanical lesions NEC", "Lesions"), *others]
    rows: MergedRows = {}
    merge(rows, read_order_file("\n".join(lines), "tiny"), "2026")
    release = {"fiscal_year": "2026", "edition": "tiny", "in_force_from": "2026-04-01", "in_force_until": "2026-09-30"}
    write_folder(folder, {"releases": [release]}, rows)


def _official(tmp_path: Path, name: str = "icd10cm-order-2028.txt", content: str = ORDER_2028) -> Path:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("code", "on", "validity"),
    [
        ("M99.41", "2015-09-30", "not-valid"),
        ("M99.41", "2015-10-01", "valid"),
        ("M99.41", "2023-05-05", "valid"),
        ("M99.41", "2026-11-16", "valid"),
        ("M99.41", "2027-03-31", "valid"),
        ("M99.41", "2027-04-01", "not-known"),
        ("M99.4", "2026-11-16", "not-billable"),
        ("M99.4", "2016-01-01", "not-billable"),
        ("M99.4A", "2026-11-16", "unknown"),
        ("M99.40XA", "2016-01-01", "unknown"),
    ],
)
def test_a_code_of_m99_holds_since_icd_10_cm_began_and_as_far_as_fy2027_was_checked(
    icd10cm: Icd10Cm, code: str, on: str, validity: str
) -> None:
    assert icd10cm.status(code, on).validity == validity


@pytest.mark.parametrize(
    ("code", "on", "validity"),
    [
        ("M48.06", "2017-09-30", "valid"),
        ("M48.06", "2017-10-01", "not-billable"),
        ("M48.061", "2017-09-30", "not-valid"),
        ("M48.061", "2017-10-01", "valid"),
        ("M48.062", "2026-11-16", "valid"),
        ("M48.02", "2016-01-01", "valid"),
    ],
)
def test_lumbar_stenosis_is_split_by_claudication_from_october_2017(
    icd10cm: Icd10Cm, code: str, on: str, validity: str
) -> None:
    assert icd10cm.status(code, on).validity == validity


@pytest.mark.parametrize(
    ("code", "then"), [("M72.2", "not-billable"), ("M86.8X1", "not-billable"), ("T52.8X1A", "not-valid")]
)
def test_a_code_that_fy2027_split_or_dropped_is_valid_to_the_last_of_september(
    icd10cm: Icd10Cm, code: str, then: str
) -> None:
    assert icd10cm.status(code, "2026-09-30").validity == "valid"
    assert icd10cm.status(code, "2026-10-01").validity == then


@pytest.mark.parametrize(
    ("code", "on", "validity"),
    [
        ("M54.5", "2021-09-30", "valid"),
        ("M54.5", "2021-10-01", "not-billable"),
        ("M54.50", "2021-09-30", "not-valid"),
        ("M54.50", "2021-10-01", "valid"),
        ("A00.0", "2019-01-01", "valid"),
        ("A00", "2019-01-01", "not-billable"),
        ("D69.11", "2026-09-30", "not-valid"),
        ("D69.11", "2026-10-01", "valid"),
        ("D69.1", "2026-10-01", "not-billable"),
        ("E11.9A", "2026-11-16", "unknown"),
        ("Q99.99", "2026-11-16", "unknown"),
        ("U07.0", "2020-03-31", "not-valid"),
        ("U07.0", "2020-04-01", "valid"),
        ("A00.0", "2027-04-01", "not-known"),
        ("Q99.99", "2027-04-01", "not-known"),
    ],
)
def test_every_code_is_judged_by_its_days_where_no_official_file_is_loaded(
    icd10cm: Icd10Cm, code: str, on: str, validity: str
) -> None:
    assert icd10cm.status(code, on).validity == validity


@pytest.mark.parametrize("on", ["2021-05-01", "2025-05-01", "2026-05-01"])
def test_the_days_of_the_codes_agree_with_every_official_file(icd10cm: Icd10Cm, on: str) -> None:
    """Two sources apart from each other: the editor takes a code where the file has it, and only there."""
    differing = [c for c in icd10cm.codes() if icd10cm._holds(c, on) is not icd10cm.is_billable(c, on)]
    assert differing == []


@pytest.mark.parametrize("on", ["2015-09-30", "2016-01-01", "2017-10-01", "2020-12-31", "2021-01-01", "2027-03-31"])
def test_all_codes_that_hold_on_a_date_are_those_that_are_judged_so_one_by_one(icd10cm: Icd10Cm, on: str) -> None:
    told = {"valid": True, "not-billable": False}
    judged = {code: told.get(icd10cm.status(code, on).validity) for code in list(icd10cm.codes())[::23]}
    held = icd10cm.holding(on)
    assert list(held) == sorted(held)
    assert {code: held.get(code) for code in judged} == judged


def test_nothing_holds_where_nothing_is_told(icd10cm: Icd10Cm) -> None:
    told = [icd10cm.tells_of(on) for on in ("2015-09-30", "2016-01-01", "2027-03-31", "2027-04-01")]
    assert told == [True, True, True, False]
    assert icd10cm.holding("2027-04-01") == {}


@pytest.mark.parametrize(
    ("words", "on", "code", "is_found"),
    [
        (["m99.41"], "2026-05-01", "M99.41", True),
        (["stenosis", "cervical", "neural"], "2026-05-01", "M99.41", True),
        (["stenosis", "cervical", "m99.4"], "2026-05-01", "M99.41", True),
        (["2026"], "2026-05-01", "M99.41", False),  # of its releases
        ([",1,"], "2026-05-01", "M99.41", False),
        (["chafeensis"], "2021-05-01", "A77.41", True),
        (["chafeensis"], "2026-05-01", "A77.41", False),  # its title until 2021
        (["demodex"], "2021-05-01", "B88.01", True),  # it has one title, and came with 2026
        (["c78.31"], "2016-05-01", "C78.31", True),  # in no file
        (["c78.32"], "2016-05-01", "C78.31", False),
    ],
)
def test_words_are_sought_in_the_code_and_its_title(
    icd10cm: Icd10Cm, words: list[str], on: str, code: str, is_found: bool
) -> None:
    assert (code in icd10cm.titled(words, on)) is is_found


def test_a_word_in_quotes_is_found_as_a_title_has_it() -> None:
    lines = CodeLines('A00,0,2026,Cholera\nA00.0,1,2026,"The ""classical"" one, so called"\n')
    assert [line[:5] for line in lines.lines_with('"classical"')] == ["a00.0"]


def test_what_has_not_the_form_of_a_code_is_unknown_on_any_date(icd10cm: Icd10Cm) -> None:
    assert {icd10cm.status("stenosis", on).validity for on in ("2019-01-01", "2026-11-16", "2030-01-01")} == {"unknown"}


def test_the_january_2021_additions_are_not_valid_in_2020(icd10cm: Icd10Cm) -> None:
    assert icd10cm.status("J12.82", "2020-12-31").validity == "not-valid"
    assert icd10cm.status("J12.82", "2021-01-01").validity == "valid"


def test_status_names_the_fiscal_year_and_the_reason(icd10cm: Icd10Cm) -> None:
    status = icd10cm.status("M99.41", "2026-11-16")
    assert status.release == "2027"
    assert "FY2026 text, FY2027 validity-checked" in status.reason


@pytest.mark.parametrize("on", ["2026-11", "16.11.2026", "2026-13-01", "2026-W46-7"])
def test_a_date_that_is_not_whole_is_refused(icd10cm: Icd10Cm, on: str) -> None:
    with pytest.raises(ValueError, match=r"date|month"):
        icd10cm.status("M99.41", on)


def test_a_fiscal_year_begins_in_october() -> None:
    assert (fiscal_year("2026-09-30"), fiscal_year("2026-10-01")) == ("2026", "2027")


@pytest.mark.parametrize("written", ["M99.41", "m9941", " M9941 "])
def test_a_code_is_read_in_any_spelling_and_told_in_the_dotted_one(icd10cm: Icd10Cm, written: str) -> None:
    assert normalise(written) == icd10cm.status(written, "2026-11-16").code == "M99.41"


@pytest.mark.parametrize(
    ("code", "parent"),
    [("M99.40XA", "M99.40"), ("M99.41A", "M99.41"), ("M99.41", None), ("M99.4A", None), ("S06.1X7D", None)],
)
def test_an_extension_adds_characters_to_a_code_that_takes_none(
    icd10cm: Icd10Cm, code: str, parent: str | None
) -> None:
    assert icd10cm.is_extension_of(code) == parent


def test_children_are_the_codes_directly_beneath(icd10cm: Icd10Cm) -> None:
    assert icd10cm.children("M48.06") == ("M48.061", "M48.062")
    assert len(icd10cm.children("M99.4")) == 10
    assert "M80.00XA" in icd10cm.children("M80.00")


def test_a_title_is_the_one_of_the_date(icd10cm: Icd10Cm) -> None:
    assert icd10cm.title("M99.41") == "Connective tissue stenosis of neural canal of cervical region"
    assert icd10cm.title("M99.4Z") is None


def test_the_newest_release_is_the_one_that_was_checked_and_covers_its_first_day(icd10cm: Icd10Cm) -> None:
    assert icd10cm.newest.fiscal_year == "2027"
    assert icd10cm.covers(icd10cm.newest.in_force_from)
    assert not icd10cm.covers("2027-04-01")


def test_the_vocabulary_holds_the_words_of_the_titles(icd10cm: Icd10Cm) -> None:
    assert {"stenosis", "connective", "foramina"} <= icd10cm.vocabulary()
    assert "of" not in icd10cm.vocabulary()


@pytest.mark.proves("icd-10-cm-2026: Excludes1 at M43.5, M54.1, G55, M47.1")
@pytest.mark.parametrize(
    ("code", "other", "at"),
    [
        ("M43.5X2", "M99.41", "M43.5"),
        ("M54.12", "M50.12", "M54.1"),
        ("G55", "M48.02", "G55"),
        ("M47.12", "M43.5X2", "M47.1"),
        ("M51.26", "M46.46", "M50-M54"),
        ("G99.2", "M50.02", "G99.2"),
        ("M99.41", "M48.02", None),
        ("M54.12", "M99.41", None),
        ("G99.2", "M48.02", None),
    ],
)
def test_excludes1_holds_in_either_direction(icd10cm: Icd10Cm, code: str, other: str, at: str | None) -> None:
    notes = {icd10cm.excludes1(code, other, "2026-05-01"), icd10cm.excludes1(other, code, "2026-05-01")}
    assert {note.at if note else None for note in notes} == {at}


@pytest.mark.proves("icd-10-cm-2026: Excludes1 at sections, chapters and codes of all chapters")
@pytest.mark.parametrize(
    ("code", "other", "at"),
    [
        ("A04.72", "A05.1", "A04"),
        ("E08.9", "P70.2", "E08"),
        ("E66.01", "P70.4", "E00-E89"),
        ("O26.891", "Z34.01", "O00-O9A"),
        ("R07.9", "R07.1", None),
        ("I10", "I27.0", "I10-I1A"),
        ("J47.9", "Q33.4", "J47"),
    ],
)
def test_excludes1_is_known_for_every_chapter(icd10cm: Icd10Cm, code: str, other: str, at: str | None) -> None:
    notes = {icd10cm.excludes1(*pair, "2026-05-01") for pair in ((code, other), (other, code))}
    assert {note.at if note else None for note in notes} == {at}


@pytest.mark.parametrize(
    ("code", "other", "is_excluded"),
    [
        ("A15.0", "A17.0", False),  # 'any type in A15 (J65)' excludes J65
        ("A15.0", "J65", True),
        ("E87.20", "E11.9", False),  # only diabetes with ketoacidosis
        ("F07.81", "S06.0X0S", False),  # only the initial encounter
        ("S06.0X0A", "S06.5X0A", True),  # 'S06.1- to S06.6-' is a range
        ("F07.81", "S06.0X0A", True),
        ("I73.89", "E11.52", True),  # 'E08-E13 with .51-.52'
        ("G63", "B27.11", True),  # 'B27.0-B27.9 with fifth character 1'
        ("G63", "B27.12", False),
        ("R27.0", "I69.393", True),  # 'I69. with final characters -93'
        ("R27.0", "I69.398", False),
        ("V00.218A", "V03.19XA", True),  # 'V01-V09 with 5th character 9'
    ],
)
def test_an_excludes1_note_excludes_what_it_says(icd10cm: Icd10Cm, code: str, other: str, is_excluded: bool) -> None:
    assert (icd10cm.excludes1(code, other, "2026-05-01") is not None) is is_excluded


@pytest.mark.parametrize(
    ("title", "code", "is_another"),
    [
        ("Asthma", "J45.909", False),
        ("Low back pain", "M54.50", False),
        ("Connective tissue stenosis of neural canal", "M99.41", False),
        ("Type 1 diabetes mellitus without complications", "E11.9", True),
        ("Cholera due to Vibrio cholerae 01, biovar eltor", "E11.9", True),  # a comma, and so quotes in the table
        ("a display of their own", "E11.9", False),
    ],
)
def test_the_title_of_a_header_above_is_true_of_a_code(
    icd10cm: Icd10Cm, title: str, code: str, is_another: bool
) -> None:
    assert icd10cm.is_title_of_another(title, code) is is_another


def test_an_excludes1_note_holds_in_the_releases_that_have_it(icd10cm: Icd10Cm) -> None:
    """FY2026 took optic neuritis out of the note at neuromyelitis optica."""
    dates = ("2019-05-01", "2025-09-30", "2026-10-01", "2031-01-01")
    assert [icd10cm.excludes1("G36.0", "H46.9", on) is not None for on in dates] == [True, True, False, False]
    assert [icd10cm.tabular_list(on) for on in dates[:3]] == ["2021", "2025", "2026"]


@pytest.mark.proves("guidelines: I.A.13 etiology/manifestation")
@pytest.mark.parametrize(
    ("code", "manifestation"), [("G55", True), ("G99.2", True), ("M49.82", True), ("M99.41", False), ("G83.4", False)]
)
def test_a_manifestation_is_told_by_its_title_and_code_first_note(
    icd10cm: Icd10Cm, code: str, manifestation: bool
) -> None:
    assert icd10cm.is_manifestation(code) is manifestation


def test_each_release_holds_as_many_codes_as_its_official_file(icd10cm: Icd10Cm) -> None:
    rows = read_merged(TERMINOLOGY / "icd-10-cm" / "codes.csv.gz")
    for entry in load_yaml(TERMINOLOGY / "icd-10-cm" / "releases.yaml")["releases"]:
        table = table_of(rows, entry["fiscal_year"])
        billable = sum(is_billable for is_billable, _ in table.values())
        assert (len(table), billable) == (entry["codes"], entry["billable"])


def test_a_changed_code_table_stops_the_service(small_site: Path) -> None:
    table = small_site / "icd-10-cm" / "codes.csv.gz"
    table.write_bytes(table.read_bytes() + b"\0")
    with pytest.raises(PackError, match=r"codes\.csv\.gz: its SHA-256"):
        load_icd10cm(small_site / "icd-10-cm")


def test_a_year_without_a_citation_stops_the_service(small_site: Path) -> None:
    dates = small_site / "icd-10-cm" / "dates.yaml"
    year = "{fiscal_year: '2016', label: l, in_force_from: 2015-10-01, in_force_until: 2016-09-30, cites: []}"
    dates.write_text(dates.read_text().replace("checked: []", f"checked: [{year}]"))
    with pytest.raises(PackError, match="cites nothing"):
        load_icd10cm(small_site / "icd-10-cm")


@pytest.mark.parametrize("line", ["A00.0,2020-01-01", "A00.0,2021-01-01,2020-01-01"])
def test_a_damaged_list_of_days_stops_the_service(small_site: Path, line: str) -> None:
    (small_site / "icd-10-cm" / "validity.csv").write_text(f"code,from,until\n{line}\n")
    with pytest.raises(PackError, match="each line needs code,from,until"):
        load_icd10cm(small_site / "icd-10-cm")


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_stops_the_service_by_name(small_site: Path, file: str) -> None:
    (small_site / "icd-10-cm" / file).unlink()
    with pytest.raises(PackError, match=file):
        load_icd10cm(small_site / "icd-10-cm")


def test_an_added_release_is_in_force_in_its_fiscal_year(small_site: Path, tmp_path: Path) -> None:
    added = add_release(small_site, _official(tmp_path), "2028", "2027-10-01")
    icd10cm = load_icd10cm(small_site / "icd-10-cm")

    assert (added.new_codes, added.in_force_until) == (("M99.411",), "2028-09-30")
    assert icd10cm.newest.fiscal_year == "2028"
    assert icd10cm.status("M99.411", "2027-10-01").validity == "valid"
    assert icd10cm.status("M99.41", "2027-10-01").validity == "not-billable"
    assert icd10cm.status("M99.41", "2026-09-30").validity == "not-billable"
    assert icd10cm.title("M99", "2026-05-01") == "Lesions"
    assert icd10cm.title("M99", "2027-10-01") == "Biomechanical lesions NEC"


def test_a_code_list_takes_its_headers_from_the_newest_release(small_site: Path, tmp_path: Path) -> None:
    add_release(small_site, _official(tmp_path, "icd10cm-codes-2028.txt", CODES_2028), "2028", "2027-10-01")
    icd10cm = load_icd10cm(small_site / "icd-10-cm")
    assert icd10cm.status("M99.4", "2028-01-01").validity == "not-billable"
    assert icd10cm.status("M99.411", "2028-01-01").validity == "valid"


def test_the_official_file_of_a_checked_year_stands_above_the_check(site: Path, tmp_path: Path) -> None:
    newest = table_of(read_merged(site / "icd-10-cm" / "codes.csv.gz"), "2026")
    lines = [f"{code.replace('.', ''):7} {title}" for code, (billable, title) in newest.items() if billable]
    official = _official(tmp_path, "icd10cm-codes-2027.txt", "\n".join([*lines, "D6911   A code new in October"]))

    add_release(site, official, "2027", "2026-10-01")

    icd10cm = load_icd10cm(site / "icd-10-cm")
    assert icd10cm.status("D69.11", "2026-11-16").validity == "valid"
    assert icd10cm.status("M99.41", "2027-09-30").validity == "valid"
    assert not icd10cm.newest.checked


def test_seventh_characters_make_codes_unless_a_note_takes_them_away() -> None:
    table = read_tabular(TABULAR_2028.replace("\n 8 -", " 8 -"), "tabular.xml").table
    assert table["S06.1X0D"] == (True, "Edema without loss of consciousness, subsequent encounter")
    assert table["S06.1X0"][0] is False
    assert "S06.1X7A" in table
    assert "S06.1X7D" not in table


def test_a_tabular_list_says_its_own_fiscal_year(tmp_path: Path) -> None:
    assert read_official(_official(tmp_path, "tabular.xml", TABULAR_2028), {}).version == "2028"


@pytest.mark.proves("security: no XML entities")
def test_a_tabular_list_with_a_document_type_is_refused(tmp_path: Path) -> None:
    bomb = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><ICD10CM.tabular>&a;</ICD10CM.tabular>'
    with pytest.raises(ReleaseRefused, match="document type"):
        read_official(_official(tmp_path, "tabular.xml", bomb), {})


@pytest.mark.parametrize(
    ("fiscal_year", "first", "last", "why"),
    [
        ("2026", "2025-10-01", "2026-03-31", "2026 is loaded already"),
        ("2028", "2026-05-01", None, "not within fiscal year 2028"),
        ("2028", "1 October", None, "no dates"),
        ("28", "2027-10-01", None, "no fiscal year"),
        ("2029", "2028-10-01", None, "is of 2028, not of 2029"),
    ],
)
def test_a_release_of_another_time_is_refused(
    small_site: Path, tmp_path: Path, fiscal_year: str, first: str, last: str | None, why: str
) -> None:
    with pytest.raises(ReleaseRefused, match=why):
        add_release(small_site, _official(tmp_path), fiscal_year, first, last)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("Dear coder, this is not it.", "no official ICD-10-CM file"),
        (ORDER_2028.splitlines()[0] + "\n", "cut short or not ICD-10-CM"),
        (ORDER_2028 + "and so on\n", "line 6 is no line of an order file"),
        ("<html></html>", "root is html"),
        ("<ICD10CM.tabular>", "no well-formed XML"),
        ("0016070 Bypass Cerebral Ventricle to Nasopharynx", "no official ICD-10-CM file"),
    ],
)
def test_a_file_that_is_not_the_official_one_is_refused_and_changes_nothing(
    small_site: Path, tmp_path: Path, content: str, why: str
) -> None:
    before = {path.name: path.read_bytes() for path in (small_site / "icd-10-cm").iterdir()}
    with pytest.raises(ReleaseRefused, match=why):
        add_release(small_site, _official(tmp_path, content=content), "2028", "2027-10-01")
    assert {path.name: path.read_bytes() for path in (small_site / "icd-10-cm").iterdir()} == before


def test_a_release_that_overlaps_another_is_refused(small_site: Path, tmp_path: Path) -> None:
    releases = small_site / "icd-10-cm" / "releases.yaml"
    releases.write_text(releases.read_text().replace("2026-09-30", "2026-10-31"))
    with pytest.raises(ReleaseRefused, match="overlaps the release of 2026"):
        add_release(small_site, _official(tmp_path, "icd10cm-order.txt"), "2027", "2026-10-01")


def test_the_same_content_is_written_with_the_same_bytes(small_site: Path) -> None:
    folder = small_site / "icd-10-cm"
    before = (folder / "codes.csv.gz").read_bytes()
    _write_release(folder)
    assert (folder / "codes.csv.gz").read_bytes() == before


@pytest.mark.parametrize(
    ("code", "words", "better"),
    [
        ("M25.50", "Shoulder pain", "M25.51"),
        ("N18.9", "CKD stage 4", "N18.4"),
        ("E78.5", "Mixed hyperlipidemia", "E78.2"),
        ("S93.409A", "Sprained left ankle", "S93.402"),
        ("E78.5", "Possible mixed hyperlipidemia", ""),
        ("E78.5", "Hyperlipidemia", ""),
        ("E78.2", "Mixed hyperlipidemia", ""),
        ("M17.10", "Osteoarthritis of the knee, patient walks to the right and to the left", ""),
        ("J18.9", "Lobar pneumonia", ""),
        ("Z99.99", "Anything", ""),
    ],
)
def test_words_name_the_code_that_says_what_they_say(icd10cm: Icd10Cm, code: str, words: str, better: str) -> None:
    assert better_code(code, words, icd10cm, "2026-05-04") == better


def test_no_unspecified_code_has_a_better_one_for_the_words_of_its_own_title(icd10cm: Icd10Cm) -> None:
    on = "2026-05-04"
    codes = [code for code in icd10cm.titled(["unspecified"], on) if icd10cm.is_billable(code, on)][::7]
    assert len(codes) > 2000
    assert [c for c in codes if better_code(c, icd10cm.title(c) or "", icd10cm, on)] == []
