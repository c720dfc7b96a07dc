"""A token for /fhir that lasts: had for a proof of who one is, good there alone, for five minutes, with any worker."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.assist import Assist
from service.backend_services import LIFE, AccessTokens
from service.settings import Settings
from service.store import open_store
from tests.records import ASSIST, condition
from tests.test_clients import (
    BASE,
    CLIENTS,
    ISS,
    RSA_KEY,
    SERVICE,
    STRANGER,
    Json,
    ask,
    bearer,
    claims,
    settings_in,
    signed,
)

TOKEN = "/oauth/token"
METADATA = "/fhir/metadata"


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    return settings_in(tmp_path)


@pytest.fixture
def guarded(assist: Assist, settings: Callable[..., Settings]) -> FlaskClient:
    return create_app(settings(), assist).test_client()


def proof(**changed: Any) -> str:
    """A good client_assertion, but for what is changed."""
    return signed(claims(TOKEN, sub=ISS, iat=..., **changed))


def form(**changed: Any) -> dict[str, Any]:
    """A good request for a token, but for what is changed; what is given as ... is left out."""
    good = {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": proof(),
        "scope": "system/*.rs",
        **changed,
    }
    return {name: value for name, value in good.items() if value is not ...}


def had(client: FlaskClient, **changed: Any) -> str:
    """A token."""
    answer = client.post(TOKEN, data=form(**changed))
    assert answer.status_code == 200, answer.text
    return str(answer.get_json()["access_token"])


def read(client: FlaskClient, token: str, path: str = METADATA) -> int:
    return client.get(path, headers=bearer(token)).status_code


# --- a good one ---------------------------------------------------------------------------------------------------


@pytest.mark.proves("smart: backend services, a token for a signed assertion")
def test_a_token_is_good_for_many_calls_to_fhir(guarded: FlaskClient) -> None:
    token = had(guarded)
    assert [read(guarded, token) for _ in range(3)] == [200, 200, 200]
    assert guarded.post(ASSIST, json=condition(), headers=bearer(token)).status_code == 200


def test_the_answer_is_as_oauth_has_it_and_is_not_kept_by_anyone(guarded: FlaskClient) -> None:
    answer = guarded.post(TOKEN, data=form())
    told = answer.get_json()
    assert (told["token_type"], told["expires_in"], told["scope"]) == ("bearer", 300, "system/*.rs")
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")


def test_either_algorithm_proves_who_a_client_is(guarded: FlaskClient) -> None:
    assertion = signed(claims(TOKEN, sub=ISS), RSA_KEY, "RS384", kid="rsa")
    assert read(guarded, had(guarded, client_assertion=assertion)) == 200


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("system/*.read", "system/*.read"),
        ("system/*.cruds", "system/*.rs"),
        ("openid system/*.* system/Condition.rs", "system/*.read"),
        ("system/*.rs system/*.read", "system/*.read system/*.rs"),
    ],
)
def test_of_the_scopes_asked_for_those_to_read_all_are_granted(guarded: FlaskClient, asked: str, granted: str) -> None:
    assert guarded.post(TOKEN, data=form(scope=asked)).get_json()["scope"] == granted


def test_a_token_of_one_worker_is_good_with_the_next(assist: Assist, settings: Callable[..., Settings]) -> None:
    one, other = (create_app(settings(), assist).test_client() for _ in range(2))
    assert read(other, had(one)) == 200


def test_the_audit_record_names_the_client_of_the_token(assist: Assist, settings: Callable[..., Settings]) -> None:
    app = create_app(settings(AUDIT="sync"), assist)
    app.test_client().post(ASSIST, json=condition(), headers=bearer(had(app.test_client())))
    (event,) = app.extensions["store"].export_audit()
    assert json.loads(event)["agent"][0]["who"]["identifier"]["value"] == ISS
    app.extensions["journal"].close()


@pytest.mark.proves("smart: .well-known/smart-configuration")
def test_where_a_token_is_had_is_told_to_all(guarded: FlaskClient) -> None:
    told = guarded.get("/fhir/.well-known/smart-configuration").get_json()
    assert told["token_endpoint"] == BASE + TOKEN
    assert "client-confidential-asymmetric" in told["capabilities"]
    assert told["grant_types_supported"] == ["client_credentials"]
    assert told["token_endpoint_auth_signing_alg_values_supported"] == ["RS384", "ES384"]


def test_without_authentication_there_is_no_token_to_be_had(client: FlaskClient) -> None:
    assert client.get("/fhir/.well-known/smart-configuration").status_code == 404
    assert client.post(TOKEN, json={}).status_code == 404


# --- what it does not open ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/cds-services", "/metrics", "/nowhere"])
def test_the_token_is_for_fhir_alone(guarded: FlaskClient, path: str) -> None:
    assert read(guarded, had(guarded), path) == 401


def test_the_token_raises_no_cards_and_gives_no_feedback(guarded: FlaskClient) -> None:
    token = had(guarded)
    assert [ask(guarded, token), ask(guarded, token, f"{SERVICE}/feedback")] == [401, 401]


def test_a_token_ends_after_five_minutes(guarded: FlaskClient) -> None:
    services = guarded.application.extensions
    now = time.time()
    for age, known in ((LIFE - 2, True), (LIFE + 1, False)):
        made = AccessTokens(services["callers"], services["store"], lambda age=age: now - age)
        (client,) = (one for one in [services["callers"].registered(ISS)] if one)
        assert (read(guarded, made.issue(client)) == 200) is known


def test_a_client_that_is_struck_off_is_let_in_no_more(assist: Assist, settings: Callable[..., Settings]) -> None:
    token = had(create_app(settings(), assist).test_client())
    assert read(create_app(settings(CLIENTS[1:]), assist).test_client(), token) == 401


def test_a_token_of_another_store_is_worth_nothing(guarded: FlaskClient) -> None:
    callers = guarded.application.extensions["callers"]
    elsewhere = open_store("sqlite://")
    client = callers.registered(ISS)
    assert client
    assert read(guarded, AccessTokens(callers, elsewhere).issue(client)) == 401
    elsewhere.close()


def _changed(token: str, how: str) -> str:
    payload, _, signature = token.partition(".")
    later = base64.urlsafe_b64encode(json.dumps([ISS, int(time.time()) + 10**6, "x"]).encode()).rstrip(b"=").decode()
    return {
        "a later end": f"{later}.{signature}",
        "no signature": f"{payload}.",
        "no signature, no dot": payload,
        "a shorter signature": token[:-1],
        "a longer signature": f"{token}0",
        "another signature": f"{payload}.{'0' * 64}",
        "upper case": f"{payload}.{signature.upper()}",
        "three parts": f"{token}.x",
        "padding": f"{payload}=.{signature}",
    }[how]


CHANGES = ["a later end", "no signature", "no signature, no dot", "a shorter signature", "a longer signature",
           "another signature", "upper case", "three parts", "padding"]  # fmt: skip


@pytest.mark.parametrize("how", CHANGES)
def test_a_token_that_was_changed_is_refused(guarded: FlaskClient, how: str) -> None:
    assert read(guarded, _changed(had(guarded), how)) == 401


# --- a wrong request ----------------------------------------------------------------------------------------------

NOW = int(time.time())
WRONG_PROOFS: dict[str, Json] = {
    **{f"no {name}": {name: ...} for name in ("iss", "sub", "aud", "exp", "jti")},
    "sub another": {"sub": "https://other.example.org"},
    "sub null": {"sub": None},
    "unknown iss and sub": {"iss": "https://evil.example.org", "sub": "https://evil.example.org"},
    "aud the FHIR base": {"aud": f"{BASE}/fhir"},
    "aud of a call": {"aud": BASE + SERVICE},
    "aud by Host": {"aud": f"http://localhost{TOKEN}"},
    "expired": {"exp": NOW - 60},
    "exp in an hour": {"exp": NOW + 3500},
    "exp a string": {"exp": str(NOW + 200)},
    "iat ahead": {"iat": NOW + 600},
    "jti empty": {"jti": ""},
}


@pytest.mark.proves("smart: iss, sub, aud, exp, jti are required and checked")
@pytest.mark.parametrize("wrong", WRONG_PROOFS.values(), ids=WRONG_PROOFS)
def test_a_proof_with_a_wrong_claim_is_refused(guarded: FlaskClient, wrong: Json) -> None:
    assertion = signed(claims(TOKEN, **{"sub": ISS, **wrong}))
    answer = guarded.post(TOKEN, data=form(client_assertion=assertion))
    assert (answer.status_code, answer.get_json()) == (401, {"error": "invalid_client"})


WRONG_SIGNATURES: dict[str, Callable[[], str]] = {
    "by a stranger": lambda: signed(claims(TOKEN, sub=ISS), STRANGER),
    "as another algorithm": lambda: signed(claims(TOKEN, sub=ISS), RSA_KEY, "RS256", kid="rsa"),
    "no kid": lambda: signed(claims(TOKEN, sub=ISS), kid=...),
    "no typ": lambda: signed(claims(TOKEN, sub=ISS), typ=None),
    "another jku": lambda: signed(claims(TOKEN, sub=ISS), jku=f"{ISS}/jwks"),
    "no token": lambda: "a.b.c",
    "letters of all kinds": lambda: "ä.ö.ü",
    "empty": lambda: "",
    "huge": lambda: signed(claims(TOKEN, sub=ISS, more="x" * 8192)),
}


@pytest.mark.parametrize("assertion", WRONG_SIGNATURES.values(), ids=WRONG_SIGNATURES)
def test_a_proof_that_is_not_signed_as_registered_is_refused(
    guarded: FlaskClient, assertion: Callable[[], str]
) -> None:
    answer = guarded.post(TOKEN, data=form(client_assertion=assertion()))
    assert (answer.status_code, answer.get_json()) == (401, {"error": "invalid_client"})


@pytest.mark.proves("smart: jti is seen once")
def test_a_proof_is_good_once(guarded: FlaskClient) -> None:
    once = form()
    assert [guarded.post(TOKEN, data=once).status_code for _ in range(2)] == [200, 401]


def test_a_registered_tenant_must_be_named_in_the_proof(guarded: FlaskClient) -> None:
    other = "https://other.example.org"
    for tenant, status in (("north", 200), ("south", 401)):
        assertion = signed(claims(TOKEN, iss=other, sub=other, tenant=tenant), STRANGER)
        assert guarded.post(TOKEN, data=form(client_assertion=assertion)).status_code == status


WRONG_FORMS: dict[str, tuple[Json, str]] = {
    "no grant": ({"grant_type": ...}, "unsupported_grant_type"),
    "another grant": ({"grant_type": "authorization_code"}, "unsupported_grant_type"),
    "no kind of assertion": ({"client_assertion_type": ...}, "invalid_request"),
    "another kind of assertion": ({"client_assertion_type": "not_an_assertion_type"}, "invalid_request"),
    "no scope": ({"scope": ...}, "invalid_scope"),
    "a scope of users": ({"scope": "user/*.rs"}, "invalid_scope"),
    "a scope to write": ({"scope": "system/*.write"}, "invalid_scope"),
    "a scope twice": ({"scope": ["system/*.rs", "system/*.rs"]}, "invalid_request"),
}


@pytest.mark.parametrize(("wrong", "error"), WRONG_FORMS.values(), ids=WRONG_FORMS)
def test_a_wrong_request_is_told_what_to_send(guarded: FlaskClient, wrong: Json, error: str) -> None:
    answer = guarded.post(TOKEN, data=form(**wrong))
    told = answer.get_json()
    assert (answer.status_code, told["error"]) == (400, error)
    assert told["error_description"].endswith(".")


def test_a_wrong_request_does_not_use_the_proof_up(guarded: FlaskClient) -> None:
    good = form()
    assert guarded.post(TOKEN, data={**good, "scope": "none"}).status_code == 400
    assert guarded.post(TOKEN, data=good).status_code == 200


def test_what_is_sent_as_json_is_no_form(guarded: FlaskClient) -> None:
    assert guarded.post(TOKEN, json=form()).get_json()["error"] == "unsupported_grant_type"


@pytest.mark.parametrize(
    ("sent", "kind", "status"),
    [
        (b"scope=%ff%fe&grant_type=client_credentials", "application/x-www-form-urlencoded", 400),
        (b"a=b&" * 100_000, "application/x-www-form-urlencoded", 400),
        (b"a=" + b"b" * 900_000, "application/x-www-form-urlencoded", 400),
        (b"a=" + b"b" * 2_000_000, "application/x-www-form-urlencoded", 413),
        (b"\x1f\x8b", "application/x-www-form-urlencoded; charset=x", 400),
        (b"--a\r\n\r\nb\r\n--a--", "multipart/form-data; boundary=a", 415),
        (b"<a/>", "text/xml", 415),
        (b"", "", 400),
    ],
)
def test_what_is_no_such_form_is_refused(guarded: FlaskClient, sent: bytes, kind: str, status: int) -> None:
    assert guarded.post(TOKEN, data=sent, content_type=kind).status_code == status
