"""What goes back to an EHR, payload for payload: HL7, Epic and plain FHIR (tests/data/write-back)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.assist import Assist
from service.settings import Settings
from service.write_back import EPIC_ICD10CM, transaction
from tests.desk import bearer, hook_call, settings_of
from tests.desk import condition as documented
from tests.fake_ehr import FakeEhr
from tests.lforms_export import exported

Json = dict[str, Any]
GOLDEN = Path(__file__).resolve().parent / "data" / "write-back"
SNOMED = {"system": "http://snomed.info/sct", "code": "76107001", "display": "Spinal stenosis", "userSelected": True}
WRONG = {"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "M48.02", "userSelected": True}


@pytest.fixture
def client(assist: Assist) -> FlaskClient:
    """Forms of this test alone."""
    return create_app(Settings(), assist).test_client()


def condition(**more: Any) -> Json:
    return {
        "resourceType": "Condition",
        "id": "c1",
        "meta": {"versionId": "3"},
        "category": [{"coding": [{"code": "encounter-diagnosis"}]}],
        "subject": {"reference": "Patient/p1"},
        "encounter": {"reference": "Encounter/e1"},
        "recordedDate": "2026-10-20",
        "code": {
            "text": "Biomechanical lesion: neural canal narrowed by thick ligamentum flavum at C5-C6",
            "coding": [SNOMED, WRONG],
        },
        "extension": [{"url": "https://ehr.example/own", "valueString": "kept"}],
        **more,
    }


def card(client: FlaskClient, *records: Json, **more: Any) -> Json:
    entries = [{"resource": one} for one in records or [condition()]]
    sent = {
        "hook": "patient-view",
        "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        "context": {"userId": "Practitioner/d1", "patientId": "p1", "encounterId": "e1"},
        "prefetch": {"conditions": {"resourceType": "Bundle", "type": "searchset", "entry": entries}},
    }
    cards = client.post("/cds-services/coding-assist", json=sent | more).get_json()["cards"]
    return next(card for card in cards if card["source"]["topic"]["code"] == "code-suggestion")


def epic(client: FlaskClient, *records: Json) -> Json:
    return card(client, *records, extension={"com.epic.cdshooks.request.bpa-trigger-action": "7"})


def golden(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text("utf-8"))


@pytest.mark.proves("ehr dialects: HL7")
def test_hl7_gets_an_update_of_the_whole_condition(client: FlaskClient) -> None:
    assert card(client)["suggestions"] == golden("hl7-update.json")


@pytest.mark.proves("ehr dialects: Epic")
def test_epic_gets_one_create_with_the_code_alone(client: FlaskClient) -> None:
    shown = epic(client)
    assert shown["suggestions"] == golden("epic-create.json")
    assert shown["selectionBehavior"] == "any"
    assert "isRecommended" not in json.dumps(shown)


@pytest.mark.proves("ehr dialects: Epic")
@pytest.mark.parametrize("trigger", ["6", "7"])
def test_both_triggers_of_epic_get_the_same_cards(client: FlaskClient, trigger: str) -> None:
    shown = card(client, extension={"com.epic.cdshooks.request.bpa-trigger-action": trigger})
    [action] = shown["suggestions"][0]["actions"]
    assert (action["type"], action["resource"]["code"]["coding"][0]["system"]) == ("create", EPIC_ICD10CM)


@pytest.mark.proves("ehr dialects: Epic")
def test_a_code_that_epic_has_created_a_problem_for_is_not_offered_again(client: FlaskClient) -> None:
    """Epic leaves the problem that was read as it is, so that its words would call for the code for ever."""
    uncoded = condition(code={"text": condition()["code"]["text"]})
    [suggestion] = epic(client, uncoded)["suggestions"]
    created = {**suggestion["actions"][0]["resource"], "id": "c2"}
    with pytest.raises(StopIteration):
        epic(client, uncoded, created)


@pytest.mark.proves("ehr dialects: Epic")
def test_two_codes_are_two_creates_for_epic(client: FlaskClient) -> None:
    two = "Connective tissue stenosis of neural canal of cervical and lumbar region"
    shown = epic(client, condition(code={"text": two}))
    kinds = [[action["type"] for action in suggestion["actions"]] for suggestion in shown["suggestions"]]
    assert kinds == [["create"], ["create"]]


def extracted(client: FlaskClient, record: Json, **answers: str) -> Json:
    sent = {"resourceType": "Parameters", "parameter": [{"name": "condition", "resource": record}]}
    parts = client.post("/fhir/Condition/$coding-assist", json=sent).get_json()["parameter"][0]["part"]
    form = next(part["resource"] for part in parts if part["name"] == "questionnaire")
    sent["parameter"] += [
        {"name": "questionnaire", "resource": form},
        {"name": "questionnaire-response", "resource": exported(form, **answers)},
    ]
    answer = client.post("/fhir/QuestionnaireResponse/$extract", json=sent).get_json()
    return next(part["resource"] for part in answer["parameter"] if part["name"] == "return")


UNFRAMED = {"text": "Thick ligamentum flavum narrowing the canal at C5-C6", "coding": [SNOMED]}


@pytest.mark.proves("ehr dialects: plain FHIR")
def test_plain_fhir_gets_a_put_that_fails_where_the_condition_changed_meanwhile(client: FlaskClient) -> None:
    bundle = extracted(client, condition(code=UNFRAMED), framing="biomechanical lesion")
    assert bundle == golden("fhir-transaction.json")


def test_a_condition_without_id_is_created(client: FlaskClient) -> None:
    fresh = {key: value for key, value in condition(code=UNFRAMED).items() if key not in ("id", "meta")}
    entry = extracted(client, fresh, framing="biomechanical lesion")["entry"][1]
    assert entry["request"] == {"method": "POST", "url": "Condition"}
    assert entry["fullUrl"].startswith("urn:uuid:")


def test_one_user_selected_coding_is_kept(client: FlaskClient) -> None:
    two = {**UNFRAMED, "coding": [SNOMED, {**SNOMED, "code": "18347007"}]}
    codings = extracted(client, condition(code=two), framing="biomechanical lesion")["entry"][1]["resource"]["code"]
    assert [coding.get("userSelected") for coding in codings["coding"]] == [True, None, None]


def test_a_transaction_without_a_change_keeps_the_answers(client: FlaskClient) -> None:
    kept = transaction([], {"resourceType": "QuestionnaireResponse", "status": "completed"}, "urn:uuid:1")
    assert [entry["request"]["method"] for entry in kept["entry"]] == ["POST"]


@pytest.mark.proves("ehr dialects: as the client is registered")
@pytest.mark.parametrize(("registered", "trigger", "kind"), [("epic", None, "create"), ("hl7", "7", "update")])
def test_the_dialect_that_a_client_is_registered_with_decides(
    assist: Assist, ehr: FakeEhr, tmp_path: Path, registered: str, trigger: str | None, kind: str
) -> None:
    ehr.put(documented("Biomechanical lesion. Canal stenosis at C5-C6 by flavum hypertrophy"))
    app = create_app(settings_of(ehr, tmp_path, registered), assist)
    sent = {**hook_call(ehr), "extension": {"com.epic.cdshooks.request.bpa-trigger-action": trigger} if trigger else {}}
    address = "/cds-services/coding-assist"
    told = app.test_client().post(address, json=sent, headers=bearer(f"http://127.0.0.1:8080{address}")).get_json()
    [card] = [card for card in told["cards"] if card["source"]["topic"]["code"] == "code-suggestion"]
    assert [action["type"] for action in card["suggestions"][0]["actions"]] == [kind]
