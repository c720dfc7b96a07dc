"""Claim/$check on claims as billing systems and clearing houses send them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.assist import Assist
from service.coding.claim import Billing, ClaimDiagnosis, PayerPolicy, assess_billing
from service.coding.model import Setting
from service.fhir_out import CITATION
from service.settings import read_settings
from service.shipped import terminology_dir

ICD = "http://hl7.org/fhir/sid/icd-10-cm"
WORDS = "Biomechanical connective tissue stenosis of neural canal of cervical region, by thickened ligamentum flavum"
DAY = "2026-05-04"
URN = "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"
CHIROPRACTOR = {
    "sequence": 1,
    "provider": {"reference": "Practitioner/d"},
    "qualification": {"coding": [{"system": "http://nucc.org/provider-taxonomy", "code": "111N00000X"}]},
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    policies = terminology_dir() / "payers" / "medicare-chiropractic.json"
    store = f"sqlite:///{tmp_path_factory.mktemp('store')}/store.db"
    given = {"CODING_ASSIST_PAYER_POLICIES": str(policies), "CODING_ASSIST_DATABASE_URL": store}
    return create_app(read_settings(given)).test_client()


def condition(name: str, code: str, text: str = "") -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "id": name,
        "subject": {"reference": "Patient/p"},
        "verificationStatus": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "confirmed"}]
        },
        "code": {"coding": [{"system": ICD, "code": code}], **({"text": text} if text else {})},
    }


def claim(*diagnoses: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Claim",
        "id": "k",
        "status": "active",
        "use": "claim",
        "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/claim-type", "code": "professional"}]},
        "patient": {"reference": "Patient/p"},
        "created": DAY,
        "provider": {"reference": "Practitioner/d"},
        "priority": {"coding": [{"code": "normal"}]},
        "insurance": [{"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/v"}}],
        "diagnosis": list(diagnoses),
        "item": [line(1, DAY)],
    } | more


def line(pointer: int, day: str, sequence: int = 1) -> dict[str, Any]:
    what = {"productOrService": {"text": "Visit"}, "servicedDate": day}
    return {"sequence": sequence, "diagnosisSequence": [pointer], **what}


def coded(sequence: int, code: str, **more: Any) -> dict[str, Any]:
    return {
        "sequence": sequence,
        "diagnosisCodeableConcept": {"coding": [{"system": ICD, "code": code, **more}]},
    }


def referred(sequence: int, reference: str) -> dict[str, Any]:
    return {"sequence": sequence, "diagnosisReference": {"reference": reference}}


def check(client: FlaskClient, *resources: dict[str, Any], **full_urls: str) -> dict[str, Any]:
    entries = [
        {"resource": r, **({"fullUrl": full_urls[r["id"]]} if r.get("id") in full_urls else {})} for r in resources
    ]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    answer = client.post("/fhir/Claim/$check", data=json.dumps(bundle), content_type="application/fhir+json")
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return answer.get_json()


def issues(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of the claim and of each diagnosis."""
    parts = [p for parameter in answer["parameter"] for p in (parameter, *parameter.get("part", ()))]
    return [issue for p in parts if p["name"] == "outcome" for issue in p["resource"]["issue"]]


def raised(answer: dict[str, Any], severity: str = "error") -> set[tuple[str, str]]:
    return {
        (i["details"]["coding"][0]["code"], i["expression"][0]) for i in issues(answer) if i["severity"] == severity
    }


def result(answer: dict[str, Any]) -> bool:
    return next(p["valueBoolean"] for p in answer["parameter"] if p["name"] == "result")


@pytest.mark.proves("contract: Claim/$check reads a Bundle as a clearing house sends it")
def test_references_by_urn_and_what_a_claim_contains_are_found(client: FlaskClient) -> None:
    sent = claim(referred(1, URN), referred(2, "#own"))
    sent["contained"] = [
        condition("own", "M54.2", "Cervicalgia"),
        {"resourceType": "Coverage", "id": "v", "status": "active", "beneficiary": {"reference": "Patient/p"},
         "payor": [{"reference": "Organization/m"}]},
    ]  # fmt: skip
    sent["insurance"][0]["coverage"]["reference"] = "#v"
    sent["careTeam"] = [CHIROPRACTOR]
    payer = {"resourceType": "Organization", "id": "m", "name": "Medicare Part B"}

    answer = check(client, sent, condition("c", "M99.41", WORDS), payer, c=URN)

    assert raised(answer) == {("payer.policy-check", "Claim.diagnosis[0]")}
    assert not result(answer)


