"""Writes docs/SCORECARD.md: what the reader and the rules come to on the labelled texts that lie in tests/data.

make scorecard
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service import __version__
from service.assist import Assist, Judged, form_faults, load_assist
from service.envelope import open_envelope
from service.evaluate import Evaluation, evaluate, predict, read_labels, read_texts
from service.shipped import terminology_dir
from tests.expectations import disagreements
from tests.test_statements import outpatient_condition, parameters

DATA = Path(__file__).parent / "data"
SCORECARD = Path(__file__).parent.parent / "docs" / "SCORECARD.md"


def scorecard(assist: Assist) -> str:
    """The whole page."""
    learned, unlearned = _evaluated(assist, "reports"), _evaluated(assist, "unlearned")
    pages = [_head(assist), _reading("Reading", learned), _reading("Reading what nothing was learned from", unlearned)]
    return "\n".join([line for page in (*pages, _deciding(assist)) for line in page]) + "\n"


def _head(assist: Assist) -> Iterator[str]:
    packs = ", ".join(f"{pack.id} {pack.version}" for pack in assist.terminology.packs)
    yield "# Scorecard"
    yield ""
    yield "Made by `make scorecard`; a test fails when it is stale. The texts are those of `tests/data`, written and"
    yield "labelled apart from the code. The code has since learned from those of the first table; the second is of a"
    yield "set that it has not learned from. The first run of every set stands in `tests/data/README.md`."
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


def _deciding(assist: Assist) -> Iterator[str]:
    lines = [json.loads(line) for line in (DATA / "statements.jsonl").read_text("utf-8").splitlines()]
    answers = [(line, assist.answer(_envelope(line["text"]))) for line in lines]
    judged = [one for _, answer in answers for one in answer.judged]
    right = sum(not disagreements(answer, line["expected"]) for line, answer in answers)
    in_scope = [one for one in judged if one.assessment.disposition in ("code-supported", "query")]
    declined = sum(not one.assessment.suggestions for one in in_scope)
    forms = [one for one in judged if one.query]
    asked = sum(len(one.query.ask) for one in forms if one.query)
    faults = sum(len(_faults(one, assist)) for one in forms)
    questions = [question for one in forms if one.query for question in one.query.questions]
    open_ended = sum(not question.options for question in questions)
    yield "## Deciding"
    yield ""
    yield f"{len(lines)} problem-list strings, each as the only words of a Condition."
    yield ""
    yield "| what | count | of | share |"
    yield "|---|---:|---:|---:|"
    yield f"| decided as the coder expects | {right} | {len(lines)} | {right / len(lines):.3f} |"
    scope = len(in_scope)
    yield f"| declined: in scope, and no code selected | {declined} | {scope} | {declined / scope:.3f} |"
    yield f"| questions asked, per record in scope | {asked} | {scope} | {asked / scope:.2f} |"
    share = open_ended / len(questions)
    yield f"| questions of these forms that are open-ended | {open_ended} | {len(questions)} | {share:.3f} |"
    yield f"| query forms made, and faults found in them | {faults} | {len(forms)} | {faults / len(forms):.3f} |"


def _envelope(text: str) -> Any:
    return open_envelope(parameters(outpatient_condition(text)), "charting")


def _faults(judged: Judged, assist: Assist) -> list[Any]:
    return form_faults(judged.query, judged.assessment, assist.query_rules) if judged.query else []


if __name__ == "__main__":
    SCORECARD.parent.mkdir(exist_ok=True)
    SCORECARD.write_text(scorecard(load_assist(terminology_dir())), "utf-8")
    print(f"{SCORECARD.name} is written.")
