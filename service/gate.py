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
from typing import Any

import msgspec

from service.attachments import attachment_text, blank_markup
from service.coding.lexicon import Lexicon
from service.coding.model import Documentation, Passage, RecordedCode
from service.coding.narrative import read
from service.coding.packs import Terminology
from service.coding.spelling import TOKEN
from service.coding.validity import recorded_code_hits
from service.concepts import Concepts, system_of
from service.fhir_in import COUNTED_REPORTS, code_of

_Codings = tuple[tuple[str, str, str], ...]  # system, code and display of each coding
_Days = tuple[tuple[int, str], ...]  # stretches of time, each with a day of it
ABSENT = msgspec.Raw(b"")
# What a statement on narrowing cannot be without; all other kinds of term only complete one.
_TELLING_KINDS = frozenset({"narrowing", "mass-effect", "adequate"})
_TELLING_VALUES = frozenset({("tissue", "connective"), ("framing", "opll"), ("framing", "ossified-flavum")})
UNSPOKEN = frozenset({"refuted", "entered-in-error"})
_FOR_EVER = "9999-12-31"
_LONGEST_READ = 1_000  # characters
# A stream of ever new ones must not fill the memory: code elements as they are written, 250 bytes each (the common ones
# come early), and codings, texts by their hash, statuses and words.
_ELEMENTS, _REMEMBERED = 30_000, 100_000


class Row(msgspec.Struct, rename="camel", gc=False):
    """What the gate reads of a Condition."""

    resource_type: str = ""
    subject: msgspec.Raw = ABSENT
    code: msgspec.Raw = ABSENT
    verification_status: msgspec.Raw = ABSENT
    note: msgspec.Raw = ABSENT
    evidence: msgspec.Raw = ABSENT
    modifier_extension: msgspec.Raw = ABSENT


class _Kind(msgspec.Struct, rename="camel"):
    resource_type: str = ""


read_row = msgspec.json.Decoder(Row).decode
_read_kind = msgspec.json.Decoder(_Kind).decode
_read_json = msgspec.json.Decoder().decode


def read_rows(lines: Sequence[bytes]) -> list[Row | None]:
    """What the gate reads of these rows; None for one that is no JSON, or not an object."""
    rows: list[Row | None] = []
    reading = map(read_row, lines)
    while len(rows) < len(lines):
        try:
            rows.extend(reading)  # keeps what came before the one that fails, and then goes on behind it
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            rows.append(None)
    return rows


def element_of(raw: msgspec.Raw) -> Any:
    """What a member holds; None where the row has none."""
    return _read_json(raw) if raw is not ABSENT else None


