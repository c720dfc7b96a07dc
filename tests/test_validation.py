"""The gate: what comes through it is strict JSON and sound R4, and the rest is told so without the patient's words."""

import copy
import json
import pickle
import time
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.fhir_definitions import resource_model, resource_package
from service.required_bindings import REQUIRED_CODES
from service.validation import (
    Issue,
    Refusal,
    dump_json,
    issues_to_operation_outcome,
    modifier_extensions,
    parse_json,
    refuse_errors,
    status_of,
    validate_resource,
)
from tests.running import REPO

ALLOWED = frozenset("Condition DiagnosticReport Encounter Claim Patient Bundle Parameters PractitionerRole".split())
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
VER_STATUS = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
CANARY = "Zebedee Quux"  # stands for what a patient would not want to read in a log


def condition(**elements):
    return {
        "resourceType": "Condition",
        "id": "c1",
        "clinicalStatus": {"coding": [{"system": CLINICAL, "code": "active"}]},
        "verificationStatus": {"coding": [{"system": VER_STATUS, "code": "confirmed"}]},
        "category": [{"coding": [{"code": "encounter-diagnosis"}]}],
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "M99.41"}], "text": CANARY},
        "subject": {"reference": "Patient/p1", "display": CANARY},
        "recordedDate": "2026-03-31T13:28:17-05:00",
        "note": [{"text": CANARY}],
    } | elements


def report(**elements):
    return {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "code": {"text": "MRI"},
        "conclusion": CANARY,
        "presentedForm": [{"contentType": "text/plain", "data": "UmVwb3J0"}],
    } | elements


def encounter(**elements):
    return {"resourceType": "Encounter", "status": "finished", "period": {"start": "2026-03-31"}} | elements


def claim(**elements):
    return {
        "resourceType": "Claim",
        "status": "active",
        "type": {"text": "professional"},
        "use": "claim",
        "patient": {"reference": "Patient/p1"},
        "created": "2026-04-01",
        "provider": {"reference": "Practitioner/d1"},
        "priority": {"coding": [{"code": "normal"}]},
        "diagnosis": [{"sequence": 1, "diagnosisReference": {"reference": "Condition/c1"}}],
        "insurance": [{"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/v1"}}],
        "total": {"value": Decimal("72.50"), "currency": "USD"},
    } | elements


SAMPLES = (condition(), report(), encounter(), claim())


def without(resource, *names):
    return {name: value for name, value in resource.items() if name not in names}


def issues_of(resource):
    return validate_resource(resource, allowed=ALLOWED)


def told(resource):
    return [(issue.severity, issue.code, issue.expression) for issue in issues_of(resource)]


def refusal_of(body, **limits):
    with pytest.raises(Refusal) as caught:
        parse_json(body, **limits)
    return caught.value


# --- the body -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "structure"),
        (b" \n", "structure"),
        (b"\xff{}", "structure"),
        (b'{"a": "\xc3"}', "structure"),
        (b"\xff\xfe{\x00}\x00", "structure"),
        (b"{", "structure"),
        (b"{} {}", "structure"),
        (b"{'a': 1}", "structure"),
        (b'{"a": 01}', "structure"),
        (b'{"a": 1,}', "structure"),
        (b'{"a": NaN}', "structure"),
        (b"[Infinity]", "structure"),
        (b"[-Infinity]", "structure"),
        (b'{"a": "line\nbreak"}', "structure"),
        (b'{"a": "\\x"}', "structure"),
        (b'{"a": 1, "a": 1}', "structure"),
        (b'[{"a": {"b": 1, "c": 2, "b": 3}}]', "structure"),
        (b"[" * 61 + b"]" * 61, "structure"),
        (b"[" * 100_000, "structure"),
        (b'{"a":' * 100_000, "structure"),
        (b"1" * 41, "value"),
        (b"[-0." + b"1" * 40 + b"]", "value"),
        (b"1E9999", "value"),
        (b'"\\ud800"', "value"),
        (b'"\\udc00"', "value"),
        (b'"\\ud800 \\udc00"', "value"),
        (b'"\\ud800\\ud800\\udc00"', "value"),
        (b'"\\ud800\\n"', "value"),
        (b'{"\\uDBFF": 1}', "value"),
        (b'"\\u0000"', "value"),
    ],
)
def test_a_body_that_two_readers_could_read_differently_is_refused(body, code):
    refusal = refusal_of(body)
    assert (refusal.status, [issue.code for issue in refusal.issues]) == (400, [code])


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b"[" * 60 + b"]" * 60, None),
        (b'"' + b"[" * 100 + b'"', "[" * 100),
        (b'["\\"' + b"[" * 100 + b'", "\\\\"]', ['"' + "[" * 100, "\\"]),
        (b'"\\ud83e\\uddb4"', "\N{BONE}"),
        (b'"\\\\ud800"', "\\ud800"),
        ("\N{BONE}".encode().join([b'"', b'"']), "\N{BONE}"),
        (b"1" * 40, int("1" * 40)),
    ],
)
def test_a_body_that_only_looks_suspicious_is_read(body, value):
    read = parse_json(body)
    assert value is None or read == value


