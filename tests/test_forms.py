"""The page of a form: opened by a card, answered once, and nothing shown afterwards; what a browser loads."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask import g
from flask.testing import FlaskClient

from service.app import create_app
from service.assist import Assist
from service.fhir_out import CANONICAL
from service.form_pages import note_line, page_form
from service.journal import Journal
from service.open_forms import Form, Forms
from service.settings import SettingError, Settings, read_settings
from service.store import StoreUnavailable
from service.validation import validate_resource
from tests.lforms_export import exported

Json = dict[str, Any]
STATIC = Path(__file__).resolve().parent.parent / "service" / "web" / "static"
INSTANCE = "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea"
CONTEXT = {"userId": "Practitioner/d1", "patientId": "p1", "encounterId": "e1"}
JSON_TYPE = "application/json"
TWO_TISSUES = "Biomechanical lesion. Canal stenosis at C5-C6 with disc bulge and flavum hypertrophy"
CODED = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "M99.41"}]}
REPORT = {
    "resourceType": "DiagnosticReport",
    "id": "r1",
    "status": "final",
    "subject": {"reference": "Patient/p1"},
    "encounter": {"reference": "Encounter/e1"},
    "effectiveDateTime": "2026-10-10",
    "code": {"text": "MRI cervical spine"},
    "conclusion": "C5-C6: ligamentum flavum hypertrophy narrows the central canal.",
}


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def browser(assist: Assist, clock: Clock) -> Iterator[FlaskClient]:
    """The service with forms of its own, on a clock that the test sets."""
    app = create_app(Settings(), assist)
    app.extensions["clock"] = clock
    yield app.test_client()


@pytest.fixture
def syncing(assist: Assist, clock: Clock) -> FlaskClient:
    """What a call leaves behind is on the disk when it is answered."""
    app = create_app(Settings(audit="sync"), assist)
    app.extensions["clock"] = clock
    return app.test_client()


def condition(text: str = TWO_TISSUES, **code: Any) -> Json:
    held = {"resourceType": "Condition", "id": "c1", "subject": {"reference": "Patient/p1"}}
    return {**held, "recordedDate": "2026-10-20", "code": {"text": text, **code}}


def bundle(*resources: Json) -> Json:
    return {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": one} for one in resources]}


def cards(browser: FlaskClient, record: Json | None = None, *reports: Json, **more: Any) -> list[Json]:
    sent = {
        "hook": "patient-view",
        "hookInstance": INSTANCE,
        "context": CONTEXT,
        "prefetch": {"conditions": bundle(record or condition()), "reports": bundle(*reports)},
    }
    answer = browser.post("/cds-services/coding-assist", json=sent | more)
    assert answer.status_code == 200, answer.get_json()
    return list(answer.get_json()["cards"])


def kinds(shown: list[Json]) -> list[str]:
    return [card["source"]["topic"]["code"] for card in shown]


def opened(browser: FlaskClient, *sent: Any, **more: Any) -> str:
    """The address of the form that the one query card leads to."""
    [card] = [card for card in cards(browser, *sent, **more) if "links" in card]
    [link] = card["links"]
    assert link["type"] == "absolute"
    return str(link["url"]).removeprefix("http://127.0.0.1:8080")


def form_of(browser: FlaskClient, address: str) -> Json:
    return browser.get(f"/fhir/Questionnaire/{address.rpartition('/')[2]}").get_json()


def held_forms(browser: FlaskClient) -> Forms:
    services = browser.application.extensions
    forms: Forms = services["forms"]("", services["clock"]())
    return forms


def kept_form(browser: FlaskClient, address: str) -> Form:
    kept = held_forms(browser).get(address.rpartition("/")[2])
    assert kept
    return kept


def answer(browser: FlaskClient, address: str, **answers: str) -> Any:
    return browser.post(address, json=exported(form_of(browser, address), **answers))


# --- from the card to the form ------------------------------------------------------------------------------------


def test_the_card_leads_to_a_form_with_the_same_questions(browser: FlaskClient) -> None:
    shown = browser.get(opened(browser))
    asked = json.loads(re.search(r'<script type="application/json">(.*?)</script>', shown.text, re.S)[1])
    assert "tissue" in [item["linkId"] for item in asked["item"]]


def test_the_task_of_the_card_names_the_form_that_is_served(browser: FlaskClient) -> None:
    [card] = [card for card in cards(browser) if "links" in card]
    task, form = [action["resource"] for action in card["suggestions"][0]["actions"]]
    served = form_of(browser, card["links"][0]["url"])
    assert task["input"][0]["valueCanonical"] == f"{form['url']}|{form['version']}"
    assert {**form, "id": served["id"]} == served
    assert validate_resource(served, allowed=frozenset({"Questionnaire"})) == []


def test_a_retry_finds_the_same_form_and_another_record_another(browser: FlaskClient) -> None:
    first = opened(browser)
    assert opened(browser) == first
    assert opened(browser, condition("Canal stenosis with bone spurs and flavum hypertrophy", **CODED)) != first


def test_who_comes_back_to_a_chart_finds_the_form_that_waits_there(browser: FlaskClient) -> None:
    first = opened(browser)
    assert opened(browser, hookInstance=str(uuid4())) == first
    others = [{**CONTEXT, "userId": "Practitioner/d2"}, {**CONTEXT, "encounterId": "e2"}]
    assert first not in [opened(browser, hookInstance=str(uuid4()), context=context) for context in others]


def test_the_answer_to_a_form_goes_to_its_query_whichever_card_led_to_it(syncing: FlaskClient) -> None:
    opened(syncing, hookInstance=str(uuid4()))
    later = opened(syncing, hookInstance=str(uuid4()))
    assert syncing.post(f"{later}/decline", json={"reason": "other-provider"}).status_code == 200
    [query] = syncing.application.extensions["store"].export_queries()
    assert [one["outcome"] for one in query["answers"]] == ["declined"]
    assert later.rpartition("/")[2] not in json.dumps(query)


def test_the_query_of_a_form_is_kept_with_the_first_call_that_is_recorded(
    syncing: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = {"hook": "patient-view", "context": CONTEXT, "prefetch": {"conditions": bundle(condition())}}
    with monkeypatch.context() as broken:
        broken.setattr(Journal, "write", fails)
        sent = {**call, "hookInstance": str(uuid4())}
        assert syncing.post("/cds-services/coding-assist", json=sent).status_code == 503
    address = opened(syncing, hookInstance=str(uuid4()))
    assert syncing.post(f"{address}/decline", json={"reason": "other-provider"}).status_code == 200
    [query] = syncing.application.extensions["store"].export_queries()
    assert [one["outcome"] for one in query["answers"]] == ["declined"]


def fails(*_given: Any, **_named: Any) -> None:
    raise StoreUnavailable("The audit record could not be written.")


@pytest.mark.parametrize("hours", [0.5, 24, 31 * 24])
def test_a_form_that_is_shown_again_has_half_of_its_life_before_it(assist: Assist, clock: Clock, hours: float) -> None:
    app = create_app(Settings(form_hours=hours), assist)
    app.extensions["clock"] = clock
    life, shown = timedelta(hours=hours), set()
    for _ in range(9):
        address = opened(app.test_client(), hookInstance=str(uuid4()))
        assert datetime.fromisoformat(kept_form(app.test_client(), address).expires) - clock.now >= life / 2
        shown.add(address)
        clock.now += min(life, timedelta(days=1)) / 4
    assert len(shown) in (5, 6)


def test_a_form_that_was_declined_outside_an_encounter_is_asked_anew_the_day_after(
    clock: Clock, browser: FlaskClient
) -> None:
    call = {"context": {name: value for name, value in CONTEXT.items() if name != "encounterId"}}
    first = opened(browser, **call)
    assert browser.post(f"{first}/decline", json={"reason": "other-provider"}).status_code == 200
    clock.now += timedelta(hours=23, minutes=59)
    assert "documentation-query" not in kinds(cards(browser, **call))
    clock.now += timedelta(minutes=2)
    assert browser.get(opened(browser, **call)).status_code == 200


def test_a_decimal_of_the_record_is_kept_as_it_was_written(browser: FlaskClient) -> None:
    measured = '{"resourceType": "Condition", "extension": [{"url": "https://ehr.example/width", "valueDecimal": 7.50}]'
    record = json.dumps(condition()).replace('{"resourceType": "Condition"', measured, 1)
    sent = json.dumps(
        {"hook": "patient-view", "hookInstance": INSTANCE, "context": CONTEXT, "prefetch": {"conditions": 0}}
    )
    answer = browser.post("/cds-services/coding-assist", data=sent.replace("0}", f"{record}}}"), content_type=JSON_TYPE)
    assert answer.status_code == 200, answer.get_json()
    [card] = [card for card in answer.get_json()["cards"] if "links" in card]
    [kept] = kept_form(browser, card["links"][0]["url"]).record["conditions"]
    assert str(kept["resource"]["extension"][0]["valueDecimal"]) == "7.50"


def test_the_address_of_a_form_cannot_be_guessed(browser: FlaskClient) -> None:
    address = opened(browser)
    assert re.fullmatch(r"/forms/[0-9a-f]{32}", address)
    assert browser.get(f"{address[:-1]}!").status_code == 404


def test_above_each_question_stand_the_quotes_that_its_options_rest_on(browser: FlaskClient) -> None:
    asked = page_form(form_of(browser, opened(browser)))
    links = [item["linkId"] for item in asked["item"]]
    place = links.index("tissue")
    assert place and all(link.startswith("tissue.indicator-") for link in links[:place])
    assert "dated 2026-10-20, status not stated" in asked["item"][0]["text"]


# --- the answer ---------------------------------------------------------------------------------------------------


def test_an_answer_is_assessed_and_what_changed_is_shown(browser: FlaskClient) -> None:
    told = answer(browser, opened(browser), tissue="#connective")
    assert told.status_code == 200
    assert "M99.41" in told.text and "Connective tissue stenosis of neural canal of cervical region" in told.text
    assert "“flavum hypertrophy”" not in told.text  # the evidence is the answer, not one of two tissues
    assert "“Ligament or other connective tissue”" in told.text
    assert "conflicting" in told.text  # what the element was before


def test_each_quote_that_a_code_rests_on_says_what_it_documents(browser: FlaskClient) -> None:
    told = answer(browser, opened(browser), tissue="#connective")
    assert "<dt>Tissue</dt><dd>“Ligament or other connective tissue”</dd>" in told.text
    assert "<dt>Region</dt><dd>“C5-C6”</dd>" in told.text


def test_what_goes_back_is_shown_as_a_transaction(browser: FlaskClient) -> None:
    told = answer(browser, opened(browser), tissue="#connective").text
    assert "&#34;PUT&#34;" in told and "Condition/c1" in told


def test_the_answer_is_by_the_user_of_the_call(browser: FlaskClient) -> None:
    address = opened(browser)
    answer(browser, address, tissue="#connective")
    kept = kept_form(browser, address)
    assert kept.response["author"] == {"reference": "Practitioner/d1"}
    assert (kept.status, kept.record) == ("answered", {})


def test_an_author_that_is_sent_does_not_count(browser: FlaskClient) -> None:
    address = opened(browser)
    sent = exported(form_of(browser, address), tissue="#connective") | {"author": {"reference": "Practitioner/x"}}
    browser.post(address, json=sent)
    kept = kept_form(browser, address)
    assert kept.response["author"] == {"reference": "Practitioner/d1"}


def test_the_note_line_is_made_of_the_clinicians_own_words(browser: FlaskClient) -> None:
    address = opened(browser)
    sent = {"tissue": "#connective", "imaging__modality": "#unable-to-determine", "function": "weak left hand."}
    answer(browser, address, **sent)
    kept = kept_form(browser, address)
    assert note_line(kept.response) == "Ligament or other connective tissue; weak left hand."


def test_html_in_an_answer_stays_words(browser: FlaskClient) -> None:
    told = answer(browser, opened(browser), function="<img src=x onerror=alert(1)>").text
    assert "<img" not in told and "&lt;img" in told


def test_html_in_the_record_stays_words_in_the_form(browser: FlaskClient) -> None:
    shown = browser.get(opened(browser, condition(f"</script><img src=x> {TWO_TISSUES}")))
    assert "<img" not in shown.text


def test_a_question_that_was_left_is_not_put_again(browser: FlaskClient) -> None:
    assert "data-form=" not in answer(browser, opened(browser), tissue="#connective").text


def following(told: Any) -> str:
    """The address of the form that a result goes on with."""
    found = re.search(r'data-form="\.\.(/forms/[^"]+)"', told.text)
    assert found
    return found[1]


def test_what_an_answer_opens_up_is_asked_in_a_further_form(browser: FlaskClient) -> None:
    address = opened(browser, condition("Neck pain with weakness of the hand"), REPORT)
    told = answer(browser, address, narrowing="Symptomatic stenosis of the cervical canal")
    asked = [item["linkId"] for item in form_of(browser, following(told))["item"] if not item.get("readOnly")]
    assert "tissue" in asked and "narrowing" not in asked
    third = following(answer(browser, following(told), tissue="#connective"))
    last = answer(browser, third, framing="biomechanical lesion")
    assert "The documentation now supports" in last.text and "M99.41" in last.text


def test_a_question_that_was_left_does_not_keep_back_what_another_answer_opens_up(browser: FlaskClient) -> None:
    told = answer(browser, opened(browser, condition("Neural canal stenosis")), tissue="ligamentum flavum")
    asked = [item["linkId"] for item in form_of(browser, following(told))["item"] if not item.get("readOnly")]
    assert "framing" in asked and "region" not in asked


@pytest.mark.proves("ahima-acdis-2022: Q11, no code beside a question")
def test_where_a_further_question_is_asked_no_candidate_is_named(browser: FlaskClient) -> None:
    told = answer(browser, opened(browser, condition("Neural canal stenosis at C5-C6")), tissue="ligamentum flavum")
    assert following(told) and "No code is selected" in told.text
    assert "M99.41" not in told.text and "M48.02" not in told.text


def test_an_answer_that_is_quoted_shows_the_day_on_which_it_was_taken(clock: Clock, browser: FlaskClient) -> None:
    """LHC-Forms writes the browser's clock into its export, which may be wrong."""
    clock.now += timedelta(days=1)
    address = opened(browser, condition("Neural canal stenosis at C5-C6"))
    told = answer(browser, address, tissue="ligamentum flavum hypertrophy")
    quotes = [item["text"] for item in form_of(browser, following(told))["item"] if item["type"] == "display"]
    assert "“ligamentum flavum hypertrophy” — Provider, answer to a query, dated 2026-11-24, status completed" in quotes


