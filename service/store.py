"""What must survive: audit records, feedback, decisions, queries and answers, open forms, seen tokens.

What a function here returns from is on the disk. When it cannot be written, StoreUnavailable goes up and becomes a 503
in app.py. The tables stand in tables.py, the databases in database.py, what is let go in retention.py.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from importlib import import_module
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.audit import chained
from service.database import BEGIN, NewerDatabase, make_current, make_engine, make_private
from service.errors import OperatorError
from service.json_body import Written, dump_json, kept_json
from service.prepared import Prepared, Transactions
from service.retention import DONE_WITH, PAGE, WAITING, delete_decisions, expired, let_go, old
from service.tables import (
    answer,
    audit_chain,
    audit_record,
    card,
    decision,
    feedback,
    form,
    launch,
    override,
    query,
    record,
    secret,
    seen_token,
    subject,
    tables,
)

Json = dict[str, Any]
FormState = Literal["open", "answered", "declined", "expired"]
HASHES_KEPT = 1000
LOWEST = -(2**31)
SPARE = 4  # connections to SQLite, of the fifteen that SQLAlchemy's pool gives out
NOTHING = ""  # the hash before the first record of a chain, and before the first chain
TRANSIENT = "sqlite://"  # a database that goes with the process


class StoreError(OperatorError):
    """Why the store cannot be opened, and what to do."""


class StoreUnavailable(OperatorError):
    """The store cannot be read or written now; nothing of what was asked is kept."""


@dataclass(frozen=True)
class Asked:
    """A query that went out: its id, one for all cards that lead to its form, and what it asks for by which rules."""

    id: str
    content: Json


@dataclass(frozen=True)
class Card:
    """A card that went out; `visit` is a keyed hash of the encounter, `matters` are those of what the card is about."""

    uuid: str
    kind: str
    visit: str
    matters: tuple[str, ...]


@dataclass(frozen=True)
class Decision:
    """One answer of ours without the patient's words; `patients` are keyed hashes."""

    id: str
    recorded: str
    content: Json
    patients: tuple[str, ...]
    cards: tuple[Card, ...] = ()
    queries: tuple[Asked, ...] = ()


@dataclass(frozen=True)
class Entry:
    """What one request leaves behind: its audit events as text, and the decision where one was made."""

    recorded: str
    events: tuple[str, ...]
    decision: Decision | None = None


@dataclass(frozen=True)
class Chain:
    """Where a writer's chain of audit records ends."""

    writer: str
    number: int = 0
    hash: str = NOTHING


@dataclass(frozen=True)
class Feedback:
    """What a user did with one card; `content` is what the client sent in our words."""

    card: str
    content: Json


@dataclass(frozen=True)
class Binding:
    """Whom a form is for: references as the client names them; `encounter` is empty where there is none."""

    client: str
    patient: str
    user: str
    encounter: str = ""


@dataclass(frozen=True)
class Form:
    """A query as a form, open until answered, declined or expired; `content` is the door's own, and quotes the record.

    `closed` is empty while it is open, and `about`, the record, is empty once it is not.
    """

    id: str
    state: FormState
    opened: str
    expires: str
    closed: str
    content: Json = field(repr=False)
    about: Json = field(default_factory=dict, repr=False)


class NewForm(NamedTuple):
    """A form to be opened; the key is the same for a retry of the same call, and for nothing else."""

    id: str
    key: str
    content: Json


@dataclass(frozen=True)
class Past:
    """What users have said in one encounter: the forms answered or declined, oldest first, and what they overrode."""

    closed: tuple[Form, ...]
    overridden: frozenset[str]


def instant(at: datetime) -> str:
    """2026-11-16T08:15:30.123Z"""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(content: Mapping[str, Any] | Written) -> str:
    return dump_json(content).decode("utf-8")


