"""Codes other than ICD-10-CM that the record may carry: SNOMED CT, LOINC imaging reports, DICOM modalities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from service.coding.yaml_strict import load_yaml

SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
DICOM = "http://dicom.nema.org/resources/ontology/DCM"
_ICD10CM = frozenset(
    {
        "http://hl7.org/fhir/sid/icd-10-cm",
        "https://hl7.org/fhir/sid/icd-10-cm",
        "urn:oid:2.16.840.1.113883.6.90",
        "2.16.840.1.113883.6.90",
    }
)
_SNOMED = frozenset({SNOMED, "https://snomed.info/sct", "urn:oid:2.16.840.1.113883.6.96", "2.16.840.1.113883.6.96"})
_LOINC = frozenset({LOINC, "https://loinc.org", "urn:oid:2.16.840.1.113883.6.1"})
_OTHER_ICD = (
    "icd-10",
    "icd-9",
    "icd10",
    "icd9",
    "2.16.840.1.113883.6.3",
    "2.16.840.1.113883.6.42",
    "2.16.840.1.113883.6.103",
    "2.16.840.1.113883.6.104",
)


@dataclass(frozen=True)
class Concepts:
    """The tables of `terminology/concepts/`."""

    findings: Mapping[str, Mapping[str, Any]]
    body_sites: Mapping[str, Mapping[str, Any]]
    imaging_reports: Mapping[str, Mapping[str, Any]]
    modalities: Mapping[str, Mapping[str, Any]]


def load_concepts(folder: Path) -> Concepts:
    snomed, loinc = load_yaml(folder / "snomed-ct.yaml"), load_yaml(folder / "loinc-imaging.yaml")
    dicom = load_yaml(folder / "dicom-modality.yaml")
    return Concepts(snomed["findings"], snomed["body_sites"], loinc["reports"], dicom["modalities"])


def system_of(coding: Mapping[str, Any]) -> str:
    """icd-10-cm, snomed, loinc, other-icd or other; versions behind '|' and stray blanks are forgiven."""
    return _system_named(str(coding.get("system") or ""))


@lru_cache(maxsize=256)
def _system_named(written: str) -> str:
    system = "".join(written.split()).split("|")[0].rstrip("/").lower()
    if system in _ICD10CM:
        return "icd-10-cm"
    if system in _SNOMED or system.startswith(SNOMED + "/"):
        return "snomed"
    if system in _LOINC:
        return "loinc"
    return "other-icd" if any(name in system for name in _OTHER_ICD) else "other"
