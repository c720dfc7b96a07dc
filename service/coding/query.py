"""What to ask, in which order, with which options (QUERIES: every question is a compliant clinical query).

Options about a cause or a diagnosis come only from indicators of the record; the region is an anatomical axis and falls
back on the full neutral list; where nothing supports an option the question is open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import product

from service.coding.alternatives import REGION_NAMES
from service.coding.model import REQUIRED, Assessment, Element, Evidence, Option, Query, Question
from service.coding.packs import REGIONS, Terminology

TISSUE_OPTIONS = {
    "connective": "Ligament or other connective tissue",
    "osseous": "Bone",
    "disc": "Intervertebral disc",
    "subluxation": "Vertebral subluxation",
}
SPACE_OPTIONS = {"canal": "Spinal (neural) canal", "foramen": "Intervertebral foramen"}
CERTAINTY_OPTIONS = {"confirmed": "Confirmed", "under-evaluation": "Still under evaluation", "ruled-out": "Ruled out"}
IMAGING_OPTIONS = {
    "MR": "Magnetic resonance imaging",
    "CT": "Computed tomography",
    "XR": "Plain radiograph",
    "none-performed": "None performed",
}
_DOMAINS: dict[str, tuple[str, ...]] = {
    "narrowing": ("yes", "no"),
    "space": ("canal", "foramen"),
    "tissue": (*TISSUE_OPTIONS, "unable"),
    "region": REGIONS,
    "framing": ("biomechanical", "elsewhere"),
    "certainty": ("yes", "no"),
}


def build_query(assessment: Assessment, terminology: Terminology) -> Query | None:
    """The questions of one assessment with their indicators; None where nothing is asked."""
    if not assessment.ask:
        return None
    elements = {element.name: element for element in assessment.elements}
    indicators = _indicators(assessment, elements)
    order = ordered(
        assessment.ask,
        tuple((name, elements[name].values) for name in REQUIRED if name in elements),
        tuple(_regions(elements)),
    )
    wording = terminology.main.elements
    questions = tuple(_question(name, wording[name]["asks"], elements, assessment, indicators) for name in order)
    return Query(questions, tuple(indicators))


def _indicators(assessment: Assessment, elements: Mapping[str, Element]) -> list[Evidence]:
    """The quotes that the questions rest on, each once, in order of place."""
    wanted = [name for name in REQUIRED if name in assessment.ask or name in ("narrowing", "tissue")]
    found = [e for name in wanted for e in elements[name].evidence]
    if "framing" in assessment.ask:
        found += [e for hit in assessment.hits if hit.rule.kind == "redirects" for e in hit.evidence]
    unique: dict[tuple[str, str, int, int], Evidence] = {}
    for evidence in found:
        unique.setdefault(
            (evidence.passage.source, evidence.passage.expression, evidence.start, evidence.end), evidence
        )
    return _without_contained(list(unique.values()))[:8]


def _without_contained(evidence: Sequence[Evidence]) -> list[Evidence]:
    """A quote inside a longer quote of the same text says nothing new."""
    return [
        e
        for e in evidence
        if not any(
            o is not e
            and o.passage == e.passage
            and o.start <= e.start
            and e.end <= o.end
            and o.end - o.start > e.end - e.start
            for o in evidence
        )
    ]


def _resting_on(evidence: Iterable[Evidence], indicators: Sequence[Evidence]) -> tuple[int, ...]:
    """Positions (from 1) of the indicators that hold these words."""
    found = [
        number
        for e in evidence
        for number, shown in enumerate(indicators, 1)
        if shown.passage == e.passage and shown.start <= e.start and e.end <= shown.end
    ]
    return tuple(dict.fromkeys(found))


def _question(
    name: str, text: str, elements: Mapping[str, Element], assessment: Assessment, indicators: Sequence[Evidence]
) -> Question:
    element = elements[name]
    shown = _resting_on(element.evidence, indicators) or tuple(range(1, len(indicators) + 1))[:1]
    options = _options(name, element, assessment, indicators)
    if name == "imaging.date":
        return Question(name, text, kind="date", indicators=())
    if not options or (not indicators and name != "region"):
        return Question(name, text, kind="text", indicators=shown)
    return Question(name, text, options, "choice", shown)


def _options(name: str, element: Element, assessment: Assessment, indicators: Sequence[Evidence]) -> tuple[Option, ...]:
    if name == "region":
        return _region_options(element, assessment, indicators)
    if name == "tissue":
        return _tissue_options(element, assessment, indicators)
    if name == "space":
        shown = tuple(range(1, len(indicators) + 1))[:1]
        return tuple(Option(code, text, shown) for code, text in SPACE_OPTIONS.items())
    if name == "certainty":
        shown = _resting_on(element.evidence, indicators)
        return tuple(Option(code, text, shown) for code, text in CERTAINTY_OPTIONS.items())
    if name == "imaging.modality":
        return tuple(Option(code, text) for code, text in IMAGING_OPTIONS.items())
    if name == "framing":
        return _framing_options(assessment, indicators)
    return ()


def _region_options(element: Element, assessment: Assessment, indicators: Sequence[Evidence]) -> tuple[Option, ...]:
    pointed = [value for value in _pointed_regions(element, assessment)]
    shown = _resting_on(element.evidence, indicators)
    return tuple(Option(region, _plain(region), shown if pointed else ()) for region in (pointed or REGIONS))


def _pointed_regions(element: Element, assessment: Assessment) -> list[str]:
    """The regions that the record points to, in anatomical order."""
    named = set(element.values)
    statements = assessment.documentation.statements("provider", "report")
    if not named:
        named = {f.value for s in statements if s.assertion in ("affirmed", "uncertain") for f in s.regions} | {
            f.value for f in assessment.documentation.exam_places
        }
    if "head-or-cervical" in named:
        named |= {"head", "cervical"}
    return [region for region in REGIONS if region in named]


def _plain(region: str) -> str:
    name = REGION_NAMES[region].removeprefix("the ").removeprefix("an ")
    return name[0].upper() + name[1:]


def _tissue_options(element: Element, assessment: Assessment, indicators: Sequence[Evidence]) -> tuple[Option, ...]:
    """One option for each tissue that an indicator names; several, and their combination."""
    found: dict[str, list[Evidence]] = {}
    for statement in assessment.documentation.statements("provider", "report"):
        if statement.assertion in ("affirmed", "uncertain"):
            for finding in (*statement.causes, *statement.listed):
                if finding.evidence and not finding.evidence.passage.earlier_encounter:
                    found.setdefault(finding.value, []).append(finding.evidence)
    options = [
        Option(value, TISSUE_OPTIONS[value], shown)
        for value in TISSUE_OPTIONS
        if value in found and (shown := _resting_on(found[value], indicators))
    ]
    if len(options) > 1:
        options.append(
            Option(
                "several",
                "More than one of these",
                tuple(dict.fromkeys(n for option in options for n in option.indicators)),
            )
        )
    return tuple(options)


def _framing_options(assessment: Assessment, indicators: Sequence[Evidence]) -> tuple[Option, ...]:
    """Processes that the record itself names; with none the question is open."""
    named = {
        "degenerative": "Degenerative process",
        "spondylosis": "Spondylosis or facet arthropathy",
        "after-surgery": "Related to the surgery named in the record",
        "ossified-flavum": "Ossification of the ligament",
    }
    options = []
    for statement in assessment.documentation.statements("provider"):
        for finding in statement.framings:
            shown = _resting_on([finding.evidence] if finding.evidence else [], indicators)
            if finding.value in named and shown:
                options.append(Option(finding.value, named[finding.value], shown))
    return tuple({option.code: option for option in options}.values())


# --- the order ----------------------------------------------------------------------------------------------------


def _regions(elements: Mapping[str, Element]) -> list[str]:
    values = elements["region"].values if "region" in elements else ()
    return ["head", "cervical"] if "head-or-cervical" in values else [v for v in values if v in REGIONS]


@lru_cache(maxsize=4096)
def ordered(
    ask: tuple[str, ...], documented: tuple[tuple[str, tuple[str, ...]], ...], regions: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Required elements by how few codes their answer leaves on average, then the supporting ones together."""
    required = [name for name in ask if name in REQUIRED]
    worlds = _worlds(required, dict(documented), regions)
    left = {name: _codes_left(name, worlds) for name in required}
    first = sorted(required, key=lambda name: (left[name], REQUIRED.index(name)))
    return (*first, *(name for name in ask if name not in REQUIRED))


