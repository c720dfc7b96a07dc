"""The strict gate: what is wrong with a FHIR R4 resource, all of it in one go.

fhir.resources (R4B, the nearest it has to R4) knows the elements and the formats of primitives, but reads leniently
and checks no binding. So each resource is walked here against the element definitions of fhir.resources, for what
JSON and R4 forbid and it lets pass; then its own validation follows for the formats. The dict that came in stays the
truth, as its models change dates and decimals.

What is an error here and what only a flag: CONTRACT "Malformed or flagged". A missing Encounter.class, an attachment
whose base64 cannot be read, an unknown code or system are flags of the rules, so they pass.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from service.fhir_definitions import ElementDefinition, TypeDefinition, definition_of, resource_model, resource_package
from service.json_body import (
    Issue,
    Refusal,
    Severity,
    dump_json,
    issues_to_operation_outcome,
    parse_json,
    safe_name,
)
from service.required_bindings import CONDITION_CLINICAL, CONDITION_VER_STATUS, REQUIRED_CODES, REQUIRED_CONCEPTS
from service.sound import is_sound

if typing.TYPE_CHECKING:
    from service.fhir_definitions import Model

__all__ = [
    "Issue",
    "Refusal",
    "dump_json",
    "issues_to_operation_outcome",
    "modifier_extensions",
    "parse_json",
    "refuse_errors",
    "refuse_unsound",
    "status_of",
    "validate_resource",
]

MAX_ISSUES = 20

# FHIR R4 "http", 400: "could not be parsed or failed basic FHIR validation rules"; 422: understood, not acceptable.
UNPROCESSABLE = frozenset({"code-invalid", "invariant", "business-rule"})

# Oracle Health (Cerner) shows this in its own examples; it means userSelected, and nothing reads it.
WELL_KNOWN_SLIPS = frozenset({"Coding.isUserSelected"})

# Captures of Cerner answers have "T02: 19: 13.000Z" and "http: //snomed.info/sct".
BLANK_AFTER_COLON = re.compile(r"(?<=:) +")

# Not refused: an unreadable attachment is a flag, and its text is simply not read.
UNCHECKED_FORMATS = frozenset({"base64Binary"})

LISTED_CODES = 30  # of a binding: the currencies are 180
PATH_STEP = re.compile(r"[.\[]")
RESOURCE_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")

WHAT_TO_WRITE = {
    "boolean": "true or false, without quotes",
    "code": "a code without leading, trailing or double spaces",
    "date": "a date that exists, such as 2026, 2026-03 or 2026-03-31",
    "dateTime": "a date that exists, such as 2026-03-31 or 2026-03-31T13:28:17-05:00; a time needs its offset",
    "decimal": "a number, without quotes",
    "id": "1 to 64 of the characters A-Z, a-z, 0-9, '-' and '.'",
    "instant": "a moment such as 2026-03-31T13:28:17.239-05:00",
    "integer": "a whole number from -2147483648 to 2147483647, without quotes",
    "oid": "an OID such as urn:oid:2.16.840.1.113883.6.90",
    "positiveInt": "a whole number from 1 to 2147483647, without quotes",
    "time": "a time of day such as 13:28:17",
    "unsignedInt": "a whole number from 0 to 2147483647, without quotes",
    "uuid": "a UUID such as urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
}

JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "decimal": (int, Decimal, float),
    "integer": (int,),
    "positiveInt": (int,),
    "unsignedInt": (int,),
}
TEXT = (str,)


def validate_resource(resource: object, *, allowed: frozenset[str], at: str = "") -> list[Issue]:
    """Return what is wrong with a resource of one of the allowed types, errors first, 20 issues at most.

    `at` is the FHIRPath of the resource where it lies inside another (Parameters.parameter[0].resource). Resources
    inside this one (contained, Bundle.entry, Parameters.parameter) may be of any R4 type and are validated with it.

    Issue codes say how bad it is: structure, required and value are about the shape (`status_of`: 400);
    code-invalid and invariant are about meaning (422); a warning (con-3) refuses nothing.
    """
    try:
        issues = _issues_of(resource, allowed, at)
    except RecursionError:
        issues = [Issue("error", "structure", "The resource is nested too deeply; send a flatter one.", at)]
    # Errors first, so that no number of warnings can push an error off the list.
    return sorted(issues, key=lambda issue: issue.severity != "error")[:MAX_ISSUES]


def status_of(issues: Sequence[Issue]) -> int:
    """Return the HTTP status for issues of which one is an error: 422 if only the meaning is wrong, else 400."""
    errors = {issue.code for issue in issues if issue.severity == "error"}
    return 422 if errors <= UNPROCESSABLE else 400


def refuse_errors(issues: Sequence[Issue]) -> None:
    """Raise Refusal with all the issues if one of them is an error."""
    if any(issue.severity in ("error", "fatal") for issue in issues):
        raise Refusal(status_of(issues), issues)


def refuse_unsound(resource: object, *, allowed: frozenset[str], at: str = "") -> None:
    """Raise Refusal where `validate_resource` finds an error; what is plainly valid is not looked at twice."""
    if not is_sound(resource, allowed):
        refuse_errors(validate_resource(resource, allowed=allowed, at=at))


def modifier_extensions(resource: Mapping[str, object]) -> list[str]:
    """Return the FHIRPath of every modifierExtension, in document order: it may turn the meaning around."""
    found: list[str] = []
    unread: list[tuple[object, str]] = [(resource, safe_name(resource.get("resourceType")))]
    while unread:
        value, path = unread.pop()
        children = list(_children(value, path))
        if path.rpartition(".")[2].startswith("modifierExtension["):
            found.append(path)
        unread.extend(reversed(children))
    return found


def _children(value: object, path: str) -> Iterator[tuple[object, str]]:
    if isinstance(value, dict):
        yield from ((child, f"{path}.{safe_name(name).lstrip('_')}") for name, child in value.items())
    elif isinstance(value, list):
        yield from ((child, f"{path}[{index}]") for index, child in enumerate(value))


# --- the walk -------------------------------------------------------------------------------------------------


def _issues_of(resource: object, allowed: frozenset[str], at: str) -> list[Issue]:
    if not isinstance(resource, dict):
        return [_structure(at, f"{at or 'The body'} must be a JSON object with a FHIR resource; {_found(resource)}.")]
    resource_type = resource.get("resourceType")
    model = resource_model(resource_type) if isinstance(resource_type, str) and resource_type in allowed else None
    if model is None:
        return [_wrong_resource_type(allowed, at)]
    path = at or model.__name__
    issues: list[Issue] = []
    _walk_object(resource, model, path, issues)
    return issues + _format_issues(resource, model, path, issues)


def _wrong_resource_type(allowed: frozenset[str], at: str) -> Issue:
    path = f"{at}.resourceType" if at else "resourceType"
    return _structure(path, f"{path} must be one of: {', '.join(sorted(allowed))}; give the type of the resource.")


def _walk_object(members: dict[str, object], model: Model, path: str, issues: list[Issue]) -> None:
    """Add what is wrong with one object, then with each of its elements."""
    definition = definition_of(model)
    if not members:
        issues.append(_structure(path, f"{path} is an empty object, which FHIR forbids; leave it out or fill it."))
        return
    for name, value in members.items():
        element = definition.elements.get(name)
        if element is not None:
            _walk_element(members, element, value, path, issues)
        elif not (definition.is_resource and name == "resourceType"):
            issues.append(_unknown_element(definition.name, name, path))
        binding = REQUIRED_CODES.get(f"{definition.name}.{name}")
        if binding:
            issues.extend(_code_issues(value, binding, f"{path}.{name}"))
    issues.extend(_cardinality_issues(members, definition, path))
    if definition.name == "Condition":
        issues.extend(_condition_issues(members, path))


def _walk_element(
    members: dict[str, object], element: ElementDefinition, value: object, path: str, issues: list[Issue]
) -> None:
    """Add what is wrong with an element: not an array where R4 wants one, or the reverse, or a value of it."""
    here = f"{path}.{element.name.lstrip('_')}"
    if not element.repeats:
        _walk_value(element, value, here, issues)
    elif not isinstance(value, list):
        issues.append(_structure(here, f"{here} must be a JSON array; {_found(value)}: put it in [ ]."))
    elif not value:
        issues.append(_structure(here, f"{here} is an empty array, which FHIR forbids; leave it out or fill it."))
    else:
        for index, one in enumerate(value):
            if one is not None or not _is_paired(members, element, index):
                _walk_value(element, one, f"{here}[{index}]", issues)


def _walk_value(element: ElementDefinition, value: object, path: str, issues: list[Issue]) -> None:
    """Add what is wrong with one value: null, of another JSON type, empty, or in what it holds."""
    if value is None:
        issues.append(_structure(path, f"{path} is null, which FHIR forbids; leave it out or give it a value."))
    elif element.model is None:
        issues.extend(_primitive_issues(element.type_name, value, path))
    elif not isinstance(value, dict):
        issues.append(_structure(path, f"{path} must be a JSON object ({element.type_name}); {_found(value)}."))
    else:
        model = element.model if element.type_name != "Resource" else resource_model(value.get("resourceType"))
        if model is None:
            text = f"{path}.resourceType must name a FHIR R4 resource type; give the resource its type."
            issues.append(_structure(f"{path}.resourceType", text))
        else:
            _walk_object(value, model, path, issues)


def _is_paired(members: dict[str, object], element: ElementDefinition, index: int) -> bool:
    """Is the null at this place of a repeating primitive filled by its sibling (FHIR JSON, `given` and `_given`)?"""
    sibling = members.get(element.name[1:] if element.name.startswith("_") else "_" + element.name)
    return isinstance(sibling, list) and index < len(sibling) and sibling[index] is not None


def _primitive_issues(type_name: str, value: object, path: str) -> Iterator[Issue]:
    wanted = JSON_TYPES.get(type_name, TEXT)
    is_boolean_as_number = isinstance(value, bool) and bool not in wanted
    if not isinstance(value, wanted) or is_boolean_as_number:
        write = WHAT_TO_WRITE.get(type_name, "a JSON string")
        yield Issue("error", "value", f"{path} must be a {type_name}; {_found(value)}: write {write}.", path)
    elif value == "":
        yield Issue("error", "value", f"{path} is an empty string, which FHIR forbids; leave it out or fill it.", path)
    elif type_name == "id" and not RESOURCE_ID.fullmatch(str(value)):
        yield _wrong_format("id", path)


def _cardinality_issues(members: dict[str, object], definition: TypeDefinition, path: str) -> Iterator[Issue]:
    for name in definition.required:
        if name not in members and "_" + name not in members:
            yield _required(f"{path}.{name}")
    for group, (is_required, names) in definition.choices.items():
        given = [name for name in names if name in members or "_" + name in members]
        if len(given) > 1:
            text = f"{path} has {' and '.join(given)}, but {group}[x] takes one type only; keep one of them."
            yield _structure(f"{path}.{group}", text)
        if is_required and not given:
            yield _required(f"{path}.{group}")


# --- bindings and invariants ----------------------------------------------------------------------------------


def _code_issues(value: object, codes: tuple[str, ...], path: str) -> Iterator[Issue]:
    one_of = value if isinstance(value, list) else [value]
    if any(isinstance(code, str) and code and code not in codes for code in one_of):
        listed = ", ".join(codes) if len(codes) <= LISTED_CODES else f"{', '.join(codes[:3])} and {len(codes) - 3} more"
        yield Issue("error", "code-invalid", f"{path} must be one of: {listed}.", path)


def _condition_issues(condition: dict[str, object], path: str) -> Iterator[Issue]:
    for name in ("clinicalStatus", "verificationStatus"):
        system, codes = REQUIRED_CONCEPTS[f"Condition.{name}"]
        yield from _concept_issues(condition.get(name), system, codes, f"{path}.{name}")
    clinical = _codes_of(condition.get("clinicalStatus"), CONDITION_CLINICAL)
    is_entered_in_error = "entered-in-error" in _codes_of(condition.get("verificationStatus"), CONDITION_VER_STATUS)
    has_abated = any(name.lstrip("_").startswith("abatement") for name in condition)
    status = f"{path}.clinicalStatus"
    # The wording of con-3 in R4, not its expression, which compares a concept with a string and never fires.
    if "clinicalStatus" not in condition and not is_entered_in_error and _is_problem(condition):
        text = f"{status} is missing on a problem-list item (con-3); say whether it is active or resolved."
        yield Issue("warning", "invariant", text, status)
    if has_abated and not clinical & {"inactive", "remission", "resolved"}:
        text = f"{status} must be inactive, remission or resolved since the abatement is given (con-4); correct one."
        yield Issue("error", "invariant", text, status)
    if "clinicalStatus" in condition and is_entered_in_error:
        text = f"{status} must be left out when verificationStatus is entered-in-error (con-5); remove it."
        yield Issue("error", "invariant", text, status)


def _concept_issues(concept: object, system: str, codes: tuple[str, ...], path: str) -> Iterator[Issue]:
    """A required binding wants one coding of its system; a coding without system is taken to be of it."""
    if not isinstance(concept, dict) or not concept.keys() & {"coding", "text"}:
        return  # of the wrong shape, said elsewhere; or only an extension that says why it is absent
    found = _codes_of(concept, system)
    if not found or not found <= set(codes):
        text = f"{path} must have a code of {system}: {', '.join(codes)}."
        yield Issue("error", "code-invalid", text, path)


def _codes_of(concept: object, system: str) -> set[object]:
    codings = concept.get("coding") if isinstance(concept, dict) else None
    if not isinstance(codings, list):
        return set()
    ours = [coding for coding in codings if isinstance(coding, dict) and _is_of(system, coding.get("system"))]
    return {coding["code"] for coding in ours if isinstance(coding.get("code"), str)}


def _is_of(system: str, written: object) -> bool:
    return written is None or (isinstance(written, str) and BLANK_AFTER_COLON.sub("", written) == system)


def _is_problem(condition: dict[str, object]) -> bool:
    categories = condition.get("category")
    return isinstance(categories, list) and any(
        "problem-list-item" in _codes_of(category, "http://terminology.hl7.org/CodeSystem/condition-category")
        for category in categories
    )


# --- the formats of primitives, by fhir.resources -------------------------------------------------------------


def _format_issues(resource: dict[str, object], model: Model, path: str, known: Sequence[Issue]) -> list[Issue]:
    """Return what fhir.resources finds besides what is known; its words may quote the input, so ours replace them."""
    from pydantic import ValidationError  # noqa: PLC0415 (120 ms, on first use)

    try:
        model.model_validate(_without_nulls(resource))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        # Its reader trips over shapes that it does not expect; the walk has named them, or nobody can.
        return [] if known else [_structure(path, f"{path} cannot be read as {model.__name__}; check its structure.")]
    else:
        return []
    told = {issue.expression for issue in known}
    above_told = {place for expression in told for place in _places_above(expression)}
    return [
        issue
        for issue in (_format_issue(model, resource, one["loc"], path) for one in found if _is_about_format(one))
        if issue is not None and not _is_told(issue.expression, told, above_told)
    ]


def _without_nulls(value: object) -> object:
    """Copy, leaving out each array with a null: there fhir.resources would stop and say nothing of the rest."""
    if isinstance(value, list):
        return [_without_nulls(one) for one in value]
    if not isinstance(value, dict):
        return value
    held = {name: one for name, one in value.items() if not (isinstance(one, list) and None in one)}
    return {name: _without_nulls(one) for name, one in held.items()}


def _is_about_format(error: Mapping[str, typing.Any]) -> bool:
    # The walk knows what is required, and what may be missing all the same.
    return not str(error["type"]).endswith("missing")


def _format_issue(model: Model, resource: dict[str, object], loc: Sequence[int | str], path: str) -> Issue | None:
    """Turn pydantic's place (category, 0, coding, 0, system) into FHIRPath and say what to write there."""
    value: typing.Any = resource
    element = ElementDefinition("", model.__name__, False, model)
    for step in loc:
        if isinstance(step, int):
            path, value = f"{path}[{step}]", value[step] if isinstance(value, list) and step < len(value) else None
            continue
        held = value if isinstance(value, dict) else {}  # where it is none, fhir.resources names a place deeper yet
        holder = resource_model(held.get("resourceType")) if element.type_name == "Resource" else element.model
        found = definition_of(holder).elements.get(step) if holder else None
        if found is None:
            return _structure(path, f"{path} does not fit its definition in FHIR R4; check its structure.")
        element, path = found, f"{path}.{step.lstrip('_')}"
        value = held.get(step)
    if element.type_name in UNCHECKED_FORMATS:
        return None
    return (
        _blanks(element, path) if _is_valid_without_blanks(element, value) else _wrong_format(element.type_name, path)
    )


