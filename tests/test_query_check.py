"""Every question is a compliant clinical documentation query: what is not is caught, and what we send passes."""

from __future__ import annotations

import base64
import copy
import itertools
import json
import logging
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from service.assist import QUERY_RULES, Assist, Judged, form_faults
from service.cards import Call, Cards
from service.coding.errors import PackError
from service.coding.model import ELEMENTS, Setting
from service.coding.packs import REGIONS
from service.coding.query import ordered
from service.coding.query_check import QueryFault, QueryRules, load_query_rules, names_a_code, query_faults
from service.fhir_out import CANONICAL, OPTION_SYSTEM, assessment_part, built_form, prepopulated, questionnaire_of
from service.record import Entry, Request
from service.shipped import terminology_dir

Json = dict[str, Any]
EDITION = "ahima-acdis-2022"

# --- one good form, written by hand -------------------------------------------------------------------------------

OWN_WORDS = "Possible stenosis at C5-C6 with ligament thickening; C6-C7 disc bulge."
OLD_WORDS = "<p>Ligamentum flavum <b>thickened</b> at&nbsp;C5-C6.</p>"
OWN, OLD = ("Condition/c1", "Condition.code.text"), ("DiagnosticReport/r1", "DiagnosticReport.presentedForm[0].data")


def indicator(number: int, quote: str, place: tuple[str, str], span: tuple[int, int], label: str, **more: str) -> Json:
    parts: list[Json] = [
        {"url": "quote", "valueString": quote},
        {"url": "source", "valueReference": {"reference": place[0]}},
        {"url": "expression", "valueString": place[1]},
        {"url": "start", "valueInteger": span[0]},
        {"url": "end", "valueInteger": span[1]},
        {"url": "priorEncounter", "valueBoolean": "prior encounter" in label},
        {"url": "date", "valueDate": more["date"]},
        {"url": "status", "valueCode": more["status"]},
    ]
    extension = [{"url": f"{CANONICAL}/StructureDefinition/query-indicator", "extension": parts}]
    return {"linkId": f"indicator-{number}", "type": "display", "text": f"“{quote}” — {label}", "extension": extension}


def option(code: str, display: str, *indicators: int) -> Json:
    url = f"{CANONICAL}/StructureDefinition/option-indicator"
    rests_on = [{"url": url, "valueString": f"indicator-{number}"} for number in indicators]
    coding = {"system": OPTION_SYSTEM, "code": code, "display": display}
    return {"valueCoding": coding, "extension": rests_on} if rests_on else {"valueCoding": coding}


def choice(element: str, text: str, *options: Json) -> list[Json]:
    offered = [*options, option("other", "Other"), option("unable-to-determine", "Unable to determine")]
    enabled = {"question": element, "operator": "=", "answerCoding": {"system": OPTION_SYSTEM, "code": "other"}}
    return [
        {"linkId": element, "type": "choice", "text": text, "required": False, "answerOption": offered},
        {"linkId": f"{element}.other", "type": "text", "text": "Other (please specify)", "enableWhen": [enabled]},
    ]


def good_items() -> list[Json]:
    hidden = {"url": "http://hl7.org/fhir/StructureDefinition/questionnaire-hidden", "valueBoolean": True}
    label = "Provider, problem or diagnosis, dated 2026-10-20, status provisional"
    old_label = "Report, dated 2024-03-01, status final, prior encounter"
    old_quote = "Ligamentum flavum thickened at C5-C6."
    return [
        indicator(1, OWN_WORDS, OWN, (0, len(OWN_WORDS)), label, date="2026-10-20", status="provisional"),
        indicator(2, old_quote, OLD, (3, len(OLD_WORDS) - 4), old_label, date="2024-03-01", status="final"),
        *choice(
            "tissue",
            "In your judgement, which structure or tissue accounts for the finding “Possible stenosis at C5-C6”?",
            option("connective", "Ligament or other connective tissue", 1, 2),
            option("disc", "Intervertebral disc", 1),
        ),
        *choice("region", "Which region of the body is concerned?", *(option(r, f"Region {r}") for r in REGIONS)),
        *choice(
            "certainty",
            "What is the status of the finding “Possible stenosis at C5-C6” at this time?",
            option("confirmed", "Confirmed", 1),
            option("under-evaluation", "Still under evaluation", 1),
            option("ruled-out", "Ruled out", 1),
        ),
        {"linkId": "framing", "type": "text", "text": "In your judgement, what process accounts for it?"},
        {"linkId": "imaging.date", "type": "date", "text": "On which date was the imaging performed?"},
        {"linkId": "space", "type": "string", "readOnly": True, "extension": [hidden]},
    ]


def good_card() -> Json:
    return {
        "summary": "4 questions on the documentation of a problem",
        "indicator": "info",
        "detail": f"- “{OWN_WORDS}” — Provider\n\nAnswering is optional; “unable to determine” is an answer.",
        "source": {"label": "FHIR Coding Assist", "url": "https://coding.example/rules/tissue-is-stated"},
        "suggestions": [
            {"label": "Put the questions on the task list", "uuid": "b4c21e10-0000-4e10-8000-f0a1b2c3d4e5"}
        ],
        "overrideReasons": [{"code": "declined", "display": "Declined"}],
    }


