"""A small EHR on this machine: a FHIR R4 server with versions, and the authorization server that opens it to apps.

It takes valid R4 alone, and lets an app read and write what its scopes name.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from service.validation import validate_resource

Json = dict[str, Any]
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass
class Asked:
    """One request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


@dataclass
class FakeEhr:
    """`resources` by type/id, each with its version; what it says of patient, user, scopes can be set by a test."""

    client_id: str = "coding-assist"
    secret: str = ""
    public_key: Any = None
    patient: str = "p1"
    user: str = "Practitioner/d1"
    scope: str = "launch openid fhirUser user/Condition.cru user/DiagnosticReport.r user/QuestionnaireResponse.c"
    app_context: str = ""
    refuses: str = ""
    signs_with: Any = KEY
    id_token: Json = field(default_factory=dict)
    configuration: Json = field(default_factory=dict)
    granted: Json = field(default_factory=dict)
    delays: dict[str, float] = field(default_factory=dict)
    redirects: tuple[str, ...] = ()
    statuses: dict[tuple[str, str], int] = field(default_factory=dict)
    resources: dict[str, Json] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, self.rfile.read(length))
                outer.asked.append(asked)
                status, body, more = outer.answered(asked)
                raw = json.dumps(body).encode() if body is not None else b""
                self.send_response(status)
                for name, value in {"Content-Length": str(len(raw)), **more}.items():
                    self.send_header(name, value)
                with suppress(OSError):  # who asked has given up
                    self.end_headers()
                    self.wfile.write(raw)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.base = f"{self.origin}/fhir"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def put(self, resource: Json) -> Json:
        """Keep a resource as the next version of itself."""
        named = f"{resource['resourceType']}/{resource['id']}"
        version = int(self.resources.get(named, {}).get("meta", {}).get("versionId", 0)) + 1
        self.resources[named] = {**resource, "meta": {"versionId": str(version)}}
        return self.resources[named]

    def launch_url(self, app: str) -> str:
        """What the EHR opens when its user follows the card's link."""
        return f"{app}?{urlencode({'iss': self.base, 'launch': 'launch-1'})}"

    def calls(self, method: str, start: str = "/fhir/") -> list[Asked]:
        return [one for one in self.asked if one.method == method and one.path.startswith(start)]

    # -- the answers

    def answered(self, asked: Asked) -> tuple[int, Json | None, dict[str, str]]:
        path = urlsplit(asked.path).path
        time.sleep(self.delays.get(path, 0))
        if path in self.redirects:
            return 307, None, {"Location": f"{self.origin}/elsewhere"}
        if path == "/fhir/.well-known/smart-configuration":
            return 200, self.described(), {}
        if path == "/authorize":
            return 302, None, {"Location": self.authorized(parse_qs(urlsplit(asked.path).query))}
        if path == "/token":
            return self.token(asked)
        if path == "/keys":
            return 200, {"keys": [{**jwk(KEY), "kid": "ehr"}]}, {}
        return self.fhir(asked, path.removeprefix("/fhir/"))

    def described(self) -> Json:
        told: Json = {
            "issuer": self.origin,
            "authorization_endpoint": f"{self.origin}/authorize",
            "token_endpoint": f"{self.origin}/token",
            "jwks_uri": f"{self.origin}/keys",
            "code_challenge_methods_supported": ["S256"],
            "capabilities": ["launch-ehr", "permission-v2", "sso-openid-connect"],
        }
        return told | self.configuration

    def authorized(self, given: Mapping[str, list[str]]) -> str:
        asked = {name: values[0] for name, values in given.items()}
        back = {"state": asked["state"]}
        if self.refuses:
            return f"{asked['redirect_uri']}?{urlencode({**back, 'error': self.refuses})}"
        assert (asked["client_id"], asked["response_type"], asked["aud"]) == (self.client_id, "code", self.base)
        assert asked["code_challenge_method"] == "S256" and asked["launch"] == "launch-1"
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({**back, 'code': code})}"

    def token(self, asked: Asked) -> tuple[int, Json, dict[str, str]]:
        begun = self.codes.pop(asked.form.get("code", ""), None)
        if not begun or not self.is_ours(asked, begun):
            return 400, {"error": "invalid_grant"}, {}
        self.tokens.append(secrets.token_urlsafe(32))
        now = int(time.time())
        who = {"iss": self.origin, "aud": self.client_id, "sub": "u", "exp": now + 300, "iat": now}
        who |= {"fhirUser": f"{self.base}/{self.user}"}
        claims = {name: value for name, value in (who | self.id_token).items() if value is not None}
        given = {"access_token": self.tokens[-1], "token_type": "Bearer", "expires_in": 600, "scope": self.scope}
        given |= {"patient": self.patient, "appContext": self.app_context}
        given |= {"id_token": jwt.encode(claims, self.signs_with, "RS256", {"kid": "ehr"})}
        return 200, given | self.granted, {}

    def is_ours(self, asked: Asked, begun: Mapping[str, str]) -> bool:
        form = asked.form
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        same = (challenge, form["redirect_uri"]) == (begun["code_challenge"], begun["redirect_uri"])
        return same and form["grant_type"] == "authorization_code" and self.is_client(asked)

    def is_client(self, asked: Asked) -> bool:
        if self.secret:
            told = base64.b64encode(f"{self.client_id}:{self.secret}".encode()).decode()
            return asked.headers.get("authorization") == f"Basic {told}"
        if self.public_key:
            assert asked.form["client_assertion_type"] == ASSERTION
            claims = jwt.decode(
                asked.form["client_assertion"],
                self.public_key,
                ["ES384", "RS384"],
                audience=f"{self.origin}/token",
                issuer=self.client_id,
                options={"require": ["exp", "jti", "sub"]},
            )
            return bool(claims["sub"] == self.client_id and claims["exp"] - time.time() <= 300)
        return asked.form.get("client_id") == self.client_id

    def fhir(self, asked: Asked, path: str) -> tuple[int, Json | None, dict[str, str]]:
        if asked.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return 401, None, {}
        kind = path.partition("/")[0]
        if status := self.statuses.get((asked.method, kind)):
            return status, {"resourceType": "OperationOutcome"}, {}
        if not self.may(kind, {"GET": "r", "POST": "c", "PUT": "u"}[asked.method]):
            return 403, {"resourceType": "OperationOutcome"}, {}
        if asked.method == "GET":
            found = self.resources.get(path)
            return (200, found, {}) if found else (404, None, {})
        resource = json.loads(asked.body)
        if resource["resourceType"] != kind or validate_resource(resource, allowed=frozenset({kind})):
            return 422, {"resourceType": "OperationOutcome"}, {}
        if asked.method == "PUT":
            held = f'W/"{self.resources[path]["meta"]["versionId"]}"'
            return (200, self.put(resource), {}) if asked.headers.get("if-match") == held else (412, None, {})
        kept = self.put({**resource, "id": f"new-{len(self.resources)}"})
        return 201, None, {"Location": f"{self.base}/{kind}/{kept['id']}/_history/1"}

    def may(self, kind: str, letter: str) -> bool:
        """Whether the scopes granted allow it, in the letters of SMART 2 or the words of SMART 1."""
        for scope in str(self.granted.get("scope", self.scope)).split():
            what, _, allowed = scope.rpartition("/")[2].partition(".")
            if what in (kind, "*") and letter in {"read": "rs", "write": "cud", "*": "cruds"}.get(allowed, allowed):
                return True
        return False


def jwk(key: Any) -> Json:
    public: Json = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return public
