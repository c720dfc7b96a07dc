"""Adds an official ICD-10-CM release to terminology/icd-10-cm, so that a site needs no new version of ours in October.

Reads what CDC and CMS publish: the order file, the code list (`icd10cm-codes-*.txt`) and the tabular list in XML.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from service.coding.releases import load_icd10cm, normalise
from service.coding.yaml_strict import load_yaml
from service.errors import OperatorError

# code -> billable, title
CodeTable = dict[str, tuple[bool, str]]
# code, billable, title -> the fiscal years whose release has that row
MergedRows = dict[tuple[str, bool, str], set[str]]

_PREAMBLE = """\
# Written by scripts/build_icd10cm.py and by `coding-assist add-release`. Change it there, not here.
"""
_ORDER_LINE = re.compile(r"\d{5} ([A-Z][0-9A-Z]{2,6}) +([01]) (.{60}) (.+)")
_CODE_LINE = re.compile(r"([A-Z][0-9A-Z]{2,6}) +(\S.*)")
# The note at S06: "7th characters D and S do not apply to codes in category S06 with 6th character 7 - ..., or 8 - ..."
_NOT_APPLIED = re.compile(r"7th characters (.+?) do not apply to codes in category (\w{3}) with 6th character (.+)")


class ReleaseRefused(OperatorError):
    """Why an official file was not added, and what to do."""


@dataclass(frozen=True, slots=True)
class OfficialFile:
    """What an official file says; `version` is the fiscal year in it, where it names one."""

    kind: str
    table: CodeTable
    version: str | None = None


@dataclass(frozen=True, slots=True)
class AddedRelease:
    """What a new release brought, for the operator to look over."""

    fiscal_year: str
    in_force_from: str
    in_force_until: str
    codes: int
    billable: int
    new_codes: tuple[str, ...]
    dropped_codes: tuple[str, ...]


def add_release(
    terminology_dir: Path,
    official_file: Path,
    fiscal_year: str,
    in_force_from: str,
    in_force_until: str | None = None,
) -> AddedRelease:
    """Merges one more official release into codes.csv.gz and releases.yaml; ReleaseRefused when it does not fit.

    Without `in_force_until` the release holds to the end of its fiscal year, 30 September.
    """
    folder = terminology_dir / "icd-10-cm"
    load_icd10cm(folder)  # what is there must be sound before anything joins it
    page, rows = load_yaml(folder / "releases.yaml"), read_merged(folder / "codes.csv.gz")
    until = in_force_until or f"{fiscal_year}-09-30"
    _refuse_dates(page, fiscal_year, in_force_from, until)
    newest = table_of(rows, max(entry["fiscal_year"] for entry in page["releases"]))
    official = read_official(official_file, newest)
    _refuse_wrong_file(official_file, official, fiscal_year, newest)
    entry = describe_release(fiscal_year, f"added from {official_file.name}", in_force_from, until, official.table)
    entry["source"] = {"files": [describe_file(official_file, official.kind)]}
    entry["date_read"] = date.today().isoformat()
    page["releases"] = sorted([*page["releases"], entry], key=lambda release: str(release["in_force_from"]))
    merge(rows, official.table, fiscal_year)
    write_folder(folder, page, rows)
    return _added(entry, official.table, newest)


def read_official(path: Path, newest: CodeTable) -> OfficialFile:
    """The codes of an official file, told by its content; `newest` lends a code list the headers it leaves out."""
    text = _read_text(path)
    first_line = text.lstrip().partition("\n")[0].rstrip()
    if first_line.startswith("<"):
        return read_tabular(text, path.name)
    if _ORDER_LINE.fullmatch(first_line):
        return OfficialFile("order file", read_order_file(text, path.name))
    if _CODE_LINE.fullmatch(first_line):
        return OfficialFile("code list", read_code_list(text, path.name, newest))
    raise ReleaseRefused(
        f"{path.name} is no official ICD-10-CM file: give icd10cm-order-*.txt, icd10cm-codes-*.txt or the tabular XML,"
        " unzipped."
    )


def read_order_file(text: str, name: str) -> CodeTable:
    """The order file: number, code, 1 for billable, short title, long title, in fixed columns."""
    table: CodeTable = {}
    for number, line in enumerate(text.splitlines(), 1):
        columns = _ORDER_LINE.fullmatch(line.rstrip())
        if columns is None:
            raise ReleaseRefused(f"{name}, line {number} is no line of an order file. Download the file again.")
        code, billable, _, title = columns.groups()
        table[normalise(code)] = (billable == "1", _one_line(title))
    return table


def read_code_list(text: str, name: str, newest: CodeTable) -> CodeTable:
    """The list of billable codes with titles; headers that still have a code beneath them are taken from `newest`."""
    table: CodeTable = {}
    for number, line in enumerate(text.splitlines(), 1):
        columns = _CODE_LINE.fullmatch(line.rstrip())
        if columns is None:
            raise ReleaseRefused(f"{name}, line {number} has no code and title. Download the file again.")
        table[normalise(columns[1])] = (True, _one_line(columns[2]))
    above = {code[:length].rstrip(".") for code in table for length in range(3, len(code))}
    return table | {code: (False, newest[code][1]) for code in above & newest.keys() - table.keys()}


def read_tabular(text: str, name: str) -> OfficialFile:
    """The tabular list in XML, with the codes that its seventh characters make."""
    root = parse_tabular(text, name)
    table: CodeTable = {}
    for section in root.iter("section"):
        for category in section.findall("diag"):
            table.update(_codes_beneath(category, {}, _not_applied(category)))
    return OfficialFile("tabular list", table, root.findtext("version"))


def parse_tabular(text: str, name: str) -> ET.Element:
    """The root of the tabular XML; a file with a document type is refused, for only there can entities be declared."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ReleaseRefused(f"{name} declares a document type, unlike the official list. Download it again.")
    try:
        # Expat fetches nothing, and without a document type there is no entity to expand.
        root = ET.fromstring(text.encode())  # noqa: S314
    except ET.ParseError as error:
        raise ReleaseRefused(f"{name} is no well-formed XML ({error}). Download the file again.") from None
    if root.tag != "ICD10CM.tabular":
        raise ReleaseRefused(f"{name} is no tabular list: its root is {root.tag}. Give icd10cm-tabular-*.xml.")
    return root


