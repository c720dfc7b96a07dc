"""Attacks on the token of a call, by class: each is a bare 401, no address of an attacker is asked, good tokens go on.

Every attack is made anew for each test, from what an attacker may have: the public keys, a key pair of its own, the
names of the registered clients, and tokens that it saw go by.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from flask.testing import FlaskClient

from service.app import create_app
from service.assist import Assist
from tests.test_clients import (
    BASE,
    CALL,
    EC_KEY,
    ISS,
    RSA_KEY,
    SECOND,
    SECRETS,
    SERVICE,
    KeyServer,
    claims,
    encoded,
    jwk,
    settings_in,
    signed,
    with_hmac,
)

Json = dict[str, Any]
Attacks = Iterator[str]
SIZE = 48  # bytes of each half of an ES384 signature


@pytest.fixture(scope="module")
def registered() -> Iterator[KeyServer]:
    """Where the client's keys lie."""
    served = KeyServer()
    served.keys = [jwk(EC_KEY, "ec"), jwk(RSA_KEY, "rsa")]
    yield served
    served.server.shutdown()
    served.server.server_close()


@pytest.fixture(scope="module")
def attacker() -> Iterator[KeyServer]:
    """Where the attacker's key lies, under the name of the client's."""
    served = KeyServer()
    served.keys = [jwk(SECOND, "ec")]
    yield served
    served.server.shutdown()
    served.server.server_close()


@pytest.fixture(scope="module")
def service(assist: Assist, registered: KeyServer, tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    settings = settings_in(tmp_path_factory.mktemp("attacked"))([{"iss": ISS, "jwks_uri": registered.address}])
    return create_app(settings, assist).test_client()


def parts(head: object, payload: object, signature: bytes | None = None) -> str:
    """A token of these parts as they are, signed with the client's own key unless a signature is given."""
    text = encoded(head) + b"." + encoded(payload)
    if signature is None:
        signature = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA384).sign(text, EC_KEY)
    return (text + b"." + encoded(signature)).decode()


def header(**changed: Any) -> Json:
    written = {"alg": "ES384", "kid": "ec", "typ": "JWT", **changed}
    return {name: value for name, value in written.items() if value is not ...}


# --- the classes --------------------------------------------------------------------------------------------------


def key_addresses(registered: str, attacker: str) -> Attacks:
    """`jku` that is not the registered one, letter by letter; by the attacker's key and even by the right one."""
    host = registered.removeprefix("http://")
    port, theirs = host.partition(":")[2].partition("/")[0], attacker.removeprefix("http://")
    for jku in [
        attacker, f"{attacker}#{registered}", f"{attacker}?{registered}", f"http://{host.split('/')[0]}@{theirs}",
        f"{registered}?", f"{registered}#", f"{registered}/", f"{registered}/../jwks.json", f"{registered}%00",
        f"{registered} ", f" {registered}", f"{registered}\n", registered.upper(), registered.replace("http", "HTTP"),
        registered.replace("127.0.0.1", "localhost"), registered.replace("127.0.0.1", "127.1"),
        registered.replace("127.0.0.1", "2130706433"), registered.replace("127.0.0.1", "127.0.0.1."),
        registered.replace("127.0.0.1", "127.0.0.1.evil.example"), registered.replace("http:", "https:"),
        registered.replace(port, f"0{port}"), registered.replace("/jwks", "//jwks"), "", "/jwks.json",
        "file:///etc/passwd", "data:application/json,{}", [registered], {"url": registered}, None, 7,
    ]:  # fmt: skip
        yield signed(claims(), jku=jku)
        yield signed(claims(), SECOND, jku=jku)


