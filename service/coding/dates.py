"""Dates as clinicians write them, as ISO 8601 of the precision given: 11/3/26, Nov 2026, 3 November 2026."""

from __future__ import annotations

import re
from collections.abc import Iterator

_MONTHS = {
    name: index
    for index, names in enumerate(
        (
            "jan january",
            "feb february",
            "mar march",
            "apr april",
            "may",
            "jun june",
            "jul july",
            "aug august",
            "sep sept september",
            "oct october",
            "nov november",
            "dec december",
        ),
        1,
    )
    for name in names.split()
}
_NAME = "|".join(sorted(_MONTHS, key=len, reverse=True))
DATE = re.compile(
    rf"(?<![\d/.-])(?:(?P<iso>(?:19|20)\d\d-\d\d-\d\d)|(?P<month>\d{{1,2}})[/.-](?P<day>\d{{1,2}})[/.-](?P<year>(?:19|20)?\d\d)"
    rf"|(?P<name>{_NAME})\.?\s+(?:(?P<nday>\d{{1,2}})(?:st|nd|rd|th)?,?\s+)?(?P<nyear>(?:19|20)\d\d)"
    rf"|(?P<dday>\d{{1,2}})(?:st|nd|rd|th)?[\s-]+(?P<dname>{_NAME})\.?,?[\s-]+(?P<dyear>(?:19|20)\d\d|(?<=-)\d\d)"
    rf"|(?P<my>\d{{1,2}})/(?P<myyear>(?:19|20)?\d\d)(?!\s*(?:strength|motor|weakness))|(?P<only>(?:19|20)\d\d))(?![\d/])",
    re.I,
)


def find_dates(text: str, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int, str]]:
    """(start, end, ISO date) of each date in the text; US order for numbers; impossible dates are left out."""
    for match in DATE.finditer(text, start, len(text) if end is None else end):
        date = _iso(match)
        if date:
            yield match.start(), match.end(), date


def _iso(match: re.Match[str]) -> str:
    if match["iso"]:
        return match["iso"]
    if match["only"]:
        return match["only"]
    if match["my"]:
        return (
            _month(_year(match["myyear"]), int(match["my"]))
            if len(match["myyear"]) == 4 or int(match["myyear"]) >= 13
            else ""
        )
    if match["month"]:
        return _day(_year(match["year"]), int(match["month"]), int(match["day"]))
    name, day, year = (
        (match["name"], match["nday"], match["nyear"])
        if match["name"]
        else (match["dname"], match["dday"], match["dyear"])
    )
    month = _MONTHS[name.lower()]
    return _day(_year(year), month, int(day)) if day else _month(int(year), month)


def _year(written: str) -> int:
    return int(written) if len(written) == 4 else (2000 if int(written) < 70 else 1900) + int(written)


def _day(year: int, month: int, day: int) -> str:
    if month > 12 >= day:
        month, day = day, month
    return f"{year:04}-{month:02}-{day:02}" if 1 <= month <= 12 and 1 <= day <= 31 else ""


def _month(year: int, month: int) -> str:
    return f"{year:04}-{month:02}" if 1 <= month <= 12 else ""