@dataclass
class Sent:
    """Everything that leaves the service with one query."""

    items: list[Json] = field(default_factory=good_items)
    title: str = "Documentation query"
    card: Json = field(default_factory=good_card)
    response: Json = field(
        default_factory=lambda: {"item": [{"linkId": "space", "answer": [{"valueString": "canal"}]}]}
    )
    texts: dict[tuple[str, str], str] = field(default_factory=lambda: {OWN: OWN_WORDS, OLD: OLD_WORDS})
    ask: tuple[str, ...] = ("tissue", "region", "certainty", "framing", "imaging.date")

    def item(self, link_id: str) -> Json:
        return next(item for item in self.items if item["linkId"] == link_id)

    def options(self, element: str) -> list[Json]:
        options: list[Json] = self.item(element)["answerOption"]
        return options

    def parts(self, number: int) -> list[Json]:
        parts: list[Json] = self.item(f"indicator-{number}")["extension"][0]["extension"]
        return parts

    def without(self, *link_ids: str) -> None:
        self.items = [item for item in self.items if item["linkId"] not in link_ids]

    def faults(self, rules: QueryRules) -> list[QueryFault]:
        form = {"resourceType": "Questionnaire", "title": self.title, "item": self.items}
        return query_faults(form, rules, texts=self.texts, ask=self.ask, card=self.card, response=self.response)


@pytest.fixture(scope="module")
def rules() -> QueryRules:
    return load_query_rules(terminology_dir() / QUERY_RULES)


# --- bad forms: one small change of the good one each -------------------------------------------------------------

Change = Callable[[Sent], Any]
BAD: dict[str, Change] = {}


def both(*changes: Change) -> Change:
    """Several changes that make one."""

    def change(sent: Sent) -> None:
        for one in changes:
            one(sent)

    return change


def bad(name: str) -> Callable[[Change], Change]:
    """`name` is the rule that is broken and how."""

    def keep(change: Change) -> Change:
        assert name not in BAD, name
        BAD[name] = change
        return change

    return keep


def says(link_id: str, text: str) -> Change:
    return lambda sent: sent.item(link_id).update(text=text)


def offers(element: str, code: str, display: str, *indicators: int) -> Change:
    return lambda sent: sent.options(element).insert(0, option(code, display, *indicators))


def without_option(element: str, *codes: str) -> Change:
    def change(sent: Sent) -> None:
        kept = [o for o in sent.options(element) if o["valueCoding"]["code"] not in codes]
        sent.item(element)["answerOption"] = kept

    return change


def labelled(number: int, old: str, new: str) -> Change:
    def change(sent: Sent) -> None:
        shown = sent.item(f"indicator-{number}")
        assert old in shown["text"]
        shown["text"] = shown["text"].replace(old, new)

    return change


def part(number: int, url: str, value: Any) -> Change:
    def change(sent: Sent) -> None:
        held = next(p for p in sent.parts(number) if p["url"] == url)
        held[next(key for key in held if key.startswith("value"))] = value

    return change


def without_part(number: int, url: str) -> Change:
    return lambda sent: sent.parts(number).remove(next(p for p in sent.parts(number) if p["url"] == url))


def rests_on(element: str, position: int, *numbers: int) -> Change:
    def change(sent: Sent) -> None:
        coding = sent.options(element)[position]["valueCoding"]
        sent.options(element)[position] = option(coding["code"], coding["display"], *numbers)

    return change


def wrote(words: str) -> Change:
    """The record holds other words than those quoted."""
    return lambda sent: sent.texts.update({OWN: words})


def answers(link_id: str) -> Change:
    answer = {"linkId": link_id, "answer": [{"valueString": "x"}]}
    return lambda sent: sent.response["item"].append(answer)


def opened(element: str) -> Change:
    """A question without options."""
    return lambda sent: sent.item(element).update(type="text", text="What is known of the problem?", answerOption=[])


def suggests(**content: Any) -> Change:
    return lambda sent: sent.card["suggestions"][0].update(content)


