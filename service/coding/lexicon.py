"""What clinicians write: terms read from `terminology/lexicon/*.yaml`, found in text by word.

Matching ignores case, hyphens inside words and a plural -s, and forgives misspellings of long words that are
no ordinary words. Terms live in channels (place, space, tissue ...): in each, the longest term wins. All terms are
found in one pass of one automaton (Aho-Corasick), however many packs and terms there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import product
from pathlib import Path
from sys import intern
from typing import Any

from ahocorasick_rs import AhoCorasick

from service.coding.errors import PackError
from service.coding.sentences import Headings, Span, find_sentences
from service.coding.spelling import NO_WORD, TOKEN, Spelling, Tokens
from service.coding.yaml_strict import load_yaml

_KEPT, _LONGEST_KEPT = 64, 10_000  # texts, characters
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
    "own-reading": "own-reading",
    "growth": "growth",
    "contrast": "contrast",
    "link": "link",
    "after": "after",
    "modality": "imaging",
    "no-imaging": "imaging",
    "imaging-planned": "imaging-planned",
    "imaging-word": "imaging-word",
    "function": "function",
    "intact": "intact",
    "restricted": "restricted",
    "change": "change",
    "plus": "plus",
    "care": "care",
    "response": "response",
}


@dataclass(frozen=True, slots=True)
class Concept:
    """One entry of the lexicon: what its terms mean, and where (`terminology/README.md` tells each key)."""

    kind: str
    value: str
    junction: str = ""
    region: str = ""
    space: str = ""
    scope: str = ""
    elsewhere: str = ""
    safety: str = ""
    anatomy: bool = False
    modifier: bool = False
    own_words: bool = False
    exact_case: bool = False
    opening: bool = False
    needs: frozenset[str] = frozenset()
    needs_adjacent: frozenset[str] = frozenset()
    needs_near: frozenset[str] = frozenset()
    unless: frozenset[str] = frozenset()
    unless_adjacent: frozenset[str] = frozenset()
    unless_next: frozenset[str] = frozenset()
    conditional: bool = False
    needy: bool = False


CONCEPT_KEYS = {field.name.replace("_", "-") for field in fields(Concept)} - {"conditional", "needy"} | {
    "terms",
    "says",
    "cites",
}
_OTHERS = frozenset({"needs", "needs-adjacent", "needs-near", "unless-adjacent"})
_NEIGHBOURS = frozenset({"needs", "needs-adjacent", "needs-near", "unless", "unless-adjacent", "unless-next"})


class Mention:
    """A concept found at tokens `first` to `last` (inclusive), characters `start` to `end` of the passage."""

    __slots__ = ("concept", "end", "first", "kind", "last", "start", "value")

    def __init__(self, concept: Concept, first: int, last: int, start: int, end: int) -> None:
        self.concept, self.kind, self.value = concept, concept.kind, concept.value
        self.first, self.last, self.start, self.end = first, last, start, end


Worded = tuple[str, list[str]]  # a term, and its words as they are looked for


class _Term:
    """What a pattern means in one channel: concepts, each with the spelling that it asks for, if any."""

    __slots__ = ("channel", "entries")

    def __init__(self, channel: str, entries: tuple[tuple[Concept, str], ...]) -> None:
        self.channel, self.entries = channel, entries


class Lexicon:
    """All terms, ready to be found in a list of tokens."""

    def __init__(
        self,
        concepts: Iterable[tuple[Concept, Sequence[Worded]]],
        headings: Headings,
        ordinary: Iterable[str],
        spelled: Iterable[str] = (),
    ) -> None:
        self._headings = headings
        self._values: dict[str, set[str]] = {}
        self._written: dict[tuple[str, str], list[str]] = {}
        known = [(concept, term, words) for concept, terms in concepts for term, words in terms]
        for concept, term, _ in known:
            self._values.setdefault(concept.kind, set()).add(concept.value)
            self._written.setdefault((concept.kind, concept.value), []).append(term)
        vocabulary = {word for _, _, words in known for word in words}
        self._spelling = Spelling(vocabulary, ordinary, spelled)
        self._terms, patterns = _terms(known, vocabulary)
        self._longest = max(map(len, patterns), default=1)  # words
        self._kinds = [frozenset(c.kind for term in terms for c, _ in term.entries) for terms in self._terms]
        # headings and not self: a ring would keep all of this where the collector looks no more
        self._sentences = lru_cache(maxsize=_KEPT)(lambda text: find_sentences(text, headings))
        self._automaton = AhoCorasick([self._spelling.signs(words) for words in patterns])

    def values(self, kind: str) -> frozenset[str]:
        """The values that the concepts of a kind have; 'disc+osseous' is both."""
        return frozenset(part for value in self._values.get(kind, ()) for part in value.split("+"))

    def terms(self) -> Iterator[tuple[str, str, str]]:
        """Every term as it is written, with the kind and the value of its concept."""
        return ((kind, value, term) for (kind, value), terms in self._written.items() for term in terms)

    def sentences(self, text: str) -> list[Span]:
        """The sentences of a text, section by section; the last ones are kept, as the query needs them too."""
        return self._sentences(text) if len(text) <= _LONGEST_KEPT else find_sentences(text, self._headings)

    def tokens(self, text: str) -> Tokens:
        """The words of a text as the lexicon writes them, with their offsets."""
        return self._spelling.read(text)

    def may_end_a_word(self, written: str) -> bool:
        """Whether what stands between two blanks may be the second half of a broken term."""
        return self._spelling.may_end_a_word(written)

    def corrections(self, text: str) -> list[tuple[str, str]]:
        """(written, read) of each word of a text whose spelling was forgiven."""
        tokens = self.tokens(text)
        written = [text[start:end] for start, end in zip(tokens.starts, tokens.ends, strict=True)]
        lowered = [word.lower().replace("’", "'") for word in written]
        pairs = zip(written, lowered, tokens.words, strict=True)
        return list(dict.fromkeys((w, read) for w, low, read in pairs if not low.startswith(read)))

    def find(self, text: str) -> list[Mention]:
        """All mentions of a text that is one sentence."""
        return self.find_all(text, [self.tokens(text)])[0]

    def find_all(self, text: str, sentences: Sequence[Tokens]) -> list[list[Mention]]:
        """The mentions of each sentence in order of place, found in one pass over the text.

        In each channel the longest term wins, and terms do not overlap.
        """
        written = NO_WORD.join([one.signs for one in sentences])  # no term goes on in the next sentence
        hits: list[tuple[int, int, int]] = self._automaton.find_matches_as_indexes(written, overlapping=True)
        # Each hit as one number, by place and the longer first: tuples would take several times as long to sort.
        longest, terms = self._longest, len(self._terms)
        spans = sorted([((first + 1) * longest + first - beyond) * terms + term for term, first, beyond in hits])
        found: list[list[Mention]] = []
        at, base = 0, 0
        for tokens in sentences:
            begun, base_of_next = at, base + len(tokens.words) + 1
            beyond = base_of_next * longest * terms
            while at < len(spans) and spans[at] < beyond:
                at += 1
            found.append(self._mentions(text, tokens, spans[begun:at], base) if begun < at else [])
            base = base_of_next
        return found

    def names(self, tokens: Tokens, kinds: frozenset[str]) -> bool:
        """Whether a term of any of these kinds stands in a text, wherever its sentences end."""
        hits = self._automaton.find_matches_as_indexes(tokens.signs, overlapping=True)
        return any(not self._kinds[hit[0]].isdisjoint(kinds) for hit in hits)

    def _mentions(self, text: str, tokens: Tokens, spans: list[int], base: int) -> list[Mention]:
        found: list[Mention] = []
        taken: dict[str, int] = {}
        starts, ends = tokens.starts, tokens.ends
        longest, terms = self._longest, len(self._terms)
        for span in spans:
            place = span // terms
            first = place // longest - base
            last = first + longest - place % longest - 1
            for term in self._terms[span % terms]:
                if first < taken.get(term.channel, 0):
                    continue
                taken[term.channel] = last + 1
                start, end = starts[first], ends[last]
                for concept, exact in term.entries:
                    if not exact or text.startswith(exact, start):
                        found.append(Mention(concept, first, last, start, end))
        return found


def _terms(
    known: Iterable[tuple[Concept, str, Sequence[str]]], vocabulary: set[str]
) -> tuple[list[tuple[_Term, ...]], list[tuple[str, ...]]]:
    """What each pattern of the automaton means, by channel; a word that the lexicon knows in the plural too is both."""
    meant: dict[tuple[str, ...], dict[str, list[tuple[Concept, str]]]] = {}
    for concept, term, words in known:
        exact, of_concept = term.split()[0] if concept.exact_case else "", _channels(concept)
        for written in product(*([word, f"{word}s"] if f"{word}s" in vocabulary else [word] for word in words)):
            channels = meant.setdefault(written, {})
            for channel in of_concept:
                entries = channels.setdefault(channel, [])
                if not any(known is concept for known, _ in entries):  # 'spur' and 'spurs' of one concept
                    entries.append((concept, exact))
    return [tuple(_Term(c, tuple(e)) for c, e in channels.items()) for channels in meant.values()], list(meant)


def _channels(concept: Concept) -> tuple[str, ...]:
    """Cues that reach back do not hide those that reach forward: in 'is possible narrowing' the narrowing is."""
    channel = CHANNELS[concept.kind]
    if concept.kind == "not-negation":
        return f"{channel}:after", f"{channel}:before"
    return (f"{channel}:{concept.scope}",) if concept.scope else (channel,)


def _words(term: str) -> list[str]:
    return [written.lower() for written in TOKEN.findall(term)]


def load_lexicon(folder: Path, ordinary: Iterable[str] = (), site: Path | None = None) -> Lexicon:
    """Read every YAML file of the folder (and a site's own); a wrong entry raises PackError with file and remedy."""
    concepts: list[tuple[Concept, Sequence[Worded]]] = []
    sections: dict[str, str] = {}
    plain, spelled, bodies, turns = list(ordinary), list[str](), list[str](), list[str]()
    for path in [*sorted(folder.glob("*.yaml")), *([site] if site else [])]:
        page = load_yaml(path)
        _only(path, page, {"sources", "concepts", "sections", "bodies", "turns", "ordinary", "spelled"})
        if not page.get("sources"):
            raise PackError(f"{path}: no `sources`. Name what the terms rest on.")
        concepts.extend(_concept(path, entry) for entry in page.get("concepts", []))
        sections.update((name, counts) for counts, names in page.get("sections", {}).items() for name in names)
        bodies.extend(page.get("bodies", []))
        turns.extend(page.get("turns", []))
        plain.extend(page.get("ordinary", []))
        spelled.extend(page.get("spelled", []))
    if not concepts:
        raise PackError(f"{folder}: no concepts. Point to the folder that holds the lexicon's YAML files.")
    return Lexicon(concepts, Headings(sections, bodies, turns), plain, spelled)


def _concept(path: Path, entry: Mapping[str, Any]) -> tuple[Concept, Sequence[Worded]]:
    label = f"{entry.get('kind')}: {entry.get('value')}"
    unknown = set(entry) - CONCEPT_KEYS
    if unknown:
        raise PackError(
            f"{path}, concept '{label}': unknown key {sorted(unknown)[0]!r}. "
            f"Allowed: {', '.join(sorted(CONCEPT_KEYS))}."
        )
    if entry.get("kind") not in CHANNELS:
        raise PackError(f"{path}, concept '{label}': unknown kind. Allowed: {', '.join(sorted(CHANNELS))}.")
    terms = [(term, _words(term) if isinstance(term, str) else []) for term in entry.get("terms") or []]
    value = entry.get("value", entry["kind"])
    if not terms or not all(words for _, words in terms) or not isinstance(value, str):
        raise PackError(
            f'{path}, concept \'{label}\': `value` and every term must be text. Quote words such as "no" and "on".'
        )
    if twice := _twice(terms):
        raise PackError(f"{path}, concept '{label}': '{twice}' stands twice (hyphens do not count). Keep one of them.")
    given = {key.replace("-", "_"): _setting(key, entry[key]) for key in entry if key not in _NOT_SETTINGS}
    conditional, needy = not _NEIGHBOURS.isdisjoint(entry), not _OTHERS.isdisjoint(entry)
    return Concept(intern(entry["kind"]), intern(value), **given, conditional=conditional, needy=needy), terms


def _twice(terms: Sequence[Worded]) -> str:
    """The first term that an earlier one says already."""
    known: set[tuple[str, ...]] = set()
    for term, words in terms:
        if (said := tuple(words)) in known:
            return term
        known.add(said)
    return ""


_NOT_SETTINGS = frozenset({"kind", "value", "terms", "says", "cites"})


def _setting(key: str, value: Any) -> Any:
    return frozenset(value) if key in _NEIGHBOURS else value


def _only(path: Path, page: Mapping[str, Any], allowed: set[str]) -> None:
    unknown = set(page) - allowed
    if unknown:
        raise PackError(f"{path}: unknown key {sorted(unknown)[0]!r}. Allowed: {', '.join(sorted(allowed))}.")