def test_a_body_over_the_limit_is_too_long():
    refusal = refusal_of(b'"12345678"', max_bytes=9)
    assert (refusal.status, refusal.issues[0].code) == (413, "too-long")
    assert parse_json(b'"1234567"', max_bytes=9) == "1234567"


def test_an_error_of_syntax_is_told_by_line_and_column():
    assert "line 2, column 7" in refusal_of(b'{"a":\n "bad\\q"}').issues[0].diagnostics


@pytest.mark.parametrize("body", [b'{"%s": }', b'{"%s": 1, "%s": 2}', b'"%s', b'{"a": "%s\\q"}', b'"%s \\ud800"'])
def test_a_refusal_never_repeats_what_the_body_says(body):
    assert CANARY not in str(refusal_of(body.replace(b"%s", CANARY.encode())))


def test_a_key_given_twice_is_named_when_it_is_plain():
    assert "'birthDate'" in str(refusal_of(b'{"birthDate": 1, "birthDate": 2}'))


@pytest.mark.parametrize(
    "body", [b'"' + b'\\"' * 400_000, b'"' * 1_000_000, b"[]," * 300_000, b'{"a":"' + b"\\\\" * 400_000]
)
def test_the_scan_for_depth_is_linear_in_hostile_bodies(body):
    started = time.process_time()
    with pytest.raises(Refusal):
        parse_json(body)
    assert time.process_time() - started < 20  # it ends; no measure of speed


@pytest.mark.parametrize("number", ["72.50", "1.10E2", "1.0", "0.000", "-0.10", "1e-7", "123456789012345678.90", "12"])
def test_a_number_is_written_as_it_was_read(number):
    body = f'{{"value":{number}}}'.encode()
    assert dump_json(parse_json(body)) == body
    assert dump_json(copy.deepcopy(parse_json(body))) == body
    assert dump_json(pickle.loads(pickle.dumps(parse_json(body)))) == body


def test_what_json_has_no_word_for_is_not_written():
    with pytest.raises(TypeError, match="JSON has no object"):
        dump_json({"value": object()})


def test_text_beyond_ascii_is_written_as_utf_8():
    assert dump_json({"text": "Wirbelsäule \N{BONE}"}) == '{"text":"Wirbelsäule \N{BONE}"}'.encode()


# --- sound resources ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["resourceType"])
def test_a_sound_resource_has_no_issue_and_is_left_as_it_was(sample):
    before = copy.deepcopy(sample)
    assert issues_of(sample) == []
    assert sample == before


