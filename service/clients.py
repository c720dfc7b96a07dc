"""Who may call: the registered clients, their keys, and the token that each call carries.

Written to CDS Hooks 2.0.1 "Trusting CDS Clients" and SMART App Launch 2.2 "Asymmetric Authentication".
"""

from __future__ import annotations

import json
import math
import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, Protocol

from service.deferred import Deferred
from service.fetching import Fetcher, FetchFailed
from service.servers import ServerAddress, WrongAddress, server_address
from service.smart import SmartApp, WrongApp, read_app

if TYPE_CHECKING:
    from joserfc import errors as jose
    from joserfc import jwk, jws, jwt

    Key = jwk.RSAKey | jwk.ECKey
else:
    jose, jwk = Deferred("joserfc.errors"), Deferred("joserfc.jwk")
    jws, jwt = Deferred("joserfc.jws"), Deferred("joserfc.jwt")

ALGORITHMS = {"RSA": "RS384", "EC": "ES384"}  # CDS Hooks: these two are recommended, `none` and HMAC forbidden
_PARTS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y")}
LEEWAY = 5  # seconds that clocks may differ
MAX_TOKEN = 8192
BEARER = re.compile(r"Bearer +([A-Za-z0-9._-]+)", re.IGNORECASE)
MAX_KEYS_BYTES = 262_144
MIN_RSA_BITS = 2048
KNOWN = frozenset({"iss", "jwks_uri", "jwks", "tenant", "fhir_servers", "dialect", "smart"})
Dialect = Literal["hl7", "epic"]


class ClientError(ValueError):
    """What is wrong in the file of trusted clients, and what to do."""


class NotAdmitted(Exception):
    """The caller is not let in. Why is told to nobody: it would help only who tries keys (CDS Hooks best practices)."""


# --- the registry -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrustedClient:
    """A CDS client as the operator registered it."""

    iss: str
    jwks_uri: str = ""
    jwks: Mapping[str, Any] = field(default_factory=dict, repr=False)
    tenant: str = ""
    fhir_servers: tuple[ServerAddress, ...] = ()
    dialect: Dialect | None = None
    smart: SmartApp | None = None


def read_clients(path: Path) -> tuple[TrustedClient, ...]:
    """The clients of a JSON file, a list of objects; ClientError names the entry and what to give."""
    try:
        listed = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        raise ClientError("the file is not readable JSON; give a list of clients") from None
    if not isinstance(listed, list) or not listed or not all(isinstance(one, dict) for one in listed):
        raise ClientError("the file is not a list of clients; give [{iss, jwks_uri or jwks, ...}]")
    clients = tuple(_client(entry, f"client {index}", path.parent) for index, entry in enumerate(listed, 1))
    if len({client.iss for client in clients}) < len(clients):
        raise ClientError("an iss occurs twice; register each client once")
    launching = [server for client in clients if client.smart for server in client.fhir_servers]
    if len(set(launching)) < len(launching):
        raise ClientError("a FHIR server is listed for two clients with smart; a launch from it could be either's")
    return clients


def _client(entry: Mapping[str, Any], at: str, folder: Path) -> TrustedClient:
    if unknown := sorted(set(entry) - KNOWN):
        raise ClientError(f"{at} has {unknown[0]!r}, which is not known; give {', '.join(sorted(KNOWN))}")
    for name in ("iss", "jwks_uri", "tenant"):
        if not isinstance(entry.get(name, ""), str):
            raise ClientError(f"{at}: {name} is not a string")
    if not entry.get("iss"):
        raise ClientError(f"{at} has no iss; give the issuer that its tokens name")
    if ("jwks_uri" in entry) == ("jwks" in entry):
        raise ClientError(f"{at} needs its public keys once: either jwks_uri or jwks")
    if "jwks" in entry and not keys_of(entry["jwks"]):
        raise ClientError(f"{at}: jwks holds no public key with a kid for RS384 (2048 bits or more) or ES384")
    if entry.get("dialect", "hl7") not in ("hl7", "epic"):
        raise ClientError(f"{at}: dialect is hl7 or epic")
    try:
        if "jwks_uri" in entry:
            server_address(entry["jwks_uri"])
        servers = tuple(server_address(one) for one in entry.get("fhir_servers", ()))
    except (WrongAddress, TypeError) as wrong:
        raise ClientError(f"{at}: jwks_uri or fhir_servers: {wrong}") from None
    return TrustedClient(
        entry["iss"],
        entry.get("jwks_uri", ""),
        entry.get("jwks", {}),
        entry.get("tenant", ""),
        servers,
        entry.get("dialect"),
        _app(entry, at, folder),
    )


