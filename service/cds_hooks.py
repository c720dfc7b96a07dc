"""Door 1: CDS Hooks. Opens the envelope of a call, and phrases what was found as cards.

    hook ──► open_call ──► Assist.answer ──► interrupting (does it earn a card?) ──► Cards

Written to CDS Hooks 2.0.1, with what the 3.0 ballot adds and 2.0 clients ignore (`version`, OperationOutcome).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Any, NoReturn
from uuid import UUID

import msgspec
from flask import Blueprint, Response, current_app, g, request
from flask.globals import app_ctx
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate
from msgspec import UNSET, Meta, UnsetType

from service.assist import Answer, Assist
from service.cards import Call, Cards
from service.clients import TrustedClient
from service.decisions import Visit
from service.ehr import Ehr, next_page
from service.envelope import reference_of, refuse_crowd
from service.fhir_out import Json
from service.json_body import Issue, Refusal, dump_json, parse_and_write
from service.open_forms import Forms, Opener, Past, encounter_of, with_answers_given
from service.record import Entry, Request
from service.sound import are_sound
from service.validation import refuse_unsound
from service.write_back import Dialect

SPEC_VERSION = "2.0.1"
SERVICE_ID = "coding-assist"
cds_hooks = Blueprint("cds_hooks", __name__, url_prefix="/cds-services")


# --- the envelope: what CDS Hooks asks of a request ---------------------------------------------------------------

_PATIENT_ID = re.compile(r"(?:Patient/)?[A-Za-z0-9.-]{1,64}\Z")
_ENCOUNTER_ID = re.compile(r"(?:Encounter/)?[A-Za-z0-9.-]{1,64}\Z")


class _Tolerant(Schema):
    """Clients may send more than we know (CDS Hooks, "Extensions"): it is passed over."""

    class Meta:
        unknown = EXCLUDE


class PatientContext(_Tolerant):
    userId = fields.String(required=True, validate=validate.Length(min=1))
    patientId = fields.String(required=True, validate=validate.Regexp(_PATIENT_ID))
    encounterId = fields.String(allow_none=True, validate=validate.Regexp(_ENCOUNTER_ID))


class EncounterContext(PatientContext):
    encounterId = fields.String(required=True, validate=validate.Regexp(_ENCOUNTER_ID))


class ConditionsContext(PatientContext):
    conditions = fields.Dict(required=True)


class OrdersContext(PatientContext):
    draftOrders = fields.Dict(required=True)


class ReportsContext(PatientContext):
    diagnosticReports = fields.Dict(required=True)


class Authorization(_Tolerant):
    access_token = fields.String(required=True)
    token_type = fields.String()
    expires_in = fields.Integer(strict=True)
    scope = fields.String()
    subject = fields.String()


class Envelope(_Tolerant):
    hook = fields.String(required=True)
    hookInstance = fields.UUID(required=True)
    context = fields.Dict(required=True)
    fhirServer = fields.String(allow_none=True, validate=validate.Regexp(re.compile(r"https?://\S+\Z")))
    fhirAuthorization = fields.Nested(Authorization, allow_none=True)
    prefetch = fields.Dict(allow_none=True)


# What to send, by member: the sentences of a 400, which never repeat what was sent.
WANTED = {
    "hook": "the name of a hook that GET /cds-services lists",
    "hookInstance": "a UUID of this call",
    "context": "the object with the hook's context",
    "context.userId": "the user as type and id, such as Practitioner/123",
    "context.patientId": "the id of the Patient",
    "context.encounterId": "the id of the Encounter",
    "context.conditions": "a Bundle of Conditions",
    "context.draftOrders": "a Bundle of the draft orders",
    "context.diagnosticReports": "a Bundle of DiagnosticReports",
    "fhirServer": "the base URL of a FHIR server",
    "fhirAuthorization": "an object with access_token",
    "fhirAuthorization.access_token": "the token as a string",
    "fhirAuthorization.token_type": "Bearer",
    "fhirAuthorization.expires_in": "the seconds as a whole number",
    "fhirAuthorization.scope": "the scopes as a string",
    "fhirAuthorization.subject": "the client id as a string",
    "prefetch": "an object with a resource for each prefetch key",
}


@dataclass(frozen=True)
class Hook:
    """A hook that we answer: its context, and when it fires in words."""

    context: Schema
    when: str
    has_encounter: bool = False


ENVELOPE = Envelope()
HOOKS = {
    "patient-view": Hook(PatientContext(), "when a chart is opened"),
    "problem-list-item-create": Hook(ConditionsContext(), "when a problem is added to the problem list"),
    "encounter-discharge": Hook(EncounterContext(), "when an encounter ends", has_encounter=True),
    "order-sign": Hook(OrdersContext(), "when orders are signed"),
}
OWN_HOOKS = {
    "condition-sign": Hook(ConditionsContext(), "before a diagnosis is signed"),
    "diagnosticreport-view": Hook(ReportsContext(), "when a report is viewed"),
}


def listed_hooks(domain: str) -> dict[str, Hook]:
    """The hooks of the library, and ours under the operator's reverse domain (CDS Hooks, "Hook name")."""
    return HOOKS | ({f"{domain}.{name}": hook for name, hook in OWN_HOOKS.items()} if domain else {})