@pytest.mark.parametrize(
    "resource",
    [
        encounter(location=[{"location": {"reference": "Location/1"}}]),  # no class
        report(presentedForm=[{"contentType": "application/pdf", "data": "not base64 at all!"}]),
        report(text={"status": "generated"}),
        condition(code={"coding": [{"system": "urn:local", "code": "x"}]}),
        condition(extension=[{"url": "http://example.org/unheard-of", "valueString": "x"}]),
        condition(modifierExtension=[{"url": "http://example.org/unheard-of", "valueBoolean": True}]),
        condition(clinicalStatus={"coding": [{"code": "active"}]}),
        condition(clinicalStatus={"coding": [{"system": "urn:local", "code": "A"}, {"code": "active"}]}),
        condition(recordedDate="2026", _recordedDate={"extension": [{"url": "urn:x", "valueString": "about"}]}),
        condition(onsetDateTime="2026-03-31T10:00:60Z"),
        condition(contained=[{"resourceType": "Immunization", "status": "completed", "vaccineCode": {"text": "x"},
                              "patient": {"reference": "#"}, "occurrenceString": "x"}]),
        condition(category=[{"coding": [{"code": "problem-list-item"}]}]),
        without(condition(), "clinicalStatus"),
        without(condition(category=[{"coding": [{"code": "problem-list-item"}]}],
                          verificationStatus={"coding": [{"code": "entered-in-error"}]}), "clinicalStatus"),
        condition(verificationStatus={"extension": [{"url": "urn:x", "valueCode": "unknown"}]}),
        condition(contained=[{"resourceType": "AllergyIntolerance", "patient": {"reference": "#"}, "clinicalStatus":
                              {"coding": [{"system": CLINICAL.replace("condition", "allergyintolerance"),
                                           "code": "active"}]}}]),
        claim(total={"value": parse_json(b"1.10E2")}),
        {"resourceType": "Patient", "name": [{"given": ["A", None], "_given": [None, {"id": "x"}]}]},
        {"resourceType": "DiagnosticReport", "_status": {"extension": [{"url": "urn:x", "valueCode": "unknown"}]},
         "code": {"text": "x"}},
    ],
)  # fmt: skip
def test_what_policy_flags_or_fhir_allows_is_no_issue(resource):
    assert issues_of(resource) == []


def test_the_well_known_slips_of_an_ehr_are_warnings():
    slips = condition(
        recordedDate="2023-05-21T02: 19: 13.000Z",
        clinicalStatus={"coding": [{"system": CLINICAL.replace("http:", "http: "), "code": "active"}]},
        code={"coding": [{"code": "x", "isUserSelected": True}]},
    )
    assert told(slips) == [
        ("warning", "structure", "Condition.code.coding[0].isUserSelected"),
        ("warning", "value", "Condition.recordedDate"),
    ]
    assert told(condition(recordedDate="2023-02-30T02: 19: 13.000Z"))[0][0] == "error"


# --- unsound resources ----------------------------------------------------------------------------------------


