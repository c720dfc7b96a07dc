"""The supporting elements: imaging, function and care. Their absence never makes a code invalid (Guidelines I.A.19)."""

from __future__ import annotations

from collections.abc import Sequence, Set

from service.coding.matters import agree
from service.coding.model import Documentation, Element, Evidence, Finding
from service.coding.weighing import Weighed

_IMAGES = ("MR", "CT", "CT-myelography", "XR", "RF", "US", "NM")


def supporting_elements(documentation: Documentation, weighed: Sequence[Weighed]) -> dict[str, Element]:
    """imaging.modality, imaging.date, imaging.finding, function and care with status, values and evidence."""
    imaging = _imaging(documentation, weighed)
    return {
        **imaging,
        "function": _function(documentation),
        "care": _element("care", documentation.findings("care", "provider", "ancillary")),
    }


def _imaging(documentation: Documentation, weighed: Sequence[Weighed]) -> dict[str, Element]:
    told = [f for f in documentation.findings("imaging.modality", "provider", "report") if f.value in _IMAGES]
    regions = {f.value for w in weighed for f in (*w.regions, *w.hinted_regions)}
    from_reports = [f for f in documentation.imaging if _supports(f, regions)]
    modality = [f for f in from_reports if f.element == "imaging.modality"] + told
    dates = [f for f in from_reports if f.element == "imaging.date"] + [
        f for f in documentation.findings("imaging.date", "provider") if f.element
    ]
    noted = [f for f in _told_findings(documentation, weighed) if _supports(f, regions)]
    findings = [f for f in from_reports if f.element == "imaging.finding"] + noted
    none = documentation.findings("imaging.none", "provider")
    if none and not modality:
        denied = tuple(f.evidence for f in none if f.evidence)
        return {
            name: Element(name, "negated", (), denied)
            for name in ("imaging.modality", "imaging.date", "imaging.finding")
        }
    return {
        "imaging.modality": _element("imaging.modality", modality),
        "imaging.date": _element("imaging.date", dates),
        "imaging.finding": _element("imaging.finding", findings),
    }


def _supports(finding: Finding, regions: Set[str]) -> bool:
    """Imaging of the region in question; `detail` names the regions examined, none where the report does not say."""
    examined = finding.detail.split()
    return not examined or not regions or agree(examined, regions)


def _told_findings(documentation: Documentation, weighed: Sequence[Weighed]) -> list[Finding]:
    """The provider's own words tell what an imaging shows where the same text names the imaging."""
    told = {
        f.evidence.passage
        for f in documentation.findings("imaging.modality", "provider")
        if f.evidence and f.value in _IMAGES
    }
    diagnoses = [w.statement for w in weighed if w.statement.evidence.passage in told]
    found = [
        Finding("imaging.finding", cause.value, cause.evidence)
        for statement in diagnoses
        for cause in (statement.causes or statement.listed)[:1]
    ]
    apart = told.difference(w.statement.evidence.passage for w in weighed)  # notes beside the diagnosis
    return found + [
        Finding("imaging.finding", s.narrowing, s.evidence, detail=" ".join(sorted(s.region_values())))
        for s in documentation.statements("provider")
        if s.evidence.passage in apart and s.assertion == "affirmed"
    ]


def _function(documentation: Documentation) -> Element:
    found = documentation.findings("function", "provider", "ancillary")
    affirmed = [f for f in found if f.assertion == "affirmed"] or documentation.signs_beside
    if affirmed:
        return _element("function", affirmed)
    denied: tuple[Evidence, ...] = tuple(f.evidence for f in found if f.evidence)
    return Element("function", "negated" if denied else "missing", (), denied)


def _element(name: str, findings: Sequence[Finding]) -> Element:
    if not findings:
        return Element(name, "missing")
    values = tuple(dict.fromkeys(f.value for f in findings))
    return Element(name, "documented", values, tuple(dict.fromkeys(f.evidence for f in findings if f.evidence)))
