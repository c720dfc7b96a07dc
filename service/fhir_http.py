"""What all of /fhir shares over HTTP: which format is asked for, how an answer is written, what a client prefers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import simplejson
from flask import Request, Response, current_app, request
from werkzeug.exceptions import RequestEntityTooLarge

from service.conformance import Published
from service.fhir_out import Json
from service.json_body import Issue, Refusal, dump_json, parse_json

FHIR_JSON = "application/fhir+json; charset=utf-8"
BODY_TYPES = frozenset({"", "application/fhir+json", "application/json"})
FORM = "application/x-www-form-urlencoded"
# FHIR R4 "http", _format: these mean JSON. A plus sign that nobody encoded arrives as a blank.
_JSON = frozenset({"json", "application/json", "application/fhir+json", "application/fhir json", "text/json"})
_READ_BY_ANYONE = frozenset({"*/*", "application/*"})
_FHIR_VERSIONS = frozenset({"4.0", "4.0.1"})


def published() -> Published:
    """What this service publishes."""
    found: Published = current_app.extensions["published"]
    return found


def fhir_response(resource: Json, status: int = 200) -> Response:
    """A resource as the answer."""
    return Response(dump_json(resource), status, content_type=FHIR_JSON)


def is_search_form(asked: Request) -> bool:
    """Is it a search whose parameters come as a form? (What else is sent there, the search refuses.)"""
    return asked.path.endswith("/_search")


def asked_for(asked: Request, name: str) -> str | None:
    """A parameter of the address, or of a search that comes as a form; of one that is too large, of the address."""
    try:
        return (asked.values if is_search_form(asked) else asked.args).get(name)
    except RequestEntityTooLarge:  # which is said where the search is read
        return asked.args.get(name)


def refuse_format(asked: Request) -> None:
    """Refusal 406 where the client takes no FHIR JSON; `_format` counts before Accept (FHIR R4 "http")."""
    named = asked_for(asked, "_format")
    accepted = [named] if named else [entry for entry, quality in asked.accept_mimetypes if quality > 0]
    if not (named or asked.accept_mimetypes) or any(_is_json(entry) for entry in accepted):
        return
    sentence = "Only FHIR R4 as JSON is served; ask for application/fhir+json by Accept, or for _format=json."
    raise Refusal(406, [Issue("error", "not-supported", sentence)])


def _is_json(entry: str) -> bool:
    mimetype, *parameters = (one.strip().lower() for one in entry.split(";"))
    versions = [one.partition("=")[2].strip('"') for one in parameters if one.startswith("fhirversion=")]
    return mimetype in _JSON | _READ_BY_ANYONE and all(version in _FHIR_VERSIONS for version in versions)


def written_as_asked(response: Response) -> Response:
    """The answer indented where `_pretty=true`, and as application/json where only that is taken."""
    if response.mimetype != "application/fhir+json" or not response.get_data():
        return response
    if asked_for(request, "_pretty") == "true":
        told = parse_json(response.get_data(), max_bytes=len(response.get_data()))
        response.set_data(simplejson.dumps(told, use_decimal=True, ensure_ascii=False, indent=2) + "\n")
    if _wants_plain_json(request.accept_mimetypes.values()) and not asked_for(request, "_format"):
        response.content_type = "application/json; charset=utf-8"
    response.vary.add("Accept")
    return response


def _wants_plain_json(accepted: Iterable[str]) -> bool:
    taken = [one.partition(";")[0].lower() for one in accepted]
    return "application/json" in taken and not {"application/fhir+json", *_READ_BY_ANYONE} & set(taken)


def is_strict() -> bool:
    """Does the client want what is not known to be refused? (FHIR R4 "http", Prefer: handling=strict; lenient else)"""
    preferences: Sequence[str] = request.headers.get("Prefer", "").replace(",", ";").split(";")
    return "handling=strict" in {one.strip().replace('"', "").lower() for one in preferences}