UNSOUND = [
    # shape
    ([], "structure", ""),
    (None, "structure", ""),
    ({}, "structure", "resourceType"),
    ({"resourceType": ["Condition"]}, "structure", "resourceType"),
    ({"resourceType": "Immunization"}, "structure", "resourceType"),
    (condition(code=None), "structure", "Condition.code"),
    (condition(code={}), "structure", "Condition.code"),
    (condition(note=[]), "structure", "Condition.note"),
    (condition(note=[None]), "structure", "Condition.note[0]"),
    (condition(note={"text": "x"}), "structure", "Condition.note"),
    (condition(code=[{"text": "x"}]), "structure", "Condition.code"),
    (condition(subject='{"reference": "Patient/1"}'), "structure", "Condition.subject"),
    (condition(subject={"resourceType": "Reference"}), "structure", "Condition.subject.resourceType"),
    (condition(colour="x"), "structure", "Condition.colour"),
    (condition(**{CANARY: "x"}), "structure", "Condition"),
    (condition(fhir_comments="x"), "structure", "Condition.fhir_comments"),
    (condition(_subject={"id": "x"}), "structure", "Condition._subject"),
    (encounter(class_fhir={"code": "AMB"}), "structure", "Encounter.class_fhir"),
    (condition(onsetString="x", onsetDateTime="2026"), "structure", "Condition.onset"),
    ({"resourceType": "Parameters", "parameter": [{"name": "x", "resource": []}]}, "structure",
     "Parameters.parameter[0].resource"),
    (condition(contained=[{"id": "x"}]), "structure", "Condition.contained[0].resourceType"),
    (condition(contained=[{"resourceType": "Nope"}]), "structure", "Condition.contained[0].resourceType"),
    (condition(contained=[{"resourceType": "Coding"}]), "structure", "Condition.contained[0].resourceType"),
    (condition(contained=[{"resourceType": {}}]), "structure", "Condition.contained[0].resourceType"),
    (condition(contained=[{"resourceType": "DomainResource"}]), "structure", "Condition.contained[0].resourceType"),
    (condition(_recordedDate={}), "structure", "Condition.recordedDate"),
    (condition(onsetString="x", _onsetDateTime={"id": "x"}), "structure", "Condition.onset"),
    ({"resourceType": "Patient", "name": [{"given": ["A", None], "_given": [{"id": "x"}]}]}, "structure",
     "Patient.name[0].given[1]"),
    # cardinality
    (without(condition(), "subject"), "required", "Condition.subject"),
    (without(report(), "status"), "required", "DiagnosticReport.status"),
    (without(claim(), "use"), "required", "Claim.use"),
    (claim(diagnosis=[{"sequence": 1}]), "required", "Claim.diagnosis[0].diagnosis"),
    # primitives
    (condition(id="x" * 65), "value", "Condition.id"),
    (condition(id="a b"), "value", "Condition.id"),
    (condition(id="a\n"), "value", "Condition.id"),
    (condition(id=""), "value", "Condition.id"),
    (condition(note=[{"text": ""}]), "value", "Condition.note[0].text"),
    (condition(note=[{"text": 5}]), "value", "Condition.note[0].text"),
    ({"resourceType": "Patient", "name": [{"given": [5], "_given": [{"id": "x"}]}]}, "value",
     "Patient.name[0].given[0]"),
    ({"resourceType": "Patient", "name": [{"given": ["A"], "_given": [{}]}]}, "structure", "Patient.name[0].given[0]"),
    (condition(language="en:  x"), "value", "Condition.language"),
    (report(status=5), "value", "DiagnosticReport.status"),
    (report(status=""), "value", "DiagnosticReport.status"),
    (condition(recordedDate="31.03.2026"), "value", "Condition.recordedDate"),
    (condition(recordedDate="2026-02-30"), "value", "Condition.recordedDate"),
    (condition(recordedDate="2026-03-31T13:28:17"), "value", "Condition.recordedDate"),
    (condition(recordedDate=1774900000), "value", "Condition.recordedDate"),
    (condition(_recordedDate={"extension": [{"url": "urn:x", "valueDate": "2026-13"}]}), "value",
     "Condition.recordedDate.extension[0].valueDate"),
    (claim(insurance=[{"sequence": 1, "focal": "true", "coverage": {"display": "x"}}]), "value",
     "Claim.insurance[0].focal"),
    (claim(insurance=[{"sequence": "1", "focal": True, "coverage": {"display": "x"}}]), "value",
     "Claim.insurance[0].sequence"),
    (claim(insurance=[{"sequence": True, "focal": True, "coverage": {"display": "x"}}]), "value",
     "Claim.insurance[0].sequence"),
    (claim(insurance=[{"sequence": 0, "focal": True, "coverage": {"display": "x"}}]), "value",
     "Claim.insurance[0].sequence"),
    (claim(total={"value": "72.50"}), "value", "Claim.total.value"),
    # bindings
    (condition(clinicalStatus={"coding": [{"system": CLINICAL, "code": "aktive"}]}), "code-invalid",
     "Condition.clinicalStatus"),
    (condition(clinicalStatus={"coding": [{"system": "urn:local", "code": "active"}]}), "code-invalid",
     "Condition.clinicalStatus"),
    (condition(verificationStatus={"text": "sure"}), "code-invalid", "Condition.verificationStatus"),
    (condition(verificationStatus={"coding": [{"code": "a  b"}]}), "code-invalid", "Condition.verificationStatus"),
    (report(status="finished"), "code-invalid", "DiagnosticReport.status"),
    (condition(extension=[{"url": "urn:x", "valueTiming": {"repeat": {"periodUnit": "week"}}}]), "code-invalid",
     "Condition.extension[0].valueTiming.repeat.periodUnit"),
    ({"resourceType": "PractitionerRole", "availableTime": [{"daysOfWeek": ["mon", "Monday"]}]}, "code-invalid",
     "PractitionerRole.availableTime[0].daysOfWeek"),
    (encounter(status="Finished"), "code-invalid", "Encounter.status"),
    (claim(use="bill"), "code-invalid", "Claim.use"),
    ({"resourceType": "Patient", "gender": "F"}, "code-invalid", "Patient.gender"),
    ({"resourceType": "Bundle", "type": "pile"}, "code-invalid", "Bundle.type"),
    # invariants
    (condition(abatementDateTime="2026"), "invariant", "Condition.clinicalStatus"),
    (condition(_abatementDateTime={"id": "x"}), "invariant", "Condition.clinicalStatus"),
    (condition(verificationStatus={"coding": [{"system": VER_STATUS, "code": "entered-in-error"}]}), "invariant",
     "Condition.clinicalStatus"),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "code", "expression"), UNSOUND)
