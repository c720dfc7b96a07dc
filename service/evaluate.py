"""Scores the narrative reader against labelled texts: precision, recall and F1 of each facet, and what was missed.

Texts and labels are JSON lines (`id`, `text`; `id`, `assertions`, `doc`). A facet is a set of keys in each document, so
that a repeated prediction neither helps nor hurts. Intervals of 95 %: documents resampled (F1), Wilson's (shares).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import sqrt
from pathlib import Path
from typing import Any

from service.coding.lexicon import Lexicon
from service.errors import OperatorError
from service.labels import SITES, prediction

SHORT = 500  # characters; a shorter text is a note, a longer one prose or a whole report
RESAMPLES = 1000
REGIONS = frozenset(
    "head cervical thoracic lumbar sacral pelvic lower_extremity upper_extremity rib_cage abdomen unspecified".split()
)
POLARITIES = frozenset({"affirmed", "negated", "uncertain", "historical"})
ETIOLOGIES = frozenset({"connective_tissue", "osseous", "disc", "subluxation"})
Page = Mapping[str, Any]
Key = tuple[str, ...]


class LabelError(OperatorError):
    """A line of texts or labels that cannot be scored: which one, and what to do."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Keys that were read rightly, wrongly, or missed."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.right + other.right, self.wrong + other.wrong, self.missed + other.missed)

    @property
    def precision(self) -> float:
        return self.right / (self.right + self.wrong) if self.right + self.wrong else float(not self.missed)

    @property
    def recall(self) -> float:
        return self.right / (self.right + self.missed) if self.right + self.missed else 1.0

    @property
    def f1(self) -> float:
        return 2 * self.right / (2 * self.right + self.wrong + self.missed) if self.right else float(self == Counts())


@dataclass(frozen=True, slots=True)
class Facet:
    """One facet over a set of documents, with the interval of its F1."""

    name: str
    counts: Counts
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Share:
    """A share of documents, such as those in which something was affirmed that nobody affirmed."""

    name: str
    hits: int
    of: int

    @property
    def value(self) -> float:
        return self.hits / self.of if self.of else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval."""
        if not self.of:
            return 0.0, 1.0
        z = 1.96
        centre, spread = (
            self.value + z * z / (2 * self.of),
            z * sqrt(self.value * (1 - self.value) / self.of + z * z / (4 * self.of**2)),
        )
        return max(0.0, (centre - spread) / (1 + z * z / self.of)), min(1.0, (centre + spread) / (1 + z * z / self.of))


@dataclass(frozen=True, slots=True)
class Miss:
    """A key of one document that was missed or read wrongly, with the words where they are known."""

    document: str
    facet: str
    kind: str
    key: str
    quote: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The figures over all documents, and the misses to look at."""

    documents: int
    short: int
    facets: tuple[Facet, ...]
    shares: tuple[Share, ...]
    misses: tuple[Miss, ...]

    def facet(self, name: str) -> Facet:
        return next(facet for facet in self.facets if facet.name == name)

    def share(self, name: str) -> Share:
        return next(share for share in self.shares if share.name == name)


# --- reading ------------------------------------------------------------------------------------------------------


def read_texts(path: Path) -> dict[str, str]:
    """The texts of a JSON lines file by id."""
    return {identifier: _of(page, "text", str, path) for identifier, page in _pages(path).items()}


def read_labels(path: Path) -> dict[str, Page]:
    """The labels of a JSON lines file by id; LabelError where a value is none of the labels."""
    pages = _pages(path)
    for identifier, page in pages.items():
        for assertion in _of(page, "assertions", list, path):
            for name, allowed in (("region", REGIONS), ("site", SITES), ("polarity", POLARITIES)):
                if assertion.get(name) not in allowed:
                    raise LabelError(f"{path}, {identifier}: {name} must be one of {', '.join(sorted(allowed))}.")
            if not set(assertion.get("etiologies", ())) <= ETIOLOGIES:
                raise LabelError(f"{path}, {identifier}: etiologies must be among {', '.join(sorted(ETIOLOGIES))}.")
    return pages