def test_the_order_of_a_payer_is_asked_only_of_its_providers(client: FlaskClient) -> None:
    coverage = {"resourceType": "Coverage", "id": "v", "status": "active", "beneficiary": {"reference": "Patient/p"}}
    answer = check(client, claim(referred(1, "Condition/c")), condition("c", "M99.41", WORDS), {
        **coverage, "payor": [{"display": "Medicare Part B"}],
    })  # fmt: skip
    assert raised(answer) == set()
    assert result(answer)


def test_each_issue_says_where_by_which_rule_on_what_it_rests_and_what_to_do(client: FlaskClient) -> None:
    answer = check(
        client, claim(coded(1, "M99.4"), coded(2, "E11.9", display="Type 1 diabetes mellitus without complications"))
    )

    found = {i["details"]["coding"][0]["code"]: i for i in issues(answer)}
    header, display = found["code.not-billable"], found["code.display-mismatch"]
    assert header["expression"] == ["Claim.diagnosis[0].diagnosisCodeableConcept.coding[0].code"]
    assert display["expression"] == ["Claim.diagnosis[1].diagnosisCodeableConcept.coding[0].display"]
    assert header["diagnostics"] == "code-is-billable"
    assert header["details"]["text"].endswith("Give the code all its characters.")
    for issue in found.values():
        assert any(e["url"] == CITATION and e["valueString"] for e in issue["extension"])
        assert issue["expression"][0].startswith("Claim.")


def test_a_line_on_the_other_side_of_october_is_named_by_its_own_date(client: FlaskClient) -> None:
    sent = claim(coded(1, "S23.420A"), item=[line(1, "2026-09-29"), line(1, "2026-10-02", 2)])
    assert ("code.not-valid-on-dos", "Claim.item[1].servicedDate") in raised(check(client, sent))


def test_the_focal_coverage_of_several_is_the_one_that_counts(client: FlaskClient) -> None:
    def covered(name: str, payer: str) -> dict[str, Any]:
        return {"resourceType": "Coverage", "id": name, "status": "active", "beneficiary": {"reference": "Patient/p"},
                "payor": [{"display": payer}]}  # fmt: skip

    sent = claim(referred(1, "Condition/c"), careTeam=[CHIROPRACTOR])  # fmt: skip
    sent["insurance"] = [
        {"sequence": 1, "focal": False, "coverage": {"reference": "Coverage/m"}},
        {"sequence": 2, "focal": True, "coverage": {"reference": "Coverage/n"}},
    ]
    both = covered("m", "Medicare Part B"), covered("n", "Northfield Mutual")
    assert result(check(client, sent, condition("c", "M99.41", WORDS), *both))


def test_a_family_without_a_pack_is_not_assessed_and_never_passed_in_silence(client: FlaskClient) -> None:
    answer = check(client, claim(coded(1, "E11.9")))
    [assessment] = [p["part"] for p in answer["parameter"] if p["name"] == "assessment"]
    assert [p["valueCode"] for p in assessment if p["name"] == "disposition"] == ["not-assessed"]


def test_excludes1_holds_for_families_that_no_pack_knows(client: FlaskClient) -> None:
    assert raised(check(client, claim(coded(1, "I10"), coded(2, "I27.0")))) == {
        ("code.excludes1", "Claim.diagnosis[1]")
    }


def test_two_claims_in_one_bundle_are_sent_back_with_what_to_do(client: FlaskClient) -> None:
    entries = [{"resource": claim(coded(1, "I10"))}, {"resource": claim(coded(1, "I10"), id="k2")}]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    answer = client.post("/fhir/Claim/$check", data=json.dumps(bundle), content_type="application/fhir+json")
    assert answer.status_code == 400
    assert "2 Claims; send each" in answer.get_json()["issue"][0]["diagnostics"]