def test_what_is_wrong_is_told_once_with_its_place(resource, code, expression):
    assert told(resource) == [("error", code, expression)]


@pytest.mark.parametrize(("resource", "code", "expression"), UNSOUND)
def test_an_issue_is_one_sentence_without_the_words_of_the_record(resource, code, expression):
    [issue] = issues_of(resource)
    assert issue.diagnostics.endswith(".")
    assert CANARY not in issue.diagnostics + issue.expression
    assert "pydantic" not in issue.diagnostics


def enumerated():
    """Each element to which fhir.resources says that R4 binds codes, with them; in `+` it leaves out further ones."""
    orders = ["Appointment", "CommunicationRequest", "DeviceRequest", "MedicationRequest", "NutritionOrder", "Task"]
    lenses = ["VisionPrescription", "VisionPrescriptionLensSpecification", "VisionPrescriptionLensSpecificationPrism"]
    types = json.loads((REPO / "service" / "r4_types.json").read_text("utf-8"))
    for name in [*types, *orders, "AppointmentParticipant", *lenses]:
        for element, field in resource_package().get_fhir_model_class(name).model_fields.items():
            if codes := (field.json_schema_extra or {}).get("enum_values"):
                yield f"{name}.{field.alias or element}", codes


TRUNCATED = {
    "DiagnosticReport.status": "amended corrected appended cancelled entered-in-error unknown",
    "Encounter.status": "entered-in-error unknown",
    "EncounterStatusHistory.status": "entered-in-error unknown",
    "Observation.status": "corrected cancelled entered-in-error unknown",
    "Task.status": "rejected ready cancelled in-progress on-hold failed completed entered-in-error",
    "QuestionnaireItem.type": "question time string text url choice open-choice attachment reference quantity",
}


def test_every_required_binding_to_a_code_is_checked():
    bound = {element: {*codes} for element, codes in enumerated() if element != "Expression.language"}  # extensible
    assert {element for element, codes in bound.items() if "+" in codes} == TRUNCATED.keys()
    bound |= {element: bound[element] - {"+"} | {*codes.split()} for element, codes in TRUNCATED.items()}
    bound["Quantity.comparator"] = {"<", "<=", ">=", ">"}
    others = {"Money.currency", "OperationOutcomeIssue.code", "TimingRepeat.when"}  # of too many codes to be listed
    assert {element: {*codes} for element, codes in REQUIRED_CODES.items() if element not in others} == bound
    assert [len(REQUIRED_CODES[element]) for element in sorted(others)] == [183, 31, 26]


@pytest.mark.parametrize(
    ("name", "system", "codes"),
    [
        ("clinicalStatus", CLINICAL, "active recurrence relapse inactive remission resolved"),
        ("verificationStatus", VER_STATUS, "unconfirmed provisional differential confirmed refuted entered-in-error"),
    ],
)
def test_each_code_of_a_bound_concept_is_taken(name, system, codes):
    for code in codes.split():
        issues = issues_of(condition(**{name: {"coding": [{"system": system, "code": code}]}}))
        assert {issue.code for issue in issues} <= {"invariant"}


def test_a_null_that_nothing_fills_is_told_of_both_its_halves():
    patient = {"resourceType": "Patient", "name": [{"given": ["A", None], "_given": [{"id": "x"}, None]}]}
    assert told(patient) == [("error", "structure", "Patient.name[0].given[1]")] * 2


def test_a_null_hides_no_other_fault():
    inner = condition(note=[None], recordedDate="2026-02-30")
    places = [expression for _, _, expression in told(condition(contained=[inner], category=[{"coding": [None]}]))]
    assert sorted(places) == [
        "Condition.category[0].coding[0]",
        "Condition.contained[0].note[0]",
        "Condition.contained[0].recordedDate",
    ]


@pytest.mark.parametrize(
    ("resource", "says"),
    [
        (condition(colour="x"), "Condition has no element 'colour' in FHIR R4"),
        (condition(**{CANARY: "x"}), "Condition has an element unknown to FHIR R4"),
        (report(status="finished"), "partial, preliminary, final, amended"),
        (claim(total={"value": 1, "currency": "ZZZ"}), "AFN, EUR, ALL and 1"),
        (None, "The body must be a JSON object"),
    ],
)
def test_a_sentence_names_what_can_be_named(resource, says):
    [issue] = issues_of(resource)
    assert says in issue.diagnostics


