"""Opens what a caller sends to $coding-assist and $check: Parameters, a Bundle of resources or one bare Condition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from service.coding.model import Setting
from service.json_body import Issue, Refusal
from service.record import Entry, Request
from service.validation import refuse_unsound

Json = Mapping[str, Any]
ROLES = {
    "condition": "Condition",
    "diagnosticReport": "DiagnosticReport",
    "observation": "Observation",
    "documentReference": "DocumentReference",
    "encounter": "Encounter",
    "patient": "Patient",
    "claim": "Claim",
    "coverage": "Coverage",
    "practitionerRole": "PractitionerRole",
}
SINGLE = frozenset({"encounter", "patient", "claim", "coverage", "practitionerRole"})
CLAIM_ONLY = frozenset({"claim", "coverage", "practitionerRole"})
MAX_CONDITIONS = 1000  # about what 1 MiB holds of real ones; that many take two seconds
KNOWN = frozenset({*ROLES.values(), "Organization"})  # of an Organization the name of a payer is read


def open_envelope(body: Any, setting: Setting) -> Request:
    """The Request of a validated body; Refusal with one sentence for each fault."""
    refuse_unsound(body, allowed=frozenset({"Parameters", "Bundle", *KNOWN}))
    if body["resourceType"] == "Parameters":
        roles, date = _from_parameters(body, setting)
    elif body["resourceType"] == "Bundle":
        roles, date = _by_type(_bundle_entries(body)), None
    else:
        roles, date = _by_type([Entry(body, reference_of(body, None, "#0"))]), None
    return _request(roles, date, setting)


def request_of(entries: Iterable[Entry], setting: Setting) -> Request:
    """The Request of resources that were validated already, as if they had come in one Bundle."""
    return _request(_by_type(entries), None, setting)


def refuse_crowd(conditions: Sequence[Entry]) -> None:
    """413 for more Conditions than are judged while somebody waits."""
    if len(conditions) > MAX_CONDITIONS:
        sentence = (
            f"The call brings {len(conditions)} Conditions, and {MAX_CONDITIONS} are judged at once; send those of the "
            "encounter or of the problem list."
        )
        raise Refusal(413, [Issue("error", "too-long", sentence)])


def reference_of(resource: Json, full_url: Any, position: str) -> str:
    """`Type/id`, else the entry's fullUrl, else `#n` by position (CONTRACT)."""
    if isinstance(resource.get("id"), str):
        return f"{resource['resourceType']}/{resource['id']}"
    return full_url if isinstance(full_url, str) and full_url else position


def _from_parameters(body: Json, setting: Setting) -> tuple[dict[str, list[Entry]], str | None]:
    roles: dict[str, list[Entry]] = {name: [] for name in _ROLE_OF.values()}
    date: str | None = None
    for index, parameter in enumerate(body.get("parameter") or ()):
        name, at = parameter.get("name"), f"Parameters.parameter[{index}]"
        if name == "dateOfService":
            date = _date_of(parameter, at)
        elif name in ROLES and not (name in CLAIM_ONLY and setting == "charting"):
            roles[name].append(_entry(parameter, name, at, len(roles[name])))
        else:
            raise Refusal(
                400,
                [
                    Issue(
                        "error",
                        "not-supported",
                        f"The parameter is not one of this operation; use {', '.join(_names(setting))}.",
                        at,
                    )
                ],
            )
    for name in SINGLE:
        if len(roles[name]) > 1:
            raise Refusal(
                400,
                [
                    Issue(
                        "error",
                        "structure",
                        f"The parameter {name} is given {len(roles[name])} times; give it once.",
                        "Parameters.parameter",
                    )
                ],
            )
    return roles, date


def _names(setting: Setting) -> list[str]:
    return [name for name in [*ROLES, "dateOfService"] if not (name in CLAIM_ONLY and setting == "charting")]


def _entry(parameter: Json, name: str, at: str, number: int) -> Entry:
    resource = parameter.get("resource") or {}
    if resource.get("resourceType") != ROLES[name]:
        sentence = f"The parameter {name} holds no {ROLES[name]}; give one under `resource`."
        raise Refusal(400, [Issue("error", "structure", sentence, f"{at}.resource")])
    return Entry(resource, reference_of(resource, None, f"#{number}"))


