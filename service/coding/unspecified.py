"""What a code leaves open and the words of its diagnosis state: 'unspecified knee' of a right knee."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set

from service.coding.releases import Icd10Cm

_WORD = re.compile(r"[a-z0-9]+")
_IN_BRACKETS = re.compile(r"[(\[].*?[)\]]")
_COMPLETE = len("S93.409A")
_OPEN = "unspecified"
# Words that part no code from its siblings by themselves.
_OF_ANYTHING = frozenset("a an and by for in of on or the to other others region site specified type part".split())
# A title that differs by these is not told by its other words alone: 'without myelopathy' speaks of myelopathy too.
_RELATING = frozenset("with without not no elsewhere except".split())
# Words in whose company nothing is told from single words.
_DOUBTFUL = _RELATING | frozenset(
    "denies negative absent possible probable suspected likely questionable rule ruled history versus vs or family "
    "both bilateral".split()
)


def better_code(code: str, words: str, icd10cm: Icd10Cm, on: str) -> str:
    """The one sibling that differs from an unspecified code by what the words say; '' where none or several do."""
    stated, title = set(_words_of(words)), _words_of(icd10cm.title(code, on) or "")
    if _OPEN not in title or stated & _DOUBTFUL:
        return ""
    found = [sibling for sibling, own in _siblings(code, icd10cm, on) if _is_stated(own, title, stated)]
    return found[0] if len(found) == 1 else ""


def _is_stated(sibling: Sequence[str], title: Sequence[str], stated: Set[str]) -> bool:
    told = set(sibling) - set(title) - _OF_ANYTHING
    closes = sibling.count(_OPEN) < title.count(_OPEN)
    return closes and bool(told) and not told & _RELATING and told <= stated


def _siblings(code: str, icd10cm: Icd10Cm, on: str) -> list[tuple[str, Sequence[str]]]:
    """The codes beside it that hold on the date, with the words of their titles; a seventh character is left out."""
    stem = icd10cm.parent(code) if len(code) == _COMPLETE else code
    header = icd10cm.parent(stem) if stem else None
    beside = icd10cm.children(header) if header else ()
    return [
        (one, _words_of(icd10cm.title(one, on) or ""))
        for one in beside
        if one != stem and icd10cm.status(one, on).validity in ("valid", "not-billable")
    ]


def _words_of(text: str) -> Sequence[str]:
    return _WORD.findall(_IN_BRACKETS.sub(" ", text.lower()))
