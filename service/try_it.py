"""The page at /: paste a note or a FHIR resource, or pick an example, and see all that the service makes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from flask import Blueprint, Response, abort, current_app, g, request

from service.assist import Assist, Judged
from service.coding.model import REQUIRED, Assessment, Element, Evidence, Passage
from service.decisions import Visit, patients_of
from service.deferred import Deferred
from service.envelope import open_envelope
from service.fhir_out import Json, reason, source_label
from service.forms import held_forms, page, shown_form
from service.json_body import Issue, Refusal, parse_json, readable_json
from service.open_forms import Opener
from service.record import Request

if TYPE_CHECKING:
    import yaml
else:
    yaml = Deferred("yaml")

try_it = Blueprint("try_it", __name__, template_folder="web/templates")
LONGEST_NOTE = 100_000
_LINE = re.compile(r"[^\n]{1,250}\Z")


@dataclass(frozen=True)
class Marked:
    """One text of the record, cut where evidence begins and ends; each piece names the elements that it documents."""

    label: str
    pieces: tuple[tuple[str, tuple[str, ...]], ...]


@cache
def examples() -> list[Json]:
    """What the page offers to try; read when it is first shown."""
    written = (Path(__file__).parent / "web" / "examples.yaml").read_text("utf-8")
    return list(yaml.safe_load(written))


@try_it.get("/")
def start() -> Response:
    """The examples, and what the first or the chosen one gives."""
    chosen = request.args.get("example", examples()[0]["id"])
    example = next((one for one in examples() if one["id"] == chosen), None)
    if example is None:
        abort(404)
    return _shown(example["text"] if "text" in example else readable_json(example["record"]), chosen)


@try_it.post("/")
def tried() -> Response:
    """What the service makes of a text or a resource that was pasted."""
    return _shown(request.form.get("text", "").replace("\r\n", "\n"), "")


def _shown(text: str, chosen: str) -> Response:
    shown: Json = {"examples": examples(), "chosen": chosen, "text": text, "root": "", "declines": {}}
    try:
        sent = _sent(text)
        record = open_envelope(sent, "charting")
    except Refusal as refusal:
        return page("try_it.html", refusal.status, **shown, refused=[issue.diagnostics for issue in refusal.issues])
    if not chosen:
        g.visit = Visit("try", {}, patients_of(record), current_app.extensions["clock"]())
    assist: Assist = current_app.extensions["assist"]
    judged = [_told(one, record, assist) for one in assist.answer(record, reads_all=True).judged]
    hook = _hook(record)
    raw = {"fhir": readable_json(sent), "hook": readable_json(hook)}
    return page("try_it.html", **shown, judged=judged, raw=raw, reason=reason, source_label=source_label)


def _sent(text: str) -> Json:
    """JSON as it is; a line as the problem's text; anything longer as a note on a problem."""
    if not text.strip() or len(text) > LONGEST_NOTE:
        sentence = "There is no text, or more than 100,000 characters; paste a note or a FHIR resource."
        raise Refusal(400, [Issue("error", "required", sentence)])
    if text.lstrip().startswith("{"):
        read: Any = parse_json(text.encode("utf-8"))
        return dict(read)
    today = datetime.now(UTC).date().isoformat()
    words = text.strip()
    told: Json = {"code": {"text": words}} if _LINE.match(words) else {"note": [{"text": words}]}
    subject = {"reference": "Patient/example"}
    return {"resourceType": "Condition", "id": "example", "subject": subject, "recordedDate": today, **told}


def _hook(record: Request) -> Json:
    """The same record as a call of patient-view."""
    subject = record.conditions[0].resource.get("subject") or {}
    patient = str(subject.get("reference") or "Patient/example").rpartition("/")[2]
    context = {"userId": "Practitioner/example", "patientId": patient}
    prefetch: Json = {"conditions": _bundle(e.resource for e in record.conditions)}
    if record.reports:
        prefetch["reports"] = _bundle(e.resource for e in record.reports)
    return {"hook": "patient-view", "hookInstance": str(uuid4()), "context": context, "prefetch": prefetch}


def _bundle(resources: Iterator[Any]) -> Json:
    return {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": one} for one in resources]}


def _told(one: Judged, record: Request, assist: Assist) -> Json:
    """One Condition for the template."""
    terminology, assessment = assist.terminology, one.assessment
    told: Json = {
        "assessment": assessment,
        "texts": list(marked(assessment)),
        "labels": {name: wording["label"] for name, wording in terminology.main.elements.items()},
        "hits": _hits(assessment),
        "title": terminology.icd10cm.title,
        "form": None,
    }
    if one.form:
        patient = {"patient": "Patient/example", "user": "", "encounter": ""}
        opener = Opener(held_forms(), replace(record, answers={}), terminology.main.version, **patient)
        form = opener.prepare(assessment, one.form, str(uuid4()), is_shared=False)  # one for each visitor
        opener.open()
        told |= {"form": form, **shown_form(form)}
    return told


def _hits(assessment: Assessment) -> list[Json]:
    """Each rule once, conflicts and gaps first."""
    order = {"conflict": 0, "gap": 1, "met": 2}
    unique = {hit.rule.id: hit for hit in sorted(assessment.hits, key=lambda h: -order[h.outcome])}
    hits = sorted(unique.values(), key=lambda h: order[h.outcome])
    return [{"rule": hit.rule, "outcome": hit.outcome} for hit in hits]


# --- the text with its evidence marked ----------------------------------------------------------------------------


def marked(assessment: Assessment) -> Iterator[Marked]:
    """Each text of the record that was read, once, in the order read."""
    texts = dict.fromkeys(reading.passage for reading in assessment.documentation.readings if _is_text(reading.passage))
    for passage in texts:
        found = list(_spans(passage, assessment.elements))
        yield Marked(source_label(Evidence(passage, 0, 0)), tuple(_pieces(passage.text, found)))


def _is_text(passage: Passage) -> bool:
    return bool(passage.text.strip()) and not passage.expression.endswith("].code")


def _spans(passage: Passage, elements: Sequence[Element]) -> Iterator[tuple[int, int, str]]:
    for element in elements:
        name = element.name if element.name in REQUIRED else "other"
        yield from ((e.start, e.end, name) for e in element.evidence if e.passage == passage)


def _pieces(text: str, spans: Sequence[tuple[int, int, str]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The text cut at every edge of a span; the narrowest span of a piece is named first."""
    edges = sorted({0, len(text), *(edge for start, end, _ in spans for edge in (start, end))})
    for start, end in pairwise(edges):
        over = sorted((s for s in spans if s[0] <= start and end <= s[1]), key=lambda s: s[1] - s[0])
        yield text[start:end], tuple(dict.fromkeys(name for _, _, name in over))