PREFETCH = {
    "patient": "Patient/{{context.patientId}}",
    "conditions": "Condition?patient={{context.patientId}}",
    "reports": "DiagnosticReport?patient={{context.patientId}}&_sort=-date&_count=20",
    "encounter": "Encounter/{{context.encounterId}}",
}
_OUTSIDE = frozenset({"out-of-scope", "not-assessed"})
Fetching = Callable[[str, str, Mapping[str, str]], Mapping[str, Json]]  # server, token, queries: answers by key


# --- the routes ---------------------------------------------------------------------------------------------------


@cds_hooks.get("")
def discovery() -> Response:
    """One service under several hooks: its newer answer replaces the older one."""
    hooks = listed_hooks(current_app.config["HOOK_DOMAIN"])
    return _json({"services": [_service(name, hook) for name, hook in hooks.items()]})


@cds_hooks.post(f"/{SERVICE_ID}")
def coding_assist() -> Response:
    """The cards that the record earns; none where there is nothing to say."""
    services, config, kept = app_ctx.app.extensions, app_ctx.app.config, app_ctx.g
    body, written = parse_and_write(request.get_data())
    caller: TrustedClient | None = kept.get("caller")
    shown: Json = {"dialect": caller.dialect if caller else None, "launches": bool(caller and caller.smart)}
    call = open_call(body, listed_hooks(config["HOOK_DOMAIN"]), fetch=_fetch, **shown)
    visit = open_visit(call, services["clock"](), written if call.body is body else b"")
    kept.visit = visit  # recorded from here on, whatever comes
    forms = services["forms"](str(kept.get("client", "")), visit.at)
    kept.visit, cards = answer_call(call, visit, services["assist"], config["BASE_URL"], forms)
    return _json(cards)


def open_visit(call: Call, at: datetime, written: bytes = b"") -> Visit:
    """Whose record a call brings, and who looks at it."""
    encounter = encounter_of(call.request)
    return Visit(call.hook, call.body, (call.patient,), at, call.user_id, encounter, written=written)


def answer_call(call: Call, visit: Visit, assist: Assist, base_url: str, forms: Forms) -> tuple[Visit, Json]:
    """The answer to a call, and the visit with what came of it; the same bytes for the same input at the same time."""
    if not call.request.conditions:
        return visit._replace(answer=Answer((), (), ()), cards=()), {"cards": []}
    answer, past = assist.answer_for_cards(call.request), Past()
    if any(one.assessment.disposition not in _OUTSIDE for one in answer.judged):
        past = forms.past(call.patient, visit.encounter)
        request = with_answers_given(past.closed, call.request)
        answer = answer if request is call.request else assist.answer_for_cards(request)
    opener = _opener(call, assist, forms)
    cards = Cards(call, assist.terminology, base_url, forms.at, opener, past.put_away).of(answer)
    opener.open()
    told = tuple(shown for _, shown in cards)
    return visit._replace(answer=answer, cards=told), {"cards": [card for card, _ in cards]}


def _opener(call: Call, assist: Assist, forms: Forms) -> Opener:
    encounter = encounter_of(call.request)
    about = {"patient": call.patient, "user": call.user_id, "encounter": encounter, "dialect": call.dialect}
    return Opener(forms, call.request, assist.terminology.main.version, **about)


def _fetch(server: str, token: str, queries: Mapping[str, str]) -> Mapping[str, Json]:
    """From a server that the operator allows to this client, or to all where none has to show who it is."""
    ehr: Ehr = current_app.extensions["ehr"]
    allowed = g.caller.fhir_servers if "caller" in g else current_app.config["FHIR_SERVERS"]
    return ehr.fetch(server, allowed, token, queries)


@cds_hooks.post("/<service_id>")
def unknown_service(service_id: str) -> NoReturn:
    """404: there is no other service than the one that discovery lists."""
    raise Refusal(404, [Issue("error", "not-found", "There is no service with this id; GET /cds-services lists them.")])


