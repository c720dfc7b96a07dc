"""SMART App Launch 2.2, EHR launch: the form as an app that the EHR opens, under the rights of its user.

    SmartApp ── find_endpoints ── begin ──► the EHR asks its user ──► redeem ──► Grant: whose record, which form

Authorization code with PKCE (S256), a public or a confidential client. Nothing is sent but to the registered FHIR
server and to the authorization server that the operator listed with it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from service.deferred import Deferred
from service.fetching import Asking, Fetched, Fetcher, FetchFailed
from service.servers import ServerAddress, WrongAddress, server_address

if TYPE_CHECKING:
    from authlib import oauth2
    from authlib.common import security
    from authlib.oauth2 import client as oauth2_client
    from authlib.oauth2 import rfc7523
    from joserfc import errors as jose
    from joserfc import jwk, jwt
else:
    oauth2, security = Deferred("authlib.oauth2"), Deferred("authlib.common.security")
    oauth2_client, rfc7523 = Deferred("authlib.oauth2.client"), Deferred("authlib.oauth2.rfc7523")
    jose, jwk, jwt = Deferred("joserfc.errors"), Deferred("joserfc.jwk"), Deferred("joserfc.jwt")

Json = dict[str, Any]
KNOWN = frozenset({"client_id", "client_secret_file", "private_key_file", "authorization_server", "embedded_in"})
SECONDS = 4.0  # for all that one step needs: a user waits
LIMIT = 262_144  # bytes of a configuration, a key set or a token
ASSERTION_LIFE = 300  # SMART App Launch 2.2 "Asymmetric Authentication": five minutes at most
LEEWAY = 5
ALGORITHMS = ("RS256", "RS384", "ES256", "ES384")  # of ID tokens; none and HMAC never
# In the order of SMART: create, read, update, delete, search. What is not granted is not done, and shown instead.
SCOPES = ("Condition.cru", "DiagnosticReport.r", "QuestionnaireResponse.c")
SCOPES_V1 = ("Condition.read", "Condition.write", "DiagnosticReport.read", "QuestionnaireResponse.write")
WHO = ("launch", "openid", "fhirUser")
_SCOPE = re.compile(r"(?:user|patient)/(?P<kind>\*|[A-Z][A-Za-z]+)\.(?P<may>read|write|\*|c?r?u?d?s?)(?:\?\S*)?")
_LETTERS = {"read": "rs", "write": "cud", "*": "cruds"}
_TOKEN = re.compile(r"[!-~]{1,8192}", re.ASCII)  # what a header can carry
_USER = re.compile(r"(?:(?P<base>.+)/)?(?P<user>[A-Za-z]+/[A-Za-z0-9.-]{1,64})")
_ORIGIN = re.compile(r"https://[a-z0-9.-]+(:[0-9]{1,5})?|http://(?:localhost|127\.0\.0\.1)(:[0-9]{1,5})?", re.ASCII)


class WrongApp(ValueError):
    """What is wrong in the registration of a SMART app, and what to give."""


class NotLaunched(Exception):
    """Why the form is not opened, in one sentence for the user; it names nobody. `status` is that of the page."""

    def __init__(self, sentence: str, status: int = 403) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status


def _unreachable() -> NotLaunched:
    return NotLaunched("The EHR did not answer as it should; open the form from the card again after a while.", 502)


# --- the registration ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SmartApp:
    """This service as an EHR has registered it; with a secret or a key it is a confidential client."""

    client_id: str
    secret: str = field(default="", repr=False)
    key: jwk.ECKey | jwk.RSAKey | None = field(default=None, repr=False)
    authorization_server: ServerAddress | None = None
    embedded_in: tuple[str, ...] = ()

    def trusts(self, server: ServerAddress, url: object) -> bool:
        """Is that an address of the FHIR server's origin, or of the authorization server listed with it?"""
        origin = ServerAddress(server.scheme, server.host, server.port, "")
        return isinstance(url, str) and any(one.holds(url) for one in (origin, self.authorization_server) if one)


