"""The record that open forms are about, once for all forms of a call and not with each."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "record",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.add_column("form", sa.Column("record", sa.String(length=64), nullable=False, server_default=""))
    op.create_index(op.f("ix_form_record"), "form", ["record"], unique=False)
