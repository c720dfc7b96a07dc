"""Forms that wait for an answer: each under an id that nobody can guess, for one patient and one user, for a while."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Literal, Protocol

from service.coding.answers import Answer
from service.coding.model import Assessment, Query
from service.fhir_in import Entry, Request
from service.fhir_out import CANONICAL, prepopulated, questionnaire_of
from service.json_body import dump_json
from service.responses import read_response

Json = dict[str, Any]
Status = Literal["open", "answered", "declined", "expired"]
MOST_FORMS = 10_000
_SINGLE = ("encounter", "patient")
_MANY = ("conditions", "reports", "observations", "documents")


@dataclass(frozen=True)
class Form:
    """One query as a form. Plain values, so that a store can keep it; `record` is let go once the form is done.

    `questionnaire` is what was asked and `auto` what the record answered; `response` is what came back, `reason` why it
    was declined; `card` is the card that led to it. `earlier` are the forms on the same condition that were answered
    before this one, oldest first.
    """

    id: str
    patient: str
    user: str
    encounter: str
    condition: str
    record: Json = field(repr=False)
    questionnaire: Json = field(repr=False)
    auto: Json = field(repr=False)
    dialect: str = "hl7"
    card: str = ""
    earlier: tuple[Json, ...] = field(default=(), repr=False)
    opened: str = ""
    expires: str = ""
    status: Status = "open"
    response: Json = field(default_factory=dict, repr=False)
    reason: str = ""
    closed: str = ""

    @property
    def request(self) -> Request:
        """The record as it was when the form was opened, with the answers given since."""
        request = opened_record(self.record)
        answers = tuple(a for kept in self.earlier for a in read_response(kept["response"], kept["questionnaire"]))
        return replace(request, answers={self.condition: answers}) if answers else request

    @property
    def answered(self) -> Json:
        """What the next form on the same condition needs to know of this one."""
        return {"questionnaire": self.questionnaire, "response": self.response}


class Forms(Protocol):
    """Where forms are kept. A form is closed once, by one caller: a second answer finds it closed."""

    def open(self, form: Form, key: str) -> Form:
        """Keep a form; where one was opened under the same key (a retry of the same call), that one."""

    def get(self, form_id: str) -> Form | None:
        """The form as it stands now, expired where its time is over; None where there never was one."""

    def close(self, form: Form) -> bool:
        """Keep an answered or declined form in the place of the open one; False where it is open no more."""

    def closed_in(self, patient: str, encounter: str) -> Sequence[Form]:
        """The answered and declined forms of one patient in one encounter, oldest first."""


class FormsInMemory:
    """Forms of this process; they end with it."""

    def __init__(self, hours: float, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._life, self._now = timedelta(hours=hours), now
        self._forms: dict[str, Form] = {}
        self._ids: dict[str, str] = {}
        self._lock = threading.Lock()

    def open(self, form: Form, key: str) -> Form:
        with self._lock:
            self._let_go()
            held = self._forms.get(self._ids.get(key, ""))
            if held:
                return held
            opened = self._now()
            kept = replace(form, opened=_instant(opened), expires=_instant(opened + self._life))
            self._forms[kept.id] = kept
            self._ids[key] = kept.id
            return kept

    def get(self, form_id: str) -> Form | None:
        with self._lock:
            form = self._forms.get(form_id)
            return form and self._as_of_now(form)

    def close(self, form: Form) -> bool:
        with self._lock:
            held = self._forms.get(form.id)
            if held is None or self._as_of_now(held).status != "open":
                return False
            self._forms[form.id] = replace(form, record={}, closed=_instant(self._now()))
            return True

    def closed_in(self, patient: str, encounter: str) -> Sequence[Form]:
        with self._lock:
            since = "" if encounter else _instant(self._now() - self._life)  # without an encounter: of the last day
            done = [f for f in self._forms.values() if f.status in ("answered", "declined") and f.closed > since]
            return [f for f in done if (f.patient, f.encounter) == (patient, encounter)]

    def _as_of_now(self, form: Form) -> Form:
        over = form.status == "open" and form.expires <= _instant(self._now())
        return replace(form, status="expired", record={}, questionnaire={}, auto={}, earlier=()) if over else form

    def _let_go(self) -> None:
        """Expired forms shrink to their state; the oldest go where they are too many."""
        self._forms = {form_id: self._as_of_now(form) for form_id, form in self._forms.items()}
        for form_id in list(self._forms)[: max(0, len(self._forms) - MOST_FORMS + 1)]:
            del self._forms[form_id]
        self._ids = {key: form_id for key, form_id in self._ids.items() if form_id in self._forms}


def new_form_id() -> str:
    """128 random bits: an id that nobody can guess."""
    return secrets.token_urlsafe(16).replace("_", "-")  # a FHIR id has no underscore


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


OpenForm = Callable[[Assessment, Query, str], Form]


def opener(kept: Forms, request: Request, version: str, **about: Any) -> OpenForm:
    """What opens a form for a query on this record; a retry under the same key finds the same form."""
    about = {"record": kept_record(request), **about}

    def open_form(assessment: Assessment, query: Query, key: str) -> Form:
        form_id, asked = new_form_id(), questionnaire_of(query, assessment)
        named = {**asked, "id": form_id, "url": f"{CANONICAL}/Questionnaire/{form_id}", "version": version}
        condition, auto = assessment.documentation.condition, prepopulated(asked, assessment)
        form = Form(id=form_id, condition=condition, questionnaire=named, auto=auto, card=key, **about)
        return kept.open(form, f"{key} {sha256(dump_json([asked, about])).hexdigest()}")

    return open_form


# --- what the encounter already knows (QUERIES Q17) ----------------------------------------------------------------


def encounter_of(request: Request) -> str:
    return request.encounter.reference if request.encounter else ""


def with_answers_given(kept: Forms, request: Request, patient: str) -> Request:
    """The request with what was answered in its encounter, which weighs as what the provider wrote."""
    answers: dict[str, tuple[Answer, ...]] = {}
    for form in kept.closed_in(patient, encounter_of(request)):
        if form.status == "answered":
            answers[form.condition] = (
                *answers.get(form.condition, ()),
                *read_response(form.response, form.questionnaire),
            )
    return replace(request, answers=answers) if answers else request


def asked_in(kept: Forms, patient: str, encounter: str) -> frozenset[tuple[str, str]]:
    """The Conditions and elements of the questions that were answered, left or declined in the encounter."""
    closed = kept.closed_in(patient, encounter)
    asked = [(f.condition, i["linkId"]) for f in closed for i in f.questionnaire["item"] if not i.get("readOnly")]
    return frozenset(asked)


# --- the record of a form -----------------------------------------------------------------------------------------


def kept_record(request: Request) -> Json:
    """What a request brought, as JSON that `opened_record` reads."""
    kept: Json = {"hook": request.hook, "dateOfService": request.date_of_service}
    kept |= {name: _kept(entry) for name in _SINGLE if (entry := getattr(request, name))}
    return kept | {name: [_kept(entry) for entry in getattr(request, name)] for name in _MANY}


def opened_record(kept: Mapping[str, Any]) -> Request:
    """The request that was kept."""
    many: Json = {name: [Entry(**one) for one in kept[name]] for name in _MANY}
    single: Json = {name: Entry(**kept[name]) for name in _SINGLE if name in kept}
    return Request("charting", **many, **single, hook=kept["hook"], date_of_service=kept["dateOfService"])


def _kept(entry: Entry) -> Json:
    return {"resource": entry.resource, "reference": entry.reference, "full_url": entry.full_url}
