"""Writes the words of a text as the lexicon does, offsets kept: misspellings of its long words are forgiven.

Ordinary words that merely look like one of the lexicon's (`ordinary` in `terminology/lexicon/spelling.yaml`) stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from sys import intern

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
_REMEMBERED = 10_000  # words of half a kilobyte, with the signs beside them; a note full of junk must not fill more
NO_WORD = "\0"  # the sign of a word that no term has
_MISREAD = re.compile(r"[A-Za-z]{2,}[01][A-Za-z01]*|[A-Za-z]*[a-z]I[a-z]*|[a-z]*I[a-z]+")
_SHORT_MISREAD = frozenset({"canal", "spinal", "level"})
_RUN_ON = ("and", "the", "with", "without")
_SHORTEST_BROKEN = 6  # characters of a word that may be broken in two by a blank or the end of a line
_LONGEST = 40  # characters of a word that may be a misspelling, and of what is remembered


class Tokens:
    """The words of a text as the lexicon writes them, with the offsets at which each starts and ends.

    `signs` has one character for each word, by which the lexicon finds its terms.
    """

    __slots__ = ("_said", "ends", "signs", "starts", "words")

    def __init__(self, words: list[str], starts: list[int], ends: list[int], signs: str) -> None:
        self.words, self.starts, self.ends, self.signs = words, starts, ends, signs
        self._said: frozenset[str] | None = None

    @property
    def said(self) -> frozenset[str]:
        """The words, in no order."""
        if self._said is None:
            self._said = frozenset(self.words)
        return self._said

    def part(self, first: int, beyond: int) -> Tokens:
        """Those from one position to before another."""
        words, signs = self.words[first:beyond], self.signs[first:beyond]
        return Tokens(words, self.starts[first:beyond], self.ends[first:beyond], signs)

    def only(self, kept: Sequence[int]) -> Tokens:
        """Those at these positions."""
        starts, ends = [self.starts[p] for p in kept], [self.ends[p] for p in kept]
        return Tokens([self.words[p] for p in kept], starts, ends, "".join([self.signs[p] for p in kept]))


class _Written:
    """What stands between two blanks: its words, where each starts and ends, and their signs."""

    __slots__ = ("ends", "is_one_word", "may_end_a_word", "signs", "starts", "words")

    def __init__(self, words: list[str], starts: list[int], ends: list[int], signs: str, length: int) -> None:
        self.words, self.starts, self.ends, self.signs = words, starts, ends, signs
        self.is_one_word = starts == [0] and ends == [length]
        self.may_end_a_word = False


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
        self._signs = {word: chr(number) for number, word in enumerate(sorted(self._vocabulary), 1)}
        self._whole = frozenset(word for word in self._vocabulary if len(word) >= _SHORTEST_BROKEN and word.isalpha())
        self._tails = frozenset(word[cut:] for word in self._whole for cut in range(2, len(word) - 1))
        self._known: dict[str, _Written] = {}
        self._words: dict[str, str] = {}

    def signs(self, words: Iterable[str]) -> str:
        """One character for each word: its own, or NO_WORD where no term has it."""
        return "".join([self._signs.get(word, NO_WORD) for word in words])

    def read(self, text: str) -> Tokens:
        """All words of a text; two where a blank was left out ('ligamentumflavum')."""
        words: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        signs: list[str] = []
        at, known = 0, self._known
        for written in text.split(" "):  # no word holds a blank
            if written:
                found = known.get(written)
                if found is None:
                    found = self._learn(written)
                if found.may_end_a_word and starts and (whole := self._mended(text, starts[-1], at, found)):
                    words[-1], ends[-1] = whole, at + found.ends[0]
                    signs[-1] = signs[-1][:-1] + self.signs([whole]) + found.signs[1:]
                    words.extend(found.words[1:])
                    starts.extend([at + start for start in found.starts[1:]])
                    ends.extend([at + end for end in found.ends[1:]])
                    at += len(written) + 1
                    continue
                signs.append(found.signs)
                if found.is_one_word:  # as most are
                    words.append(found.words[0])
                    starts.append(at)
                    ends.append(at + len(written))
                else:
                    words.extend(found.words)
                    for start in found.starts:
                        starts.append(at + start)
                    for end in found.ends:
                        ends.append(at + end)
            at += len(written) + 1
        return Tokens(words, starts, ends, "".join(signs))

    def may_end_a_word(self, written: str) -> bool:
        """Whether what stands between two blanks may be the second half of a broken word."""
        return (self._known.get(written) or self._learn(written)).may_end_a_word

    def _learn(self, written: str) -> _Written:
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        starts: list[int] = []
        ends: list[int] = []
        meant = self._letters_for_digits(written)
        for match in (_ASCII_TOKEN if meant.isascii() else TOKEN).finditer(meant):
            cut = self._cuts(match.group(), match.start())
            starts += [match.start(), *cut]
            ends += [*cut, match.end()]
        self._mend(meant, starts, ends)
        words = [self._mended_word(meant[start:end]) for start, end in zip(starts, ends, strict=True)]
        found = _Written(words, starts, ends, self.signs(words), len(meant))
        found.may_end_a_word = bool(words) and starts[0] == 0 and self._is_tail(meant[: ends[0]])
        if len(written) <= _LONGEST:
            self._known[written] = found
        return found

    def _letters_for_digits(self, written: str) -> str:
        """'narr0wed' and 'cana1' as a scanner meant them; as long as before."""
        if len(written) > _LONGEST or ("0" not in written and "1" not in written and "I" not in written[1:]):
            return written
        return _MISREAD.sub(lambda match: self._as_letters(match.group()), written)

    def _as_letters(self, written: str) -> str:
        meant = written.replace("0", "o").replace("1", "l").replace("I", "l")
        return meant if meant.lower() in self._whole or meant.lower() in _SHORT_MISREAD else written

    def _is_tail(self, written: str) -> bool:
        """Whether it may be the second half of a broken word: no word of its own."""
        return written.lower() in self._tails and written.lower() not in self._vocabulary

    def _mended(self, text: str, start: int, at: int, found: _Written) -> str:
        """The word that a blank breaks in two ('steno sis'); empty where there is none."""
        whole = text[start : at - 1].lower() + text[at : at + found.ends[0]].lower()
        return whole if whole in self._whole else ""

    def _mend(self, written: str, starts: list[int], ends: list[int]) -> None:
        """Puts together what the end of a line breaks in two, with a hyphen or without ('STENO', 'SIS')."""
        if "\n" not in written:
            return
        for n in range(len(starts) - 1, 0, -1):
            if n >= len(starts) or written[ends[n - 1] : starts[n]].strip(" \t\r") != "\n":
                continue
            hyphen = n > 1 and written[starts[n - 1] : ends[n - 1]] == "-" and ends[n - 2] == starts[n - 1]
            first, second = n - 2 if hyphen else n - 1, written[starts[n] : ends[n]]
            whole = (written[starts[first] : ends[first]] + second).lower()
            if whole in self._whole and self._is_tail(second):
                ends[first] = ends[n]
                del starts[first + 1 : n + 1], ends[first + 1 : n + 1]

    def _mended_word(self, written: str) -> str:
        """The word as the lexicon writes it, without the line's end that broke it."""
        return self._word("".join(written.replace("-", "").split()) if "\n" in written else written)

    def _cuts(self, written: str, start: int) -> tuple[int, ...]:
        """Where in a text a word is cut in two."""
        word = self._word(written)
        cut = self._missing_blank(word) if word not in self._vocabulary else 0
        return (start + cut,) if cut else ()

    def _word(self, written: str) -> str:
        word = self._words.get(written)
        if word is None:
            lowered = written.lower().replace("’", "'")
            word = intern(self._singular(lowered) or self._corrected(lowered))  # compared with many, and often
            if len(self._words) > _REMEMBERED:
                self._words.clear()
            if len(written) <= _LONGEST:
                self._words[written] = word
        return word

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
        cut = next((cut for cut in cuts if word[:cut] in self._long and word[cut:] in self._long), 0)
        return cut or next((len(joiner) for joiner in _RUN_ON if self._runs_on(word, joiner)), 0)

    def _runs_on(self, word: str, joiner: str) -> bool:
        """'andforamina'."""
        return word.startswith(joiner) and word[len(joiner) :] in self._whole and word[len(joiner) :] in self._long

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