# --- once ---------------------------------------------------------------------------------------------------------


def is_gone(browser: FlaskClient, address: str, says: str) -> bool:
    shown, form = browser.get(address), browser.get(f"/fhir/Questionnaire/{address.rpartition('/')[2]}")
    assert "C5-C6" not in shown.text + form.text
    return (shown.status_code, form.status_code, says in shown.text) == (410, 410, True)


def test_an_answered_form_shows_nothing_more_and_takes_no_second_answer(browser: FlaskClient) -> None:
    address = opened(browser)
    sent = exported(form_of(browser, address), tissue="#connective")
    assert [browser.post(address, json=sent).status_code for _ in range(2)] == [200, 410]
    assert is_gone(browser, address, "has been answered")


def test_of_two_answers_at_the_same_time_one_is_kept(clock: Clock, browser: FlaskClient) -> None:
    held, forms = kept_form(browser, opened(browser)), held_forms(browser)
    done = replace(held, status="answered")
    assert [forms.close(done), forms.close(done)] == [True, False]


def test_a_form_expires_after_its_time(clock: Clock, browser: FlaskClient) -> None:
    address = opened(browser)
    sent = exported(form_of(browser, address), tissue="#connective")
    clock.now += timedelta(hours=23, minutes=59)
    assert browser.get(address).status_code == 200
    clock.now += timedelta(minutes=1)
    assert is_gone(browser, address, "has expired")
    assert browser.post(address, json=sent).status_code == 410