@pytest.mark.parametrize(("inner", "place"), [([], ""), ({"resourceType": "Nope"}, ".resourceType")])
def test_what_is_wrong_inside_another_resource_is_told_by_its_place_there(inner, place):
    at = "Parameters.parameter[0].resource"
    [issue] = validate_resource(inner, allowed=ALLOWED, at=at)
    assert (issue.expression, issue.diagnostics.startswith(f"{at}{place} must be")) == (f"{at}{place}", True)


@pytest.mark.parametrize("error", [ArithmeticError, AttributeError, LookupError, TypeError, ValueError])
def test_what_fhir_resources_trips_over_is_no_valid_resource(monkeypatch, error):
    def trip(*_):
        raise error

    monkeypatch.setattr(resource_model("Condition"), "model_validate", trip)
    assert told(condition(recordedDate="2026-02-30")) == [("error", "structure", "Condition")]
    assert told(condition(colour="x")) == [("error", "structure", "Condition.colour")]


def test_a_problem_without_clinical_status_is_warned_of_and_not_refused():
    problem = without(condition(category=[{"coding": [{"code": "problem-list-item"}]}]), "clinicalStatus")
    assert told(problem) == [("warning", "invariant", "Condition.clinicalStatus")]
    refuse_errors(issues_of(problem))


def test_all_that_is_wrong_is_told_at_once():
    wrong = without(condition(id="a b", recordedDate="2026-02-30", colour=1, note=[None]), "subject")
    assert told(wrong) == [
        ("error", "value", "Condition.id"),
        ("error", "structure", "Condition.note[0]"),
        ("error", "structure", "Condition.colour"),
        ("error", "required", "Condition.subject"),
        ("error", "value", "Condition.recordedDate"),
    ]


def test_resources_inside_are_validated_at_their_place():
    parameters = {
        "resourceType": "Parameters",
        "parameter": [{"name": "encounter", "resource": encounter()},
                      {"name": "condition", "resource": condition(recordedDate="x", id="a b")}],
    }  # fmt: skip
    assert told(parameters) == [
        ("error", "value", "Parameters.parameter[1].resource.id"),
        ("error", "value", "Parameters.parameter[1].resource.recordedDate"),
    ]
    [issue] = validate_resource(report(status="x"), allowed=ALLOWED, at="Bundle.entry[3].resource")
    assert issue.expression == "Bundle.entry[3].resource.status"


def test_twenty_issues_are_told_and_no_number_of_warnings_hides_an_error():
    problem = without(condition(category=[{"coding": [{"code": "problem-list-item"}]}]), "clinicalStatus")
    entries = [{"resource": problem} for _ in range(30)] + [{"resource": encounter(status="x")}]
    issues = issues_of({"resourceType": "Bundle", "type": "collection", "entry": entries})
    assert len(issues) == 20
    assert issues[0].expression == "Bundle.entry[30].resource.status"


@pytest.mark.parametrize(
    ("codes", "status"),
    [({"structure"}, 400), ({"value"}, 400), ({"required"}, 400), ({"code-invalid"}, 422), ({"invariant"}, 422),
     ({"invariant", "required"}, 400), ({"code-invalid", "invariant", "business-rule"}, 422)],
)  # fmt: skip
def test_a_wrong_shape_answers_400_and_a_wrong_meaning_422(codes, status):
    issues = [Issue("error", code, "x.") for code in sorted(codes)] + [Issue("warning", "value", "x.")]
    assert status_of(issues) == status
    with pytest.raises(Refusal) as caught:
        refuse_errors(issues)
    assert caught.value.status == status


def test_issues_become_an_operation_outcome_that_r4_accepts():
    from fhir.resources.R4B.operationoutcome import OperationOutcome

    outcome = issues_to_operation_outcome(issues_of(condition(code=None)))
    assert outcome["issue"] == [
        {
            "severity": "error",
            "code": "structure",
            "diagnostics": "Condition.code is null, which FHIR forbids; leave it out or give it a value.",
            "expression": ["Condition.code"],
        }
    ]
    for answer in (outcome, issues_to_operation_outcome([])):
        OperationOutcome.model_validate(answer)