BAD |= {
    "Q1 diagnosis in the title": lambda sent: setattr(sent, "title", "Query on cervical stenosis"),
    "Q1 code in the title": lambda sent: setattr(sent, "title", "Query on M99.41"),
    "Q1 diagnosis in the summary": lambda sent: sent.card.update(summary="A question on the patient's myelopathy"),
    "Q1 header in the summary": lambda sent: sent.card.update(summary="A question on M99.4"),
    "Q2 do you agree": says("framing", "Do you agree that the process is degenerative?"),
    "Q2 please document": says("framing", "Please document the process."),
    "Q2 should be coded": says("tissue", "Which tissue should be coded?"),
    "Q2 in an option": offers("tissue", "bone", "Bone (most likely)", 1),
    "Q2 in the card": lambda sent: sent.card.update(detail="Please document the tissue."),
    "Q2 the title of the category": says("framing", "Is it connective tissue stenosis of neural canal?"),
    "Q2 a diagnosis of our own": says("framing", "What process accounts for the myelopathy?"),
    "Q2 no words": lambda sent: sent.item("framing").pop("text"),
    "Q3 DRG in a question": says("framing", "Which process is it? It moves the DRG."),
    "Q3 payment in an option": offers("tissue", "bone", "Bone (higher payment)", 1),
    "Q3 denial in the detail": lambda sent: sent.card.update(detail="An answer avoids a denial."),
    "Q3 coverage in a label": labelled(1, "status", "needed for coverage, status"),
    "Q3 audit in a reason": lambda sent: sent.card["overrideReasons"].append({"display": "Risk an audit"}),
    "Q3 quality score on a button": suggests(label="Raise your quality score"),
    "Q4 options without an indicator": lambda sent: sent.without("indicator-1", "indicator-2"),
    "Q5 other words than the record's": wrote(OWN_WORDS.replace("stenosis", "narrowing")),
    "Q5 shifted by one": part(1, "start", 1),
    "Q5 past the end": part(1, "end", len(OWN_WORDS) + 1),
    "Q5 unknown source": part(1, "source", {"reference": "Condition/c2"}),
    "Q5 shows other words": labelled(1, "Possible", "Severe"),
    "Q5 blanks folded in plain text": wrote(OWN_WORDS.replace("C5-C6 with", "C5-C6  with")),
    "Q5 a question quotes what is not there": says("framing", "What process accounts for the finding “bone spur”?"),
    "Q6 no source": without_part(1, "source"),
    "Q6 source not shown": labelled(1, "Provider, problem or diagnosis, ", ""),
    "Q6 date not shown": labelled(1, "dated 2026-10-20, ", ""),
    "Q6 another date": labelled(1, "dated 2026-10-20", "dated 2026-10-21"),
    "Q6 undated though it has a date": labelled(1, "dated 2026-10-20", "undated"),
    "Q6 status not shown": labelled(1, ", status provisional", ""),
    "Q6 another status": labelled(2, "status final", "status amended"),
    "Q7 no Other": without_option("tissue", "other"),
    "Q7 no free text": lambda sent: sent.without("tissue.other"),
    "Q7 free text never enabled": lambda sent: sent.item("tissue.other")["enableWhen"][0].update(question="region"),
    "Q7 free text read-only": lambda sent: sent.item("tissue.other").update(readOnly=True),
    "Q8 not offered": without_option("tissue", "unable-to-determine"),
    "Q8 under other words": lambda sent: sent.options("tissue")[-1]["valueCoding"].update(display="Skip"),
    "Q9 no supported option": without_option("tissue", "connective", "disc"),
    "Q9 the same words twice": offers("tissue", "discus", "Intervertebral disc", 1),
    "Q9 the same answer twice": offers("tissue", "disc", "Disc", 1),
    "Q9c cause without an indicator": offers("tissue", "osseous", "Bone"),
    "Q9c indicator that is not shown": offers("tissue", "osseous", "Bone", 7),
    "Q9c framing of our own": lambda sent: sent.items.extend(
        choice("framing", "What process accounts for it?", option("biomechanical", "Altered mechanics"))
    ),
    "Q9r regions left out": without_option("region", "head"),
    "Q9r another order": lambda sent: sent.options("region").insert(0, sent.options("region").pop(3)),
    "Q9r no region": offers("region", "left", "Left side"),
    "Q9r indicator that is not shown": rests_on("region", 0, 9),
    "Q9s status left out": without_option("certainty", "ruled-out"),
    "Q9s status of our own": offers("certainty", "likely", "Likely", 1),
    "Q9s rests on nothing": both(*(rests_on("certainty", n) for n in range(3))),
    "Q10 initial": lambda sent: sent.item("framing").update(initial=[{"valueString": "degenerative"}]),
    "Q10 initial expression": lambda sent: sent.item("framing").update(
        extension=[{"url": "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-initialExpression"}]
    ),
    "Q10 selected option": lambda sent: sent.options("tissue")[0].update(initialSelected=True),
    "Q10 recommended suggestion": suggests(isRecommended=True),
    "Q10 answered": answers("tissue"),
    "Q10 Other answered": answers("tissue.other"),
    "Q11 code as an option": offers("tissue", "bone", "M99.31", 1),
    "Q11 code behind an option": offers("tissue", "M99.31", "Bone", 1),
    "Q11 code without its dot": offers("tissue", "m9931", "Bone", 1),
    "Q11 option of a coding system": lambda sent: sent.options("tissue")[0]["valueCoding"].update(
        system="http://hl7.org/fhir/sid/icd-10-cm"
    ),
    "Q11 option without words": lambda sent: sent.options("tissue")[0]["valueCoding"].update(display="1"),
    "Q11 code in a question": says("framing", "Which process is it, M48.02 or another?"),
    "Q11 code on the form": lambda sent: sent.item("framing").update(code=[{"code": "M48.02"}]),
    "Q11 code in an extension": lambda sent: sent.item("framing").update(
        extension=[{"url": "https://coding.example/candidate", "valueCode": "M48.02"}]
    ),
    "Q11 code beside a quote": labelled(1, "status", "candidate M99.41, status"),
    "Q11 code in the detail": lambda sent: sent.card.update(detail="It is M99.41."),
    "Q11 code in an action": suggests(actions=[{"type": "update", "resource": {"code": {"text": "M99.41"}}}]),
    "Q11 code in an address": lambda sent: sent.card["source"].update(url="https://coding.example/forms/1?for=M99.41"),
    "Q11 code in the response": lambda sent: sent.response["item"][0]["answer"][0].update(valueString="M99.41"),
    "Q12 not labelled": labelled(2, ", prior encounter", ""),
    "Q12 not said": without_part(2, "priorEncounter"),
    "Q12 sole ground": rests_on("tissue", 1, 2),
    "Q13 yes/no item": lambda sent: sent.item("framing").update(type="boolean"),
    "Q13 yes and no as options": lambda sent: sent.item("tissue").update(
        answerOption=[option("y", "Yes", 1), option("n", "No", 1), *sent.options("tissue")[-2:]]
    ),
    "Q14 required": lambda sent: sent.item("tissue").update(required=True),
    "Q14 required in a group": lambda sent: sent.items.append(
        {"linkId": "g", "type": "group", "item": [{**sent.items.pop(-2), "required": True}]}
    ),
    "Q14 at least one answer": lambda sent: sent.item("framing").update(
        extension=[{"url": "http://hl7.org/fhir/StructureDefinition/questionnaire-minOccurs", "valueInteger": 1}]
    ),
    "Q14 critical card": lambda sent: sent.card.update(indicator="critical"),
    "Q16 no documentation element": lambda sent: sent.items.append({"linkId": "side", "type": "text", "text": "?"}),
    "Q16 not to be asked": lambda sent: setattr(sent, "ask", sent.ask[1:]),
    "Q16 not asked": lambda sent: sent.without("framing"),
    "Q16 asked twice": lambda sent: sent.items.append(copy.deepcopy(sent.item("framing"))),
    "Q16 in the record": answers("region"),
    "Q16 an indicator by another name": lambda sent: sent.item("indicator-2").update(linkId="finding"),
}  # fmt: skip


