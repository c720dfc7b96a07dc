"""A QuestionnaireResponse in the shape in which LHC-Forms 40.1.3 exports it (seen in Chromium)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]


def exported(form: Mapping[str, Any], **answers: str) -> Json:
    """The export of a form: `#code` is an option chosen, `imaging__date` stands for imaging.date; the rest is left."""
    given = {name.replace("__", "."): words for name, words in answers.items()}
    items = [item_of(item, given[item["linkId"]]) for item in form["item"] if item["linkId"] in given]
    assert len(items) == len(given)
    response: Json = {
        "authored": "2026-11-23T03:32:10.474Z",
        "item": items,
        "meta": {
            "profile": ["http://hl7.org/fhir/4.0/StructureDefinition/QuestionnaireResponse"],
            "tag": [{"code": "lformsVersion: 40.1.3"}],
        },
        "resourceType": "QuestionnaireResponse",
        "status": "completed",
    }
    return response | ({"questionnaire": f"{form['url']}|{form['version']}"} if "url" in form else {})


def item_of(item: Mapping[str, Any], words: str) -> Json:
    shown: Json = {"linkId": item["linkId"], "text": item["text"]}
    if item["type"] == "choice":
        codings = [option["valueCoding"] for option in item["answerOption"]]
        return {**shown, "answer": [{"valueCoding": next(c for c in codings if c["code"] == words[1:])}]}
    return {**shown, "answer": [{"valueDate" if item["type"] == "date" else "valueString": words}]}
