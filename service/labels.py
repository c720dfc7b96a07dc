"""A reading in the words of labelled texts: what is narrow, where, how surely, by what; and the document's findings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.coding.lexicon import Lexicon
from service.coding.model import Finding, Passage, Reading, Statement
from service.coding.narrative import read

SITES = frozenset({"canal", "foramen", "unspecified"})
_REGIONS = {
    "lower-extremity": "lower_extremity",
    "upper-extremity": "upper_extremity",
    "rib-cage": "rib_cage",
    "abdomen-other": "abdomen",
    "head-or-cervical": "cervical",
}
_TISSUES = {"connective": "connective_tissue", "osseous": "osseous", "disc": "disc", "subluxation": "subluxation"}
_FRAMED = {
    "spondylolisthesis": "subluxation",
    "opll": "osseous",
    "ossified-flavum": "osseous",
    "congenital": "osseous",
    "rheumatoid": "connective_tissue",
}
_MODALITIES = {
    "MR": "MRI",
    "CT": "CT",
    "XR": "XR",
    "CT-myelography": "CT+myelogram",
    "RF": "myelogram",
    "US": "US",
    "EMG": "EMG",
}
_NEURO = {
    "paresthesia": "paresthesia",
    "weakness": "weakness",
    "myelopathy": "myelopathy",
    "cauda-equina": "cauda_equina",
    "bowel-bladder": "bowel_bladder",
    "claudication": "claudication",
    "radiculopathy": "radiculopathy",
    "reflex-change": "reflex_change",
    "long-tract-signs": "reflex_change",
    "saddle-numbness": "paresthesia",
    "gait": "gait",
    "root-compression": "nerve_root_compression",
    "cord-compression": "cord_compression",
    "cord-signal-change": "cord_signal_change",
}
_CARE = {
    "physical-therapy": "physical_therapy",
    "chiropractic": "chiropractic",
    "massage": "massage",
    "medication": "medication",
    "injection": "injection",
    "brace": "brace",
    "exercise": "exercise",
    "unspecified": "unspecified",
}


def prediction(identifier: str, text: str, lexicon: Lexicon) -> dict[str, Any]:
    """One line of predictions: id, assertions and document-level findings."""
    reading = read(Passage(text, "text", "text", "report"), lexicon)
    assertions = _united(list(_assertions(reading)), reading)
    for assertion in assertions:
        del assertion["at"]
    return {"id": identifier, "assertions": assertions, "doc": _document(reading, assertions)}


def _assertions(reading: Reading) -> Iterator[dict[str, Any]]:
    for statement in reading.statements:
        if statement.narrowing == "unstated":
            continue
        for level, region in _spots(statement):
            yield {
                "level": level,
                "region": region,
                "site": _site(statement),
                "etiologies": sorted(_etiologies(statement))
                if statement.assertion in ("affirmed", "uncertain")
                else [],
                "polarity": statement.assertion,
                "strength": "explicit" if statement.narrowing == "stated" else "implied",
                "quote": statement.evidence.quote,
                "at": statement.evidence.start,
            }


def _spots(statement: Statement) -> list[tuple[str, str]]:
    if statement.levels:
        return [(level, _region_of(level)) for level in statement.levels]
    regions = [_REGIONS.get(f.value, f.value) for f in statement.regions]
    return [("", region) for region in dict.fromkeys(regions)] or [("", "unspecified")]


def _region_of(level: str) -> str:
    upper = level.split("-", maxsplit=1)[0]
    return "head" if upper == "C0" else {"C": "cervical", "T": "thoracic", "L": "lumbar", "S": "sacral"}[upper[0]]


def _site(statement: Statement) -> str:
    if statement.space:
        return statement.space.value
    return "canal" if statement.spine_only else "unspecified"


def _etiologies(statement: Statement) -> set[str]:
    named: tuple[Finding, ...] = (*statement.causes, *statement.listed)
    found = {_TISSUES[f.value] for f in named}
    return found | {_FRAMED[f.value] for f in statement.framings if f.value in _FRAMED}


def _united(assertions: list[dict[str, Any]], reading: Reading) -> list[dict[str, Any]]:
    """Findings and impression that repeat one key are one assertion; a level-less restatement is dropped (LABELS)."""
    for a in assertions:
        a["region"] = a["region"] if a["region"] != "unspecified" else _only_region(a, assertions, reading)
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for a in assertions:
        key = a["region"], a["level"], a["site"], a["polarity"]
        if key in found:
            found[key]["etiologies"] = sorted({*found[key]["etiologies"], *a["etiologies"]})
            found[key]["strength"] = "explicit" if "explicit" in (found[key]["strength"], a["strength"]) else "implied"
        else:
            found[key] = a
    return [a for key, a in found.items() if not any(_restates(key, other) for other in found)]


def _restates(key: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """'lumbar stenosis', 'the stenosis': no level or no site, and the same is said elsewhere with its place."""
    (region, level, site, polarity), (other_region, other_level, other_site, other_polarity) = key, other
    if polarity != other_polarity or region not in (other_region, "unspecified") or level not in ("", other_level):
        return False
    return not level and bool(other_level) if site == other_site else site == "unspecified"


def _only_region(a: dict[str, Any], assertions: list[dict[str, Any]], reading: Reading) -> str:
    """The region of the exam's title before it, else the only one of the document."""
    titles = [(f.evidence.start, f.value) for f in reading.of("exam_title") if f.evidence]
    before = [value for start, value in titles if start <= a["at"]]
    if before:
        return _REGIONS.get(before[-1], before[-1])
    named = {other["region"] for other in assertions if other["region"] != "unspecified"}
    named |= {_REGIONS.get(f.value, f.value) for element in ("exam_title", "exam_region") for f in reading.of(element)}
    named = named or {_REGIONS.get(f.value, f.value) for f in reading.of("root_region")}
    return next(iter(named)) if len(named) == 1 else "unspecified"


def _document(reading: Reading, assertions: list[dict[str, Any]]) -> dict[str, list[str]]:
    def values(names: dict[str, str], *elements: str) -> list[str]:
        found = [f for e in elements for f in reading.of(e) if f.assertion == "affirmed" and f.value in names]
        return sorted({part for f in found for part in names[f.value].split("+")})

    titles = {_REGIONS.get(f.value, f.value) for f in reading.of("exam_title")}
    regions = {_REGIONS.get(f.value, f.value) for f in reading.of("exam_region")}
    asserted = {a["region"] for a in assertions if a["region"] != "unspecified"}
    return {
        "modality": values(_MODALITIES, "imaging.modality", "study"),
        "exam_region": sorted(titles | asserted if titles else regions),
        "neuro": values(_NEURO, "function", "function.told"),
        "conservative": values(_CARE, "care", "care.mentioned"),
    }
