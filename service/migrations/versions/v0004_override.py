"""Cards that users have overridden, by visit, and forms by when they were closed: every call asks for both."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "override",
        sa.Column("card", sa.String(length=100), nullable=False),
        sa.Column("visit", sa.String(length=64), nullable=False),
        sa.Column("received", sa.String(length=24), nullable=False),
        sa.Column("matters", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("card"),
    )
    op.create_index(op.f("ix_override_visit"), "override", ["visit"], unique=False)
    op.execute(
        "INSERT INTO override (card, visit, received, matters)"
        " SELECT card.uuid, card.visit, MIN(feedback.received), card.matters"
        " FROM card JOIN feedback ON feedback.card = card.uuid"
        """ WHERE feedback.content LIKE '%"outcome":"overridden"%'"""
        " GROUP BY card.uuid, card.visit, card.matters"
    )
    op.drop_index(op.f("ix_card_visit"), table_name="card")
    op.drop_index(op.f("ix_form_patient"), table_name="form")
    op.create_index("ix_form_closed", "form", ["patient", "encounter", "closed"], unique=False)