def kind_of(line: bytes) -> str:
    """The resourceType of a row; the empty string where it cannot be told."""
    try:
        return _read_kind(line).resource_type
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


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
        self._telling = frozenset(_telling_words(terminology.lexicon))  # each has a letter: a number tells nothing
        self.days = tuple(_days_on_which_rules_change(terminology))
        self._newest = ((self.day_of(newest := terminology.icd10cm.newest.in_force_from), newest),)
        self._every_day = tuple(enumerate(("0001-01-01", *self.days)))
        self._quiet: set[bytes] = set()
        self._loud: set[bytes] = set()
        self._plain: set[str] = set()
        self._texts: dict[bytes, bool] = {}
        self._codings: dict[tuple[_Days, _Codings], int] = {}
        self._statuses: set[bytes] = {b""}

    def day_of(self, on: str) -> int:
        """Which of the stretches of time, in each of which the same rules and releases hold, a date falls in."""
        return bisect_right(self.days, on)

    def passing(self, lines: Sequence[bytes]) -> list[int]:
        """The indexes of those rows of a stream without dates of service that the core may speak about."""
        quiet, statuses = self._quiet, self._statuses
        # All at once, and first what most rows are: this line costs more than all the rest of a batch.
        return [
            index
            for index, row in enumerate(read_rows(lines))
            if row is None
            or (
                (
                    bytes(row.code) not in quiet
                    or row.resource_type != "Condition"
                    or bytes(row.verification_status) not in statuses
                    or row.note is not ABSENT
                    or row.evidence is not ABSENT
                    or row.modifier_extension is not ABSENT
                    or row.subject is ABSENT
                )
                and self._passes_looked_at(row)
            )
        ]

    def passes(self, line: bytes) -> bool:
        """Whether the core may speak about one row of such a stream."""
        return bool(self.passing([line]))

    def _passes_looked_at(self, row: Row) -> bool:
        if bytes(row.code) in self._loud:
            return True
        if row.resource_type != "Condition" or row.subject is ABSENT:
            return True
        try:
            quiet = self._quiet_on(element_of(row.code), self._newest)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, AttributeError, TypeError):
            return True  # not the shape of FHIR: the core tells what is wrong
        learned = self._quiet if quiet else self._loud
        if len(learned) < _ELEMENTS:
            learned.add(bytes(row.code))
        return not quiet or self.speaks_beside(row)

    def speaks_beside(self, row: Row) -> bool:
        """By its status, its notes, the evidence that it names, or an extension that changes what it means."""
        if row.modifier_extension is not ABSENT:
            return True
        status = bytes(row.verification_status)
        if status not in self._statuses:
            if code_of(_read_json(status)) in UNSPOKEN:
                return True
            if len(self._statuses) < _REMEMBERED:
                self._statuses.add(status)
        return any(self.says(_read_json(raw)) for raw in (row.note, row.evidence) if raw is not ABSENT)

    def says(self, element: object) -> bool:
        """Whether the words of an element speak, wherever in it they stand."""
        return any(map(self.speaks, _strings(element)))

    def quiet_days(self, code: Mapping[str, Any] | None) -> int:
        """By bit: in which stretches of time nothing is to be said about the code element of a Condition."""
        return self._quiet_on(code, self._every_day)

    def _quiet_on(self, element: Mapping[str, Any] | None, days: _Days) -> int:
        if not element or not (element.get("coding") or element.get("text")) or self.says(element):
            return 0
        codings = tuple(
            (system_of(coding), str(coding.get("code") or ""), str(coding.get("display") or ""))
            for coding in element.get("coding") or ()
        )
        found = self._codings.get((days, codings))
        if found is None:
            found = self._unquestioned(codings, days)
            if len(self._codings) < _REMEMBERED:
                self._codings[days, codings] = found
        return found

    def speaks(self, text: str) -> bool:
        """Whether the reader finds a narrowing, a tissue of ours or what sets one aside in a text.

        A long one may say so if but one of its words may: to read it here and again in full would cost twice.
        """
        words = text.split()
        if self._plain.issuperset(words):
            return False
        lexicon = self._terminology.lexicon
        new = [word for word in words if word not in self._plain and not word.isdecimal()]
        if not new:
            return False
        plain = [word for word in new if self._telling.isdisjoint(lexicon.tokens(word).words)]
        if len(self._plain) < _REMEMBERED:
            self._plain.update(plain)
        return len(plain) < len(new) and (len(text) > _LONGEST_READ or self._is_read_in(text))

    def _is_read_in(self, text: str) -> bool:
        """The same of a text with a word that may matter; known by its hash, so that no patient's words are kept."""
        key = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        found = self._texts.get(key)
        if found is None:
            reading = read(Passage(text, "", ""), self._terminology.lexicon)
            found = bool(reading.statements or reading.of("set-aside"))
            if len(self._texts) < _REMEMBERED:
                self._texts[key] = found
        return found

    def _unquestioned(self, codings: _Codings, days: _Days) -> int:
        terminology = self._terminology
        for system, code, _ in codings:
            if system == "snomed" and code in self.findings:
                return 0
        recorded = tuple(
            RecordedCode("other" if system == "loinc" else system, _plain_code(system, code), "", display, written=code)
            for system, code, display in codings
            if code.strip()
        )
        if any(_is_ours(code, terminology) for code in recorded):
            return 0
        documentation = Documentation("", "claim", None, codes=recorded)
        return sum(1 << n for n, on in days if not any(recorded_code_hits(documentation, terminology, on)))


def _plain_code(system: str, code: str) -> str:
    """As the reader of records writes it: dotted and in capitals."""
    plain = code.strip().upper()
    if system != "icd-10-cm":
        return code
    return plain if "." in plain or len(plain) <= 3 else f"{plain[:3]}.{plain[3:]}"


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
