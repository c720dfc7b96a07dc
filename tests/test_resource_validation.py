"""$validate: the whole validation in one answer, and a failed call only where nothing can be validated."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask.testing import FlaskClient

from service import __version__
from service.assist import Assist
from service.fhir_out import FLAG_SYSTEM, ICD10CM
from service.resource_validation import OUR_PROFILE, REPORT_PROFILE, Asked, validated
from service.shipped import fhir_profiles_dir
from service.validation import validate_resource
from tests.test_statements import outpatient_condition

Json = dict[str, Any]
EXAMPLE = json.loads(Path(fhir_profiles_dir(), "examples", "Condition-documented-m99-41.json").read_text("utf-8"))
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
VER_STATUS = "http://terminology.hl7.org/CodeSystem/condition-ver-status"


def sound(**changes: Any) -> Json:
    """A sound Condition with changes; None takes an element away."""
    changed = {**EXAMPLE, **changes}
    return {name: value for name, value in changed.items() if value is not None}


def concept(system: str, code: str) -> Json:
    return {"coding": [{"system": system, "code": code}]}


def validate(client: FlaskClient, body: Any, address: str = "Condition/$validate") -> Any:
    return client.post(f"/fhir/{address}", data=json.dumps(body), content_type="application/fhir+json")


def issues(answer: Any) -> list[tuple[str, str, str]]:
    """Severity, code and place of each issue of a call that succeeded."""
    assert answer.status_code == 200, answer.get_json()
    outcome = answer.get_json()
    assert validate_resource(outcome, allowed=frozenset({"OperationOutcome"})) == []
    return [(one["severity"], one["code"], one.get("expression", [""])[0]) for one in outcome["issue"]]


def flags(answer: Any) -> set[str]:
    return {
        coding["code"]
        for issue in answer.get_json()["issue"]
        for coding in issue.get("details", {}).get("coding", ())
        if coding["system"] == FLAG_SYSTEM
    }


def call(resource: Json | None = None, **parameters: str) -> Json:
    given: list[Json] = [{"name": "resource", "resource": resource}] if resource else []
    types = {"mode": "valueCode", "profile": "valueUri"}
    given += [{"name": name, types[name]: value} for name, value in parameters.items()]
    return {"resourceType": "Parameters", "parameter": given}


def test_a_sound_condition_has_no_error(client: FlaskClient) -> None:
    for body in (
        sound(),
        call(sound()),
        call(sound(), mode="create"),
        call(sound(), mode="profile", profile=OUR_PROFILE),
    ):
        assert {severity for severity, _, _ in issues(validate(client, body))} <= {"information"}


@pytest.mark.parametrize(
    ("change", "issue"),
    [
        ({"subject": None}, ("error", "required", "Condition.subject")),
        ({"colour": "red"}, ("error", "structure", "Condition.colour")),
        ({"recordedDate": "2026-13-45"}, ("error", "value", "Condition.recordedDate")),
        ({"clinicalStatus": concept(CLINICAL, "aktive")}, ("error", "code-invalid", "Condition.clinicalStatus")),
        (
            {"verificationStatus": concept(VER_STATUS, "sure")},
            ("error", "code-invalid", "Condition.verificationStatus"),
        ),
        (
            {
                "clinicalStatus": None,
                "category": [concept(CLINICAL.replace("clinical", "category"), "problem-list-item")],
            },
            ("warning", "invariant", "Condition.clinicalStatus"),
        ),
        ({"abatementDateTime": "2026-11-16"}, ("error", "invariant", "Condition.clinicalStatus")),
        (
            {"verificationStatus": concept(VER_STATUS, "entered-in-error")},
            ("error", "invariant", "Condition.clinicalStatus"),
        ),
        ({"code": None}, ("warning", "invariant", "Condition")),
        ({"code": concept(ICD10CM, "M99.4")}, ("warning", "invariant", "Condition.code")),
        ({"code": concept(ICD10CM, "M99.41"), "evidence": None}, ("warning", "invariant", "Condition")),
    ],
)
def test_each_fault_is_told_with_its_place_and_the_call_succeeds(
    client: FlaskClient, change: Json, issue: tuple[str, str, str]
) -> None:
    assert issue not in issues(validate(client, sound()))
    assert issue in issues(validate(client, sound(**change)))
    assert issue in issues(validate(client, call(sound(**change))))


@pytest.mark.parametrize(
    ("text", "code", "flag"),
    [
        ("Spinal stenosis, cervical", "M99.41", "doc.tissue-unsupported"),
        (
            "Neural canal of the lumbar spine narrowed by thickened ligamentum flavum",
            "M99.41",
            "doc.code-text-mismatch",
        ),
        ("Connective tissue stenosis of neural canal of cervical region", "M99.4", "code.not-billable"),
        ("Connective tissue stenosis of neural canal of cervical region", "M99.4Z", "code.unknown"),
    ],
)
def test_the_documentation_rules_are_part_of_it(client: FlaskClient, text: str, code: str, flag: str) -> None:
    condition = outpatient_condition(text)["conditions"][0]
    condition["code"] = {**concept(ICD10CM, code), "text": text}
    answer = validate(client, condition)
    assert answer.status_code == 200
    assert flag in flags(answer)


def test_the_rules_speak_beside_a_broken_invariant_but_not_of_what_cannot_be_read(client: FlaskClient) -> None:
    header = {"code": {**concept(ICD10CM, "M99.4")}}
    broken = validate(client, sound(abatementDateTime="2026-11-16", **header))
    assert "code.not-billable" in flags(broken)
    assert ("error", "invariant", "Condition.clinicalStatus") in issues(broken)
    assert flags(validate(client, sound(subject=None, **header))) == set()


def test_the_profile_counts_only_where_it_is_asked_for_or_claimed(client: FlaskClient) -> None:
    bare = sound(meta=None, code=None, evidence=None)
    invariant = ("warning", "invariant", "Condition")
    assert invariant not in issues(validate(client, bare))
    assert invariant not in issues(
        validate(client, call(bare, profile="http://hl7.org/fhir/StructureDefinition/Condition"))
    )
    assert invariant in issues(validate(client, call(bare, profile=OUR_PROFILE)))
    assert invariant in issues(validate(client, call(bare, profile=f"{OUR_PROFILE}|{__version__}")))
    assert invariant in issues(validate(client, {**bare, "meta": {"profile": [OUR_PROFILE + "|0.1.0"]}}))
    other = {"meta": {"profile": ["http://example.com/p"]}}
    assert ("information", "not-supported", "Condition.meta.profile[0]") in issues(validate(client, {**bare, **other}))


WORDLESS = {"resourceType": "Condition", "subject": {"reference": "Patient/p1"}, "code": concept(ICD10CM, "M99.41")}
REPORT = {"resourceType": "DiagnosticReport", "status": "final", "code": {"text": "MRI"}, "conclusion": "Stenosis."}


@pytest.mark.parametrize(
    ("resource", "profile", "keys"),
    [
        (WORDLESS, OUR_PROFILE, ["dsc-2"]),
        ({**WORDLESS, "code": {**concept(ICD10CM, "M99.41"), "text": "Stenosis"}}, OUR_PROFILE, []),
        ({**WORDLESS, "note": [{"text": "Stenosis"}]}, OUR_PROFILE, []),
        ({**WORDLESS, "code": concept(ICD10CM, "J18.9")}, OUR_PROFILE, []),
        ({**WORDLESS, "code": concept("urn:x", "M99.4")}, OUR_PROFILE, []),
        (REPORT, REPORT_PROFILE, []),
        ({**REPORT, "conclusion": None}, REPORT_PROFILE, ["ser-1"]),
        ({**REPORT, "status": "preliminary"}, REPORT_PROFILE, ["ser-2"]),
        ({**REPORT, "status": "corrected", "conclusion": None, "presentedForm": [{"title": "x"}]}, REPORT_PROFILE, []),
    ],
)
def test_each_invariant_of_our_profiles_is_told_by_its_key(
    client: FlaskClient, resource: Json, profile: str, keys: list[str]
) -> None:
    given = {name: value for name, value in resource.items() if value is not None}
    answer = validate(client, call(given, profile=profile), f"{resource['resourceType']}/$validate")
    assert answer.status_code == 200
    assert re.findall(r"\(((?:dsc|ser)-\d)\)", answer.text) == keys


def test_that_nothing_was_found_is_said_only_where_it_is_so(client: FlaskClient) -> None:
    nothing = "No issues were found."
    other = {"resourceType": "Condition", "subject": {"reference": "Patient/p1"}, "recordedDate": "2026-05-01"}
    other["code"] = {"text": "Cough"}
    report = {**REPORT, "code": concept(ICD10CM, "M99.4Z")}  # a code of ICD-10-CM, but of no diagnosis
    for resource, issue in (
        (other, ("information", "informational", "")),
        ({**other, "abatementDateTime": "2026"}, ("error", "invariant", "Condition.clinicalStatus")),
        ({**other, "code": concept(ICD10CM, "M99.4Z")}, None),
        (report, ("information", "informational", "")),
    ):
        answer = validate(client, resource, f"{resource['resourceType']}/$validate")
        assert issue is None or issues(answer) == [issue]
        assert (nothing in answer.text) is (issue == ("information", "informational", ""))


def test_a_profile_that_is_known_is_not_called_unknown(client: FlaskClient) -> None:
    claimed = {"meta": {"profile": [OUR_PROFILE, "http://hl7.org/fhir/StructureDefinition/Condition"]}}
    assert "not-supported" not in [code for _, code, _ in issues(validate(client, sound(**claimed)))]
    core = "http://hl7.org/fhir/StructureDefinition/Condition"
    assert issues(validate(client, call(sound(), profile=f"{core}|4.0.1")))


def test_an_update_with_an_id_lacks_nothing(client: FlaskClient) -> None:
    for changes, lacks in (({}, False), ({"id": None}, True)):
        answer = validate(client, call(sound(**changes), mode="update"))
        assert (("error", "required", "Condition.id") in issues(answer)) is lacks


@pytest.mark.parametrize(
    ("body", "address", "refusal"),
    [
        (call(mode="delete"), "Condition/$validate", (404, "not-found")),
        (call(sound(), profile=REPORT_PROFILE), "Condition/$validate", (400, "not-supported")),
        (call(sound(), mode="guess"), "Condition/$validate", (400, "not-supported")),
        (call(sound(), mode="profile"), "Condition/$validate", (400, "required")),
        (call(sound(), profile="http://example.com/p"), "Condition/$validate", (400, "not-supported")),
        (call(sound(), profile=OUR_PROFILE + "|99"), "Condition/$validate", (400, "not-supported")),
        (
            {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": sound()}] * 2},
            "Condition/$validate",
            (400, "invalid"),
        ),
        (
            {"resourceType": "Parameters", "parameter": [{"name": "mode", "valueString": "create"}]},
            "Condition/$validate",
            (400, "value"),
        ),
        (call(mode="create"), "Condition/$validate", (400, "required")),
        (call(mode="delete"), "Condition/c1/$validate", (404, "not-found")),
        ({"resourceType": "Parameters", "parameter": 7}, "Condition/$validate", (400, "structure")),
        ({"resourceType": "Parameters", "parameter": [7]}, "Condition/$validate", (400, "structure")),
        (
            {"resourceType": "Parameters", "parameter": [{"resource": sound()}]},
            "Condition/$validate",
            (400, "required"),
        ),
    ],
)
def test_a_call_that_cannot_be_carried_out_fails(
    client: FlaskClient, body: Json, address: str, refusal: tuple[int, str]
) -> None:
    answer = validate(client, body, address)
    assert (answer.status_code, answer.get_json()["issue"][0]["code"]) == refusal


@pytest.mark.parametrize("body", [[], "x", 7, {}, {"resourceType": "Patient"}, {"resourceType": ["Condition"]}])
def test_what_is_no_condition_is_told_so(client: FlaskClient, body: Any) -> None:
    ((severity, code, _),) = issues(validate(client, body))
    assert (severity, code) == ("error", "structure")


def test_the_instance_and_the_mode_are_held_against_the_id(client: FlaskClient) -> None:
    fits = sound(id="c1")
    assert ("error", "value", "Condition.id") not in issues(validate(client, fits, "Condition/c1/$validate"))
    assert ("error", "value", "Condition.id") in issues(validate(client, fits, "Condition/c2/$validate"))
    assert ("error", "required", "Condition.id") in issues(validate(client, call(sound(id=None), mode="update")))
    assert ("error", "not-supported", "") in issues(validate(client, call(fits, mode="delete")))


def test_no_words_of_the_record_are_in_the_answer(client: FlaskClient) -> None:
    words = "Zebediah Quackenbush"
    bodies = [
        sound(code={"text": words, "coding": [{"system": ICD10CM, "code": words, "display": words}]}),
        sound(recordedDate=words),
        sound(clinicalStatus=concept(CLINICAL, words)),
        sound(meta={"profile": [words]}),
        call(sound(), profile=words),
        call(sound(), mode=words),
    ]
    for body in bodies:
        assert "Quackenbush" not in validate(client, body).get_data(as_text=True)


# --- US Core ------------------------------------------------------------------------------------------------------

CATEGORY = "http://terminology.hl7.org/CodeSystem/condition-category"
US_CORE = "http://hl7.org/fhir/us/core/"
PROBLEM_PROFILE = f"{US_CORE}StructureDefinition/us-core-condition-problems-health-concerns"
HEALTH_CONCERN = f"{US_CORE}CodeSystem/condition-category"


def us_core_conditions() -> dict[str, Json]:
    """Instances that use what US Core 6.1.0, 7.0.0 and 8.0.1 demand and allow, made by us."""
    subject = {"reference": "Patient/p1"}
    asserted = {
        "url": "http://hl7.org/fhir/StructureDefinition/condition-assertedDate",
        "valueDateTime": "2026-11-15",
    }
    diagnosis = {
        "resourceType": "Condition",
        "subject": subject,
        "category": [concept(CATEGORY, "encounter-diagnosis")],
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "76107001"}]},
    }
    problem = {
        **diagnosis,
        "category": [concept(CATEGORY, "problem-list-item")],
        "clinicalStatus": concept(CLINICAL, "active"),
    }
    return {
        "8.0 diagnosis, nothing but what is required": diagnosis,
        "6.1 diagnosis with every must-support element": {
            **diagnosis,
            "extension": [asserted],
            "clinicalStatus": concept(CLINICAL, "resolved"),
            "verificationStatus": concept(VER_STATUS, "confirmed"),
            "encounter": {"reference": "Encounter/e1"},
            "onsetPeriod": {"start": "2024"},
            "abatementDateTime": "2026-01",
            "recordedDate": "2026-11-15T10:00:00-05:00",
        },
        "6.1 code in ICD-9-CM": {**diagnosis, "code": concept("http://hl7.org/fhir/sid/icd-9-cm", "724.02")},
        "7.0 subject is a group": {**diagnosis, "subject": {"reference": "Group/g1"}},
        "8.0 diagnosis of another chapter, with recorder": {
            **diagnosis,
            "code": concept(ICD10CM, "E11.9"),
            "recorder": {"reference": "Practitioner/d1"},
        },
        "8.0 code as text only": {**diagnosis, "code": {"text": "Low back pain"}},
        "problem": problem,
        "7.0 health concern with lastUpdated": {
            **problem,
            "meta": {"lastUpdated": "2026-11-15T10:00:00Z", "profile": [PROBLEM_PROFILE]},
            "category": [concept(HEALTH_CONCERN, "health-concern")],
        },
        "6.1 problem with screening category": {
            **problem,
            "category": [
                concept(CATEGORY, "problem-list-item"),
                concept(f"{US_CORE}CodeSystem/us-core-category", "sdoh"),
            ],
        },
    }  # fmt: skip


@pytest.mark.parametrize("name", us_core_conditions())
def test_every_condition_that_us_core_allows_is_accepted(client: FlaskClient, name: str) -> None:
    for body in (us_core_conditions()[name], call(us_core_conditions()[name], profile=OUR_PROFILE)):
        assert [issue for issue in issues(validate(client, body)) if issue[0] == "error"] == []


# --- invariants that the model does not know ----------------------------------------------------------------------

NOTE = {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"}}
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'
UCUM = "http://unitsofmeasure.org"
AGE = {"value": 50, "unit": "years", "system": UCUM, "code": "a"}


@pytest.mark.proves("R4: ref-1, dom-3, ext-1, age-1, txt-1, txt-2, reference targets, modifier extensions")
@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"subject": {"reference": "Device/d"}}, ("value", "Condition.subject.reference")),
        (
            {"asserter": {"reference": "https://ehr.example/fhir/Encounter/e"}},
            ("value", "Condition.asserter.reference"),
        ),
        ({"encounter": {"reference": "#e"}}, ("invariant", "Condition.encounter.reference")),
        ({"contained": [NOTE]}, ("invariant", "Condition.contained[0]")),
        ({"extension": [{"url": "http://example.com/x"}]}, ("invariant", "Condition.extension[0]")),
        (
            {
                "extension": [
                    {"url": "http://example.com/x", "valueCode": "x", "extension": [{"url": "y", "valueCode": "z"}]}
                ]
            },
            ("invariant", "Condition.extension[0]"),
        ),
        (
            {"modifierExtension": [{"url": "http://example.com/m", "valueBoolean": True}]},
            ("extension", "Condition.modifierExtension[0]"),
        ),
        ({"subject": {"reference": "Patient/p 1?x"}}, ("value", "Condition.subject.reference")),
        ({"subject": {"reference": "Patient/p", "type": "Group"}}, ("value", "Condition.subject.type")),
        (
            {"subject": {"display": "x", "reference": "urn:oid:1", "type": "Device"}},
            ("value", "Condition.subject.reference"),
        ),
        (
            {
                "contained": [{**NOTE, "effectivePeriod": {"start": "2026-02", "end": "2026-01"}}],
                "evidence": [{"detail": [{"reference": "#o"}]}],
            },
            ("invariant", "Condition.contained[0].effectivePeriod"),
        ),
        (
            {
                "contained": [{**NOTE, "subject": {"reference": "#nobody"}}],
                "evidence": [{"detail": [{"reference": "#o"}]}],
            },
            ("invariant", "Condition.contained[0].subject.reference"),
        ),
        ({"clinicalStatus": {"coding": [{"code": "active"}]}}, ("code-invalid", "Condition.clinicalStatus.coding[0]")),
        (
            {"extension": [{"url": "http://example.com/x", "valueQuantity": {"value": 1, "comparator": "~"}}]},
            ("code-invalid", "Condition.extension[0].valueQuantity.comparator"),
        ),
        ({"onsetAge": {"value": 50, "unit": "years"}}, ("invariant", "Condition.onsetAge")),
        ({"onsetAge": {**AGE, "value": -1}}, ("invariant", "Condition.onsetAge")),
        (
            {"text": {"status": "generated", "div": DIV.format("<script>x</script>")}},
            ("invariant", "Condition.text.div"),
        ),
        ({"text": {"status": "generated", "div": DIV.format(" ")}}, ("invariant", "Condition.text.div")),
    ],
)
def test_what_r4_forbids_beside_the_shape_is_an_error(
    client: FlaskClient, changes: Json, found: tuple[str, str]
) -> None:
    assert ("error", *found) in issues(validate(client, sound(**changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": {"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"}},
        {"asserter": {"reference": "PractitionerRole/r/_history/2"}},
        {"contained": [NOTE], "evidence": [{"detail": [{"reference": "#o"}]}]},
        {
            "contained": [{**NOTE, "subject": {"reference": "#q"}}, {"resourceType": "Patient", "id": "q"}],
            "evidence": [{"detail": [{"reference": "#o"}]}],
        },
        {"contained": [{**NOTE, "focus": [{"reference": "#"}]}]},
        {"subject": {"reference": "Patient/p", "type": "http://hl7.org/fhir/StructureDefinition/Patient"}},
        {"extension": [{"url": "http://example.com/x", "valueCode": "x"}]},
        {"onsetAge": AGE},
        {"text": {"status": "generated", "div": DIV.format("<b>Stenosis</b> <table><tr><td>C5</td></tr></table>")}},
    ],
)
def test_what_r4_allows_is_no_error(client: FlaskClient, changes: Json) -> None:
    assert [one for one in issues(validate(client, sound(**changes))) if one[0] == "error"] == []


TYPES = yaml.safe_load(
    (Path(__file__).parent / "data" / "r4-types.yaml").read_text("utf-8").replace("ucum}", f"{UCUM}}}")
)


@pytest.mark.proves("R4: the rules of data types, each by what it forbids and what it allows")
@pytest.mark.parametrize("rule", TYPES)
def test_a_rule_of_a_type_of_data_holds_wherever_it_stands(assist: Assist, rule: str) -> None:
    """Extension.value[x] takes a value of any type."""

    def errors(value: Json) -> list[str]:
        extension = [{"url": "http://example.com/x", f"value{TYPES[rule]['type']}": value}]
        told = validated(Asked("Condition", sound(extension=extension)), assist)["issue"]
        return [one["diagnostics"] for one in told if one["severity"] == "error"]

    for value in TYPES[rule]["forbids"]:
        assert any(f"({rule})" in one for one in errors(value)), value
    for value in TYPES[rule]["allows"]:
        assert errors(value) == [], value


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("con-2", {"evidence": [{"id": "e"}]}),
        ("con-1", {"stage": [{"id": "e"}]}),
        ("con-1", {"stage": [{"type": {"text": "x"}}]}),
        ("dom-4", {"contained": [{**NOTE, "meta": {"lastUpdated": "2026-02-01T12:00:00Z"}}]}),
        ("dom-4", {"contained": [{**NOTE, "meta": {"versionId": "1"}}]}),
        ("txt-1", {"text": {"status": "generated", "div": DIV.format('<b onclick="x">x</b>')}}),
        ("txt-1", {"text": {"status": "generated", "div": DIV.format('<a href="JavaScript:x">x</a>')}}),
        ("txt-1", {"text": {"status": "generated", "div": DIV.format("<script>x</script><b>x</b>")}}),
    ],
)
def test_a_part_that_says_nothing_or_too_much_is_an_error(assist: Assist, rule: str, changes: Json) -> None:
    told = validated(Asked("Condition", sound(**changes)), assist)["issue"]
    assert any(f"({rule})" in one["diagnostics"] for one in told if one["severity"] == "error")


@pytest.mark.parametrize(
    "changes",
    [
        {"evidence": [{"code": [{"text": "x"}]}]},
        {"stage": [{"summary": {"text": "x"}}, {"assessment": [{"reference": "Observation/o"}]}]},
        {"text": {"status": "generated", "div": DIV.format('<img src="#x" alt="x"/>')}},
        {"text": {"status": "generated", "div": DIV.format("<b>x</b> <i> </i>")}},
        {"subject": {"display": "x"}},
        {"asserter": {"identifier": {"value": "x"}, "type": "Practitioner"}},
        {"subject": {"reference": "urn:oid:1.2.3", "type": "Patient"}},
        {"meta": {"tag": [{"code": "x"}]}},
        {"extension": [{"url": "http://example.com/x", "valueReference": {"reference": "Anything/x"}}]},
    ],
)
def test_a_part_that_says_enough_is_no_error(assist: Assist, changes: Json) -> None:
    told = validated(Asked("Condition", sound(**changes)), assist)["issue"]
    assert [one for one in told if one["severity"] == "error"] == []


@pytest.mark.parametrize(
    ("address", "refusal"),
    [
        ("Condition/$validate", (400, "required")),
        ("Condition/c1/$validate", (404, "not-found")),
        ("Claim/c1/$validate?mode=delete", (404, "not-found")),
        ("Condition/$validate?mode=guess", (400, "not-supported")),
    ],
)
def test_without_a_resource_there_is_nothing_to_validate(
    client: FlaskClient, address: str, refusal: tuple[int, str]
) -> None:
    answer = client.get(f"/fhir/{address}")
    assert (answer.status_code, answer.get_json()["issue"][0]["code"]) == refusal


def test_an_unknown_parameter_is_passed_over_unless_strict_handling_is_preferred(client: FlaskClient) -> None:
    body = call(sound())
    strict = {"Prefer": "handling=strict"}
    assert client.post("/fhir/Condition/$validate", json=body, headers=strict).status_code == 200
    body["parameter"] += [{"name": "colour", "valueString": "red"}] * 2
    assert validate(client, body).status_code == 200
    answer = client.post("/fhir/Condition/$validate", json=body, headers={"Prefer": "handling=strict"})
    assert (answer.status_code, answer.get_json()["issue"][0]["code"]) == (400, "not-supported")


def test_mode_and_profile_may_stand_in_the_address(client: FlaskClient) -> None:
    bare = sound(meta=None, code={"coding": [{"system": ICD10CM, "code": "M99.4"}]})
    found = issues(validate(client, bare, f"Condition/$validate?profile={OUR_PROFILE}"))
    assert ("warning", "invariant", "Condition.code") in found
    refused = validate(client, bare, "Condition/$validate?profile=http://example.com/other")
    assert (refused.status_code, refused.get_json()["issue"][0]["code"]) == (400, "not-supported")
