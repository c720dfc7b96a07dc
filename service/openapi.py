"""/openapi.json and /docs: what this service serves, made from its routes (OpenAPI 3.1, https://spec.openapis.org/oas/v3.1.0).

    describe(app) -> the document

A route is described by its view and by the door that it belongs to: which media types and statuses it answers. A test
holds that every route stands here, and another calls them all by what is written here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, current_app, render_template
from werkzeug.routing import Rule

from service import __version__
from service.conformance_api import PUBLISHED_TYPES, RESULT_PARAMETERS, SEARCH_TYPES
from service.json_body import MAX_BYTES, dump_json
from service.resource_validation import VALIDATE
from service.shipped import fhir_profiles_dir
from service.terminology_api import OPERATION_PARAMETERS

Json = dict[str, Any]
FHIR, PLAIN, HTML, FORM = "application/fhir+json", "application/json", "text/html", "application/x-www-form-urlencoded"
openapi = Blueprint("openapi", __name__, template_folder="web/templates")

STATUSES = {
    200: "The answer.",
    204: "It is done; there is nothing to say.",
    302: "Go on at the address in Location.",
    303: "Go on at the address in Location.",
    304: "The client has it already: If-None-Match names the version.",
    400: "What was sent is not of the right shape; the outcome says what, where and what to do.",
    401: "The caller is not known; see WWW-Authenticate.",
    403: "The caller may not do this.",
    404: "Nothing of that address or id.",
    406: "The client wants another format than JSON.",
    409: "What is addressed has been changed or answered meanwhile; nothing was changed.",
    410: "It is answered, declined or expired; nothing of it is shown any more.",
    412: "The Conditions of the patient cannot be had.",
    413: f"The body is larger than {MAX_BYTES // 1024 // 1024} MiB, or has too many resources.",
    415: "The body is of another media type.",
    422: "Understood, and not acceptable; the outcome says why.",
    429: "More calls than one client may make; Retry-After says when to come again.",
    500: "A fault of this service; nothing is kept of the call.",
    502: "Another server that was asked did not answer as it should.",
    503: "The store cannot be written or read; Retry-After says when to come again.",
}


@dataclass(frozen=True)
class Door:
    """What the routes of one door have in common."""

    tag: str
    sends: tuple[str, ...]
    answers: tuple[str, ...]
    refuses: tuple[int, ...]
    refuses_in: tuple[str, ...] = (FHIR,)
    succeeds: tuple[int, ...] = (200,)
    schema: str = ""


_JSON_BODY = (FHIR, PLAIN)
_FHIR_REFUSES = (400, 404, 406, 413, 415, 422)
DOORS: Mapping[str, Door] = {
    "cds_hooks": Door("CDS Hooks", (PLAIN,), (PLAIN,), (400, 412, 413, 415, 422), schema="Cards"),
    "cds_hooks.discovery": Door("CDS Hooks", (), (PLAIN,), (), schema="Services"),
    "cds_hooks.unknown_service": Door("CDS Hooks", (PLAIN,), (), (404, 413, 415), succeeds=()),
    "feedback": Door("CDS Hooks", (PLAIN,), (PLAIN,), (400, 413, 415, 422), schema="Empty"),
    "fhir": Door("FHIR: documentation and claims", _JSON_BODY, (FHIR,), _FHIR_REFUSES),
    "sdc": Door("FHIR: queries (SDC)", _JSON_BODY, (FHIR,), (*_FHIR_REFUSES, 409, 410)),
    "terminology": Door("FHIR: terminology", _JSON_BODY, (FHIR,), _FHIR_REFUSES),
    "conformance": Door("FHIR: published resources", (FORM,), (FHIR,), (400, 404, 406, 413, 415), succeeds=(200, 304)),
    "forms": Door("Forms", _JSON_BODY, (HTML,), (400, 403, 404, 409, 410, 413, 415, 422), (HTML, FHIR)),
    "smart": Door("Forms", (), (HTML,), (400, 403, 404, 409, 410, 422, 502), (HTML, FHIR), (200, 302, 303)),
    "smart.keys": Door("Forms", (), (PLAIN,), ()),
    "rules": Door("Rules", (), (PLAIN, HTML), (404,)),
    "try_it": Door("Pages", (FORM,), (HTML,), (400, 404, 413, 415, 422), (HTML, FHIR)),
    "openapi": Door("Pages", (), (PLAIN,), ()),
    "openapi.docs": Door("Pages", (), (HTML,), ()),
    "backend_services": Door("SMART backend services", (FORM,), (PLAIN,), (400, 401, 413, 415), (PLAIN, FHIR)),
    "healthz": Door("Operation", (), (PLAIN,), ()),
    "readyz": Door("Operation", (), (PLAIN,), (503,), (PLAIN,)),
    "metrics": Door("Operation", (), ("text/plain",), ()),
}
# The type of resource that an operation answers; a read answers its own type, a search a Bundle.
_RETURNS = {
    "expand": "ValueSet",
    "validate": "OperationOutcome",
    "next-question": "QuestionnaireResponse",
}
_TYPES = {"integer": {"type": "integer"}, "boolean": {"type": "boolean"}}
_ID = {"type": "string", "pattern": r"^[A-Za-z0-9\-.]{1,64}$"}


@openapi.get("/openapi.json")
def document() -> Response:
    """This description, as OpenAPI 3.1."""
    return Response(dump_json(describe(current_app)), content_type="application/json")


@openapi.get("/docs")
def docs() -> str:
    """This description for people; nothing is loaded from elsewhere."""
    described = describe(current_app)
    operations: dict[str, list[Json]] = {door.tag: [] for door in DOORS.values()}
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            shown = {"path": path, "method": method.upper(), **operation}
            operations.setdefault(operation["tags"][0], []).append(shown)
    return render_template("docs.html", operations=operations, statuses=STATUSES, version=__version__)


def describe(app: Flask) -> Json:
    """The OpenAPI document of an app, as it is set up: with tokens and limits where it asks for them."""
    paths: dict[str, Json] = {}
    for rule in sorted(app.url_map.iter_rules(), key=lambda one: one.rule):
        if rule.endpoint.endswith("static"):
            continue
        for method in sorted((rule.methods or set()) & {"GET", "POST"}):
            paths.setdefault(_template(rule), {})[method.lower()] = _operation(app, rule, method)
    asks = "callers" in app.extensions
    scheme = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT of CDS Hooks, or a token of SMART"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "FHIR Coding Assist",
            "version": __version__,
            "description": "The documentation rules of ICD-10-CM M99.4- and its neighbours, for CDS Hooks and FHIR R4.",
        },
        "servers": [{"url": app.config["BASE_URL"]}],
        "paths": paths,
        "components": {"schemas": _schemas()} | ({"securitySchemes": {"bearer": scheme}} if asks else {}),
    }


def _template(rule: Rule) -> str:
    return re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule.rule)


def _door(rule: Rule) -> Door:
    return DOORS[rule.endpoint] if rule.endpoint in DOORS else DOORS[rule.endpoint.partition(".")[0]]


def _operation(app: Flask, rule: Rule, method: str) -> Json:
    door, blueprint = _door(rule), rule.endpoint.partition(".")[0]
    is_open = blueprint in app.config.get("OPEN_TO_ALL", ()) or rule.endpoint in app.config.get("OPEN_TO_ALL", ())
    told: Json = {
        "operationId": f"{method.lower()} {rule.rule}",
        "tags": [door.tag],
        "summary": _summary(app, rule),
        "parameters": [*_path_parameters(rule), *(_query_parameters(rule) if method == "GET" else ())],
        "responses": {str(status): answer for status, answer in _responses(app, door, rule, method, is_open=is_open)},
    }
    if method == "POST" and door.sends:
        told["requestBody"] = {"required": True, "content": {media: _sent(rule, media) for media in door.sends}}
    if "callers" in app.extensions and not is_open:
        told["security"] = [{"bearer": []}]
    return told


def _summary(app: Flask, rule: Rule) -> str:
    """The first sentence of the view."""
    view = app.view_functions[rule.endpoint]
    written = (getattr(view, "func", view).__doc__ or rule.endpoint).strip().partition("\n")[0]
    return written


# --- what is sent -------------------------------------------------------------------------------------------------


def _path_parameters(rule: Rule) -> Iterator[Json]:
    for name in sorted(rule.arguments - (rule.defaults or {}).keys()):
        yield {"name": name, "in": "path", "required": True, "schema": _ID}


def _query_parameters(rule: Rule) -> Iterator[Json]:
    operation = rule.rule.rpartition("$")[2] if "$" in rule.rule else ""
    if operation:
        kinds = OPERATION_PARAMETERS.get(f"{rule.rule.split('/')[2]}-{operation}", VALIDATE)
        named = {name: _TYPES.get(kind.rstrip("*"), {"type": "string"}) for name, kind in kinds.items()}
    elif rule.endpoint.endswith("-search"):
        counted = {name: {"type": "integer"} if name in ("_count", "_offset") else {} for name in RESULT_PARAMETERS}
        named = {name: {"type": "string"} for name in SEARCH_TYPES} | counted
    else:
        named = {"mode": {"type": "string"}} if rule.rule == "/fhir/metadata" else {}
    yield from ({"name": name, "in": "query", "schema": schema} for name, schema in sorted(named.items()))


def _sent(rule: Rule, media: str) -> Json:
    if media == FORM:
        return {"schema": {"type": "object"}}
    example = _example(rule)
    return {"schema": {"type": "object"}} | ({"example": example} if example else {})


def _example(rule: Rule) -> Json | None:
    if rule.endpoint == "cds_hooks.coding_assist":
        return _call()
    if "$" not in rule.rule or "<" in rule.rule:
        return None
    kind, operation = rule.rule.split("/")[2], rule.rule.rpartition("$")[2]
    if operation == "validate":
        return next((one for one in _examples().values() if one["resourceType"] == kind), None)
    return _examples().get(f"Parameters-{operation}")


def _call() -> Json:
    """A call of the hook with the published example of a Condition."""
    condition = next(one for one in _examples().values() if one["resourceType"] == "Condition")
    patient = condition["subject"]["reference"].rpartition("/")[2]
    entry = [{"fullUrl": f"https://ehr.example/fhir/Condition/{condition['id']}", "resource": condition}]
    return {
        "hook": "patient-view",
        "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        "context": {"userId": "Practitioner/example", "patientId": patient},
        "prefetch": {"conditions": {"resourceType": "Bundle", "type": "searchset", "entry": entry}},
    }


@cache
def _examples() -> dict[str, Json]:
    folder = Path(fhir_profiles_dir()) / "examples"
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}


# --- what is answered ---------------------------------------------------------------------------------------------


def _responses(app: Flask, door: Door, rule: Rule, method: str, *, is_open: bool) -> Iterator[tuple[int, Json]]:
    content = {media: {"schema": {"$ref": f"#/components/schemas/{_schema(door, rule)}"}} for media in door.answers}
    for status in door.succeeds:
        if status != 304 or rule.endpoint.endswith("-read"):
            yield status, _answer(status, content if status == 200 else {})
    sends_a_body = method == "POST" and bool(door.sends)
    for status in door.refuses:
        if sends_a_body or status not in (413, 415):
            yield status, _refusal(status, door)
    if "callers" in app.extensions and not is_open and 401 not in door.refuses:
        yield 401, _answer(401, {})
    if "rate_limit" in app.extensions:
        yield 429, _refusal(429, DOORS["fhir"])
    for status in (500, 503):
        if status not in door.refuses:
            yield status, _refusal(status, DOORS["fhir"])


def _schema(door: Door, rule: Rule) -> str:
    if door.schema or FHIR not in door.answers:
        return door.schema or "Any"
    if rule.endpoint.endswith(("-search", "-search-form")):
        return "Bundle"
    if rule.endpoint.endswith("-read"):
        return rule.rule.split("/")[2]
    if rule.rule == "/fhir/metadata":
        return "Metadata"
    if rule.endpoint == "sdc.questionnaire":
        return "Questionnaire"
    return _RETURNS.get(rule.rule.rpartition("$")[2], "Parameters")


def _answer(status: int, content: Json) -> Json:
    headers = {"X-Request-ID": {"description": "Names this call in the log.", "schema": {"type": "string"}}}
    return {"description": STATUSES[status], "headers": headers} | ({"content": content} if content else {})


def _refusal(status: int, door: Door) -> Json:
    outcome = {"schema": {"$ref": "#/components/schemas/OperationOutcome"}}
    content = {media: outcome if media == FHIR else {} for media in door.refuses_in}
    return _answer(status, content)


def _schemas() -> Json:
    kinds = {*PUBLISHED_TYPES, "Bundle", "Parameters", "Questionnaire", "ValueSet"}
    text = {"type": "string", "minLength": 1}
    card = {"type": "object", "required": ["summary", "indicator", "source"]}
    issue = {"type": "object", "required": ["severity", "code"], "properties": {"severity": text, "code": text}}
    issues = {"type": "array", "minItems": 1, "items": issue}
    service = {"type": "object", "required": ["hook", "description", "id"]}
    return {
        "Any": {},
        "Empty": {"type": ["object", "string"]},
        "Cards": _object("cards", {"type": "array", "items": card}),
        "Services": _object("services", {"type": "array", "items": service}),
        "OperationOutcome": _object("issue", issues) | {"title": "OperationOutcome"},
        "Metadata": {"anyOf": [_resource("CapabilityStatement"), _resource("TerminologyCapabilities")]},
        **{kind: _resource(kind) for kind in sorted(kinds)},
    }


def _object(name: str, schema: Json) -> Json:
    return {"type": "object", "required": [name], "properties": {name: schema}}


def _resource(kind: str) -> Json:
    return _object("resourceType", {"const": kind})
