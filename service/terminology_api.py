"""Door 2, the terminology operations: $lookup, $validate-code, $expand and $translate with the parameters of R4.

GET takes the parameters that are primitive, POST takes Parameters; where a resource has an id, it may be named by it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from flask import Blueprint, Response, request

from service.code_systems import CodedConcept, Edition, ListedEdition, day_of, official, refuse
from service.concept_maps import NO_MATCH, Match, Question, translate
from service.fhir_http import fhir_response, is_strict, published
from service.fhir_out import Json, part
from service.json_body import parse_json
from service.validation import refuse_errors, validate_resource
from service.value_sets import MAX_PAGE, Moment, Page, expansion, selects, value_set_of

terminology_api = Blueprint("terminology", __name__, url_prefix="/fhir")
Given = dict[str, list[Any]]

# FHIR R4 OperationDefinitions: the parameters with their types; a * takes several.
LOOKUP = {
    "code": "code", "system": "uri", "version": "string", "coding": "Coding", "date": "dateTime",
    "displayLanguage": "code", "property": "code*",
}  # fmt: skip
CODE_SYSTEM_VALIDATE_CODE = {
    "url": "uri", "codeSystem": "CodeSystem", "code": "code", "version": "string", "display": "string",
    "coding": "Coding", "codeableConcept": "CodeableConcept", "date": "dateTime", "abstract": "boolean",
    "displayLanguage": "code",
}  # fmt: skip
EXPAND = {
    "url": "uri", "valueSet": "ValueSet", "valueSetVersion": "string", "context": "uri", "contextDirection": "code",
    "filter": "string", "date": "dateTime", "offset": "integer", "count": "integer", "includeDesignations": "boolean",
    "designation": "string*", "includeDefinition": "boolean", "activeOnly": "boolean", "excludeNested": "boolean",
    "excludeNotForUI": "boolean", "excludePostCoordinated": "boolean", "displayLanguage": "code",
    "exclude-system": "canonical*", "system-version": "canonical*", "check-system-version": "canonical*",
    "force-system-version": "canonical*",
}  # fmt: skip
VALUE_SET_VALIDATE_CODE = {
    "url": "uri", "context": "uri", "valueSet": "ValueSet", "valueSetVersion": "string", "code": "code",
    "system": "uri", "systemVersion": "string", "display": "string", "coding": "Coding",
    "codeableConcept": "CodeableConcept", "date": "dateTime", "abstract": "boolean", "displayLanguage": "code",
}  # fmt: skip
TRANSLATE = {
    "url": "uri", "conceptMap": "ConceptMap", "conceptMapVersion": "string", "code": "code", "system": "uri",
    "version": "string", "source": "uri", "coding": "Coding", "codeableConcept": "CodeableConcept", "target": "uri",
    "targetsystem": "uri", "dependency": "part*", "reverse": "boolean",
}  # fmt: skip
OPERATION_PARAMETERS = {
    "CodeSystem-lookup": LOOKUP,
    "CodeSystem-validate-code": CODE_SYSTEM_VALIDATE_CODE,
    "ValueSet-expand": EXPAND,
    "ValueSet-validate-code": VALUE_SET_VALIDATE_CODE,
    "ConceptMap-translate": TRANSLATE,
}
MAX_FILTER = 100
_INTEGER = re.compile(r"-?[0-9]{1,10}")
_RESOURCES = frozenset({"CodeSystem", "ValueSet", "ConceptMap"})
# What a parameter of a type may come as: JSON has no canonical of R5 kind, and clients mix the kinds of text.
_VALUE_NAMES = {
    "uri": ("valueUri", "valueCanonical", "valueUrl"),
    "canonical": ("valueCanonical", "valueUri"),
    "code": ("valueCode",),
    "string": ("valueString",),
    "dateTime": ("valueDateTime", "valueDate"),
    "boolean": ("valueBoolean",),
    "integer": ("valueInteger",),
    "Coding": ("valueCoding",),
    "CodeableConcept": ("valueCodeableConcept",),
}


# --- the parameters -----------------------------------------------------------------------------------------------


def read_parameters(kinds: Mapping[str, str]) -> Given:
    """The parameters of the call by name, each a list; Refusal 400 for a wrong type or one that is given twice."""
    given = _from_body(kinds) if request.method == "POST" and request.get_data() else _from_query(kinds)
    for name, values in given.items():
        if len(values) > 1 and not kinds[name].endswith("*"):
            refuse(400, "invalid", f"The parameter {name} is given {len(values)} times; give it once.", name)
    return given


def _from_query(kinds: Mapping[str, str]) -> Given:
    given: Given = {}
    for name in request.args:
        if name in kinds:
            given[name] = [_from_text(name, kinds[name].rstrip("*"), text) for text in request.args.getlist(name)]
        elif name not in ("_format", "_pretty"):
            _refuse_unknown(kinds)
    return given


def _from_text(name: str, kind: str, text: str) -> Any:
    if kind in _RESOURCES or kind in ("Coding", "CodeableConcept", "part"):
        refuse(
            400,
            "not-supported",
            f"The parameter {name} is of type {kind} and cannot stand in an address; use POST.",
            name,
        )
    if not text:
        refuse(400, "value", f"The parameter {name} is empty; give it a value or leave it out.", name)
    if kind == "boolean" and text not in ("true", "false"):
        refuse(400, "value", f"The parameter {name} is true or false.", name)
    if kind == "integer" and not (_INTEGER.fullmatch(text) and -(2**31) <= int(text) < 2**31):
        refuse(400, "value", f"The parameter {name} is a whole number of 32 bits at most.", name)
    return text == "true" if kind == "boolean" else int(text) if kind == "integer" else text


def _from_body(kinds: Mapping[str, str]) -> Given:
    body = parse_json(request.get_data())
    bare = {kind: name for name, kind in kinds.items() if kind in _RESOURCES}
    refuse_errors(validate_resource(body, allowed=frozenset({"Parameters", *bare})))
    assert isinstance(body, dict)  # noqa: S101 - validated
    if body["resourceType"] != "Parameters":
        return {bare[body["resourceType"]]: [body]}
    given: Given = {}
    for index, parameter in enumerate(body.get("parameter", ())):
        name = parameter["name"]
        if name in kinds:
            at = f"Parameters.parameter[{index}]"
            given.setdefault(name, []).append(_from_part(parameter, kinds[name].rstrip("*"), at))
        else:
            _refuse_unknown(kinds)
    return given


def _from_part(parameter: Json, kind: str, at: str) -> Any:
    if kind == "part":
        return parameter.get("part", [])
    if kind in _RESOURCES:
        resource = parameter.get("resource")
        refuse_errors(validate_resource(resource, allowed=frozenset({kind}), at=f"{at}.resource"))
        return resource
    value = next((parameter[name] for name in _VALUE_NAMES[kind] if name in parameter), None)
    if value is None:
        refuse(400, "value", f"The parameter is of type {kind}; give it as {_VALUE_NAMES[kind][0]}.", at)
    return value


def _refuse_unknown(kinds: Mapping[str, str]) -> None:
    """Only where the client prefers strict handling; else what is not known is passed over, as R4 servers do."""
    if is_strict():
        refuse(400, "not-supported", f"A parameter is not one of this operation; it takes {', '.join(kinds)}.")


def _one(given: Given, name: str) -> Any:
    return given[name][0] if name in given else None


def _text(given: Given, name: str) -> str:
    return str(_one(given, name) or "")


# --- the code that is asked about ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """One code of the call; `at` is where it stands."""

    system: str
    code: str
    version: str = ""
    display: str = ""
    at: str = "code"


def _asked(given: Given, system: str, version: str) -> list[Asked]:
    """The code, the coding or the codings of the concept; Refusal 400 unless exactly one of the three is given."""
    ways = [name for name in ("code", "coding", "codeableConcept") if name in given]
    if len(ways) != 1:
        found = " and ".join(ways) or "none of them"
        refuse(
            400,
            "invalid" if ways else "required",
            f"Give exactly one of code, coding and codeableConcept, not {found}.",
        )
    system, version = _system_and_version(system, version, "system")
    if ways == ["code"]:
        if not system:
            refuse(400, "required", "The system of the code is missing; give it too.", "code")
        return [Asked(system, _text(given, "code"), version, _text(given, "display"))]
    codings = [_one(given, "coding")] if ways == ["coding"] else _one(given, "codeableConcept").get("coding", [])
    where = "coding" if ways == ["coding"] else "codeableConcept.coding[{}]"
    asked = [_of_coding(coding, system, version, where.format(place)) for place, coding in enumerate(codings)]
    if not asked:
        refuse(400, "required", "The codeableConcept has no coding; give it one.", "codeableConcept")
    return asked


def _of_coding(coding: Json, system: str, version: str, at: str) -> Asked:
    own, of_own = _system_and_version(coding.get("system", ""), coding.get("version", ""), at)
    if not (own or system) or not coding.get("code"):
        refuse(400, "required", f"{at} lacks its system or its code; give both.", at)
    return Asked(own or system, coding["code"], of_own or version, coding.get("display", ""), at)


def _system_and_version(system: str, version: str, at: str) -> tuple[str, str]:
    """`system|version` in its two parts; ICD-10-CM by its URL, whichever name it is given (an OID names it too)."""
    url, _, of_url = system.partition("|")
    if of_url and version not in ("", of_url):
        refuse(400, "invalid", "The system names one version and the call another; give one of them.", at)
    return official(url), of_url or version


@dataclass(frozen=True)
class Verdict:
    """Whether one code is valid, with what is to be said of it."""

    is_valid: bool
    message: str = ""
    display: str = ""


def _verdict(asked: Asked, concept: CodedConcept | None, absence: str, given: Given) -> Verdict:
    if concept is None:
        return Verdict(False, absence)
    if concept.abstract and not _one(given, "abstract"):
        sentence = f"{concept.code} is a header and not to be reported; give a code beneath it."
        return Verdict(False, sentence, concept.display)
    if concept.inactive:
        return Verdict(False, absence, concept.display)
    if asked.display and _plain(asked.display) != _plain(concept.display):
        return Verdict(
            False, f"The display is not that of {concept.code}, which is “{concept.display}”.", concept.display
        )
    return Verdict(True, "", concept.display)


def _plain(display: str) -> str:
    return " ".join(display.split()).casefold()


def _validated(verdicts: Sequence[Verdict]) -> Response:
    """One valid coding makes a concept valid; what the others lack is said beside it (R4: hints and warnings)."""
    messages = list(dict.fromkeys(verdict.message for verdict in verdicts if verdict.message))
    best = next((verdict for verdict in verdicts if verdict.is_valid), verdicts[0])
    parts = [part("result", valueBoolean=best.is_valid)]
    parts += [part("message", valueString=" ".join(messages))] if messages else []
    parts += [part("display", valueString=best.display)] if best.display else []
    return _parameters(parts)


def _parameters(parts: Sequence[Json]) -> Response:
    return fhir_response({"resourceType": "Parameters", "parameter": list(parts)})


# --- CodeSystem/$lookup and $validate-code ------------------------------------------------------------------------


def lookup() -> Response:
    """CodeSystem/$lookup: what a code is called, and where it stands."""
    given = read_parameters(LOOKUP)
    asked = _asked(given, _text(given, "system"), _text(given, "version"))[0]
    edition = published().code_systems.edition(asked.system, asked.version, _text(given, "date"))
    concept = edition.concept(asked.code)
    if concept is None:
        refuse(404, "not-found", edition.absence(asked.code), asked.at)
    head = [part("name", valueString=edition.name), part("version", valueString=edition.version)]
    wanted = set(given.get("property", ()))
    found = [one for one in _properties(edition, concept) if not wanted or one[0] in wanted]
    return _parameters([*head, part("display", valueString=concept.display), *(_property(*one) for one in found)])


def _properties(edition: Edition, concept: CodedConcept) -> Iterator[tuple[str, tuple[str, Any], str]]:
    """Each property as code, value and description."""
    if concept.definition:
        yield "definition", ("valueString", concept.definition), ""
    yield "inactive", ("valueBoolean", concept.inactive), ""
    yield "notSelectable", ("valueBoolean", concept.abstract), ""
    parent = edition.parent(concept.code)
    for name, codes in (("parent", [parent] if parent else []), ("child", edition.children(concept.code))):
        for found in filter(None, map(edition.concept, codes)):
            yield name, ("valueCode", found.code), found.display
    yield from ((code, value, "") for code, value in concept.properties)


def _property(code: str, value: tuple[str, Any], description: str) -> Json:
    told = [part("code", valueCode=code), part("value", **dict([value]))]
    return part("property", part=[*told, *([part("description", valueString=description)] if description else [])])


def validate_code_in_code_system(identifier: str = "") -> Response:
    """CodeSystem/$validate-code: is a code one of the code system, on a date or in a version?"""
    given = read_parameters(CODE_SYSTEM_VALIDATE_CODE)
    url, version = _code_system_of(given, identifier)
    return _validated([_in_edition(asked, url, given) for asked in _asked(given, url, version)])


def _code_system_of(given: Given, identifier: str) -> tuple[str, str]:
    if identifier:
        resource = _instance("CodeSystem", identifier)
        _refuse_other(given, "url", resource["url"])
        _refuse_other(given, "version", resource["version"])
        return resource["url"], resource["version"]
    if "codeSystem" in given:
        own = _one(given, "codeSystem").get("url", "")
        _refuse_other(given, "url", own)
        return own, ""
    if "url" not in given and "coding" not in given and "codeableConcept" not in given:
        refuse(400, "required", "The code system is missing; give its url, or a coding with its system.", "url")
    return _text(given, "url"), _text(given, "version")


def _in_edition(asked: Asked, url: str, given: Given) -> Verdict:
    if url and not _is_same_system(asked.system, url):
        return Verdict(False, "The coding is of another code system than the one that is asked.")
    if "codeSystem" in given:
        edition: Edition = ListedEdition(_one(given, "codeSystem"))
    else:
        edition = published().code_systems.edition(asked.system, asked.version, _text(given, "date"))
    return _verdict(asked, edition.concept(asked.code), edition.absence(asked.code), given)


def _is_same_system(one: str, other: str) -> bool:
    return official(one) == official(other.partition("|")[0])


def _instance(kind: str, identifier: str) -> Json:
    resource = published().read(kind, identifier)
    if resource is None:
        refuse(404, "not-found", f"No {kind} of that id is served; GET /fhir/{kind} lists those that are.")
    return resource


# --- ValueSet/$expand and $validate-code --------------------------------------------------------------------------


def expand(identifier: str = "") -> Response:
    """ValueSet/$expand: the codes of a value set on a date, filtered and by the page."""
    given = read_parameters(EXPAND)
    value_set = _value_set(given, identifier)
    page = Page(
        filter=_text(given, "filter"),
        words=_words(_text(given, "filter")),
        offset=_not_negative(given, "offset") or 0,
        count=_count(given),
        active_only=bool(_one(given, "activeOnly")),
        for_ui=bool(_one(given, "excludeNotForUI")),
        without_systems=frozenset(official(one.partition("|")[0]) for one in given.get("exclude-system", ())),
    )
    made = {**expansion(value_set, _moment(given), page), "timestamp": datetime.now(UTC).isoformat(timespec="seconds")}
    kept = value_set if _one(given, "includeDefinition") else {k: v for k, v in value_set.items() if k != "compose"}
    return fhir_response({**kept, "expansion": made})


def validate_code_in_value_set(identifier: str = "") -> Response:
    """ValueSet/$validate-code: is a code one of the value set, on a date?"""
    given = read_parameters(VALUE_SET_VALIDATE_CODE)
    value_set = _value_set(given, identifier)
    moment = _moment(given)
    asked = _asked(given, _text(given, "system"), _text(given, "systemVersion"))
    return _validated([_in_value_set(one, value_set, moment, given) for one in asked])


def _value_set(given: Given, identifier: str) -> Json:
    if "context" in given:
        sentence = "A context is not supported; name the value set by url, valueSet or its id."
        refuse(400, "not-supported", sentence, "context")
    if not identifier and "valueSet" not in given:
        if "url" not in given:
            refuse(400, "required", "The value set is missing; give its url, or the resource as valueSet.", "url")
        return value_set_of(published(), _text(given, "url"), _text(given, "valueSetVersion"))
    resource: Json = _instance("ValueSet", identifier) if identifier else _one(given, "valueSet")
    _refuse_other(given, "url", resource.get("url", ""))
    _refuse_other(given, "valueSetVersion", resource.get("version", ""))
    return resource


def _refuse_other(given: Given, name: str, own: str) -> None:
    """Who names a resource twice has to mean the same one."""
    if _text(given, name).partition("|")[0] not in ("", own):
        refuse(400, "invalid", f"The {name} is of another resource than the one that is given; leave it out.", name)


def _words(text: str) -> tuple[str, ...]:
    if len(text) > MAX_FILTER:
        refuse(400, "too-long", f"The filter has more than {MAX_FILTER} characters; give a shorter one.", "filter")
    return tuple(dict.fromkeys(text.lower().split()))


def _not_negative(given: Given, name: str) -> int | None:
    value: int | None = _one(given, name)
    if value is not None and value < 0:
        refuse(400, "value", f"The parameter {name} is 0 or more.", name)
    return value


def _count(given: Given) -> int | None:
    """A page as long as it is asked for, or none: who counts on by what was asked for would lose the rest."""
    count = _not_negative(given, "count")
    if count and count > MAX_PAGE:
        refuse(422, "too-costly", f"A page has at most {MAX_PAGE} codes; ask for so many, and on by offset.", "count")
    return count


def _moment(given: Given) -> Moment:
    date = day_of(_text(given, "date")) if "date" in given else ""
    versions = (_versions(given, f"{which}system-version") for which in ("", "force-", "check-"))
    return Moment(published(), date, *versions)


def _versions(given: Given, name: str) -> dict[str, str]:
    found = {official(url): version for url, _, version in (one.partition("|") for one in given.get(name, ()))}
    if not all(found.values()):
        refuse(400, "value", f"A version is missing; give {name} as the system and its version, system|version.", name)
    return found


def _in_value_set(asked: Asked, value_set: Json, moment: Moment, given: Given) -> Verdict:
    moment = replace(moment, versions={asked.system: asked.version})
    selected = selects(value_set, moment, asked.system, asked.code)
    if selected:
        absence = selected.edition.absence(selected.code) if selected.edition else ""
        return _verdict(asked, selected.concept(), absence, given)
    edition = moment.edition(asked.system)
    if edition and edition.concept(asked.code) is None:
        return Verdict(False, edition.absence(asked.code))
    return Verdict(False, "The code is not in the value set; $expand lists those that are.")


# --- ConceptMap/$translate ----------------------------------------------------------------------------------------


def translate_code(identifier: str = "") -> Response:
    """ConceptMap/$translate: what a code stands for in another system; `reverse` asks what stands for the code."""
    given = read_parameters(TRANSLATE)
    maps = _maps(given, identifier)
    dependencies = dict(_dependency(one) for one in given.get("dependency", ()))
    target = official(_text(given, "targetsystem").partition("|")[0])
    reverse = bool(_one(given, "reverse"))
    matches = [
        match
        for asked in _asked(given, _text(given, "system"), _text(given, "version"))
        for match in translate(maps, Question(asked.system, asked.code, target, dependencies, reverse))
    ]
    is_found = any(match.equivalence not in NO_MATCH for match in matches)
    parts = [part("result", valueBoolean=is_found)]
    if not is_found:
        parts.append(part("message", valueString="No map that is served has a match for the code."))
    return _parameters([*parts, *map(_match, matches)])


def _maps(given: Given, identifier: str) -> list[Json]:
    if identifier:
        return [_instance("ConceptMap", identifier)]
    if "conceptMap" in given:
        return [_one(given, "conceptMap")]
    if "url" in given:
        found = published().by_url("ConceptMap", _text(given, "url"), _text(given, "conceptMapVersion"))
        if found is None:
            refuse(
                404, "not-found", "No concept map of that url and version is served; GET /fhir/ConceptMap lists them."
            )
        return [found]
    fits = partial(_fits, given)
    return [one for one in published().of_type("ConceptMap") if fits(one)]


def _fits(given: Given, concept_map: Json) -> bool:
    sides = {"source": "sourceUri", "target": "targetUri"}
    return all(name not in given or concept_map.get(side) == _text(given, name) for name, side in sides.items())


def _dependency(parts: Sequence[Json]) -> tuple[str, str]:
    """The element of a dependency and the code that it has."""
    by_name = {one.get("name"): one for one in parts}
    element = by_name.get("element", {}).get("valueUri")
    codings = by_name.get("concept", {}).get("valueCodeableConcept", {}).get("coding") or [{}]
    if not element or not codings[0].get("code"):
        sentence = "A dependency has element (uri) and concept (CodeableConcept with a coding); give both."
        refuse(400, "required", sentence, "dependency")
    return element, codings[0]["code"]


def _match(match: Match) -> Json:
    concept = _coding(match.system, match.code, match.display) if match.code else {}
    parts = [part("equivalence", valueCode=match.equivalence)]
    parts += [part("concept", valueCoding=concept)] if concept else []
    for element, system, code in match.products:
        told = [part("element", valueUri=element), part("concept", valueCoding=_coding(system, code))]
        parts.append(part("product", part=told))
    return part("match", part=[*parts, *([part("source", valueUri=match.source)] if match.source else [])])


def _coding(system: str, code: str, display: str = "") -> Json:
    """FHIR has no empty strings: what a map does not say is left out."""
    return {name: told for name, told in (("system", system), ("code", code), ("display", display)) if told}


# --- the addresses ------------------------------------------------------------------------------------------------


def _serve(kind: str, operation: str, view: Callable[..., Response], levels: str) -> None:
    """Registers an operation for GET and POST, at the type and where R4 has it at the instance."""
    places = {"type": f"/{kind}/${operation}", "instance": f"/{kind}/<identifier>/${operation}"}
    for level in levels.split():
        terminology_api.add_url_rule(places[level], f"{kind}-{operation}-{level}", view, methods=["GET", "POST"])


_serve("CodeSystem", "lookup", lookup, "type")
_serve("CodeSystem", "validate-code", validate_code_in_code_system, "type instance")
_serve("ValueSet", "expand", expand, "type instance")
_serve("ValueSet", "validate-code", validate_code_in_value_set, "type instance")
_serve("ConceptMap", "translate", translate_code, "type instance")
