"""/openapi.json says all that is served, and what is served is what it says (schemathesis calls every route by it)."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import checks

from service.app import create_app
from service.assist import Assist
from service.settings import PREFIX, Settings, read_settings
from tests.test_clients import BASE, CLIENTS

Json = dict[str, Any]
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.unsupported_method,
]


@pytest.fixture(scope="module")
def app(assist: Assist) -> Flask:
    return create_app(Settings(), assist)


def described(app: Flask) -> Json:
    document: Json = app.test_client().get("/openapi.json").get_json()
    return document


def routes(app: Flask) -> set[tuple[str, str]]:
    """Path and method of each route, as OpenAPI writes them."""
    return {
        (re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if not rule.endpoint.endswith("static")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_every_route_is_described_and_nothing_else(app: Flask) -> None:
    told = {(path, method) for path, methods in described(app)["paths"].items() for method in methods}
    assert told == routes(app)


def _called(app: Flask, examples: int) -> None:
    """Every operation is called with what its description allows, and with what it does not."""
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app)
    bounds = settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    for found in schema.get_all_operations():
        for mode in schemathesis.GenerationMode:

            @bounds
            @given(case=found.ok().as_strategy(generation_mode=mode))
            def call(case: schemathesis.Case) -> None:
                case.call_and_validate(checks=CHECKS)

            with suppress(Unsatisfiable):  # nothing is forbidden of it
                call()


@pytest.mark.proves("schemathesis over /openapi.json: no 5xx, no undocumented answer")
@pytest.mark.parametrize("examples", [4, pytest.param(300, marks=pytest.mark.long)], ids=["short", "long"])
def test_no_route_answers_what_is_not_described(app: Flask, examples: int) -> None:
    _called(app, examples)


@pytest.mark.parametrize("examples", [2, pytest.param(100, marks=pytest.mark.long)], ids=["short", "long"])
def test_nor_does_one_that_asks_for_a_token(assist: Assist, tmp_path: Path, examples: int) -> None:
    clients = tmp_path / "clients.json"
    clients.write_text(json.dumps(CLIENTS))
    given = {"AUTH": "jwt", "TRUSTED_CLIENTS": str(clients), "BASE_URL": BASE, "RATE_LIMIT": "1000000"}
    _called(create_app(read_settings({f"{PREFIX}{name}": value for name, value in given.items()}), assist), examples)
