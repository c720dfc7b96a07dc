"""Forms without a key of their own: the id is made of it, and an index less is written with each call."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("form") as form:
        form.drop_column("key")
