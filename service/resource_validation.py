"""$validate of Condition, DiagnosticReport and Claim: structure, required bindings, invariants, profile.

Of a Condition it says too what the documentation rules say.

The call succeeds whatever is wrong with the resource; what is wrong is the answer (FHIR R4, Resource/$validate).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from service import __version__
from service.assist import Assist
from service.code_systems import refuse
from service.concepts import system_of
from service.envelope import reference_of
from service.fhir_out import CANONICAL, Json, outcome
from service.invariants import broken_invariants
from service.json_body import Issue, issues_to_operation_outcome
from service.record import Entry, Request
from service.required_bindings import REQUIRED_CONCEPTS
from service.validation import refuse_errors, status_of, validate_resource

R4 = "4.0.1"
VALIDATE = {"resource": "Resource", "mode": "code", "profile": "uri"}
KINDS = ("Condition", "DiagnosticReport", "Claim")
MODES = ("create", "update", "delete", "profile")
OUR_PROFILE = f"{CANONICAL}/StructureDefinition/documented-stenosis-condition"
REPORT_PROFILE = f"{CANONICAL}/StructureDefinition/stenosis-evidence-report"
_HEADER = re.compile(r"M99\.[2-7]")
_WORDS = ("note", "evidence")
NOTHING_KEPT = "This service keeps no resources, so there is none to update or delete by its id; send the resource."


@dataclass(frozen=True)
class Asked:
    """What a call of $validate asks: a resource of which type, unread, and against what it is to be held."""

    kind: str
    resource: object
    mode: str = ""
    profile: str = ""
    identifier: str = ""


def read_call(body: object, kind: str, identifier: str, query: Mapping[str, str], *, strict: bool = False) -> Asked:
    """The resource of a body that is it or of Parameters with resource, mode, profile; Refusal for a failed call.

    `strict`: a parameter that $validate does not have is refused; else it is passed over, as R4 servers do.

    Where the body is the resource itself, mode and profile may stand in the `query` of the address.
    """
    if not isinstance(body, dict) or body.get("resourceType") != "Parameters":
        return _held_against(Asked(kind, body, query.get("mode", ""), query.get("profile", ""), identifier))
    refuse_errors(validate_resource(_without_resource(body), allowed=frozenset({"Parameters"})))
    named = _by_name(body.get("parameter", ()), strict=strict)
    mode, profile = _value(named, "mode", "valueCode"), _value(named, "profile", "valueUri", "valueCanonical")
    return _held_against(Asked(kind, named.get("resource", {}).get("resource"), mode, profile, identifier))


def _by_name(parameters: Sequence[Json], *, strict: bool) -> Mapping[str, Json]:
    named: dict[str, Json] = {}
    for one in parameters:
        name = one["name"]
        if strict and name not in VALIDATE:
            refuse(400, "not-supported", f"A parameter is not one of this operation; it takes {', '.join(VALIDATE)}.")
        if name in VALIDATE and name in named:
            refuse(400, "invalid", f"The parameter {name} is given more than once; give it once.", name)
        named[name] = one
    return named


def _held_against(asked: Asked) -> Asked:
    """The call, where its mode and its profile are ones that are known; Refusal 400 else."""
    mode, (profile, _, version) = asked.mode, asked.profile.partition("|")
    if mode not in ("", *MODES):
        refuse(400, "not-supported", f"The mode is none of {', '.join(MODES)}; give one of them.", "mode")
    known = _profiles_of(asked.kind)
    if profile and profile not in known:
        sentence = f"The profile is none that is known of {asked.kind}; give {' or '.join(known)}."
        refuse(400, "not-supported", sentence, "profile")
    if version and version != (served := __version__ if profile in PROFILES else R4):
        refuse(400, "not-supported", f"That version of the profile is not known; {served} is.", "profile")
    if mode == "profile" and not profile:
        refuse(400, "required", "The mode profile needs the parameter profile; give it.", "profile")
    return replace(asked, profile=profile)


def _without_resource(body: Json) -> Json:
    """The Parameters with a sound resource in place of the one that is judged apart: its faults are no failed call."""
    parameters = body.get("parameter")
    if not isinstance(parameters, list):
        return body
    sound = {"resource": {"resourceType": "Basic", "code": {"text": "judged apart"}}}
    shell = [{**one, **sound} if isinstance(one, dict) else one for one in parameters]
    return {**body, "parameter": shell}


def _value(named: Mapping[str, Json], name: str, *types: str) -> str:
    if name not in named:
        return ""
    found = next((named[name][one] for one in types if one in named[name]), None)
    if not isinstance(found, str):
        refuse(400, "value", f"The parameter {name} has another type; give it as {types[0]}.", name)
    return found


def validated(asked: Asked, assist: Assist) -> Json:
    """The OperationOutcome of the full validation; Refusal 4xx where there is nothing to validate."""
    if asked.resource is None:
        if asked.identifier or asked.mode == "delete":
            refuse(404, "not-found", NOTHING_KEPT)
        refuse(400, "required", f"The resource is missing; send a {asked.kind}, alone or as parameter.", "resource")
    found = validate_resource(asked.resource, allowed=frozenset({asked.kind}))
    if status_of(found) == 400:  # the shape is wrong, so that nothing can be read from it
        return issues_to_operation_outcome(found)
    resource = asked.resource
    assert isinstance(resource, dict)  # noqa: S101 - of sound shape
    found = [*found, *broken_invariants(resource), *_without_system(resource)]
    found += [*_of_mode(resource, asked), *_of_profile(resource, asked)]
    if asked.kind != "Condition":
        return issues_to_operation_outcome(found)
    return _with_documentation(found, resource, assist)


def _with_documentation(found: Sequence[Issue], condition: Json, assist: Assist) -> Json:
    told = assist.answer(Request("charting", [Entry(condition, reference_of(condition, None, "#0"))])).all_issues
    if not told:
        return issues_to_operation_outcome(found)
    shape = issues_to_operation_outcome(found)["issue"] if found else []
    assert isinstance(shape, list)  # noqa: S101 - an OperationOutcome
    documentation = outcome(told)
    return {**documentation, "issue": [*shape, *documentation["issue"]]}


def _without_system(resource: Json) -> Iterator[Issue]:
    """A code that an element is bound to, of no system: who reads a record lets it pass, but R4 does not."""
    for place in REQUIRED_CONCEPTS:
        codings = resource.get(place.partition(".")[2], {}).get("coding", ())
        if codings and not any("system" in coding for coding in codings):
            text = f"{place} has a code without its system, so that it means nothing; give its system."
            yield Issue("error", "code-invalid", text, f"{place}.coding[0]")


def _of_mode(resource: Json, asked: Asked) -> Iterator[Issue]:
    if asked.mode == "delete":
        yield Issue("error", "not-supported", NOTHING_KEPT)
    identifier, place = resource.get("id"), f"{asked.kind}.id"
    if asked.mode == "update" and identifier is None:
        text = f"{place} is missing, and an update needs it; add it."
        yield Issue("error", "required", text, place)
    if asked.identifier and identifier not in (None, asked.identifier):
        text = f"{place} is another than the id of the address; make them the same."
        yield Issue("error", "value", text, place)


# --- the profiles -------------------------------------------------------------------------------------------------


def _profiles_of(kind: str) -> tuple[str, ...]:
    core = f"http://hl7.org/fhir/StructureDefinition/{kind}"
    return core, *(profile for profile, (of, _) in PROFILES.items() if of == kind)


def _of_profile(resource: Json, asked: Asked) -> Iterator[Issue]:
    """The warnings of our profile, where it is asked for or claimed; profiles of others that are claimed are named."""
    claimed = [str(one).partition("|")[0] for one in resource.get("meta", {}).get("profile", ())]
    known = _profiles_of(asked.kind)
    for place, profile in enumerate(claimed):
        if profile not in known:
            text = "This profile is not known here, so the resource was not held against it."
            yield Issue("information", "not-supported", text, f"{asked.kind}.meta.profile[{place}]")
    for profile in (one for one in known if one in PROFILES and one in (asked.profile, *claimed)):
        for key, (holds, says, at) in PROFILES[profile][1].items():
            if not holds(resource):
                yield Issue("warning", "invariant", f"{says} ({key}).", at)


def _icd10cm(condition: Json) -> list[str]:
    codings = condition.get("code", {}).get("coding", ())
    return [str(one.get("code", "")) for one in codings if system_of(one) == "icd-10-cm"]


def _names_no_header(condition: Json) -> bool:
    return not any(_HEADER.fullmatch(code) for code in _icd10cm(condition))


def _has_words(condition: Json) -> bool:
    is_ours = any(code.startswith("M99.") for code in _icd10cm(condition))
    return not is_ours or "text" in condition.get("code", {}) or any(name in condition for name in _WORDS)


def _has_code(condition: Json) -> bool:
    return "code" in condition


_EVIDENCE = frozenset({"final", "amended", "corrected", "appended"})


def _can_be_read(report: Json) -> bool:
    return any(name in report for name in ("conclusion", "presentedForm", "text"))


def _is_evidence(report: Json) -> bool:
    return report.get("status") in _EVIDENCE


# The invariants of fhir_profiles/fsh as code, since an engine for FHIRPath takes 1.6 ms for each: tests hold the two
# together on the same resources.
Invariants = Mapping[str, tuple[Callable[[Json], bool], str, str]]
INVARIANTS: Invariants = {
    "dsc-1": (_names_no_header, "A header is not reported; give the code of the region", "Condition.code"),
    "dsc-2": (_has_words, "Words that document the code are missing; add code.text, a note or evidence", "Condition"),
    "dsc-3": (_has_code, "A diagnosis has a code or words; add Condition.code", "Condition"),
}
REPORT_INVARIANTS: Invariants = {
    "ser-1": (_can_be_read, "Nothing can be read; add a conclusion, presented form or narrative", "DiagnosticReport"),
    "ser-2": (_is_evidence, "Only a final, amended, corrected or appended one is evidence", "DiagnosticReport.status"),
}
PROFILES: Mapping[str, tuple[str, Invariants]] = {
    OUR_PROFILE: ("Condition", INVARIANTS),
    REPORT_PROFILE: ("DiagnosticReport", REPORT_INVARIANTS),
}