@bad("Q9s hedge left out of the quote")
def _hedge_left_out(sent: Sent) -> None:
    shown = sent.item("indicator-1")
    shown["text"] = shown["text"].replace("Possible stenosis", "stenosis").replace("status provisional", "status final")
    for url, value in (("quote", OWN_WORDS[9:]), ("start", 9), ("status", "final")):
        part(1, url, value)(sent)


@bad("Q11 the record's own code in a question")
def _own_code_in_a_question(sent: Sent) -> None:
    in_record(sent, "M99.41: possible stenosis with ligament thickening and disc bulge.")
    says("framing", "What process accounts for the finding “M99.41: possible stenosis”?")(sent)


def in_record(sent: Sent, words: str) -> None:
    """The first indicator quotes these words of the record."""
    sent.texts[OWN] = words
    sent.item("indicator-1")["text"] = sent.item("indicator-1")["text"].replace(OWN_WORDS, words)
    part(1, "quote", words)(sent)
    part(1, "end", len(words))(sent)
    for element in ("tissue", "certainty"):
        says(element, "What is it?")(sent)
    sent.card["detail"] = f"- “{words}” — Provider"


@pytest.mark.parametrize("name", BAD)
@pytest.mark.proves("ahima-acdis-2022: a form that breaks a rule is found")
def test_a_bad_form_is_caught(name: str, rules: QueryRules) -> None:
    sent = Sent()
    BAD[name](sent)
    assert name.split(maxsplit=1)[0] in {fault.id for fault in sent.faults(rules)}


def test_the_bad_forms_break_every_rule_that_a_machine_can_check() -> None:
    checked = {f"Q{n}" for n in (*range(1, 15), 16)} | {"Q9c", "Q9r", "Q9s"}
    assert {name.split()[0] for name in BAD} == checked


def test_every_rule_of_a_compliant_query_has_a_test() -> None:
    tests = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    proved = set(re.findall(r"ahima-acdis-2022: (Q\d+),", tests)) | {name.split()[0] for name in BAD}
    assert proved == {f"Q{n}" for n in range(18)} | {"Q9c", "Q9r", "Q9s"}


# --- good forms ---------------------------------------------------------------------------------------------------


