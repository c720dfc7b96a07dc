"""The figures in docs/SCORECARD.md are those of the code that lies beside them."""

from service.assist import Assist
from tests.scorecard import SCORECARD, scorecard


def test_the_scorecard_is_not_stale(assist: Assist) -> None:
    assert SCORECARD.read_text("utf-8") == scorecard(assist), "Run `make scorecard`."
