"""Who may call: each thing that a token can get wrong is a bare 401, and keys outlive their address."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask.testing import FlaskClient
from joserfc.errors import DecodeError

from service.app import create_app
from service.assist import Assist
from service.clients import LEEWAY, Callers, FetchedKeys, TrustedClient, keys_of, max_age
from service.fetching import Fetcher
from service.servers import server_address
from service.settings import SettingError, Settings, read_settings

Json = dict[str, Any]
BASE = "https://coding.example.org"
SERVICE = "/cds-services/coding-assist"
ISS = "https://ehr.example.org"
CALL: Json = {
    "hook": "patient-view",
    "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
    "context": {"userId": "Practitioner/1", "patientId": "p1"},
    "prefetch": {"conditions": None},
}
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP384R1())
STRANGER = ec.generate_private_key(ec.SECP384R1())
SECOND = ec.generate_private_key(ec.SECP384R1())


def jwk(key: Any, kid: str, **members: Any) -> Json:
    """The public half of a key as a client publishes it."""
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    public: Json = algorithm.to_jwk(key.public_key(), as_dict=True)
    return {**public, "kid": kid, **members}


CLIENTS: list[Json] = [
    {"iss": ISS, "jwks": {"keys": [jwk(EC_KEY, "ec"), jwk(RSA_KEY, "rsa")]}},
    {"iss": "https://other.example.org", "jwks": {"keys": [jwk(STRANGER, "ec")]}, "tenant": "north"},
]


def settings_in(folder: Path) -> Callable[..., Settings]:
    """Settings as an operator gives them who trusts these clients, with the store in the folder."""

    def made(clients: object = CLIENTS, **more: str) -> Settings:
        file = folder / "clients.json"
        file.write_text(json.dumps(clients))
        given = {
            "AUTH": "jwt",
            "TRUSTED_CLIENTS": str(file),
            "BASE_URL": BASE,
            "DATABASE_URL": f"sqlite:///{folder}/store.db",
            **more,
        }
        return read_settings({f"CODING_ASSIST_{name}": value for name, value in given.items()})

    return made


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    return settings_in(tmp_path)


@pytest.fixture
def guarded(assist: Assist, settings: Callable[..., Settings]) -> FlaskClient:
    return create_app(settings(), assist).test_client()


_counter = iter(range(10_000_000))


def claims(path: str = SERVICE, **changed: Any) -> Json:
    """Good claims for a path; a claim given as ... is left out."""
    now = int(time.time())
    good = {"iss": ISS, "aud": BASE + path, "exp": now + 300, "iat": now, "jti": f"token-{next(_counter)}", **changed}
    return {name: value for name, value in good.items() if value is not ...}


def signed(payload: Json, key: Any = EC_KEY, alg: str = "ES384", **header: Any) -> str:
    written = {"kid": "ec", "typ": "JWT", **header}
    return jwt.encode(payload, key, alg, {name: value for name, value in written.items() if value is not ...})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def ask(client: FlaskClient, token: str, path: str = SERVICE) -> int:
    return client.post(path, json=CALL, headers=bearer(token)).status_code


def encoded(part: object) -> bytes:
    return base64.urlsafe_b64encode(part if isinstance(part, bytes) else json.dumps(part).encode()).rstrip(b"=")


def with_hmac(secret: bytes, alg: str) -> str:
    """A token signed with what everybody may know, the public key, as if it were a shared secret."""
    head = encoded({"alg": alg, "kid": "rsa", "typ": "JWT"}) + b"." + encoded(claims())
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[alg]
    return (head + b"." + encoded(hmac.new(secret, head, digest).digest())).decode()


# --- a good token -------------------------------------------------------------------------------------------------


@pytest.mark.proves("cds-hooks: ES384 and RS384")
def test_a_good_token_is_admitted_by_either_algorithm(guarded: FlaskClient) -> None:
    assert ask(guarded, signed(claims())) == 200
    assert ask(guarded, signed(claims(), RSA_KEY, "RS384", kid="rsa")) == 200


@pytest.mark.parametrize(
    "payload",
    [
        lambda now: {"aud": ["https://elsewhere.example.org", BASE + SERVICE]},
        lambda now: {"exp": int(now) + 3500},
        lambda now: {"iat": now + 2.5},
        lambda now: {"exp": now + 60.5},
        lambda now: {"tenant": "anything"},
    ],
    ids=["one of several audiences", "long", "clock ahead", "fraction", "tenant that nobody registered"],
)
def test_what_the_standard_leaves_to_the_client_is_admitted(
    guarded: FlaskClient, payload: Callable[[float], Json]
) -> None:
    assert ask(guarded, signed(claims(**payload(time.time())))) == 200


def test_a_registered_tenant_must_be_named(guarded: FlaskClient) -> None:
    other = {"iss": "https://other.example.org"}
    assert ask(guarded, signed(claims(**other, tenant="north"), STRANGER)) == 200
    assert ask(guarded, signed(claims(**other, tenant="south"), STRANGER)) == 401
    assert ask(guarded, signed(claims(**other), STRANGER)) == 401


# --- a wrong one --------------------------------------------------------------------------------------------------

NOW = int(time.time())
WRONG_CLAIMS: dict[str, Json] = {
    **{f"no {name}": {name: ...} for name in ("iss", "aud", "exp", "iat", "jti")},
    **{f"{name} null": {name: None} for name in ("iss", "aud", "exp", "iat", "jti")},
    **{f"{name} a list in a list": {name: [[1]]} for name in ("aud", "exp", "iat")},
    "unknown iss": {"iss": "https://evil.example.org"},
    "iss with a slash": {"iss": ISS + "/"},
    "another client's iss": {"iss": "https://other.example.org"},
    "aud of discovery": {"aud": BASE + "/cds-services"},
    "aud of feedback": {"aud": BASE + SERVICE + "/feedback"},
    "aud the base": {"aud": BASE},
    "aud with a slash": {"aud": BASE + SERVICE + "/"},
    "aud with a query": {"aud": BASE + SERVICE + "?a"},
    "aud as Host says": {"aud": "http://localhost" + SERVICE},
    "aud by http": {"aud": BASE.replace("https", "http") + SERVICE},
    "aud begins alike": {"aud": BASE + ".evil.example" + SERVICE},
    "aud empty": {"aud": []},
    "expired": {"exp": NOW - 60},
    "exp in a day": {"exp": NOW + 86_400},
    "exp a string": {"exp": str(NOW + 300)},
    "exp true": {"exp": True},
    "exp infinite": {"exp": float("inf")},
    "exp no number": {"exp": float("nan")},
    "iat ahead": {"iat": NOW + 7200},
    "iat true": {"iat": True},
    "iat infinite": {"iat": float("inf")},
    "iat a word": {"iat": "now"},
    "nbf ahead": {"nbf": NOW + 7200},
    "jti empty": {"jti": ""},
    "jti a number": {"jti": 7},
}


@pytest.mark.proves("cds-hooks: iss, aud, exp, iat, jti are required and checked")
@pytest.mark.parametrize("wrong", WRONG_CLAIMS.values(), ids=WRONG_CLAIMS)
def test_a_token_with_a_wrong_claim_is_refused(guarded: FlaskClient, wrong: Json) -> None:
    head = encoded({"alg": "ES384", "kid": "ec", "typ": "JWT"}) + b"." + encoded(claims(**wrong))
    signature = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA384).sign(head, EC_KEY)
    assert ask(guarded, (head + b"." + encoded(signature)).decode()) == 401


WRONG_HEADERS: dict[str, Json] = {
    "no kid": {"kid": ...},
    "unknown kid": {"kid": "nobody's"},
    "kid a path": {"kid": "../../../../dev/null"},
    "kid of the other family": {"kid": "rsa"},
    "no typ": {"typ": None},
    "typ at+jwt": {"typ": "at+jwt"},
    "jku that is not registered": {"jku": "https://evil.example.org/jwks.json"},
    "unknown crit": {"crit": ["exp"]},
}


@pytest.mark.proves("cds-hooks: kid and typ are required, jku only as registered")
@pytest.mark.parametrize("wrong", WRONG_HEADERS.values(), ids=WRONG_HEADERS)
def test_a_token_with_a_wrong_header_is_refused(guarded: FlaskClient, wrong: Json) -> None:
    assert ask(guarded, signed(claims(), **wrong)) == 401


@pytest.mark.proves("cds-hooks: no embedded keys")
@pytest.mark.parametrize("name", ["jwk", "x5c", "x5u", "jku"])
def test_a_key_that_the_token_brings_is_never_used(guarded: FlaskClient, name: str) -> None:
    brought = {"jwk": jwk(STRANGER, "ec"), "x5c": ["MIIB"], "x5u": ISS, "jku": ISS}[name]
    assert ask(guarded, signed(claims(), STRANGER, **{name: brought})) == 401


@pytest.mark.proves("cds-hooks: alg fixed by the registered key")
@pytest.mark.parametrize("alg", ["RS256", "RS512", "PS256", "PS384", "PS512"])
def test_another_algorithm_with_the_right_key_is_refused(guarded: FlaskClient, alg: str) -> None:
    assert ask(guarded, signed(claims(), RSA_KEY, alg, kid="rsa")) == 401


def test_another_algorithm_is_refused_whatever_the_library_says(
    guarded: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("joserfc.jws.validate_compact", lambda *_given, **_named: True)
    assert ask(guarded, signed(claims(), RSA_KEY, "RS384", kid="rsa")) == 200
    assert ask(guarded, signed(claims(), RSA_KEY, "RS256", kid="rsa")) == 401


def test_a_header_may_hold_a_chain_of_certificates(guarded: FlaskClient) -> None:
    assert ask(guarded, signed(claims(), x5c=["MIIB" * 400], **{"x5t#S256": "abc", "unknown": 1})) == 200


def test_an_issuer_that_is_no_string_is_nobody(assist: Assist, settings: Callable[..., Settings]) -> None:
    client = create_app(settings([{**CLIENTS[0], "iss": "7"}]), assist).test_client()
    head = encoded({"alg": "ES384", "kid": "ec", "typ": "JWT"}) + b"." + encoded(claims(iss=7))
    signature = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA384).sign(head, EC_KEY)
    assert ask(client, (head + b"." + encoded(signature)).decode()) == 401
    assert ask(client, signed(claims(iss="7"))) == 200


@pytest.mark.proves("cds-hooks: none SHALL NOT be used")
@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("signature", [b"", b"AA"], ids=["unsigned", "two letters"])
def test_an_unsigned_token_is_refused(guarded: FlaskClient, alg: str, signature: bytes) -> None:
    token = b".".join([encoded({"alg": alg, "kid": "ec", "typ": "JWT"}), encoded(claims()), signature])
    assert ask(guarded, token.decode()) == 401


PUBLIC = RSA_KEY.public_key()
SECRETS = {
    "PEM": PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "PEM without newline": PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).strip(),
    "PKCS1": PUBLIC.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
    "DER": PUBLIC.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    "JWK": json.dumps(jwk(RSA_KEY, "rsa")).encode(),
    "n": jwk(RSA_KEY, "rsa")["n"].encode(),
    "empty": b"",
}


@pytest.mark.proves("cds-hooks: symmetric algorithms SHALL NOT be used")
@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_the_public_key_is_no_shared_secret(guarded: FlaskClient, secret: bytes, alg: str) -> None:
    assert ask(guarded, with_hmac(secret, alg)) == 401


DEEP = encoded(b"[" * 5000).decode()
HEAD = encoded({"alg": "ES384", "kid": "ec", "typ": "JWT"}).decode()
SHAPES = {
    "nothing": "",
    "Basic": "Basic dXNlcjpwYXNz",
    "no token": "Bearer ",
    "two parts": "Bearer a.b",
    "four parts": "Bearer a.b.c.d",
    "five parts": "Bearer a.b.c.d.e",
    "no base64": "Bearer $.$.$",
    "no JSON": "Bearer YQ.YQ.YQ",
    "a deep header": f"Bearer {DEEP}.e30.YQ",
    "deep claims": f"Bearer {HEAD}.{DEEP}.YQ",
    "claims a list": f"Bearer {HEAD}.W10.YQ",
    "huge": "Bearer " + "a" * 9000 + ".b.c",
}


@pytest.mark.parametrize("header", SHAPES.values(), ids=SHAPES)
def test_what_is_no_token_is_refused(guarded: FlaskClient, header: str) -> None:
    assert guarded.post(SERVICE, json=CALL, headers={"Authorization": header}).status_code == 401


@pytest.mark.parametrize("written", ["Basic {}", "{}", "Bearer {}.e", "Bearer {}, x", "Bearer\t{}"])
def test_a_good_token_in_a_wrong_header_is_refused(guarded: FlaskClient, written: str) -> None:
    header = written.format(signed(claims()))
    assert guarded.post(SERVICE, json=CALL, headers={"Authorization": header}).status_code == 401


def test_a_good_token_of_more_than_8_kb_is_refused(guarded: FlaskClient) -> None:
    assert ask(guarded, signed(claims(more="x" * 8192))) == 401


def test_a_changed_claim_breaks_the_signature(guarded: FlaskClient) -> None:
    head, _, signature = signed(claims()).split(".")
    assert ask(guarded, f"{head}.{encoded(claims()).decode()}.{signature}") == 401


@pytest.mark.proves("cds-hooks: jti is seen once")
def test_a_token_is_good_for_one_call_however_many_try_at_once(guarded: FlaskClient) -> None:
    token = signed(claims())
    with ThreadPoolExecutor(8) as threads:
        told = list(threads.map(lambda _: ask(guarded.application.test_client(), token), range(24)))
    assert sorted(told) == [200, *[401] * 23]


def test_a_token_that_one_worker_took_is_refused_by_the_next(assist: Assist, settings: Callable[..., Settings]) -> None:
    token, one = signed(claims()), settings()
    workers = [create_app(one, assist).test_client() for _ in range(2)]
    assert [ask(worker, token) for worker in workers] == [200, 401]


@pytest.mark.parametrize("error", [ValueError, TypeError, OverflowError, RecursionError, DecodeError])
def test_whatever_the_library_makes_of_a_token_is_a_refusal(
    guarded: FlaskClient, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fails(_token: str, **_options: Any) -> Json:
        raise error

    monkeypatch.setattr("joserfc.jws.extract_compact", fails)
    assert ask(guarded, signed(claims())) == 401


def test_a_token_is_remembered_as_long_as_it_would_be_accepted() -> None:
    class Seen:
        until = 0.0

        def first_use(self, _iss: str, _jti: str, expires: float) -> bool:
            self.until = expires
            return True

    good, seen = claims(), Seen()
    Callers([TrustedClient(ISS, jwks=CLIENTS[0]["jwks"])], Fetcher(1), seen).admit(
        f"Bearer {signed(good)}", [good["aud"]]
    )
    assert seen.until == good["exp"] + LEEWAY


def test_two_clients_may_choose_the_same_jti(guarded: FlaskClient) -> None:
    same = {"jti": "the same"}
    assert ask(guarded, signed(claims(**same))) == 200
    assert ask(guarded, signed(claims(iss="https://other.example.org", tenant="north", **same), STRANGER)) == 200


# --- what is guarded, and how a refusal looks ---------------------------------------------------------------------


@pytest.mark.proves("cds-hooks best practices: a bare 401")
def test_a_refusal_tells_nothing(guarded: FlaskClient) -> None:
    answer = guarded.post(SERVICE, json=CALL)
    assert (answer.status_code, answer.data, answer.headers["WWW-Authenticate"]) == (401, b"", "Bearer")


@pytest.mark.proves("security: authenticate before the body is read")
def test_the_body_of_a_stranger_is_not_read(guarded: FlaskClient) -> None:
    class Unread:
        def read(self, *_: object) -> bytes:
            raise AssertionError("the body was read")

    environ = {"wsgi.input": Unread(), "CONTENT_LENGTH": "99999999", "CONTENT_TYPE": "text/xml"}
    answer = guarded.open(SERVICE, method="POST", environ_overrides=environ, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 401


GUARDED = [
    ("GET", "/cds-services"),
    ("POST", SERVICE + "/feedback"),
    ("POST", "/cds-services/nobody"),
    ("GET", "/fhir/metadata"),
    ("GET", "/fhir/CodeSystem/region"),
    ("POST", "/fhir/Condition/$coding-assist"),
    ("POST", "/fhir/Claim/$check"),
    ("GET", "/nowhere"),
    ("DELETE", SERVICE),
]


@pytest.mark.parametrize(("method", "path"), GUARDED, ids=[" ".join(one) for one in GUARDED])
def test_every_door_asks_for_a_token(guarded: FlaskClient, method: str, path: str) -> None:
    assert guarded.open(path, method=method, json={}).status_code == 401
    admitted = guarded.open(path, method=method, json={}, headers=bearer(signed(claims(path))))
    assert admitted.status_code != 401


def test_every_address_but_those_named_here_is_guarded(guarded: FlaskClient) -> None:
    unguarded = {
        rule.rule
        for rule in guarded.application.url_map.iter_rules()
        for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}
        if guarded.open(rule.rule.replace("<", "").replace(">", ""), method=method).status_code != 401
    }
    open_to_all = ("/rules", "/about/", "/forms/", "/static/")  # the address of a form is its key
    named = {"/healthz", "/readyz", "/docs", "/openapi.json", "/oauth/token", "/fhir/.well-known/smart-configuration"}
    assert {path for path in unguarded if not path.startswith(open_to_all)} == named


@pytest.mark.proves("contract: discovery without a token by setting")
def test_discovery_is_open_where_the_operator_says_so(assist: Assist, settings: Callable[..., Settings]) -> None:
    client = create_app(settings(OPEN_DISCOVERY="1"), assist).test_client()
    assert client.get("/cds-services").status_code == 200
    assert client.post(SERVICE, json=CALL).status_code == 401


def test_metrics_are_open_where_the_operator_says_so(assist: Assist, settings: Callable[..., Settings]) -> None:
    client = create_app(settings(OPEN_METRICS="1"), assist).test_client()
    assert client.get("/metrics").status_code == 200
    assert client.get("/cds-services").status_code == 401


def test_one_token_for_fhir_may_name_the_base_of_the_server(guarded: FlaskClient) -> None:
    assert guarded.get("/fhir/metadata", headers=bearer(signed(claims("/fhir")))).status_code == 200
    assert guarded.get("/cds-services", headers=bearer(signed(claims("/fhir")))).status_code == 401


@pytest.mark.proves("issue 6: X-Forwarded and Host do not decide what aud must be")
def test_no_header_decides_what_the_audience_is(guarded: FlaskClient) -> None:
    moved = {"Host": "evil.example.org", "X-Forwarded-Host": "evil.example.org", "X-Forwarded-Proto": "https"}
    token = signed(claims(aud=f"https://evil.example.org{SERVICE}"))
    assert guarded.post(SERVICE, json=CALL, headers={**moved, **bearer(token)}).status_code == 401
    assert guarded.post(SERVICE, json=CALL, headers={**moved, **bearer(signed(claims()))}).status_code == 200


@pytest.mark.proves("security: fhirServer in the allow-list of that iss")
def test_each_client_may_name_its_own_fhir_servers_only(assist: Assist, settings: Callable[..., Settings]) -> None:
    class Recording:
        allowed: list[object] = []

        def fetch(self, _server: str, allowed: object, *_: object) -> Json:
            self.allowed.append(allowed)
            return {}

    own = ISS + "/fhir"
    app = create_app(settings([CLIENTS[0] | {"fhir_servers": [own]}, CLIENTS[1]]), assist)
    app.extensions["ehr"] = Recording()
    other = claims(iss="https://other.example.org", tenant="north")
    for token in (signed(claims()), signed(other, STRANGER)):
        app.test_client().post(SERVICE, json={**CALL, "fhirServer": own}, headers=bearer(token))
    assert Recording.allowed == [(server_address(own),), ()]


# --- keys behind an address ---------------------------------------------------------------------------------------


class KeyServer:
    """A client's key address on this machine: what it answers, and how often it was asked."""

    def __init__(self) -> None:
        self.keys: list[Json] = [jwk(EC_KEY, "ec")]
        self.status, self.delay, self.asked, self.padding = 200, 0.0, 0, 0
        self.headers: dict[str, str] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                time.sleep(outer.delay)
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                with suppress(OSError):  # who asked has given up
                    self.wfile.write(json.dumps({"keys": outer.keys}).encode() + b" " * outer.padding)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/jwks.json"