def _app(entry: Mapping[str, Any], at: str, folder: Path) -> SmartApp | None:
    if "smart" not in entry:
        return None
    if not entry.get("fhir_servers"):
        raise ClientError(f"{at} has smart and no fhir_servers; list the server that launches")
    try:
        return read_app(entry["smart"], folder)
    except WrongApp as wrong:
        raise ClientError(f"{at}: {wrong}") from None


# --- keys ---------------------------------------------------------------------------------------------------------


def keys_of(jwks: object) -> dict[str, Key]:
    """The keys of a JWK set that may verify, by kid; what is private, symmetric, weak or named twice is left out."""
    listed = jwks.get("keys") if isinstance(jwks, Mapping) else None
    if not isinstance(listed, list):
        return {}
    kids = [one.get("kid") for one in listed if isinstance(one, dict)]
    usable = (_usable(one) for one in listed if isinstance(one, dict) and kids.count(one.get("kid")) == 1)
    return {str(key.kid): key for key in usable if key}


def _usable(written: Mapping[str, Any]) -> Key | None:
    """The key with the one algorithm that it is for: what a token says of itself never chooses it."""
    kid, kty = written.get("kid"), written.get("kty")
    algorithm = ALGORITHMS.get(kty) if isinstance(kty, str) else None
    if not isinstance(kid, str) or not kid or not algorithm or written.get("alg", algorithm) != algorithm:
        return None
    if "d" in written or written.get("use", "sig") != "sig" or (kty == "EC" and written.get("crv") != "P-384"):
        return None
    try:
        # The rest is of no account, and the library would refuse an empty list of certificates.
        parts: dict[str, Any] = {"kty": kty, "kid": kid}
        parts |= {name: str(written[name]).rstrip("=") for name in _PARTS[str(kty)]}
        return jwk.ECKey.import_key(parts) if kty == "EC" else _rsa_key(parts)
    except (jose.JoseError, LookupError, ValueError, TypeError, AttributeError):
        return None


def _rsa_key(parts: dict[str, Any]) -> jwk.RSAKey | None:
    with warnings.catch_warnings(action="ignore"):  # a weak key is left out, not warned of
        key = jwk.RSAKey.import_key(parts)
    return key if key.public_key.key_size >= MIN_RSA_BITS else None


class Keys(Protocol):
    """The public keys of one client."""

    def find(self, kid: str) -> Key | None: ...


class RegisteredKeys:
    """Keys that stand in the registry."""

    def __init__(self, jwks: Mapping[str, Any]) -> None:
        self._keys = keys_of(jwks)

    def find(self, kid: str) -> Key | None:
        return self._keys.get(kid)


class FetchedKeys:
    """Keys behind a registered address, fetched again when they age and when a token names one that is not known."""

    LIFE = 300.0  # seconds after which the set is fetched again; a shorter max-age counts
    PAUSE = 1.0  # between two attempts, however many unknown keys are named
    PAUSE_IN_OUTAGE = 10.0  # between two attempts for a key that is known
    KEPT = 86_400.0  # how long the last good set serves while the address is down
    WAIT = 1.0

    def __init__(self, address: str, fetcher: Fetcher, clock: Callable[[], float] = time.monotonic) -> None:
        self._address = address
        self._fetcher = fetcher
        self._clock = clock
        self._lock = Lock()
        self._keys: dict[str, Key] = {}
        self._tried = self._good = self._stale = -math.inf

    def find(self, kid: str) -> Key | None:
        if self._due(kid) and self._lock.acquire(blocking=kid not in self._keys):
            try:
                if self._due(kid):  # else another thread has just been there
                    self._refresh()
            finally:
                self._lock.release()
        return self._keys.get(kid) if self._clock() - self._good < self.KEPT else None

    def _due(self, kid: str) -> bool:
        since = self._clock() - self._tried
        if kid in self._keys:
            return self._clock() >= self._stale and since >= self.PAUSE_IN_OUTAGE
        return since >= self.PAUSE

    def _refresh(self) -> None:
        """A set that holds no usable key is an outage too: the last good one stays."""
        deadline = time.monotonic() + self.WAIT
        headers = {"Accept": "application/json"}
        try:
            fetched = self._fetcher.start(self._address, deadline, headers, MAX_KEYS_BYTES).result(deadline)
            keys = keys_of(json.loads(fetched.body))
        except (FetchFailed, ValueError, RecursionError):
            keys = {}
        self._tried = self._clock()
        if keys:
            self._keys, self._good = keys, self._tried
            self._stale = self._tried + min(self.LIFE, max_age(fetched.cache_control, self.LIFE))


def max_age(cache_control: str, default: float) -> float:
    """How many seconds an answer may be kept (RFC 9111, 5.2.2)."""
    if re.search(r"\bno-(?:store|cache)\b", cache_control, re.IGNORECASE):
        return 0
    found = re.search(r"\bmax-age=\"?(\d{1,9})", cache_control, re.IGNORECASE)
    return float(found[1]) if found else default