def test_modifier_extensions_are_found_at_every_depth():
    extension = [{"url": "urn:x", "valueBoolean": True}]
    nested = condition(
        modifierExtension=extension,
        stage=[{"summary": {"text": "x"}, "modifierExtension": extension}],
        _recordedDate={"extension": [{"url": "urn:x", "modifierExtension": extension}]},
    )
    assert modifier_extensions(nested) == [
        "Condition.modifierExtension[0]",
        "Condition.stage[0].modifierExtension[0]",
        "Condition.recordedDate.extension[0].modifierExtension[0]",
    ]
    assert modifier_extensions(condition()) == []


# --- hostile input --------------------------------------------------------------------------------------------

JUNK = st.sampled_from(
    [None, True, 0, -1, 10**39, 1.5, Decimal("1E999"), "", " ", "\x01", "[" * 70, "{}", '{"resourceType":"Nope"}',
     CANARY, "2026-02-30", [], {}, [None], [[]], {"resourceType": "Nope"}, {"resourceType": "Patient"},
     {"resourceType": []}, {"resource_type": "x"}, {"": {}}, {"coding": [{"system": CLINICAL, "code": {}}]},
     [{"url": "x", "extension": [{}]}]]
)  # fmt: skip
NAMES = st.sampled_from(
    ["id", "meta", "text", "contained", "extension", "modifierExtension", "status", "class", "class_fhir", "_status",
     "subject", "code", "diagnosis", "resourceType", "fhir_comments", "__class__", "self", "abatementString", "data"]
)  # fmt: skip


def places_in(value):
    """Every object and array in a value, to be mutated."""
    here = [value] if isinstance(value, dict | list) else []
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return here + [place for child in children for place in places_in(child)]


@st.composite
def mutants(draw):
    mutant = copy.deepcopy(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.sampled_from(places_in(mutant)))
        junk = copy.deepcopy(draw(JUNK))
        if isinstance(place, dict):
            place[draw(st.sampled_from(sorted(place)) | NAMES if place else NAMES)] = junk
        else:
            place.insert(draw(st.integers(0, len(place))), junk)
    return mutant


HOSTILE = settings(max_examples=500, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


@HOSTILE
@given(mutants())
def test_a_mutated_resource_yields_issues_and_nothing_else(mutant):
    before = repr(mutant)
    issues = issues_of(mutant)
    assert issues == issues_of(mutant)
    assert len(issues) <= 20
    assert all(CANARY not in issue.diagnostics + issue.expression for issue in issues)
    assert all(isinstance(expression, str) for expression in modifier_extensions(mutant))
    assert repr(mutant) == before


@HOSTILE
@given(st.sampled_from(SAMPLES), st.data())
def test_a_damaged_body_yields_a_value_or_a_refusal(sample, data):
    body = bytearray(dump_json(sample))
    for _ in range(data.draw(st.integers(1, 5))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        resource = parse_json(bytes(body))
    except Refusal as refusal:
        assert refusal.status == 400
    else:
        assert isinstance(validate_resource(resource, allowed=ALLOWED), list)
        assert parse_json(dump_json(resource)) == resource


@HOSTILE
@given(st.binary() | st.text('{}[]",:\\u0d8e-+.\n\ufeff').map(str.encode))
def test_what_is_read_is_what_the_standard_library_reads(body):
    try:
        value = parse_json(body)
    except Refusal:
        return
    assert value == json.loads(body.decode("utf-8-sig"), parse_float=Decimal)


def nested(depth):
    extension = {"url": "urn:x", "valueString": ""}
    for _ in range(depth):
        extension = {"url": "urn:x", "extension": [extension]}
    return condition(extension=[extension])


def test_nesting_beyond_any_limit_is_an_issue_and_costs_no_more_than_its_size():
    started = time.process_time()
    assert [code for _, code, _ in told(nested(25))] == ["value"]
    assert time.process_time() - started < 20
    assert [code for _, code, _ in told(nested(5000))] == ["structure"]


def test_thousands_of_faults_cost_no_more_than_their_number():
    faults = condition(code={"coding": [{"junk": 1}] * 5000}, note=[{"text": "x", "time": "2026-02-30"}] * 5000)
    started = time.process_time()
    assert len(issues_of(faults)) == 20
    assert time.process_time() - started < 20  # compared pairwise they took minutes