@pytest.fixture
def key_server() -> Iterator[KeyServer]:
    made = KeyServer()
    yield made
    made.server.shutdown()
    made.server.server_close()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fetched(key_server: KeyServer, clock: Clock) -> FetchedKeys:
    return FetchedKeys(key_server.address, Fetcher(2), clock)


def test_keys_are_fetched_from_the_registered_address(
    key_server: KeyServer, assist: Assist, settings: Callable[..., Settings]
) -> None:
    client = create_app(settings([{"iss": ISS, "jwks_uri": key_server.address}]), assist).test_client()
    assert ask(client, signed(claims())) == 200
    assert ask(client, signed(claims(), jku=key_server.address)) == 200
    assert ask(client, signed(claims(), jku=key_server.address + "?")) == 401
    assert key_server.asked == 1


def test_a_new_key_is_found_when_a_token_names_it(fetched: FetchedKeys, key_server: KeyServer, clock: Clock) -> None:
    assert fetched.find("ec") and not fetched.find("new")
    key_server.keys.append(jwk(SECOND, "new"))
    clock.now += 1.1
    assert fetched.find("new")


def test_a_key_address_that_hangs_is_left_soon(fetched: FetchedKeys, key_server: KeyServer) -> None:
    key_server.delay, began = 20.0, time.monotonic()
    assert not fetched.find("ec")
    assert time.monotonic() - began < 5  # it waits one second


