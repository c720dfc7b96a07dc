"""What to ask, in which order, with which options (QUERIES: every question is a compliant clinical query).

Options about a cause or a diagnosis come only from indicators of the record; the region is an anatomical axis and falls
back on the full neutral list; where nothing supports an option the question is open.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product

from service.coding.answers import NO_IMAGING, OF_AN_IMAGING, OTHER
from service.coding.lexicon import Lexicon
from service.coding.model import (
    REQUIRED,
    Assessment,
    Author,
    Documentation,
    Evidence,
    Finding,
    Option,
    Passage,
    Query,
    Question,
    Statement,
)
from service.coding.packs import REGIONS, Terminology
from service.coding.query_check import names_a_code

# A card cuts a quote at 240 characters and a form is to fit on one screen.
LONGEST_SENTENCE, LONGEST_NAME, MOST_INDICATORS = 240, 100, 8

_DOMAINS: dict[str, tuple[str, ...]] = {
    "narrowing": ("yes", "no"),
    "space": ("canal", "foramen"),
    "tissue": ("connective", "osseous", "disc", "subluxation", "unable"),
    "region": REGIONS,
    "framing": ("biomechanical", "elsewhere"),
    "certainty": ("yes", "no"),
}


def build_query(assessment: Assessment, terminology: Terminology) -> Query | None:
    """The questions of one assessment with their indicators; None where nothing is asked."""
    if not assessment.ask:
        return None
    form = _Form(assessment, terminology)
    order = ordered(assessment.ask, _documented(assessment), form.regions_offered())
    wording = terminology.main.elements
    return Query(tuple(form.question(name, wording[name]["asks"]) for name in order), form.indicators)


def asked_in_order(assessment: Assessment, terminology: Terminology) -> tuple[str, ...]:
    """What `build_query` asks, in its order, for who shows no form: the regions that it offers seldom matter to it."""
    required = [name for name in assessment.ask if name in REQUIRED]
    needs_regions = "region" in required and len(required) > 1
    regions = _Form(assessment, terminology).regions_offered() if needs_regions else ()
    return ordered(assessment.ask, _documented(assessment), regions)


def _documented(assessment: Assessment) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The required elements with their values."""
    return tuple((element.name, element.values) for element in assessment.elements if element.name in REQUIRED)


# --- the indicators -----------------------------------------------------------------------------------------------


@dataclass
class _Record:
    """The record of one assessment as a clinician reads it: whole sentences, each with its date and status."""

    documentation: Documentation
    lexicon: Lexicon
    sentences: dict[str, tuple[list[int], list[int]]] = field(default_factory=dict)  # where each begins and ends
    dated: dict[tuple[str, str], Passage] = field(default_factory=dict)
    short: dict[str, bool] = field(default_factory=dict)  # whether a sentence can be quoted

    def quoted(self, evidence: Evidence) -> Evidence:
        """The sentence in which the words stand, where it is short and brings no code with it."""
        start, end = self._sentence(evidence)
        wider = evidence.together(start, end)
        return self._dated(wider if self._fits(wider.quote) else evidence)

    def _fits(self, sentence: str) -> bool:
        if sentence not in self.short:
            self.short[sentence] = len(sentence) <= LONGEST_SENTENCE and not names_a_code(sentence)
        return self.short[sentence]

    def hedged(self, evidence: Evidence) -> Evidence:
        """The words together with those that hedge them, also where the sentence is too long to be quoted (Q9s)."""
        start, end = self._sentence(evidence)
        found = self.lexicon.find(evidence.passage.text[start:end])
        hedges = [(start + m.start, start + m.end) for m in found if m.kind == "hedge"]
        if not hedges:
            return self.quoted(evidence)
        first, last = min(hedges, key=lambda hedge: max(evidence.start - hedge[1], hedge[0] - evidence.end))
        return self.quoted(evidence.together(first, last))

    def _sentence(self, evidence: Evidence) -> tuple[int, int]:
        text = evidence.passage.text
        if text not in self.sentences:
            spans = self.lexicon.sentences(text)
            self.sentences[text] = [span.start for span in spans], [span.end for span in spans]
        starts, ends = self.sentences[text]
        first, beyond = bisect_right(ends, evidence.start), bisect_left(starts, evidence.end)
        return (starts[first], ends[beyond - 1]) if first < beyond else (0, 0)

    def _dated(self, evidence: Evidence) -> Evidence:
        """With date, status and encounter of its resource, also where the words are those of a title or a site (Q6)."""
        own = evidence.passage
        place = own.source, own.expression
        if place not in self.dated:
            self.dated[place] = self._with_date(own)
        return Evidence(self.dated[place], evidence.start, evidence.end, evidence.assertion)

    def _with_date(self, own: Passage) -> Passage:
        beside = [r.passage for r in self.documentation.readings if r.passage.source == own.source]
        status = next((p.status for p in (own, *beside) if p.status), None)
        if own.source == self.documentation.condition:
            status = status or self.documentation.verification or None
        date = next((p.date for p in (own, *beside) if p.date), None)
        earlier = any(p.earlier_encounter for p in (own, *beside))
        return Passage(
            own.text, own.source, own.expression, own.author, date, status, earlier, own.markup, own.extracted
        )


