"""What a call of the CDS hook costs: CPU of the whole request, beside a view of bare Flask that answers the same bytes.

    python -m tests.benchmarks.hook

All are measured in the same run and in turns, with log, journal and store on (SQLite in a temporary folder), by the
process's own CPU time, which has the journal's thread in it. Absolute times drift between machines and minutes; compare
the ratios.
"""

from __future__ import annotations

import gc
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

from flask import Flask

from service.app import create_app
from service.coding.model import Passage
from service.coding.narrative import read
from service.logs import configure_logs
from service.settings import Settings
from tests.benchmarks import bare
from tests.benchmarks.figures import heading, tell
from tests.test_clients import RSA_KEY, claims, settings_in, signed

REPORTS = Path(__file__).parent.parent / "data" / "reports.jsonl"
ADDRESS = "/cds-services/coding-assist"
NOTE = "Reviewed with the patient at this visit; stable on current treatment and followed in clinic."
STENOSIS = (
    "M54.2",
    "Biomechanical connective tissue stenosis of neural canal of cervical region, thickened ligamentum flavum",
)
OTHERS = (
    ("E11.9", "Type 2 diabetes mellitus without complications"),
    ("I10", "Essential (primary) hypertension"),
    ("J45.909", "Unspecified asthma, uncomplicated"),
    ("K21.9", "Gastro-esophageal reflux disease without esophagitis"),
    ("E78.5", "Hyperlipidemia, unspecified"),
)
FLOOR = "bare Flask: JSON in, an answer as long out"
OUT_OF_SCOPE = "out of scope: 5 other Conditions"
IN_SCOPE = "in scope: 1 of ours, 5 others, 2 kB"
SENT_AGAIN = "  the same record sent again"
WITH_TOKEN = "  the same with an RS384 token"
LARGE = "100 Conditions and 32 kB of reports"
READING = "  of it reading the report of 2 kB"
PLACEHOLDER = b"00000000-0000-4000-8000-000000000000"
RECORD = b"ACC0000000"  # in ids and in the report: each call brings a record that was not seen before
OTHER_RECORDS = 1_000_000  # none of these was brought by another of the calls
WARM = 10
TOGETHER = 10  # about what one flush of the journal takes in
SETTLED = 0.1  # seconds after which the journal has written
Json = dict[str, Any]


def main() -> None:
    """Print the table."""
    found = costs()
    heading("CPU us of a call")
    for name, values in found.items():
        tell(name, values)


def costs(rounds: int = 200) -> dict[str, list[float]]:
    """CPU microseconds of each round of each call; the first is the floor."""
    with TemporaryDirectory() as name, log_unseen():
        app = create_app(Settings(database_url=f"sqlite:///{name}/open.db"))
        guarded = create_app(settings_in(Path(name))(), app.extensions["assist"])
        bodies = calls()
        tokens = [signed(claims(ADDRESS), RSA_KEY, "RS384", kid="rsa") for _ in range(rounds + WARM + TOGETHER)]
        whole = whole_reports()
        runs: dict[str, Callable[[int], None]] = {FLOOR: lambda number: served(bare.app, bodies[IN_SCOPE], number)}
        runs |= {name: _run(app, body) for name, body in bodies.items()}
        runs[SENT_AGAIN] = lambda number: served(app, bodies[IN_SCOPE], number, is_new=False)
        runs[WITH_TOKEN] = lambda number: served(guarded, bodies[IN_SCOPE], number + OTHER_RECORDS, tokens[number])
        lexicon = app.extensions["assist"].terminology.lexicon
        runs[READING] = lambda number: _read(named(report_text(whole, 0), number), lexicon)
        return measured(runs, rounds)


def calls() -> dict[str, bytes]:
    """The bodies of the calls that are measured."""
    whole = whole_reports()
    others = [condition(f"o{n}-{RECORD.decode()}", *OTHERS[n % len(OTHERS)]) for n in range(99)]
    ours = condition(f"c1-{RECORD.decode()}", *STENOSIS)
    return {
        OUT_OF_SCOPE: call(others[:5], []),
        IN_SCOPE: call([ours, *others[:5]], [report(0, report_text(whole, 0))]),
        LARGE: call([ours, *others], [report(n, report_text(whole, n)) for n in range(16)]),
    }


def whole_reports() -> str:
    """All reports of a usual length, one after the other."""
    texts = [json.loads(line)["text"] for line in REPORTS.read_text("utf-8").splitlines()]
    return "\n\n".join(text for text in texts if len(text) >= 500)