def _service(name: str, hook: Hook) -> Json:
    # Where encounterId is optional its token could be without value, and then cannot be resolved.
    prefetch = {key: query for key, query in PREFETCH.items() if key != "encounter" or hook.has_encounter}
    return {
        "hook": name,
        "id": SERVICE_ID,
        "title": f"Coding assist, {hook.when}",
        "description": "Offers the ICD-10-CM code that the documentation supports, or asks for what the "
        f"documentation lacks, {hook.when}. For stenosis of the neural canal and of intervertebral foramina.",
        "version": SPEC_VERSION,
        "prefetch": prefetch,
    }


def _json(content: Json) -> Response:
    return Response(dump_json(content), content_type="application/json; charset=utf-8")


# --- opening a call -----------------------------------------------------------------------------------------------


def open_call(
    body: object,
    hooks: Mapping[str, Hook],
    dialect: Dialect | None = None,
    *,
    launches: bool = False,
    fetch: Fetching | None = None,
) -> Call:
    """The call in a body; Refusal 400 or 422 where it is wrong, 412 where the Conditions cannot be had.

    `dialect` is what the operator has registered for the client; without it the call itself shows it. `launches` says
    whether its EHR opens our forms as a SMART app. `fetch` gets what was not prefetched, where it can be had.
    """
    envelope, context, patient_id = _opened(body, hooks)
    sent: Any = body
    prefetch = envelope.get("prefetch") or {}
    if fetch and (brought := _missing(envelope, patient_id, context, prefetch, fetch)):
        prefetch = {**prefetch, **brought}
        sent = {**sent, "prefetch": prefetch}
    record, concerned = _record(envelope["hook"], patient_id, context, prefetch)
    about: Json = {"user_id": context["userId"], "dialect": dialect or _dialect(body), "launches": launches}
    instance = UUID(envelope["hookInstance"])
    return Call(envelope["hook"], instance, patient_id, record, concerned, body=sent, **about)


def _opened(body: object, hooks: Mapping[str, Hook]) -> tuple[Json, Json, str]:
    """The envelope of a call, its context and the patient's id, each as CDS Hooks asks for it."""
    if not isinstance(body, dict):
        _refuse_structure("", "The body is not a JSON object; send a CDS Hooks request.")
    envelope = _load(ENVELOPE, body)
    if envelope["hook"] not in hooks:
        _refuse("hook", "not-supported")
    context = _load(hooks[envelope["hook"]].context, envelope["context"], "context.")
    return envelope, context, _bare_id(context["patientId"])


def _dialect(body: Any) -> Dialect:
    """Epic marks its calls with extensions of its own; it takes other actions than HL7's."""
    extension = body.get("extension")
    is_epic = isinstance(extension, Mapping) and any(str(name).startswith("com.epic.") for name in extension)
    return "epic" if is_epic else "hl7"


def _missing(envelope: Json, patient_id: str, context: Json, prefetch: Json, fetch: Fetching) -> Json:
    """What was not prefetched, from the client's FHIR server; only what is sound and about the patient in context."""
    server, authorization = envelope.get("fhirServer"), envelope.get("fhirAuthorization") or {}
    asked = _queries(patient_id, context) if server else ()
    queries = {key: query for key, query in asked if _came_not(key, prefetch)}
    if not server or not queries:
        return {}
    brought = fetch(server, authorization.get("access_token", ""), queries)
    return {key: answer for key, answer in brought.items() if _is_theirs(key, answer, patient_id)}


def _queries(patient_id: str, context: Json) -> Iterator[tuple[str, str]]:
    """The templates of discovery with their tokens resolved; none for an id that would climb the server's paths."""
    values = {"patientId": patient_id, "encounterId": _bare_id(context.get("encounterId") or "")}
    for key, template in PREFETCH.items():
        [name] = re.findall(r"\{\{context\.(\w+)\}\}", template)
        if values[name].strip("."):
            yield key, template.replace(f"{{{{context.{name}}}}}", values[name])


def _came_not(key: str, prefetch: Json) -> bool:
    """null says that the client has no data; an OperationOutcome, that it got none; a next page, that not all came."""
    value = prefetch.get(key, {"resourceType": "OperationOutcome"})
    return isinstance(value, dict) and (value.get("resourceType") == "OperationOutcome" or _has_more(value))