def _codes_beneath(
    diag: ET.Element, seventh: Mapping[str, str], barred: re.Pattern[str]
) -> Iterator[tuple[str, tuple[bool, str]]]:
    code, title = diag.findtext("name", "").strip(), _one_line(diag.findtext("desc", ""))
    below = diag.findall("diag")
    # The nearest definition of the seventh character counts.
    definition = diag.find("sevenChrDef")
    if definition is not None:
        seventh = {
            extension.get("char", ""): _one_line(extension.text or "") for extension in definition.iter("extension")
        }
    takes_seventh = bool(seventh) and not below and len(code) < 8
    yield code, (not below and not takes_seventh, title)
    for child in below:
        yield from _codes_beneath(child, seventh, barred)
    if takes_seventh:
        yield from _with_seventh(code, title, seventh, barred)


def _with_seventh(
    code: str, title: str, seventh: Mapping[str, str], barred: re.Pattern[str]
) -> Iterator[tuple[str, tuple[bool, str]]]:
    six = normalise(code.replace(".", "").ljust(6, "X"))
    for character, meaning in seventh.items():
        if not barred.fullmatch(six + character):
            yield six + character, (True, f"{title}, {meaning}")


def _not_applied(category: ET.Element) -> re.Pattern[str]:
    """The codes that a category's note takes its seventh characters away from."""
    for note in category.iterfind("notes/note"):
        if told := _NOT_APPLIED.search(note.text or ""):
            sixth = "".join(re.findall(r"\b(\w) - ", told[3]))
            seventh = "".join(re.findall(r"\b[A-Z]\b", told[1]))
            return re.compile(rf"{told[2]}\...[{sixth}][{seventh}]")
    return re.compile(r"(?!)")


