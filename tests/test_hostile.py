"""Whatever is sent, the answer is in order: no 5xx, in time, inert, and the next good request is answered right."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from werkzeug.test import TestResponse

from service.app import create_app
from service.assist import Assist
from service.envelope import MAX_CONDITIONS
from service.settings import Settings
from tests.hostile import BLOCKS, CASTLE, DOORS, FHIR_JSON, JUNK, MARKUP, READING, Case, paths_of, post, raw, replaced
from tests.lforms_export import exported
from tests.records import ASSIST, HOOK, bundle, call, condition
from tests.running import Running
from tests.slow_clients import good_request
from tests.test_forms import CONTEXT, form_of, opened

SECONDS = 10.0  # of the processor, in the best of three: what hangs, on the slowest machine that we know
GROWTH_MB = 300
CASES = 3000
ALLOWED_TAGS = {"p", "strong", "em", "ul", "ol", "li", "blockquote", "br", "hr", "code"}


@pytest.fixture(scope="module")
def client(assist: Assist) -> FlaskClient:
    return create_app(Settings(), assist).test_client()


@pytest.fixture(scope="module", autouse=True)
def memory(client: FlaskClient) -> Iterator[None]:
    """What all blocks together may leave behind."""
    expect_the_right_answer(client)
    before = resident_mb()
    yield
    assert resident_mb() - before < GROWTH_MB


def resident_mb() -> float:
    [pages] = re.findall(r"^VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    return int(pages) / 1024


def expect_the_right_answer(client: FlaskClient) -> None:
    told = client.post(ASSIST, json=condition())
    assert told.status_code == 200
    assert '"code":"M99.41"' in told.text
    assert "supports M99.41" in client.post(HOOK, json=call()).get_json()["cards"][0]["summary"]


def send(client: FlaskClient, case: Case) -> TestResponse:
    return client.open(case.path, method=case.method, data=case.body, headers=list(case.headers))


def timed(client: FlaskClient, case: Case) -> tuple[TestResponse, float]:
    """The answer, and the seconds that it took.

    A disk that stalls for seconds, which is none of the request's doing, has it refused for so long: it is sent again
    when the answer says.
    """
    for _ in range(3):
        began = time.process_time()
        answer = send(client, case)
        took = time.process_time() - began
        if answer.status_code == 503 and "Retry-After" in answer.headers:
            time.sleep(float(answer.headers["Retry-After"]))
        elif took < SECONDS:
            break
    return answer, took


def faults(case: Case, answer: TestResponse, seconds: float) -> Iterator[str]:
    if answer.status_code >= 500:
        yield f"{answer.status_code} {answer.text[:200]}"
    if seconds > SECONDS:
        yield f"{seconds:.1f} s"
    is_page = answer.mimetype == "text/html"
    if is_page and [words for words in MARKUP if "<" in words and words in answer.text]:
        yield "words that a browser takes for more"
    if answer.status_code >= 400 and case.method != "HEAD" and not is_page and answer.get_json(silent=True) is None:
        yield f"{answer.status_code} without OperationOutcome"
    for name, value in answer.headers.items():
        if "\n" in value or name.lower() == "set-cookie":
            yield f"header {name}"
    if case.path == HOOK and case.method == "POST" and answer.status_code == 200:
        yield from active_parts(answer.get_json())


def active_parts(shown: dict[str, Any]) -> Iterator[str]:
    """What a client that renders CDS Hooks' markdown, with HTML, would make of the words of a record."""
    for card in shown["cards"]:
        rendered = (
            MarkdownIt("commonmark", {"html": True})
            .enable("table")
            .enable("strikethrough")
            .render(card.get("detail", ""))
        )
        yield from (
            f"tag {tag}" for tag in re.findall(r"<([a-zA-Z!?][^\s>/]*)", rendered) if tag not in ALLOWED_TAGS | {"a"}
        )
        yield from (
            f"link {link}"
            for link in re.findall(r'href="([^"]*)', rendered)
            if not link.startswith("http://127.0.0.1:8080/")
        )
        for text in (card["summary"], *(one["label"] for one in card.get("suggestions", ()))):
            if re.search(r"[<>\u202a-\u202e\u2066-\u2069\x00-\x1f]", text):
                yield "a label that is no plain line"
        for link in card.get("links", ()):
            if CASTLE in link["url"] or not link["url"].startswith("http"):
                yield f"link {link['url']}"


@pytest.mark.proves("issue 6: hostile input, no 5xx, every answer in time, the right answer after each block")
@pytest.mark.parametrize("block", BLOCKS)
def test_nothing_of_a_block_breaks_or_holds_up_the_service(client: FlaskClient, block: str) -> None:
    found = []
    for case in BLOCKS[block]():
        answer, took = timed(client, case)
        found += [f"{case.method} {case.path[:60]}, {case.name}: {fault}" for fault in faults(case, answer, took)]
    assert found[:20] == []
    expect_the_right_answer(client)


