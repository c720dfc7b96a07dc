"""The tables of the store: what is kept, and by what it is found.

Times are text in UTC with milliseconds, so that they sort and are exported as they are; patients and users are keyed
hashes, but for the audit records, which name them (see audit.py).
"""

from __future__ import annotations

import sqlalchemy as sa

tables = sa.MetaData()
secret = sa.Table(
    "secret",
    tables,
    sa.Column("name", sa.String(20), primary_key=True),
    sa.Column("value", sa.String(64), nullable=False),
)
audit_chain = sa.Table(
    "audit_chain",
    tables,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("writer", sa.String(32), nullable=False, unique=True),
    sa.Column("opened", sa.String(24), nullable=False),
    sa.Column("link", sa.String(64), nullable=False),
    sa.Column("kept_after", sa.Integer, nullable=False),
    sa.Column("kept_hash", sa.String(64), nullable=False),
    sa.Column("last_number", sa.Integer, nullable=False),
    sa.Column("last_hash", sa.String(64), nullable=False),
)
audit_record = sa.Table(
    "audit_record",
    tables,
    sa.Column("writer", sa.String(32), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("recorded", sa.String(24), nullable=False, index=True),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)
decision = sa.Table(
    "decision",
    tables,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("recorded", sa.String(24), nullable=False, index=True),
    sa.Column("content", sa.Text, nullable=False),
)
subject = sa.Table(
    "subject",
    tables,
    sa.Column("decision", sa.String(36), primary_key=True),
    sa.Column("patient", sa.String(64), primary_key=True, index=True),
)
card = sa.Table(
    "card",
    tables,
    sa.Column("uuid", sa.String(100), primary_key=True),
    sa.Column("decision", sa.String(36), nullable=False, index=True),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("visit", sa.String(64), nullable=False),
    sa.Column("matters", sa.Text, nullable=False),
)
override = sa.Table(  # the cards that users have overridden
    "override",
    tables,
    sa.Column("card", sa.String(100), primary_key=True),
    sa.Column("visit", sa.String(64), nullable=False, index=True),
    sa.Column("received", sa.String(24), nullable=False),
    sa.Column("matters", sa.Text, nullable=False),
)
query = sa.Table(
    "query",
    tables,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("id", sa.String(100), nullable=False, unique=True),
    sa.Column("asked", sa.String(24), nullable=False),
    sa.Column("decision", sa.String(36), nullable=False, index=True),
    sa.Column("content", sa.Text, nullable=False),
)
answer = sa.Table(
    "answer",
    tables,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("key", sa.String(64), nullable=False, unique=True),
    sa.Column("query", sa.String(100), nullable=False, index=True),
    sa.Column("answered", sa.String(24), nullable=False),
    sa.Column("outcome", sa.String(20), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
)
feedback = sa.Table(
    "feedback",
    tables,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("key", sa.String(64), nullable=False, unique=True),
    sa.Column("received", sa.String(24), nullable=False, index=True),
    sa.Column("card", sa.String(100), nullable=False, index=True),
    sa.Column("content", sa.Text, nullable=False),
)
form = sa.Table(
    "form",
    tables,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("key", sa.String(64), nullable=False, unique=True),
    sa.Column("patient", sa.String(64), nullable=False),
    sa.Column("user", sa.String(64), nullable=False),
    sa.Column("encounter", sa.String(64), nullable=False),
    sa.Column("opened", sa.String(24), nullable=False),
    sa.Column("expires", sa.String(24), nullable=False, index=True),
    sa.Column("closed", sa.String(24), nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("record", sa.String(64), nullable=False, server_default="", index=True),
    sa.Index("ix_form_closed", "patient", "encounter", "closed"),
)
record = sa.Table(  # what forms that are still open are about
    "record",
    tables,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("content", sa.Text, nullable=False),
)
launch = sa.Table(
    "launch",
    tables,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("expires", sa.String(24), nullable=False, index=True),
    sa.Column("content", sa.Text, nullable=False),
)
seen_token = sa.Table(
    "seen_token",
    tables,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("expires", sa.String(24), nullable=False, index=True),
)
