"""The page at /: a newcomer sees what the service makes of a record, and the same answers as over the wire."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.assist import Assist
from service.coding.model import Evidence
from service.record import Entry, Request
from service.try_it import examples, marked

CANARY = "Zebedee Quux"


def words(page: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_a_dozen_examples_are_offered() -> None:
    assert len(examples()) == len({example["id"] for example in examples()}) == 12


@pytest.mark.parametrize("example", [example["id"] for example in examples()])
def test_each_example_is_answered(client: FlaskClient, example: str) -> None:
    shown = client.get("/", query_string={"example": example})
    assert shown.status_code == 200
    assert 'role="alert">' not in shown.text.replace('<p class="alert" role="alert"', "")
    assert re.search(r'<span class="tag">(code-supported|query|not-applicable)</span>', shown.text)


def test_the_examples_show_code_question_and_silence(client: FlaskClient) -> None:
    shown = {e["id"]: client.get("/", query_string={"example": e["id"]}).text for e in examples()}
    assert "M99.41" in shown["ligament"] and "code-supported" in shown["ligament"]
    assert "data-form=" in shown["framing"]
    assert "not-applicable" in shown["denied"] and "data-form=" not in shown["denied"]


def test_why_and_why_not_and_the_rules_with_their_sources_are_told(client: FlaskClient) -> None:
    shown = words(client.get("/?example=ligament").text)
    assert "The concrete alternative is M48.02" in shown
    assert "M99.40 Region: M99.40 is the head region" in shown
    assert "ICD-10-CM Tabular List" in shown


def test_a_pasted_line_is_read_and_marked(client: FlaskClient) -> None:
    shown = client.post("/", data={"text": "Connective tissue stenosis of neural canal of lumbar region"})
    assert "M99.43" in shown.text
    assert '<mark class="region" title="region">lumbar region</mark>' in shown.text or 'class="region"' in shown.text


def test_a_pasted_resource_is_read(client: FlaskClient) -> None:
    held: dict[str, Any] = {"resourceType": "Condition", "id": "x", "subject": {"reference": "Patient/p"}}
    held["code"] = {"text": "Connective tissue stenosis of neural canal of lumbar region"}
    assert "M99.43" in client.post("/", data={"text": json.dumps(held)}).text


def test_what_cannot_be_read_is_told_in_a_sentence(client: FlaskClient) -> None:
    for text, status in (("", 400), ("{", 400), ('{"resourceType": "Condition"}', 400), ("x" * 100_001, 400)):
        shown = client.post("/", data={"text": text})
        assert shown.status_code == status
        assert 'class="alert">' in shown.text


def test_markup_in_a_text_stays_words(client: FlaskClient) -> None:
    shown = client.post("/", data={"text": "<script>alert(1)</script> Canal stenosis at C5-C6 by ligament"}).text
    assert "<script>alert" not in shown and "&lt;script&gt;" in shown


def test_the_requests_shown_have_the_answers_that_the_page_tells(client: FlaskClient) -> None:
    shown = client.get("/?example=ligament").text
    for name, address in (("fhir", "/fhir/Condition/$coding-assist"), ("hook", "/cds-services/coding-assist")):
        found = re.search(rf'<pre id="{name}-request"[^>]*>(.*?)</pre>', shown, re.S)
        assert found and f'data-fetch="{address[1:]}"' in shown
        answer = client.post(address, data=unescape(found[1]), content_type="application/json")
        assert answer.status_code == 200 and "M99.41" in answer.text


def test_an_unknown_example_is_not_found(client: FlaskClient) -> None:
    assert client.get("/?example=none").status_code == 404


def test_the_pieces_of_a_marked_text_are_the_text(assist: Assist) -> None:
    text = "Biomechanical lesion: neural canal narrowed by thickened ligamentum flavum at C5-C6"
    held = {"resourceType": "Condition", "subject": {"reference": "Patient/p"}, "code": {"text": text}}
    [one] = assist.answer(Request("charting", [Entry(held, "Condition/c1")])).judged
    [shown] = marked(one.assessment)
    assert "".join(piece for piece, _ in shown.pieces) == text
    region = next(e for e in one.assessment.elements if e.name == "region").evidence[0]
    assert isinstance(region, Evidence)
    assert "region" in dict(shown.pieces)[region.quote]