GOOD: dict[str, Change] = {
    "the form as it is": lambda sent: None,
    "regions that the record points to": both(
        without_option("region", *(r for r in REGIONS if r != "cervical")), rests_on("region", 0, 1)
    ),
    "one supported option": without_option("tissue", "disc"),
    "an open choice needs no second item": both(
        lambda sent: sent.item("tissue").update(type="open-choice"), lambda sent: sent.without("tissue.other")
    ),
    "no indicator, open questions and all regions": both(
        lambda sent: sent.without("indicator-1", "indicator-2", "tissue.other", "certainty.other"),
        opened("tissue"),
        opened("certainty"),
    ),
    "a code in the record's own words": lambda sent: in_record(sent, "M99.41 possible stenosis; ligament, disc bulge"),
    "words of money in the record's own words": lambda sent: in_record(sent, "Possible stenosis; denies cost"),
    "vertebrae are no codes": lambda sent: in_record(sent, "T12-L1 possible stenosis, C10 none, B12 low, S1 clear"),
    "a card cuts and escapes a long quote": lambda sent: sent.card.update(detail="“Possible stenosis at C5\\-C6…” — x"),
    "undated and without status, and said so": both(
        without_part(1, "date"),
        without_part(1, "status"),
        labelled(1, "dated 2026-10-20, status provisional", "undated, status not stated"),
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_form_passes(name: str, rules: QueryRules) -> None:
    sent = Sent()
    GOOD[name](sent)
    assert sent.faults(rules) == []


@pytest.mark.parametrize("code", ["M99.41", "m99.4", "M9941", "M48.061", "M99", "G99.2", "M48.8X2", "Z98.1"])
def test_a_code_is_known_as_one(code: str) -> None:
    assert names_a_code(f"the code {code}, perhaps")


@pytest.mark.parametrize("words", ["C5-C6", "T12-L1", "L10", "3 T MRI", "B12", "D10-D12", "2026-10-20", "S1-S2"])
def test_a_level_or_a_date_is_no_code(words: str) -> None:
    assert not names_a_code(words)


# --- the forms that we generate -----------------------------------------------------------------------------------

CHART = [
    "Spinal stenosis",
    "Lumbar spinal stenosis",
    "Stenosis of the cervical spine",
    "Canal stenosis",
    "Severe central canal narrowing",
    "Foraminal stenosis on the left",
    "Bilateral neural foraminal narrowing L5-S1",
    "Lateral recess stenosis L4-5",
    "Ligamentum flavum hypertrophy narrowing the cervical canal at C5-C6",
    "Thickened ligamentum flavum narrows the spinal canal at L3-L4",
    "Thoracic canal stenosis due to ligamentous hypertrophy, T9-T10",
    "Connective tissue stenosis of neural canal",
    "Connective tissue stenosis of neural canal of lumbar region",
    "Connective tissue stenosis of the neural canal of cervical region, M99.41",
    "Possible connective tissue stenosis of neural canal of cervical region",
    "Probable ligamentous stenosis of the lumbar spinal canal",
    "Suspected cervical canal stenosis from posterior longitudinal ligament thickening",
    "Lumbar canal stenosis due to ligament thickening, likely",
    "Rule out stenosis of the thoracic canal by thickened ligament",
    "? connective tissue stenosis of neural canal, sacral region",
    "Cervical canal narrowed by ligament. This is probable only.",
    "Thickening of the ligamentum flavum at L4-L5",
    "Ligamentum flavum hypertrophy, thecal sac indented at C4-C5",
    "Buckled ligamentum flavum effacing the thecal sac at L2-L3",
    "Stenosis at L4-L5 with disc bulge and ligamentum flavum hypertrophy",
    "Stenosis at C5-C6 with osteophytes and ligament thickening",
    "Canal stenosis L3-L4 caused by disc protrusion and thickened ligament",
    "Stenosis at L4-L5: facet hypertrophy, flavum thickening, bulging disc",
    "Epidural scar narrowing the canal at L5-S1 after laminectomy",
    "Epidural fibrosis compressing the lumbar canal, prior discectomy",
    "Ossified ligamentum flavum narrowing the thoracic canal",
    "Calcified ligamentum flavum narrowing the canal at T10-T11",
    "C1-C2 stenosis from ligament thickening",
    "Craniocervical junction: tectorial membrane thickening narrows the canal",
    "Narrowing of the neural canal by scar tissue",
    "Sacral canal stenosis from fibrous adhesions",
    "Stenosis of neural canal of pelvic region by connective tissue",
    "Neural canal stenosis of the lower extremity, ligamentous",
    "Rib cage: connective tissue stenosis of neural canal",
    "Osseous stenosis of neural canal",
    "Bony stenosis of the lumbar spinal canal",
    "Subluxation stenosis of neural canal",
    "Intervertebral disc stenosis of neural canal of thoracic region",
    "Connective tissue and disc stenosis of intervertebral foramina",
    "Osseous and subluxation stenosis of intervertebral foramina, cervical",
    "Stenosis from somatic dysfunction of the lumbar spine with ligament thickening",
    "Ligament thickening narrows the canal at L4-L5; numbness and weakness of both legs",
    "Cervical myelopathy with canal stenosis by thick ligamentum flavum C3-C4",
    "Radiculopathy with foraminal stenosis C6-C7 by capsular thickening",
    "Stenosis of the spinal canal, cause unclear, patient denies cost and coverage problems",
    "Canal compromise at C6-T2 by thickened ligaments",
    "Ligamentum flavum thickening; “severe” narrowing of the canal at L4-L5",
    "Cervical\ncanal stenosis,\nligamentum flavum hypertrophy",
    "Cervical stenosis, lumbar stenosis",
    "Stenosis at T12-L1 from thick yellow ligament",
    "Narrow canal L1-L2 with hypertrophied ligaments, do you agree? Please document.",
    "Degenerative stenosis? Ligamentous narrowing of the lumbar canal",
    "Working diagnosis: ligamentous stenosis of the neural canal, lumbar",
    "Thickened PLL encroaching on the cervical canal, M48.02",
    "Lig flavum hypertrophy w/ canal stenosis L4/5",
]  # fmt: skip
SETTINGS: tuple[Setting, ...] = ("charting", "claim")
REPORT = "FINDINGS: C5-C6: Ligamentum flavum hypertrophy narrows the central canal. Disc bulge. No cord signal change."
HTML_REPORT = "<div><p>L4-L5: <b>ligamentum flavum</b> hypertrophy &amp; disc bulge, moderate canal stenosis.</p></div>"


def condition(text: str = "", code: str = "", **more: Any) -> Json:
    held: Json = {"resourceType": "Condition", "id": "c1", "subject": {"reference": "Patient/p1"}, "code": {}}
    if text:
        held["code"]["text"] = text
    if code:
        held["code"]["coding"] = [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": code}]
    return {**held, "recordedDate": "2026-10-20", **more}


def report(text: str = REPORT, encounter: str = "e1", **more: Any) -> Json:
    return {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "status": "final",
        "subject": {"reference": "Patient/p1"},
        "encounter": {"reference": f"Encounter/{encounter}"},
        "effectiveDateTime": "2026-10-10",
        "code": {"text": "MRI of the cervical spine"},
        "conclusion": text,
        **more,
    }


def request(setting: Setting, held: Json, *reports: Json, encounter_class: str = "AMB") -> Request:
    encounter = {
        "resourceType": "Encounter",
        "id": "e1",
        "status": "in-progress",
        "class": {"code": encounter_class},
        "period": {"start": "2026-10-20"},
    }
    return Request(
        setting,
        [Entry(held, "Condition/c1")],
        reports=[Entry(one, "DiagnosticReport/r1") for one in reports],
        encounter=Entry(encounter, "Encounter/e1"),
        patient=Entry({"resourceType": "Patient", "id": "p1"}, "Patient/p1"),
    )


def records() -> Iterator[tuple[str, Request]]:
    """Each statement in both settings, alone, with a code, with status, and beside a report of now or of before."""
    in_html = report("", presentedForm=[{"contentType": "text/html", "data": _base64(HTML_REPORT)}])
    provisional: Json = {"verificationStatus": {"coding": [{"code": "provisional"}]}}
    for text, setting in itertools.product(CHART, SETTINGS):
        yield f"{setting}: {text}", request(setting, condition(text))
        yield f"{setting} with a code: {text}", request(setting, condition(text, "M99.43"))
        yield f"{setting} provisional: {text}", request(setting, condition(text, **provisional))
        yield f"{setting} in hospital: {text}", request(setting, condition(text), encounter_class="IMP")
        yield f"{setting} with a report: {text}", request(setting, condition(text), report())
        yield f"{setting} with an old report: {text}", request(setting, condition(text), report(encounter="e0"))
        yield f"{setting} with HTML: {text}", request(setting, condition(text), in_html)
        yield f"{setting} as a note: {text}", request(setting, condition("Back pain", "M99.41", note=[{"text": text}]))
    for setting, code in itertools.product(SETTINGS, ("M99.41", "M99.23", "M99.63", "M48.00")):
        yield f"{setting}: {code} alone", request(setting, condition(code=code))
    for words in (REPORT, HTML_REPORT, "Canal patent.", "Possible narrowing of the canal by the flavum at L2-L3."):
        yield f"a report alone: {words}", request("charting", condition("Neck pain"), report(words))
        yield (
            f"an old report alone: {words}",
            request("charting", condition("Neck pain"), report(words, encounter="e0")),
        )


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture(scope="module")
def swept(assist: Assist) -> list[tuple[str, Request, Judged]]:
    caring = replace(assist, wants_care=True, withheld_forms=0)
    found = [(name, sent, one) for name, sent in records() for one in caring.answer(sent).judged]
    assert caring.withheld_forms == 0
    return found


def test_no_form_that_we_generate_breaks_a_rule(swept: Sequence[tuple[str, Request, Judged]], assist: Assist) -> None:
    faults = [
        (name, fault)
        for name, _, one in swept
        if one.query
        for fault in form_faults(built_form(one.query, one.assessment), one.query, one.assessment, assist.query_rules)
    ]
    assert faults == []


def test_no_query_card_breaks_a_rule(swept: Sequence[tuple[str, Request, Judged]], assist: Assist) -> None:
    faults = []
    for name, sent, one in swept:
        if one.query:
            call = Call("patient-view", UUID(int=1), "p1", sent, frozenset({"Condition/c1"}))
            card = Cards(call, assist.terminology, "https://coding.example", datetime.now(UTC))._query_card(
                one.assessment, one.query, built_form(one.query, one.assessment)
            )
            form = questionnaire_of(one.query, one.assessment)
            faults += [(name, fault) for fault in query_faults(form, assist.query_rules, card=card)]
    assert faults == []


def test_the_generated_forms_ask_for_every_element_in_both_settings(
    swept: Sequence[tuple[str, Request, Judged]],
) -> None:
    asked = {(sent.setting, name) for _, sent, one in swept if one.query for name in one.query.ask}
    assert asked == set(itertools.product(SETTINGS, ELEMENTS))


def test_a_generated_form_is_enough_to_catch_a_fault_in(assist: Assist) -> None:
    """The sweep can fail: the same form with one option too many does not pass."""
    one = assist.answer(
        request("charting", condition("Stenosis at L4-L5 with disc bulge and flavum hypertrophy"))
    ).judged[0]
    assert one.query
    form = questionnaire_of(one.query, one.assessment)
    tissue = next(item for item in form["item"] if item["linkId"] == "tissue")
    tissue["answerOption"].insert(0, option("osseous", "Bone"))
    assert [f.id for f in query_faults(form, assist.query_rules)] == ["Q9c"]


# --- what the forms say -------------------------------------------------------------------------------------------


def form_of(assist: Assist, sent: Request) -> Json:
    one = assist.answer(sent).judged[0]
    assert one.query
    return questionnaire_of(one.query, one.assessment)


def item_of(form: Json, link_id: str) -> Json:
    return next(item for item in form["item"] if item["linkId"] == link_id)


def test_the_framing_question_points_to_the_finding(assist: Assist) -> None:
    form = form_of(assist, request("charting", condition("Ligament thickening narrowing the canal at C5-C6")))
    expected = (
        "In your judgement, what process accounts for the finding “Ligament thickening narrowing the canal at C5-C6”?"
    )
    assert item_of(form, "framing")["text"] == expected


def test_the_hedged_words_are_quoted(assist: Assist) -> None:
    form = form_of(
        assist, request("charting", condition("Possible connective tissue stenosis of neural canal, lumbar"))
    )
    assert "“Possible " in item_of(form, "indicator-1")["text"]


def test_the_hedged_words_are_quoted_where_the_sentence_is_too_long_to_be(assist: Assist) -> None:
    long = f"Possible connective tissue stenosis of neural canal, lumbar, seen {'and seen ' * 40}today"
    shown = item_of(form_of(assist, request("charting", condition(long))), "indicator-1")["text"]
    assert shown.startswith("“Possible ") and len(shown) < len(long)


def test_a_doubt_in_another_sentence_is_quoted_too(assist: Assist) -> None:
    sent = request("charting", condition("Degenerative stenosis? Ligamentous narrowing of the lumbar canal"))
    quotes = [item["text"] for item in form_of(assist, sent)["item"] if item["type"] == "display"]
    assert any(quote.startswith("“Degenerative stenosis?”") for quote in quotes)


def test_the_status_of_the_condition_is_shown(assist: Assist) -> None:
    held = condition("Lumbar stenosis by ligament", verificationStatus={"coding": [{"code": "provisional"}]})
    assert "status provisional" in item_of(form_of(assist, request("charting", held)), "indicator-1")["text"]


def test_a_quote_is_a_whole_sentence_but_leaves_a_code_out(assist: Assist) -> None:
    form = form_of(
        assist, request("charting", condition("Ligamentum flavum hypertrophy narrows the canal at L4-L5, M48.06"))
    )
    quotes = [item["text"] for item in form["item"] if item["type"] == "display"]
    assert quotes and not any("M48" in quote for quote in quotes)


def test_the_label_names_the_document_also_where_its_reference_is_an_address(assist: Assist) -> None:
    address = "https://ehr.example/fhir/Condition/c1"
    sent = replace(
        request("charting", condition("Lumbar stenosis")), conditions=[Entry(condition("Stenosis"), address)]
    )
    assert "— Provider, problem or diagnosis, dated" in item_of(form_of(assist, sent), "indicator-1")["text"]


def test_an_old_report_is_labelled_and_grounds_no_option(assist: Assist) -> None:
    form = form_of(assist, request("charting", condition("Cervical stenosis"), report(encounter="e0")))
    assert item_of(form, "tissue")["type"] == "text"


def test_a_question_without_an_indicator_presumes_no_finding(assist: Assist) -> None:
    form = form_of(assist, request("claim", condition(code="M99.41")))
    assert (
        item_of(form, "narrowing")["text"]
        == "In your judgement, what is the clinical significance of the recorded problem?"
    )


# --- a form that fails is not sent --------------------------------------------------------------------------------


@pytest.fixture
def wary(assist: Assist) -> Assist:
    """The service with an edition of the guidelines that no form meets."""
    return replace(assist, query_rules=replace(assist.query_rules, unable=frozenset()), withheld_forms=0)


HEDGED = "Possible connective tissue stenosis of neural canal of cervical region"


@pytest.mark.proves("ahima-acdis-2022: Q0, a form that fails is not sent and is counted")
def test_a_form_that_fails_is_withheld_and_counted(wary: Assist) -> None:
    assert [one.query for one in wary.answer(request("charting", condition(HEDGED))).judged] == [None]
    assert wary.withheld_forms == 1


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_answer_still_lists_what_to_ask_and_says_that_it_is_withheld(wary: Assist, setting: Setting) -> None:
    one = wary.answer(request(setting, condition(HEDGED))).judged[0]
    parts = assessment_part(one.assessment, one.query, wary.terminology, "https://coding.example")["part"]
    issues = next(p["resource"]["issue"] for p in parts if p["name"] == "outcome")
    withheld = [i["severity"] for i in issues if i["details"]["coding"][0]["code"] == "query.withheld"]
    assert withheld == ["information"]
    assert "certainty" in [p["valueCode"] for p in parts if p["name"] == "ask"]
    assert not {"questionnaire", "questionnaireResponse"} & {p["name"] for p in parts}


def test_the_log_names_rule_and_item_and_nothing_of_the_record(wary: Assist, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "coding_assist"):
        wary.answer(request("charting", condition(HEDGED)))
    assert caplog.messages == ["a query is withheld: Q8 at certainty, Q8 at imaging.modality"]


def test_a_form_that_passes_is_sent_with_what_the_record_answers(assist: Assist) -> None:
    one = assist.answer(request("charting", condition(HEDGED))).judged[0]
    assert one.query
    form = questionnaire_of(one.query, one.assessment)
    assert {i["linkId"] for i in prepopulated(form, one.assessment)["item"]}.isdisjoint(one.query.ask)


# --- the rules as data --------------------------------------------------------------------------------------------

SHIPPED = terminology_dir() / QUERY_RULES


def load_changed(folder: Path, old: str, new: str, name: str = f"{EDITION}.yaml") -> QueryRules:
    page = SHIPPED.read_text("utf-8")
    assert old in page
    (folder / "queries").mkdir()
    (folder / "lexicon").mkdir()
    (folder / "lexicon/assertion.yaml").write_text(
        (SHIPPED.parent.parent / "lexicon/assertion.yaml").read_text("utf-8")
    )
    path = folder / "queries" / name
    path.write_text(page.replace(old, new, 1), "utf-8")
    return load_query_rules(path)


def test_the_shipped_rules_load(tmp_path: Path) -> None:
    assert load_changed(tmp_path, "do you agree", "do you agree").id == EDITION


WRONG = {
    "an unknown key": ("leading:", "leeding:", "unknown key 'leeding'"),
    "a missing key": ("uncertain_status: [unconfirmed, provisional, differential]\n", "", "uncertain_status is"),
    "no list": ("yes_no: [", "yes_no: x # [", "yes_no is no filled list"),
    "a word that YAML turns into a truth": ("yes_no: [\"yes\"", "yes_no: [yes", "is no text. Quote it"),
    "a word twice": ("  - do you agree\n", "  - do you agree\n  - do you agree\n", "stands twice"),
    "another name": (f"rule_set: {EDITION}", "rule_set: ahima-acdis-2026", f"Name it as the file, '{EDITION}'"),
    "no such lexicon": ("lexicon/assertion.yaml", "lexicon/none.yaml", "cannot be read"),
    "a status that every choice has": ("certainty: [confirmed", "certainty: [other", "Leave it out"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_refused_with_what_to_do(name: str, tmp_path: Path) -> None:
    old, new, told = WRONG[name]
    with pytest.raises(PackError, match=re.escape(told)):
        load_changed(tmp_path, old, new)


# --- the order: how far an answer narrows the codes ---------------------------------------------------------------

FAMILY = {
    ("canal", "subluxation"): "M99.2",
    ("canal", "osseous"): "M99.3",
    ("canal", "connective"): "M99.4",
    ("canal", "disc"): "M99.5",
    ("foramen", "subluxation"): "M99.6",
    ("foramen", "osseous"): "M99.6",
    ("foramen", "connective"): "M99.7",
    ("foramen", "disc"): "M99.7",
}
ANSWERS: dict[str, tuple[str, ...]] = {
    "narrowing": ("there is", "there is none"),
    "space": ("canal", "foramen"),
    "tissue": ("connective", "osseous", "disc", "subluxation", "unable to determine"),
    "region": REGIONS,
    "framing": ("mechanical", "another condition"),
    "certainty": ("confirmed", "ruled out"),
}
KNOWN = {"narrowing": "there is", "space": "canal", "tissue": "connective", "region": "cervical"}
KNOWN |= {"framing": "mechanical", "certainty": "confirmed"}


def outcome_of(world: Mapping[str, str]) -> str:
    """The code that follows (POLICY section 3), or that there is none."""
    if world["narrowing"] == "there is none" or world["certainty"] == "ruled out":
        return "no code"
    if world["framing"] == "another condition" or world["tissue"] == "unable to determine":
        return f"M48.0 {world['region']}"
    return f"{FAMILY[world['space'], world['tissue']]} {world['region']}"


def left_by(element: str, asked: Sequence[str], known: Mapping[str, str], regions: Sequence[str]) -> float:
    """The mean number of outcomes that remain possible once this one question is answered."""
    answers = {**ANSWERS, "region": tuple(regions)}
    others = [name for name in asked if name != element]
    remaining = []
    for answer in answers[element]:
        worlds = itertools.product(*(answers[name] for name in others))
        remaining.append({outcome_of({**known, **dict(zip(others, w, strict=True)), element: answer}) for w in worlds})
    return sum(map(len, remaining)) / len(remaining)


def brute_force(asked: Sequence[str], known: Mapping[str, str], regions: Sequence[str]) -> tuple[str, ...]:
    left = {name: left_by(name, asked, known, regions) for name in asked}
    return tuple(sorted(asked, key=lambda name: (left[name], list(ANSWERS).index(name))))


ASKED = [asked for size in range(1, 7) for asked in itertools.combinations(ANSWERS, size)]


@pytest.mark.parametrize("regions", [REGIONS, ("head", "cervical"), ("cervical", "thoracic", "lumbar")], ids=len)
@pytest.mark.parametrize("space", ["canal", "foramen"])
def test_questions_stand_in_the_order_in_which_they_narrow_the_codes(space: str, regions: tuple[str, ...]) -> None:
    documented = (("space", (space,)), ("tissue", ("connective",)), ("region", ("cervical",)))
    known = {**KNOWN, "space": space}
    offered = regions if regions != REGIONS else ()
    found = {asked: ordered(asked, documented, offered) for asked in ASKED}
    assert found == {asked: brute_force(asked, known, regions) for asked in ASKED}


def test_the_order_is_not_that_of_the_list() -> None:
    """The comparison can fail: some orders differ from the order in which the elements are listed."""
    assert [asked for asked in ASKED if brute_force(asked, KNOWN, REGIONS) != asked]


def test_supporting_elements_come_last_and_together() -> None:
    asked = ("region", "imaging.modality", "imaging.date", "tissue", "function")
    assert ordered(asked, ())[2:] == ("imaging.modality", "imaging.date", "function")


# --- what looks like a code ---------------------------------------------------------------------------------------

PLAIN = re.compile(
    r"(?<![\w.])(?:[A-TV-Z]\d[0-9A-Z]\.[0-9A-Z-]{1,4}|[A-TV-Z]\d[0-9AB]\d[0-9A-Z]{1,3})(?!\w)", re.IGNORECASE
)
PLAIN_HEADER = re.compile(r"(?<![\w.])[AE-KM-RV-Z]\d\d(?!\w)")


def test_a_code_is_found_where_its_plain_pattern_finds_it() -> None:
    """The pattern in use looks for the letter first, and is that much sooner done with a text."""
    signs, made = "AaUuKk.\u212a\u017f\u0131\u0130 -12369BbZz5é_", random.Random(1)
    texts = ["".join(made.choices(signs, k=made.randint(1, 9))) for _ in range(50_000)]
    found = [text for text in texts if names_a_code(text)]
    assert found == [text for text in texts if PLAIN.search(text) or PLAIN_HEADER.search(text)] != []


# --- what has passed is not judged twice --------------------------------------------------------------------------

LEAVES = ("", "M99.41", "“M99.41”", "indicator-9", "certainty", 7, True, None, {}, [], {"reference": "M99.41"})


def places_in(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, held in inner:
        yield (*at, key)
        yield from places_in(held, (*at, key))


def mutants(form: Json) -> Iterator[Json]:
    """The form with each of its parts replaced, doubled or taken away in turn, and with a part more."""
    for *above, key in places_in(form):
        for change in (*LEAVES, "doubled", "without", "more"):
            changed = copy.deepcopy(form)
            holder = changed
            for step in above:
                holder = holder[step]
            if change == "without":
                del holder[key]
            elif change == "more" and isinstance(holder[key], str):
                holder[key] += " M99.41"
            elif change == "more" and isinstance(holder, dict):
                holder["valueCode"] = "M99.41"
            elif change == "doubled" and isinstance(holder, list):
                holder.insert(key, copy.deepcopy(holder[key]))
            elif change == "doubled" and isinstance(holder[key], str):
                holder[key] *= 2
            else:
                holder[key] = change
            yield changed


def judged(form: Json, rules: QueryRules, sent: Json) -> list[QueryFault] | str:
    try:
        return query_faults(form, rules, **sent)
    except (AttributeError, TypeError, KeyError, IndexError) as error:
        return type(error).__name__


@pytest.mark.parametrize("text", ["Stenosis at L4-L5 with disc bulge and flavum hypertrophy", "Canal stenosis"])
def test_a_form_is_judged_as_if_none_like_it_had_passed_before(assist: Assist, rules: QueryRules, text: str) -> None:
    one = assist.answer(request("charting", condition(text, "M99.43"), report())).judged[0]
    assert one.query and one.form
    texts = {(e.passage.source, e.passage.expression): e.passage.text for e in one.query.indicators}
    sent = {"texts": texts, "ask": one.query.ask, "response": one.form.response}
    assert query_faults(one.form.questionnaire, rules, **sent) == []
    assert rules.passed
    made = list(mutants(one.form.questionnaire))
    anew = [judged(mutant, replace(rules, passed=set()), sent) for mutant in made]
    assert [judged(mutant, rules, sent) for mutant in made] == anew
    assert 100 < sum(bool(faults) for faults in anew) < len(anew)


def test_a_code_that_a_question_quotes_is_found_though_a_form_like_it_has_passed(
    assist: Assist, rules: QueryRules
) -> None:
    one = assist.answer(request("charting", condition("Stenosis at L4-L5 with disc bulge"))).judged[0]
    assert one.query and one.form
    texts = {(e.passage.source, e.passage.expression): e.passage.text for e in one.query.indicators}
    assert query_faults(one.form.questionnaire, rules, texts=texts, ask=one.query.ask) == []
    with_code = json.loads(json.dumps(one.form.questionnaire).replace("Stenosis", "M99.43 s"))
    texts = {place: text.replace("Stenosis", "M99.43 s") for place, text in texts.items()}
    faults = query_faults(with_code, rules, texts=texts, ask=one.query.ask)
    assert {fault.id for fault in faults} == {"Q11"}