def test_the_shipped_policy_names_no_procedure_code() -> None:
    page = json.loads((Path(terminology_dir()) / "payers" / "medicare-chiropractic.json").read_text("utf-8"))
    assert page["manipulation_procedures"] == []
    assert [policy["procedures"] for policy in page["policies"]] == [[]]


# --- what is billed, and what only stands beside it ---------------------------------------------------------------


def stated(name: str, code: str, **status: str) -> dict[str, Any]:
    """A Condition with another verificationStatus or clinicalStatus."""
    systems = {"verificationStatus": "condition-ver-status", "clinicalStatus": "condition-clinical"}
    concepts = {
        element: {"coding": [{"system": f"http://terminology.hl7.org/CodeSystem/{systems[element]}", "code": value}]}
        for element, value in status.items()
    }
    return condition(name, code) | concepts


def test_what_is_sent_along_and_not_billed_does_not_fail_the_claim(client: FlaskClient) -> None:
    beside = [stated("r", "E11.9", verificationStatus="refuted"), condition("h", "M99.4"), condition("m", "M99.42")]
    answer = check(client, claim(coded(1, "I10")), *beside)
    assert (raised(answer), result(answer)) == (set(), True)
    assert ("code.not-billable", "Condition.code.coding[0].code") in raised(answer, "warning")


def test_the_same_fails_the_claim_that_bills_it(client: FlaskClient) -> None:
    for beside in (stated("r", "E11.9", verificationStatus="refuted"), condition("r", "M99.4")):
        assert result(check(client, claim(referred(1, "Condition/r")), beside)) is False


def test_the_record_behind_an_inline_diagnosis_counts_as_billed(client: FlaskClient) -> None:
    answer = check(client, claim(coded(1, "E11.9")), stated("r", "E11.9", verificationStatus="refuted"))
    assert raised(answer) == {("cond.refuted", "Condition.verificationStatus")}


@pytest.mark.parametrize(
    ("status", "flag", "severity"),
    [
        ({"verificationStatus": "provisional"}, ("cond.unconfirmed", "Condition.verificationStatus"), "error"),
        ({"clinicalStatus": "resolved"}, ("cond.resolved", "Condition.clinicalStatus"), "warning"),
    ],
)
def test_the_status_of_every_diagnosis_that_is_billed_is_judged(
    client: FlaskClient, status: dict[str, str], flag: tuple[str, str], severity: str
) -> None:
    answer = check(client, claim(referred(1, "Condition/c")), stated("c", "J45.909", **status))
    assert flag in raised(answer, severity)
    assert flag not in raised(check(client, claim(coded(1, "I10")), stated("c", "J45.909", **status)), severity)


def test_a_mistyped_code_of_the_newest_year_is_an_error(client: FlaskClient) -> None:
    sent = claim(coded(1, "E11.9A"), coded(2, "K59.7"), item=[line(1, "2026-11-16")])
    assert {flag for flag, _ in raised(check(client, sent))} == {"code.seventh-character", "code.unknown"}


# --- by which date ------------------------------------------------------------------------------------------------


def test_a_diagnosis_is_judged_by_the_lines_that_point_to_it(client: FlaskClient) -> None:
    """G35 became a header on 1 October 2025; the order of the lines makes no difference."""
    lines = [line(1, "2025-09-29"), line(2, "2025-10-02", 2)]
    for item in (lines, lines[::-1]):
        assert result(check(client, claim(coded(1, "G35"), coded(2, "I10"), item=item))) is True
        assert result(check(client, claim(coded(1, "I10"), coded(2, "G35"), item=item))) is False


def test_a_code_that_became_a_header_is_told_at_the_later_line(client: FlaskClient) -> None:
    answer = check(client, claim(coded(1, "G35"), item=[line(1, "2025-09-29"), line(1, "2025-10-02", 2)]))
    assert raised(answer) == {("code.not-billable", "Claim.item[1].servicedDate")}


STAY = {
    "resourceType": "Encounter",
    "id": "e",
    "status": "finished",
    "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
    "subject": {"reference": "Patient/p"},
    "period": {"start": "2025-09-28", "end": "2025-10-03"},
}


