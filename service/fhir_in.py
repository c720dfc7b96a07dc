"""Resources -> Documentation: every text of the record as a Passage, every finding with its Evidence.

The dicts come from the validation gate and stay as they are; nothing here changes them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from service.authors import note_by_provider
from service.coding.answers import with_answers
from service.coding.levels import find_levels
from service.coding.model import (
    Author,
    Documentation,
    Evidence,
    Finding,
    Passage,
    RecordedCode,
    RecordFault,
)
from service.concepts import system_of
from service.fhir_values import (
    Resource,
    clinical_status,
    code_of,
    concept_texts,
    date_in,
    dotted,
    icd10cm_codes,
    is_practitioner,
    is_provider,
    is_same,
    reference_in,
)
from service.reader import Reader
from service.record import (
    PROFESSIONAL,
    Entry,
    Request,
    by_patient,
    charted_on,
    date_of_service,
    duplicates,
    of_patient,
)
from service.reports_in import Beside, observed

_SPINAL_WORDS = re.compile(
    r"\b(?:spin\w*|back|neck|vertebra\w*|radicul\w*|myelopath\w*|sciatic\w*|lumb\w*|cervic\w*|thorac\w*|sacr\w*|numb\w*|tingl\w*|paresthes\w*|weakness|claudication|dorsalgia|cord|cauda|canal|foramin\w*|disc|disk)\b",
    re.I,
)
_FAMILY = re.compile(r"M99\.[2-7]|M48\.0")


def documentations(request: Request, reader: Reader, quiet: Set[int] = frozenset()) -> list[Documentation]:
    """One Documentation for each Condition, in order; each reads the reports of its own patient only.

    Of those at the `quiet` places only the codes are taken: they are not of the spine, and their words say nothing.
    """
    patients = by_patient(request.conditions)
    found: dict[int, Documentation] = {}
    for patient, places in patients.items():
        own = request if len(patients) == 1 else of_patient(patient, places, request)
        silent = {n for n, i in enumerate(places) if i in quiet}
        found.update(zip(places, _Record(own, reader, silent).documentations(), strict=True))
    if not request.answers:
        return [found[index] for index in range(len(found))]
    return [
        with_answers(found[index], request.answers.get(condition.reference, ()), reader.lexicon)
        for index, condition in enumerate(request.conditions)
    ]


class _Record:
    """One request being read: what its resources share is read once."""

    def __init__(self, request: Request, reader: Reader, quiet: Set[int] = frozenset()) -> None:
        self.request, self.reader, self.quiet = request, reader, quiet
        self._day = date_of_service(request, {})
        self._stands_alone = not (request.reports or request.documents or request.observations)
        self._observed = observed(request, reader) if request.observations else ()
        self._read_beside: Beside | None = None

    def _beside(self) -> Beside:
        """The reports and documents; they are read where a Condition takes them."""
        self._read_beside = self._read_beside or Beside(self.request, self.reader)
        return self._read_beside

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
        signs = _first_signs(own)
        return [
            documentation
            if index in self.quiet
            else self._with_record(
                documentation,
                tuple(sorted(claims - Counter(regions[index]))),
                tuple([sign for stated in signs for other, sign in stated if other != index]),
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
            clinical=clinical_status(condition),
            takes_reports=False,
            faults=(RecordFault("duplicate", entry.code_path),) if duplicate else (),
        )

    def _own(self, entry: Entry) -> Documentation:
        condition = entry.resource
        documenting = self._documenting(entry)
        readings = [self.reader.read(passage) for one in documenting for passage in self._condition_passages(one)]
        for one in documenting:
            readings += self.reader.coded(one.resource.get("code"), one.source, one.code_path)
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
            clinical=clinical_status(condition),
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
            "provider" if is_provider(condition.get("asserter") or condition.get("recorder")) else "ancillary"
        )
        recorded, status = date_in(condition.get("recordedDate")), code_of(condition.get("verificationStatus")) or None
        for expression, text in concept_texts(condition.get("code"), entry.code_path, skip_icd=True):
            yield Passage(text, entry.source, expression, author, recorded, status)
        for index, note in enumerate(condition.get("note") or ()):
            if isinstance(note.get("text"), str):
                by, at = author if note_by_provider(note) else "ancillary", f"Condition.note[{index}].text"
                yield Passage(note["text"], entry.reference, at, by, date_in(note.get("time")) or recorded, status)
        for index, evidence in enumerate(condition.get("evidence") or ()):
            for number, concept in enumerate(evidence.get("code") or ()):
                at = f"Condition.evidence[{index}].code[{number}]"
                for expression, text in concept_texts(concept, at, skip_icd=True):
                    yield Passage(text, entry.source, expression, author, recorded, status)

    def _codes(self, condition: Resource, entry: Entry) -> Iterator[RecordedCode]:
        by_hand = "asserter" in condition and is_practitioner(condition["asserter"])
        for index, coding in enumerate((condition.get("code") or {}).get("coding") or ()):
            code = coding.get("code")
            if isinstance(code, str) and code.strip():
                system, written = system_of(coding), code
                if system == "icd-10-cm":
                    code = dotted(code)
                yield RecordedCode(
                    "other" if system == "loinc" else system,
                    code,
                    f"{entry.code_path}.coding[{index}]",
                    str(coding.get("display") or ""),
                    coding.get("userSelected") is True or by_hand,
                    written,
                )

    def _sites(self, entry: Entry) -> tuple[Finding, ...]:
        found: list[Finding] = []
        for index, site in enumerate(entry.resource.get("bodySite") or ()):
            found += self._site(site, entry, f"Condition.bodySite[{index}]")
        return tuple({(f.value, f.detail): f for f in reversed(found)}.values())

    def _site(self, site: Mapping[str, Any], entry: Entry, path: str) -> list[Finding]:
        for index, coding in enumerate(site.get("coding") or ()):
            known = (
                self.reader.concepts.body_sites.get(str(coding.get("code"))) if system_of(coding) == "snomed" else None
            )
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
            for expression, text in concept_texts(site, path)
            for finding in self.reader.places(Passage(text, entry.reference, expression))
        ]

    def _named_regions(self, condition: Resource, entry: Entry) -> tuple[str, ...]:
        """Every region that the diagnosis itself names, narrowing or not."""
        found = [
            f.value
            for expression, text in concept_texts(condition.get("code"), entry.code_path, skip_icd=True)
            for f in self.reader.places(Passage(text, entry.source, expression))
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
        if claim and code_of(claim.resource.get("type")) in PROFESSIONAL:
            return False
        return self.request.inpatient

    def _discharged(self) -> bool:
        encounter = self.request.encounter
        return self.request.hook == "encounter-discharge" or bool(
            encounter and encounter.resource.get("status") == "finished"
        )

    # -- what the Conditions share

    def _with_record(
        self,
        own: Documentation,
        claimed_elsewhere: tuple[str, ...],
        signs_beside: tuple[Finding, ...],
        *,
        takes: bool,
        duplicate: bool,
    ) -> Documentation:
        told: dict[str, Any] = {"takes_reports": takes, "regions_claimed_elsewhere": claimed_elsewhere}
        told["signs_beside"] = signs_beside
        twice = (RecordFault("duplicate", own.code_path),) if duplicate else ()
        if self._stands_alone:
            return own._replace(faults=(*own.faults, *twice), **told)
        read = own._replace(readings=own.readings + self._observed, faults=(*own.faults, *twice), **told)
        if not takes:
            return read
        beside = self._beside()
        return read._replace(
            readings=(*own.readings, *beside.of_reports, *beside.of_documents, *self._observed),
            exam_places=beside.exam_places,
            imaging=beside.imaging,
            faults=(*own.faults, *beside.faults, *twice),
            imaging_encounter=self._is_imaging_encounter(),
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
        reported = {f.value for r in self._beside().of_reports for s in r.statements for f in s.regions}
        if len(spinal) == 1 or not reported:
            return spinal
        named = {i: {f.value for r in own[i].readings for f in self.reader.places(r.passage)} for i in spinal}
        return {i for i in spinal if named[i] & reported} or spinal

    def _is_imaging_encounter(self) -> bool:
        encounter = self.request.encounter
        return (
            self.request.setting == "claim"
            and encounter is not None
            and any(
                is_same(reference_in(r.resource.get("encounter")), encounter.reference) for r in self._beside().used
            )
        )


def words_of(condition: Entry) -> list[str]:
    """The words that name a diagnosis, without the titles of its ICD-10-CM codes."""
    return words_in(condition.resource.get("code"))


def words_in(code: Any) -> list[str]:
    """The same of the code element itself."""
    return [text for _, text in concept_texts(code, "", skip_icd=True)]


def is_spinal(condition: Resource) -> bool:
    return any(_SPINAL_WORDS.search(text) or find_levels(text) for _, text in concept_texts(condition.get("code"), ""))


def _family_code(documentation: Documentation) -> bool:
    return any(code.system == "icd-10-cm" and _FAMILY.match(code.code) for code in documentation.codes)


def _may_document(codes: Set[str], condition: Entry) -> bool:
    """Whether what a Condition says can stand behind a diagnosis of the claim with these codes."""
    theirs, resource = icd10cm_codes(condition.resource.get("code")), condition.resource
    is_so = code_of(resource.get("verificationStatus")) in ("", "confirmed") and not clinical_status(resource)
    return is_so and not condition.stands_in and (bool(codes & theirs) or not theirs)


def _first_signs(own: Sequence[Documentation]) -> list[list[tuple[int, Finding]]]:
    """Of each finding that is spinal by its nature the first two conditions that are called so, and are there.

    A numbness or weakness that is a problem of its own may have any cause, and what the notes of another problem say
    belongs to that problem.
    """
    signs: dict[tuple[str, str], list[tuple[int, Finding]]] = {}
    for index, documentation in enumerate(own):
        if documentation.verification in _NOT_THERE or documentation.clinical:
            continue
        for sign in documentation.findings("function", "provider", "ancillary"):
            if (
                sign.value not in _SPINAL_SIGNS
                or sign.assertion != "affirmed"
                or not _is_in(sign, documentation.code_path)
            ):
                continue
            stated = signs.setdefault((sign.value, sign.detail), [])
            if len(stated) < 2 and all(other != index for other, _ in stated):
                stated.append((index, sign))
    return list(signs.values())


def _is_in(sign: Finding, path: str) -> bool:
    return sign.evidence is not None and sign.evidence.passage.expression.startswith(path)


_SPINAL_SIGNS = frozenset({"myelopathy", "radiculopathy", "cauda-equina", "claudication", "saddle-numbness"})
_NOT_THERE = frozenset({"refuted", "entered-in-error", "unconfirmed", "differential", "provisional"})


def _regions_claimed(own: Documentation) -> set[str]:
    spoken = {region for statement in own.statements("provider") for region in statement.region_values()}
    return spoken | {finding.value for finding in own.sites}