def _sha256(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


# --- opening ------------------------------------------------------------------------------------------------------


def open_store(url: str, *, patient: bool = False, is_current: bool = False) -> Store:
    """The store behind a DATABASE_URL with its tables as this release has them; StoreError says what is wrong.

    A `patient` one waits a minute for a lock or an answer, where one that serves calls waits a second. Where the caller
    knows that the tables are current, the database need not answer yet.
    """
    transient = tempfile.mkdtemp(prefix="coding-assist-") if url == TRANSIENT else None
    if transient:
        url = f"sqlite:///{transient}/store.db"
    try:
        address = sa.engine.make_url(url)
        if address.get_backend_name() == "sqlite":
            make_private(Path(str(address.database)))
        if transient or not is_current:
            make_current(address)
        return Store(make_engine(address, patient=patient), transient)
    except NewerDatabase:
        raise StoreError("The database is of a newer release of this service; start that release.") from None
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError):
        raise StoreError(
            "DATABASE_URL is not one that can be used; give sqlite:///... or postgresql+psycopg://..."
        ) from None
    except OSError as error:
        raise StoreError(f"The folder of the database cannot be used: {error.strerror}. Give one that can.") from None
    except SQLAlchemyError as error:
        raise StoreError(
            f"The database cannot be opened ({_kind(error)}); check DATABASE_URL and the server."
        ) from None


def _unavailable(error: Exception) -> StoreUnavailable:
    told = f"The store cannot be used now ({_kind(error)}); check the database and the disk, then try again."
    return StoreUnavailable(told)


def _kind(error: Exception) -> str:
    """The class of the driver's error: its text may hold parts of a statement or of the address."""
    return type(getattr(error, "orig", None) or error).__name__


# What every call asks (prepared.py).
_OVERRIDES = (
    sa.select(override.c.matters)
    .where(override.c.visit == sa.bindparam("visit"))
    .where(override.c.received > sa.bindparam("since"), override.c.received <= sa.bindparam("until"))
)
_CLOSED_FORMS = (
    sa.select(form.c.id, form.c.state, form.c.opened, form.c.expires, form.c.closed, form.c.content)
    .where(form.c.patient == sa.bindparam("patient"), form.c.encounter == sa.bindparam("encounter"))
    .where(form.c.closed > sa.bindparam("since"), form.c.closed <= sa.bindparam("until"))
    .order_by(form.c.closed, form.c.id)
)
# Feedback may overtake the record of its card, which the journal gathers for a moment. The text is our own compact
# JSON, in which no string can hold a quotation mark that is not escaped.
_OVERRIDDEN = (
    sa.select(card.c.uuid, card.c.visit, sa.func.min(feedback.c.received), card.c.matters)
    .join(feedback, feedback.c.card == card.c.uuid)
    .where(card.c.uuid == sa.bindparam("of"))
    .where(feedback.c.content.contains('"outcome":"overridden"', autoescape=True))
    .group_by(card.c.uuid, card.c.visit, card.c.matters)
)
_OF_WRITER = audit_chain.c.writer == sa.bindparam("of")
_MOVED_END = (
    audit_chain.update()
    .where(_OF_WRITER)
    .values(last_number=sa.bindparam("end_number"), last_hash=sa.bindparam("end_hash"))
)
_FORM = (
    sa.select(form, record.c.content.label("about"))
    .outerjoin(record, record.c.id == form.c.record)
    .where(form.c.id == sa.bindparam("of"))
)
_HELD = sa.select(form.c.id).where(form.c.id == sa.bindparam("of"))
_WAITED_FOR = sa.select(sa.bindparam("of", type_=sa.String), sa.bindparam("text", type_=sa.Text)).where(
    WAITING.where(form.c.record == sa.bindparam("of", type_=sa.String)).exists()
)
_IN_NUMBERS = (audit_record, decision, subject, card, query, form)
_RECORD_OF_FORM = sa.select(form.c.record).where(form.c.id == sa.bindparam("done")).scalar_subquery()


def _given_of(table: sa.Table) -> list[str]:
    """The columns that we fill; a number without a value is the database's to give."""
    return [column.name for column in table.c if column is not table.autoincrement_column]


# --- the store ----------------------------------------------------------------------------------------------------


