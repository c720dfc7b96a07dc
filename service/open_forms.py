"""Forms that wait for an answer: each under an id that nobody can guess, for one patient and one user, for a while.

They stand in the store, so that every worker has them, and what was answered or put away holds for the encounter. Who
comes back to the same chart is led to the form that waits there already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from hashlib import sha256
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

from service.coding.answers import Answer
from service.coding.model import Assessment
from service.fhir_out import CANONICAL, BuiltForm
from service.json_body import Written, dump_json
from service.record import Entry, Request
from service.responses import is_manual, read_response
from service.store import Binding, NewForm, Store
from service.store import Form as StoredForm

Json = dict[str, Any]
Status = Literal["open", "answered", "declined", "expired"]
OUTSIDE_ENCOUNTERS = timedelta(hours=24)  # how long an answer holds where no encounter is named
_IN_ENCOUNTERS = timedelta(days=366)
_SINGLE = ("encounter", "patient")
_MANY = ("conditions", "reports", "observations", "documents")
_KEPT_APART = ("id", "opened", "expires", "closed", "status", "record")  # by the store


@dataclass(frozen=True)
class Form:
    """One query as a form. Plain values, so that a store can keep it; `record` is let go once the form is done.

    `questionnaire` is what was asked and `auto` what the record answered; `response` is what came back, `reason` why it
    was declined; `card` is the id of the query, which is that of its card where the form is for one card alone; `about`
    is the Condition across calls. `earlier` are the forms on the same condition that were answered before this one,
    oldest first.
    """

    id: str
    client: str
    patient: str
    user: str
    encounter: str
    condition: str
    record: Json = field(repr=False)
    questionnaire: Json = field(repr=False)
    auto: Json = field(repr=False)
    about: str = ""
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

    @property
    def asked(self) -> list[Json]:
        """The items that a person answers."""
        return [item for item in self.questionnaire.get("item") or () if not item.get("readOnly")]


@dataclass(frozen=True)
class Past:
    """What users have said in one encounter: forms answered or declined, oldest first, and what they overrode.

    What they overrode is kept under the `key` that the store gives a matter.
    """

    closed: tuple[Form, ...] = ()
    overridden: frozenset[str] = frozenset()
    key: Callable[[str], str] = str

    def put_away(self, matters: Iterable[str]) -> Set[str]:
        """The questions answered, left or declined, as the matters of query cards; of these what was overridden."""
        asked = {f"query {form.about} {item['linkId']}" for form in self.closed for item in form.asked}
        return asked.union(m for m in matters if self.key(m) in self.overridden) if self.overridden else asked


@dataclass(frozen=True)
class Forms:
    """The forms of one client as they stand at one instant, and what its users have put away.

    `keep` is `Journal.open_forms`; None where a past answer is made again: the same forms come out, and none is kept.
    """

    store: Store
    life: timedelta
    client: str
    at: datetime
    keep: Callable[..., None] | None = None

    def name(self, key: str) -> str:
        """The id of the form under a key: 128 bits that only the store's secret gives."""
        return self.store.hashed("form", self.client, key)[:32]

    @property
    def period(self) -> int:
        """The number of the half of a form's life that it is now, of 12 hours at most.

        What is shown in one period is one form, so that it has half of its life before it. What was answered or put
        away is remembered for longer than a period, so a form that is done is not shown again.
        """
        return int(self.at.timestamp() / (min(self.life, OUTSIDE_ENCOUNTERS) / 2).total_seconds())

    def open(self, forms: Sequence[tuple[Form, str]], record: Callable[[], bytes]) -> None:
        """Keep those of the forms of one call that do not stand there already, each with its key; and the record that
        they are about, written as JSON. They are on the disk when this returns.
        """
        if not self.keep:
            return
        held = self.store.held_forms([form.id for form, _ in forms])
        new = [NewForm(form.id, key, _content(form)) for form, key in forms if form.id not in held]
        if new:
            first = forms[0][0]
            bound = Binding(self.client, first.patient, first.user, first.encounter)
            self.keep(new, bound, Written(record()), self.at, self.life)

    def get(self, form_id: str) -> Form | None:
        """The form as it stands, expired where its time is over; None where there never was one."""
        held = self.store.form(form_id, self.at)
        return _form(held) if held else None

    def close(self, form: Form) -> bool:
        """Keep an answered or declined form in the place of the open one; False where it is open no more."""
        state: Literal["answered", "declined"] = "declined" if form.reason else "answered"
        kept = replace(form, record={}, auto={})
        return self.store.close_form(form.id, state, _content(kept), (form.card, told(form)), self.at)

    def past(self, patient: str, encounter: str) -> Past:
        """What users have said of one patient in one encounter before now."""
        visit = visit_key(self.store, self.client, patient, encounter)
        since = self.at - (_IN_ENCOUNTERS if encounter else OUTSIDE_ENCOUNTERS)
        said = self.store.past(Binding(self.client, patient, "", encounter), visit, since, self.at)
        return Past(tuple(map(_form, said.closed)), said.overridden, partial(matter_key, self.store, visit))


