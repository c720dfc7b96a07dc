"""Requests that tests of the store send; the canary stands for what a patient would not want to read elsewhere."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
CANARY = "Zebedee Quux"
COMPLETE = f"{CANARY}: connective tissue stenosis of neural canal of cervical region, biomechanical lesion"
BARE = f"{CANARY} has connective tissue stenosis of the neural canal"  # no region, so it is asked for
INSTANCE = "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea"
HOOK = "/cds-services/coding-assist"
ASSIST = "/fhir/Condition/$coding-assist"
CHECK = "/fhir/Claim/$check"


def condition(text: str = COMPLETE, patient: str = "p1", condition_id: str = "c1") -> Json:
    return {
        "resourceType": "Condition",
        "id": condition_id,
        "subject": {"reference": f"Patient/{patient}", "display": CANARY},
        "recordedDate": "2026-03-31",
        "code": {"text": text},
    }


def bundle(*resources: Json) -> Json:
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in resources]}


def call(*conditions: Json, instance: str = INSTANCE) -> Json:
    return {
        "hook": "patient-view",
        "hookInstance": instance,
        "fhirServer": "https://ehr.example/fhir",
        "fhirAuthorization": {"access_token": f"token {CANARY}"},
        "context": {"userId": "Practitioner/d1", "patientId": "p1"},
        "prefetch": {"conditions": {**bundle(*(conditions or (condition(),))), "type": "searchset"}},
    }
