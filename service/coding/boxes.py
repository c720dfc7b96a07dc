"""Boxes of a template: what is not ticked is not said. 'Canal: [ ] patent [x] mild [ ] severe' is 'Canal: mild'.

In a table the column says what is ticked: under 'Finding | Yes | No' the row 'Stenosis | [ ] | [x]' is 'Stenosis: No'.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from service.coding.spelling import NO_WORD, Tokens

_OPENS, _CLOSES = frozenset("[("), frozenset("])")
TICKS = frozenset({"x", "✓", "✔", "☑"})
MARKS = _OPENS | _CLOSES | TICKS | {"-", "_", "__", "___"}
BAR = "|"
_YES_OR_NO = frozenset("yes no y n".split())
_STATES = frozenset("none nil present absent negative positive neg pos normal patent open narrowed narrow".split())
_GRADES = frozenset("minimal mild moderate severe marked".split())
_ANSWERS = _YES_OR_NO | _STATES | _GRADES
_ROW_NAMES = frozenset("finding findings item question level levels segment".split())


class _Answer(NamedTuple):
    """What a column stands for, as it is written in the header and as the lexicon finds it."""

    word: str
    sign: str


def filled_in(sentences: Iterable[Tokens]) -> list[Tokens]:
    """What the boxes of each sentence say; of a header of answers what its rows are about is left."""
    answers: Sequence[_Answer] = ()
    found: list[Tokens] = []
    for tokens in sentences:
        if header := _answers_of(tokens):
            answers = header
            found.append(tokens.only(_caption(tokens)))
        else:
            found.append((answers and _ticked(tokens, answers)) or chosen(tokens))
    return found


def _answers_of(tokens: Tokens) -> Sequence[_Answer]:
    """The columns of a header of answers: 'Finding | Yes | No', 'None   Mild   Severe'; empty where it is none."""
    words = tokens.words
    if not words or (words[-1] not in _ANSWERS and words[-1] != BAR) or any(word.isdigit() for word in words):
        return ()
    named = words[1:] if words[0] in _ROW_NAMES else words
    if BAR in tokens.said:
        _, *cells = _cells(words)
        cells = cells[:-1] if cells and not cells[-1] else cells
        positions = [cell.start for cell in cells if len(cell) == 1]
    else:
        cells, positions = [], list(range(len(words) - len(named), len(words)))
    answers = [_Answer(words[p], tokens.signs[p]) for p in positions if words[p] in _ANSWERS]
    return answers if 1 < len(answers) == max(len(cells), len(positions)) else ()


def _caption(tokens: Tokens) -> Sequence[int]:
    """Where a header names what its rows are about ('Canal stenosis | None | Mild'), with the bar behind it."""
    name = _cells(tokens.words)[0] if BAR in tokens.said else range(0)
    is_general = len(name) == 0 or tokens.words[name.start] in _ROW_NAMES
    return () if is_general else range(name.start, name.stop + 1)


def _cells(words: list[str]) -> list[range]:
    """The positions of each cell between bars, the last one empty where a bar closes the row."""
    bars = [p for p in range(len(words)) if words[p] == BAR]
    begins = bars if bars[0] == 0 else [-1, *bars]
    return [range(one + 1, other) for one, other in pairwise([*begins, len(words)])]


def _ticked(tokens: Tokens, answers: Sequence[_Answer]) -> Tokens | None:
    """A row as 'name: answer', nothing where not one box is ticked; None where it is no row of boxes."""
    words = tokens.words
    if BAR in tokens.said:
        name, *cells = _cells(words)
        cells = cells[: len(answers)] if not any(cells[len(answers) :]) else cells
    else:
        boxes = [range(p, p + width) for p in range(len(words)) if (width := _width(words, p))]
        name = range(boxes[0].start if boxes else 0)
        cells = boxes if boxes and len(name) + sum(map(len, boxes)) == len(words) else []
    if len(cells) != len(answers) or not name or not all(words[p] in MARKS for cell in cells for p in cell):
        return None
    marks = [(p, answer) for cell, answer in zip(cells, answers, strict=True) for p in cell if words[p] in TICKS]
    return _answered(tokens, name, *marks[0]) if len(marks) == 1 else tokens.only([])


def _answered(tokens: Tokens, name: range, mark: int, answer: _Answer) -> Tokens:
    kept = tokens.only(name)
    start, end = tokens.starts[mark], tokens.ends[mark]
    behind = kept.ends[-1]
    return Tokens(
        [*kept.words, ":", answer.word],
        [*kept.starts, behind, start],
        [*kept.ends, behind, end],
        kept.signs + NO_WORD + answer.sign,
    )


def chosen(tokens: Tokens) -> Tokens:
    """The words without those of the boxes that are not ticked, and without the mark of one that fills in a field."""
    words = tokens.words
    if _OPENS.isdisjoint(words):
        return tokens
    boxes = [(p, width) for p in range(len(words)) if (width := _width(words, p))]
    if boxes and all(
        words[box + 1] not in TICKS and not _YES_OR_NO.isdisjoint(words[box + width : box + width + 1])
        for box, width in boxes
    ):
        return tokens.only([])  # asked, and not answered
    if boxes and all(box and words[box - 1] in _YES_OR_NO for box, _ in boxes) and sum(boxes[-1]) == len(words):
        return _ticked_behind(tokens, boxes)
    gone: set[int] = set()
    for (box, width), (following, _) in pairwise([*boxes, (len(words), 0)]):
        if words[box + 1] not in TICKS:
            gone.update(range(box, _end_of_box(tokens, box + width, following)))
        else:
            gone.update(_mark(words, box, width, _said_before(words, box, gone)))
    return tokens.only([p for p in range(len(words)) if p not in gone]) if gone else tokens


def _ticked_behind(tokens: Tokens, boxes: Sequence[tuple[int, int]]) -> Tokens:
    """'Canal stenosis  Y [ ]  N [x]': each box belongs to the word before it."""
    words, signs = tokens.words, tokens.signs
    marked = [box - 1 for box, _ in boxes if words[box + 1] in TICKS]
    name = range(boxes[0][0] - 1)
    if len(marked) != 1 or not name:
        return tokens.only([])
    return _answered(tokens, name, marked[0], _Answer(words[marked[0]], signs[marked[0]]))


def _width(words: list[str], p: int) -> int:
    """The words of a box that opens here: '[ ]', '(x)', '[_]'; 0 where none does."""
    if words[p] not in _OPENS or p + 1 == len(words):
        return 0
    if words[p + 1] in _CLOSES:
        return 2
    marked = words[p + 1] in TICKS or words[p + 1].strip("_") == ""
    return 3 if marked and p + 2 < len(words) and words[p + 2] in _CLOSES else 0


def _end_of_box(tokens: Tokens, begins: int, following: int) -> int:
    """A box speaks of what stands behind it up to the next box, a wide gap, a bar or a label."""
    for p in range(begins, following):
        if tokens.words[p] == BAR:
            return p
        label = p + 1 < len(tokens.words) and tokens.words[p + 1] == ":"
        if p > begins and (label or tokens.starts[p] - tokens.ends[p - 1] > 1):
            return p
    return following


def _said_before(words: list[str], box: int, gone: set[int]) -> str:
    """The last word before a box that is not gone; empty where it opens its sentence."""
    return next((words[p] for p in range(box - 1, -1, -1) if p not in gone), "")


def _mark(words: list[str], box: int, width: int, before: str) -> range:
    """What to leave out of a mark that fills in a field or answers a question: of 'stenosis [x] no' a sign stays."""
    if before == ":":
        return range(box, box + width)
    answer, following = words[box + width : box + width + 1], words[box + width + 1 : box + width + 2]
    answers = not _ANSWERS.isdisjoint(answer) and (not following or following[0] in _BEHIND_AN_ANSWER)
    return range(box + bool(before), box + width) if answers else range(0)


_BEHIND_AN_ANSWER = _OPENS | frozenset({",", ".", ";", BAR, "at"})
