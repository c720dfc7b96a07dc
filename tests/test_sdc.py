"""The query through SDC: $populate, $next-question and $extract, over HTTP."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.fhir_out import CANONICAL
from service.responses import ORIGIN
from service.sdc import FORM, RECORD
from service.validation import validate_resource
from tests.lforms_export import exported

Json = dict[str, Any]
TYPES = frozenset({"QuestionnaireResponse", "Condition", "Bundle", "Questionnaire", "Parameters"})
TWO_TISSUES = "Biomechanical lesion. Canal stenosis at C5-C6 with disc bulge and flavum hypertrophy"
UNFRAMED = "Ligament thickening narrowing the canal at C5-C6"
CANARY = "Zebedee Quux"  # stands for what a patient would not want to read in a message


def condition(text: str, **more: Any) -> Json:
    return {
        "resourceType": "Condition",
        "id": "c1",
        "meta": {"versionId": "3"},
        "subject": {"reference": "Patient/p1"},
        "recordedDate": "2026-10-20",
        "code": {"text": text},
        **more,
    }


def parameters(**given: Json) -> Json:
    named = [(name.replace("_", "-"), value) for name, value in given.items()]
    return {"resourceType": "Parameters", "parameter": [{"name": n, "resource": v} for n, v in named]}


def out(answer: Json, name: str) -> Json:
    return next(part["resource"] for part in answer["parameter"] if part["name"] == name)


def form_for(client: FlaskClient, record: Json) -> Json:
    answer = client.post("/fhir/Condition/$coding-assist", json=parameters(condition=record)).get_json()
    parts = next(p["part"] for p in answer["parameter"] if p["name"] == "assessment")
    return next(p["resource"] for p in parts if p["name"] == "questionnaire")


def origin(item: Json) -> str:
    [extension] = [e for e in item["answer"][0]["extension"] if e["url"] == ORIGIN]
    return str(extension["extension"][0]["valueCode"])


# --- $populate ----------------------------------------------------------------------------------------------------


@pytest.mark.proves("sdc 4.0.0: Questionnaire/$populate")
def test_populate_answers_what_the_record_answers_and_marks_it_auto(client: FlaskClient) -> None:
    record = condition(TWO_TISSUES)
    answer = client.post("/fhir/Questionnaire/$populate", json=parameters(condition=record)).get_json()
    response = out(answer, "response")
    told = {item["linkId"]: item for item in response["item"]}
    assert told["region"]["answer"][0]["valueString"] == "cervical"
    assert {origin(item) for item in told.values()} == {"auto"}
    assert "tissue" not in told
    assert response["contained"][0]["resourceType"] == "Questionnaire"
    assert response["subject"] == {"reference": "Patient/p1"}
    assert validate_resource(response, allowed=TYPES) == []


def test_populate_says_what_the_record_leaves_open(client: FlaskClient) -> None:
    answer = client.post("/fhir/Questionnaire/$populate", json=parameters(condition=condition(TWO_TISSUES))).get_json()
    places = [issue["expression"][0] for issue in out(answer, "issues")["issue"]]
    assert "Questionnaire.item.where(linkId='tissue')" in places


def test_populate_fills_the_types_of_a_form_that_is_sent(client: FlaskClient) -> None:
    coding = {"system": "urn:x", "code": "cervical", "display": "Neck"}
    asked = {
        "resourceType": "Questionnaire",
        "url": "https://site.example/Questionnaire/spine",
        "version": "7",
        "status": "active",
        "item": [
            {"linkId": "region", "type": "choice", "answerOption": [{"valueCoding": coding}]},
            {"linkId": "framing", "type": "text"},
            {"linkId": "their-own", "type": "text"},
        ],
    }
    sent = parameters(questionnaire=asked, condition=condition(TWO_TISSUES))
    response = out(client.post("/fhir/Questionnaire/$populate", json=sent).get_json(), "response")
    told = {item["linkId"]: item["answer"][0] for item in response["item"]}
    assert told["region"]["valueCoding"] == coding
    assert told["framing"]["valueString"] == "biomechanical"
    assert set(told) == {"region", "framing"}
    assert response["questionnaire"] == "https://site.example/Questionnaire/spine|7"


@pytest.mark.parametrize("name", ["questionnaire", "questionnaireRef"])
def test_populate_takes_the_record_from_context_and_the_form_by_its_address(client: FlaskClient, name: str) -> None:
    part = [{"name": "name", "valueString": "condition"}, {"name": "content", "resource": condition(TWO_TISSUES)}]
    sent = {"resourceType": "Parameters", "parameter": [{"name": "context", "part": part}]}
    sent["parameter"].append({"name": name, "valueUri": FORM})
    assert client.post("/fhir/Questionnaire/$populate", json=sent).status_code == 200


def test_populate_says_that_a_context_by_reference_is_not_fetched(client: FlaskClient) -> None:
    part = [
        {"name": "name", "valueString": "patient"},
        {"name": "content", "valueReference": {"reference": "Patient/p1"}},
    ]
    sent = parameters(condition=condition(TWO_TISSUES))
    sent["parameter"].append({"name": "context", "part": part})
    answer = client.post("/fhir/Questionnaire/$populate", json=sent).get_json()
    assert out(answer, "issues")["issue"][0]["code"] == "not-supported"


# --- $next-question -----------------------------------------------------------------------------------------------


def asked_so_far(response: Json) -> list[str]:
    [form] = [one for one in response["contained"] if one["resourceType"] == "Questionnaire"]
    return [i["linkId"] for i in form["item"] if i["type"] != "display" and not i["linkId"].endswith(".other")]


def first_question(client: FlaskClient, text: str) -> Json:
    empty = {"resourceType": "QuestionnaireResponse", "status": "in-progress", "questionnaire": "#form"}
    empty["contained"] = [{"resourceType": "Questionnaire", "id": "form", "status": "active"}]
    sent = parameters(questionnaire_response=empty, condition=condition(text))
    return client.post("/fhir/Questionnaire/$next-question", json=sent).get_json()


def answered(response: Json, link_id: str, words: str) -> Json:
    [form] = [one for one in response["contained"] if one["resourceType"] == "Questionnaire"]
    given = exported(form, **{link_id.replace(".", "__"): words})["item"]
    return {**response, "item": [*response.get("item", []), *given]}


@pytest.mark.proves("sdc 4.0.0: Questionnaire/$next-question")
def test_the_next_question_comes_one_at_a_time_and_ends(client: FlaskClient) -> None:
    response, order = first_question(client, TWO_TISSUES), []
    words = {"tissue": "#connective", "imaging.modality": "#MR", "imaging.date": "2026-10-01"}
    words["imaging.finding"] = "canal narrowed at C5-C6"
    for _ in range(12):
        assert validate_resource(response, allowed=TYPES) == []
        if response["status"] == "completed":
            break
        order.append(asked_so_far(response)[-1])
        sent = answered(response, order[-1], words.get(order[-1], "weakness of the left hand"))
        response = client.post("/fhir/Questionnaire/$next-question", json=sent).get_json()
    assert response["status"] == "completed"
    assert order == ["tissue", "imaging.modality", "imaging.date", "imaging.finding", "function"]


@pytest.mark.parametrize("left_out", [(), ("id",)], ids=["with id", "without id"])
def test_a_record_that_is_sent_with_each_call_is_contained_once(client: FlaskClient, left_out: tuple[str, ...]) -> None:
    record = {key: value for key, value in condition(TWO_TISSUES).items() if key not in left_out}
    empty = {"resourceType": "QuestionnaireResponse", "status": "in-progress", "questionnaire": "#form"}
    response: Json = {**empty, "contained": [{"resourceType": "Questionnaire", "id": "form", "status": "active"}]}
    for name, words in (("", ""), ("tissue", "#connective"), ("imaging.modality", "#none-performed")):
        sent = answered(response, name, words) if name else response
        body = parameters(questionnaire_response=sent, condition=record)
        response = client.post("/fhir/Questionnaire/$next-question", json=body).get_json()
        assert [one["resourceType"] for one in response["contained"]] == ["Questionnaire", "Condition"]
    assert asked_so_far(response) == ["tissue", "imaging.modality", "function"]


def test_the_form_from_which_the_adaptive_one_is_derived_is_served(client: FlaskClient) -> None:
    form, _ = first_question(client, TWO_TISSUES)["contained"]
    address = form["derivedFrom"][0].removeprefix(f"{CANONICAL}/")
    served = client.get(f"/fhir/{address}").get_json()
    assert (served["url"], served["extension"]) == (form["derivedFrom"][0], form["extension"])
    populated = client.post(f"/fhir/{address}/$populate", json=parameters(condition=condition(TWO_TISSUES)))
    assert out(populated.get_json(), "response")["contained"][0]["resourceType"] == "Questionnaire"


@pytest.mark.proves("ahima-acdis-2022: unable to determine is honoured")
def test_unable_to_determine_ends_the_adaptive_form(client: FlaskClient) -> None:
    sent = answered(first_question(client, TWO_TISSUES), "tissue", "#unable-to-determine")
    assert client.post("/fhir/Questionnaire/$next-question", json=sent).get_json()["status"] == "completed"


@pytest.mark.parametrize("words", ["#unable-to-determine", "#none-performed"])
def test_without_an_imaging_neither_its_date_nor_what_it_showed_is_asked(client: FlaskClient, words: str) -> None:
    sent = answered(first_question(client, TWO_TISSUES), "tissue", "#connective")
    second = client.post("/fhir/Questionnaire/$next-question", json=sent).get_json()
    third = client.post("/fhir/Questionnaire/$next-question", json=answered(second, "imaging.modality", words))
    assert asked_so_far(third.get_json()) == ["tissue", "imaging.modality", "function"]


def test_in_a_form_the_date_of_an_imaging_is_asked_of_whoever_names_one(client: FlaskClient) -> None:
    asked = {item["linkId"]: item for item in form_for(client, condition(TWO_TISSUES))["item"]}
    codes = [when["answerCoding"]["code"] for when in asked["imaging.date"]["enableWhen"]]
    assert codes == ["MR", "CT", "XR", "other"]
    assert asked["imaging.finding"]["enableWhen"] == asked["imaging.date"]["enableWhen"]
    assert asked["imaging.date"]["enableBehavior"] == "any"


def test_an_unanswered_question_is_waited_for(client: FlaskClient) -> None:
    response = first_question(client, TWO_TISSUES)
    again = client.post("/fhir/Questionnaire/$next-question", json=response).get_json()
    assert asked_so_far(again) == asked_so_far(response) == ["tissue"]


def test_the_contained_form_is_an_adaptive_one_and_the_record_is_referred_to(client: FlaskClient) -> None:
    response = first_question(client, TWO_TISSUES)
    form, record = response["contained"]
    assert (form["derivedFrom"], "url" in form, "version" in form) == ([FORM], False, False)
    assert response["questionnaire"] == f"#{form['id']}"
    references = [e["valueReference"]["reference"] for e in response["extension"] if e["url"] == RECORD]
    assert references == [f"#{record['id']}"]


def test_a_response_without_a_contained_form_is_refused(client: FlaskClient) -> None:
    bare = {"resourceType": "QuestionnaireResponse", "status": "in-progress"}
    answer = client.post("/fhir/Questionnaire/$next-question", json=bare)
    assert (answer.status_code, answer.get_json()["issue"][0]["code"]) == (422, "required")


# --- $extract -----------------------------------------------------------------------------------------------------


def extracted(client: FlaskClient, text: str, **answers: str) -> Json:
    record = condition(text)
    form = form_for(client, record)
    sent = parameters(questionnaire_response=exported(form, **answers), questionnaire=form, condition=record)
    answer = client.post("/fhir/QuestionnaireResponse/$extract", json=sent)
    assert answer.status_code == 200, answer.get_json()
    return answer.get_json()


@pytest.mark.proves("sdc 4.0.0: QuestionnaireResponse/$extract")
def test_extract_returns_a_transaction_with_the_answers_and_the_completed_condition(client: FlaskClient) -> None:
    bundle = out(extracted(client, TWO_TISSUES, tissue="#connective", imaging__modality="#MR"), "return")
    assert (bundle["type"], validate_resource(bundle, allowed=TYPES)) == ("transaction", [])
    answers, completed = bundle["entry"]
    assert answers["request"] == {"method": "POST", "url": "QuestionnaireResponse"}
    assert completed["request"] == {"method": "PUT", "url": "Condition/c1", "ifMatch": 'W/"3"'}
    assert [c["code"] for c in completed["resource"]["code"]["coding"]] == ["M99.41"]
    assert completed["resource"]["code"]["text"] == TWO_TISSUES
    assert completed["resource"]["evidence"] == [{"detail": [{"reference": answers["fullUrl"]}]}]


def test_the_answers_are_kept_with_who_gave_them(client: FlaskClient) -> None:
    bundle = out(extracted(client, TWO_TISSUES, tissue="#connective", function="weak left hand"), "return")
    kept = bundle["entry"][0]["resource"]
    origins = {item["linkId"]: origin(item) for item in kept["item"]}
    assert (origins["tissue"], origins["function"], origins["region"]) == ("manual", "manual", "auto")
    assert (kept["status"], kept["subject"]) == ("completed", {"reference": "Patient/p1"})


@pytest.mark.proves("ahima-acdis-2022: unable to determine is honoured")
def test_what_cannot_be_determined_changes_no_condition(client: FlaskClient) -> None:
    bundle = out(extracted(client, UNFRAMED, framing="unable to determine"), "return")
    assert [entry["resource"]["resourceType"] for entry in bundle["entry"]] == ["QuestionnaireResponse"]


@pytest.mark.parametrize(("answer", "status"), [("#confirmed", "confirmed"), ("#ruled-out", "refuted")])
def test_a_status_that_was_answered_is_set(client: FlaskClient, answer: str, status: str) -> None:
    hedged = "Possible connective tissue stenosis of neural canal of cervical region"
    bundle = out(extracted(client, hedged, certainty=answer), "return")
    assert bundle["entry"][1]["resource"]["verificationStatus"]["coding"][0]["code"] == status


def test_extract_names_what_is_still_open(client: FlaskClient) -> None:
    answer = extracted(client, TWO_TISSUES, tissue="#connective")
    said = [issue["diagnostics"] for issue in out(answer, "issues")["issue"]]
    assert any("imaging.modality" in sentence for sentence in said)


def wrong(form: Json, name: str) -> Json:
    """An export that does not belong to the form, or not to the patient."""
    sent = exported(form, tissue="#connective", function=CANARY)
    tissue, function = sent["item"]
    if name == "an option that is none":
        tissue["answer"][0]["valueCoding"] = {**tissue["answer"][0]["valueCoding"], "code": "osseous"}
    elif name == "a code of another system":
        tissue["answer"][0]["valueCoding"] = {"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "M99.41"}
    elif name == "a question that is none":
        function["linkId"] = "payment"
    elif name == "two answers":
        tissue["answer"] = tissue["answer"] * 2
    elif name == "the same question twice":
        sent["item"].append(copy.deepcopy(tissue))
    elif name == "words for a choice":
        tissue["answer"] = [{"valueString": CANARY}]
    elif name == "blank words":
        function["answer"] = [{"valueString": "  "}]
    elif name == "too many words":
        function["answer"] = [{"valueString": CANARY * 200}]
    elif name == "Other without words":
        tissue["answer"][0]["valueCoding"] = {**tissue["answer"][0]["valueCoding"], "code": "other"}
    elif name == "words under Other that is not chosen":
        sent["item"].append({"linkId": "tissue.other", "answer": [{"valueString": CANARY}]})
    elif name == "another patient":
        sent["subject"] = {"reference": "Patient/p2"}
    elif name == "no answer":
        sent["item"] = []
    return sent if sent["item"] else {k: v for k, v in sent.items() if k != "item"}


WRONG = [
    "an option that is none",
    "a code of another system",
    "a question that is none",
    "two answers",
    "the same question twice",
    "words for a choice",
    "blank words",
    "too many words",
    "Other without words",
    "words under Other that is not chosen",
    "another patient",
    "no answer",
]


@pytest.mark.parametrize("name", WRONG)
def test_a_tampered_response_is_refused_in_a_sentence_without_its_words(client: FlaskClient, name: str) -> None:
    record = condition(TWO_TISSUES)
    form = form_for(client, record)
    sent = parameters(questionnaire_response=wrong(form, name), questionnaire=form, condition=record)
    answer = client.post("/fhir/QuestionnaireResponse/$extract", json=sent)
    assert answer.status_code in (400, 422)
    assert answer.get_json()["issue"][0]["diagnostics"].endswith(".")
    assert CANARY not in answer.text


def test_the_words_under_other_are_the_answer(client: FlaskClient) -> None:
    answers = {"tissue": "#other", "tissue.other": "the yellow ligament"}
    record = condition(TWO_TISSUES)
    form = form_for(client, record)
    response = exported(form, **{name.replace(".", "__"): words for name, words in answers.items()})
    sent = parameters(questionnaire_response=response, questionnaire=form, condition=record)
    bundle = out(client.post("/fhir/QuestionnaireResponse/$extract", json=sent).get_json(), "return")
    assert bundle["entry"][1]["resource"]["code"]["coding"][0]["code"] == "M99.41"


@pytest.mark.parametrize("operation", ["Questionnaire/$next-question", "QuestionnaireResponse/$extract"])
@pytest.mark.parametrize("body", [[], {"resourceType": "Parameters"}, parameters(nonsense=condition("x"))])
def test_what_is_no_call_is_refused(client: FlaskClient, operation: str, body: Any) -> None:
    assert client.post(f"/fhir/{operation}", json=body).status_code == 400
