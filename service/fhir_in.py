"""Resources -> Documentation: every text of the record as a Passage, every finding with its Evidence.

The dicts come from the validation gate and stay as they are; nothing here changes them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, TypeVar

from service.attachments import AttachmentText, attachment_text, blank_markup
from service.coding.answers import Answer, with_answers
from service.coding.levels import find_levels
from service.coding.lexicon import Lexicon
from service.coding.model import (
    Author,
    Documentation,
    Evidence,
    Finding,
    Passage,
    Reading,
    RecordedCode,
    RecordFault,
    Setting,
    Statement,
    found_at,
)
from service.coding.narrative import read
from service.coding.scene import lay_out
from service.coding.sentences import Section, Span
from service.concepts import Concepts, system_of

Resource = Mapping[str, Any]
_Attachments = dict[str, AttachmentText | None]
COUNTED_REPORTS = frozenset({"final", "amended", "corrected", "appended"})
INPATIENT = frozenset({"IMP", "ACUTE", "NONAC"})
_Read = TypeVar("_Read")
_KEPT = 256  # texts of the last records, in each worker
_LONGEST_KEPT = 10_000  # characters
_SHORT, _KEPT_WORDS = 200, 1024  # characters, and how many texts: titles and diagnoses, which many records share
_PROFESSIONAL = frozenset({"professional", "vision", "oral", "pharmacy"})
_NOT_PROVIDER = re.compile(
    r"\b(?:nurse|nursing|rn|lpn|lvn|cna|physical therap\w*|occupational therap\w*|therapist|medical assistant|dietit\w*"
    r"|technologist|student|patient|social work\w*|pta|scribe)\b",
    re.I,
)
_DENIED = re.compile(r"\b(?:no|none|absent|negative|denie[sd]|not|normal|without|nil)\b", re.I)
_PT_CREDENTIAL = re.compile(r",\s*(?:PT|DPT|OT|OTR|PTA|RN|BSN|LPN|MA)\b")
_DATED = re.compile(r"\s*\d{4}(-\d\d(-\d\d)?)?(T|\s|$)")
_SPINAL_WORDS = re.compile(
    r"\b(?:spin\w*|back|neck|vertebra\w*|radicul\w*|myelopath\w*|sciatic\w*|lumb\w*|cervic\w*|thorac\w*|sacr\w*|numb\w*|tingl\w*|paresthes\w*|weakness|claudication|dorsalgia|cord|canal|foramin\w*|disc|disk)\b",
    re.I,
)


@dataclass(frozen=True)
class Entry:
    """A resource of the request and the reference that names it.

    `full_url` is the entry's in a Bundle. A diagnosis that stands on the claim itself is read as a Condition;
    `stands_in` and `code_path` then say where.
    """

    resource: Resource
    reference: str
    stands_in: str = ""
    code_path: str = "Condition.code"
    full_url: str = ""

    @property
    def source(self) -> str:
        """The resource that holds the words."""
        return self.stands_in or self.reference

    @property
    def type(self) -> str:
        return str(self.resource.get("resourceType", ""))


@dataclass(frozen=True)
class Request:
    """What came in, by role; `hook` is the CDS hook or the empty string.

    `claimed` are the Conditions that the claim names, by reference, each with the day of the first line that points to
    it; None where there is no claim. `answers` are those to a query, by the reference of the Condition asked about.
    """

    setting: Setting
    conditions: Sequence[Entry]
    reports: Sequence[Entry] = ()
    observations: Sequence[Entry] = ()
    documents: Sequence[Entry] = ()
    encounter: Entry | None = None
    patient: Entry | None = None
    claim: Entry | None = None
    coverage: Entry | None = None
    practitioner_role: Entry | None = None
    orders: Sequence[Entry] = ()
    organizations: Sequence[Entry] = ()
    date_of_service: str | None = None
    hook: str = ""
    wants_care: bool = False
    claimed: Mapping[str, str | None] | None = None
    answers: Mapping[str, Sequence[Answer]] = field(default_factory=dict)

    @property
    def inpatient(self) -> bool:
        """Whether the encounter is an inpatient stay."""
        return _class(self.encounter) in INPATIENT

    @property
    def by_discharge(self) -> bool:
        """Whether one date, that of discharge, stands for the whole: the stay itself, and what a facility bills for it.

        What a professional bills within a stay is judged by the lines, and so is a facility's claim without a period.
        """
        if self.claim is None:
            return self.inpatient
        kind = code_of(self.claim.resource.get("type"))
        return kind not in _PROFESSIONAL and (self.inpatient or (kind == "institutional" and self.encounter is None))


@dataclass(frozen=True)
class Reader:
    """Reads records with one lexicon and one set of concept tables."""

    lexicon: Lexicon
    concepts: Concepts

    @cached_property
    def read(self) -> Callable[[Passage], Reading]:
        """What a passage says; the last ones are kept, since an EHR sends the same record at each step of a visit."""
        lexicon = self.lexicon  # and not self: a ring would keep all of this where the collector looks no more

        @lru_cache(maxsize=_KEPT_WORDS)
        def known(text: str, date: str | None) -> Reading:
            return read(Passage(text, "", "", date=date), lexicon)

        def words(passage: Passage) -> Reading:
            date = passage.date if "today" in passage.text.lower() else None
            return known(passage.text, date).at(passage)

        return _remembering(lambda passage: read(passage, lexicon), words)

    @cached_property
    def places(self) -> Callable[[Passage], tuple[Finding, ...]]:
        """The regions that a short text names (a bodySite, an exam title); the last ones are kept."""
        lexicon = self.lexicon

        @lru_cache(maxsize=_KEPT_WORDS)
        def known(text: str) -> tuple[Finding, ...]:
            return tuple(_places(Passage(text, "", ""), lexicon))

        return _remembering(
            lambda passage: tuple(_places(passage, lexicon)), lambda passage: found_at(passage, known(passage.text))
        )

    def documentations(self, request: Request, quiet: Set[int] = frozenset()) -> list[Documentation]:
        """One Documentation for each Condition, in order; each reads the reports of its own patient only.

        Of those at the `quiet` places only the codes are taken: they are not of the spine, and their words say nothing.
        """
        patients = _by_patient(request.conditions)
        found: dict[int, Documentation] = {}
        for patient, places in patients.items():
            own = request if len(patients) == 1 else _of_patient(patient, places, request)
            silent = {n for n, i in enumerate(places) if i in quiet}
            found.update(zip(places, _Record(own, self, silent).documentations(), strict=True))
        if not request.answers:
            return [found[index] for index in range(len(found))]
        return [
            with_answers(found[index], request.answers.get(condition.reference, ()), self.lexicon)
            for index, condition in enumerate(request.conditions)
        ]


def _remembering(reads: Callable[[Passage], _Read], words: Callable[[Passage], _Read]) -> Callable[[Passage], _Read]:
    """The same function, which knows the last passages again unless they are long, and short ones by their `words`."""
    again = lru_cache(maxsize=_KEPT)(reads)

    def read(passage: Passage) -> _Read:
        length = len(passage.text)
        return words(passage) if length <= _SHORT else again(passage) if length <= _LONGEST_KEPT else reads(passage)

    return read


class _Record:
    """One request being read: what its resources share is read once."""

    def __init__(self, request: Request, reader: Reader, quiet: Set[int] = frozenset()) -> None:
        self.request, self.concepts, self.quiet = request, reader.concepts, quiet
        self.read, self.places = reader.read, reader.places
        self._stands_alone = not (request.reports or request.documents or request.observations)

    def documentations(self) -> list[Documentation]:
        twice = duplicates(self.request.conditions)
        own = [
            self._codes_alone(entry, duplicate=index in twice) if index in self.quiet else self._own(entry)
            for index, entry in enumerate(self.request.conditions)
        ]
        if len(self.quiet) == len(own):
            return own
        takers = self._takers(own)
        regions = [_regions_claimed(documentation) for documentation in own]
        claims = Counter(region for claimed in regions for region in claimed)
        return [
            documentation
            if index in self.quiet
            else self._with_record(
                documentation,
                tuple(sorted(claims - Counter(regions[index]))),
                takes=index in takers,
                duplicate=index in twice,
            )
            for index, documentation in enumerate(own)
        ]

    # -- the Condition itself

    def _codes_alone(self, entry: Entry, *, duplicate: bool) -> Documentation:
        condition = entry.resource
        return Documentation(
            entry.reference,
            self.request.setting,
            self._day or charted_on(condition),
            codes=tuple(self._codes(condition, entry)),
            verification=code_of(condition.get("verificationStatus")),
            clinical=_clinical(condition),
            takes_reports=False,
            faults=(RecordFault("duplicate", entry.code_path),) if duplicate else (),
        )

    @cached_property
    def _day(self) -> str | None:
        return date_of_service(self.request, {})

    def _own(self, entry: Entry) -> Documentation:
        condition = entry.resource
        documenting = self._documenting(entry)
        readings = [self.read(passage) for one in documenting for passage in self._condition_passages(one)]
        for one in documenting:
            readings += self._coded(one.resource.get("code"), one, one.code_path)
        codes = tuple(self._codes(condition, entry))
        faults = list(self._condition_faults(condition, entry))
        dos = date_of_service(self.request, condition, (self.request.claimed or {}).get(entry.reference))
        if dos is None:
            faults.append(
                RecordFault(
                    "dos-missing",
                    "Claim.item[0].servicedDate"
                    if self.request.setting == "claim" and self.request.claim
                    else "Condition.recordedDate",
                )
            )
        return Documentation(
            entry.reference,
            self.request.setting,
            dos,
            tuple(readings),
            codes,
            tuple(site for one in documenting for site in self._sites(one)),
            faults=tuple(faults),
            verification=code_of(condition.get("verificationStatus")),
            clinical=_clinical(condition),
            inpatient=self._inpatient(),
            discharged=self._discharged(),
            wants_care=self.request.wants_care,
            named_regions=tuple(
                dict.fromkeys(r for one in documenting for r in self._named_regions(one.resource, one))
            ),
            code_path=entry.code_path,
            on_claim=self.request.claimed is not None and entry.reference in self.request.claimed,
            beside_claim=bool(self.request.claimed) and entry.reference not in (self.request.claimed or {}),
        )

    def _documenting(self, entry: Entry) -> list[Entry]:
        """The Condition itself; for a diagnosis of our families that stands on the claim those that document it too.

        That is who carries its code, and who carries words and no code of ICD-10-CM.
        """
        own = icd10cm_codes(entry.resource.get("code"))
        if not entry.stands_in or not any(_FAMILY.match(code) for code in own):
            return [entry]
        return [entry, *(other for other in self.request.conditions if _may_document(own, other))]

    def _condition_passages(self, entry: Entry) -> Iterator[Passage]:
        condition = entry.resource
        author: Author = (
            "provider" if _is_provider(condition.get("asserter") or condition.get("recorder")) else "ancillary"
        )
        recorded = _date(condition.get("recordedDate"))
        for expression, text in _concept_texts(condition.get("code"), entry.code_path, skip_icd=True):
            yield Passage(text, entry.source, expression, author, recorded)
        for index, note in enumerate(condition.get("note") or ()):
            if isinstance(note.get("text"), str):
                by = author if _note_by_provider(note) else "ancillary"
                yield Passage(
                    note["text"],
                    entry.reference,
                    f"Condition.note[{index}].text",
                    by,
                    _date(note.get("time")) or recorded,
                )
        for index, evidence in enumerate(condition.get("evidence") or ()):
            for number, concept in enumerate(evidence.get("code") or ()):
                for expression, text in _concept_texts(
                    concept, f"Condition.evidence[{index}].code[{number}]", skip_icd=True
                ):
                    yield Passage(text, entry.source, expression, author, recorded)

    def _codes(self, condition: Resource, entry: Entry) -> Iterator[RecordedCode]:
        by_hand = "asserter" in condition and _by_practitioner(condition["asserter"])
        for index, coding in enumerate((condition.get("code") or {}).get("coding") or ()):
            code = coding.get("code")
            if isinstance(code, str) and code.strip():
                system, written = system_of(coding), code
                if system == "icd-10-cm":
                    code = _dotted(code)
                yield RecordedCode(
                    "other" if system == "loinc" else system,
                    code,
                    f"{entry.code_path}.coding[{index}]",
                    str(coding.get("display") or ""),
                    coding.get("userSelected") is True or by_hand,
                    written,
                )

    def _coded(self, concept: Any, entry: Entry, path: str, author: Author = "provider") -> list[Reading]:
        """SNOMED CT findings say what their concept says; the quote is the display or the code."""
        readings = []
        for index, coding in enumerate((concept or {}).get("coding") or ()):
            meaning = self.concepts.findings.get(str(coding.get("code"))) if system_of(coding) == "snomed" else None
            if meaning:
                key = "display" if isinstance(coding.get("display"), str) and coding["display"] else "code"
                passage = Passage(coding[key], entry.source, f"{path}.coding[{index}].{key}", author)
                readings.append(_reading_of(meaning, passage))
        return readings

    def _sites(self, entry: Entry) -> tuple[Finding, ...]:
        found: list[Finding] = []
        for index, site in enumerate(entry.resource.get("bodySite") or ()):
            found += self._site(site, entry, f"Condition.bodySite[{index}]")
        return tuple({(f.value, f.detail): f for f in reversed(found)}.values())

    def _site(self, site: Mapping[str, Any], entry: Entry, path: str) -> list[Finding]:
        for index, coding in enumerate(site.get("coding") or ()):
            known = self.concepts.body_sites.get(str(coding.get("code"))) if system_of(coding) == "snomed" else None
            if known:
                key = "display" if coding.get("display") else "code"
                passage = Passage(str(coding[key]), entry.reference, f"{path}.coding[{index}].{key}")
                return [
                    Finding(
                        "region",
                        known["region"],
                        Evidence(passage, 0, len(passage.text)),
                        detail=known.get("junction", ""),
                    )
                ]
        return [
            finding
            for expression, text in _concept_texts(site, path)
            for finding in self.places(Passage(text, entry.reference, expression))
        ]

    def _named_regions(self, condition: Resource, entry: Entry) -> tuple[str, ...]:
        """Every region that the diagnosis itself names, narrowing or not."""
        found = [
            f.value
            for expression, text in _concept_texts(condition.get("code"), entry.code_path, skip_icd=True)
            for f in self.places(Passage(text, entry.source, expression))
        ]
        return tuple(dict.fromkeys(found))

    def _condition_faults(self, condition: Resource, entry: Entry) -> Iterator[RecordFault]:
        code = condition.get("code") or {}
        if not code.get("coding") and not code.get("text"):
            yield RecordFault("code-missing", entry.code_path)
        if condition.get("modifierExtension"):
            yield RecordFault("modifier-extension", "Condition.modifierExtension[0]")

    # -- the encounter

    def _inpatient(self) -> bool:
        claim = self.request.claim
        if claim and code_of(claim.resource.get("type")) in _PROFESSIONAL:
            return False
        return self.request.inpatient

    def _discharged(self) -> bool:
        encounter = self.request.encounter
        return self.request.hook == "encounter-discharge" or bool(
            encounter and encounter.resource.get("status") == "finished"
        )

    # -- what the Conditions share

    def _with_record(
        self, own: Documentation, claimed_elsewhere: tuple[str, ...], *, takes: bool, duplicate: bool
    ) -> Documentation:
        told: dict[str, Any] = {"takes_reports": takes, "regions_claimed_elsewhere": claimed_elsewhere}
        twice = (RecordFault("duplicate", own.code_path),) if duplicate else ()
        if self._stands_alone:
            return replace(own, faults=(*own.faults, *twice), **told)
        readings = own.readings
        if takes:
            readings += (*self._report_readings, *self._document_readings)
        readings += self._observation_readings
        return replace(
            own,
            readings=readings,
            exam_places=self._exam_places if takes else (),
            imaging=self._imaging if takes else (),
            faults=(*own.faults, *(self._report_faults if takes else ()), *twice),
            imaging_encounter=takes and self._is_imaging_encounter(),
            **told,
        )

    def _takers(self, own: Sequence[Documentation]) -> set[int]:
        """Which Conditions the reports speak to: those of the spine; where none is, a single Condition takes them."""
        spinal = {
            i
            for i, (d, entry) in enumerate(zip(own, self.request.conditions, strict=True))
            if i not in self.quiet
            if d.statements("provider") or d.sites or is_spinal(entry.resource) or _family_code(d)
        }
        if spinal:
            stated = {i for i in spinal if own[i].statements("provider") or _family_code(own[i])}
            if stated:
                return stated
            return set(sorted(self._fitting(own, spinal))[:1])
        return {0} if len(own) == 1 else set()

    def _fitting(self, own: Sequence[Documentation], spinal: set[int]) -> set[int]:
        """Of several spinal complaints the one whose place is that of the report."""
        reported = {f.value for r in self._report_readings for s in r.statements for f in s.regions}
        if len(spinal) == 1 or not reported:
            return spinal
        named = {i: {f.value for r in own[i].readings for f in self.places(r.passage)} for i in spinal}
        return {i for i in spinal if named[i] & reported} or spinal

    def _is_imaging_encounter(self) -> bool:
        encounter = self.request.encounter
        return (
            self.request.setting == "claim"
            and encounter is not None
            and any(_same(_reference(r.resource.get("encounter")), encounter.reference) for r in self._used_reports)
        )

    @cached_property
    def _subjects(self) -> set[str]:
        subjects = {_reference(entry.resource.get("subject")) for entry in self.request.conditions} - {""}
        if self.request.patient and not subjects:
            return {self.request.patient.reference}
        return subjects

    def _about_patient(self, entry: Entry) -> bool:
        subject = _reference(entry.resource.get("subject"))
        return not subject or not self._subjects or any(_same(subject, known) for known in self._subjects)

    @cached_property
    def _used_reports(self) -> list[Entry]:
        return [
            r for r in self.request.reports if self._about_patient(r) and r.resource.get("status") in COUNTED_REPORTS
        ]

    @cached_property
    def _report_faults(self) -> list[RecordFault]:
        faults = []
        for report in self.request.reports:
            if not self._about_patient(report):
                faults.append(RecordFault("subject-mismatch", "DiagnosticReport.subject"))
            elif report.resource.get("status") not in COUNTED_REPORTS:
                faults.append(RecordFault("report-not-final", "DiagnosticReport.status"))
            elif not _effective(report.resource):
                faults.append(RecordFault("report-undated", "DiagnosticReport.effectiveDateTime"))
        faults += [
            RecordFault("unreadable", expression.removesuffix(".data"))
            for texts in (*self._forms.values(), *self._contents.values())
            for expression, text in texts.items()
            if text is None
        ]
        return faults

    @cached_property
    def _forms(self) -> dict[int, _Attachments]:
        """What the presentedForms of each report say, by expression; None where one cannot be read."""
        return {
            id(report): {
                f"DiagnosticReport.presentedForm[{index}].data": attachment_text(form)
                for index, form in enumerate(report.resource.get("presentedForm") or ())
                if form.get("data")
            }
            for report in self._used_reports
        }

    @cached_property
    def _contents(self) -> dict[int, _Attachments]:
        """What the attachments of each current document say, by expression; None where one cannot be read."""
        return {
            id(document): {
                f"DocumentReference.content[{index}].attachment.data": attachment_text(content["attachment"])
                for index, content in enumerate(document.resource.get("content") or ())
                if (content.get("attachment") or {}).get("data")
            }
            for document in self.request.documents
            if self._about_patient(document) and document.resource.get("status", "current") == "current"
        }

    @cached_property
    def _report_readings(self) -> tuple[Reading, ...]:
        return tuple(reading for report in self._used_reports for reading in self._read_report(report))

    def _read_report(self, entry: Entry) -> Iterator[Reading]:
        report = entry.resource
        earlier = self._is_earlier(report)
        date, status = _effective(report), str(report.get("status") or "")
        texts = [("DiagnosticReport.conclusion", AttachmentText(str(report.get("conclusion") or "")))]
        texts += [(expression, text) for expression, text in self._forms[id(entry)].items() if text]
        for index, concept in enumerate(report.get("conclusionCode") or ()):
            texts += [
                (expression, AttachmentText(text))
                for expression, text in _concept_texts(
                    concept, f"DiagnosticReport.conclusionCode[{index}]", skip_icd=True
                )
            ]
            yield from self._coded(concept, entry, f"DiagnosticReport.conclusionCode[{index}]", "report")
        if not any(found.text for _, found in texts):
            texts = _narrative(report, "DiagnosticReport")
        for expression, (text, markup, extracted) in texts:
            if text:
                passage = Passage(text, entry.reference, expression, "report", date, status, earlier, markup, extracted)
                yield self.read(passage)

    def _is_earlier(self, resource: Resource) -> bool:
        """Of another encounter than the one at hand."""
        theirs = _reference(resource.get("encounter"))
        mine = self.request.encounter.reference if self.request.encounter else ""
        return bool(theirs and mine and not _same(theirs, mine))

    @cached_property
    def _exam_places(self) -> tuple[Finding, ...]:
        found = [f for places in self._examined.values() for f in places]
        return tuple({(f.value, f.detail): f for f in reversed(found)}.values())

    @cached_property
    def _examined(self) -> dict[int, list[Finding]]:
        """The regions that the title of each report names."""
        return {id(report): self._examined_by(report) for report in self._used_reports}

    def _examined_by(self, entry: Entry) -> list[Finding]:
        code = entry.resource.get("code") or {}
        found = []
        for index, coding in enumerate(code.get("coding") or ()):
            known = self.concepts.imaging_reports.get(str(coding.get("code"))) if system_of(coding) == "loinc" else None
            if known:
                passage = Passage(
                    str(coding.get("display") or coding["code"]),
                    entry.reference,
                    f"DiagnosticReport.code.coding[{index}].{'display' if coding.get('display') else 'code'}",
                    "report",
                )
                found += [
                    Finding("region", region, Evidence(passage, 0, len(passage.text))) for region in known["regions"]
                ]
        for expression, text in _concept_texts(code, "DiagnosticReport.code"):
            found += self.places(_title(entry, expression, text))
        return found

    @cached_property
    def _imaging(self) -> tuple[Finding, ...]:
        return tuple(f for report in self._used_reports for f in self._imaging_of(report))

    def _imaging_of(self, entry: Entry) -> Iterator[Finding]:
        """Modality, date and finding of one report; `detail` names the regions examined."""
        report = entry.resource
        modality = self._modality(entry)
        if modality is None:
            return
        readings = [r for r in self._report_readings if r.passage.source == entry.reference]
        regions = {f.value for f in self._examined[id(entry)]} | {
            f.value for r in readings for s in r.statements for f in s.regions
        }
        detail = " ".join(sorted(regions))
        yield Finding(modality.element, modality.value, modality.evidence, modality.assertion, detail)
        date = _effective(report)
        if date:
            key = "effectiveDateTime" if report.get("effectiveDateTime") else "effectivePeriod.start"
            passage = Passage(date, entry.reference, f"DiagnosticReport.{key}", "report", date)
            yield Finding("imaging.date", date, Evidence(passage, 0, len(date)), detail=detail)
        for reading in readings:
            for statement in reading.statements:
                if statement.assertion == "affirmed":
                    yield Finding("imaging.finding", statement.narrowing, statement.evidence, detail=detail)

    def _modality(self, entry: Entry) -> Finding | None:
        report = entry.resource
        for index, coding in enumerate((report.get("code") or {}).get("coding") or ()):
            known = self.concepts.imaging_reports.get(str(coding.get("code"))) if system_of(coding) == "loinc" else None
            if known:
                passage = Passage(
                    str(coding["code"]), entry.reference, f"DiagnosticReport.code.coding[{index}].code", "report"
                )
                return Finding("imaging.modality", known["modality"], Evidence(passage, 0, len(passage.text)))
        for expression, text in _concept_texts(report.get("code"), "DiagnosticReport.code"):
            for finding in self.read(_title(entry, expression, text)).of("imaging.modality"):
                return finding
        for reading in self._report_readings:
            if reading.passage.source == entry.reference:
                for finding in reading.of("imaging.modality"):
                    return finding
        return None

    @cached_property
    def _document_readings(self) -> tuple[Reading, ...]:
        return tuple(
            self.read(passage)
            for entry in self.request.documents
            if id(entry) in self._contents
            for passage in self._document_passages(entry)
        )

    def _document_passages(self, entry: Entry) -> Iterator[Passage]:
        document = entry.resource
        author: Author = "provider" if _document_by_provider(document) else "ancillary"
        texts = [(expression, text) for expression, text in self._contents[id(entry)].items() if text]
        for expression, (text, markup, extracted) in texts or _narrative(document, "DocumentReference"):
            yield Passage(
                text,
                entry.reference,
                expression,
                author,
                _date(document.get("date")),
                str(document.get("docStatus") or ""),
                self._is_earlier({"encounter": ((document.get("context") or {}).get("encounter") or [None])[0]}),
                markup,
                extracted,
            )

    @cached_property
    def _observation_readings(self) -> tuple[Reading, ...]:
        return tuple(
            reading
            for entry in self.request.observations
            if self._about_patient(entry) and entry.resource.get("status") not in ("cancelled", "entered-in-error")
            for reading in self._read_observation(entry)
        )

    def _read_observation(self, entry: Entry) -> Iterator[Reading]:
        observation = entry.resource
        date = _date(observation.get("effectiveDateTime"))
        texts = [("Observation.valueString", observation.get("valueString"))]
        texts += list(_concept_texts(observation.get("valueCodeableConcept"), "Observation.valueCodeableConcept"))
        texts += [
            (f"Observation.note[{i}].text", note.get("text")) for i, note in enumerate(observation.get("note") or ())
        ]
        if observation.get("valueBoolean") is not False and not _DENIED.search(
            str(observation.get("valueString") or "")
            + str((observation.get("valueCodeableConcept") or {}).get("text") or "")
        ):
            texts += list(_concept_texts(observation.get("code"), "Observation.code"))
        for expression, text in texts:
            if isinstance(text, str) and text:
                yield self.read(Passage(text, entry.reference, expression, "ancillary", date))
        yield from self._coded(
            observation.get("valueCodeableConcept"), entry, "Observation.valueCodeableConcept", "ancillary"
        )


def _places(passage: Passage, lexicon: Lexicon) -> Iterator[Finding]:
    span = Span(0, len(passage.text), Section("", "findings", 0, len(passage.text)), True)
    [scene] = lay_out(passage.text, lexicon.tokens(passage.text), [span], lexicon)
    for place in scene.places:
        for region, junction in place.values:
            yield Finding("region", region, Evidence(passage, place.start, place.end), detail=junction)


# --- small readers of FHIR datatypes ------------------------------------------------------------------------------


def date_of_service(request: Request, condition: Resource, of_line: str | None = None) -> str | None:
    """Before a claim: given, claim, encounter. While charting also recordedDate. As written (POLICY section 5).

    `of_line` is the day of the first line that points to the diagnosis.
    """
    encounter = request.encounter.resource if request.encounter else {}
    period = encounter.get("period") or {}
    stay = _full(period.get("end")) if request.inpatient else None
    candidates = [_full(request.date_of_service)]
    if request.claim:
        candidates += [stay] if request.by_discharge else []
        candidates += _claim_dates(request.claim.resource, of_line, at_end=request.by_discharge)
    candidates += [stay, _full(period.get("start")), _full(period.get("end"))]
    if request.setting == "charting":
        candidates.append(charted_on(condition))
    return next((date for date in candidates if date), None)


def charted_on(condition: Resource) -> str | None:
    """When it was recorded, which counts while charting where nothing else tells the date of service."""
    return _full(condition.get("recordedDate"))


def _claim_dates(claim: Resource, of_line: str | None, *, at_end: bool) -> Iterator[str | None]:
    billable = claim.get("billablePeriod") or {}
    lines = [[on for on, _ in line_dates(item, "")] for item in claim.get("item") or ()]
    if at_end:
        yield _full(billable.get("end")) or max((on for dates in lines for on in dates), default=None)
    yield of_line
    yield from (dates[0] for dates in lines if dates)
    yield _full(billable.get("start")) or _full(billable.get("end"))


def line_dates(item: Resource, at: str) -> Iterator[tuple[str, str]]:
    """The complete dates of a claim line, each with the element below `at` that gives it."""
    if date := _full(item.get("servicedDate")):
        yield date, f"{at}.servicedDate"
    yield from period_dates(item, "servicedPeriod", at)


def period_dates(holder: Resource, name: str, at: str) -> Iterator[tuple[str, str]]:
    """The complete dates of a period, each with the element below `at` that gives it."""
    period = holder.get(name) or {}
    for end in ("start", "end"):
        if date := _full(period.get(end)):
            yield date, f"{at}.{name}.{end}"


def _full(value: Any) -> str | None:
    """A complete date, as written, in its own offset; a year or a month alone is none."""
    date = _date(value)
    return date if date and len(date) == 10 else None


def _narrative(resource: Resource, kind: str) -> list[tuple[str, AttachmentText]]:
    """The XHTML narrative as the last resort, where the resource has no other words."""
    markup = (resource.get("text") or {}).get("div")
    if not isinstance(markup, str) or not markup.strip():
        return []
    return [(f"{kind}.text.div", AttachmentText(blank_markup(markup), markup))]


def _date(value: Any) -> str | None:
    return value.strip()[:10] if isinstance(value, str) and _DATED.match(value) else None


def _effective(report: Resource) -> str | None:
    period = report.get("effectivePeriod") or {}
    return _date(report.get("effectiveDateTime")) or _date(period.get("start")) or _date(period.get("end"))


def _class(encounter: Entry | None) -> str:
    value = (encounter.resource.get("class") if encounter else None) or {}
    if isinstance(value, list):
        value = value[0] if value else {}
    return str(value.get("code") or "").upper()


def code_of(concept: Any) -> str:
    """The first code of a CodeableConcept."""
    for coding in (concept or {}).get("coding") or ():
        if coding.get("code"):
            return str(coding["code"])
    return ""


def icd10cm_codes(concept: Any) -> set[str]:
    """The codes of ICD-10-CM of a CodeableConcept, with their dots."""
    codings = (concept or {}).get("coding") or ()
    return {_dotted(str(c["code"])) for c in codings if c.get("code") and system_of(c) == "icd-10-cm"}


def _clinical(condition: Resource) -> str:
    status = code_of(condition.get("clinicalStatus"))
    if status in ("resolved", "inactive", "remission"):
        return status
    for element in condition:
        if element.startswith("abatement"):
            return "resolved"
    return ""


def _concept_texts(concept: Any, path: str, *, skip_icd: bool = False) -> Iterator[tuple[str, str]]:
    """(expression, text) of a CodeableConcept: its text, and displays that are no mere code titles."""
    if not isinstance(concept, dict):
        return
    text = concept.get("text")
    if isinstance(text, str) and text.strip():
        yield f"{path}.text", text
    for index, coding in enumerate(concept.get("coding") or ()):
        display = coding.get("display")
        if not isinstance(display, str) or not display.strip() or display == text:
            continue
        if not (skip_icd and system_of(coding) in ("icd-10-cm", "other-icd")):
            yield f"{path}.coding[{index}].display", display


def _title(entry: Entry, expression: str, text: str) -> Passage:
    """The name of an exam, with the date and the status of its report."""
    report = entry.resource
    return Passage(
        text, entry.reference, expression, "report", _effective(report), str(report.get("status") or "") or None
    )


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


def _reference(value: Any) -> str:
    return str(value.get("reference") or "") if isinstance(value, dict) else ""


def _same(one: str, other: str) -> bool:
    """'Patient/p1', 'https://ehr.example/fhir/Patient/p1' and 'Patient/p1/_history/2' are the same patient."""
    return bool(one and other) and _short(one) == _short(other)


def is_of_another(patient: Any, entry: Entry) -> bool:
    """Of another patient, as far as the references tell: an address by URN names nobody outside its Bundle."""
    theirs, ours = patient_of(entry), _short(_reference(patient))
    return theirs.startswith("Patient/") and ours.startswith("Patient/") and theirs != ours


def patient_of(entry: Entry) -> str:
    return _short(_reference(entry.resource.get("subject")))


def _by_patient(conditions: Sequence[Entry]) -> dict[str, list[int]]:
    """The places of the Conditions in their list by patient; one without a subject stands by the first patient."""
    patients = [patient_of(condition) for condition in conditions]
    first = next(filter(None, patients), "")
    places: dict[str, list[int]] = {}
    for index, patient in enumerate(patients):
        places.setdefault(patient or first, []).append(index)
    return places


def _of_patient(patient: str, places: Sequence[int], request: Request) -> Request:
    """What a request brings of one patient; a report that names nobody speaks to each."""
    others = {patient_of(condition) for condition in request.conditions} - {patient, ""}
    reports = [report for report in request.reports if patient_of(report) not in others]
    return replace(request, conditions=[request.conditions[i] for i in places], reports=reports)


def _short(reference: str) -> str:
    if reference.count("/") == 1 and not reference.endswith("/"):
        return reference  # as nearly all are
    parts = reference.split("/_history/", maxsplit=1)[0].rstrip("/").split("/")
    return "/".join(parts[-2:]) if len(parts) > 1 else reference


def _is_provider(reference: Any) -> bool:
    named = _reference(reference)
    return not named.split("/")[-2:-1] or named.split("/")[-2] not in ("Patient", "RelatedPerson")


def _by_practitioner(reference: Any) -> bool:
    return any(part in ("Practitioner", "PractitionerRole") for part in _reference(reference).split("/"))


def _note_by_provider(note: Mapping[str, Any]) -> bool:
    if not _is_provider(note.get("authorReference")):
        return False
    named = f"{note.get('authorString') or ''} {(note.get('authorReference') or {}).get('display') or ''}"
    return not _NOT_PROVIDER.search(named) and not _PT_CREDENTIAL.search(named)


def _document_by_provider(document: Resource) -> bool:
    authors = document.get("author") or ()
    if any(
        _reference(a).split("/")[0] in ("Patient", "RelatedPerson", "Device", "Organization")
        for a in authors
        if _reference(a)
    ):
        return False
    titles = (
        [a.get("display") for a in authors]
        + [t for _, t in _concept_texts(document.get("type"), "")]
        + [document.get("description")]
    )
    titles += [t for c in document.get("category") or () for _, t in _concept_texts(c, "")]
    named = " | ".join(str(t) for t in titles if t)
    return not _NOT_PROVIDER.search(named) and not _PT_CREDENTIAL.search(named)


def words_of(condition: Entry) -> list[str]:
    """The words that name a diagnosis, without the titles of its ICD-10-CM codes."""
    return [text for _, text in _concept_texts(condition.resource.get("code"), "", skip_icd=True)]


def is_spinal(condition: Resource) -> bool:
    return any(_SPINAL_WORDS.search(text) or find_levels(text) for _, text in _concept_texts(condition.get("code"), ""))


_FAMILY = re.compile(r"M99\.[2-7]|M48\.0")


def _family_code(documentation: Documentation) -> bool:
    return any(code.system == "icd-10-cm" and _FAMILY.match(code.code) for code in documentation.codes)


def _may_document(codes: Set[str], condition: Entry) -> bool:
    """Whether what a Condition says can stand behind a diagnosis of the claim with these codes."""
    theirs, resource = icd10cm_codes(condition.resource.get("code")), condition.resource
    is_so = code_of(resource.get("verificationStatus")) in ("", "confirmed") and not _clinical(resource)
    return is_so and not condition.stands_in and (bool(codes & theirs) or not theirs)


def _dotted(code: str) -> str:
    plain = code.strip().upper()
    return plain if "." in plain or len(plain) <= 3 else f"{plain[:3]}.{plain[3:]}"


def _regions_claimed(own: Documentation) -> set[str]:
    spoken = {region for statement in own.statements("provider") for region in statement.region_values()}
    return spoken | {finding.value for finding in own.sites}


def duplicates(conditions: Iterable[Entry]) -> set[int]:
    """Later Conditions with the same code and category; a problem-list item beside an encounter diagnosis is none, nor
    is the Condition behind a diagnosis that stands on the claim itself."""
    seen: set[tuple[str, tuple[str, ...], bool]] = set()
    found = set()
    for index, entry in enumerate(conditions):
        code = (
            code_of(entry.resource.get("code"))
            or str((entry.resource.get("code") or {}).get("text") or "").strip().lower()
        )
        key = code, tuple(sorted(code_of(c) for c in entry.resource.get("category") or ())), bool(entry.stands_in)
        if code and key in seen:
            found.add(index)
        seen.add(key)
    return found