def read_app(entry: object, folder: Path) -> SmartApp:
    """The member `smart` of a trusted client; files are named from the folder of the list. WrongApp where wrong."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("client_id"), str) or not entry["client_id"]:
        raise WrongApp("smart is an object with the client_id under which the EHR knows this service")
    if unknown := sorted(set(entry) - KNOWN):
        raise WrongApp(f"smart has {unknown[0]!r}, which is not known; give {', '.join(sorted(KNOWN))}")
    if "client_secret_file" in entry and "private_key_file" in entry:
        raise WrongApp("smart has a client_secret_file and a private_key_file; give the one that the EHR registered")
    frames = entry.get("embedded_in", [])
    if not isinstance(frames, list) or not all(isinstance(one, str) and _ORIGIN.fullmatch(one) for one in frames):
        raise WrongApp("smart.embedded_in is a list of origins such as https://ehr.example.org")
    try:
        written = entry.get("authorization_server")
        server = server_address(written) if written is not None else None
    except (WrongAddress, TypeError) as wrong:
        raise WrongApp(f"smart.authorization_server: {wrong}") from None
    secret = _file(entry, "client_secret_file", folder).strip()
    return SmartApp(entry["client_id"], secret, _key(entry, folder), server, tuple(frames))


def _file(entry: Mapping[str, Any], name: str, folder: Path) -> str:
    if name not in entry:
        return ""
    try:
        content: str = (folder / entry[name]).read_text("utf-8")
    except (OSError, ValueError, TypeError):
        content = ""
    if not content.strip():
        raise WrongApp(f"smart.{name} names no file with something in it; give its path")
    return content


def _key(entry: Mapping[str, Any], folder: Path) -> jwk.ECKey | jwk.RSAKey | None:
    written = _file(entry, "private_key_file", folder)
    for kind in (jwk.ECKey, jwk.RSAKey) if written else ():
        try:
            key = kind.import_key(written)
        except (jose.JoseError, ValueError, TypeError):
            continue
        if key.is_private and _algorithm(key):
            key.ensure_kid()
            return key
    if written:
        raise WrongApp("smart.private_key_file holds no private key in PEM; give one of EC P-384 or RSA, 2048 bits")
    return None


def _algorithm(key: jwk.ECKey | jwk.RSAKey) -> str:
    """The algorithm of SMART that a key is for; empty where there is none."""
    if isinstance(key, jwk.ECKey):
        return "ES384" if key.curve_name == "P-384" else ""
    return "RS384" if key.raw_value.key_size >= 2048 else ""


def public_keys(keys: list[jwk.ECKey | jwk.RSAKey]) -> Json:
    """The JWK set that an EHR verifies our assertions with."""
    listed = {str(key.kid): {**key.as_dict(private=False), "use": "sig", "alg": _algorithm(key)} for key in keys}
    return {"keys": list(listed.values())}


# --- the launch ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Endpoints:
    """Where the EHR gives leave, tokens and keys, and the name under which it signs."""

    issuer: str
    authorization: str
    token: str
    keys: str
    scopes: tuple[str, ...]


@dataclass(frozen=True)
class Begun:
    """A launch that the EHR is asking its user about. It is kept sealed in the browser."""

    client: str
    iss: str
    endpoints: Endpoints
    state: str
    verifier: str = field(repr=False)

    def written(self) -> str:
        return json.dumps(asdict(self))


def read_begun(written: str) -> Begun:
    kept = json.loads(written)
    endpoints = kept.pop("endpoints")
    scopes = tuple(endpoints.pop("scopes"))
    return Begun(endpoints=Endpoints(**endpoints, scopes=scopes), **kept)


@dataclass(frozen=True)
class Grant:
    """What the EHR has granted: `may` lists pairs such as ("Condition", "u"); `form` is the appContext of the card."""

    token: str = field(repr=False)
    seconds: int
    may: frozenset[tuple[str, str]]
    patient: str
    user: str
    form: str


@dataclass
class Smart:
    """The steps of a launch, each within SECONDS."""

    fetcher: Fetcher

    def find_endpoints(self, app: SmartApp, server: ServerAddress) -> Endpoints:
        """What the FHIR server says of its authorization; NotLaunched where that will not do."""
        told = self._document(f"{server}/.well-known/smart-configuration", time.monotonic() + SECONDS)
        if "S256" not in _listed(told, "code_challenge_methods_supported"):
            raise NotLaunched("The EHR does not offer PKCE with S256, without which no form is opened.", 502)
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        if not all(app.trusts(server, told.get(name)) for name in names) or not isinstance(told.get("issuer"), str):
            raise NotLaunched(
                "The EHR names an authorization server that is not listed for it; tell its operator.", 502
            )
        capabilities = _listed(told, "capabilities")
        kinds = SCOPES_V1 if "permission-v2" not in capabilities and "permission-v1" in capabilities else SCOPES
        scopes = (*WHO, *(f"user/{kind}" for kind in kinds))
        authorization, token, keys = (str(told[name]) for name in names)
        return Endpoints(told["issuer"], authorization, token, keys, scopes)

    def begin(
        self, client: str, app: SmartApp, iss: str, endpoints: Endpoints, launch: str, callback: str
    ) -> tuple[str, Begun]:
        """Where to send the browser, and what is to be remembered of it; `iss` as the EHR writes it."""
        verifier = security.generate_token(64)
        oauth = _client(app, endpoints, callback, None)
        asked = {"code_verifier": verifier, "launch": launch, "aud": iss}
        url, state = oauth.create_authorization_url(endpoints.authorization, **asked)
        return str(url), Begun(client, iss, endpoints, str(state), verifier)

    def redeem(self, app: SmartApp, begun: Begun, code: str, callback: str) -> Grant:
        """What the code is worth; NotLaunched where it is worth nothing, or where the answer says too little."""
        deadline = time.monotonic() + SECONDS
        oauth = _client(app, begun.endpoints, callback, _Posting(self.fetcher, deadline))
        try:
            asked = {"grant_type": "authorization_code", "code": code, "code_verifier": begun.verifier}
            token = oauth.fetch_token(begun.endpoints.token, **asked)
        except FetchFailed as failed:
            raise _unreachable() if failed.is_outage else _refused() from None
        except (oauth2.OAuth2Error, ValueError, TypeError, KeyError, RecursionError):
            raise _refused() from None
        user = self._user(app, begun, token.get("id_token"), deadline)
        return _grant(token, user, begun.endpoints.scopes)

    def _user(self, app: SmartApp, begun: Begun, id_token: object, deadline: float) -> str:
        """The user of a verified ID token as type and id (OpenID Connect Core 3.1.3.7, SMART `fhirUser`)."""
        if not isinstance(id_token, str):
            raise NotLaunched("The EHR did not say who its user is (scopes openid, fhirUser), so no form is opened.")
        claims = jwt.JWTClaimsRegistry(
            leeway=LEEWAY,
            iss={"essential": True, "value": begun.endpoints.issuer},
            aud={"essential": True, "value": app.client_id},
            exp={"essential": True},
        )
        try:
            keys = jwk.KeySet.import_key_set(self._document(begun.endpoints.keys, deadline))  # type: ignore[arg-type]
            told = jwt.decode(id_token, keys, list(ALGORITHMS)).claims
            claims.validate(told)
        except (jose.JoseError, ValueError, TypeError, KeyError, AttributeError):
            raise NotLaunched("The EHR's word on who its user is cannot be verified, so no form is opened.") from None
        named = _USER.fullmatch(str(told.get("fhirUser") or told.get("profile") or ""))
        if not named or (named["base"] and named["base"] != begun.iss and not _same(named["base"], begun.iss)):
            raise NotLaunched("The EHR did not say who its user is (scopes openid, fhirUser), so no form is opened.")
        return named["user"]

    def _document(self, url: str, deadline: float) -> Json:
        """A JSON object of the EHR."""
        try:
            asked = Asking(url, {"Accept": "application/json"})
            content = json.loads(self.fetcher.send(asked, deadline, LIMIT).result(deadline).body)
        except (FetchFailed, ValueError, RecursionError):
            raise _unreachable() from None
        if not isinstance(content, dict):
            raise _unreachable()
        return content


def _listed(told: Json, name: str) -> list[Any]:
    value = told.get(name)
    return value if isinstance(value, list) else []


def _same(written: str, server: str) -> bool:
    try:
        return server_address(written) == server_address(server)
    except WrongAddress:
        return False


def _refused() -> NotLaunched:
    return NotLaunched("The EHR did not take its own code for a token; open the form from the card again.")


def refusal(error: str) -> NotLaunched:
    """What the EHR answered in place of a code (RFC 6749, 4.1.2.1)."""
    if error == "access_denied":
        return NotLaunched("The EHR or its user refused to open the record to this form; nothing was read or changed.")
    if error == "invalid_scope":
        return NotLaunched("The EHR does not grant this form what it needs; ask its administrator for the scopes.")
    if error in ("server_error", "temporarily_unavailable"):
        return _unreachable()
    return NotLaunched("The EHR did not authorize this form; open it from the card again, or tell its administrator.")


def _grant(token: Mapping[str, Any], user: str, asked: tuple[str, ...]) -> Grant:
    access, patient, form = (token.get(name) for name in ("access_token", "patient", "appContext"))
    if str(token.get("token_type", "")).lower() != "bearer" or not _TOKEN.fullmatch(str(access or "")):
        raise _refused()
    if not isinstance(patient, str) or not patient:
        raise NotLaunched("The EHR did not say whose record is open (scope launch), so no form is opened.")
    if not isinstance(form, str) or not form:
        raise NotLaunched("The launch names no form; open it by the link of a card.", 404)
    seconds = token.get("expires_in")
    scopes = str(token.get("scope") or " ".join(asked))
    return Grant(str(access), seconds if isinstance(seconds, int) else 300, granted(scopes), patient, user, form)


def granted(scopes: str) -> frozenset[tuple[str, str]]:
    """What scopes allow, as pairs of type (or *) and letter of SMART's `cruds`; what is no scope of FHIR is none."""
    found = (_SCOPE.fullmatch(scope) for scope in scopes.split())
    return frozenset((one["kind"], letter) for one in found if one for letter in _LETTERS.get(one["may"], one["may"]))