def _has_more(prefetched: Any) -> bool:
    """A client may send the first page of a search (CDS Hooks 2.0 "Prefetch Template"). The link is never followed: it
    could lead anywhere. The whole search is asked for anew, where its server may be asked at all.
    """
    is_bundle = isinstance(prefetched, dict) and prefetched.get("resourceType") == "Bundle"
    return is_bundle and next_page(prefetched) != ""


def _is_theirs(key: str, answer: Json, patient_id: str) -> bool:
    """An answer with another person's record in it is not used at all: who mixed them up once may have more."""
    kind = re.split(r"\W", PREFETCH[key])[0]
    try:
        sent = _given({key: answer}, f"prefetch.{key}", kind) or []
    except Refusal:
        return False
    if kind == "Patient":
        return [one.get("id") for one, _ in sent] == [patient_id]
    return len(_about(patient_id, sent)) == len(sent)


def _record(hook: str, patient_id: str, context: Json, prefetch: Json) -> tuple[Request, frozenset[str]]:
    """What came with the call, and the Conditions concerned: those in context, else all."""
    fresh = _given(context, "context.conditions", "Condition")
    known = None if _has_more(prefetch.get("conditions")) else _given(prefetch, "prefetch.conditions", "Condition")
    reports = [
        *(_given(context, "context.diagnosticReports", "DiagnosticReport") or ()),
        *(_given(prefetch, "prefetch.reports", "DiagnosticReport") or ()),
    ]
    orders = _about(patient_id, _given(context, "context.draftOrders", "ServiceRequest"))
    encounter = _encounter(context, patient_id, _given(prefetch, "prefetch.encounter", "Encounter"))
    patient = _patient(patient_id, _given(prefetch, "prefetch.patient", "Patient"))
    in_context = _about(patient_id, fresh)
    conditions = _entries([*in_context, *_about(patient_id, known)])
    _refuse_without_conditions(fresh, known, conditions)
    refuse_crowd(conditions)
    record = Request(
        "charting",
        conditions,
        reports=_entries(reports),
        encounter=encounter,
        patient=patient,
        orders=_entries(orders),
        hook=hook,
    )
    return record, frozenset(entry.reference for entry in _entries(in_context) or conditions)


def _load(schema: Schema, sent: Json, at: str = "") -> Json:
    """The members that the schema knows. msgspec holds them against it in a tenth of the time, and marshmallow tells
    what is wrong with them.
    """
    try:
        msgspec.convert(sent, plain_type(schema))
    except msgspec.ValidationError:
        try:
            schema.load(sent)
        except ValidationError as error:
            paths = [f"{at}{path}" for path in _paths(error.messages_dict)]
            raise Refusal(400, [_wrong_member(path) for path in paths]) from None
    return {name: sent[name] for name in schema.fields if name in sent}


_PLAIN: Mapping[type[fields.Field[Any]], Any] = {
    fields.String: str,
    fields.Dict: dict,
    fields.UUID: UUID,
    fields.Integer: int,
}


@cache
def plain_type(schema: Schema) -> type[msgspec.Struct]:
    """The schema for msgspec; it takes nothing that the schema refuses."""
    members = [(name, _plain_kind(field), field.required) for name, field in schema.fields.items()]
    known = [(name, kind) if required else (name, kind | UnsetType, UNSET) for name, kind, required in members]
    return msgspec.defstruct(type(schema).__name__, known, kw_only=True)


def _plain_kind(field: fields.Field[Any]) -> Any:
    kind = plain_type(field.schema) if isinstance(field, fields.Nested) else _PLAIN[type(field)]
    for check in field.validators:
        if isinstance(check, validate.Regexp) and isinstance(check.regex.pattern, str):
            kind = Annotated[kind, Meta(pattern=r"\A(?:" + check.regex.pattern + ")")]
        elif isinstance(check, validate.Length):
            kind = Annotated[kind, Meta(min_length=check.min)]
    return kind | None if field.allow_none else kind


def _paths(messages: Mapping[str, Any]) -> Iterator[str]:
    """The members that marshmallow finds wrong; `_schema` stands for the object itself."""
    for name, found in messages.items():
        if isinstance(found, Mapping) and "_schema" not in found:
            yield from (f"{name}.{path}" for path in _paths(found))
        else:
            yield name


def _wrong_member(member: str, code: str = "value") -> Issue:
    return Issue("error", code, f"The member {member} is missing or wrong; send {WANTED[member]}.", member)


def _refuse(member: str, code: str) -> NoReturn:
    raise Refusal(400, [_wrong_member(member, code)])


def _refuse_structure(member: str, sentence: str) -> NoReturn:
    raise Refusal(400, [Issue("error", "structure", sentence, member)])


