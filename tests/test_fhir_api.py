"""Door 2 as an integrator meets it: the shape of the answer, refusals, and what must not change an answer."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.assist import Assist
from service.shipped import fhir_profiles_dir
from service.validation import validate_resource
from tests.test_statements import _lines, outpatient_condition, parameters

Json = dict[str, Any]
COMPLETE = "Biomechanical lesion: neural canal narrowed by thickened ligamentum flavum at C5-C6"


@pytest.fixture(scope="module")
def client(assist: Assist) -> FlaskClient:
    return create_app(assist=assist).test_client()


def condition(text: str = COMPLETE, **more: Any) -> Json:
    return {
        "resourceType": "Condition",
        "id": "c1",
        "subject": {"reference": "Patient/p1"},
        "recordedDate": "2026-11-16",
        "code": {"text": text},
        **more,
    }


def post(client: FlaskClient, body: Any, operation: str = "Condition/$coding-assist") -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(f"/fhir/{operation}", data=data, content_type="application/fhir+json")


def values(answer: Json, name: str) -> Iterator[Any]:
    """The values of every part of that name, at any depth outside of resources."""
    for part in answer.get("parameter", answer.get("part", [])):
        if part["name"] == name:
            yield next((value for key, value in part.items() if key.startswith("value")), part.get("resource", part))
        yield from values(part, name)


def codes(answer: Json, name: str) -> list[str]:
    return [
        value["coding"][0]["code"]
        for group in answer["parameter"]
        for part in group.get("part", [])
        if part["name"] == name
        for value in values(part, "concept")
    ]


def test_one_condition_in_one_code_out_with_its_reasons(client: FlaskClient) -> None:
    answer = post(client, condition()).get_json()
    assert codes(answer, "suggestion") == ["M99.41"]
    assert next(values(answer, "disposition")) == "code-supported"
    assert any("M48.02" in note for note in values(answer, "note"))
    assert {"M99.40", "M99.31", "M99.51", "M48.02"} <= set(codes(answer, "alternative"))
    assert next(values(answer, "icd10cm")) == "2027"


@pytest.mark.proves("POLICY 4: words of a patient are indicators only")
def test_what_a_patient_says_is_no_diagnosis_and_not_out_of_scope(client: FlaskClient) -> None:
    answer = post(client, condition(asserter={"reference": "Patient/p1"})).get_json()
    assert list(values(answer, "disposition")) == ["not-applicable"]
    assert codes(answer, "suggestion") == []


@pytest.mark.proves("contract: Parameters, a bare Condition or a Bundle")
def test_three_envelopes_lead_to_one_answer(client: FlaskClient) -> None:
    bodies = [
        condition(),
        {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": condition()}]},
        {"resourceType": "Parameters", "parameter": [{"name": "condition", "resource": condition()}]},
    ]
    assert len({post(client, body).data for body in bodies}) == 1


@pytest.mark.proves("contract: Type/id, else fullUrl, else #n")
def test_a_condition_without_id_is_named_by_its_full_url_or_its_place(client: FlaskClient) -> None:
    bare = {key: value for key, value in condition().items() if key != "id"}
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": "urn:uuid:1f0e5ad7-5f2e-4c3a-a1c5-0d3a1b2c3d4e", "resource": bare}, {"resource": bare}],
    }
    assert [value["reference"] for value in values(post(client, bundle).get_json(), "condition")] == [
        "urn:uuid:1f0e5ad7-5f2e-4c3a-a1c5-0d3a1b2c3d4e",
        "#1",
    ]


@pytest.mark.proves("R4: what is answered validates")
def test_every_resource_of_an_answer_is_valid_r4(client: FlaskClient) -> None:
    for text in (
        COMPLETE,
        "Cervical spinal stenosis",
        "L4-5 canal stenosis, disc bulge with ligamentum flavum hypertrophy",
        "Neck pain",
        "Possible stenosis of the neural canal, lumbar",
    ):
        answer = post(client, condition(text)).get_json()
        assert validate_resource(answer, allowed=frozenset({"Parameters"})) == []
        for resource in [
            *values(answer, "questionnaire"),
            *values(answer, "questionnaireResponse"),
            *values(answer, "outcome"),
        ]:
            kinds = frozenset({"Questionnaire", "QuestionnaireResponse", "OperationOutcome"})
            assert validate_resource(resource, allowed=kinds) == [], resource


def test_every_quote_is_the_text_at_its_place(client: FlaskClient) -> None:
    html = (
        "<p>FINDINGS: At <b>C5-C6</b> the thickened ligamentum flavum &amp; capsule narrow the <i>neural canal</i>.</p>"
    )
    report = {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "status": "final",
        "code": {"text": "MRI cervical spine"},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2026-11-02",
        "presentedForm": [{"contentType": "text/html", "data": base64.b64encode(html.encode()).decode()}],
    }
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "condition", "resource": condition()}, {"name": "diagnosticReport", "resource": report}],
    }
    answer = post(client, body).get_json()
    seen = 0
    for evidence in values(answer, "evidence"):
        fields = {
            part["name"]: next(value for key, value in part.items() if key.startswith("value"))
            for part in evidence["part"]
        }
        source = {"Condition.code.text": COMPLETE, "DiagnosticReport.presentedForm[0].data": html}.get(
            fields["expression"]
        )
        if source is COMPLETE:
            assert source[fields["start"] : fields["end"]] == fields["quote"]
        seen += source is not None
    assert seen > 3


@pytest.mark.proves("POLICY 5: code validity is judged by the date of service")
@pytest.mark.parametrize(
    ("day", "code", "flag"),
    [
        ("2017-09-30", "M48.061", True),
        ("2017-10-01", "M48.061", False),
        ("2015-09-30", "M99.41", True),
        ("2015-10-01", "M99.41", False),
    ],
)
def test_the_date_of_service_decides_what_is_valid(client: FlaskClient, day: str, code: str, flag: bool) -> None:
    coded = condition(
        code={"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": code}], "text": "Low back pain"}
    )
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "condition", "resource": coded}, {"name": "dateOfService", "valueDate": day}],
    }
    outcome = json.dumps(list(values(post(client, body, "Claim/$check").get_json(), "outcome")))
    assert ("code.not-valid-on-dos" in outcome) is flag


@pytest.mark.proves("R4: a claim without any error passes")
def test_result_is_true_only_without_an_error(client: FlaskClient) -> None:
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "condition", "resource": condition()},
            {"name": "dateOfService", "valueDate": "2026-11-16"},
        ],
    }
    assert next(values(post(client, body, "Claim/$check").get_json(), "result")) is True
    assert next(values(post(client, condition(), "Claim/$check").get_json(), "result")) is False  # no date of service


REFUSED: list[tuple[str, bytes | Json, int]] = [
    ("not json", b"{", 400),
    ("empty", b"", 400),
    ("a list", b"[]", 400),
    ("null", b"null", 400),
    ("wrong type", {"resourceType": "Medication"}, 400),
    ("no type", {"id": "x"}, 400),
    ("no subject", {"resourceType": "Condition", "code": {"text": "x"}}, 400),
    ("duplicate key", b'{"resourceType":"Condition","resourceType":"Condition"}', 400),
    ("NaN", b'{"resourceType":"Condition","subject":NaN}', 400),
    ("deep", b'{"a":' * 500 + b"1" + b"}" * 500, 400),
    ("long number", b'{"resourceType":"Condition","a":' + b"9" * 5000 + b"}", 400),
    ("surrogate", b'{"resourceType":"Condition","subject":{"reference":"\\ud800"}}', 400),
    ("not utf-8", b'{"resourceType":"Condition","id":"\xff"}', 400),
    ("null member", condition(note=None), 400),
    ("empty array", condition(note=[]), 400),
    ("empty string", condition(""), 400),
    (
        "unknown status",
        condition(
            verificationStatus={
                "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "maybe"}]
            }
        ),
        422,
    ),
    ("wrong date", condition(recordedDate="2026-02-30"), 400),
    ("unknown element", condition(colour="blue"), 400),
    ("boolean as text", condition(subject="Patient/p1"), 400),
    (
        "unknown parameter",
        {"resourceType": "Parameters", "parameter": [{"name": "patientName", "valueString": "x"}]},
        400,
    ),
    (
        "no condition",
        {"resourceType": "Parameters", "parameter": [{"name": "dateOfService", "valueDate": "2026-01-01"}]},
        400,
    ),
    ("parameter without resource", {"resourceType": "Parameters", "parameter": [{"name": "condition"}]}, 400),
    (
        "resource in the wrong role",
        {"resourceType": "Parameters", "parameter": [{"name": "encounter", "resource": condition()}]},
        400,
    ),
    (
        "two encounters",
        {
            "resourceType": "Parameters",
            "parameter": [{"name": "encounter", "resource": outpatient_condition("x")["encounter"]}] * 2,
        },
        400,
    ),
    (
        "partial date of service",
        {
            "resourceType": "Parameters",
            "parameter": [
                {"name": "condition", "resource": condition()},
                {"name": "dateOfService", "valueDate": "2026"},
            ],
        },
        400,
    ),
]


def given(*parameters: Json) -> Json:
    return {"resourceType": "Parameters", "parameter": list(parameters)}


def bundle_of(*resources: Json) -> Json:
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in resources]}


ONE_CONDITION = {"name": "condition", "resource": condition()}
A_CLAIM = json.loads((fhir_profiles_dir() / "examples" / "Claim-example.json").read_text("utf-8"))
ENCOUNTER = {"name": "encounter", "resource": outpatient_condition("x")["encounter"]}


@pytest.mark.parametrize(
    ("address", "body", "says"),
    [
        ("Condition/$coding-assist", bundle_of(A_CLAIM), "No Condition is given"),
        ("Condition/$coding-assist", {"resourceType": "Bundle", "type": "collection"}, "No Condition is given"),
        (
            "Claim/$check",
            given({"name": "dateOfService", "valueDate": "2026-05-01"}),
            "Neither a Condition nor a Claim is given",
        ),
        ("Claim/$check", bundle_of(A_CLAIM, A_CLAIM), "The Bundle holds 2 Claims"),
        ("Condition/$coding-assist", given(ONE_CONDITION, ENCOUNTER, ENCOUNTER), "is given 2 times"),
        ("Condition/$coding-assist", given({"name": "condition"}), "holds no Condition"),
        ("Condition/$coding-assist", given({**ONE_CONDITION, "name": "encounter"}), "holds no Encounter"),
        (
            "Condition/$coding-assist",
            given(ONE_CONDITION, {"name": "dateOfService", "valueString": "2026-05-01"}),
            "dateOfService is no complete date",
        ),
    ],
)
def test_an_envelope_that_cannot_be_opened_says_why(client: FlaskClient, address: str, body: Json, says: str) -> None:
    answer = client.post(f"/fhir/{address}", json=body)
    assert (answer.status_code, says in answer.get_json()["issue"][0]["diagnostics"]) == (400, True)


def test_what_a_bundle_holds_beside_is_passed_over(client: FlaskClient) -> None:
    alone, goal = bundle_of(condition()), {"description": {"text": "x"}, "subject": {"reference": "Patient/p1"}}
    beside = bundle_of(condition(), {"resourceType": "Goal", "lifecycleStatus": "active", **goal})
    beside["entry"].append({"fullUrl": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"})
    assert post(client, beside).data == post(client, alone).data
    assert post(client, alone).status_code == 200


def test_the_date_of_service_may_be_a_date_time(client: FlaskClient) -> None:
    at = {"name": "dateOfService", "valueDateTime": "2026-05-01T10:00:00Z"}
    assert (
        post(client, given(ONE_CONDITION, at)).data
        == post(client, given(ONE_CONDITION, {"name": "dateOfService", "valueDate": "2026-05-01"})).data
    )


@pytest.mark.parametrize(("body", "status"), [pytest.param(body, status, id=name) for name, body, status in REFUSED])
def test_bad_input_is_refused_with_one_sentence(client: FlaskClient, body: bytes | Json, status: int) -> None:
    response = post(client, body)
    outcome = response.get_json()
    assert response.status_code == status
    assert outcome["resourceType"] == "OperationOutcome"
    assert all(
        issue["severity"] in ("error", "fatal", "warning") and issue["code"] and issue["diagnostics"].endswith(".")
        for issue in outcome["issue"]
    )


def test_a_body_over_one_mebibyte_is_refused(client: FlaskClient) -> None:
    assert post(client, b" " * 1_048_577).status_code == 413


def test_of_a_body_that_is_said_to_be_longer_nothing_is_read(client: FlaskClient) -> None:
    class Unread:
        def read(self, *_: object) -> bytes:
            raise AssertionError("the body was read")

    environ = {"wsgi.input": Unread(), "CONTENT_LENGTH": "1048577", "CONTENT_TYPE": "application/json"}
    answer = client.open("/fhir/Condition/$coding-assist", method="POST", environ_overrides=environ)
    assert answer.status_code == 413


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, identity", "x"])
def test_a_body_that_is_said_to_be_compressed_is_415_whatever_it_is(client: FlaskClient, coding: str) -> None:
    sent = client.post("/fhir/Condition/$coding-assist", json=condition(), headers={"Content-Encoding": coding})
    assert sent.status_code == 415


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("get", "/nowhere", 404), ("get", "/fhir/Condition/$coding-assist", 405), ("put", "/fhir/Claim/$check", 405)],
)
def test_an_address_or_method_that_is_not_served_is_an_operation_outcome(
    client: FlaskClient, method: str, path: str, status: int
) -> None:
    response = getattr(client, method)(path)
    assert (response.status_code, response.get_json()["resourceType"]) == (status, "OperationOutcome")


@pytest.mark.parametrize("content_type", ["application/xml", "text/plain", "multipart/form-data; boundary=x"])
def test_a_body_that_is_not_json_is_415(client: FlaskClient, content_type: str) -> None:
    assert client.post("/fhir/Condition/$coding-assist", data=b"<x/>", content_type=content_type).status_code == 415


def test_a_crash_is_a_500_with_an_operation_outcome_and_no_word_of_the_record(
    assist: Assist, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("Canary Jane Doe")

    monkeypatch.setattr(assist, "answer", crash)
    response = post(create_app(assist=assist).test_client(), condition("Canary words"))
    assert response.status_code == 500
    assert response.get_json()["issue"][0]["code"] == "exception"
    assert "Canary" not in response.text + caplog.text


def test_every_answer_carries_a_request_id(client: FlaskClient) -> None:
    given = client.post("/fhir/Condition/$coding-assist", json=condition(), headers={"X-Request-ID": "abc-1"})
    assert given.headers["X-Request-ID"] == "abc-1"
    assert len(client.get("/nowhere").headers["X-Request-ID"]) == 32
    for unsafe in ("<script>", "Jane Doe", "a" * 65, "é"):
        assert len(client.get("/healthz", headers={"X-Request-ID": unsafe}).headers["X-Request-ID"]) == 32


@pytest.mark.proves("contract: /about/source-attributes, the thirteen of evidence-based decision support")
def test_the_service_says_what_decision_support_has_to_say_of_itself(client: FlaskClient, assist: Assist) -> None:
    told = {one["id"]: one for one in client.get("/about/source-attributes").get_json()}
    assert len(told) == 13
    assert [name for name, one in told.items() if one.get("used", True)] == list(told)[:4]
    cited = {citation.url for rule in assist.terminology.rules() for citation in rule.cites}
    assert all(any(url in line for line in told["bibliographic-citation"]["listed"]) for url in cited)
    page = client.get("/about/source-attributes", headers={"Accept": "text/html"}).get_data(as_text=True)
    assert all(one["name"] in page for one in told.values())


@pytest.mark.proves("ONC DSI: race, ethnicity, language, gender identity, sex and date of birth are not used")
def test_who_the_patient_is_changes_no_byte_of_the_answer(client: FlaskClient) -> None:
    race = {
        "url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race",
        "extension": [{"url": "text", "valueString": "Asian"}],
    }
    patients: list[Json] = [
        {"gender": "female", "birthDate": "1961-04-02", "name": [{"family": "Alpha"}]},
        {"gender": "male", "birthDate": "2019-12-31", "name": [{"family": "Stenosis", "given": ["Cervical"]}]},
        {
            "gender": "other",
            "extension": [race],
            "communication": [{"language": {"text": "Spanish"}}],
            "address": [{"city": "Canal Winchester"}],
        },
        {},
    ]
    for line in _lines("statements.jsonl")[::12]:
        record = outpatient_condition(line["text"])
        answers = {
            post(
                client,
                parameters({**record, "patient": {"resourceType": "Patient", "id": "p1", **copy.deepcopy(patient)}}),
            ).data
            for patient in patients
        }
        assert len(answers) == 1, line["id"]


def test_a_report_of_another_patient_is_not_read(client: FlaskClient) -> None:
    report = {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "status": "final",
        "code": {"text": "MRI"},
        "subject": {"reference": "Patient/other"},
        "conclusion": "Ligamentum flavum narrows the cervical canal.",
    }
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "condition", "resource": condition("Neck pain")},
            {"name": "diagnosticReport", "resource": report},
        ],
    }
    response = post(client, body)
    assert "Ligamentum" not in response.text
    assert "evidence.subject-mismatch" in response.text


def test_conditions_of_two_patients_do_not_share_a_report(client: FlaskClient) -> None:
    report = {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "status": "final",
        "code": {"text": "MRI"},
        "effectiveDateTime": "2026-11-10",
        "subject": {"reference": "Patient/p2"},
        "conclusion": "Ligamentum flavum narrows the cervical canal.",
    }
    own = {**condition("Cervical spinal stenosis"), "id": "c1"}
    other = {**condition("Cervical spinal stenosis"), "id": "c2", "subject": {"reference": "Patient/p2"}}
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "condition", "resource": own},
            {"name": "condition", "resource": other},
            {"name": "diagnosticReport", "resource": report},
        ],
    }
    response = post(client, body)
    first, second = [json.dumps(group) for group in response.get_json()["parameter"] if group["name"] == "assessment"]
    assert "igamentum" not in first
    assert "Ligamentum flavum" in second
    assert "subject-mismatch" not in response.text


def test_the_sibling_of_the_documented_region_is_ruled_out_by_tissue_not_by_region(client: FlaskClient) -> None:
    answer = post(client, condition("Spinal stenosis, thoracic region")).get_json()
    reasons = dict(zip(codes(answer, "alternative"), _reasons(answer), strict=True))
    assert reasons["M99.42"].startswith("Tissue: ")
    assert reasons["M99.43"].startswith("Region: ")


def _reasons(answer: Json) -> Iterator[str]:
    for group in answer["parameter"]:
        for part in group.get("part", []):
            if part["name"] == "alternative":
                yield from values(part, "reason")
