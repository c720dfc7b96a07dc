"""What the provider answers to a query, as findings that the same rules weigh as all else that the provider wrote.

An answer settles its element where the record left it open, and nowhere else: it was asked for with the record in view.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from service.coding.lexicon import Lexicon
from service.coding.model import REQUIRED, Documentation, Evidence, Finding, Passage, Reading, Statement
from service.coding.narrative import read

UNABLE, OTHER, SEVERAL, NO_IMAGING = "unable-to-determine", "other", "several", "none-performed"
OF_AN_IMAGING = ("imaging.date", "imaging.finding")  # asked for together with the modality, and nothing without one
# An answer of two words is no sentence; the question that it answers supplies the rest of one.
_QUESTION, _WHERE = "Stenosis due to ", "Stenosis of neural canal, "
_STATUS = {"confirmed": "confirmed", "ruled-out": "refuted"}


class Answer(NamedTuple):
    """The answer to the question on one element: the words chosen or written, and the code where one was chosen."""

    element: str
    passage: Passage
    code: str = ""


def with_answers(documentation: Documentation, answers: Sequence[Answer], lexicon: Lexicon) -> Documentation:
    """The documentation with the provider's answers; each element answered is not asked for again (QUERIES Q17)."""
    if not answers:
        return documentation
    found = [finding for answer in answers for finding in _findings(answer, lexicon)]
    settled = tuple(finding for finding in found if finding.element in REQUIRED)
    beside = [finding for finding in found if finding.element not in REQUIRED]
    readings = [read(answer.passage, lexicon) for answer in answers if not answer.code]
    caused = [finding for answer in answers if not answer.code for finding in _stated_as_cause(answer, lexicon)]
    readings += [Reading(f.evidence.passage, findings=(f,)) for f in (*beside, *caused) if f.evidence]
    status = next((_STATUS.get(f.value, "") for f in settled if f.element == "certainty"), "")
    return documentation._replace(
        readings=(*documentation.readings, *readings),
        imaging=(*documentation.imaging, *(f for f in beside if f.element == "imaging.finding")),
        answers=settled,
        answered=tuple(dict.fromkeys(name for answer in answers for name in _answered(answer))),
        verification=status or documentation.verification,
    )


def _answered(answer: Answer) -> tuple[str, ...]:
    """Whoever cannot say which imaging there was is not asked when it was and what it showed (QUERIES)."""
    is_unknown = answer.element == "imaging.modality" and answer.code == UNABLE
    return (answer.element, *(OF_AN_IMAGING if is_unknown else ()))


def _findings(answer: Answer, lexicon: Lexicon) -> Iterator[Finding]:
    evidence = Evidence(answer.passage, 0, len(answer.passage.text))
    if answer.code == UNABLE and answer.element in ("tissue", "framing"):
        yield Finding("undetermined", "undetermined", evidence)
    elif answer.code == NO_IMAGING:
        yield Finding("imaging.none", "none", evidence)
    elif answer.code:
        if answer.code not in (UNABLE, OTHER, SEVERAL):
            yield Finding(answer.element, answer.code, evidence)
    elif answer.element == "narrowing":
        yield from _significance(answer, lexicon)
    elif answer.element in ("imaging.date", "imaging.finding"):
        yield Finding(answer.element, answer.passage.text if answer.element == "imaging.date" else "stated", evidence)
    elif answer.element in REQUIRED:
        yield from _worded(answer, lexicon)


def _significance(answer: Answer, lexicon: Lexicon) -> Iterator[Finding]:
    """Whether the words state or deny a narrowing; a statement counts as the reading of the words themselves."""
    statements = read(answer.passage, lexicon).statements
    stated = [s for s in statements if s.narrowing == "stated" and s.assertion == "affirmed"]
    denied = [s for s in statements if s.narrowing == "stated" and s.assertion == "negated"]
    if stated or denied:
        lead = (stated or denied)[0]
        yield Finding("narrowing", "stenosis", lead.evidence, lead.assertion)


def _worded(answer: Answer, lexicon: Lexicon) -> Iterator[Finding]:
    """The findings on the element asked for, in the clinician's own words; none where they are in doubt."""
    said = {mention.kind for mention in lexicon.find(answer.passage.text)}
    if "hedge" in said or (answer.element == "region" and "negation" in said):
        return  # of a few words nothing else is certain: "yellow ligament, probably", "not cervical but lumbar"
    question = _WHERE if answer.element == "region" else _QUESTION
    asked = replace(answer.passage, text=question + answer.passage.text)
    for statement in read(asked, lexicon).statements:
        if statement.assertion == "affirmed" and not (answer.element == "tissue" and statement.cause_uncertain):
            for finding in _of(statement, answer.element):
                if finding.evidence and finding.evidence.start >= len(question):
                    words = _unasked(finding.evidence, answer.passage, question)
                    yield Finding(finding.element, finding.value, words, finding.assertion, finding.detail)


def _stated_as_cause(answer: Answer, lexicon: Lexicon) -> Iterator[Finding]:
    """Segmental dysfunction counts where it is stated as the cause (POLICY 2.2), which the question makes of it."""
    if answer.element != "framing":
        return
    alone = {finding.value for finding in read(answer.passage, lexicon).findings if finding.element == "framing"}
    asked = replace(answer.passage, text=_QUESTION + answer.passage.text)
    for finding in read(asked, lexicon).findings:
        is_new = finding.value == "biomechanical" and finding.value not in alone and finding.assertion == "affirmed"
        if finding.element == "framing" and is_new and finding.evidence and finding.evidence.start >= len(_QUESTION):
            yield Finding("framing", finding.value, _unasked(finding.evidence, answer.passage, _QUESTION))


def _of(statement: Statement, element: str) -> tuple[Finding, ...]:
    if element == "space":
        return (statement.space,) if statement.space else ()
    by_element = {"tissue": statement.causes, "region": statement.regions, "framing": statement.framings}
    return by_element.get(element, ())


def _unasked(evidence: Evidence, passage: Passage, question: str) -> Evidence:
    """The same words, counted in the answer alone."""
    shift = len(question)
    return Evidence(passage, evidence.start - shift, evidence.end - shift, evidence.assertion)


# --- what an answer settles ---------------------------------------------------------------------------------------


def settle(statement: Statement, answers: Iterable[Finding], left_open: Sequence[str]) -> Statement | None:
    """The statement with what the answers say on the elements left open; None where they deny or rule it out."""
    told: dict[str, list[Finding]] = {}
    for finding in answers:
        if finding.element in left_open:
            told.setdefault(finding.element, []).append(finding)
    if any(f.assertion == "negated" or f.value == "ruled-out" for found in told.values() for f in found):
        return None
    if space := told.get("space"):
        statement = statement.but(space=space[0])
    if regions := told.get("region"):
        statement = statement.but(regions=tuple(regions), regions_joined=True)
    if tissues := told.get("tissue"):
        statement = statement.but(causes=tuple(tissues), listed=(), cause_uncertain=False)
    if framings := told.get("framing"):
        statement = statement.but(framings=(*statement.framings, *framings))
    if any(f.value == "confirmed" for f in told.get("certainty", ())):
        statement = statement.but(assertion="affirmed")
    return statement


def answered_alone(documentation: Documentation) -> list[Statement]:
    """Where the provider wrote nothing on a narrowing (a code alone): what the answers say stands by itself."""
    evidence = next((f.evidence for f in documentation.answers if f.evidence), None)
    return [Statement("affirmed", "unstated", evidence)] if evidence else []