def test_a_key_that_was_taken_away_is_gone_after_its_time(
    fetched: FetchedKeys, key_server: KeyServer, clock: Clock
) -> None:
    assert fetched.find("ec")
    key_server.keys = [jwk(SECOND, "new")]
    clock.now += FetchedKeys.LIFE + 1
    assert not fetched.find("ec")


@pytest.mark.parametrize(
    "outage", [{"status": 500}, {"status": 302}, {"keys": []}, {"delay": 3.0}, {"padding": 300_000}], ids=str
)
def test_known_keys_serve_while_their_address_is_down(
    fetched: FetchedKeys, key_server: KeyServer, clock: Clock, outage: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FetchedKeys, "WAIT", 0.2)
    assert fetched.find("ec")
    vars(key_server).update(outage)
    clock.now += FetchedKeys.LIFE + 1
    assert fetched.find("ec")
    clock.now += FetchedKeys.KEPT
    assert not fetched.find("ec")


def test_while_the_address_is_down_a_known_key_asks_it_every_ten_seconds(
    fetched: FetchedKeys, key_server: KeyServer, clock: Clock
) -> None:
    assert fetched.find("ec")
    key_server.status = 500
    clock.now += FetchedKeys.LIFE + 1
    for _ in range(100):
        assert fetched.find("ec")
        clock.now += 0.2
    assert key_server.asked == 1 + 2