def _place(evidence: Evidence) -> tuple[str, str, int, int]:
    return evidence.passage.source, evidence.passage.expression, evidence.start, evidence.end


def _holds(shown: Evidence, words: Evidence) -> bool:
    """Whether the words stand in the quote shown."""
    if words.start < shown.start or shown.end < words.end:
        return False
    return shown.passage.expression == words.passage.expression and shown.passage.source == words.passage.source


def _is_words(evidence: Evidence) -> bool:
    """A code of a coding is no quote that a clinician can read."""
    return bool(evidence.quote) and not evidence.passage.expression.endswith("].code")


def _each_once(evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """A quote inside another quote of the same text says nothing new."""
    unique = list({_place(e): e for e in evidence}.values())
    return tuple(e for e in unique if not any(o is not e and _holds(o, e) for o in unique))


# --- the questions ------------------------------------------------------------------------------------------------


class _Form:
    """The questions of one assessment and the indicators that they share."""

    def __init__(self, assessment: Assessment, terminology: Terminology) -> None:
        self.assessment, self.terminology = assessment, terminology
        self.record = _Record(assessment.documentation, terminology.lexicon)
        self.elements = {element.name: element for element in assessment.elements}
        self.grounds = {"region": self._regions(), "tissue": self._tissues(), "framing": self._processes()}
        self.indicators = self._indicators()

    def question(self, name: str, wording: str) -> Question:
        """One question: a choice where the record supports its options, else open."""
        text = wording.replace("{finding}", self._finding(name))
        shown = self._resting_on(self.elements[name].evidence)
        after = self._shown_after(name)
        if name == "imaging.date":
            return Question(name, text, kind="date", shown_after=after)
        options = self._options(name) if self.indicators or name == "region" else ()
        return Question(name, text, options, "choice" if options else "text", shown, after)

    def _shown_after(self, name: str) -> tuple[tuple[str, str], ...]:
        """When an imaging was and what it showed is asked of whoever names one: a form is to be short."""
        modality = "imaging.modality"
        if name not in OF_AN_IMAGING or modality not in self.assessment.ask or not self.indicators:
            return ()
        return tuple((modality, code) for code in (*self._texts(modality), OTHER) if code != NO_IMAGING)

    def regions_offered(self) -> tuple[str, ...]:
        """The regions that the record points to; none where it points to none."""
        options = self._region_options()
        return tuple(option.code for option in options) if len(options) < len(REGIONS) else ()

    # -- indicators

    def _indicators(self) -> tuple[Evidence, ...]:
        """The quotes that the questions rest on, each once: the narrowing, the grounds of the options, the rest."""
        asked = [name for name in REQUIRED if name in self.assessment.ask]
        found = [self.record.quoted(e) for e in self.elements["narrowing"].evidence[:2]]
        if "certainty" in asked:
            found += [self.record.hedged(e) for e in self._doubts()]
        rest = [e for name in asked for grounds in self.grounds.get(name, {}).values() for e in grounds]
        rest += [e for name in ("narrowing", "tissue", *asked) for e in self.elements[name].evidence]
        if "framing" in asked:
            rest += [e for hit in self.assessment.hits if hit.rule.kind == "redirects" for e in hit.evidence]
        quoted = map(self.record.quoted, dict.fromkeys(rest))
        return _each_once(e for e in (*found, *quoted) if _is_words(e))[:MOST_INDICATORS]

    def _resting_on(self, evidence: Iterable[Evidence]) -> tuple[int, ...]:
        """Positions (from 1) of the indicators that hold these words; none where all are of a prior encounter (Q12)."""
        numbers = [n for e in evidence for n, shown in enumerate(self.indicators, 1) if _holds(shown, e)]
        if all(self.indicators[n - 1].passage.earlier_encounter for n in numbers):
            return ()
        return tuple(dict.fromkeys(numbers))

    def _finding(self, name: str) -> str:
        """What the question is about, in the record's own words where they are short."""
        told_by = {"framing": ("tissue", "narrowing"), "certainty": ("certainty", "narrowing")}
        for element in told_by.get(name, ("narrowing", "tissue")):
            for evidence in self.elements[element].evidence:
                for words in (*(i for i in self.indicators if _holds(i, evidence)), evidence):
                    quote = " ".join(words.quote.split()).rstrip(" .;:,")
                    if self._can_be_named(quote, evidence):
                        return f"the finding “{quote}”"
        return "the finding quoted above" if self.indicators else "the recorded problem"

    def _can_be_named(self, quote: str, evidence: Evidence) -> bool:
        is_shown = any(_holds(indicator, evidence) for indicator in self.indicators)
        return is_shown and 0 < len(quote) <= LONGEST_NAME and not names_a_code(quote)

    # -- options

    def _options(self, name: str) -> tuple[Option, ...]:
        if name == "region":
            return self._region_options()
        if name == "tissue":
            return self._tissue_options()
        if name == "framing":
            return self._resting_options(name, self._texts(name))
        if name == "space":
            shown = self._resting_on(self.elements["narrowing"].evidence)
            return tuple(Option(code, text, shown) for code, text in self._texts(name).items())
        if name == "certainty":
            shown = self._resting_on(self._doubts())
            return tuple(Option(code, text, shown) for code, text in self._texts(name).items() if shown)
        if name == "imaging.modality":
            return tuple(Option(code, text) for code, text in self._texts(name).items())
        return ()

    def _texts(self, name: str) -> Mapping[str, str]:
        """The answers that the pack words for an element, by code."""
        texts: Mapping[str, str] = self.terminology.main.elements[name].get("options", {})
        return texts

    def _resting_options(self, name: str, texts: Mapping[str, str]) -> tuple[Option, ...]:
        """The options for which the record holds grounds."""
        rows = [(code, self._resting_on(self.grounds[name].get(code, ()))) for code in texts]
        return tuple(Option(code, texts[code], shown) for code, shown in rows if shown)

    def _region_options(self) -> tuple[Option, ...]:
        """Those that the record points to; where one of them cannot be quoted, all, so that none is favoured (Q9r)."""
        texts = self._texts("region")
        pointed = self._resting_options("region", texts)
        if pointed and {option.code for option in pointed} >= self._named_regions():
            return pointed
        return tuple(Option(region, text) for region, text in texts.items())

    def _tissue_options(self) -> tuple[Option, ...]:
        """One option for each tissue that an indicator names; where they are several, also their combination."""
        texts = {tissue: self.terminology.tissue_name(tissue, "option") for tissue in self.terminology.tissues}
        options = self._resting_options("tissue", texts)
        if len(options) < 2:
            return options
        all_of_them = tuple(dict.fromkeys(n for option in options for n in option.indicators))
        return (*options, Option("several", "More than one of these", all_of_them))

    # -- what the record points to

    def _spoken(self, *authors: Author) -> list[Statement]:
        statements = self.assessment.documentation.statements(*authors)
        return [s for s in statements if s.assertion in ("affirmed", "uncertain")]

    def _doubts(self) -> list[Evidence]:
        """What is uncertain: the statement itself, and each one that was put together with it."""
        hedged = [s.evidence for s in self._spoken("provider") if s.assertion == "uncertain"]
        return [*self.elements["certainty"].evidence, *hedged]

    def _named_regions(self) -> set[str]:
        values = set(self.elements["region"].values) if "region" in self.elements else set()
        return {region for value in values for region in _regions_of(value)} & set(REGIONS)

    def _regions(self) -> dict[str, list[Evidence]]:
        documentation = self.assessment.documentation
        spoken = [f for s in self._spoken("provider", "report") for f in s.regions]
        grounds = _by_value((*spoken, *documentation.sites, *documentation.exam_places), _regions_of)
        named = self._named_regions()
        return {region: found for region, found in grounds.items() if region in named or not named}

    def _tissues(self) -> dict[str, list[Evidence]]:
        return _by_value(f for s in self._spoken("provider", "report") for f in (*s.causes, *s.listed))

    def _processes(self) -> dict[str, list[Evidence]]:
        return _by_value(f for s in self._spoken("provider") for f in s.framings)


def _by_value(
    findings: Iterable[Finding], values: Callable[[str], tuple[str, ...]] = lambda value: (value,)
) -> dict[str, list[Evidence]]:
    """The evidence for each value; what an earlier encounter found grounds no option (Q12)."""
    found: dict[str, list[Evidence]] = {}
    for finding in findings:
        if finding.evidence and not finding.evidence.passage.earlier_encounter:
            for value in values(finding.value):
                found.setdefault(value, []).append(finding.evidence)
    return found


def _regions_of(value: str) -> tuple[str, ...]:
    return ("head", "cervical") if value == "head-or-cervical" else (value,)


# --- the order ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def ordered(
    ask: tuple[str, ...], documented: tuple[tuple[str, tuple[str, ...]], ...], regions: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Required elements by how few codes their answer leaves on average, then the supporting ones together."""
    required = [name for name in ask if name in REQUIRED]
    worlds = _worlds(required, dict(documented), regions)
    left = {name: _codes_left(name, worlds) for name in required}
    first = sorted(required, key=lambda name: (left[name], REQUIRED.index(name)))
    return (*first, *(name for name in ask if name not in REQUIRED))


def _worlds(
    asked: Sequence[str], documented: Mapping[str, tuple[str, ...]], regions: Sequence[str]
) -> list[tuple[dict[str, str], str]]:
    """Every way in which the asked elements may turn out, with the code that follows."""
    domains = []
    for name in REQUIRED:
        if name in asked:
            domains.append(tuple(regions) if name == "region" and len(regions) > 1 else _DOMAINS[name])
        else:
            domains.append(_settled(name, documented.get(name, ())))
    return [
        (world, _code_in(world)) for values in product(*domains) for world in [dict(zip(REQUIRED, values, strict=True))]
    ]


def _settled(name: str, values: tuple[str, ...]) -> tuple[str, ...]:
    if name == "framing":
        return (
            ("biomechanical",)
            if not values or values[0] in ("category-words", "biomechanical", "chosen-code")
            else ("elsewhere",)
        )
    if name in ("narrowing", "certainty"):
        return ("yes",)
    known = tuple(value for value in values if value in _DOMAINS[name])
    return known[:1] or _DOMAINS[name][:1]


def _code_in(world: Mapping[str, str]) -> str:
    if "no" in (world["narrowing"], world["certainty"]):
        return "none"
    if world["framing"] == "elsewhere" or world["tissue"] == "unable":
        return f"M48.0 {world['region']}"
    tissue = world["tissue"]
    if world["space"] == "foramen":  # two families there: bone or subluxation, connective tissue or disc (POLICY 3)
        tissue = {"subluxation": "osseous", "disc": "connective"}.get(tissue, tissue)
    return f"{world['space']} {tissue} {world['region']}"


def _codes_left(name: str, worlds: Sequence[tuple[dict[str, str], str]]) -> float:
    """The mean number of codes that an answer to this question leaves possible."""
    by_answer: dict[str, set[str]] = {}
    for world, code in worlds:
        by_answer.setdefault(world[name], set()).add(code)
    return sum(len(codes) for codes in by_answer.values()) / len(by_answer)
