"""Writes docs/SCORECARD.md: what the reader and the rules come to on the labelled texts that lie in tests/data.

make scorecard
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from service import __version__
from service.assist import WITHHELD, Answer, Assist, Judged, load_assist
from service.coding.model import ELEMENTS, Assessment, Query, Question
from service.envelope import open_envelope
from service.evaluate import Evaluation, evaluate, predict, read_labels, read_texts
from service.interrupting import earns_query, offered_codes
from service.shipped import terminology_dir
from tests.expectations import disagreements
from tests.test_statements import outpatient_condition, parameters

DATA = Path(__file__).parent / "data"
SCORECARD = Path(__file__).parent.parent / "docs" / "SCORECARD.md"


def scorecard(assist: Assist) -> str:
    """The whole page."""
    learned, unlearned = _evaluated(assist, "reports"), _evaluated(assist, "unlearned")
    decided = _decided(assist)
    pages = [
        _head(assist),
        _reading("Reading", learned),
        _reading("Reading the last set", unlearned),
        _deciding(decided),
        _asking([one for _, answer in decided for one in answer.judged], assist),
    ]
    return "\n".join([line for page in pages for line in page]) + "\n"


def _head(assist: Assist) -> Iterator[str]:
    packs = ", ".join(f"{pack.id} {pack.version}" for pack in assist.terminology.packs)
    yield "# Scorecard"
    yield ""
    yield "Made by `make scorecard`; a test fails when it is stale. The texts are those of `tests/data`, written and"
    yield "labelled apart from the code. The code has since learned from those of the first table; of the last set only"
    yield "faults of grammar, and a few terms, that its first run showed have been repaired. What to expect of records"
    yield "that nobody has seen is the first run of a set: it stands in `tests/data/README.md`."
    yield ""
    yield f"Software {__version__}; packs {packs}; ICD-10-CM {assist.terminology.icd10cm.newest.fiscal_year}."
    yield ""


def _evaluated(assist: Assist, name: str) -> Evaluation:
    texts, gold = read_texts(DATA / f"{name}.jsonl"), read_labels(DATA / f"{name}-gold.jsonl")
    return evaluate(texts, gold, predict(texts, assist.terminology.lexicon))


def _reading(title: str, evaluation: Evaluation) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    yield f"{evaluation.documents} texts, {evaluation.short} of them under 500 characters."
    yield ""
    yield "| facet | n | precision | recall | F1 | 95 % interval |"
    yield "|---|---:|---:|---:|---:|---|"
    for facet in evaluation.facets:
        counts, (low, high) = facet.counts, facet.interval
        shown = " | ".join(f"{value:.3f}" for value in (counts.precision, counts.recall, counts.f1))
        yield f"| {facet.name} | {counts.right + counts.missed} | {shown} | {low:.3f} to {high:.3f} |"
    for share in evaluation.shares:
        low, high = share.interval
        yield f"| {share.name} | {share.of} | | | {share.value:.3f} | {low:.3f} to {high:.3f} |"
    yield ""


def _decided(assist: Assist) -> list[tuple[Any, Answer]]:
    """Each problem-list string with what the coder expects, and the answer to it."""
    lines = [json.loads(line) for line in (DATA / "statements.jsonl").read_text("utf-8").splitlines()]
    return [(line["expected"], assist.answer(_envelope(line["text"]))) for line in lines]


def _deciding(decided: Sequence[tuple[Any, Answer]]) -> Iterator[str]:
    judged = [one for _, answer in decided for one in answer.judged]
    right = sum(not disagreements(answer, expected) for expected, answer in decided)
    in_scope = [one for one in judged if one.assessment.disposition in ("code-supported", "query")]
    declined = sum(not one.assessment.suggestions for one in in_scope)
    yield "## Deciding"
    yield ""
    yield f"{len(decided)} problem-list strings, each as the only words of a Condition."
    yield ""
    yield "| what | count | of | share |"
    yield "|---|---:|---:|---:|"
    yield f"| decided as the coder expects | {right} | {len(decided)} | {right / len(decided):.3f} |"
    scope = len(in_scope)
    yield f"| declined: in scope, and no code selected | {declined} | {scope} | {declined / scope:.3f} |"
    yield ""


def _asking(judged: Sequence[Judged], assist: Assist) -> Iterator[str]:
    """The compliance report of this release: forms, those in which a fault was found, how much is asked open-ended."""
    forms = [(one, one.query) for one in judged if one.query]
    withheld = sum(any(issue.flag == WITHHELD for issue in one.assessment.issues) for one in judged)
    made = len(forms) + withheld
    earned = sum(_earns(one.assessment, query, assist) for one, query in forms)
    yield "## Asking"
    yield ""
    yield f"The forms for these strings, each held against `{assist.query_rules.id}`: one with a fault is not sent."
    yield ""
    yield "| forms | count | share |"
    yield "|---|---:|---:|"
    yield f"| made | {made} | |"
    yield f"| withheld, as a fault was found | {withheld} | {withheld / made:.3f} |"
    yield f"| interrupt as a card of their own | {earned} | {earned / made:.3f} |"
    yield ""
    yield from _questions([question for _, query in forms for question in query.questions], len(forms))


def _earns(assessment: Assessment, query: Query, assist: Assist) -> bool:
    return earns_query(assessment, query, assist.terminology, offered_codes(assessment))


def _questions(asked: Sequence[Question], forms: int) -> Iterator[str]:
    """How each element is asked for: what a cause is, is offered only where the record holds an indicator (Q9c)."""
    kinds = Counter((question.element, question.kind) for question in asked)
    yield "| asked for | questions | per form | a choice | a date | open-ended | share open-ended |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    names = [name for name in ELEMENTS if any(name == question.element for question in asked)]
    for label, elements in [*((f"`{name}`", (name,)) for name in names), ("all", names)]:
        choice, date, text = (sum(kinds[name, kind] for name in elements) for kind in ("choice", "date", "text"))
        every = choice + date + text
        yield f"| {label} | {every} | {every / forms:.2f} | {choice} | {date} | {text} | {text / every:.3f} |"


def _envelope(text: str) -> Any:
    return open_envelope(parameters(outpatient_condition(text)), "charting")


if __name__ == "__main__":
    SCORECARD.parent.mkdir(exist_ok=True)
    SCORECARD.write_text(scorecard(load_assist(terminology_dir())), "utf-8")
    print(f"{SCORECARD.name} is written.")