def test_keys_are_fetched_again_when_their_answer_says_that_they_have_aged(
    fetched: FetchedKeys, key_server: KeyServer, clock: Clock
) -> None:
    key_server.headers = {"Cache-Control": "max-age=20"}
    assert fetched.find("ec")
    for after in (15, 10):  # from the first
        clock.now += after
        assert fetched.find("ec")
    assert key_server.asked == 2


def test_keys_are_kept_no_longer_than_five_minutes_whatever_their_answer_says(
    fetched: FetchedKeys, key_server: KeyServer, clock: Clock
) -> None:
    key_server.headers = {"Cache-Control": "max-age=31536000"}
    assert fetched.find("ec")
    clock.now += FetchedKeys.LIFE
    assert fetched.find("ec")
    assert key_server.asked == 2


def test_calls_that_come_while_the_first_keys_are_fetched_wait_for_them(
    fetched: FetchedKeys, key_server: KeyServer
) -> None:
    key_server.delay = 0.3
    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(fetched.find, ["ec"] * 4))
    assert key_server.asked == 1


def test_a_token_that_names_no_key_has_no_address_asked(
    key_server: KeyServer, assist: Assist, settings: Callable[..., Settings]
) -> None:
    client = create_app(settings([{"iss": ISS, "jwks_uri": key_server.address}]), assist).test_client()
    assert ask(client, signed(claims(), kid=...)) == 401
    assert key_server.asked == 0