Sent = tuple[Json, str]  # a resource, and the fullUrl that its Bundle gave it


def _given(holder: Json, member: str, wanted: str) -> list[Sent] | None:
    """The resources of one type under a member; None where the client could not give them.

    null and an empty searchset mean that the client has no data; an OperationOutcome is its own fetch error
    (CDS Hooks, "Prefetch Template"). Epic's empty answer is a searchset that holds an OperationOutcome.
    """
    key = member.rpartition(".")[2]
    if key not in holder:
        return None
    value = holder[key]
    if value is None:
        return []
    kind = value.get("resourceType") if isinstance(value, dict) else None
    if kind == "OperationOutcome":
        return None
    if kind == "Bundle":
        return _in_bundle(value, member, wanted)
    if kind != wanted:
        _refuse_structure(member, f"{member} holds no {wanted}; send a Bundle or a {wanted}.")
    refuse_unsound(value, allowed=frozenset({wanted}), at=member)
    return [(value, "")]


def _in_bundle(bundle: Json, member: str, wanted: str) -> list[Sent]:
    entries = bundle.get("entry", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        _refuse_structure(f"{member}.entry", f"{member}.entry is not a list of objects; send a Bundle as FHIR has it.")
    held = [(index, entry, entry.get("resource")) for index, entry in enumerate(entries)]
    held = [one for one in held if isinstance(one[2], dict) and one[2].get("resourceType") == wanted]
    if not are_sound([resource for _, _, resource in held], wanted):
        for index, _, resource in held:
            refuse_unsound(resource, allowed=frozenset({wanted}), at=f"{member}.entry[{index}].resource")
    return [(resource, url if isinstance(url := entry.get("fullUrl"), str) else "") for _, entry, resource in held]


def _about(patient_id: str, sent: list[Sent] | None) -> list[Sent]:
    """Those whose subject is the patient in context; the rest is another person's record."""
    return [one for one in sent or () if _refers_to("Patient", patient_id, one[0].get("subject"))]


def _refers_to(kind: str, resource_id: str, reference: object) -> bool:
    """'Patient/p1', 'https://ehr.example/fhir/Patient/p1' and 'Patient/p1/_history/2' are the same patient.

    So is 'urn:uuid:p1', as a client sends it that has not stored its Bundle yet.
    """
    named = reference.get("reference") if isinstance(reference, dict) else None
    if not isinstance(named, str):
        return False
    if named == f"{kind}/{resource_id}":  # as nearly all are
        return True
    return named == f"urn:uuid:{resource_id}" or named.split("/_history/")[0].split("/")[-2:] == [kind, resource_id]


def _bare_id(written: str) -> str:
    return written.rpartition("/")[2]


def _entries(sent: Iterable[Sent]) -> list[Entry]:
    """Each resource once, under the reference that names it."""
    named = [Entry(one, reference_of(one, full_url, f"#{index}")) for index, (one, full_url) in enumerate(sent)]
    return list({entry.reference: entry for entry in reversed(named)}.values())[::-1]


def _patient(patient_id: str, sent: list[Sent] | None) -> Entry:
    """The patient in context, by id alone where no resource came: so that every subject is compared with it."""
    found = [one for one, _ in sent or () if one.get("id") == patient_id]
    return Entry(found[0] if found else {"resourceType": "Patient", "id": patient_id}, f"Patient/{patient_id}")


def _encounter(context: Json, patient_id: str, sent: list[Sent] | None) -> Entry | None:
    """The encounter in context, by id alone where its resource did not come: other encounters then are earlier ones."""
    named = _bare_id(context.get("encounterId") or "")
    theirs = [one for one, _ in _about(patient_id, sent) if one.get("id") and named in ("", one["id"])]
    if theirs:
        return Entry(theirs[0], f"Encounter/{theirs[0]['id']}")
    return Entry({"resourceType": "Encounter", "id": named}, f"Encounter/{named}") if named else None


def _refuse_without_conditions(
    fresh: list[Sent] | None, known: list[Sent] | None, about_patient: Sequence[Entry]
) -> None:
    """412 only where the Conditions cannot be had; that there are none is an answer (CDS Hooks, "Prefetch")."""
    if fresh is None and known is None:
        sentence = (
            "The Conditions of the patient did not come, or not all of them; send them under prefetch `conditions` "
            "without a next page, or name a fhirServer that this service may ask."
        )
    elif (fresh or known) and not about_patient:
        sentence = "No Condition sent is about context.patientId; send those of this patient."
    else:
        return
    raise Refusal(412, [Issue("error", "incomplete", sentence, "prefetch.conditions")])
