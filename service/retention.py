"""What the store lets go of, a page at a time: what is old, what has expired, and what hangs on a decision."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import sqlalchemy as sa

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
    seen_token,
    subject,
)

PAGE = 500
BREATH_SECONDS = 0.02
Step = Callable[[sa.Connection], dict[str, int]]  # lets go of one page; how many rows of each table

# Records that open forms are about, and those that no open form waits for any more.
WAITING = sa.select(form.c.id).where(form.c.state == "open")
DONE_WITH = record.delete().where(~WAITING.where(form.c.record == record.c.id).correlate(record).exists())


def let_go(steps: Iterable[Step], transaction: Callable[[], AbstractContextManager[sa.Connection]]) -> dict[str, int]:
    """Take each step until there is nothing left for it, every time in a transaction of its own: whoever writes
    meanwhile waits for one page, not for all that has become old.
    """
    counts: Counter[str] = Counter()
    for step in steps:
        removed = 1
        while removed:
            with transaction() as connection:
                page = step(connection)
            counts.update(page)
            if removed := sum(page.values()):
                time.sleep(BREATH_SECONDS)  # SQLite lets in who asks at the right moment
    return dict(counts)


def old(oldest: str) -> Iterator[Step]:
    """What is older than the operator keeps."""
    decisions = sa.select(decision.c.id).where(decision.c.recorded < oldest).limit(PAGE)
    yield lambda connection: delete_decisions(connection, decisions)
    # One whose query or card was lost (AUDIT=group, a kill) hangs on no decision.
    yield _deleting(feedback, feedback.c.number, feedback.c.received < oldest)
    yield _deleting(answer, answer.c.number, answer.c.answered < oldest)
    yield _deleting(form, form.c.id, form.c.expires < oldest)
    yield lambda connection: {"audit_record": _cut_chains(connection, oldest)}


def expired(now: str) -> Iterator[Step]:
    yield _deleting(seen_token, seen_token.c.key, seen_token.c.expires < now)
    yield _deleting(launch, launch.c.key, launch.c.expires < now)
    yield _deleting(form, form.c.id, (form.c.state == "open") & (form.c.expires < now))
    yield lambda connection: {"record": connection.execute(DONE_WITH).rowcount}


def _deleting(table: sa.Table, key: sa.Column[Any], chosen: sa.ColumnElement[bool]) -> Step:
    page = table.delete().where(key.in_(sa.select(key).where(chosen).limit(PAGE)))
    return lambda connection: {str(table.name): connection.execute(page).rowcount}


def _cut_chains(connection: sa.Connection, oldest: str) -> int:
    """Take a page of old records off the front of the chains, and note where each now begins."""
    of, number, recorded = audit_record.c.writer, audit_record.c.number, audit_record.c.recorded
    oldest_first = sa.select(of, number).where(recorded < oldest).order_by(recorded).limit(PAGE)
    last = {row.writer: row.number for row in connection.execute(oldest_first)}
    return sum(_cut_chain(connection, writer, last[writer]) for writer in sorted(last))


def _cut_chain(connection: sa.Connection, writer: str, last: int) -> int:
    """Another worker may be at it: then the chain begins where the one that came further says."""
    mine = (audit_record.c.writer == writer) & (audit_record.c.number <= last)
    end = sa.select(audit_record.c.hash).where(mine, audit_record.c.number == last)
    is_further = (audit_chain.c.writer == writer) & (audit_chain.c.kept_after < last)
    begins = {"kept_after": last, "kept_hash": end.scalar_subquery()}
    connection.execute(audit_chain.update().where(is_further).values(begins))
    return connection.execute(audit_record.delete().where(mine)).rowcount


def delete_decisions(connection: sa.Connection, chosen: sa.Select[tuple[str]]) -> dict[str, int]:
    """Decisions with all that hangs on them."""
    counts: Counter[str] = Counter()
    doomed = connection.execute(chosen).scalars().all()
    for start in range(0, len(doomed), PAGE):
        ids = doomed[start : start + PAGE]
        cards = sa.select(card.c.uuid).where(card.c.decision.in_(ids))
        queries = sa.select(query.c.id).where(query.c.decision.in_(ids))
        for table, hanging in {
            feedback: feedback.c.card.in_(cards),
            answer: answer.c.query.in_(queries),
            query: query.c.decision.in_(ids),
            override: override.c.card.in_(cards),
            card: card.c.decision.in_(ids),
            decision: decision.c.id.in_(ids),
        }.items():
            counts[str(table.name)] += connection.execute(table.delete().where(hanging)).rowcount
        connection.execute(subject.delete().where(subject.c.decision.in_(ids)))
    return dict(counts)