def test_declining_closes_the_form_with_a_reason(browser: FlaskClient) -> None:
    address = opened(browser)
    assert browser.post(f"{address}/decline", json={"reason": "because"}).status_code == 422
    assert browser.post(f"{address}/decline", json={"reason": "other-provider"}).status_code == 200
    assert is_gone(browser, address, "has been declined")


def test_a_refused_answer_leaves_the_form_open(browser: FlaskClient) -> None:
    address = opened(browser)
    empty = {"resourceType": "QuestionnaireResponse", "status": "completed"}
    assert browser.post(address, json=empty).status_code == 422
    assert browser.get(address).status_code == 200


def test_another_patients_answer_changes_nothing(browser: FlaskClient) -> None:
    address = opened(browser)
    sent = exported(form_of(browser, address), tissue="#connective") | {"subject": {"reference": "Patient/p2"}}
    assert browser.post(address, json=sent).status_code == 422
    assert browser.get(address).status_code == 200


def test_extract_by_the_address_of_the_form_writes_nothing(browser: FlaskClient) -> None:
    address = opened(browser)
    sent = exported(form_of(browser, address), tissue="#connective")
    assert sent["questionnaire"].startswith(f"{CANONICAL}/Questionnaire/")
    told = browser.post("/fhir/QuestionnaireResponse/$extract", json=sent).get_json()
    assert told["parameter"][0]["resource"]["type"] == "transaction"
    assert browser.get(address).status_code == 200