def key_names() -> Attacks:
    for kid in [
        "", " ", "EC", "ec ", " ec", "ec\x00", "ec\n", "e", "ec/../ec", "../ec", "../../../../dev/null", "/dev/null",
        "C:\\windows\\win.ini", "file:///etc/passwd", "http://127.0.0.1/ec", "' OR '1'='1", "ec' --", "ec; DROP TABLE",
        "$(id)", "`id`", "${jndi:ldap://evil}", "{{7*7}}", "%s", "*", ".*", "ec*", "0", "None", "null", "__class__",
        "еc", "x" * 4000, ["ec"], {"kid": "ec"}, 0, True, None, ...,
    ]:  # fmt: skip
        yield signed(claims(), kid=kid) if kid is ... or isinstance(kid, str) else parts(header(kid=kid), claims())


def algorithms() -> Attacks:
    for alg in ["none", "None", "NONE", "nOnE", "", "es384", "ES384 ", "ES256", "ES512", "ES256K", "EdDSA", "RS384",
                "RS256", "PS384", "HS384", "dir", "A256KW", ["ES384"], {"a": "ES384"}, None, 384, ...]:  # fmt: skip
        yield parts(header(alg=alg), claims())
        yield parts(header(alg=alg), claims(), b"")
    for secret in SECRETS.values():
        for alg in ("HS256", "HS384", "HS512"):
            yield with_hmac(secret, alg)


def embedded_keys() -> Attacks:
    own = jwk(SECOND, "ec")
    chain = base64.b64encode(b"MIIB").decode()
    for name, value in [("jwk", own), ("jwks", {"keys": [own]}), ("x5c", [chain]), ("x5u", "http://127.0.0.1:9/x"),
                        ("x5t", chain), ("x5t#S256", chain), ("jwk", jwk(EC_KEY, "ec"))]:  # fmt: skip
        yield signed(claims(), SECOND, **{name: value})


def kinds() -> Attacks:
    for typ in ["", "jwt", "JWS", "at+jwt", "application/jwt", "JOSE", " JWT", ["JWT"], None, ...]:
        yield parts(header(typ=typ), claims())
    for crit in [["exp"], ["b64"], ["urn:unknown"], [], "exp", {}]:
        yield parts(header(crit=crit, b64=False), claims())


def signatures() -> Attacks:
    """What a checker that is careless about ECDSA takes."""
    good = signed(claims())
    text, _, written = good.rpartition(".")
    raw = base64.urlsafe_b64decode(written + "==")
    r, s = int.from_bytes(raw[:SIZE], "big"), int.from_bytes(raw[SIZE:], "big")
    changed = [
        b"", b"\x00", bytes(2 * SIZE), bytes(SIZE) + raw[SIZE:], raw[:SIZE] + bytes(SIZE), raw[SIZE:] + raw[:SIZE],
        raw[:-1], raw + b"\x00", b"\x00" + raw, bytes([raw[0] ^ 1]) + raw[1:], raw[:-1] + bytes([raw[-1] ^ 1]),
        encode_dss_signature(r, s), b"\xff" * 2 * SIZE, raw * 2,
    ]  # fmt: skip
    assert decode_dss_signature(changed[11]) == (r, s)
    yield from (f"{text}.{encoded(one).decode()}" for one in changed)
    yield signed(claims(), SECOND)
    yield signed(claims(), RSA_KEY, "RS384")  # under the name of the other key


def claims_of_others() -> Attacks:
    now = int(time.time())
    for name, values in {
        "iss": [..., None, "", [ISS], {"a": ISS}, f"{ISS}/", ISS.upper(), f"{ISS} ", f"{ISS}.evil.example", 7, True],
        "aud": [
            ..., None, "", [], {}, [[BASE + SERVICE]], BASE, f"{BASE}/cds-services", f"{BASE}{SERVICE}/",
            f"{BASE}{SERVICE}/feedback", f"{BASE}{SERVICE}?", f"{BASE}{SERVICE}#", f"{BASE}{SERVICE}".upper(),
            f"http://localhost{SERVICE}", f"{BASE}:443{SERVICE}", f"{BASE}.evil.example{SERVICE}", SERVICE, "*", 7,
            f"{BASE}/fhir", f"{BASE}/oauth/token", [f"{BASE}/fhir", 7],
        ],
        "exp": [..., None, 0, -1, now - 6, now - 3600, now + 3700, 2**63, 1e300, "9999999999", [now + 60], True, ""],
        "iat": [..., None, now + 60, now + 10**6, "now", [now], True, {}],
        "nbf": [now + 60, 2**63, "soon"],
        "jti": [..., None, "", 7, ["a"], {"a": 1}, True],
    }.items():  # fmt: skip
        yield from (parts(header(), claims(**{name: value})) for value in values)


