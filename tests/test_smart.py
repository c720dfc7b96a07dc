"""The form inside an EHR: launched for its own user and patient, read and written with that user's rights."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from flask.testing import FlaskClient

from service.app import create_app
from service.assist import Assist
from service.settings import read_settings
from tests.fake_ehr import FakeEhr
from tests.lforms_export import exported

Json = dict[str, Any]
BASE = "http://127.0.0.1:8080"
SERVICE = "/cds-services/coding-assist"
ISS = "https://ehr.example.org"
EHR_KEY = ec.generate_private_key(ec.SECP384R1())
TWO_TISSUES = "Biomechanical lesion. Canal stenosis at C5-C6 with disc bulge and flavum hypertrophy"


def condition(text: str = TWO_TISSUES) -> Json:
    held = {"resourceType": "Condition", "id": "c1", "subject": {"reference": "Patient/p1"}}
    return {**held, "recordedDate": "2026-10-20", "code": {"text": text}}


@pytest.fixture
def ehr() -> Iterator[FakeEhr]:
    made = FakeEhr()
    made.put(condition())
    yield made
    made.close()


@dataclass
class Desk:
    """An EHR with our service beside it, and a browser at the desk of its user."""

    ehr: FakeEhr
    browser: FlaskClient

    def card(self, user: str = "Practitioner/d1") -> Json:
        bundle = {
            "resourceType": "Bundle",
            "type": "searchset",
            "entry": [{"resource": self.ehr.resources["Condition/c1"]}],
        }
        sent = {
            "hook": "patient-view",
            "hookInstance": str(uuid4()),
            "context": {"userId": user, "patientId": "p1", "encounterId": "e1"},
            "prefetch": {"conditions": bundle},
        }
        answer = self.browser.post(SERVICE, json=sent, headers=self.bearer(SERVICE))
        assert answer.status_code == 200, answer.get_json()
        [card] = [card for card in answer.get_json()["cards"] if "links" in card]
        return dict(card)

    def bearer(self, path: str) -> dict[str, str]:
        claims = {"iss": ISS, "aud": BASE + path, "exp": time.time() + 60, "iat": time.time(), "jti": str(uuid4())}
        token = jwt.encode(claims, EHR_KEY, "ES384", {"kid": "ec", "typ": "JWT"})
        return {"Authorization": f"Bearer {token}"}

    def authorized(self) -> str:
        """From the card through the EHR's authorization: the callback that the browser is sent to."""
        [link] = self.card()["links"]
        self.ehr.app_context = self.ehr.app_context or link["appContext"]
        return self.allowed(self.launched())

    def launched(self) -> Any:
        return self.browser.get(self.ehr.launch_url("/smart/launch"))

    def allowed(self, away: Any) -> str:
        assert away.status_code == 303, away.text
        back = requests.get(away.headers["Location"], allow_redirects=False, timeout=5)
        return back.headers["Location"].removeprefix(BASE)

    def open(self) -> str:
        """The address of the form, opened in the browser."""
        there = self.browser.get(self.authorized())
        assert there.status_code == 303, there.text
        return str(there.headers["Location"]).removeprefix(BASE)

    def form(self, address: str) -> Json:
        path = f"/fhir/Questionnaire/{address.rpartition('/')[2]}"
        return dict(self.browser.get(path, headers=self.bearer(path)).get_json())

    def answer(self, address: str, **answers: str) -> Any:
        return self.browser.post(address, json=exported(self.form(address), **answers))


@pytest.fixture
def desk(assist: Assist, ehr: FakeEhr, tmp_path: Path) -> Callable[..., Desk]:
    def made(dialect: str = "hl7", **smart: Any) -> Desk:
        public = jwt.algorithms.ECAlgorithm.to_jwk(EHR_KEY.public_key(), as_dict=True)
        client: Json = {"iss": ISS, "jwks": {"keys": [{**public, "kid": "ec"}]}, "fhir_servers": [ehr.base]}
        client |= {"dialect": dialect, "smart": {"client_id": ehr.client_id, **smart}}
        file = tmp_path / "clients.json"
        file.write_text(json.dumps([client]))
        given = {"AUTH": "jwt", "TRUSTED_CLIENTS": str(file), "DATABASE_URL": f"sqlite:///{tmp_path}/store.db"}
        settings = read_settings({f"CODING_ASSIST_{name}": value for name, value in given.items()})
        return Desk(ehr, create_app(settings, assist).test_client())

    return made


# --- from the card to the record ----------------------------------------------------------------------------------


@pytest.mark.proves("cds-hooks: link type smart carries appContext")
def test_the_card_of_a_launching_ehr_leads_to_the_app_and_names_the_form(desk: Callable[..., Desk]) -> None:
    [link] = desk().card()["links"]
    assert (link["type"], link["url"]) == ("smart", f"{BASE}/smart/launch")
    assert re.fullmatch(r"[0-9a-f]{32}", link["appContext"])


@pytest.mark.proves("smart-app-launch: EHR launch with PKCE S256")
def test_a_launch_opens_the_form(desk: Callable[..., Desk]) -> None:
    here = desk()
    shown = here.browser.get(here.open())
    assert shown.status_code == 200 and "Questions on the documentation" in shown.text


def test_an_answer_is_written_back_with_the_users_token(desk: Callable[..., Desk], ehr: FakeEhr) -> None:
    here = desk()
    told = here.answer(here.open(), tissue="#connective")
    assert "The problem is updated in the record." in told.text and "The answers are kept in the record." in told.text
    [kept] = [one for one in ehr.resources.values() if one["resourceType"] == "QuestionnaireResponse"]
    held = ehr.resources["Condition/c1"]
    assert held["code"]["coding"][0]["code"] == "M99.41"
    assert held["evidence"] == [{"detail": [{"reference": f"QuestionnaireResponse/{kept['id']}"}]}]
    assert [one.headers["if-match"] for one in ehr.calls("PUT")] == ['W/"1"']