def _pages(path: Path) -> dict[str, Page]:
    found: dict[str, Page] = {}
    for number, line in enumerate(path.read_text("utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        try:
            page = json.loads(line)
        except ValueError:
            raise LabelError(f"{path}, line {number} is no JSON. Each line holds one object.") from None
        if not isinstance(page, dict) or not isinstance(page.get("id"), str) or page["id"] in found:
            raise LabelError(f"{path}, line {number}: give an object with an `id` of its own.")
        found[page["id"]] = page
    return found


def _of(page: Page, name: str, kind: type[Any], path: Path) -> Any:
    if not isinstance(page.get(name), kind):
        raise LabelError(f"{path}, {page['id']}: `{name}` is missing or of another type.")
    return page[name]


def predict(texts: Mapping[str, str], lexicon: Lexicon) -> dict[str, Page]:
    """What the reader makes of each text, in the labels' own form."""
    return {identifier: prediction(identifier, text, lexicon) for identifier, text in texts.items()}


# --- scoring ------------------------------------------------------------------------------------------------------


def evaluate(texts: Mapping[str, str], gold: Mapping[str, Page], read: Mapping[str, Page]) -> Evaluation:
    """Compare what was read with the labels of the same ids; LabelError where a label has no text."""
    if not gold or not gold.keys() <= texts.keys():
        raise LabelError(
            "Every label needs its text, and there must be one at least. Compare the ids of the two files."
        )
    short = [i for i in gold if len(texts[i]) < SHORT]
    prose = [i for i in gold if len(texts[i]) >= SHORT]
    scored = [("", FACETS, list(gold)), (", short", MAIN, short), (", prose", MAIN, prose)]
    facets = [
        _facet(name + told, keys, ids, gold, read)
        for told, chosen, ids in scored
        if ids
        for name, keys in chosen.items()
    ]
    quiet = [i for i in gold if not _affirmed(gold[i])]
    shares = (
        Share("exact documents", sum(_whole(gold[i]) == _whole(read[i]) for i in gold), len(gold)),
        Share("false affirmation", sum(bool(_affirmed(read[i])) for i in quiet), len(quiet)),
    )
    return Evaluation(len(gold), len(short), tuple(facets), shares, tuple(_misses(gold, read)))


def _own(page: Page) -> list[Page]:
    """What is said of the patient."""
    return [a for a in page["assertions"] if a.get("experiencer", "patient") == "patient"]


def _affirmed(page: Page) -> list[Page]:
    return [a for a in _own(page) if a["polarity"] == "affirmed"]


def _spaces(page: Page, polarity: str = "") -> set[Key]:
    return {(a["region"], a["site"], a["polarity"]) for a in _own(page) if polarity in ("", a["polarity"])}


def _causes(page: Page) -> set[Key]:
    return {(a["region"], a["site"], cause) for a in _affirmed(page) for cause in a["etiologies"]}


OF_DOCUMENT = {
    "imaging modality": "modality",
    "examined region": "exam_region",
    "neurological findings": "neuro",
    "conservative care": "conservative",
}


def _told(label: str, page: Page) -> set[Key]:
    """What the document tells as a whole."""
    return {(value,) for value in (page.get("doc") or {}).get(label, ())}


def _labelled(page: Page, facet: str) -> bool:
    return facet not in OF_DOCUMENT or OF_DOCUMENT[facet] in (page.get("doc") or {})


MAIN: dict[str, Callable[[Page], set[Key]]] = {"region, space, polarity": _spaces}
FACETS: dict[str, Callable[[Page], set[Key]]] = {
    "region": lambda page: {(a["region"],) for a in _affirmed(page)},
    "region, polarity": lambda page: {(a["region"], a["polarity"]) for a in _own(page)},
    **MAIN,
    "region, level, space, polarity": lambda page: {
        (a["region"], a.get("level", ""), a["site"], a["polarity"]) for a in _own(page)
    },
    "etiology": _causes,
    "connective tissue": lambda page: {key for key in _causes(page) if key[-1] == "connective_tissue"},
    "negated": lambda page: _spaces(page, "negated"),
    "uncertain": lambda page: _spaces(page, "uncertain"),
    "historical": lambda page: _spaces(page, "historical"),
    **{name: partial(_told, label) for name, label in OF_DOCUMENT.items()},
}


def _whole(page: Page) -> set[tuple[object, ...]]:
    return {
        (a["region"], a.get("level", ""), a["site"], a["polarity"], tuple(sorted(a.get("etiologies", ()))))
        for a in _own(page)
    }


def _facet(
    name: str, keys: Callable[[Page], set[Key]], ids: Iterable[str], gold: Mapping[str, Page], read: Mapping[str, Page]
) -> Facet:
    counts = [_compare(keys(gold[i]), keys(read[i])) for i in ids if _labelled(gold[i], name)]
    return Facet(name, sum(counts, Counts()), _interval(counts))


def _compare(told: set[Key], read: set[Key]) -> Counts:
    return Counts(len(told & read), len(read - told), len(told - read))


def _interval(counts: Sequence[Counts]) -> tuple[float, float]:
    """The middle 95 % of the F1 of documents drawn anew, with a fixed seed so that a run can be repeated."""
    drawn = random.Random(0)  # noqa: S311  # a statistic, no secret
    counts = [c for c in counts if c != Counts()]
    if not counts:
        return 0.0, 1.0
    figures = sorted(_f1(drawn.choices(counts, k=len(counts))) for _ in range(RESAMPLES))
    return figures[RESAMPLES * 25 // 1000], figures[RESAMPLES * 975 // 1000 - 1]


def _f1(counts: Sequence[Counts]) -> float:
    right = sum(c.right for c in counts)
    return 2 * right / (2 * right + sum(c.wrong + c.missed for c in counts)) if right else 0.0


def _misses(gold: Mapping[str, Page], read: Mapping[str, Page]) -> Iterable[Miss]:
    for identifier in gold:
        for name in (n for n in _LISTED if _labelled(gold[identifier], n)):
            told, found = FACETS[name](gold[identifier]), FACETS[name](read[identifier])
            for kind, keys, page in (("missed", told - found, gold), ("wrong", found - told, read)):
                for key in sorted(keys):
                    yield Miss(identifier, name, kind, " ".join(filter(None, key)), _quote(page[identifier], key))


_LISTED = ("region, level, space, polarity", "etiology", *OF_DOCUMENT)


def _quote(page: Page, key: Key) -> str:
    """The words of the first assertion that the key is made of."""
    for a in _own(page):
        values = {a["region"], a.get("level", ""), a["site"], a["polarity"], *a.get("etiologies", ())}
        if len(key) > 1 and set(key) <= values:
            return " ".join(str(a.get("quote", "")).split())
    return ""