def read_merged(path: Path) -> MergedRows:
    """codes.csv.gz as it is merged."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        return {
            (line["code"], line["billable"] == "1", line["title"]): set(line["releases"].split())
            for line in csv.DictReader(stream)
        }


def table_of(rows: MergedRows, fiscal_year: str) -> CodeTable:
    """The rows of one release."""
    return {code: (billable, title) for (code, billable, title), years in rows.items() if fiscal_year in years}


def merge(rows: MergedRows, table: CodeTable, fiscal_year: str) -> None:
    """Notes in `rows` what one more release has; a changed title or status makes a second row."""
    for code, (billable, title) in table.items():
        rows.setdefault((code, billable, title), set()).add(fiscal_year)


def describe_release(
    fiscal_year: str, edition: str, in_force_from: str, in_force_until: str, table: CodeTable
) -> dict[str, Any]:
    """The entry of a release in releases.yaml."""
    return {
        "fiscal_year": fiscal_year,
        "edition": edition,
        "in_force_from": in_force_from,
        "in_force_until": in_force_until,
        "codes": len(table),
        "billable": sum(billable for billable, _ in table.values()),
    }


def describe_file(path: Path, kind: str) -> dict[str, str]:
    """Which file it was, so that anyone can get the same one."""
    return {"file": path.name, "kind": kind, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def write_folder(folder: Path, page: dict[str, Any], rows: MergedRows) -> None:
    """codes.csv.gz and, with its checksum, releases.yaml: the same bytes for the same content."""
    packed = gzip.compress(_csv(rows).encode(), compresslevel=9, mtime=0)
    page["codes"] = {"file": "codes.csv.gz", "rows": len(rows), "sha256": hashlib.sha256(packed).hexdigest()}
    spelled = _PREAMBLE + yaml.safe_dump(page, sort_keys=False, allow_unicode=True, width=120)
    # Whoever is interrupted between the two renames gets a PackError about the checksum, not half a release.
    for name, content in (("codes.csv.gz", packed), ("releases.yaml", spelled.encode())):
        (folder / f"{name}.new").write_bytes(content)
    for name in ("codes.csv.gz", "releases.yaml"):
        (folder / f"{name}.new").replace(folder / name)


def _csv(rows: MergedRows) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["code", "billable", "releases", "title"])
    # The rows of a code stand oldest first, so that the last one is the newest.
    for (code, billable, title), years in sorted(rows.items(), key=lambda row: (row[0][0], max(row[1]))):
        writer.writerow([code, int(billable), " ".join(sorted(years)), title])
    return stream.getvalue()


def _refuse_dates(page: Mapping[str, Any], fiscal_year: str, first: str, last: str) -> None:
    if not re.fullmatch(r"20\d\d", fiscal_year):
        raise ReleaseRefused(f"{fiscal_year!r} is no fiscal year: give the year in which it ends, such as 2028.")
    try:
        begins, ends = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError as error:
        raise ReleaseRefused(f"The dates in force are no dates ({error}). Give them as YYYY-MM-DD.") from None
    year = int(fiscal_year)
    if not date(year - 1, 10, 1) <= begins <= ends <= date(year, 9, 30):
        raise ReleaseRefused(
            f"{first} to {last} is not within fiscal year {year}, {year - 1}-10-01 to {year}-09-30. Correct it."
        )
    for release in page["releases"]:
        if release["fiscal_year"] == fiscal_year:
            raise ReleaseRefused(
                f"Fiscal year {fiscal_year} is loaded already. Restore terminology/ first to replace it."
            )
        if first <= str(release["in_force_until"]) and str(release["in_force_from"]) <= last:
            raise ReleaseRefused(
                f"{first} to {last} overlaps the release of {release['fiscal_year']}. Correct the dates."
            )


def _refuse_wrong_file(path: Path, official: OfficialFile, fiscal_year: str, newest: CodeTable) -> None:
    years = set(re.findall(r"(?<!\d)20\d\d(?!\d)", path.name)) | ({official.version} if official.version else set())
    if years and fiscal_year not in years:
        raise ReleaseRefused(
            f"{path.name} is of {', '.join(sorted(years))}, not of {fiscal_year}. Give the file of that year."
        )
    # From year to year some hundred codes of 98,000 go: a file that lacks a tenth is cut short or another system.
    kept = len(official.table.keys() & newest.keys())
    if kept < 0.9 * len(newest):
        raise ReleaseRefused(
            f"{path.name} has {kept} of the {len(newest)} codes of the newest release loaded: it is cut short or not"
            " ICD-10-CM. Download it again."
        )


def _added(entry: Mapping[str, Any], table: CodeTable, newest: CodeTable) -> AddedRelease:
    return AddedRelease(
        entry["fiscal_year"],
        entry["in_force_from"],
        entry["in_force_until"],
        entry["codes"],
        entry["billable"],
        new_codes=tuple(sorted(table.keys() - newest.keys())),
        dropped_codes=tuple(sorted(newest.keys() - table.keys())),
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ReleaseRefused(f"{path} cannot be read ({error.strerror}). Give the path of a file.") from None
    except UnicodeDecodeError:
        raise ReleaseRefused(f"{path.name} is no UTF-8 text. If it is the zip archive, unzip it first.") from None


def _one_line(text: str) -> str:
    return " ".join(text.split())
