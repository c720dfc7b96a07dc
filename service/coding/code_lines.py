"""codes.csv as it lies there: a line is found by bisection and read when it is asked for.

98,000 lines as objects of Python would cost every start its time and every worker their memory.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b

# billable, title, the fiscal years whose release has the row
CodeRow = tuple[bool, str, frozenset[str]]
HEADING = "code,billable,releases,title\n"
_REMEMBERED = 10_000  # codes
_WORD = re.compile(r"[^\W\d_]{3,}")


class CodeLines:
    """The lines of all codes, in the order of the codes; those of one code oldest first."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lowered = ""
        self._found: dict[str, str] = {}

    def __contains__(self, code: str) -> bool:
        return bool(self._of(code))

    def rows(self, code: str) -> list[CodeRow]:
        """The rows of a code; none where it is no code here."""
        return [_row(line) for line in self._of(code).split("\n") if line]

    def beginning_with(self, start: str) -> Iterator[str]:
        """Each code that begins so, in order."""
        text, at = self._text, self._place(start)
        while at < len(text) and text.startswith(start, at):
            code = text[at : text.find(",", at)]
            yield code
            at = self._end(at, code)

    def lines_with(self, word: str) -> Iterator[str]:
        """Each line in which a lower-case word stands, in lower case."""
        # Once made it is kept (9 MB), since to make it takes ten times as long as to search it.
        self._lowered = self._lowered or self._text.lower()
        text, written = self._lowered, word.replace('"', '""')
        at = text.find(written)
        while at >= 0:
            end = text.find("\n", at)
            yield text[text.rfind("\n", 0, at) + 1 : end]
            at = text.find(written, end)

    def __iter__(self) -> Iterator[str]:
        """Each line as it is written."""
        return iter(self._text.removesuffix("\n").split("\n"))  # splitlines() would cut at U+0085 as well

    def _of(self, code: str) -> str:
        """The lines of a code."""
        found = self._found.get(code)
        if found is None:
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            at = self._place(code)
            found = self._found[code] = self._text[at : self._end(at, code)]
        return found

    def _end(self, at: int, code: str) -> int:
        """Where the lines of a code end that begin at a place."""
        begins = f"{code},"
        while self._text.startswith(begins, at):
            at = self._text.find("\n", at) + 1
        return at

    def _place(self, code: str) -> int:
        """Where the first line begins whose code is not before this one."""
        text, low, high = self._text, 0, len(self._text)
        while low < high:  # both are beginnings of lines
            middle = (low + high) // 2
            begins = max(text.rfind("\n", low, middle) + 1, low)
            if text[begins : text.find(",", begins)] < code:
                low = text.find("\n", middle) + 1
            else:
                high = begins
        return low


class Overview:
    """What only who has read all lines knows: the fiscal years, the words of the titles, and whether one is a title.

    The titles are there as their hashes, sorted (0.8 MB); themselves they would be 15.
    """

    def __init__(self, years: Iterable[str], words: Iterable[str], hashes: array[int]) -> None:
        self.years, self.words, self._hashes = frozenset(years), frozenset(words), hashes

    def has_title(self, title: str) -> bool:
        """Whether some code has this title, written as `plain` does."""
        sought = _hash(title)
        place = bisect_left(self._hashes, sought)
        return place < len(self._hashes) and self._hashes[place] == sought

    def to_json(self) -> dict[str, str]:
        """For `overview_from`, on the same machine."""
        joined = {"years": " ".join(sorted(self.years)), "words": " ".join(sorted(self.words))}
        return {**joined, "hashes": self._hashes.tobytes().hex()}


def overview_from(kept: Mapping[str, str]) -> Overview:
    """What `to_json` told."""
    return Overview(kept["years"].split(), kept["words"].split(), array("Q", bytes.fromhex(kept["hashes"])))


def overview_of(lines: CodeLines) -> Overview:
    """All lines read; ValueError where one has not four fields, or stands out of order."""
    years, written, hashes, before = set[str](), set[str](), set[int](), ""
    for line in lines:
        code, _, releases, title = line.split(",", 3)
        if code < before:
            raise ValueError(f"{code} stands after {before}")
        before = code
        told = plain(unquoted(title))
        years.add(releases)
        written.update(told.split(" "))
        hashes.add(_hash(told))
    words = (word for one in written for word in _WORD.findall(one))
    return Overview((year for each in years for year in each.split()), words, array("Q", sorted(hashes)))


def plain(title: str) -> str:
    """In lower case, with single blanks."""
    return " ".join(title.lower().split())


def _hash(title: str) -> int:
    # Unlike hash(), the same in every process; 97,000 titles among 2^64 leave no room for a chance hit.
    return int.from_bytes(blake2b(title.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _row(line: str) -> CodeRow:
    _, billable, years, title = line.split(",", 3)  # csv.reader takes three times as long
    return billable == "1", unquoted(title), frozenset(years.split())


def unquoted(field: str) -> str:
    """The last field of a CSV line, which holds no line break."""
    return field[1:-1].replace('""', '"') if field.startswith('"') else field