def report_text(whole: str, number: int, length: int = 2000) -> str:
    """So much of the reports, under an accession number; `number` says which part of them."""
    return f"Accession {RECORD.decode()}.\n{whole[number * length : number * length + length]}"


def named(text: str, number: int) -> str:
    """The same for a record of its own."""
    return text.replace(RECORD.decode(), f"ACC{number:07}")


@contextmanager
def log_unseen() -> Iterator[None]:
    """The log is made and written, but not between the lines of the table."""
    shown = sys.stderr
    with Path(os.devnull).open("w") as sys.stderr:
        configure_logs("INFO")
        yield
    sys.stderr = shown


def measured(runs: dict[str, Callable[[int], None]], rounds: int = 200) -> dict[str, list[float]]:
    """CPU microseconds of a call, a value for each ten, in turns, after some that warm up."""
    for number in range(WARM):
        for run in runs.values():
            run(number)
    time.sleep(SETTLED)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # as in a worker
    costs: dict[str, list[float]] = {name: [] for name in runs}
    for first in range(WARM, rounds + WARM, TOGETHER):
        for name, run in runs.items():
            begun = time.process_time_ns()
            for number in range(first, first + TOGETHER):
                run(number)
            time.sleep(SETTLED)  # costs nothing; what the journal does is counted where it belongs
            costs[name].append((time.process_time_ns() - begun) / 1000 / TOGETHER)
    return costs


def _run(app: Flask, body: bytes) -> Callable[[int], None]:
    return lambda number: served(app, body, number)


def served(app: Flask, body: bytes, number: int, token: str = "", *, is_new: bool = True) -> None:
    """One call as a WSGI server makes it; each is a call of its own and no retry, and brings a new record."""
    body = body.replace(PLACEHOLDER, str(UUID(int=number, version=4)).encode())
    if is_new:
        body = body.replace(RECORD, b"ACC%07d" % number)
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": ADDRESS,
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
    }
    if token:
        environ["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    statuses: list[str] = []
    answer = app(environ, lambda status, headers, exc_info=None: statuses.append(status) or statuses.append)  # type: ignore[func-returns-value,arg-type]
    b"".join(answer)
    if statuses[0] != "200 OK":
        raise RuntimeError(f"the service answered {statuses[0]}")


def _read(text: str, lexicon: Any) -> None:
    read(Passage(text, "DiagnosticReport/r", "DiagnosticReport.conclusion", "report"), lexicon)


def call(conditions: list[Json], reports: list[Json]) -> bytes:
    patient = {"resourceType": "Patient", "id": "p1", "gender": "female", "birthDate": "1960-01-01"}
    encounter = {
        "resourceType": "Encounter",
        "id": "e1",
        "status": "in-progress",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": {"reference": "Patient/p1"},
        "period": {"start": "2026-05-01"},
    }
    told = {
        "hook": "patient-view",
        "hookInstance": PLACEHOLDER.decode(),
        "context": {"userId": "Practitioner/d1", "patientId": "p1", "encounterId": "e1"},
        "prefetch": {
            "patient": patient,
            "encounter": encounter,
            "conditions": _bundle(conditions),
            "reports": _bundle(reports),
        },
    }
    return json.dumps(told).encode()


def _bundle(resources: list[Json]) -> Json:
    base = "https://ehr.example/fhir"
    entries = [{"fullUrl": f"{base}/{one['resourceType']}/{one['id']}", "resource": one} for one in resources]
    return {"resourceType": "Bundle", "type": "searchset", "total": len(entries), "entry": entries}


def condition(condition_id: str, code: str, title: str) -> Json:
    return {
        "resourceType": "Condition",
        "id": condition_id,
        "clinicalStatus": _concept("condition-clinical", "active"),
        "verificationStatus": _concept("condition-ver-status", "confirmed"),
        "category": [_concept("condition-category", "encounter-diagnosis")],
        "code": {
            "coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": code, "display": title}],
            "text": title,
        },
        "subject": {"reference": "Patient/p1"},
        "encounter": {"reference": "Encounter/e1"},
        "recordedDate": "2026-05-01",
        "note": [{"text": NOTE}],
    }


def report(number: int, conclusion: str) -> Json:
    return {
        "resourceType": "DiagnosticReport",
        "id": f"r{number}-{RECORD.decode()}",
        "status": "final",
        "category": [_concept("v2-0074", "RAD")],
        "code": {"text": "MRI cervical spine"},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2026-04-20",
        "conclusion": conclusion,
    }


def _concept(system: str, code: str) -> Json:
    return {"coding": [{"system": f"http://terminology.hl7.org/CodeSystem/{system}", "code": code}]}


if __name__ == "__main__":
    main()
