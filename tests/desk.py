"""An EHR that is registered with us, and what it sends: its settings, its token, the call of a hook."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from service.settings import Settings, read_settings
from tests.fake_ehr import FakeEhr

Json = dict[str, Any]
SERVICE = "/cds-services/coding-assist"
ISS = "https://ehr.example.org"
EHR_KEY = ec.generate_private_key(ec.SECP384R1())
TWO_TISSUES = "Biomechanical lesion. Canal stenosis at C5-C6 with disc bulge and flavum hypertrophy"


def condition(text: str = TWO_TISSUES) -> Json:
    held = {"resourceType": "Condition", "id": "c1", "subject": {"reference": "Patient/p1"}}
    return {**held, "recordedDate": "2026-10-20", "code": {"text": text}}


def report(conclusion: str = "C5-C6: ligamentum flavum hypertrophy narrows the central canal.") -> Json:
    held = {"resourceType": "DiagnosticReport", "id": "r1", "status": "final", "subject": {"reference": "Patient/p1"}}
    held |= {"encounter": {"reference": "Encounter/e1"}, "effectiveDateTime": "2026-10-10", "code": {"text": "MRI"}}
    return held | {"conclusion": conclusion}


def settings_of(ehr: FakeEhr, folder: Path, dialect: str = "hl7", **smart: Any) -> Settings:
    """The settings of an operator who trusts that EHR and has registered us with it as a SMART app."""
    public = jwt.algorithms.ECAlgorithm.to_jwk(EHR_KEY.public_key(), as_dict=True)
    client: Json = {"iss": ISS, "jwks": {"keys": [{**public, "kid": "ec"}]}, "fhir_servers": [ehr.base]}
    client |= {"dialect": dialect, "smart": {"client_id": ehr.client_id, **smart}}
    file = folder / "clients.json"
    file.write_text(json.dumps([client]))
    given = {"AUTH": "jwt", "TRUSTED_CLIENTS": str(file), "DATABASE_URL": f"sqlite:///{folder}/store.db"}
    return read_settings({f"CODING_ASSIST_{name}": value for name, value in given.items()})


def bearer(address: str) -> dict[str, str]:
    """The token of one call to an address."""
    claims = {"iss": ISS, "aud": address, "exp": time.time() + 60, "iat": time.time(), "jti": str(uuid4())}
    token = jwt.encode(claims, EHR_KEY, "ES384", {"kid": "ec", "typ": "JWT"})
    return {"Authorization": f"Bearer {token}"}


def hook_call(ehr: FakeEhr, user: str = "Practitioner/d1") -> Json:
    """What the EHR sends as its user opens the chart of p1."""
    return {
        "hook": "patient-view",
        "hookInstance": str(uuid4()),
        "context": {"userId": user, "patientId": "p1", "encounterId": "e1"},
        "prefetch": {"conditions": _search(ehr, "Condition"), "reports": _search(ehr, "DiagnosticReport")},
    }


def _search(ehr: FakeEhr, kind: str) -> Json:
    entries = [{"resource": one} for one in ehr.resources.values() if one["resourceType"] == kind]
    return {"resourceType": "Bundle", "type": "searchset", "entry": entries}
