"""What the pages of a form show: the questions with their quotes, and what the answers to them changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.coding.model import Assessment, CodingSuggestion, Element
from service.coding.packs import Terminology
from service.json_body import readable_json
from service.open_forms import Form
from service.responses import is_manual
from service.sdc import Result
from service.write_back import action, in_dialect

Json = dict[str, Any]
_CONTROLS = "http://hl7.org/fhir/questionnaire-item-control"
_RADIO = {
    "url": "http://hl7.org/fhir/StructureDefinition/questionnaire-itemControl",
    "valueCodeableConcept": {"coding": [{"system": _CONTROLS, "code": "radio-button"}]},
}


# --- the questions ------------------------------------------------------------------------------------------------


def page_form(asked: Json) -> Json:
    """The form as the page shows it: above each question the indicators that its options rest on."""
    indicators = {item["linkId"]: item for item in asked["item"] if item["type"] == "display"}
    items: list[Json] = []
    shown: set[str] = set()
    for item in asked["item"]:
        if item["linkId"] in indicators:
            continue
        for number in _rests_on(item) or ([] if shown else indicators):
            shown.add(number)
            items.append({**indicators[number], "linkId": f"{item['linkId']}.{number}"})
        items.append({**item, "extension": [*item.get("extension", ()), _RADIO]} if item["type"] == "choice" else item)
    return {**asked, "item": items}


def _rests_on(item: Json) -> list[str]:
    options = item.get("answerOption") or ()
    return list(dict.fromkeys(e["valueString"] for o in options for e in o.get("extension") or ()))


# --- what the answers changed -------------------------------------------------------------------------------------


def told_of(form: Form, result: Result, terminology: Terminology) -> Json:
    """The result for people: what changed, the code with its words, what goes back, the note line."""
    labels = {name: wording["label"] for name, wording in terminology.main.elements.items()}
    after = result.after.assessment
    return {
        "assessment": after,
        "changed": _changed(result.before.assessment, after),
        "rests_on": {s.code: _words_of(s, after, labels) for s in after.suggestions},
        "labels": labels,
        "title_of": terminology.icd10cm.title,
        "payload": readable_json(_payload(form, result)),
        "note": note_line(result.response),
    }


def _changed(before: Assessment, after: Assessment) -> list[tuple[str, Element]]:
    """Each element that the answers changed, with the state that it was in."""
    was = {element.name: element for element in before.elements}
    pairs = [(was.get(element.name, Element(element.name, "missing")), element) for element in after.elements]
    return [(old.status, new) for old, new in pairs if (old.status, old.values) != (new.status, new.values)]


def _words_of(suggestion: CodingSuggestion, assessment: Assessment, labels: Mapping[str, str]) -> list[tuple[str, str]]:
    """The words that a code rests on, each with the elements that they document."""
    words: dict[str, list[str]] = {}
    for element in assessment.elements:
        for evidence in element.evidence:
            if evidence.quote and evidence in suggestion.evidence:
                words.setdefault(evidence.quote, []).append(labels[element.name])
    return [(", ".join(dict.fromkeys(names)), quote) for quote, names in words.items()]


def _payload(form: Form, result: Result) -> Json:
    if form.dialect != "epic":
        return result.bundle
    return {"actions": [action(in_dialect(proposal, "epic")) for proposal in result.proposals if proposal.code]}


def note_line(response: Mapping[str, Any]) -> str:
    """What the clinician chose and wrote, in their order and in no other words; what cannot be told is left out."""
    said = []
    for item in response.get("item") or ():
        answer = item["answer"][0]
        if is_manual(item):
            coding = answer.get("valueCoding") or {}
            words = coding.get("display") or answer.get("valueString") or answer.get("valueDate")
            said += [] if coding.get("code") in ("other", "unable-to-determine") else [" ".join(str(words).split())]
    return "; ".join(word.rstrip(" .;") for word in said) + "." if said else ""