def _is_valid_without_blanks(element: ElementDefinition, value: object) -> bool:
    """Would this date or time be valid without blanks after its colons?"""
    if element.type_name not in ("dateTime", "instant", "time") or not isinstance(value, str):
        return False
    value_x = f"value{element.type_name[0].upper()}{element.type_name[1:]}"
    extension = resource_package().get_fhir_model_class("Extension")
    try:
        extension.model_validate({"url": "urn:x", value_x: BLANK_AFTER_COLON.sub("", value)})
    except ValueError:
        return False
    return True


def _is_told(path: str, told: set[str], above_told: set[str]) -> bool:
    """Is there an issue at this place already, or above or below it?"""
    return path in told or path in above_told or not told.isdisjoint(_places_above(path))


def _places_above(path: str) -> list[str]:
    return [path[: step.start()] for step in PATH_STEP.finditer(path)]


# --- the sentences --------------------------------------------------------------------------------------------


def _structure(path: str, text: str) -> Issue:
    return Issue("error", "structure", text, path)


def _required(path: str) -> Issue:
    return Issue("error", "required", f"{path} is missing, and FHIR R4 requires it; add it.", path)


def _wrong_format(type_name: str, path: str) -> Issue:
    write = WHAT_TO_WRITE.get(type_name, f"a value that FHIR R4 allows for {type_name}")
    return Issue("error", "value", f"{path} is not a valid {type_name}; write {write}.", path)


def _blanks(element: ElementDefinition, path: str) -> Issue:
    text = f"{path} is a valid {element.type_name} only without the blanks after its colons; write it without them."
    return Issue("warning", "value", text, path)


def _unknown_element(type_name: str, name: str, path: str) -> Issue:
    named = safe_name(name)
    text = f"{type_name} has no element '{named}' in FHIR R4" if named else f"{path} has an element unknown to FHIR R4"
    severity: Severity = "warning" if f"{type_name}.{name}" in WELL_KNOWN_SLIPS else "error"
    expression = f"{path}.{named}" if named else path
    return Issue(severity, "structure", f"{text}; remove it or carry it as an extension.", expression)


def _found(value: object) -> str:
    """Say which JSON type stands there, never the value."""
    names = {type(None): "null", bool: "a boolean", str: "a string", list: "an array", dict: "an object"}
    return f"it is {names.get(type(value), 'a number')}"