def of_type(kind: str) -> dict[str, Any]:
    return {"type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/claim-type", "code": kind}]}}


@pytest.mark.parametrize(("kind", "holds"), [("professional", True), ("institutional", False)])
def test_within_a_stay_the_facility_bills_by_discharge_and_the_professional_by_the_day(
    client: FlaskClient, kind: str, holds: bool
) -> None:
    sent = claim(coded(1, "G35"), item=[line(1, "2025-09-29")], **of_type(kind))
    assert result(check(client, sent, STAY)) is holds


def test_a_facilitys_claim_without_its_encounter_is_judged_by_the_end_of_its_period(client: FlaskClient) -> None:
    period = {"billablePeriod": {"start": "2025-09-28", "end": "2025-10-03"}}
    sent = claim(coded(1, "G35"), item=[line(1, "2025-09-29")], **of_type("institutional"), **period)
    assert raised(check(client, sent)) == {
        ("code.not-billable", "Claim.diagnosis[0].diagnosisCodeableConcept.coding[0].code")
    }


# --- the display, and the words -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "display", "is_another"),
    [
        ("M17.11", "Unilateral primary osteoarthritis, left knee", True),
        ("M17.11", "OA right knee", False),
        ("M48.061", "Spinal stenosis, lumbar region with neurogenic claudication", True),
        ("M48.062", "Lumbar stenosis with neurogenic claudication", False),
        ("M47.812", "Cervical spondylosis with myelopathy", True),
        ("S33.5XXA", "Lumbar sprain, subsequent encounter", True),
        ("E11.9", "T2DM", False),
        ("J45.909", "Asthma with allergic rhinitis", False),
    ],
)
def test_a_display_that_contradicts_the_title_is_seen(
    client: FlaskClient, code: str, display: str, is_another: bool
) -> None:
    answer = check(client, claim(coded(1, code, display=display)))
    assert ("code.display-mismatch" in {flag for flag, _ in raised(answer)}) is is_another


@pytest.mark.parametrize(
    ("code", "words", "disagrees"),
    [
        ("M48.061", "Lumbar spinal stenosis with neurogenic claudication", True),
        ("M48.062", "Lumbar spinal stenosis with neurogenic claudication", False),
        ("M48.062", "Lumbar spinal stenosis without neurogenic claudication", True),
        ("M48.061", "Lumbar spinal stenosis", False),
    ],
)
def test_claudication_in_the_words_and_in_the_code_agree(
    client: FlaskClient, code: str, words: str, disagrees: bool
) -> None:
    answer = check(client, claim(referred(1, "Condition/c")), condition("c", code, words))
    assert ("doc.code-text-mismatch" in {flag for flag, _ in raised(answer)}) is disagrees


# --- who pays -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payer", "taxonomy", "applies"),
    [
        ("Medicare Part B", "111N00000X", True),
        ("Medicare", "111NN1001X", True),
        ("Commercial plan, not Medicare", "111N00000X", False),
        ("Medicareful Ltd", "111N00000X", False),
        ("Medicare", "207R00000X", False),
    ],
)
def test_a_payer_is_known_by_its_name_and_a_chiropractor_by_any_of_their_taxonomy_codes(
    client: FlaskClient, payer: str, taxonomy: str, applies: bool
) -> None:
    team = CHIROPRACTOR | {
        "qualification": {"coding": [{"system": "http://nucc.org/provider-taxonomy", "code": taxonomy}]}
    }
    insurance = [{"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/v", "display": payer}}]
    sent = claim(coded(1, "M99.01"), referred(2, "Condition/c"), careTeam=[team], insurance=insurance)
    answer = check(client, sent, condition("c", "M99.41", WORDS))
    assert ("payer.policy-check" in {flag for flag, _ in raised(answer, "warning")}) is applies


def test_a_missing_seventh_character_is_named(client: FlaskClient) -> None:
    [issue] = [i for i in issues(check(client, claim(coded(1, "S06.0X0")))) if i["severity"] == "error"]
    assert "lacks its 7th character, one of A, D, S" in issue["details"]["text"]