def _worlds(
    asked: Sequence[str], documented: Mapping[str, tuple[str, ...]], regions: Sequence[str]
) -> list[tuple[dict[str, str], str]]:
    """Every way in which the asked elements may turn out, with the code that follows."""
    domains = []
    for name in REQUIRED:
        if name in asked:
            domains.append(tuple(regions) if name == "region" and len(regions) > 1 else _DOMAINS[name])
        else:
            domains.append(_settled(name, documented.get(name, ())))
    return [
        (world, _code_in(world)) for values in product(*domains) for world in [dict(zip(REQUIRED, values, strict=True))]
    ]


def _settled(name: str, values: tuple[str, ...]) -> tuple[str, ...]:
    if name == "framing":
        return (
            ("biomechanical",)
            if not values or values[0] in ("category-words", "biomechanical", "chosen-code")
            else ("elsewhere",)
        )
    if name in ("narrowing", "certainty"):
        return ("yes",)
    known = tuple(value for value in values if value in _DOMAINS[name])
    return known[:1] or _DOMAINS[name][:1]


def _code_in(world: Mapping[str, str]) -> str:
    if "no" in (world["narrowing"], world["certainty"]):
        return "none"
    if world["framing"] == "elsewhere" or world["tissue"] == "unable":
        return f"M48.0 {world['region']}"
    return f"{world['space']} {world['tissue']} {world['region']}"


def _codes_left(name: str, worlds: Sequence[tuple[dict[str, str], str]]) -> float:
    """The mean number of codes that an answer to this question leaves possible."""
    by_answer: dict[str, set[str]] = {}
    for world, code in worlds:
        by_answer.setdefault(world[name], set()).add(code)
    return sum(len(codes) for codes in by_answer.values()) / len(by_answer)
