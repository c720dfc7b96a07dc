"""What stands beside the Conditions: reports, documents and observations -> Readings, places examined, imaging."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from service.attachments import AttachmentText, attachment_text, blank_markup
from service.authors import document_by_provider
from service.coding.model import Author, Evidence, Finding, Passage, Reading, RecordFault
from service.concepts import system_of
from service.fhir_values import Resource, concept_texts, date_in, is_same, reference_in
from service.reader import Reader
from service.record import COUNTED_REPORTS, Entry, Request

Json = dict[str, Any]
_Attachments = dict[str, AttachmentText | None]
_DENIED = re.compile(r"\b(?:no|none|absent|negative|denie[sd]|not|normal|without|nil)\b", re.I)


class About:
    """Whether a resource is about the patient of the Conditions; one that names nobody is."""

    def __init__(self, request: Request) -> None:
        self._subjects = {reference_in(entry.resource.get("subject")) for entry in request.conditions} - {""}
        if request.patient and not self._subjects:
            self._subjects = {request.patient.reference}

    def patient(self, entry: Entry) -> bool:
        subject = reference_in(entry.resource.get("subject"))
        return not subject or not self._subjects or any(is_same(subject, known) for known in self._subjects)


class Beside:
    """The reports and documents of one request, read once for all Conditions that they speak to.

    `used` are the reports that count; `of_reports` and `of_documents` what they say, `exam_places` the regions that
    titles name, `imaging` modality, date and finding of each, `faults` what is wrong with them.
    """

    def __init__(self, request: Request, reader: Reader) -> None:
        self._request, self._reader = request, reader
        about = About(request)
        theirs = [report for report in request.reports if about.patient(report)]
        self.used = [report for report in theirs if report.resource.get("status") in COUNTED_REPORTS]
        documents = [one for one in request.documents if about.patient(one) and _is_current(one)]
        forms = [_forms(report) for report in self.used]
        contents = [_contents(document) for document in documents]
        by_report = [self._read_report(*each) for each in zip(self.used, forms, strict=True)]
        self.of_reports = tuple([reading for readings in by_report for reading in readings])
        read_documents = [self._read_document(*each) for each in zip(documents, contents, strict=True)]
        self.of_documents = tuple([reading for readings in read_documents for reading in readings])
        examined = [self._examined_by(report) for report in self.used]
        places = [place for each in examined for place in each]
        self.exam_places = tuple({(f.value, f.detail): f for f in reversed(places)}.values())
        imaging = [self._imaging_of(*each) for each in zip(self.used, by_report, examined, strict=True)]
        self.imaging = tuple([finding for findings in imaging for finding in findings])
        self.faults = [*_report_faults(request.reports, theirs), *_unreadable([*forms, *contents])]

    def _read_report(self, entry: Entry, forms: _Attachments) -> list[Reading]:
        report = entry.resource
        readings: list[Reading] = []
        texts = [("DiagnosticReport.conclusion", AttachmentText(str(report.get("conclusion") or "")))]
        texts += [(expression, text) for expression, text in forms.items() if text]
        for index, concept in enumerate(report.get("conclusionCode") or ()):
            path = f"DiagnosticReport.conclusionCode[{index}]"
            texts += [(at, AttachmentText(text)) for at, text in concept_texts(concept, path, skip_icd=True)]
            readings += self._reader.coded(concept, entry.reference, path, "report")
        if not any(found.text for _, found in texts):
            texts = _narrative(report, "DiagnosticReport")
        told = effective(report), str(report.get("status") or ""), self._is_earlier(report)
        for expression, (text, markup, extracted) in texts:
            if text:
                passage = Passage(text, entry.reference, expression, "report", *told, markup, extracted)
                readings.append(self._reader.read(passage))
        return readings

    def _read_document(self, entry: Entry, contents: _Attachments) -> list[Reading]:
        document = entry.resource
        author: Author = "provider" if document_by_provider(document) else "ancillary"
        encounters = (document.get("context") or {}).get("encounter") or [None]
        earlier = self._is_earlier({"encounter": encounters[0]})
        told = date_in(document.get("date")), str(document.get("docStatus") or ""), earlier
        texts = [(expression, text) for expression, text in contents.items() if text]
        return [
            self._reader.read(Passage(text, entry.reference, expression, author, *told, markup, extracted))
            for expression, (text, markup, extracted) in texts or _narrative(document, "DocumentReference")
        ]

    def _is_earlier(self, resource: Resource) -> bool:
        """Of another encounter than the one at hand."""
        theirs = reference_in(resource.get("encounter"))
        mine = self._request.encounter.reference if self._request.encounter else ""
        return bool(theirs and mine and not is_same(theirs, mine))

    def _examined_by(self, entry: Entry) -> list[Finding]:
        """The regions that the title of a report names."""
        found = []
        for known, coding, path in self._imaging_codes(entry):
            key = "display" if coding.get("display") else "code"
            passage = Passage(str(coding[key]), entry.reference, f"{path}.{key}", "report")
            evidence = Evidence(passage, 0, len(passage.text))
            found += [Finding("region", region, evidence) for region in known["regions"]]
        for expression, text in concept_texts(entry.resource.get("code"), "DiagnosticReport.code"):
            found += self._reader.places(_title(entry, expression, text))
        return found

    def _imaging_codes(self, entry: Entry) -> Iterator[tuple[Mapping[str, Any], Json, str]]:
        """What is known of each LOINC code of a report, the coding, and where it stands."""
        for index, coding in enumerate((entry.resource.get("code") or {}).get("coding") or ()):
            reports = self._reader.concepts.imaging_reports
            known = reports.get(str(coding.get("code"))) if system_of(coding) == "loinc" else None
            if known:
                yield known, coding, f"DiagnosticReport.code.coding[{index}]"

    def _imaging_of(self, entry: Entry, readings: Sequence[Reading], examined: Sequence[Finding]) -> list[Finding]:
        """Modality, date and finding of one report; `detail` names the regions examined."""
        modality = self._modality(entry, readings)
        if modality is None:
            return []
        regions = {f.value for f in examined} | {f.value for r in readings for s in r.statements for f in s.regions}
        detail = " ".join(sorted(regions))
        found = [Finding(modality.element, modality.value, modality.evidence, modality.assertion, detail)]
        if date := effective(entry.resource):
            key = "effectiveDateTime" if entry.resource.get("effectiveDateTime") else "effectivePeriod.start"
            passage = Passage(date, entry.reference, f"DiagnosticReport.{key}", "report", date)
            found.append(Finding("imaging.date", date, Evidence(passage, 0, len(date)), detail=detail))
        return found + [
            Finding("imaging.finding", statement.narrowing, statement.evidence, detail=detail)
            for reading in readings
            for statement in reading.statements
            if statement.assertion == "affirmed"
        ]

    def _modality(self, entry: Entry, readings: Sequence[Reading]) -> Finding | None:
        """By the code of the report, else its title, else what it says itself."""
        for known, coding, path in self._imaging_codes(entry):
            passage = Passage(str(coding["code"]), entry.reference, f"{path}.code", "report")
            return Finding("imaging.modality", known["modality"], Evidence(passage, 0, len(passage.text)))
        titles = concept_texts(entry.resource.get("code"), "DiagnosticReport.code")
        for title in [self._reader.read(_title(entry, expression, text)) for expression, text in titles]:
            for finding in title.of("imaging.modality"):
                return finding
        return next((finding for reading in readings for finding in reading.of("imaging.modality")), None)


def observed(request: Request, reader: Reader) -> tuple[Reading, ...]:
    """What the observations about the patient of a request say, but for those that do not count."""
    about = About(request)
    return tuple(
        [
            reading
            for entry in request.observations
            if about.patient(entry) and entry.resource.get("status") not in ("cancelled", "entered-in-error")
            for reading in _read_observation(entry, reader)
        ]
    )


def effective(report: Resource) -> str | None:
    """The day of a report, as written; None where it has none."""
    period = report.get("effectivePeriod") or {}
    return date_in(report.get("effectiveDateTime")) or date_in(period.get("start")) or date_in(period.get("end"))


def _is_current(document: Entry) -> bool:
    return bool(document.resource.get("status", "current") == "current")


def _forms(report: Entry) -> _Attachments:
    """What the presentedForms of a report say, by expression; None where one cannot be read."""
    return {
        f"DiagnosticReport.presentedForm[{index}].data": attachment_text(form)
        for index, form in enumerate(report.resource.get("presentedForm") or ())
        if form.get("data")
    }


def _contents(document: Entry) -> _Attachments:
    """What the attachments of a document say, by expression; None where one cannot be read."""
    return {
        f"DocumentReference.content[{index}].attachment.data": attachment_text(content["attachment"])
        for index, content in enumerate(document.resource.get("content") or ())
        if (content.get("attachment") or {}).get("data")
    }


def _report_faults(reports: Sequence[Entry], about_patient: Sequence[Entry]) -> Iterator[RecordFault]:
    theirs = set(map(id, about_patient))
    for report in reports:
        if id(report) not in theirs:
            yield RecordFault("subject-mismatch", "DiagnosticReport.subject")
        elif report.resource.get("status") not in COUNTED_REPORTS:
            yield RecordFault("report-not-final", "DiagnosticReport.status")
        elif not effective(report.resource):
            yield RecordFault("report-undated", "DiagnosticReport.effectiveDateTime")


def _unreadable(attachments: Sequence[_Attachments]) -> Iterator[RecordFault]:
    for texts in attachments:
        for expression, text in texts.items():
            if text is None:
                yield RecordFault("unreadable", expression.removesuffix(".data"))


def _read_observation(entry: Entry, reader: Reader) -> Iterator[Reading]:
    observation = entry.resource
    value = observation.get("valueCodeableConcept")
    date = date_in(observation.get("effectiveDateTime"))
    texts = [("Observation.valueString", observation.get("valueString"))]
    texts += concept_texts(value, "Observation.valueCodeableConcept")
    notes = enumerate(observation.get("note") or ())
    texts += [(f"Observation.note[{index}].text", note.get("text")) for index, note in notes]
    said = str(observation.get("valueString") or "") + str((value or {}).get("text") or "")
    if observation.get("valueBoolean") is not False and not _DENIED.search(said):
        texts += concept_texts(observation.get("code"), "Observation.code")
    for expression, text in texts:
        if isinstance(text, str) and text:
            yield reader.read(Passage(text, entry.reference, expression, "ancillary", date))
    yield from reader.coded(value, entry.reference, "Observation.valueCodeableConcept", "ancillary")


def _narrative(resource: Resource, kind: str) -> list[tuple[str, AttachmentText]]:
    """The XHTML narrative as the last resort, where the resource has no other words."""
    markup = (resource.get("text") or {}).get("div")
    if not isinstance(markup, str) or not markup.strip():
        return []
    return [(f"{kind}.text.div", AttachmentText(blank_markup(markup), markup))]


def _title(entry: Entry, expression: str, text: str) -> Passage:
    """The name of an exam, with the date and the status of its report."""
    report = entry.resource
    return Passage(
        text, entry.reference, expression, "report", effective(report), str(report.get("status") or "") or None
    )