@pytest.mark.parametrize("door", DOORS)
def test_the_attacks_start_from_a_body_that_its_door_answers(client: FlaskClient, door: str) -> None:
    assert send(client, post("as it should be", door, DOORS[door])).status_code == 200


def newly_opened(client: FlaskClient) -> str:
    """A form of an encounter of its own: what was answered in one is not asked there again."""
    return opened(client, hookInstance=str(uuid4()), context=CONTEXT | {"encounterId": str(uuid4())})


def test_no_answer_to_a_form_breaks_it(client: FlaskClient) -> None:
    """Another value at every place of a good answer. One that is taken closes its form, so a new one is opened."""
    found, sent = [], 0
    address = newly_opened(client)
    good = exported(form_of(client, address), tissue="#connective", function="weak")
    for at in paths_of(good):
        for junk in JUNK:
            body = json.dumps(replaced(good, at, junk)).encode()
            case = Case(f"{at} is {str(junk)[:20]}", "POST", address, body)
            answer, took = timed(client, case)
            found += [f"{case.name}: {fault}" for fault in faults(case, answer, took)]
            sent += 1
            if answer.status_code < 400:
                address = newly_opened(client)
                good = exported(form_of(client, address), tissue="#connective", function="weak")
    for junk in JUNK:
        case = Case(f"declined for {junk}"[:40], "POST", f"{address}/decline", json.dumps({"reason": junk}).encode())
        found += [f"{case.name}: {fault}" for fault in faults(case, *timed(client, case))]
    assert found[:20] == []
    assert sent > 200
    expect_the_right_answer(client)


def test_the_cases_are_many_and_distinct() -> None:
    distinct = {
        hash((case.method, case.path, case.body, case.headers)) for block in BLOCKS.values() for case in block()
    }
    assert len(distinct) >= CASES


@pytest.mark.parametrize("door", READING)
def test_more_conditions_than_are_judged_while_somebody_waits_are_a_413(client: FlaskClient, door: str) -> None:
    slim = {"resourceType": "Condition", "subject": {"reference": "Patient/p1"}, "code": {"text": "x"}}
    for count, status in ((MAX_CONDITIONS, 200), (MAX_CONDITIONS + 1, 413)):
        body = call(*[slim] * count) if door == HOOK else bundle(*[slim] * count)
        assert client.post(door, json=body).status_code == status


NAMES = "resourceType code coding text subject reference entry resource parameter name conditions prefetch".split()
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["Condition"])
NAME = st.sampled_from(NAMES) | st.text(max_size=8)
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAME, inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(door=st.sampled_from(sorted(DOORS)), body=VALUE)
def test_no_json_at_all_breaks_a_door(client: FlaskClient, door: str, body: Any) -> None:
    case = Case("any", "POST", door, json.dumps(body).encode("utf-8", "surrogatepass"))
    assert list(faults(case, send(client, case), 0)) == []


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(door=st.sampled_from(sorted(DOORS)), at=st.integers(0), cut=st.integers(0, 30), put=st.binary(max_size=30))
def test_no_damage_to_a_good_body_breaks_a_door(client: FlaskClient, door: str, at: int, cut: int, put: bytes) -> None:
    text = json.dumps(DOORS[door]).encode()
    at %= len(text)
    case = Case("damaged", "POST", door, text[:at] + put + text[at + cut :], (("Content-Type", FHIR_JSON),))
    assert list(faults(case, send(client, case), 0)) == []


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(text=st.text(max_size=300))
def test_no_words_break_the_reader_or_become_active(client: FlaskClient, text: str) -> None:
    case = Case(
        "words",
        "POST",
        HOOK,
        json.dumps(call(condition(f"Connective tissue stenosis of neural canal {text}"))).encode(),
    )
    assert list(faults(case, send(client, case), 0)) == []


# --- raw requests to a real server --------------------------------------------------------------------------------


def statuses(port: int, sent: bytes) -> list[int]:
    """What came on one connection until the server ended it, or said no more for half a second."""
    told = b""
    with socket.create_connection(("127.0.0.1", port), timeout=0.3) as connection, suppress(OSError):
        connection.sendall(sent)
        while data := connection.recv(100_000):
            told += data
    return [int(status) for status in re.findall(rb"^HTTP/1\.[01] (\d{3})", told, re.M)]


@pytest.mark.proves("security: no request is read as two")
def test_no_request_is_read_as_two(server: Running) -> None:
    with ThreadPoolExecutor(8) as threads:  # each waits for what may still come
        answers = dict(threads.map(lambda one: (one[0], statuses(server.port, one[1])), raw()))
    assert {name: told for name, told in answers.items() if len(told) > 1 or any(one >= 500 for one in told)} == {}
    assert len(answers) > 80
    assert good_request(server.port) < 6