def visit_key(store: Store, client: str, patient: str, encounter: str) -> str:
    """An encounter as the store names it."""
    return store.hashed("visit", client, patient, encounter)


def matter_key(store: Store, visit: str, matter: str) -> str:
    """What a card is about as the store names it."""
    return store.hashed(visit, matter)[:32]


def told(form: Form) -> Json:
    """What was said to the query without the patient's words: options by their codes, free text as such."""
    said = {item["linkId"]: _said(item["answer"][0]) for item in form.response.get("item") or () if is_manual(item)}
    return {"reason": form.reason} if form.reason else {"answers": said}


def _said(answer: Json) -> str:
    return str((answer.get("valueCoding") or {}).get("code") or answer.get("valueDate") or "text")


def _content(form: Form) -> Json:
    # Not by asdict, which copies every value of the record only to have it written at once: a millisecond of 2 kB.
    return {each.name: getattr(form, each.name) for each in fields(form) if each.name not in _KEPT_APART}


def _form(held: StoredForm) -> Form:
    nothing: Json = {"client": "", "patient": "", "user": "", "encounter": "", "condition": ""}
    nothing |= {"record": {}, "questionnaire": {}, "auto": {}}
    content: Json = {**nothing, **({"record": held.about} if held.about else {}), **held.content}
    content["earlier"] = tuple(content.get("earlier", ()))
    content |= {"opened": held.opened, "expires": held.expires, "closed": held.closed}
    return Form(id=held.id, status=held.state, **content)


class Opener:
    """Opens the forms for the queries on one record; who asks the same of the same record finds the same forms."""

    def __init__(self, kept: Forms, request: Request, version: str, **about: Any) -> None:
        self._kept, self._request, self._version = kept, request, version
        self._given = about
        self._prepared: list[tuple[Form, str]] = []
        self.queries: dict[str, str] = {}  # what a card is known by, and its query

    @cached_property
    def _about(self) -> Json:
        return {"record": kept_record(self._request), **self._given}

    @cached_property
    def _record(self) -> bytes:
        return dump_json(self._about["record"])

    @cached_property
    def _hash(self) -> str:
        written = sha256(self._record)
        written.update(dump_json({name: given for name, given in self._about.items() if name != "record"}))
        return written.hexdigest()

    def prepare(self, assessment: Assessment, built: BuiltForm, card: str, *, is_shared: bool = True) -> Form:
        """The form as it will stand once `open` has been called; one that is not shared is for this card alone."""
        asked, condition = built.questionnaire, assessment.documentation.condition
        shared_by = f"{self._kept.period} {condition}" if is_shared else card
        whole_key = f"{shared_by} {self._hash} {sha256(dump_json(asked)).hexdigest()}"
        form_id = self._kept.name(whole_key)
        named = {**asked, "id": form_id, "url": f"{CANONICAL}/Questionnaire/{form_id}", "version": self._version}
        entry = next(entry for entry in self._request.conditions if entry.reference == condition)
        own: Json = {"condition": condition, "about": identity(entry), "questionnaire": named, "auto": built.response}
        asked_as = str(uuid5(NAMESPACE_URL, f"{CANONICAL}|form|{form_id}")) if is_shared else card
        form = Form(id=form_id, client=self._kept.client, card=asked_as, **own, **self._about)
        self._prepared.append((form, whole_key))
        self.queries[card] = form.card
        return form

    def open(self) -> None:
        """Keep what was prepared, all at once."""
        if self._prepared:
            self._kept.open(self._prepared, lambda: self._record)


# --- what the encounter already knows (QUERIES Q17) ----------------------------------------------------------------


def encounter_of(request: Request) -> str:
    return request.encounter.reference if request.encounter else ""


def identity(entry: Entry) -> str:
    """A Condition across calls: its reference, or what it says where it has no id yet."""
    if "id" in entry.resource:
        return entry.reference
    said = [entry.resource.get(name) for name in ("code", "bodySite", "note")]
    return f"sha256:{sha256(dump_json(said)).hexdigest()}"


def with_answers_given(closed: Sequence[Form], request: Request) -> Request:
    """The request with what was answered in its encounter, which weighs as what the provider wrote."""
    named = {identity(entry): entry.reference for entry in request.conditions}
    answers: dict[str, tuple[Answer, ...]] = {}
    for form in closed:
        if form.status == "answered" and form.about in named:
            condition = named[form.about]
            answers[condition] = (*answers.get(condition, ()), *read_response(form.response, form.questionnaire))
    return replace(request, answers=answers) if answers else request


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