class Store:
    """The functions that keep and give back; each is one transaction."""

    def __init__(self, engine: sa.Engine, transient: str | None = None) -> None:
        self._engine = engine
        # Of the one dialect in use: to import the other as well takes a start 30 ms.
        self._insert = import_module(f"sqlalchemy.dialects.{engine.dialect.name}").insert
        new = {table: self._insert(table).on_conflict_do_nothing() for table in tables.sorted_tables}
        self._adding = {table: statement.returning(sa.literal(1)) for table, statement in new.items()}
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._hashes: dict[tuple[str, ...], str] = {}
        self._adding_many = {table: self._prepared(new[table], _given_of(table)) for table in _IN_NUMBERS}
        noting = self._insert(override).from_select(override.c.keys(), _OVERRIDDEN).on_conflict_do_nothing()
        keeping = self._insert(record).from_select(["id", "content"], _WAITED_FOR).on_conflict_do_nothing()
        self._noting, self._keeping_record = self._prepared(noting), self._prepared(keeping)
        self._moved_end = self._prepared(_MOVED_END)
        self._seeing = self._prepared(self._adding[seen_token])
        self._held = self._prepared(_HELD)
        self._closed_forms, self._overrides = self._prepared(_CLOSED_FORMS), self._prepared(_OVERRIDES)
        self._driven = Transactions(engine, BEGIN, SPARE) if self._is_sqlite else Transactions(engine)
        # At the latest when nobody holds the store any more.
        self.close = weakref.finalize(self, _close, engine, self._driven, transient)

    def _prepared(self, statement: Any, given: Sequence[str] | None = None) -> Prepared:
        return Prepared(statement, self._engine.dialect, given)

    @contextmanager
    def _transaction(self, *, writes: bool = True) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect().execution_options(writes=writes) as connection, connection.begin():
                yield connection
        except (DBAPIError, PoolTimeout) as error:
            raise _unavailable(error) from None

    @contextmanager
    def _driver(self, *, writes: bool = True) -> Iterator[Any]:
        """A transaction for what every call asks."""
        try:
            with self._driven.cursor(writes=writes) as cursor:
                yield cursor
        except (self._engine.dialect.loaded_dbapi.Error, DBAPIError, PoolTimeout) as error:
            raise _unavailable(error) from None

    def probe(self, at: datetime) -> None:
        """Write one row, as a full disk still lets us read; StoreUnavailable where that fails."""
        statement = self._insert(secret).values(name="probe", value=instant(at))
        with self._transaction() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": instant(at)}))

    # -- hashed ids

    @cached_property
    def _of_ids(self) -> hmac.HMAC:
        """To be copied: to begin anew would let go of the interpreter, which a call does a dozen times."""
        return hmac.new(self._kept_key("ids"), digestmod="sha256")

    @cached_property
    def _key_of_tokens(self) -> bytes:
        return self._kept_key("tokens")

    def _kept_key(self, name: str) -> bytes:
        made = self._insert(secret).values(name=name, value=secrets.token_hex(32)).on_conflict_do_nothing()
        with self._transaction() as connection:
            connection.execute(made)
            kept = connection.execute(sa.select(secret.c.value).where(secret.c.name == name)).scalar_one()
        return bytes.fromhex(kept)

    def hashed(self, *parts: str) -> str:
        """An id as a hash under this store's own key: ids are short enough to be guessed from a plain hash.

        The last are kept: one call hashes the same patient, user and encounter several times.
        """
        found = self._hashes.get(parts)
        if found is None:
            keyed = self._of_ids.copy()
            keyed.update(f"[{', '.join(map(encode_basestring_ascii, parts))}]".encode())  # as json.dumps, in a third
            if len(self._hashes) >= HASHES_KEPT:
                self._hashes.clear()
            found = self._hashes[parts] = keyed.hexdigest()
        return found

    def signature(self, text: str) -> str:
        """Shows to every worker on this store that one of them wrote the text; 64 hexadecimal digits."""
        return hmac.digest(self._key_of_tokens, text.encode(), "sha256").hex()

    # -- feedback, exactly once

    def add_feedback(self, client: str, items: Sequence[Feedback], at: datetime) -> int:
        """Keep what is new of these; a retry finds its key taken. Returns how many were new."""
        rows = [
            {
                "key": _sha256(client, item.card, json.dumps(item.content, sort_keys=True)),
                "received": instant(at),
                "card": item.card,
                "content": _text({**({"client": client} if client else {}), **item.content}),
            }
            for item in items
        ]
        with self._transaction() as connection:
            added = sum(self._add_once(connection, feedback, row) for row in rows)
            self._note_overrides(connection.connection.cursor(), [item.card for item in items])
            return added

    def _note_overrides(self, cursor: Any, cards: Iterable[str]) -> None:
        """Note which of these cards have been overridden; of those that are not recorded yet, their record does it."""
        self._noting.run_each(cursor, [{"of": of} for of in cards])

    def _add_once(self, connection: sa.Connection, table: sa.Table, row: Json) -> bool:
        """Whether the row was new: its unique key was free."""
        return connection.execute(self._adding[table], row).first() is not None

    # -- audit records and decisions

    def open_chain(self, writer: str, at: datetime) -> Chain:
        """A chain of its own for one writer, linked to the one opened before it so that none can vanish whole."""
        newest = sa.select(audit_chain.c.number, audit_chain.c.link).order_by(audit_chain.c.number.desc()).limit(1)
        for _ in range(20):  # another worker may take the same number
            with self._transaction() as connection:
                before = connection.execute(newest).first()
                number, link = (before.number + 1, before.link) if before else (1, NOTHING)
                row: Json = {"number": number, "writer": writer, "opened": instant(at)}
                row |= {"link": chained(link, writer, number, instant(at))}
                row |= {"kept_after": 0, "kept_hash": NOTHING, "last_number": 0, "last_hash": NOTHING}
                if self._add_once(connection, audit_chain, row):
                    return Chain(writer)
        raise StoreUnavailable("No chain of audit records could be opened: too many writers start at once.")

    def append(self, chain: Chain, entries: Sequence[Entry]) -> Chain:
        """Keep all of these in one transaction; said again after a commit of unknown end, it adds nothing."""
        with self._driver() as cursor:
            return self._append(cursor, chain, entries)

    def _append(self, cursor: Any, chain: Chain, entries: Sequence[Entry]) -> Chain:
        rows, end = _chained_rows(chain, [(entry.recorded, event) for entry in entries for event in entry.events])
        self._adding_many[audit_record].run_each(cursor, rows)
        self._moved_end.run(cursor, {"of": chain.writer, "end_number": end.number, "end_hash": end.hash})
        self._add_decisions(cursor, [entry.decision for entry in entries if entry.decision])
        return end

    def _add_decisions(self, cursor: Any, made: Sequence[Decision]) -> None:
        """A retry of the same hookInstance brings the same cards and queries: those stay with the first decision."""
        rows: dict[sa.Table, list[Json]] = {
            decision: [{"id": one.id, "recorded": one.recorded, "content": _text(one.content)} for one in made],
            subject: [{"decision": one.id, "patient": patient} for one in made for patient in one.patients],
            card: [
                {"uuid": c.uuid, "decision": one.id, "kind": c.kind, "visit": c.visit, "matters": " ".join(c.matters)}
                for one in made
                for c in one.cards
            ],
            query: [
                {"id": asked.id, "asked": one.recorded, "decision": one.id, "content": _text(asked.content)}
                for one in made
                for asked in one.queries
            ],
        }
        for table, given in rows.items():
            self._adding_many[table].run_each(cursor, given)
        self._note_overrides(cursor, [row["uuid"] for row in rows[card]])

    def decision(self, decision_id: str) -> Json | None:
        """What was kept of one decision, with its id and time."""
        with self._transaction(writes=False) as connection:
            row = connection.execute(sa.select(decision).where(decision.c.id == decision_id)).first()
        return {"id": row.id, "recorded": row.recorded, **json.loads(row.content)} if row else None

    # -- answers to queries

    def add_answer(self, query_id: str, outcome: str, content: Json, at: datetime) -> bool:
        """Keep an answer to a query once; False where the same answer is already kept."""
        with self._transaction() as connection:
            return self._add_once(connection, answer, _answer_row(query_id, outcome, content, at))

    # -- open forms

    def open_forms(
        self,
        forms: Sequence[NewForm],
        bound: Binding,
        about: Json | Written,
        at: datetime,
        lifetime: timedelta,
        appending: tuple[Chain, Sequence[Entry]] | None = None,
    ) -> Chain | None:
        """Keep the forms of one call and, once, the record that they are about; in the same flush append to a chain.

        A form that was opened under the same key before (a retry of the same call) stays as it stands. The record goes
        by the id of the first form: two calls never share one, so that none can let go of what the other waits for.
        """
        common = {**self._hashed(bound), "opened": instant(at), "expires": instant(at + lifetime), "closed": ""}
        common |= {"state": "open", "record": forms[0].id}
        rows = [
            {"id": one.id, "key": _sha256(bound.client, one.key), "content": _text(one.content), **common}
            for one in forms
        ]
        with self._driver() as cursor:
            self._adding_many[form].run_each(cursor, rows)
            self._keeping_record.run(cursor, {"of": forms[0].id, "text": _text(about)})
            return self._append(cursor, *appending) if appending else None

    def held_forms(self, ids: Sequence[str]) -> frozenset[str]:
        """Those of the forms that were opened before, as they stand or done."""
        with self._driver(writes=False) as cursor:
            return frozenset(held for of in ids for (held,) in self._held.rows(cursor, {"of": of}))

    def form(self, form_id: str, at: datetime) -> Form | None:
        """The form as it stands, whoever asks: its id is its key. None where there is none."""
        rows = self._read(_FORM, {"of": form_id})
        return _form(rows[0], at, rows[0].about) if rows else None

    def close_form(
        self,
        form_id: str,
        state: Literal["answered", "declined"],
        content: Json,
        told: tuple[str, Json],
        at: datetime,
    ) -> bool:
        """Answer or decline an open form; False where it is not open any more, so that the first answer stands.

        `told` is the id of the query and what was said to it, kept in the same transaction.
        """
        is_open = (form.c.id == form_id) & (form.c.state == "open") & (form.c.expires > instant(at))
        closed = {"state": state, "content": _text(content), "closed": instant(at)}
        with self._transaction() as connection:
            is_first = connection.execute(form.update().where(is_open).values(closed)).rowcount == 1
            if is_first:
                connection.execute(DONE_WITH.where(record.c.id == _RECORD_OF_FORM), {"done": form_id})
                self._add_once(connection, answer, _answer_row(told[0], state, told[1], at))
            return is_first

    def past(self, bound: Binding, visit: str, since: datetime, until: datetime) -> Past:
        """What users said of one patient in one encounter in that time, whoever of them it was; `visit` names it."""
        hashed, times = self._hashed(bound), {"since": instant(since), "until": instant(until)}
        where = {"patient": hashed["patient"], "encounter": hashed["encounter"]}
        with self._driver(writes=False) as cursor:
            closed = self._closed_forms.rows(cursor, {**where, **times})
            overridden = self._overrides.rows(cursor, {"visit": visit, **times})
        matters = frozenset(matter for (matters,) in overridden for matter in matters.split())
        return Past(tuple(Form(*told, kept_json(content)) for *told, content in closed), matters)  # type: ignore[call-arg]

    def _hashed(self, bound: Binding) -> dict[str, str]:
        named = {"patient": bound.patient, "user": bound.user, "encounter": bound.encounter}
        return {role: self.hashed(bound.client, reference) for role, reference in named.items()}

    # -- launches

    def keep_launch(self, key: str, sealed: str, expires: str) -> None:
        """Keep what a launch left, sealed by whoever holds the key, until an instant."""
        with self._transaction() as connection:
            self._add_once(connection, launch, {"key": key, "expires": expires, "content": sealed})

    def launch(self, key: str, at: datetime) -> str | None:
        """What was kept under the key; None where it is over, or never was."""
        rows = self._read(sa.select(launch.c.content).where(launch.c.key == key, launch.c.expires > instant(at)))
        return str(rows[0].content) if rows else None

    # -- seen tokens

    def see_token(self, issuer: str, token_id: str, expires: datetime) -> bool:
        """True the first time, whichever worker asks; a token seen before is a replay."""
        with self._driver() as cursor:
            row = {"key": _sha256(issuer, token_id), "expires": instant(expires)}
            return bool(self._seeing.rows(cursor, row))

    # -- what leaves the store, oldest first

    def export_feedback(self) -> Iterator[Json]:
        for row in self._pages(feedback):
            yield {"received": row.received, "card": row.card, **json.loads(row.content)}

    def export_queries(self) -> Iterator[Json]:
        """Each query with the answers to it."""
        for row in self._pages(query):
            told = {"id": row.id, "asked": row.asked, "decision": row.decision, **json.loads(row.content)}
            yield {**told, "answers": self._answers(row.id)}

    def _answers(self, query_id: str) -> list[Json]:
        statement = sa.select(answer).where(answer.c.query == query_id).order_by(answer.c.number)
        with self._transaction(writes=False) as connection:
            rows = connection.execute(statement).all()
        return [{"answered": row.answered, "outcome": row.outcome, **json.loads(row.content)} for row in rows]

    def export_audit(self) -> Iterator[str]:
        """The AuditEvents as they were written, oldest first; each is one line."""
        after = ("", "", 0)
        order = (audit_record.c.recorded, audit_record.c.writer, audit_record.c.number)
        while True:
            later = sa.tuple_(*order) > sa.tuple_(*map(sa.literal, after))
            rows = self._read(sa.select(audit_record).where(later).order_by(*order).limit(PAGE))
            yield from (row.event for row in rows)
            if not rows:
                return
            after = (rows[-1].recorded, rows[-1].writer, rows[-1].number)

    def _pages(self, table: sa.Table) -> Iterator[Any]:
        """All rows in the order they came, a page in memory at a time, and no transaction between pages."""
        after = 0
        while rows := self._read(sa.select(table).where(table.c.number > after).order_by(table.c.number).limit(PAGE)):
            yield from rows
            after = rows[-1].number

    def _read(self, statement: sa.Select[Any], values: Mapping[str, str] | None = None) -> Sequence[Any]:
        with self._transaction(writes=False) as connection:
            return connection.execute(statement, values).all()

    # -- the chains

    def chain_faults(self, known: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
        """What speaks against the audit records being as they were written; `known` are chain ends noted before."""
        number, link = 0, NOTHING
        chains = self._read(sa.select(audit_chain).order_by(audit_chain.c.number))
        for row in chains:
            number += 1
            if row.number != number:
                yield f"Chain {number} is missing: its records were removed."
                number, link = row.number, NOTHING
            elif row.link != chained(link, row.writer, row.number, row.opened):
                yield f"Chain {row.number} does not follow from the one before it: the list of chains was changed."
            link = row.link
            yield from self._record_faults(row, known.get(row.writer))
        listed = sa.select(audit_chain.c.writer)
        strangers = sa.select(audit_record.c.writer).distinct().where(audit_record.c.writer.not_in(listed))
        for row in self._read(strangers):
            yield f"Writer {row.writer} has records and no chain: they were added, or its chain was removed."
        for writer in sorted(set(known) - {row.writer for row in chains}):
            yield f"Chain of writer {writer}, which was noted before, is missing."

    def _record_faults(self, chain: Any, known: Mapping[str, Any] | None) -> Iterator[str]:
        place, expected = f"Chain {chain.number}", chain.kept_after
        before = chain.kept_hash
        for row in self._chain_records(chain.writer):
            expected += 1
            if row.number > expected:
                yield f"{place}, record {expected}: removed."
                expected, before = row.number, row.hash
            elif row.number < expected:
                yield f"{place}, record {row.number}: stands where none belongs."
            elif row.hash != chained(before, chain.writer, row.number, row.event):
                yield f"{place}, record {row.number}: changed, or not in its place."
            elif json.loads(row.event)["recorded"] != row.recorded:
                yield f"{place}, record {row.number}: its time was changed."
            if known and known["number"] == row.number and known["hash"] != row.hash:
                yield f"{place}, record {row.number}: not the one that was noted before."
            before = row.hash
        if (expected, before) != (chain.last_number, chain.last_hash):
            yield f"{place}, records after {expected}: removed."
        if known and known["number"] > chain.last_number:
            yield f"{place}, records after {chain.last_number}: removed, as record {known['number']} was noted before."

    def _chain_records(self, writer: str) -> Iterator[Any]:
        after, mine = LOWEST, sa.select(audit_record).where(audit_record.c.writer == writer)
        while rows := self._read(mine.where(audit_record.c.number > after).order_by(audit_record.c.number).limit(PAGE)):
            yield from rows
            after = rows[-1].number

    def chain_ends(self) -> dict[str, Json]:
        """The last number and hash of each chain, to be noted elsewhere and compared later."""
        rows = self._read(sa.select(audit_chain).order_by(audit_chain.c.number))
        return {row.writer: {"number": row.last_number, "hash": row.last_hash} for row in rows}

    # -- what is let go

    def remove_patient(self, patient: str) -> dict[str, int]:
        """Remove what is kept of one patient (a hash) but for the audit records; how many rows of each table."""
        mine = sa.select(subject.c.decision).where(subject.c.patient == patient)
        with self._transaction() as connection:
            counts = delete_decisions(connection, mine)
            counts["form"] = connection.execute(form.delete().where(form.c.patient == patient)).rowcount
            counts["record"] = connection.execute(DONE_WITH).rowcount
        return counts

    def empty_log(self) -> None:
        """Let go of what SQLite's log of changes still holds of removed rows; StoreUnavailable where it is in use."""
        if not self._is_sqlite:
            return
        with self._transaction(writes=False) as connection:
            is_busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
        if is_busy:
            told = "The rows are removed, but others use the log of changes, which still holds them; say it again."
            raise StoreUnavailable(told)

    def retire(self, before: datetime, now: datetime) -> dict[str, int]:
        """Remove what is older than the operator keeps, and forms and tokens that have expired by then."""
        return let_go([*old(instant(before)), *expired(instant(now))], self._transaction)

    def forget_expired(self, now: datetime) -> dict[str, int]:
        """Remove tokens that have expired, which are refused by their time alone, and forms that nobody answered."""
        return let_go(expired(instant(now)), self._transaction)


def _close(engine: sa.Engine, driven: Transactions, transient: str | None) -> None:
    driven.close()
    engine.dispose()
    if transient:
        shutil.rmtree(transient, ignore_errors=True)


def _form(row: Any, at: datetime, about: str | None = None) -> Form:
    """An expired form keeps its state alone: what it quotes is nobody's business any more."""
    if row.state == "open" and row.expires <= instant(at):
        return Form(row.id, "expired", row.opened, row.expires, "", {})
    content = kept_json(row.content)
    return Form(row.id, row.state, row.opened, row.expires, row.closed, content, kept_json(about) if about else {})


def _answer_row(query_id: str, outcome: str, content: Json, at: datetime) -> Json:
    key = _sha256(query_id, outcome, json.dumps(content, sort_keys=True))
    told = {"answered": instant(at), "outcome": outcome, "content": _text(content)}
    return {"key": key, "query": query_id, **told}


def _chained_rows(chain: Chain, events: Iterable[tuple[str, str]]) -> tuple[list[Json], Chain]:
    number, before, rows = chain.number, chain.hash, []
    for recorded, event in events:
        number += 1
        before = chained(before, chain.writer, number, event)
        rows.append({"writer": chain.writer, "number": number, "recorded": recorded, "event": event, "hash": before})
    return rows, Chain(chain.writer, number, before)