def test_a_known_key_does_not_wait_for_its_address(fetched: FetchedKeys, key_server: KeyServer, clock: Clock) -> None:
    assert fetched.find("ec")
    key_server.delay = 0.8
    clock.now += FetchedKeys.LIFE + 1
    refreshing = threading.Thread(target=fetched.find, args=["ec"])
    refreshing.start()
    while key_server.asked == 1:
        time.sleep(0.01)
    assert fetched.find("ec")
    assert refreshing.is_alive()
    refreshing.join()


def test_a_storm_of_unknown_keys_asks_the_address_once_a_second(
    fetched: FetchedKeys, key_server: KeyServer, clock: Clock
) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert not any(threads.map(fetched.find, [f"unknown-{n}" for n in range(200)]))
    assert key_server.asked == 1


def test_a_redirect_of_the_key_address_is_not_followed(key_server: KeyServer, clock: Clock) -> None:
    target = KeyServer()
    key_server.status, key_server.headers = 302, {"Location": target.address}
    assert not FetchedKeys(key_server.address, Fetcher(2), clock).find("ec")
    assert (key_server.asked, target.asked) == (1, 0)
    target.server.shutdown()
    target.server.server_close()


@pytest.mark.parametrize(
    ("said", "seconds"), [("", 9), ("max-age=60", 60), ('private, max-age="5"', 5), ("no-store", 0), ("NO-CACHE", 0)]
)
def test_keys_are_kept_no_longer_than_their_answer_allows(said: str, seconds: float) -> None:
    assert max_age(said, 9) == seconds


