"""Tokens for /fhir as SMART App Launch 2.2 "Backend Services" has them: one registered client, one proof, five minutes.

Whoever can sign the token of a single call (clients.py) may also sign a proof of who it is, and call /fhir for a while
with what it gets for that. Such a token says for whom it is and until when, under a key of the store: all workers know
it, and none has to remember it.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import time
from collections.abc import Callable

from flask import Blueprint, Response, current_app, request

from service.clients import Callers, NotAdmitted, TrustedClient, shown_token
from service.fhir_out import Json
from service.json_body import dump_json
from service.store import Store

LIFE = 300  # seconds; the standard's upper bound
TOKEN_PATH = "/oauth/token"  # noqa: S105  # an address
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
# What is asked for and what is granted: nothing under /fhir changes a record, so no scope to write is given.
SCOPES = {
    "system/*.rs": "system/*.rs",
    "system/*.cruds": "system/*.rs",
    "system/*.read": "system/*.read",
    "system/*.*": "system/*.read",
}
backend_services = Blueprint("backend_services", __name__)


class AccessTokens:
    """Makes tokens for /fhir, and knows its own again until they end."""

    def __init__(self, callers: Callers, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._callers = callers
        self._store = store
        self._clock = clock

    def issue(self, client: TrustedClient) -> str:
        """A token that lets the client in for LIFE seconds."""
        told = json.dumps([client.iss, int(self._clock()) + LIFE, secrets.token_urlsafe(16)])
        payload = base64.urlsafe_b64encode(told.encode()).rstrip(b"=").decode()
        return f"{payload}.{self._store.signature(payload)}"

    def holder(self, authorization: str) -> TrustedClient | None:
        """The client to whom the token of an Authorization header was issued; None where it is not ours, or over."""
        payload, _, signature = shown_token(authorization).partition(".")
        if not hmac.compare_digest(self._store.signature(payload), signature):
            return None
        iss, ends, _ = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return self._callers.registered(iss) if self._clock() < ends else None


@backend_services.post(TOKEN_PATH)
def token() -> Response:
    """A token for the client that proves who it is (RFC 6749 4.4, RFC 7523 2.2), or an error of RFC 6749 5.2."""
    asked = request.form
    if any(len(values) > 1 for values in asked.listvalues()):
        return _refused("invalid_request", "A parameter came twice; send each once.")
    if asked.get("grant_type") != "client_credentials":
        return _refused("unsupported_grant_type", "Send grant_type=client_credentials as a form.")
    if asked.get("client_assertion_type") != ASSERTION_TYPE:
        return _refused("invalid_request", f"Send client_assertion_type={ASSERTION_TYPE}.")
    granted = sorted({SCOPES[scope] for scope in asked.get("scope", "").split() if scope in SCOPES})
    if not granted:
        return _refused("invalid_scope", f"Ask for a scope of {', '.join(SCOPES)}.")
    callers: Callers = current_app.extensions["callers"]
    try:
        client = callers.proven(asked.get("client_assertion", ""), current_app.config["BASE_URL"] + TOKEN_PATH)
    except NotAdmitted:
        return _json({"error": "invalid_client"}, 401)
    tokens: AccessTokens = current_app.extensions["access_tokens"]
    issued = {"access_token": tokens.issue(client), "token_type": "bearer", "expires_in": LIFE}
    answer = _json(issued | {"scope": " ".join(granted)})
    answer.headers["Pragma"] = "no-cache"  # RFC 6749, 5.1 demands it still
    return answer


@backend_services.get("/fhir/.well-known/smart-configuration")
def smart_configuration() -> Response:
    """Where tokens are had and how a client proves who it is; open to all (SMART App Launch 2.2 "Conformance")."""
    return _json(
        {
            "token_endpoint": current_app.config["BASE_URL"] + TOKEN_PATH,
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
            "scopes_supported": sorted(set(SCOPES.values())),
            "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
            "code_challenge_methods_supported": ["S256"],  # demanded of all, though no code is ever given here
        }
    )


def _refused(error: str, sentence: str) -> Response:
    return _json({"error": error, "error_description": sentence}, 400)


def _json(content: Json, status: int = 200) -> Response:
    return Response(dump_json(content), status, content_type="application/json; charset=utf-8")
