"""Launches of forms inside an EHR: sealed with a key that only the browser holds, until they expire."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "launch",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("expires", sa.String(length=24), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index(op.f("ix_launch_expires"), "launch", ["expires"], unique=False)
