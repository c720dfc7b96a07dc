"""A cheap look at a row of an export: may the core have something to say about it?

It errs on one side only: what it lets go, the core would call out of scope (or a valid code of another family) and
raise no flag on but that the date of service is missing, which concerns no code outside our families. The words that
it looks for are the lexicon's; what the lexicon forgives (plurals, misspellings, missing blanks), it forgives too.

It looks only at what an answer rests on. Whether the rest of a row is valid FHIR is not its question.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from hashlib import blake2b
from io import BytesIO
from itertools import count
from typing import Any, NamedTuple

from service.attachments import attachment_text, blank_markup
from service.coding.lexicon import Lexicon
from service.coding.model import Documentation, Passage, RecordedCode
from service.coding.narrative import read
from service.coding.packs import Terminology
from service.coding.spelling import TOKEN
from service.coding.validity import recorded_code_hits
from service.concepts import Concepts, system_of
from service.fhir_values import code_of
from service.record import COUNTED_REPORTS
from service.rows import (
    ABSENT,
    UNREADABLE,
    Coding,
    Row,
    coding_of,
    element_of,
    read_code,
    read_codings,
    read_json,
    read_row,
)

_Days = tuple[tuple[int, str], ...]  # stretches of time, each with a day of it
# What a statement on narrowing cannot be without; all other kinds of term only complete one.
_TELLING_KINDS = frozenset({"narrowing", "mass-effect", "adequate"})
_TELLING_VALUES = frozenset({("tissue", "connective"), ("framing", "opll"), ("framing", "ossified-flavum")})
_KINDS_OF_TELLING = _TELLING_KINDS | {kind for kind, _ in _TELLING_VALUES}
_PLAINLY = (frozenset({"narrowing"}), frozenset({"space", "region"}))
_SIGNS = frozenset({"function"})
UNSPOKEN = frozenset({"refuted", "entered-in-error"})
_MISSHAPEN = (*UNREADABLE, AttributeError, TypeError)  # or not the shape of FHIR: the core tells what is wrong
_FOR_EVER = "9999-12-31"
_LONGEST_READ = 1_000  # characters
# A stream of ever new ones must not fill the memory: code elements as they are written, 250 bytes each (the common ones
# come early), and codings, texts by their hash, statuses and words.
_ELEMENTS, _REMEMBERED = 30_000, 100_000


class Passing(NamedTuple):
    """Of how many lines, and the indexes of those that the core may speak about."""

    lines: int
    indexes: Sequence[int]


def _telling_words(lexicon: Lexicon) -> Iterator[str]:
    """One word, the longest, of each term without which no statement on narrowing is read; and its plural."""
    for kind, value, term in lexicon.terms():
        if kind in _TELLING_KINDS or (kind, value) in _TELLING_VALUES:
            word = max(TOKEN.findall(term.lower()), key=len)
            yield from (word, f"{word}s")


class Gate:
    """Knows which code elements and words are of no matter; it learns them as they come."""

    def __init__(self, terminology: Terminology, concepts: Concepts) -> None:
        self._terminology, self.findings = terminology, frozenset(concepts.findings)
        self._telling = set(_telling_words(terminology.lexicon))  # each has a letter: a number tells nothing
        self.days = tuple(_days_on_which_rules_change(terminology))
        self._newest = ((self.day_of(newest := terminology.icd10cm.newest.in_force_from), newest),)
        self._every_day = tuple(enumerate(("0001-01-01", *self.days)))
        self._quiet: set[bytes] = set()
        self._loud: set[bytes] = set()
        self._once: set[int] = set()  # of those met once by their hash: most are never met again, and need no memory
        self._quiet_codings: set[bytes] = set()
        self._plain: set[str] = set()
        self._texts: dict[bytes, bool] = {}
        self._codings: dict[tuple[int, tuple[Coding, ...]], int] = {}
        self._statuses: set[bytes] = {b""}
        self._usual_status = ABSENT  # the first one met: to compare with it costs less than to look it up

    def day_of(self, on: str) -> int:
        """Which of the stretches of time, in each of which the same rules and releases hold, a date falls in."""
        return bisect_right(self.days, on)

    def passing(self, block: bytes) -> Passing:
        """Which lines of a stream without dates of service the core may speak about, as far as can be told unread.

        Where a text plainly says what is narrow and where, it is left to the core to read it.
        """
        numbers = count()
        try:
            # Behind the last row zip takes no number more: the next one tells how many there were.
            speaking = self._speaking(zip(map(read_row, BytesIO(block)), numbers, strict=False))
            return Passing(next(numbers), speaking)
        except UNREADABLE:  # one of them is no row
            lines = block.removesuffix(b"\n").split(b"\n")
            return Passing(len(lines), [index for index, line in enumerate(lines) if self._passes_unread(line)])

    def passes(self, line: bytes) -> bool:
        """Whether the core may speak about one line of such a stream, its words read."""
        try:
            row = read_row(line)
            return not self._quiet_on(element_of(row.code), self._newest) or self.speaks_beside(row)
        except _MISSHAPEN:
            return True

    def _passes_unread(self, line: bytes) -> bool:
        try:
            return bool(self._speaking([(read_row(line), 0)]))
        except UNREADABLE:
            return True

    def _speaking(self, rows: Iterable[tuple[Row, int]]) -> list[int]:
        """The numbers of those rows, each given with its number."""
        quiet, statuses, usual = self._quiet, self._statuses, self._usual_status
        # First what most rows are: to read them and to look here costs more than all the rest of a batch.
        return [
            number
            for row, number in rows
            if ((code := bytes(row.code)) not in quiet and not self._is_quiet(code))
            or (
                (
                    row.note is not ABSENT
                    or row.evidence is not ABSENT
                    or row.modifier_extension is not ABSENT
                    or (row.verification_status != usual and bytes(row.verification_status) not in statuses)
                )
                and self.speaks_beside(row)
            )
        ]

    def _is_quiet(self, code: bytes) -> bool:
        """Whether nothing is to be said today about a code element, by how it is written."""
        if code in self._loud:
            return False
        quiet = self._is_quiet_read(code)
        if hash(code) in self._once:
            learned = self._quiet if quiet else self._loud
            if len(learned) < _ELEMENTS:
                learned.add(code)
        else:
            if len(self._once) >= _ELEMENTS:
                self._once.clear()
            self._once.add(hash(code))
        return quiet

    def _is_quiet_read(self, written: bytes) -> bool:
        try:
            code = read_code(written)
            if self._has_telling_word(code.text) and self._may_speak(code.text):
                return False
            codings = bytes(code.coding)
            return codings in self._quiet_codings or self._is_quiet_coded(codings, code.text)
        except UNREADABLE:  # it has more in it
            try:
                return bool(self._quiet_on(read_json(written), self._newest))
            except _MISSHAPEN:
                return False

    def _is_quiet_coded(self, written: bytes, text: str) -> bool:
        codings = read_codings(written) if written else ()
        quiet = bool(codings or text) and bool(self._unquestioned(codings, self._newest))
        if quiet and codings and len(self._quiet_codings) < _ELEMENTS:
            self._quiet_codings.add(written)
        return quiet

    def speaks_beside(self, row: Row) -> bool:
        """By its status, its notes, the evidence that it names, or an extension that changes what it means."""
        if row.modifier_extension is not ABSENT:
            return True
        try:
            return self._is_unspoken(row) or any(
                self.says(read_json(raw)) for raw in (row.note, row.evidence) if raw is not ABSENT
            )
        except _MISSHAPEN:
            return True

    def _is_unspoken(self, row: Row) -> bool:
        status = bytes(row.verification_status)
        if status in self._statuses:
            return False
        unspoken = code_of(read_json(status)) in UNSPOKEN
        if not unspoken and len(self._statuses) < _REMEMBERED:
            self._statuses.add(status)
            if self._usual_status is ABSENT:
                self._usual_status = row.verification_status
        return unspoken

    def says(self, element: object) -> bool:
        """Whether the words of an element speak, wherever in it they stand."""
        return any(map(self.speaks, _strings(element)))

    def quiet_days(self, code: Mapping[str, Any] | None) -> int:
        """By bit: in which stretches of time nothing is to be said about the code element of a Condition."""
        return self._quiet_on(code, self._every_day)

    def _quiet_on(self, element: Mapping[str, Any] | None, days: _Days) -> int:
        if not element or not (element.get("coding") or element.get("text")) or self.says(element):
            return 0
        return self._unquestioned(tuple(map(coding_of, element.get("coding") or ())), days)

    def speaks(self, text: str) -> bool:
        """Whether the reader finds a narrowing, a tissue of ours or what sets one aside in a text.

        A long one may say so if but one of its words may: to read it here and again in full would cost twice.
        """
        return self._has_telling_word(text) and (len(text) > _LONGEST_READ or self._is_read_in(text))

    def names_a_sign(self, text: str) -> bool:
        """Whether a text names a neurological or functional finding, which speaks to other problems of the patient."""
        lexicon = self._terminology.lexicon
        return lexicon.names(lexicon.tokens(text), _SIGNS)

    def _may_speak(self, text: str) -> bool:
        """The same where the core will read the text next: if it plainly says what is narrow, it is not read here."""
        lexicon = self._terminology.lexicon
        tokens = lexicon.tokens(text[:_LONGEST_READ])
        if len(text) <= _LONGEST_READ and not lexicon.names(tokens, _KINDS_OF_TELLING):
            return False
        return all(lexicon.names(tokens, kinds) for kinds in _PLAINLY) or self.speaks(text)

    def _has_telling_word(self, text: str) -> bool:
        plain, before, words = self._plain, "", text.split()
        if plain.issuperset(words):  # as of nearly all texts
            return False
        for word in words:
            if (
                word not in plain
                and not word.isdecimal()
                and (self._tells(word) or self._ends_what_tells(before, word))
            ):
                return True
            before = word
        return False

    def _ends_what_tells(self, before: str, written: str) -> bool:
        """Whether it is the second half of a telling word that a blank or the end of a line breaks ('steno sis')."""
        lexicon = self._terminology.lexicon
        mended = lexicon.tokens(f"{before}\n{written}").words if lexicon.may_end_a_word(written) else ()
        return not self._telling.isdisjoint(mended)

    def _tells(self, written: str) -> bool:
        """Whether a word may be one of those without which no statement on narrowing is read."""
        if written in self._telling:
            return True
        tells = not self._telling.isdisjoint(self._terminology.lexicon.tokens(written).words)
        learned = self._telling if tells else self._plain
        if len(learned) < _REMEMBERED and (tells or not self._terminology.lexicon.may_end_a_word(written)):
            learned.add(written)
        return tells

    def _is_read_in(self, text: str) -> bool:
        """The same of a text with a word that may matter; known by its hash, so that no patient's words are kept."""
        key = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        found = self._texts.get(key)
        if found is None:
            found = self._is_read_anew(text)
            if len(self._texts) < _REMEMBERED:
                self._texts[key] = found
        return found

    def _is_read_anew(self, text: str) -> bool:
        lexicon = self._terminology.lexicon
        if not lexicon.names(lexicon.tokens(text), _KINDS_OF_TELLING):
            return False
        reading = read(Passage(text, "", ""), lexicon)
        return bool(reading.statements or reading.of("set-aside"))

    def _unquestioned(self, codings: tuple[Coding, ...], days: _Days) -> int:
        """By bit: on which of these days no rule questions any of the codes, and their displays do not speak."""
        found = self._codings.get((len(days), codings))
        if found is None:
            found = self._unquestioned_anew(codings, days)
            if len(self._codings) < _REMEMBERED:
                self._codings[len(days), codings] = found
        return found

    def _unquestioned_anew(self, codings: tuple[Coding, ...], days: _Days) -> int:
        terminology = self._terminology
        recorded = tuple(_recorded(coding) for coding in codings if coding.code.strip())
        if any(code.system == "snomed" and code.code in self.findings for code in recorded):
            return 0
        if any(_is_ours(code, terminology) for code in recorded) or any(self.speaks(each.display) for each in codings):
            return 0
        documentation = Documentation("", "claim", None, codes=recorded)
        return sum(1 << n for n, on in days if not any(recorded_code_hits(documentation, terminology, on)))


