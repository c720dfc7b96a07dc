"""Writes the words of a text as the lexicon does, offsets kept: misspellings of its long words are forgiven.

Ordinary words that merely look like one of the lexicon's (`ordinary` in `terminology/lexicon/spelling.yaml`) stay.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple

from rapidfuzz import process
from rapidfuzz.distance import OSA

# A hyphen inside a word is none of its own: 'cervico-thoracic' are two words.
TOKEN = re.compile(
    r"([^\W\d_]+(?:['’][^\W\d_]+)?|\d+(?:\.\d+)?|-->?|=>|(?<![^\W_])[-‐‑]|[-‐‑](?![^\W_])|[^\w\s‐‑-]|_+)"
)
# The same for a text in ASCII, as most are: less than half the time.
_ASCII_TOKEN = re.compile(
    r"([A-Za-z]+(?:'[A-Za-z]+)?|[0-9]+(?:\.[0-9]+)?|-->?|=>|(?<![^\W_])-|-(?![^\W_])|[^\w\s-]|_+)", re.ASCII
)
_REMEMBERED = 50_000  # words; a note full of junk must not fill the memory
_LONGEST = 40  # characters of a word that may be a misspelling


class Tokens(NamedTuple):
    """The words of a text as the lexicon writes them, with the offsets at which each starts and ends."""

    words: list[str]
    starts: list[int]
    ends: list[int]

    def within(self, start: int, end: int) -> Tokens:
        """Those that start in a part of the text."""
        first, last = bisect_left(self.starts, start), bisect_left(self.starts, end)
        return Tokens(self.words[first:last], self.starts[first:last], self.ends[first:last])


class Spelling:
    """Words by what was written: lower case, singular where only that is known, misspellings forgiven."""

    def __init__(self, vocabulary: Iterable[str], ordinary: Iterable[str], spelled: Iterable[str]) -> None:
        self._vocabulary = frozenset(vocabulary)
        self._ordinary = {word.lower() for word in ordinary} - self._vocabulary
        choices = sorted({word.lower() for word in spelled})
        self._long = {word for word in choices if len(word) >= 4}
        self._by_letter: dict[str, list[str]] = {}
        for choice in choices:
            self._by_letter.setdefault(choice[0], []).append(choice)
        self._by_tail = {choice[1:]: choice for choice in choices if len(choice) >= 7}
        self._known: dict[str, str] = {}
        self._run_together: dict[str, int] = {}

    def read(self, text: str) -> Tokens:
        """All words of a text; two where a blank was left out ('ligamentumflavum')."""
        parts = (_ASCII_TOKEN if text.isascii() else TOKEN).split(text)  # gap, word, gap, word ... gap
        offsets = list(accumulate(map(len, parts)))
        written, known = parts[1::2], self._known
        tokens = Tokens([known.get(w) or self._learn(w) for w in written], offsets[:-1:2], offsets[1::2])
        together = self._run_together
        return self._parted(tokens, written) if together and not together.keys().isdisjoint(written) else tokens

    def _parted(self, tokens: Tokens, written: list[str]) -> Tokens:
        """The same with the words that were run together cut apart."""
        found = Tokens([], [], [])
        for word, text, start, end in zip(tokens.words, written, tokens.starts, tokens.ends, strict=True):
            cut = self._run_together.get(text, 0)
            found.words.extend([self._word(text[:cut]), self._word(text[cut:])] if cut else [word])
            found.starts.extend([start, start + cut] if cut else [start])
            found.ends.extend([start + cut, end] if cut else [end])
        return found

    def _learn(self, written: str) -> str:
        if len(self._known) > _REMEMBERED:
            self._known.clear()
            self._run_together.clear()
        word = self._word(written)
        if len(written) <= _LONGEST:
            self._known[written] = word
        cut = self._missing_blank(word) if word not in self._vocabulary else 0
        if cut:
            self._run_together[written] = cut
        return word

    def _word(self, written: str) -> str:
        lowered = written.lower().replace("’", "'")
        return self._singular(lowered) or self._corrected(lowered)

    def _singular(self, lowered: str) -> str:
        if lowered in self._vocabulary:
            return lowered
        stems = [lowered.removesuffix(ending) for ending in ("'s", "s", "es")]
        stems += [f"{lowered[:-3]}y"] if lowered.endswith("ies") else []
        return next((stem for stem in stems if stem != lowered and len(stem) > 2 and stem in self._vocabulary), "")

    def _missing_blank(self, word: str) -> int:
        """Where a word falls into two that the lexicon knows; 0 where it does not."""
        if not 9 <= len(word) <= _LONGEST or not word.isalpha() or word in self._ordinary:
            return 0
        cuts = range(4, len(word) - 3)
        return next((cut for cut in cuts if word[:cut] in self._long and word[cut:] in self._long), 0)

    def _corrected(self, word: str) -> str:
        stems = {word, word.removesuffix("s")}
        if not 4 <= len(word) <= _LONGEST or not word.isalpha() or not stems.isdisjoint(self._ordinary):
            return word
        allowed = 1 if len(word) < 7 else 2 if len(word) < 12 else 3
        hits = process.extract(word, self._alike(word), scorer=OSA.distance, score_cutoff=allowed, limit=3)
        near = [(distance, choice) for choice, distance, _ in hits if _plausible(word, choice, int(distance))]
        if not near or (len(near) > 1 and near[0][0] == near[1][0] and not _same_stem(near[0][1], near[1][1])):
            return word
        return near[0][1]

    def _alike(self, word: str) -> list[str]:
        """Words of about the same length that begin with one of the first two letters, or differ in the first alone."""
        letters = dict.fromkeys(word[:2])
        found = [c for letter in letters for c in self._by_letter.get(letter, ()) if abs(len(c) - len(word)) <= 2]
        return found + [self._by_tail[tail] for tail in (word, word[1:]) if tail in self._by_tail]


def _plausible(word: str, choice: str, distance: int) -> bool:
    """A misspelling keeps its first letter (or swaps the first two) and most of its length."""
    if len(choice) < 5 or abs(len(word) - len(choice)) > 2:
        return False
    if len(word) == 4:
        return distance == 1 and len(choice) == 5 and word[0] == choice[0]
    return (
        word[0] == choice[0]
        or (len(word) >= 7 and sorted(word[:2]) == sorted(choice[:2]))
        or (distance == 1 and len(word) >= 8)
    )


def _same_stem(one: str, other: str) -> bool:
    return one.startswith(other[: min(len(one), len(other)) - 3])