@pytest.mark.parametrize("code", ["S33.5XX", "S33.5A", "S33.5XXZ", "W19A"])
def test_a_code_without_its_seventh_character_is_told_the_ones_that_it_takes(client: FlaskClient, code: str) -> None:
    [issue] = [
        i
        for i in issues(check(client, claim(coded(1, "I10"), coded(2, code))))
        if i["details"]["coding"][0]["code"].startswith("code.")
    ]
    assert issue["details"]["coding"][0]["code"] == "code.seventh-character"
    assert "one of A, D, S as in " in issue["details"]["text"]


# --- the record behind what stands on the claim ------------------------------------------------------------------


def not_coded(text: str, **more: Any) -> dict[str, Any]:
    """A Condition in words alone, as a note comes."""
    return condition("n", "I10") | {"code": {"text": text}} | more


def test_the_words_of_a_condition_document_the_code_on_the_claim(client: FlaskClient) -> None:
    with_both = condition("c", "M99.41", WORDS)
    with_both["code"]["coding"].insert(0, {"system": "http://snomed.info/sct", "code": "203712005"})
    for record in (condition("c", "M99.41", WORDS), with_both, not_coded(WORDS)):
        answer = check(client, claim(coded(1, "M99.41")), record)
        assert (raised(answer), result(answer)) == (set(), True)
    assert result(check(client, claim(coded(1, "M99.41")))) is False


def test_a_quote_from_the_record_names_where_it_stands(client: FlaskClient) -> None:
    answer = check(client, claim(coded(1, "M99.41")), not_coded(WORDS))
    [assessment] = [
        p["part"]
        for p in answer["parameter"]
        if p["name"] == "assessment" and p["part"][0]["valueReference"]["reference"] == "Claim#diagnosis[0]"
    ]
    quoted = [
        {one["name"]: one for one in e["part"]}
        for element in assessment
        if element["name"] == "element"
        for e in element["part"]
        if e["name"] == "evidence"
    ]
    assert quoted
    for evidence in quoted:
        assert evidence["source"]["valueReference"]["reference"] == "Condition/n"
        assert evidence["expression"]["valueString"] == "Condition.code.text"
        at = slice(evidence["start"]["valueInteger"], evidence["end"]["valueInteger"])
        assert WORDS[at] == evidence["quote"]["valueString"]


@pytest.mark.parametrize(
    ("record", "flag"),
    [
        (not_coded(WORDS.replace("cervical", "lumbar")), "doc.code-text-mismatch"),
        (condition("c", "M48.02", "Cervical spinal stenosis"), "doc.tissue-unsupported"),
        (not_coded(WORDS, subject={"reference": "Patient/q"}), "doc.tissue-unsupported"),
        (not_coded(WORDS, clinicalStatus=stated("c", "I10", clinicalStatus="resolved")["clinicalStatus"]),
         "doc.tissue-unsupported"),
        (not_coded(WORDS, verificationStatus=stated("c", "I10", verificationStatus="refuted")["verificationStatus"]),
         "doc.tissue-unsupported"),
    ],
)  # fmt: skip
def test_words_that_do_not_stand_behind_the_code_do_not_document_it(
    client: FlaskClient, record: dict[str, Any], flag: str
) -> None:
    answer = check(client, claim(coded(1, "M99.41")), record)
    assert (flag, "Claim.diagnosis[0].diagnosisCodeableConcept.coding[0]") in raised(answer)


def test_words_of_our_families_are_not_read_into_other_codes(client: FlaskClient) -> None:
    answer = check(client, claim(coded(1, "I10")), not_coded(WORDS))
    [disposition] = [
        part["valueCode"]
        for p in answer["parameter"]
        if p["name"] == "assessment" and p["part"][0]["valueReference"]["reference"] == "Claim#diagnosis[0]"
        for part in p["part"]
        if part["name"] == "disposition"
    ]
    assert disposition == "not-assessed"


def test_a_condition_of_another_patient_fails_the_claim_that_bills_it(client: FlaskClient) -> None:
    theirs = condition("c", "I10") | {"subject": {"reference": "Patient/q"}}
    assert raised(check(client, claim(referred(1, "Condition/c")), theirs)) == {
        ("claim.diagnosis-of-another", "Claim.diagnosis[0]")
    }
    by_urn = theirs | {"subject": {"reference": URN}}
    assert result(check(client, claim(referred(1, "Condition/c")), by_urn)) is True