# --- OAuth 2 within our bounds ------------------------------------------------------------------------------------


def _client(app: SmartApp, endpoints: Endpoints, callback: str, posting: _Posting | None) -> oauth2_client.OAuth2Client:
    method = "private_key_jwt" if app.key else "client_secret_basic" if app.secret else "none"
    client = oauth2_client.OAuth2Client(
        posting,
        app.client_id,
        app.key or app.secret or None,
        token_endpoint_auth_method=method,
        scope=" ".join(endpoints.scopes),
        redirect_uri=callback,
        code_challenge_method="S256",
    )
    if app.key:
        claims = {"exp": int(time.time()) + ASSERTION_LIFE}
        signing = rfc7523.PrivateKeyJWT(endpoints.token, claims, {"kid": app.key.kid}, _algorithm(app.key))
        client.register_client_auth_method(signing)
    return client


@dataclass
class _Posting:
    """What Authlib posts with: one call through the guarded fetcher, until the deadline."""

    fetcher: Fetcher
    deadline: float

    def post(self, url: str, data: Mapping[str, str], headers: Mapping[str, str], auth: Any) -> _Answered:
        url, headers, body = auth.prepare("POST", url, dict(headers), urlencode(data))
        asking = Asking(url, headers, "POST", body.encode())
        return _Answered(self.fetcher.send(asking, self.deadline, LIMIT).result(self.deadline))


@dataclass
class _Answered:
    """A token as Authlib reads it: what failed has been raised before."""

    fetched: Fetched
    status_code: int = 200

    def json(self) -> Any:
        return json.loads(self.fetched.body)

    def raise_for_status(self) -> None: ...
