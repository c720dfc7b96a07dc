"""Texts and codes of a record -> Readings; the last are kept, since an EHR sends a record at each step of a visit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from service.coding.lexicon import Lexicon
from service.coding.model import Author, Evidence, Finding, Passage, Reading, Statement, found_at
from service.coding.narrative import read
from service.coding.scene import lay_out
from service.coding.sentences import Section, Span
from service.concepts import Concepts, system_of

_Read = TypeVar("_Read")
_KEPT = 256  # texts of the last records, in each worker
_LONGEST_KEPT = 10_000  # characters
_SHORT, _KEPT_WORDS = 200, 1024  # characters, and how many texts: titles and diagnoses, which many records share


class Reader:
    """Reads with one lexicon and one set of concept tables.

    `read` takes a passage and tells what it says; `places` the regions that a short one names (a bodySite, an exam
    title).
    """

    def __init__(self, lexicon: Lexicon, concepts: Concepts) -> None:
        self.lexicon, self.concepts = lexicon, concepts
        self.read: Callable[[Passage], Reading] = _remembering(lambda one: read(one, lexicon), _words(lexicon))
        self.places: Callable[[Passage], tuple[Finding, ...]] = _remembering(
            lambda one: tuple(_places(one, lexicon)), _named(lexicon)
        )

    def coded(self, concept: Any, source: str, path: str, author: Author = "provider") -> list[Reading]:
        """SNOMED CT findings say what their concept says; the quote is the display or the code."""
        readings = []
        for index, coding in enumerate((concept or {}).get("coding") or ()):
            meaning = self.concepts.findings.get(str(coding.get("code"))) if system_of(coding) == "snomed" else None
            if meaning:
                key = "display" if isinstance(coding.get("display"), str) and coding["display"] else "code"
                passage = Passage(coding[key], source, f"{path}.coding[{index}].{key}", author)
                readings.append(_reading_of(meaning, passage))
        return readings


def _words(lexicon: Lexicon) -> Callable[[Passage], Reading]:
    """What the words of a short passage say, wherever they stand."""

    known = lru_cache(maxsize=_KEPT_WORDS)(lambda text, date: read(Passage(text, "", "", date=date), lexicon))

    def words(passage: Passage) -> Reading:
        date = passage.date if "today" in passage.text.lower() else None
        return known(passage.text, date).at(passage)

    return words


def _named(lexicon: Lexicon) -> Callable[[Passage], tuple[Finding, ...]]:
    known = lru_cache(maxsize=_KEPT_WORDS)(lambda text: tuple(_places(Passage(text, "", ""), lexicon)))
    return lambda passage: found_at(passage, known(passage.text))


def _remembering(reads: Callable[[Passage], _Read], words: Callable[[Passage], _Read]) -> Callable[[Passage], _Read]:
    """The same function, which knows the last passages again unless they are long, and short ones by their `words`."""
    again = lru_cache(maxsize=_KEPT)(reads)

    def read(passage: Passage) -> _Read:
        length = len(passage.text)
        return words(passage) if length <= _SHORT else again(passage) if length <= _LONGEST_KEPT else reads(passage)

    return read


def _places(passage: Passage, lexicon: Lexicon) -> Iterator[Finding]:
    span = Span(0, len(passage.text), Section("", "findings", 0, len(passage.text)), True)
    # None where all that stands there are boxes without a tick.
    for scene in lay_out(passage.text, lexicon.tokens(passage.text), [span], lexicon):
        for place in scene.places:
            for region, junction in place.values:
                yield Finding("region", region, Evidence(passage, place.start, place.end), detail=junction)


def _reading_of(meaning: Mapping[str, Any], passage: Passage) -> Reading:
    evidence = Evidence(passage, 0, len(passage.text))
    if meaning.get("function"):
        return Reading(
            passage, findings=(Finding("function", meaning["function"], evidence, detail=meaning.get("safety", "")),)
        )

    def finding(element: str, value: str, detail: str = "") -> Finding:
        return Finding(element, value, evidence, detail=detail)

    framings = (finding("framing", meaning["framing"]),) if meaning.get("framing") else ()
    regions = (finding("region", meaning["region"], meaning.get("junction", "")),) if meaning.get("region") else ()
    statement = Statement(
        "affirmed",
        meaning.get("narrowing", "unstated"),
        evidence,
        finding("space", meaning["space"]) if meaning.get("space") else None,
        regions,
        causes=tuple(finding("tissue", tissue, "own-words") for tissue in meaning.get("tissue", ())),
        framings=framings,
        by_code=True,
    )
    return Reading(passage, (statement,))