@pytest.mark.proves("ahima-acdis-2022: Q15, query, indicators, options, answer, author and time are kept")
def test_what_was_asked_and_answered_is_kept_with_author_and_time(browser: FlaskClient) -> None:
    address = opened(browser)
    asked = form_of(browser, address)
    answer(browser, address, tissue="#connective")
    kept = kept_form(browser, address)
    assert kept.questionnaire == asked
    assert kept.response["item"][0]["answer"][0]["valueCoding"]["display"] == "Ligament or other connective tissue"
    assert kept.response["author"] and kept.response["authored"] and kept.closed == "2026-11-23T09:00:00.000Z"


@pytest.mark.proves("ahima-acdis-2022: Q15, unchangeable")
def test_what_is_kept_cannot_be_replaced(browser: FlaskClient) -> None:
    address, forms = opened(browser), held_forms(browser)
    answer(browser, address, tissue="#connective")
    kept = kept_form(browser, address)
    assert forms.close(replace(kept, response={})) is False
    assert forms.get(kept.id) == kept


# --- who may ------------------------------------------------------------------------------------------------------


def test_a_form_is_served_to_no_other_client(assist: Assist) -> None:
    """The token of one client opens no form of another, even where its address is known."""
    app = create_app(Settings(), assist)
    calling = iter(["https://one.example", "https://one.example", "https://two.example"])

    @app.before_request
    def admitted() -> None:
        g.client = next(calling)

    browser = app.test_client()
    form_id = opened(browser).rpartition("/")[2]
    told = [browser.get(f"/fhir/Questionnaire/{form_id}").status_code for _ in range(2)]
    assert told == [200, 404]


