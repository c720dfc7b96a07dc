"""What clinicians write: terms read from `terminology/lexicon/*.yaml`, found in text by word.

Matching ignores case, hyphens inside words and a plural -s, and forgives misspellings of long words that are
no ordinary words. Terms live in channels (place, space, tissue ...): in each, the longest term wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rapidfuzz import process
from rapidfuzz.distance import OSA

from service.coding.errors import PackError
from service.coding.yaml_strict import load_yaml

CHANNELS: dict[str, str] = {
    "region": "place",
    "root-word": "place",
    "space": "space",
    "target": "space",
    "other-organ": "space",
    "tissue": "tissue",
    "pathology": "tissue",
    "narrowing": "narrowing",
    "adequate": "adequate",
    "mass-effect": "narrowing",
    "severity": "severity",
    "laterality": "laterality",
    "framing": "framing",
    "negation": "negation",
    "not-negation": "negation",
    "hedge": "hedge",
    "historical": "past",
    "present": "present",
    "plan": "plan",
    "other-person": "person",
    "hearsay": "person",
    "undetermined": "undetermined",
    "correction": "correction",
    "contrast": "contrast",
    "link": "link",
    "after": "after",
    "modality": "imaging",
    "no-imaging": "imaging",
    "imaging-planned": "imaging-planned",
    "imaging-word": "imaging-word",
    "function": "function",
    "plus": "plus",
    "care": "care",
    "response": "response",
}
CONCEPT_KEYS = frozenset(
    (
        "kind value terms says junction region space scope anatomy modifier own-words elsewhere safety needs "
        "needs-adjacent unless unless-adjacent unless-next exact-case opening cites"
    ).split()
)
TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d+(?:\.\d+)?|-->?|=>|[^\w\s]|_+")


@dataclass(frozen=True, slots=True)
class Concept:
    """One entry of the lexicon: what its terms mean, and where they mean it."""

    kind: str
    value: str
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def words(self, key: str) -> frozenset[str]:
        return frozenset(self.attributes.get(key, ()))

    def says(self, key: str) -> str:
        return str(self.attributes.get(key, ""))

    def is_(self, key: str) -> bool:
        return bool(self.attributes.get(key))


@dataclass(frozen=True, slots=True)
class Token:
    """A word of the text as the lexicon writes it; `stem` is its singular where that is known too."""

    text: str
    word: str
    start: int
    end: int
    stem: str = ""


@dataclass(frozen=True, slots=True)
class Mention:
    """A concept found at tokens `first` to `last` (inclusive), characters `start` to `end` of the passage."""

    concept: Concept
    first: int
    last: int
    start: int
    end: int

    @property
    def kind(self) -> str:
        return self.concept.kind

    @property
    def value(self) -> str:
        return self.concept.value


class _Node:
    __slots__ = ("channels", "next")

    def __init__(self) -> None:
        self.next: dict[str, _Node] = {}
        self.channels: dict[str, list[tuple[Concept, str]]] = {}


class Lexicon:
    """All terms, ready to be found in a list of tokens."""

    def __init__(
        self,
        concepts: Iterable[tuple[Concept, Sequence[str]]],
        sections: Mapping[str, str],
        ordinary: Iterable[str],
        spelled: Iterable[str] = (),
    ) -> None:
        self.sections = dict(sections)
        self._root = _Node()
        self._vocabulary: set[str] = set()
        self._values: dict[str, set[str]] = {}
        for concept, terms in concepts:
            self._values.setdefault(concept.kind, set()).add(concept.value)
            for term in terms:
                self._add(concept, term)
        self._ordinary = {word.lower() for word in ordinary} - self._vocabulary
        self._choices = sorted({word.lower() for word in spelled})
        self._spelled_words = {word for word in self._choices if len(word) >= 4}
        self._spelling: dict[str, str] = {}

    def _add(self, concept: Concept, term: str) -> None:
        words = [token.lower() for token in _words(term)]
        node = self._root
        for word in words:
            node = node.next.setdefault(word, _Node())
        node.channels.setdefault(CHANNELS[concept.kind], []).append((concept, term))
        self._vocabulary.update(words)

    def values(self, kind: str) -> frozenset[str]:
        """The values that the concepts of a kind have; 'disc+osseous' is both."""
        return frozenset(part for value in self._values.get(kind, ()) for part in value.split("+"))

    def tokens(self, text: str) -> list[Token]:
        """The words of a text with their offsets; a hyphen inside a word is no word."""
        found = []
        for match in TOKEN.finditer(text):
            if match.group() in "-‐‑" and _inside_word(text, match.start()):
                continue
            found.extend(self._read_word(match.group(), match.start()))
        return found

    def _read_word(self, written: str, start: int) -> list[Token]:
        word = self.normal(written)
        if word == written.lower() and word not in self._vocabulary:
            cut = self._run_together(word)
            if cut:
                return [*self._read_word(written[:cut], start), *self._read_word(written[cut:], start + cut)]
        stem = word.removesuffix("s") if len(word) > 3 and word.removesuffix("s") in self._vocabulary else ""
        return [Token(written, word, start, start + len(written), stem)]

    def _run_together(self, word: str) -> int:
        """Where 'ligamentumflavum' falls into two words that the lexicon knows; 0 where it does not."""
        if len(word) < 9 or not word.isalpha() or word in self._ordinary:
            return 0
        return next(
            (
                cut
                for cut in range(4, len(word) - 3)
                if word[:cut] in self._spelled_words and word[cut:] in self._spelled_words
            ),
            0,
        )

    def normal(self, word: str) -> str:
        """The word as the lexicon writes it: lower case, singular where only that is known, spelling forgiven."""
        lowered = word.lower().replace("’", "'")
        if lowered in self._vocabulary:
            return lowered
        for ending in ("'s", "s", "es"):
            stem = lowered.removesuffix(ending)
            if stem != lowered and len(stem) > 2 and stem in self._vocabulary:
                return stem
        return self._spelled(lowered)

    def _spelled(self, word: str) -> str:
        if len(word) < 4 or not word.isalpha() or word in self._ordinary or word.removesuffix("s") in self._ordinary:
            return word
        if word not in self._spelling:
            if len(self._spelling) > 50_000:
                self._spelling.clear()
            self._spelling[word] = self._nearest(word)
        return self._spelling[word]

    def _nearest(self, word: str) -> str:
        allowed = 1 if len(word) < 7 else 2 if len(word) < 12 else 3
        hits = process.extract(word, self._choices, scorer=OSA.distance, score_cutoff=allowed, limit=3)
        near = [(distance, choice) for choice, distance, _ in hits if _plausible(word, choice, int(distance))]
        if not near or (len(near) > 1 and near[0][0] == near[1][0] and not _same_stem(near[0][1], near[1][1])):
            return word
        return near[0][1]

    def find(self, tokens: Sequence[Token]) -> list[Mention]:
        """All mentions in order of place: in each channel the longest term wins, and terms do not overlap."""
        found: list[Mention] = []
        taken: dict[str, int] = {}
        for position in range(len(tokens)):
            for channel, (length, entries) in self._longest(tokens, position).items():
                if position < taken.get(channel, 0):
                    continue
                taken[channel] = position + length
                found.extend(_mentions(entries, tokens, position, length))
        return found

    def _longest(self, tokens: Sequence[Token], position: int) -> dict[str, tuple[int, list[tuple[Concept, str]]]]:
        node, longest = self._root, {}
        for offset in range(position, len(tokens)):
            step = node.next.get(tokens[offset].word) or node.next.get(tokens[offset].stem)
            if step is None:
                break
            node = step
            for channel, entries in node.channels.items():
                longest[channel] = (offset - position + 1, entries)
        return longest


def _mentions(
    entries: Sequence[tuple[Concept, str]], tokens: Sequence[Token], position: int, length: int
) -> Iterator[Mention]:
    last = position + length - 1
    for concept, term in entries:
        if concept.is_("exact-case") and tokens[position].text != term.split()[0]:
            continue
        yield Mention(concept, position, last, tokens[position].start, tokens[last].end)


def _words(term: str) -> list[str]:
    return [m.group() for m in TOKEN.finditer(term) if not (m.group() in "-‐‑" and _inside_word(term, m.start()))]


def _inside_word(text: str, at: int) -> bool:
    return 0 < at < len(text) - 1 and text[at - 1].isalnum() and text[at + 1].isalnum()


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


def load_lexicon(folder: Path, ordinary: Iterable[str] = (), site: Path | None = None) -> Lexicon:
    """Read every YAML file of the folder (and a site's own); a wrong entry raises PackError with file and remedy."""
    concepts: list[tuple[Concept, Sequence[str]]] = []
    sections: dict[str, str] = {}
    plain, spelled = list(ordinary), list[str]()
    for path in [*sorted(folder.glob("*.yaml")), *([site] if site else [])]:
        page = load_yaml(path)
        _only(path, page, {"sources", "concepts", "sections", "ordinary", "spelled"})
        if not page.get("sources"):
            raise PackError(f"{path}: no `sources`. Name what the terms rest on.")
        concepts.extend(_concept(path, entry) for entry in page.get("concepts", []))
        sections.update((name, counts) for counts, names in page.get("sections", {}).items() for name in names)
        plain.extend(page.get("ordinary", []))
        spelled.extend(page.get("spelled", []))
    if not concepts:
        raise PackError(f"{folder}: no concepts. Point to the folder that holds the lexicon's YAML files.")
    return Lexicon(concepts, sections, plain, spelled)


def _concept(path: Path, entry: Mapping[str, Any]) -> tuple[Concept, Sequence[str]]:
    label = f"{entry.get('kind')}: {entry.get('value')}"
    unknown = set(entry) - CONCEPT_KEYS
    if unknown:
        raise PackError(
            f"{path}, concept '{label}': unknown key {sorted(unknown)[0]!r}. "
            f"Allowed: {', '.join(sorted(CONCEPT_KEYS))}."
        )
    if entry.get("kind") not in CHANNELS:
        raise PackError(f"{path}, concept '{label}': unknown kind. Allowed: {', '.join(sorted(CHANNELS))}.")
    terms = entry.get("terms") or []
    wrong = [term for term in terms if not isinstance(term, str) or not _words(term)]
    value = entry.get("value", entry["kind"])
    if not terms or wrong or not isinstance(value, str):
        raise PackError(
            f'{path}, concept \'{label}\': `value` and every term must be text. Quote words such as "no" and "on".'
        )
    attributes = {key: value for key, value in entry.items() if key not in ("kind", "value", "terms", "says")}
    return Concept(entry["kind"], value, attributes), terms


def _only(path: Path, page: Mapping[str, Any], allowed: set[str]) -> None:
    unknown = set(page) - allowed
    if unknown:
        raise PackError(f"{path}: unknown key {sorted(unknown)[0]!r}. Allowed: {', '.join(sorted(allowed))}.")
