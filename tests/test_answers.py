"""After an answer the same rules decide: what a clinician answers weighs as what the clinician wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from service.assist import Assist, Judged
from service.coding.answers import Answer
from service.coding.model import Passage
from service.record import Entry, Request

Json = dict[str, Any]
FRAMED = "Biomechanical lesion. Canal stenosis at C5-C6"
HEDGED = "Possible connective tissue stenosis of neural canal of cervical region"
UNFRAMED = "Ligament thickening narrowing the canal at C5-C6"
TWO_TISSUES = "Biomechanical lesion. Canal stenosis at C5-C6 with disc bulge and flavum hypertrophy"
REPORT = {
    "resourceType": "DiagnosticReport",
    "id": "r1",
    "status": "final",
    "subject": {"reference": "Patient/p1"},
    "effectiveDateTime": "2026-10-10",
    "code": {"text": "MRI cervical spine"},
    "conclusion": "C5-C6: ligamentum flavum hypertrophy narrows the central canal.",
}


def request(condition: Json | str, *reports: Json) -> Request:
    held = {"code": {"text": condition}} if isinstance(condition, str) else condition
    resource = {"resourceType": "Condition", "id": "c1", "subject": {"reference": "Patient/p1"}, **held}
    resource["recordedDate"] = "2026-11-16"
    return Request(
        "charting",
        [Entry(resource, "Condition/c1")],
        reports=[Entry(report, "DiagnosticReport/r1") for report in reports],
    )


def answer(element: str, words: str) -> Answer:
    """`#code` stands for an option, all else for words."""
    code = words[1:] if words.startswith("#") else ""
    return Answer(element, Passage(code or words, "QuestionnaireResponse/a1", "QuestionnaireResponse.item[0]"), code)


def judged(assist: Assist, sent: Request, answers: Mapping[str, str] | None = None) -> Judged:
    given = [answer(element, words) for element, words in (answers or {}).items()]
    return assist.answer(replace(sent, answers={"Condition/c1": given})).judged[0]


def codes(one: Judged) -> list[str]:
    return [suggestion.code for suggestion in one.assessment.suggestions]


@pytest.mark.parametrize(
    ("text", "element", "words", "code"),
    [
        (UNFRAMED, "framing", "biomechanical lesion", "M99.41"),
        (FRAMED, "tissue", "yellow ligament", "M99.41"),
        (FRAMED, "tissue", "bone spurs", "M99.31"),
        (TWO_TISSUES, "tissue", "#connective", "M99.41"),
        (TWO_TISSUES, "tissue", "#disc", "M99.51"),
        (HEDGED, "certainty", "#confirmed", "M99.41"),
        ("Connective tissue stenosis of neural canal", "region", "#lumbar", "M99.43"),
        ("Connective tissue stenosis of neural canal", "region", "T4 to T6", "M99.42"),
        ("Connective tissue stenosis of neural canal", "region", "knee", "M99.46"),
    ],
)
def test_an_answer_selects_the_code_that_the_same_words_in_the_record_select(
    assist: Assist, text: str, element: str, words: str, code: str
) -> None:
    before = judged(assist, request(text))
    assert (codes(before), element in before.assessment.ask) == ([], True)
    assert codes(judged(assist, request(text), {element: words})) == [code]


def test_the_evidence_of_an_answer_is_its_own_words(assist: Assist) -> None:
    after = judged(assist, request(FRAMED), {"tissue": "the yellow ligament, thickened"}).assessment
    tissue = next(element for element in after.elements if element.name == "tissue")
    [found] = tissue.evidence
    assert found.passage.source == "QuestionnaireResponse/a1"
    assert found.quote in "the yellow ligament, thickened" and "ligament" in found.quote


@pytest.mark.proves("ahima-acdis-2022: unable to determine is honoured")
@pytest.mark.parametrize(("text", "element"), [(UNFRAMED, "framing"), (FRAMED, "tissue"), (TWO_TISSUES, "tissue")])
def test_unable_to_determine_leaves_the_usual_code_as_candidate_and_asks_nothing_more(
    assist: Assist, text: str, element: str
) -> None:
    after = judged(assist, request(text), {element: "#unable-to-determine"})
    assert (codes(after), after.query, after.assessment.ask) == ([], None, ())
    assert "M48.02" in [candidate.code for candidate in after.assessment.candidates]
    assert not [c.code for c in after.assessment.candidates if c.code.startswith("M99")]


def test_a_tissue_that_cannot_be_told_is_not_settled_by_the_answer_on_the_region(assist: Assist) -> None:
    sited = {
        "code": {"text": "Disc stenosis of neural canal of cervical region"},
        "bodySite": [{"text": "Lumbar spine"}],
    }
    before = judged(assist, request(sited, REPORT))
    assert codes(before) == [] and {"tissue", "region"} <= set(before.assessment.ask)
    after = judged(assist, request(sited, REPORT), {"tissue": "#unable-to-determine", "region": "#cervical"})
    assert codes(after) == []
    assert [c.code for c in after.assessment.candidates if c.code.startswith("M99")] == []
    assert codes(judged(assist, request(sited, REPORT), {"tissue": "#disc", "region": "#cervical"})) == ["M99.51"]


@pytest.mark.parametrize("words", ["#ruled-out", "#under-evaluation", "#unable-to-determine"])
def test_what_is_not_confirmed_leaves_no_code_and_no_candidate(assist: Assist, words: str) -> None:
    after = judged(assist, request(HEDGED), {"certainty": words})
    assert (codes(after), after.assessment.candidates, after.query) == ([], (), None)


@pytest.mark.proves("ahima-acdis-2022: Q17, a question answered is not asked again")
@pytest.mark.parametrize("words", ["no idea", "#other", "#several", "#connective", "#unable-to-determine"])
def test_whatever_the_answer_the_same_question_is_not_asked_again(assist: Assist, words: str) -> None:
    assert "tissue" not in judged(assist, request(TWO_TISSUES), {"tissue": words}).assessment.ask


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("somatic dysfunction", ["M99.41"]),
        ("Segmental dysfunction of C5", ["M99.41"]),
        ("no somatic dysfunction", []),
        ("possibly somatic dysfunction", []),
        ("both degenerative and biomechanical", []),
        ("biomechanical lesion on top of spondylosis", []),
    ],
)
def test_a_process_that_is_answered_counts_as_the_cause_that_was_asked_for(
    assist: Assist, words: str, found: list[str]
) -> None:
    """What is classified elsewhere bars the code whatever else the answer names (POLICY 2.8), as it does in a note."""
    assert codes(judged(assist, request(UNFRAMED), {"framing": words})) == found
    assert codes(judged(assist, request(f"{UNFRAMED} due to {words}"))) == found


def test_a_degenerative_process_leads_to_the_usual_code(assist: Assist) -> None:
    after = judged(assist, request(UNFRAMED), {"framing": "degenerative"}).assessment
    assert [candidate.code for candidate in after.candidates] == ["M48.02"]


def test_several_tissues_stay_in_conflict(assist: Assist) -> None:
    assert codes(judged(assist, request(TWO_TISSUES), {"tissue": "#several"})) == []


@pytest.mark.parametrize(
    ("text", "element", "words"),
    [
        (FRAMED, "tissue", "yellow ligament probably"),
        ("Connective tissue stenosis of neural canal", "region", "not cervical but lumbar"),
        ("Connective tissue stenosis of neural canal", "region", "possibly lumbar"),
    ],
)
def test_what_a_short_answer_leaves_in_doubt_selects_no_code(
    assist: Assist, text: str, element: str, words: str
) -> None:
    assert codes(judged(assist, request(text), {element: words})) == []


def test_doubt_in_an_answer_is_no_answer(assist: Assist) -> None:
    assert codes(judged(assist, request(FRAMED), {"tissue": "possibly the ligament"})) == []


def test_what_the_record_settles_no_answer_changes(assist: Assist) -> None:
    sent = request("Biomechanical lesion: neural canal narrowed by thick ligamentum flavum at C5-C6")
    assert codes(judged(assist, sent, {"region": "#lumbar"})) == ["M99.41"]


def test_an_answer_settles_a_region_that_site_or_report_disputes(assist: Assist) -> None:
    text = "Connective tissue stenosis of neural canal, lumbar"
    for sent in (request(text, REPORT), request({"code": {"text": text}, "bodySite": [{"text": "cervical spine"}]})):
        assert codes(judged(assist, sent)) == []
        assert codes(judged(assist, sent, {"region": "#lumbar"})) == ["M99.43"]


def test_a_code_alone_is_documented_by_the_answers(assist: Assist) -> None:
    coding = {"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "M99.43"}
    told = {"narrowing": "The canal is narrowed", "tissue": "ligamentum flavum", "region": "#lumbar"}
    after = judged(assist, request({"code": {"coding": [coding]}}), {**told, "framing": "biomechanical lesion"})
    assert codes(after) == ["M99.43"]


def test_a_finding_of_a_report_that_the_provider_confirms_leads_to_the_next_question(assist: Assist) -> None:
    sent = request("Neck pain", REPORT)
    assert judged(assist, sent).assessment.ask == ("narrowing",)
    assert judged(assist, sent, {"narrowing": "Symptomatic stenosis of the cervical canal"}).assessment.ask == (
        "tissue",
    )


@pytest.mark.parametrize("words", ["No stenosis", "Not significant"])
def test_a_finding_of_a_report_that_the_provider_does_not_confirm_ends_it(assist: Assist, words: str) -> None:
    after = judged(assist, request("Neck pain", REPORT), {"narrowing": words})
    assert (codes(after), after.assessment.candidates, after.query) == ([], (), None)


def test_supporting_answers_document_imaging_and_function(assist: Assist) -> None:
    told = {"region": "#lumbar", "imaging.modality": "#MR", "imaging.date": "2026-10-01"}
    told |= {"imaging.finding": "canal narrowed at L4-L5", "function": "weakness of the left foot"}
    after = judged(assist, request("Connective tissue stenosis of neural canal"), told).assessment
    stated = {e.name: (e.status, e.values) for e in after.elements}
    assert stated["imaging.modality"] == ("documented", ("MR",))
    assert stated["imaging.date"] == ("documented", ("2026-10-01",))
    assert stated["imaging.finding"][0] == stated["function"][0] == "documented"


def test_who_cannot_say_which_imaging_there_was_is_not_asked_when_it_was(assist: Assist) -> None:
    asked = judged(assist, request(TWO_TISSUES), {"imaging.modality": "#unable-to-determine"}).assessment.ask
    assert "tissue" in asked and not [name for name in asked if name.startswith("imaging")]


def test_no_imaging_is_an_answer(assist: Assist) -> None:
    text = "Biomechanical lesion: neural canal narrowed by thick ligamentum flavum at C5-C6"
    after = judged(assist, request(text), {"imaging.modality": "#none-performed"}).assessment
    assert {e.status for e in after.elements if e.name.startswith("imaging.")} == {"negated"}
    assert not [name for name in after.ask if name.startswith("imaging.")]
