"""How often one caller may call, who that is behind a proxy, and what a browser is told."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.assist import Assist
from service.limits import RateLimit, caller_address
from service.settings import SettingError, read_settings
from tests.test_clients import EC_KEY, STRANGER, bearer, claims, settings_in, signed

ORIGIN = "https://ehr.example.org"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def client(assist: Assist, **given: str) -> FlaskClient:
    settings = read_settings({f"CODING_ASSIST_{name}": value for name, value in given.items()})
    return create_app(settings, assist).test_client()


# --- the rate -----------------------------------------------------------------------------------------------------


def test_a_minutes_calls_may_come_at_once_and_then_one_whenever_there_is_room() -> None:
    clock = Clock()
    limit = RateLimit(6, clock)
    assert [limit.wait("a") for _ in range(7)] == [0] * 6 + [10]
    clock.now += 10
    assert [limit.wait("a"), limit.wait("a")] == [0, 10]
    clock.now += 600
    assert [limit.wait("a") for _ in range(7)] == [0] * 6 + [10]


def test_each_caller_has_a_bucket_of_its_own() -> None:
    limit = RateLimit(1, Clock())
    assert [limit.wait("a"), limit.wait("b"), limit.wait("a")] == [0, 0, 60]


def test_callers_that_are_long_gone_are_forgotten() -> None:
    clock = Clock()
    limit = RateLimit(1, clock)
    for number in range(RateLimit.REMEMBERED + 1):
        limit.wait(str(number))
    clock.now += 61
    limit.wait("a")
    assert len(limit._empty_until) == 1


@pytest.mark.proves("issue 6: 429 with Retry-After")
def test_too_many_calls_are_a_429_that_says_when_to_come_again(assist: Assist) -> None:
    limited = client(assist, RATE_LIMIT="2")
    assert [limited.get("/cds-services").status_code for _ in range(2)] == [200, 200]
    answer = limited.get("/cds-services")
    assert (answer.status_code, answer.get_json()["issue"][0]["code"]) == (429, "throttled")
    assert 1 <= int(answer.headers["Retry-After"]) <= 30
    assert limited.get("/healthz").status_code == 200


@pytest.mark.proves("issue 6: rate limit per client")
def test_a_client_with_a_token_is_counted_wherever_it_calls_from(assist: Assist, tmp_path: Path) -> None:
    limited = create_app(settings_in(tmp_path)(RATE_LIMIT="1"), assist).test_client()
    one, other = {}, {"iss": "https://other.example.org", "tenant": "north"}
    asked = [("192.0.2.1", one, EC_KEY), ("192.0.2.1", other, STRANGER), ("192.0.2.2", one, EC_KEY)]
    told = [
        limited.get(
            "/cds-services",
            headers=bearer(signed(claims("/cds-services", **who), key)),
            environ_base={"REMOTE_ADDR": address},
        ).status_code
        for address, who, key in asked
    ]
    assert told == [200, 200, 429]


@pytest.mark.proves("issue 6: X-Forwarded headers are believed only from configured proxies")
def test_a_stranger_does_not_choose_its_address(assist: Assist) -> None:
    limited = client(assist, RATE_LIMIT="1", TRUSTED_PROXIES="10.0.0.0/8")
    told = [limited.get("/cds-services", headers={"X-Forwarded-For": f"192.0.2.{n}"}).status_code for n in (1, 2)]
    assert told == [200, 429]
    proxied = {"environ_base": {"REMOTE_ADDR": "10.0.0.1"}}
    told = [
        limited.get("/cds-services", headers={"X-Forwarded-For": hops}, **proxied).status_code
        for hops in ("192.0.2.1", "192.0.2.2", "192.0.2.9, 192.0.2.2")
    ]
    assert told == [200, 200, 429]


@pytest.mark.parametrize(
    ("peer", "hops", "address"),
    [
        ("192.0.2.1", "198.51.100.1", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, junk", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "[2001:DB8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "2001:db8:0::1", "2001:db8::1"),
        ("unix", "198.51.100.1", "unix"),
        ("", "198.51.100.1", ""),
    ],
)
def test_the_last_address_that_no_trusted_proxy_has_is_the_caller(peer: str, hops: str, address: str) -> None:
    assert caller_address(peer, hops, [ipaddress.ip_network("10.0.0.0/8")]) == address


# --- browsers -----------------------------------------------------------------------------------------------------


@pytest.mark.proves("issue 6: CORS by list")
def test_a_listed_origin_may_call_and_no_other(assist: Assist) -> None:
    browser = client(assist, CORS_ORIGINS=f"{ORIGIN}, http://localhost:3000")
    preflight = {"Access-Control-Request-Method": "POST", "Origin": ORIGIN}
    answer = browser.options("/cds-services/coding-assist", headers=preflight)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (204, ORIGIN)
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    for origin in (ORIGIN + ".evil.example", "null", "http://ehr.example.org", "*"):
        told = browser.get("/cds-services", headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in told.headers
        assert "Origin" in told.headers["Vary"]
    assert browser.get("/cds-services", headers={"Origin": ORIGIN}).headers["Access-Control-Allow-Origin"] == ORIGIN


def test_a_preflight_of_another_origin_is_a_call_without_a_token(assist: Assist, tmp_path: Path) -> None:
    browser = create_app(settings_in(tmp_path)(CORS_ORIGINS=ORIGIN), assist).test_client()
    for origin, status in ((ORIGIN, 204), ("https://evil.example", 401)):
        preflight = {"Access-Control-Request-Method": "POST", "Origin": origin}
        assert browser.options("/cds-services/coding-assist", headers=preflight).status_code == status


def test_without_a_list_no_browser_elsewhere_may_read(assist: Assist) -> None:
    told = client(assist).get("/cds-services", headers={"Origin": ORIGIN})
    assert not [name for name in dict(told.headers) if name.startswith("Access-Control")]


@pytest.mark.proves("issue 6: security headers")
@pytest.mark.parametrize("path", ["/cds-services", "/rules", "/fhir/metadata", "/nowhere", "/healthz"])
def test_every_answer_carries_the_security_headers(assist: Assist, path: str) -> None:
    headers = client(assist, BASE_URL="https://coding.example.org").get(path).headers
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "no-referrer")
    assert headers["Strict-Transport-Security"].startswith("max-age=")
    assert headers["Cache-Control"]


def test_over_http_no_https_is_demanded(client: FlaskClient) -> None:
    assert "Strict-Transport-Security" not in client.get("/healthz").headers


WRONG = [("CORS_ORIGINS", "*"), ("CORS_ORIGINS", "https://a/b"), ("RATE_LIMIT", "0"), ("RATE_LIMIT", "many"),
         ("TRUSTED_PROXIES", "proxy.example.org"), ("TRUSTED_PROXIES", "10.0.0.1/8")]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_setting_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"^CODING_ASSIST_{name} "):
        read_settings({f"CODING_ASSIST_{name}": value})
