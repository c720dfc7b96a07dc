"""The figures of the reader: what they count, how sure they are, and what is shown to look at."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from service.assist import Assist
from service.cli import main
from service.evaluate import Counts, Evaluation, LabelError, Share, evaluate, read_labels

TEXT = "MRI: severe canal stenosis at L4-5 due to ligamentum flavum hypertrophy. No foraminal narrowing."


def assertion(region: str, site: str, polarity: str = "affirmed", **more: Any) -> dict[str, Any]:
    return {"region": region, "site": site, "polarity": polarity, "level": "", "etiologies": [], "quote": "w", **more}


def page(*assertions: Mapping[str, Any], **doc: list[str]) -> dict[str, Any]:
    return {"id": "t", "assertions": list(assertions), "doc": doc}


def compared(gold: Mapping[str, Any], read: Mapping[str, Any]) -> Evaluation:
    return evaluate({"t": TEXT}, {"t": gold}, {"t": read})


def test_a_key_counts_once_however_often_it_was_read() -> None:
    lumbar = assertion("lumbar", "canal")
    found = compared(page(lumbar), page(lumbar, lumbar, assertion("cervical", "canal")))
    assert found.facet("region, space, polarity").counts == Counts(right=1, wrong=1, missed=0)


def test_precision_recall_and_f1_follow_from_the_counts() -> None:
    counts = Counts(right=3, wrong=1, missed=2)
    assert (counts.precision, counts.recall, round(counts.f1, 3)) == (0.75, 0.6, 0.667)


def test_connective_tissue_is_scored_alone() -> None:
    both = assertion("lumbar", "canal", etiologies=["connective_tissue", "disc"])
    found = compared(page(both), page(assertion("lumbar", "canal", etiologies=["disc"])))
    assert found.facet("connective tissue").counts == Counts(missed=1)
    assert found.facet("etiology").counts == Counts(right=1, missed=1)


def test_an_affirmation_where_nobody_affirmed_is_false() -> None:
    found = compared(page(assertion("lumbar", "canal", "negated")), page(assertion("lumbar", "canal")))
    assert (found.share("false affirmation").hits, found.share("false affirmation").of) == (1, 1)


def test_what_is_said_of_another_person_is_left_out() -> None:
    other = assertion("lumbar", "canal", experiencer="other")
    assert compared(page(other), page()).facet("region").counts == Counts()


def test_wilsons_interval_of_none_in_nineteen_reaches_seventeen_percent() -> None:
    low, high = Share("false affirmation", 0, 19).interval
    assert (round(low, 3), round(high, 3)) == (0.0, 0.168)


def test_each_miss_is_listed_with_its_words() -> None:
    misses = compared(page(assertion("lumbar", "canal", quote="narrow canal")), page()).misses
    assert [(m.kind, m.key, m.quote) for m in misses] == [("missed", "lumbar canal affirmed", "narrow canal")]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 1 is no JSON"),
        ('{"assertions": []}', "an `id` of its own"),
        ('{"id": "t"}', "`assertions` is missing"),
        ('{"id": "t", "assertions": [{"region": "knee", "site": "canal", "polarity": "affirmed"}]}', "region must be"),
    ],
)
def test_a_wrong_label_is_told_with_its_line(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "gold.jsonl"
    path.write_text(line)
    with pytest.raises(LabelError, match=told):
        read_labels(path)


def test_the_command_prints_the_figures_and_writes_the_predictions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], assist: Assist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.commands.knowledge.open_assist", lambda settings: assist)
    texts, gold, predictions = (tmp_path / name for name in ("texts.jsonl", "gold.jsonl", "predictions.jsonl"))
    texts.write_text(json.dumps({"id": "t", "text": TEXT}))
    canal = assertion("lumbar", "canal", level="L4-L5", etiologies=["connective_tissue"])
    gold.write_text(json.dumps(page(canal, assertion("thoracic", "foramen", "negated"), modality=["MRI"])))
    assert main(["evaluate", "--texts", str(texts), "--gold", str(gold), "--predictions", str(predictions)]) == 0
    printed = capsys.readouterr().out
    assert "1 texts, 1 of them under 500 characters" in printed
    assert "missed  region, level, space, polarity: thoracic foramen negated" in printed
    written = json.loads(predictions.read_text())
    assert written["assertions"][0]["etiologies"] == ["connective_tissue"]
    assert written["doc"]["modality"] == ["MRI"]


def test_a_label_without_a_text_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, line in (("texts", {"id": "a", "text": "x"}), ("gold", page())):
        (tmp_path / name).write_text(json.dumps(line))
    assert main(["evaluate", "--texts", str(tmp_path / "texts"), "--gold", str(tmp_path / "gold")]) == 2
    assert capsys.readouterr().err == (
        "Every label needs its text, and there must be one at least. Compare the ids of the two files.\n"
    )