WEAK = rsa.generate_private_key(public_exponent=65537, key_size=1024)
UNFIT: dict[str, Json] = {
    "symmetric": {"kty": "oct", "k": "c2VjcmV0", "kid": "a"},
    "private": {**jwt.algorithms.ECAlgorithm.to_jwk(EC_KEY, as_dict=True), "kid": "a"},
    "weak": jwk(WEAK, "a"),
    "for encryption": jwk(EC_KEY, "a", use="enc"),
    "for RS256": jwk(RSA_KEY, "a", alg="RS256"),
    "for HS384": jwk(RSA_KEY, "a", alg="HS384"),
    "of another curve": jwk(ec.generate_private_key(ec.SECP256R1()), "a"),
    "without kid": {**jwk(EC_KEY, ""), "kid": None},
    "broken": {**jwk(EC_KEY, "a"), "x": "AA"},
    "no words": {"kty": ["EC"], "kid": "a"},
}


@pytest.mark.parametrize("key", UNFIT.values(), ids=UNFIT)
def test_a_key_that_is_not_fit_is_left_out(key: Json) -> None:
    assert list(keys_of({"keys": [key, jwk(SECOND, "good")]})) == ["good"]


KEYS = {"EC": jwk(EC_KEY, "a"), "RSA": jwk(RSA_KEY, "a")}
ODD: dict[str, Json] = {
    "lists without anything": {"x5c": [], "key_ops": [], "oth": []},
    "nulls": {"x5t": None, "x5u": None, "x5c": None, "key_ops": None, "x5t#S256": None},
    "both use and key_ops": {"use": "sig", "key_ops": ["verify"]},
    "members of its own": {"custom": {"a": 1}},
}


