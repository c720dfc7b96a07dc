"""One FHIR AuditEvent for each access to a patient's data, and the chain that shows when a record was tampered with.

The shape is IHE BALP's PatientQuery (a client, a server, the user where known, the patient, the request). Its query
element holds the request line alone: the body of a call is clinical text, which no audit record carries.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any, NamedTuple

from service.fhir_out import CANONICAL
from service.json_body import dump_sorted

Json = dict[str, Any]
PROFILE = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PatientQuery"
DICOM = "http://dicom.nema.org/resources/ontology/DCM"
ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
LOCAL_REFERENCE = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}")
REMOVED = "patient data removed"


class Access(NamedTuple):
    """Who did what to which patient's data, and when; `user` and `client` are empty where unknown.

    `recorded` is an instant in UTC, `patient` and `user` are references, `address` is the caller's network address.
    """

    recorded: str
    method: str
    path: str
    status: int
    request_id: str
    client: str
    address: str
    user: str
    patient: str
    decision: str
    server: str


def audit_event(access: Access) -> Json:
    """The access as an R4 AuditEvent; only a successful one claims the profile, which has no other outcome."""
    succeeded = access.status < 400
    line = base64.b64encode(f"{access.method} {access.path}".encode()).decode()
    entities = [
        _entity("https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType", "XrequestId", access.request_id),
        {"type": {"system": ENTITY_TYPE, "code": "2"}, "role": {"system": ROLE, "code": "24"}, "query": line},
        {
            "what": _referenced(access.patient, "Patient"),
            "type": {"system": ENTITY_TYPE, "code": "1"},
            "role": {"system": ROLE, "code": "1"},
        },
    ]
    if access.decision:
        entities.append(_entity(f"{CANONICAL}/CodeSystem/audit-entity", "decision", access.decision))
    return {
        "resourceType": "AuditEvent",
        **({"meta": {"profile": [PROFILE]}} if succeeded else {}),
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
        "subtype": [{"system": "http://hl7.org/fhir/restful-interaction", "code": "operation"}],
        "action": "E",
        "recorded": access.recorded,
        "outcome": "0" if succeeded else "4" if access.status < 500 else "8",
        "agent": _agents(access),
        "source": _source(access.server),
        "entity": entities,
    }


def removal_event(recorded: str, patient_hash: str, server: str, counts: Json) -> Json:
    """That one patient's data was removed on request: how many records of each kind; the patient only as a hash."""
    details = [{"type": kind, "valueString": str(count)} for kind, count in sorted(counts.items())]
    return {
        "resourceType": "AuditEvent",
        "type": {"system": "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle", "code": "destroy"},
        "action": "D",
        "recorded": recorded,
        "outcome": "0",
        "outcomeDesc": REMOVED,
        "agent": [{"who": {"display": "operator"}, "requestor": True}],
        "source": _source(server),
        "entity": [
            {
                "what": _referenced("", "Patient", patient_hash),
                "type": {"system": ENTITY_TYPE, "code": "1"},
                "role": {"system": ROLE, "code": "1"},
                "detail": details,
            }
        ],
    }


def _agents(access: Access) -> list[Json]:
    network = {"address": access.address, "type": "2"}
    agents: list[Json] = [
        {
            "type": {"coding": [{"system": DICOM, "code": "110153"}]},
            "who": {"identifier": {"value": access.client or access.address}},
            "requestor": not access.user,
            "network": network,
        },
        {
            "type": {"coding": [{"system": DICOM, "code": "110152"}]},
            "who": {"identifier": {"value": access.server}},
            "requestor": False,
            "network": {"address": access.server, "type": "5"},
        },
    ]
    if access.user:
        participation = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
        agents.append(
            {
                "type": {"coding": [{"system": participation, "code": "IRCP"}]},
                "who": _referenced(access.user, ""),
                "requestor": True,
            }
        )
    return agents


def _source(server: str) -> Json:
    kind = {"system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "4"}
    return {"observer": {"identifier": {"value": server}}, "type": [kind]}


def _entity(system: str, code: str, value: str) -> Json:
    return {"what": {"identifier": {"value": value}}, "type": {"system": system, "code": code}}


def _referenced(reference: str, kind: str, hashed: str = "") -> Json:
    """`Type/id` as it is; whatever else a caller may have written there only as a hash."""
    if LOCAL_REFERENCE.fullmatch(reference):
        return {"reference": reference}
    value = hashed or hashlib.sha256(reference.encode()).hexdigest()
    return {**({"type": kind} if kind else {}), "identifier": {"value": value}}


# --- the chain ----------------------------------------------------------------------------------------------------


def written(event: Json) -> str:
    """The one text of an event that is stored, hashed and exported."""
    return dump_sorted(event)


def chained(previous: str, writer: str, number: int, event: str) -> str:
    """The hash of a record: SHA-256 over the hash before it, its place and its text."""
    return hashlib.sha256(f"{previous}\n{writer}\n{number}\n{event}".encode()).hexdigest()