def test_a_condition_of_the_same_id_on_another_server_is_another_one(client: FlaskClient) -> None:
    sent = claim(referred(1, "https://a.example/fhir/Condition/c"))
    assert result(check(client, sent, condition("c", "I10"), c="https://a.example/fhir/Condition/c")) is True
    assert raised(check(client, sent, condition("c", "I10"), c="https://b.example/fhir/Condition/c")) == {
        ("claim.diagnosis-not-sent", "Claim.diagnosis[0]")
    }


# --- the types of a diagnosis, and further dates -------------------------------------------------------------------


def typed(diagnosis: dict[str, Any], kind: str) -> dict[str, Any]:
    system = "http://terminology.hl7.org/CodeSystem/ex-diagnosistype"
    return diagnosis | {"type": [{"coding": [{"system": system, "code": kind}]}]}


@pytest.mark.parametrize("kind", ["admitting", "patientreasonforvisit"])
def test_what_a_patient_was_admitted_with_is_no_duplicate_and_no_pair(client: FlaskClient, kind: str) -> None:
    """UB-04 has places of its own for it, and there it may be what the discharge diagnosis excludes."""
    for code in ("I27.0", "I10", "G99.2", "W19.XXXA"):
        sent = claim(coded(1, "I10"), typed(coded(2, code), kind), **of_type("institutional"))
        answer = check(client, sent)
        assert (raised(answer), raised(answer, "warning")) == (set(), set())
    assert raised(check(client, claim(coded(1, "I10"), typed(coded(2, "I27.0"), "discharge")))) == {
        ("code.excludes1", "Claim.diagnosis[1]")
    }


def test_the_principal_diagnosis_is_first_whatever_its_sequence(client: FlaskClient) -> None:
    sent = claim(coded(1, "M48.02"), typed(coded(2, "G99.2"), "principal"))
    assert raised(check(client, sent)) == {("code.manifestation-first", "Claim.diagnosis[1]")}


def test_a_facilitys_claim_without_encounter_and_period_is_judged_by_its_last_line(client: FlaskClient) -> None:
    lines = [line(1, "2025-09-29"), line(1, "2025-10-02", 2)]
    for item in (lines, lines[::-1]):
        assert result(check(client, claim(coded(1, "G35"), item=item, **of_type("institutional")))) is False
    assert result(check(client, claim(coded(1, "G35"), item=lines[:1], **of_type("institutional")))) is True


def test_a_line_without_a_date_has_the_period_of_the_claim(client: FlaskClient) -> None:
    undated = {"sequence": 1, "diagnosisSequence": [1], "productOrService": {"text": "Visit"}}
    sent = claim(coded(1, "G35"), item=[undated], billablePeriod={"start": "2025-09-28", "end": "2025-10-03"})
    assert raised(check(client, sent)) == {("code.not-billable", "Claim.billablePeriod.end")}
    assert result(check(client, sent | {"item": [undated | {"servicedDate": "2025-09-29"}]})) is True


def test_what_may_change_the_meaning_of_a_claim_is_told_where_it_stands(client: FlaskClient) -> None:
    unknown = {"modifierExtension": [{"url": "http://example.com/voided", "valueBoolean": True}]}
    answer = check(client, claim(coded(1, "I10"), item=[line(1, DAY) | unknown], **unknown))
    assert raised(answer, "warning") == {
        ("record.modifier-extension", "Claim.modifierExtension[0]"),
        ("record.modifier-extension", "Claim.item[0].modifierExtension[0]"),
    }


# --- what is said of claims only, and of our codes only ------------------------------------------------------------


def test_a_procedure_of_the_claim_is_looked_at_as_a_line_is(client: FlaskClient) -> None:
    in_danger = condition("c", "M99.41", f"{WORDS}. Myelopathy with hyperreflexia.")
    procedure = [{"sequence": 1, "procedureCodeableConcept": {"text": "Spinal manipulation"}}]
    answer = check(client, claim(referred(1, "Condition/c"), procedure=procedure), in_danger)
    assert ("safety.manipulation-contraindication", "Claim.procedure[0]") in raised(answer, "warning")
    assert not [flag for flag, _ in raised(check(client, claim(referred(1, "Condition/c")), in_danger), "warning")
                if flag.startswith("safety")]  # fmt: skip