def test_each_use_of_a_form_is_in_the_audit_without_its_address(syncing: FlaskClient) -> None:
    address = opened(syncing)
    syncing.get(address)
    answer(syncing, address, tissue="#connective")
    records = [json.loads(one) for one in syncing.application.extensions["store"].export_audit()]
    lines = [base64.b64decode(one["entity"][1]["query"]).decode() for one in records]
    assert lines == [
        "POST /cds-services/coding-assist",
        "GET /forms/<form_id>",
        "GET /fhir/Questionnaire/<string(length=32):form_id>",
        "POST /forms/<form_id>",
    ]
    assert {one["entity"][2]["what"]["reference"] for one in records} == {"Patient/p1"}
    assert address.rpartition("/")[2] not in json.dumps(records)


@pytest.mark.proves("contract: queries and answers are exported")
def test_what_was_answered_is_exported_by_its_codes(syncing: FlaskClient) -> None:
    answer(syncing, opened(syncing), tissue="#connective", function="weak left hand")
    [query] = syncing.application.extensions["store"].export_queries()
    [told] = query["answers"]
    assert (told["outcome"], told["answers"]) == ("answered", {"tissue": "connective", "function": "text"})


# --- not again in the encounter (Q17) -----------------------------------------------------------------------------


@pytest.mark.proves("ahima-acdis-2022: Q17, not repeated after an answer")
def test_after_the_answer_the_encounter_gets_the_code_and_not_the_question(browser: FlaskClient) -> None:
    assert kinds(cards(browser)) == ["documentation-query"]
    answer(browser, opened(browser), tissue="#connective")
    assert kinds(cards(browser)) == ["code-suggestion"]


