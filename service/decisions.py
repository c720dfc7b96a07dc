"""What is kept of an answer: enough to find it, to count it and to make the same bytes again, and no word of a record.

The input is kept as a hash. A caller who supplies it again gets the same answer from `coding-assist replay`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import uuid4

from service.assist import SOFTWARE, Answer, Assist, Judged
from service.coding.model import Evidence, Issue
from service.json_body import dump_json
from service.record import Entry, Request
from service.store import Asked, Card, Decision, instant

Json = dict[str, Any]
_SAFE_REFERENCE = re.compile(r"(?:[A-Za-z]+/[A-Za-z0-9.-]{1,64}|urn:uuid:[0-9a-fA-F-]{36}|#[0-9]+|Claim#[^\s]{1,40})\Z")
QUERY_CARD = "documentation-query"
_HISTORY = re.compile(r"/_history/.*\Z", re.S)


@dataclass(frozen=True)
class Shown:
    """A card that went out, its kind, the Condition that it is about, what it says of it, and what it asks.

    `query` is the id of what is asked, where several cards lead to the form of one query.
    """

    uuid: str
    kind: str
    condition: str
    matters: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    query: str = ""


class Visit(NamedTuple):
    """What one request does with patients' data: who asks whom about what, and what came of it.

    `door` is the hook or the path of the operation, `body` the parsed request, `patients`, `user` and `encounter`
    references; `cards` is None where the door shows none. `written` is what `dump_json` writes of the body,
    where that is at hand.
    """

    door: str
    body: Mapping[str, Any]
    patients: tuple[str, ...]
    at: datetime
    user: str = ""
    encounter: str = ""
    answer: Answer | None = None
    cards: tuple[Shown, ...] | None = None
    written: bytes = b""


def patients_of(request: Request) -> tuple[str, ...]:
    """The patients whose data a request holds, as `Patient/id` where they are named so; `` where nobody is named."""
    held = [*request.conditions, *request.reports, *request.observations, *request.documents, *request.orders]
    held += [entry for entry in (request.encounter, request.claim) if entry]
    named = {_patient_in(entry) for entry in held} | ({request.patient.reference} if request.patient else set())
    found = {_local(one) for one in named if one}
    return tuple(sorted(found)) or ("",)


def _patient_in(entry: Entry) -> str:
    subject = entry.resource.get("subject") or entry.resource.get("patient")
    reference = subject.get("reference") if isinstance(subject, Mapping) else None
    if isinstance(reference, str):
        return reference
    identifier = subject.get("identifier") if isinstance(subject, Mapping) else None
    if isinstance(identifier, Mapping):
        return f"{identifier.get('system', '')}|{identifier.get('value', '')}"
    return ""


def _local(reference: str) -> str:
    """https://ehr.example/fhir/Patient/p1/_history/2 is Patient/p1."""
    parts = _HISTORY.sub("", reference).split("/")
    return "/".join(parts[-2:]) if parts[-2:-1] == ["Patient"] else reference


def input_hash(body: Mapping[str, Any], written: bytes = b"") -> str:
    """The input as it decides the answer: without white space, and without the token that fetches more of it."""
    if not written or "fhirAuthorization" in body:
        written = dump_json({k: v for k, v in body.items() if k != "fhirAuthorization"})
    return hashlib.sha256(written).hexdigest()


def decide(
    visit: Visit,
    answer: Answer,
    assist: Assist,
    output: bytes,
    settings: Json,
    patients: Sequence[str],
    cards: Sequence[Card],
    sealed: str = "",
) -> Decision:
    """The decision to keep for an answer; `output` are its bytes, `patients` hashed ids, `sealed` the input if kept."""
    judged, main, decision_id = answer.judged, assist.terminology.main, str(uuid4())
    spoken = [one for one in judged if not _is_nothing(one)]
    content: Json = {
        "door": visit.door,
        "input": input_hash(visit.body, visit.written),
        "output": hashlib.sha256(output).hexdigest(),
        "software": SOFTWARE,
        "knowledge": assist.knowledge,
        "pack": main.id,
        "packVersion": main.version,
        "settings": settings,
        "dates": list(answer.dates),
        "assessments": [_assessment(one) for one in spoken],
        "outOfScope": len(judged) - len(spoken) + len(answer.outside),
        "issues": [_issue(issue) for issue in answer.issues],
        **({"sealedInput": sealed} if sealed else {}),
    }
    queries = tuple(_asked(visit, judged, decision_id))
    return Decision(decision_id, instant(visit.at), content, tuple(patients), tuple(cards), queries)


def _asked(visit: Visit, judged: Sequence[Judged], decision_id: str) -> Iterator[Asked]:
    """A query of cards is known by its id; the form in an answer of an operation by the decision and its position."""
    asking = {one.assessment.documentation.condition: (n, one) for n, one in enumerate(judged) if one.query}
    if visit.cards is None:
        for number, one in asking.values():
            yield Asked(f"{decision_id}.{number}", _query(one, one.query.ask if one.query else ()))
        return
    queries = [card for card in visit.cards if card.kind == QUERY_CARD]
    for card in queries:
        content = _query(asking[card.condition][1], card.ask)
        yield Asked(card.query or card.uuid, {"card": card.uuid, **content})


def _query(one: Judged, ask: Sequence[str]) -> Json:
    open_rules = {hit.rule.id for hit in one.assessment.hits if hit.outcome != "met"}
    return {"condition": _safe(one.assessment.documentation.condition), "ask": list(ask), "rules": sorted(open_rules)}


def _assessment(one: Judged) -> Json:
    assessment = one.assessment
    return {
        "condition": _safe(assessment.documentation.condition),
        "disposition": assessment.disposition,
        "suggestions": [
            {"code": s.code, "rules": list(s.rules), "evidence": [_place(evidence) for evidence in s.evidence]}
            for s in assessment.suggestions
        ],
        "candidates": [candidate.code for candidate in assessment.candidates],
        "ask": list(one.query.ask if one.query else assessment.ask),
        "issues": [_issue(issue) for issue in assessment.issues],
    }


def _is_nothing(one: Judged) -> bool:
    return one.assessment.disposition == "out-of-scope" and not one.assessment.issues


def _place(evidence: Evidence) -> Json:
    """Where the words stand, not what they say."""
    passage = evidence.passage
    place = {"source": _safe(passage.source), "expression": passage.expression}
    return {**place, "start": evidence.start, "end": evidence.end}


def _issue(issue: Issue) -> Json:
    return {"code": issue.flag, "severity": issue.severity, "rule": issue.rule, "expression": issue.expression}


def _safe(reference: str) -> str:
    """A reference as it is where it can only be one; else a hash, since a caller may write anything there."""
    if _SAFE_REFERENCE.fullmatch(reference):
        return reference
    return "sha256:" + hashlib.sha256(reference.encode()).hexdigest()
