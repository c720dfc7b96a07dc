"""The figures in docs/SCORECARD.md are those of the code that lies beside them."""

from hashlib import sha256

from service.assist import Assist
from tests.scorecard import DATA, SCORECARD, scorecard


def test_the_scorecard_is_not_stale(assist: Assist) -> None:
    assert SCORECARD.read_text("utf-8") == scorecard(assist), "Run `make scorecard`."


def test_the_unlearned_set_is_the_one_that_was_sealed() -> None:
    told = (DATA / "README.md").read_text("utf-8")
    for name in ("unlearned", "unlearned-gold"):
        assert sha256((DATA / f"{name}.jsonl").read_bytes()).hexdigest() in told