@pytest.mark.parametrize("kty", KEYS)
@pytest.mark.parametrize("more", ODD.values(), ids=ODD)
def test_what_stands_beside_a_key_does_not_matter(kty: str, more: Json) -> None:
    assert list(keys_of({"keys": [{**KEYS[kty], **more}]})) == ["a"]


@pytest.mark.parametrize(("kty", "name"), [("EC", "x"), ("RSA", "n")])
def test_a_key_may_be_padded(kty: str, name: str) -> None:
    assert list(keys_of({"keys": [{**KEYS[kty], name: KEYS[kty][name] + "=="}]})) == ["a"]


def test_a_long_key_signs_a_token_that_is_admitted(assist: Assist, settings: Callable[..., Settings]) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=6400)
    client = create_app(settings([{"iss": ISS, "jwks": {"keys": [jwk(key, "rsa")]}}]), assist).test_client()
    assert ask(client, signed(claims(), key, "RS384", kid="rsa")) == 200


@pytest.mark.parametrize("crit", [[], ["kid"], ["exp"], "kid", None])
def test_a_token_that_insists_on_an_extension_is_refused(guarded: FlaskClient, crit: object) -> None:
    head = encoded({"alg": "ES384", "kid": "ec", "typ": "JWT", "crit": crit}) + b"." + encoded(claims())
    signature = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA384).sign(head, EC_KEY)
    assert ask(guarded, (head + b"." + encoded(signature)).decode()) == 401