def _date_of(parameter: Json, at: str) -> str:
    value = parameter.get("valueDate") or parameter.get("valueDateTime")
    if not isinstance(value, str) or len(value) < 10:
        raise Refusal(
            400, [Issue("error", "value", "dateOfService is no complete date; give valueDate as YYYY-MM-DD.", at)]
        )
    return value[:10]


def _bundle_entries(body: Json) -> Iterator[Entry]:
    counts: dict[str, int] = {}
    for entry in body.get("entry") or ():
        resource = entry.get("resource")
        if not isinstance(resource, dict) or resource.get("resourceType") not in KNOWN:
            continue
        kind = resource["resourceType"]
        full_url = str(entry.get("fullUrl") or "")
        reference = reference_of(resource, full_url, f"#{counts.get(kind, 0)}")
        yield Entry(resource, reference, full_url=full_url)
        counts[kind] = counts.get(kind, 0) + 1


def _by_type(entries: Any) -> dict[str, list[Entry]]:
    roles: dict[str, list[Entry]] = {name: [] for name in _ROLE_OF.values()}
    for entry in entries:
        roles[_ROLE_OF[entry.type]].append(entry)
    return roles


_ROLE_OF = {kind: name for name, kind in ROLES.items()} | {"Organization": "organization"}


def _contained(claims: list[Entry]) -> Iterator[Entry]:
    """What a claim carries inside itself; its references name it as `#id`."""
    for claim in claims:
        for index, resource in enumerate(claim.resource.get("contained") or ()):
            if resource.get("resourceType") in KNOWN - {"Claim"}:
                local, path = f"#{resource.get('id')}", f"Claim.contained[{index}].code"
                yield Entry(resource, f"{claim.reference}{local}", claim.reference, path, local)


def _first(entries: list[Entry]) -> Entry | None:
    return entries[0] if entries else None


def _request(roles: dict[str, list[Entry]], date: str | None, setting: Setting) -> Request:
    conditions = roles["condition"]
    if not conditions and setting == "charting":
        raise Refusal(
            400,
            [
                Issue(
                    "error",
                    "required",
                    "No Condition is given; send at least one as parameter `condition`, in a Bundle or as the body.",
                    "Parameters.parameter",
                )
            ],
        )
    if not conditions and not roles["claim"]:
        raise Refusal(
            400,
            [
                Issue(
                    "error",
                    "required",
                    "Neither a Condition nor a Claim is given; send at least one of them.",
                    "Parameters.parameter",
                )
            ],
        )
    for entry in _contained(roles["claim"][:1]):
        roles[_ROLE_OF[entry.type]].append(entry)
    if len(roles["claim"]) > 1:
        sentence = f"The Bundle holds {len(roles['claim'])} Claims; send each with what belongs to it."
        raise Refusal(400, [Issue("error", "structure", sentence, "Bundle.entry")])
    claim = _first(roles["claim"]) if setting == "claim" else None
    encounter = _fitting_encounter(roles["encounter"], conditions)
    return Request(
        setting,
        conditions,
        roles["diagnosticReport"],
        roles["observation"],
        roles["documentReference"],
        encounter,
        _first(roles["patient"]),
        claim,
        _fitting_coverage(roles["coverage"], claim),
        _first(roles["practitionerRole"]),
        organizations=roles["organization"],
        date_of_service=date,
    )


def _fitting_coverage(coverages: list[Entry], claim: Entry | None) -> Entry | None:
    """The one that the claim is judged by (`insurance.focal`), where several are sent."""
    insurance = claim.resource.get("insurance") or () if claim else ()
    focal = [i for i in insurance if i.get("focal") is True] or list(insurance)
    named = str((focal[0].get("coverage") or {}).get("reference") or "") if focal else ""
    return next((c for c in coverages if named in (c.reference, c.full_url)), _first(coverages))


def _fitting_encounter(encounters: list[Entry], conditions: list[Entry]) -> Entry | None:
    """Of several encounters in a Bundle, the one that a Condition names."""
    named = {str((c.resource.get("encounter") or {}).get("reference") or "").split("/")[-1] for c in conditions}
    return next((e for e in encounters if str(e.resource.get("id")) in named), _first(encounters))