def shapes() -> Attacks:
    good = signed(claims())
    head, payload, signature = good.split(".")
    twice = json.dumps(claims(iss="https://evil.example.org"))[:-1] + f', "iss": "{ISS}x"}}'
    yield from (
        "", ".", "..", "...", head, f"{head}.{payload}", f"{head}.{payload}.", f".{payload}.{signature}",
        f"{good}.", f".{good}", f"{good}.{signature}", f"{payload}.{head}.{signature}", f"{good}=", f"{good}\x00",
        f"{good} ", f" {good}.", f"{head} .{payload}.{signature}", f"{good}, Bearer {good}", good.replace(".", ":"),
        f"{head}.{payload}.{signature}".swapcase(), f"{head}..{signature}", f"{head}.{payload}.{signature[:-4]}",
        parts([], claims()), parts("JWT", claims()), parts(None, claims()), parts(header(), []),
        parts(header(), None), parts(header(), "claims"), parts(header(), 7), parts(header(), twice.encode()),
        parts(header(), b"\xff\xfe"), parts(header(), b""), parts(header(), b"{"), parts(b"{", claims()),
        parts(header(), b"[" * 3000),
        parts(header(), claims(more="x" * 9000)), parts(header(zip="DEF"), b"\x78\x9c\x03\x00"),
        parts(header(enc="A128GCM", cty="JWT"), good.encode()),
    )  # fmt: skip


CLASSES: dict[str, Callable[[], Attacks]] = {
    "the name of a key": key_names,
    "the algorithm": algorithms,
    "a key that the token brings": embedded_keys,
    "the kind of token": kinds,
    "the signature": signatures,
    "the claims": claims_of_others,
    "the shape": shapes,
}


# --- the tests ----------------------------------------------------------------------------------------------------


def told(service: FlaskClient, token: str) -> int:
    answer = service.open(
        SERVICE, method="POST", json=CALL, environ_overrides={"HTTP_AUTHORIZATION": f"Bearer {token}"}
    )
    if answer.status_code == 401:
        assert (answer.data, answer.headers["WWW-Authenticate"]) == (b"", "Bearer")
    return answer.status_code


def expect_refused(service: FlaskClient, attacks: Attacks) -> None:
    assert [token[:300] for token in attacks if told(service, token) != 401] == []
    assert told(service, signed(claims())) == 200
    assert told(service, signed(claims(), RSA_KEY, "RS384", kid="rsa")) == 200


@pytest.mark.proves("issue 6: token attacks, all refused; good tokens accepted after each class")
@pytest.mark.parametrize("kind", CLASSES)
def test_no_attack_of_a_class_gets_in(service: FlaskClient, kind: str) -> None:
    expect_refused(service, CLASSES[kind]())


@pytest.mark.proves("cds-hooks: jku only as registered, and no other address is asked")
def test_no_key_address_of_a_token_gets_in_or_is_asked(
    service: FlaskClient, registered: KeyServer, attacker: KeyServer
) -> None:
    expect_refused(service, key_addresses(registered.address, attacker.address))
    assert attacker.asked == 0


def test_the_attacks_are_many_and_distinct(registered: KeyServer, attacker: KeyServer) -> None:
    made = [token for attacks in CLASSES.values() for token in attacks()]
    made += key_addresses(registered.address, attacker.address)
    assert len(set(made)) >= 250


def test_a_good_token_is_what_the_attacks_start_from(service: FlaskClient) -> None:
    assert told(service, parts(header(), claims())) == 200
