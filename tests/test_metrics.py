"""What the operator sees: readiness, counts and traces; of patients nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, tzinfo
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from flask.testing import FlaskClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from service.app import create_app
from service.assist import Assist
from service.readiness import Readiness
from service.settings import SettingError, Settings, read_settings
from service.store import Store, StoreUnavailable
from tests.records import ASSIST, BARE, CANARY, CHECK, HOOK, call, condition
from tests.test_logs import SENT, WORDS

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def client(assist: Assist) -> FlaskClient:
    return create_app(Settings(), assist).test_client()


def told(client: FlaskClient) -> str:
    return client.get("/metrics").text


def test_metrics_count_requests_dispositions_rules_and_cards(client: FlaskClient) -> None:
    client.post(ASSIST, json=condition())
    client.post(HOOK, json=call(condition(BARE)))
    client.post(ASSIST, data=b"no json", content_type="application/json")
    text = told(client)
    route = 'route="/fhir/Condition/$coding-assist"'
    assert f'coding_assist_requests_total{{method="POST",{route},status="200"}} 1.0' in text
    assert f'coding_assist_requests_total{{method="POST",{route},status="400"}} 1.0' in text
    assert f"coding_assist_request_seconds_count{{{route}}} 2.0" in text
    assert 'coding_assist_assessments_total{disposition="code-supported"} 1.0' in text
    assert 'coding_assist_assessments_total{disposition="query"} 1.0' in text
    assert 'coding_assist_cards_total{kind="documentation-query"} 1.0' in text
    assert re.search(r'coding_assist_rules_total\{rule="[a-z0-9.-]+"\} 1\.0', text)


@pytest.mark.proves("PHI: canary over metrics")
def test_no_word_of_a_request_is_counted(client: FlaskClient) -> None:
    for door, body in SENT:
        client.post(door, json=body)
    client.get("/fhir/Condition/Zebedee")
    client.get("/Zebedee?patient=Zebedee")
    client.get("/fhir/CodeSystem/Zebedee", headers={"X-Request-ID": CANARY})
    client.open("/healthz", method="ZEBEDEE")
    text = told(client).lower()
    assert 'method="other",route="none"' in text or 'method="other"' in text
    assert not [word for word in WORDS if word in text]


def test_readyz_refuses_as_the_other_addresses_do(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StoreUnavailable("down")

    assert client.get("/readyz").get_json() == {"status": "ready", "store": "ok", "terminology": "ok"}
    monkeypatch.setattr(Store, "probe", fail)
    monkeypatch.setattr("service.readiness.EVERY_SECONDS", 0.0)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.get_json()["resourceType"]) == (503, "OperationOutcome")
    assert answer.headers["Retry-After"]
    assert client.get("/healthz").status_code == 200  # restarting would not help


def test_readyz_says_when_no_release_covers_today(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Later:
            return cls(2100, 1, 1, tzinfo=tz)

    monkeypatch.setattr("service.app.datetime", Later)
    assert "add-release" in client.get("/readyz").get_json()["terminology"]


@pytest.mark.proves("security: whoever asks whether the service is ready makes it write once a second")
def test_a_flood_of_questions_writes_to_the_store_once_a_second(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked, full = [100.0], list[str](), [True]

    def probe(*_: object) -> None:
        asked.append("asked")
        if full[0]:
            raise StoreUnavailable("full")

    def told() -> bool:
        with suppress(StoreUnavailable):
            readiness.check()
            return True
        return False

    monkeypatch.setattr(Store, "probe", probe)
    readiness = Readiness(store, lambda: now[0])
    assert [told() for _ in range(50)] == [False] * 50
    full[0], now[0] = False, 100.9
    assert (told(), len(asked)) == (False, 1)
    now[0] = 101.0
    assert [told() for _ in range(50)] == [True] * 50
    assert len(asked) == 2


# --- traces


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """An OpenTelemetry collector's address, and what it was sent."""
    received: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Collector)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()


def test_a_request_is_a_span_of_the_callers_trace_and_names_no_patient(
    assist: Assist, collector: tuple[str, list[bytes]]
) -> None:
    address, received = collector
    app = create_app(Settings(traces=address), assist)
    headers = {"traceparent": PARENT, "X-Request-ID": "r1"}
    app.test_client().post(f"{CHECK}?patient=Zebedee", json=condition(), headers=headers)
    app.extensions["traces"].close()
    [sent] = [ExportTraceServiceRequest.FromString(body) for body in received]
    [span] = sent.resource_spans[0].scope_spans[0].spans
    assert span.name == "POST /fhir/Claim/$check"
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == tuple(PARENT.split("-")[1:3])
    assert "r1" in str(span)
    assert not [word for word in WORDS if word in str(sent).lower()]


def test_a_collector_that_is_down_costs_no_answer(assist: Assist) -> None:
    app = create_app(Settings(traces="http://127.0.0.1:9"), assist)
    assert app.test_client().post(ASSIST, json=condition()).status_code == 200
    app.extensions["traces"].close()  # or it tries on, in its own thread, while other tests run


@pytest.mark.parametrize("address", ["collector", "http://collector/path", "file:///tmp"])
def test_a_wrong_collector_is_refused(address: str) -> None:
    with pytest.raises(SettingError, match="TRACES is the address of a collector"):
        read_settings({"CODING_ASSIST_TRACES": address})