def _recorded(coding: Coding) -> RecordedCode:
    """As the reader of records has it: that of ICD-10-CM dotted and in capitals."""
    system, code = system_of({"system": coding.system}), coding.code
    if system == "icd-10-cm":
        code = code.strip().upper()
        code = code if "." in code or len(code) <= 3 else f"{code[:3]}.{code[3:]}"
    return RecordedCode("other" if system == "loinc" else system, code, "", coding.display, written=coding.code)


def _is_ours(code: RecordedCode, terminology: Terminology) -> bool:
    return terminology.pack_of(code.code) is not None or code.code.startswith("M48.0")


def _days_on_which_rules_change(terminology: Terminology) -> list[str]:
    """Every first day of a release, a code or a rule, and the day after its last."""
    release, rules = terminology.icd10cm, terminology.rules()
    spans = [(rule.in_force_from, rule.in_force_until) for rule in rules]
    ended = {_day_after(last) for _, last in spans if last and last < _FOR_EVER}
    return sorted({*release.days_of_change(), *(first for first, _ in spans if first), *ended})


def _day_after(day: str) -> str:
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()


def _strings(value: object) -> Iterator[str]:
    """The words of an element, wherever they stand in it: each `text` and `display`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, str):
                if key in ("text", "display"):
                    yield inner
            else:
                yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


# --- what a Condition is joined with -------------------------------------------------------------------------------


def report_speaks(gate: Gate, report: Mapping[str, Any]) -> bool:
    """Whether a DiagnosticReport can make the core speak: by its words, or by what it lacks."""
    if report.get("status") not in COUNTED_REPORTS or not (
        report.get("effectiveDateTime") or report.get("effectivePeriod")
    ):
        return True
    concluded = [str(report.get("conclusion") or ""), *_strings(report.get("conclusionCode"))]
    findings = {str(c.get("code")) for each in report.get("conclusionCode") or () for c in each.get("coding") or ()}
    return (
        not findings.isdisjoint(gate.findings)
        or any(map(gate.speaks, concluded))
        or _attachments_speak(gate, report.get("presentedForm") or (), report)
    )


def document_speaks(gate: Gate, document: Mapping[str, Any]) -> bool:
    """Whether a DocumentReference can make the core speak."""
    return _attachments_speak(gate, [each.get("attachment") or {} for each in document.get("content") or ()], document)


def _attachments_speak(gate: Gate, attachments: Iterable[Mapping[str, Any]], resource: Mapping[str, Any]) -> bool:
    """By an attachment that cannot be read too, since that is said; else by the narrative."""
    for attachment in attachments:
        if attachment.get("data"):
            found = attachment_text(dict(attachment))
            if found is None or gate.speaks(found.text):
                return True
    markup = (resource.get("text") or {}).get("div")
    return isinstance(markup, str) and gate.speaks(blank_markup(markup))
