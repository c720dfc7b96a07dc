"""Door 2, what we publish: reads by id, searches, and /fhir/metadata as the routes really are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from urllib.parse import urlencode

from flask import Blueprint, Response, current_app, request
from werkzeug.routing import Rule

from service import __version__
from service.code_systems import refuse
from service.conformance import Published
from service.fhir_http import FHIR_JSON, FORM, fhir_response, is_strict, published
from service.fhir_out import CANONICAL, ICD10CM, Json
from service.terminology_api import EXPAND

conformance_api = Blueprint("conformance", __name__, url_prefix="/fhir")
PUBLISHED_TYPES = (
    "CodeSystem",
    "ConceptMap",
    "Library",
    "OperationDefinition",
    "Provenance",
    "Questionnaire",
    "StructureDefinition",
    "ValueSet",
)
SEARCH_TYPES = {
    "_id": "token",
    "name": "string",
    "status": "token",
    "title": "string",
    "url": "uri",
    "version": "token",
}
# Of _summary only `count` changes anything, and the total is always told (R4 lets a server do so).
RESULT_PARAMETERS = frozenset({"_count", "_offset", "_format", "_pretty", "_summary", "_total"})
_BETWEEN_COMMAS = re.compile(r"(?:[^\\,]|\\.)+")
_WHOLE = re.compile(r"[0-9]{1,9}")
_ESCAPED = re.compile(r"\\(.)")
DEFAULT_COUNT, MAX_COUNT = 20, 100
NOT_EXPANDED_BY = frozenset({"context", "contextDirection"})
# Who defines an operation; the others are ours.
DEFINED_BY = {
    "CodeSystem-lookup": "http://hl7.org/fhir",
    "CodeSystem-validate-code": "http://hl7.org/fhir",
    "ValueSet-expand": "http://hl7.org/fhir",
    "ValueSet-validate-code": "http://hl7.org/fhir",
    "ConceptMap-translate": "http://hl7.org/fhir",
    "Questionnaire-populate": "http://hl7.org/fhir/uv/sdc",
    "Questionnaire-next-question": "http://hl7.org/fhir/uv/sdc",
    "QuestionnaireResponse-extract": "http://hl7.org/fhir/uv/sdc",
}


# --- read ---------------------------------------------------------------------------------------------------------


def read(kind: str, identifier: str) -> Response:
    """One resource by its id, with its versionId as ETag; 304 where the client has it (FHIR R4 "http", read)."""
    resource = published().read(kind, identifier)
    if resource is None:
        refuse(404, "not-found", f"No {kind} of that id is served; GET /fhir/{kind} lists those that are.")
    response = Response(published().bytes[kind, identifier], content_type=FHIR_JSON)
    response.set_etag(resource["meta"]["versionId"], weak=True)
    response.headers["Cache-Control"] = "no-cache"
    response.make_conditional(request)
    return response


# --- search -------------------------------------------------------------------------------------------------------


def search(kind: str) -> Response:
    """The resources of a type that fit the parameters, a page at a time, as a searchset Bundle.

    By GET, or by POST to _search with the parameters as a form (FHIR R4 "http", search).
    """
    if request.method == "POST" and request.mimetype not in ("", FORM):
        refuse(415, "not-supported", f"A search takes its parameters as a form; send {FORM}.")
    criteria = list(_criteria())
    found = [one for one in published().of_type(kind) if all(_fits(one, *criterion) for criterion in criteria)]
    count, offset = min(_whole("_count", DEFAULT_COUNT), MAX_COUNT), _whole("_offset", 0)
    count = 0 if request.values.get("_summary") == "count" else count
    base = f"{current_app.config['BASE_URL']}/fhir/{kind}"
    shown = found[offset : offset + count]
    entries = [{"fullUrl": f"{base}/{one['id']}", "resource": one, "search": {"mode": "match"}} for one in shown]
    asked = [(f"{name}:{modifier}" if modifier else name, value) for name, modifier, value in criteria]
    bundle: Json = {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": len(found),
        "link": list(_links(base, asked, len(found), count, offset)),
    }
    return fhir_response(bundle | ({"entry": entries} if entries else {}))


def _criteria() -> Iterator[tuple[str, str, str]]:
    """Name, modifier and value of each search parameter with a value; unless strict, one not known is passed over."""
    given = [*request.args.items(multi=True), *request.form.items(multi=True)]
    for key, value in filter(itemgetter(1), given):
        name, _, modifier = key.partition(":")
        if name in RESULT_PARAMETERS:
            continue
        if name not in SEARCH_TYPES:
            if is_strict():
                refuse(400, "not-supported", f"A search parameter is not known; known are {', '.join(SEARCH_TYPES)}.")
            continue
        if modifier and (SEARCH_TYPES[name] != "string" or modifier not in ("exact", "contains")):
            refuse(
                400,
                "not-supported",
                f"The modifier of {name} is not supported; name and title take exact and contains.",
            )
        yield name, modifier, value


def _fits(resource: Json, name: str, modifier: str, value: str) -> bool:
    """Any of the values between commas suffices; a comma with \\ before it is one of a value (FHIR R4 "search")."""
    held = str(resource.get(name.removeprefix("_"), ""))
    wanted = [_ESCAPED.sub(r"\1", one) for one in _BETWEEN_COMMAS.findall(value)]
    return any(_agrees(held, one, SEARCH_TYPES[name], modifier) for one in wanted)


def _agrees(held: str, wanted: str, kind: str, modifier: str) -> bool:
    if kind == "token":
        return held == wanted.rpartition("|")[2]  # a system before the bar is that of the one binding there is
    if kind != "string" or modifier == "exact":
        return held == wanted
    held, wanted = held.casefold(), wanted.casefold()
    return wanted in held if modifier == "contains" else held.startswith(wanted)


def _whole(name: str, default: int) -> int:
    text = request.values.get(name, str(default))
    if not _WHOLE.fullmatch(text):
        refuse(400, "value", f"{name} is a whole number, 0 or more.", name)
    return int(text)


def _links(base: str, asked: Sequence[tuple[str, str]], total: int, count: int, offset: int) -> Iterator[Json]:
    """self, and where there are more pages first, previous, next and last."""

    def link(relation: str, at: int) -> Json:
        page = [("_count", str(count)), *([("_offset", str(at))] if at else [])]
        return {"relation": relation, "url": f"{base}?{urlencode([*asked, *page])}"}

    yield link("self", offset)
    if count == 0 or total <= count:
        return
    yield link("first", 0)
    if offset:
        yield link("previous", max(offset - count, 0))
    if offset + count < total:
        yield link("next", offset + count)
    yield link("last", (total - 1) // count * count)


# --- metadata -----------------------------------------------------------------------------------------------------


@conformance_api.get("/metadata")
def metadata() -> Response:
    """The CapabilityStatement; with mode=terminology the TerminologyCapabilities (FHIR R4 "http", capabilities)."""
    mode = request.args.get("mode", "full")
    if mode not in ("full", "normative", "terminology"):
        refuse(400, "not-supported", "The mode is none of full, normative and terminology; give one of them.", "mode")
    if mode == "terminology":
        return fhir_response(terminology_capabilities(published()))
    base = f"{current_app.config['BASE_URL']}/fhir"
    return fhir_response(capability_statement(current_app.url_map.iter_rules(), published(), base))


def capability_statement(rules: Iterable[Rule], published: Published, base: str) -> Json:
    """What the routes under /fhir really do."""
    served: dict[str, set[str]] = {}
    for rule in rules:
        kind, _, rest = rule.rule.removeprefix("/fhir/").partition("/")
        if rule.rule.startswith("/fhir/") and kind != "metadata":
            served.setdefault(kind, set()).add(rest)
    return {
        "resourceType": "CapabilityStatement",
        **_head("CapabilityStatement", "capabilities", published),
        "kind": "instance",
        "software": {"name": "FHIR Coding Assist", "version": __version__},
        "implementation": {"description": "FHIR Coding Assist", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [
            {
                "mode": "server",
                "resource": [_resource(kind, rests, published) for kind, rests in sorted(served.items())],
            }
        ],
    }


def _head(kind: str, identifier: str, published: Published) -> Json:
    return {
        "id": identifier,
        "url": f"{CANONICAL}/{kind}/{identifier}",
        "version": __version__,
        "name": f"FhirCodingAssist{identifier.title().replace('-', '')}",
        "title": "FHIR Coding Assist",
        "status": "active",
        "experimental": False,
        "date": published.date,
        "publisher": "FHIR Coding Assist",
        "description": "What this service does under /fhir, made from its routes.",
    }


def _resource(kind: str, rests: set[str], published: Published) -> Json:
    """`rests` are what follows the type in an address: nothing, <identifier>, $name or <identifier>/$name."""
    operations = sorted({rest.rpartition("$")[2] for rest in rests if "$" in rest})
    profiles = [one["url"] for one in published.of_type("StructureDefinition") if one.get("type") == kind]
    interactions = [code for code, rest in (("read", "<identifier>"), ("search-type", "")) if rest in rests]
    resource: Json = {"type": kind}
    resource |= {"supportedProfile": profiles} if profiles else {}
    resource |= {"interaction": [{"code": code} for code in interactions]} if interactions else {}
    if "search-type" in interactions:
        resource["searchParam"] = [{"name": name, "type": of_type} for name, of_type in SEARCH_TYPES.items()]
    if operations:
        resource["operation"] = [{"name": name, "definition": _definition(kind, name)} for name in operations]
    return resource


def _definition(kind: str, name: str) -> str:
    if name == "validate":
        return "http://hl7.org/fhir/OperationDefinition/Resource-validate"
    defined_by = DEFINED_BY.get(f"{kind}-{name}", CANONICAL)
    return f"{defined_by}/OperationDefinition/{kind}-{name}"


def terminology_capabilities(published: Published) -> Json:
    """Which code systems are served in which versions, and how they are expanded and translated."""
    systems = published.code_systems
    icd10cm = [{"code": year, "isDefault": year == systems.icd10cm_versions[-1]} for year in systems.icd10cm_versions]
    listed = [
        {"uri": url, "version": [{"code": one.version, "isDefault": True}]} for url, one in systems.listed.items()
    ]
    return {
        "resourceType": "TerminologyCapabilities",
        **_head("TerminologyCapabilities", "terminology-capabilities", published),
        "kind": "instance",
        "software": {"name": "FHIR Coding Assist", "version": __version__},
        "implementation": {"description": "FHIR Coding Assist"},
        "codeSystem": [{"uri": ICD10CM, "version": icd10cm}, *listed],
        "expansion": {
            "hierarchical": False,
            "paging": True,
            "incomplete": False,
            "parameter": [{"name": name} for name in EXPAND if name not in NOT_EXPANDED_BY],
            "textFilter": "Each word of the filter occurs in the code or in its display, in any case.",
        },
        "codeSearch": "explicit",
        "validateCode": {"translations": False},
        "translation": {"needsMap": True},
    }


def _serve(kind: str) -> None:
    conformance_api.add_url_rule(f"/{kind}", f"{kind}-search", partial(search, kind))
    conformance_api.add_url_rule(f"/{kind}/_search", f"{kind}-search-form", partial(search, kind), methods=["POST"])
    conformance_api.add_url_rule(f"/{kind}/<identifier>", f"{kind}-read", partial(read, kind))


for published_type in PUBLISHED_TYPES:
    _serve(published_type)