def test_a_policy_for_stenosis_codes_says_nothing_beside_other_codes(client: FlaskClient) -> None:
    insurance = [{"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/v", "display": "Medicare"}}]
    sent = claim(coded(1, "M54.2"), careTeam=[CHIROPRACTOR], insurance=insurance)
    assert (raised(check(client, sent)), raised(check(client, sent), "warning")) == (set(), set())


def test_a_policy_is_about_claims(assist: Assist) -> None:
    """Without a Claim there is no order of diagnoses that could break it."""
    policy = PayerPolicy("p", "M99.0- is first.", first_diagnosis=("M99.0-",))
    diagnosis = ClaimDiagnosis(1, "M99.41", "Condition.code.coding[0]")
    for is_claim in (True, False):
        billing = Billing("claim", DAY, (diagnosis,), is_claim=is_claim, policies=(policy,))
        found = {issue.flag for issue in assess_billing(billing, (), assist.terminology)}
        assert ("payer.policy-check" in found) is is_claim


def test_while_charting_only_pairs_with_our_codes_are_looked_at(assist: Assist) -> None:
    """What else is on the problem list, nobody asked about."""

    def pairs(setting: Setting, *codes: str) -> int:
        diagnoses = tuple(ClaimDiagnosis(n, code, f"Condition[{n}]") for n, code in enumerate(codes))
        issues = assess_billing(Billing(setting, DAY, diagnoses), (), assist.terminology)
        return sum(issue.flag in ("code.excludes1", "doc.classified-elsewhere") for issue in issues)

    assert [pairs(setting, "I10", "I27.0") for setting in ("claim", "charting")] == [1, 0]
    for order in (("M99.41", "I10", "M48.02"), ("M48.02", "I10", "M99.41"), ("I10", "M48.02", "M99.41")):
        assert pairs("charting", *order) == 1


def test_a_display_that_shares_no_word_with_the_title_of_our_code_is_another(client: FlaskClient) -> None:
    for display, is_another in (("Low back pain syndrome", True), ("Neural canal stenosis, connective", False)):
        answer = check(client, claim(coded(1, "M99.41", display=display)))
        assert ("code.display-mismatch" in {flag for flag, _ in raised(answer)}) is is_another


def test_a_condition_that_does_not_hold_makes_no_pair(client: FlaskClient) -> None:
    """Without a Claim the Conditions that are sent are looked at in pairs."""
    pair = {("code.excludes1", "Condition.code.coding[0]")}
    assert pair <= raised(check(client, condition("a", "I10"), condition("b", "I27.0")))
    for status in ({"verificationStatus": "refuted"}, {"clinicalStatus": "resolved"}):
        assert not pair & raised(check(client, condition("a", "I10"), stated("b", "I27.0", **status)))


def test_a_procedure_is_known_by_a_display_alone(client: FlaskClient) -> None:
    in_danger = condition("c", "M99.41", f"{WORDS}. Myelopathy with hyperreflexia.")
    done = line(1, DAY) | {"productOrService": {"coding": [{"display": "Spinal manipulation"}]}}
    answer = check(client, claim(referred(1, "Condition/c"), item=[done]), in_danger)
    assert ("safety.manipulation-contraindication", "Claim.item[0]") in raised(answer, "warning")


def test_a_qualification_without_a_code_is_passed_over(client: FlaskClient) -> None:
    named = {
        "sequence": 2,
        "provider": {"reference": "Practitioner/x"},
        "qualification": {"coding": [{"display": "x"}]},
    }
    insurance = [{"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/v", "display": "Medicare"}}]
    sent = claim(referred(1, "Condition/c"), careTeam=[named, CHIROPRACTOR], insurance=insurance)
    answer = check(client, sent, condition("c", "M99.41", WORDS))
    assert ("payer.policy-check", "Claim.diagnosis[0]") in raised(answer)