@pytest.mark.parametrize("exp", [10**400, 1e308])
def test_an_end_beyond_all_time_is_refused(guarded: FlaskClient, exp: float) -> None:
    assert ask(guarded, signed(claims(exp=exp))) == 401


def test_no_token_is_taken_once_it_may_be_forgotten(guarded: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    token, now = signed(claims(exp=1_900_000_000.2, iat=...)), 1_900_000_000.2 + LEEWAY
    assert ask(guarded, token) == 401  # too long from now
    token = signed(claims(exp=1_900_000_000.2, iat=1_900_000_000))
    monkeypatch.setattr("time.time", lambda: now)
    assert ask(guarded, token) == 401
    monkeypatch.setattr("time.time", lambda: now - 0.1)
    assert ask(guarded, token) == 200


def test_a_key_name_that_occurs_twice_names_none() -> None:
    assert keys_of({"keys": [jwk(EC_KEY, "a"), jwk(SECOND, "a")]}) == {}


# --- the registry and the settings --------------------------------------------------------------------------------

GOOD: Json = {"iss": ISS, "jwks_uri": ISS + "/jwks"}
WRONG_FILES: dict[str, object] = {
    "not a list": {},
    "empty": [],
    "unknown member": [{**GOOD, "jwks_url": "x"}],
    "no iss": [{"jwks_uri": ISS}],
    **{f"{name} a number": [{**GOOD, name: 7}] for name in ("iss", "jwks_uri", "tenant")},
    "no keys": [{"iss": ISS}],
    "both": [{**GOOD, "jwks": {"keys": [jwk(EC_KEY, "a")]}}],
    "unfit key": [{"iss": ISS, "jwks": {"keys": [UNFIT["symmetric"]]}}],
    "keys by http": [{"iss": ISS, "jwks_uri": "http://ehr.example.org/jwks"}],
    "FHIR by http": [{**GOOD, "fhir_servers": ["http://ehr.example.org/fhir"]}],
    "FHIR with user": [{**GOOD, "fhir_servers": ["https://a:b@ehr.example.org/fhir"]}],
    "dialect": [{**GOOD, "dialect": "cerner"}],
    "twice": [GOOD, GOOD],
    "smart without a server": [{**GOOD, "smart": {"client_id": "c"}}],
    "two that one server launches": [
        {**GOOD, "iss": iss, "smart": {"client_id": "c"}, "fhir_servers": [ISS + "/fhir"]} for iss in (ISS, ISS + "/2")
    ],
}


@pytest.mark.parametrize("clients", WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_wrong_file_of_clients_is_refused_with_a_sentence(settings: Callable[..., Settings], clients: object) -> None:
    with pytest.raises(SettingError, match=r"^CODING_ASSIST_TRUSTED_CLIENTS: .+\.$"):
        settings(clients)


@pytest.mark.parametrize("given", [{"AUTH": "jwt"}, {"AUTH": "basic"}], ids=str)
def test_authentication_without_clients_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(SettingError, match="CODING_ASSIST_AUTH"):
        read_settings({f"CODING_ASSIST_{name}": value for name, value in given.items()})
