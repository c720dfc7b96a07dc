"""Boxes of a template: what is not ticked is not said. 'Canal: [ ] patent [x] mild [ ] severe' is 'Canal: mild'."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from service.coding.spelling import Tokens

_OPENS, _CLOSES = frozenset("[("), frozenset("])")
_TICKS = frozenset({"x", "✓", "✔", "☑"})


_YES_OR_NOS = [["yes"], ["no"], ["y"], ["n"]]


def chosen(tokens: Tokens) -> Tokens:
    """The words without those of the boxes that are not ticked, and without the mark of one that fills in a field."""
    if _OPENS.isdisjoint(tokens.said):
        return tokens
    words = tokens.words
    boxes = [(p, width) for p in range(len(words)) if (width := _width(words, p))]
    if boxes and all(
        words[box + 1] not in _TICKS and words[box + width : box + width + 1] in _YES_OR_NOS for box, width in boxes
    ):
        return tokens.only([])  # asked, and not answered
    gone: set[int] = set()
    for (box, width), (following, _) in pairwise([*boxes, (len(words), 0)]):
        if words[box + 1] not in _TICKS:
            gone.update(range(box, _end_of_box(tokens, box + width, following)))
        elif _fills_in(words, box, gone):
            gone.update(range(box, box + width))
    return tokens.only([p for p in range(len(words)) if p not in gone]) if gone else tokens


def _width(words: Sequence[str], p: int) -> int:
    """The words of a box that opens here: '[ ]', '(x)', '[_]'; 0 where none does."""
    if words[p] not in _OPENS or p + 1 == len(words):
        return 0
    if words[p + 1] in _CLOSES:
        return 2
    marked = words[p + 1] in _TICKS or words[p + 1].strip("_") == ""
    return 3 if marked and p + 2 < len(words) and words[p + 2] in _CLOSES else 0


def _end_of_box(tokens: Tokens, begins: int, following: int) -> int:
    """A box speaks of what stands behind it up to the next box, a wide gap or a label."""
    for p in range(begins + 1, following):
        label = p + 1 < len(tokens.words) and tokens.words[p + 1] == ":"
        if label or tokens.starts[p] - tokens.ends[p - 1] > 1:
            return p
    return following


def _fills_in(words: Sequence[str], box: int, gone: set[int]) -> bool:
    """Between the mark and the colon of its field stands nothing that is said."""
    before = next((p for p in range(box - 1, -1, -1) if p not in gone), -1)
    return before >= 0 and words[before] == ":"