# --- tokens seen --------------------------------------------------------------------------------------------------


class SeenTokens(Protocol):
    """Remembers the tokens that were used; shared by all that must not accept one twice."""

    def first_use(self, iss: str, jti: str, expires: float) -> bool:
        """True for one caller only; the pair may be forgotten after `expires` (seconds since 1970)."""


# --- admission ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Demands:
    """The claims that a kind of token must have, and how many seconds it may live."""

    required: tuple[str, ...]
    longest: float


CALL = Demands(("iss", "aud", "exp", "iat", "jti"), 3600)  # a token is for one call
PROOF = Demands(("iss", "sub", "aud", "exp", "jti"), 300)  # SMART's client_assertion


def shown_token(authorization: str) -> str:
    """The bearer token of an Authorization header; empty where it shows none."""
    shown = BEARER.fullmatch(authorization)
    return shown[1] if shown else ""


class Callers:
    """Lets in who shows a token of a registered client for this very address, once."""

    def __init__(self, clients: Sequence[TrustedClient], fetcher: Fetcher, seen: SeenTokens) -> None:
        self._clients = {client.iss: client for client in clients}
        self._keys: dict[str, Keys] = {
            client.iss: FetchedKeys(client.jwks_uri, fetcher) if client.jwks_uri else RegisteredKeys(client.jwks)
            for client in clients
        }
        self._seen = seen

    def registered(self, iss: str) -> TrustedClient | None:
        """The client of that name, where there is one."""
        return self._clients.get(iss)

    def admit(self, authorization: str, audiences: Sequence[str]) -> TrustedClient:
        """The client that calls, from the Authorization header and the names of the address called; or NotAdmitted."""
        return self._first_shown(shown_token(authorization), audiences, CALL)

    def proven(self, assertion: str, audience: str) -> TrustedClient:
        """The client that proves who it is to get a token that lasts (SMART's client_assertion); or NotAdmitted."""
        return self._first_shown(assertion, [audience], PROOF)

    def _first_shown(self, token: str, audiences: Sequence[str], demands: Demands) -> TrustedClient:
        if len(token) > MAX_TOKEN:
            raise NotAdmitted
        try:
            client, claims = self._verified(token, audiences, demands.required)
            if not _as_registered(claims, client, demands):
                raise NotAdmitted
        except (jose.JoseError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            raise NotAdmitted from None
        if not self._seen.first_use(client.iss, claims["jti"], claims["exp"] + LEEWAY):
            raise NotAdmitted
        return client

    def _verified(
        self, token: str, audiences: Sequence[str], required: Sequence[str]
    ) -> tuple[TrustedClient, dict[str, Any]]:
        """Signature and standard claims. Keys in the header (jwk, x5c, x5u) are never looked at."""
        signed = jws.extract_compact(token.encode(), registry=_form())
        header, claims = signed.headers(), json.loads(signed.payload)
        client = self._clients.get(str(claims.get("iss")))
        if client is None or header.get("typ") != "JWT" or header.get("jku", client.jwks_uri) != client.jwks_uri:
            raise NotAdmitted
        if "crit" in header:  # we know no extension that a token could insist on
            raise NotAdmitted
        kid = header.get("kid")
        key = self._keys[client.iss].find(kid) if isinstance(kid, str) else None
        if key is None or header.get("alg") != ALGORITHMS[key.key_type]:
            raise NotAdmitted
        if not jws.validate_compact(signed, key, registry=_form()):
            raise NotAdmitted
        needed: Any = {name: {"essential": True} for name in required}
        needed["aud"]["values"] = list(audiences)
        jwt.JWTClaimsRegistry(leeway=LEEWAY, **needed).validate(claims)
        return client, claims


@cache
def _form() -> jws.JWSRegistry:
    """What a token may look like; its header may hold what we do not look at, such as a chain of certificates."""
    form = jws.JWSRegistry(algorithms=list(ALGORITHMS.values()), strict_check_header=False)
    form.max_header_length = form.max_signature_length = MAX_TOKEN
    return form


def _as_registered(claims: Mapping[str, Any], client: TrustedClient, demands: Demands) -> bool:
    """What the library leaves open: how long a token lives, whom it is about, and the tenant."""
    left = claims["exp"] - time.time()  # the library takes whole seconds, and we remember a token no longer than this
    if not claims["jti"] or not -LEEWAY < left <= demands.longest + LEEWAY:
        return False
    if "sub" in demands.required and claims["sub"] != client.iss:
        return False
    return not client.tenant or claims.get("tenant") == client.tenant
