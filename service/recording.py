"""From a visit to what is kept of it: an audit event for each patient, and the decision where there was an answer."""

from __future__ import annotations

from typing import Any

from service.assist import Answer, Assist
from service.audit import Access, audit_event, removal_event, written
from service.decisions import Shown, Visit, decide
from service.inputs import SealedInputs
from service.open_forms import matter_key, visit_key
from service.store import Card, Entry, Store

Json = dict[str, Any]


def entry_of(
    visit: Visit,
    access: Access,
    output: bytes,
    settings: Json,
    assist: Assist,
    store: Store,
    inputs: SealedInputs | None = None,
) -> Entry:
    """What a request leaves behind; `access` is told of it without patient and decision, `output` is what went out."""
    decision = None
    if visit.answer and access.status < 400:
        hashes = [store.hashed(access.client, patient) for patient in visit.patients]
        cards = [kept_card(store, access.client, visit, card) for card in visit.cards or ()]
        sealed = inputs.seal(visit.body) if inputs else ""
        decision = decide(visit, visit.answer, assist, output, settings, hashes, cards, sealed)
    decision_id = decision.id if decision else ""
    accesses = [access._replace(patient=patient, decision=decision_id) for patient in visit.patients]
    return Entry(access.recorded, tuple(written(audit_event(one)) for one in accesses), decision)


def kept_card(store: Store, client: str, visit: Visit, card: Shown) -> Card:
    """A card as the store keeps it: encounter and matters as hashes."""
    where = visit_key(store, client, visit.patients[0], visit.encounter)
    return Card(card.uuid, card.kind, where, tuple(matter_key(store, where, matter) for matter in card.matters))


def log_fields(visit: Visit, access: Access, store: Store) -> Json:
    """What the log says of a visit: codes, rules and counts, ids as hashes."""
    answer = visit.answer or Answer((), (), ())
    return {
        "door": visit.door,
        "patient": [store.hashed(access.client, patient)[:16] for patient in visit.patients],
        "user": store.hashed(access.client, visit.user)[:16],
        "codes": answer.codes,
        "rules": answer.rules,
        "asked": sum(len(one.query.ask) for one in answer.judged if one.query),
        "cards": len(visit.cards or ()),
    }


def removal_entry(recorded: str, patient_hash: str, server: str, counts: dict[str, int]) -> Entry:
    """That one patient's data was removed, to be kept like any other audit record."""
    return Entry(recorded, (written(removal_event(recorded, patient_hash, server, counts)),))