@pytest.mark.proves("ahima-acdis-2022: Q17, not repeated after an override")
def test_after_declining_the_encounter_gets_no_such_question(browser: FlaskClient) -> None:
    browser.post(f"{opened(browser)}/decline", json={"reason": "declined"})
    assert kinds(cards(browser)) == []


def test_another_encounter_is_asked_again(browser: FlaskClient) -> None:
    browser.post(f"{opened(browser)}/decline", json={"reason": "declined"})
    context = {"userId": "Practitioner/d1", "patientId": "p1", "encounterId": "e2"}
    assert kinds(cards(browser, context=context)) == ["documentation-query"]


@pytest.mark.proves("ahima-acdis-2022: unable to determine is honoured")
def test_unable_to_determine_is_not_asked_again(browser: FlaskClient) -> None:
    answer(browser, opened(browser), tissue="#unable-to-determine")
    assert kinds(cards(browser)) == []


def asked_by(browser: FlaskClient, shown: list[Json]) -> list[str]:
    """The elements that the query cards ask for."""
    addresses = [card["links"][0]["url"].removeprefix("http://127.0.0.1:8080") for card in shown if "links" in card]
    items = [item for address in addresses for item in form_of(browser, address)["item"]]
    return [
        i["linkId"] for i in items if i["type"] != "display" and "readOnly" not in i and ".other" not in i["linkId"]
    ]


@pytest.mark.proves("ahima-acdis-2022: Q17, not repeated after an answer")
def test_a_later_card_asks_only_what_is_new(browser: FlaskClient) -> None:
    """The region was shown and left; the tissue that was answered opens up the process."""
    unframed = condition("Neural canal stenosis")
    assert asked_by(browser, cards(browser, unframed)) == ["region", "tissue"]
    answer(browser, opened(browser, unframed), tissue="ligamentum flavum")
    later = asked_by(browser, cards(browser, unframed, hookInstance=str(uuid4())))
    assert "framing" in later and not {"region", "tissue"} & set(later)


OVERRIDDEN = {"outcome": "overridden", "outcomeTimestamp": "2026-11-23T09:00:00Z"}


def overridden(browser: FlaskClient, card: Json) -> None:
    told = {"feedback": [{"card": card["uuid"], **OVERRIDDEN}]}
    assert browser.post("/cds-services/coding-assist/feedback", json=told).status_code == 200


STATED = "Biomechanical lesion. Canal stenosis at C5-C6 by flavum hypertrophy"


@pytest.mark.parametrize("text", [TWO_TISSUES, STATED], ids=["query", "code"])
@pytest.mark.proves("ahima-acdis-2022: Q17, not repeated after an override")
def test_a_card_that_was_overridden_is_not_shown_again_in_the_encounter(syncing: FlaskClient, text: str) -> None:
    for card in cards(syncing, condition(text)):
        overridden(syncing, card)
    assert cards(syncing, condition(text), hookInstance=str(uuid4())) == []
    context = {"userId": "Practitioner/d1", "patientId": "p1", "encounterId": "e2"}
    assert cards(syncing, condition(text), hookInstance=str(uuid4()), context=context)


