"""How well the reader reads reports and statements that were written and labelled apart from the code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from service.coding.levels import LETTERS, Level, find_levels, find_levels_at
from service.coding.packs import Terminology
from service.coding.scene import is_silent
from service.labels import prediction

DATA = Path(__file__).parent / "data"
Key = tuple[str, str, str]


def _lines(name: str) -> dict[str, dict[str, Any]]:
    return {line["id"]: line for line in map(json.loads, (DATA / name).read_text("utf-8").splitlines())}


def _keys(page: dict[str, Any]) -> set[Key]:
    """(region, site, polarity) of what is said of the patient."""
    own = [a for a in page["assertions"] if a.get("experiencer", "patient") == "patient"]
    return {(a["region"], a["site"], a["polarity"]) for a in own}


def _f1(hits: int, wrong: int, missed: int) -> float:
    return 2 * hits / (2 * hits + wrong + missed)


def test_region_space_and_polarity_are_read_as_labelled(terminology: Terminology) -> None:
    gold, hits, wrong, missed = _lines("reports-gold.jsonl"), 0, 0, 0
    for identifier, page in _lines("reports.jsonl").items():
        read = _keys(prediction(identifier, page["text"], terminology.lexicon))
        told = _keys(gold[identifier])
        hits, wrong, missed = hits + len(read & told), wrong + len(read - told), missed + len(told - read)
    assert _f1(hits, wrong, missed) >= 0.9, (hits, wrong, missed)


def test_what_nobody_affirmed_is_not_affirmed(terminology: Terminology) -> None:
    gold = _lines("reports-gold.jsonl")
    texts = {i: page["text"] for i, page in _lines("reports.jsonl").items()}
    quiet = [i for i in texts if not any(polarity == "affirmed" for _, _, polarity in _keys(gold[i]))]
    loud = [i for i in quiet if any(p == "affirmed" for _, _, p in _keys(prediction(i, texts[i], terminology.lexicon)))]
    assert len(quiet) >= 50
    assert len(loud) <= 2, loud


def test_no_text_of_which_anything_was_labelled_is_taken_for_silent(terminology: Terminology) -> None:
    texts, lexicon = _lines("reports.jsonl"), terminology.lexicon
    told = [
        texts[identifier]["text"] for identifier, page in _lines("reports-gold.jsonl").items() if page["assertions"]
    ]
    assert told
    assert [text for text in told if is_silent(lexicon.tokens(text), lexicon)] == []
    assert is_silent(lexicon.tokens("Type 2 diabetes mellitus without complications"), lexicon)


def test_a_level_begins_at_its_letter(terminology: Terminology) -> None:
    for page in _lines("reports.jsonl").values():
        text, tokens = page["text"], terminology.lexicon.tokens(page["text"])
        starts = [start for word, start in zip(tokens.words, tokens.starts, strict=True) if word in LETTERS]
        assert _shown(find_levels_at(text, starts, len(text))) == _shown(find_levels(text))


def _shown(levels: list[Level]) -> list[tuple[object, ...]]:
    return [(level.start, level.end, level.vertebrae, level.root) for level in levels]


def test_a_word_is_read_alike_whatever_sign_or_break_stands_beside_it(terminology: Terminology) -> None:
    text = "stenosis (stenosis), stenosis.\nstenosis; ligamentumflavum:\tligamentumflavum"
    tokens = terminology.lexicon.tokens(text)
    words = [word for word in tokens.words if word.isalpha()]
    assert words == ["stenosis"] * 4 + ["ligamentum", "flavum"] * 2
    written = [text[start:end] for start, end in zip(tokens.starts, tokens.ends, strict=True)]
    assert written == tokens.words
