"""What each card is about and in which encounter it was shown: an override holds for the rest of the encounter."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("card", sa.Column("visit", sa.String(length=64), nullable=False, server_default=""))
    op.add_column("card", sa.Column("matters", sa.Text(), nullable=False, server_default=""))
    op.create_index(op.f("ix_card_visit"), "card", ["visit"], unique=False)