def test_what_is_asked_beside_a_code_is_not_asked_once_the_code_was_overridden(syncing: FlaskClient) -> None:
    stated = condition("Connective tissue stenosis of neural canal of cervical region")
    code, query = cards(syncing, stated)
    assert kinds([code, query]) == ["code-suggestion", "documentation-query"]
    overridden(syncing, code)
    assert cards(syncing, stated, hookInstance=str(uuid4())) == []


def test_what_a_later_card_asks_is_kept_as_it_was_asked(syncing: FlaskClient) -> None:
    unframed = condition("Neural canal stenosis")
    answer(syncing, opened(syncing, unframed), tissue="ligamentum flavum")
    cards(syncing, unframed, hookInstance=str(uuid4()))
    *_, last = syncing.application.extensions["store"].export_queries()
    assert last["ask"][0] == "framing" and "region" not in last["ask"]


def test_an_overridden_code_does_not_silence_another_code(syncing: FlaskClient) -> None:
    [card, *_] = cards(syncing, condition(STATED))
    overridden(syncing, card)
    lumbar = STATED.replace("C5-C6", "L4-L5")
    assert "code-suggestion" in kinds(cards(syncing, condition(lumbar), hookInstance=str(uuid4())))


def test_a_problem_without_id_is_known_by_what_it_says(syncing: FlaskClient) -> None:
    """Before it is on the list a Condition has no id, and two of them may stand in the same place."""

    def shown(text: str) -> list[Json]:
        held = {key: value for key, value in condition(text).items() if key != "id"}
        return cards(syncing, held, hookInstance=str(uuid4()))

    address = next(card for card in shown(TWO_TISSUES) if "links" in card)["links"][0]["url"]
    answer(syncing, address.removeprefix("http://127.0.0.1:8080"), tissue="#connective")
    assert kinds(shown(TWO_TISSUES)) == ["code-suggestion"]
    assert kinds(shown(TWO_TISSUES.replace("C5-C6", "L4-L5"))) == ["documentation-query"]


# --- what the browser gets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["form", "/", "/forms/none"])
def test_a_page_may_load_nothing_from_elsewhere(browser: FlaskClient, address: str) -> None:
    shown = browser.get(opened(browser) if address == "form" else address)
    policy = shown.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src 'self';" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', shown.text)


@pytest.mark.parametrize("address", ["form", "/"])
def test_whatever_a_page_names_is_served(browser: FlaskClient, address: str) -> None:
    at = opened(browser) if address == "form" else address
    for named in re.findall(r'(?:src|href)="((?:\.\./)?static/[^"]+)"', browser.get(at).text):
        with browser.get(f"/{named.removeprefix('../')}") as served:
            assert served.status_code == 200, named


def test_a_page_of_a_record_is_kept_by_no_browser_and_told_to_no_site(browser: FlaskClient) -> None:
    shown = browser.get(opened(browser))
    assert (shown.headers["Cache-Control"], shown.headers["Referrer-Policy"]) == ("no-store", "no-referrer")


def test_lhc_forms_ships_with_its_licence() -> None:
    assert "Owner Notice" in (STATIC / "lforms" / "LICENSE.md").read_text("utf-8")
    assert "LHC-Forms" in (STATIC.parent.parent.parent / "NOTICE").read_text("utf-8")


# --- the setting --------------------------------------------------------------------------------------------------


def test_the_operator_says_how_long_a_form_waits() -> None:
    assert read_settings({"CODING_ASSIST_FORM_TTL": "0.5"}).form_hours == 0.5
    for wrong in ("0", "a day", "-1", "1e9"):
        with pytest.raises(SettingError, match="hours"):
            read_settings({"CODING_ASSIST_FORM_TTL": wrong})
