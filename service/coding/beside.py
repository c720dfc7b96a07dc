"""Findings beside the statements: imaging with its date, neurological and functional findings, care, framing."""

from __future__ import annotations

from collections.abc import Iterator

from service.coding.assertions import is_negated, said_of
from service.coding.causes import abnormal, framing_covers, surgery_value, tissue_findings
from service.coding.dates import find_dates
from service.coding.events import passive
from service.coding.levels import SPOKEN
from service.coding.lexicon import Mention
from service.coding.model import Assertion, Evidence, Finding, Passage
from service.coding.scene import FILLERS, Place, Scene


def findings(scene: Scene, passage: Passage) -> list[Finding]:
    """All findings of a sentence; in sections that do not count only what was imaged is taken."""
    counts, is_finding = scene.span.section.counts, scene.span.section.is_finding
    found: list[Finding] = []
    for kind in scene.kinds:
        if kind in _BESIDE:
            for read_here, where in _BESIDE[kind]:
                if is_finding or counts in where:
                    found.extend(read_here(scene, passage))
    if scene.places and (is_finding or counts in _EXAMINED):
        found.extend(_examined(scene, passage))
    return found


_EXAMINED = frozenset({"brief", "other"})


def _imaging(scene: Scene, passage: Passage) -> Iterator[Finding]:
    for mention in scene.of("modality"):
        if _not_done(scene, mention):
            continue
        if mention.value == "EMG":  # electrodiagnostics show the nerve, not the space
            yield _finding("study", mention.value, mention, passage)
            continue
        yield _finding("imaging.modality", mention.value, mention, passage)
        dates = _dates_near(scene, mention)
        if dates:
            start, end, date = min(dates, key=lambda d: (d[0] < mention.start, abs(d[0] - mention.end)))
            yield Finding("imaging.date", date, Evidence(passage, start, end))
        elif "today" in scene.said and passage.date:
            yield Finding("imaging.date", passage.date, Evidence(passage, mention.start, mention.end))


def _dates_near(scene: Scene, mention: Mention) -> list[tuple[int, int, str]]:
    """Dates that begin at most 60 characters behind the mention or end at most 25 before it."""
    if not any(len(word) > 1 and word[0].isdigit() for word in scene.words):  # as each date has
        return []
    start, end = max(scene.span.start, mention.start - 45), min(scene.span.end, mention.end + 80)
    start = max(start, scene.text.rfind(";", start, mention.start))  # 'fused in 2019; current MRI shows ...'
    found = find_dates(scene.text, start, end)
    return [date for date in found if abs(date[0] - mention.end) <= 60 or abs(mention.start - date[1]) <= 25]


def _not_imaged(scene: Scene, passage: Passage) -> Iterator[Finding]:
    return (_finding("imaging.none", "none", mention, passage) for mention in scene.of("no-imaging"))


def _examined(scene: Scene, passage: Passage) -> Iterator[Finding]:
    """Regions that an exam's name or a level of a finding names."""
    with_levels = any(place.labels for place in scene.places)
    for place in scene.places:
        if place.root:
            yield Finding("root_region", place.values[0][0], Evidence(passage, place.start, place.end))
            continue
        titled = not place.labels and (_names_an_exam(scene, place) if with_levels else scene.says("modality"))
        yield from (
            Finding(
                "exam_title" if titled else "exam_region",
                region,
                Evidence(passage, place.start, place.end),
                detail=junction,
            )
            for region, junction in place.values
        )


def _names_an_exam(scene: Scene, place: Place) -> bool:
    """'CT cervical spine: canal maintained, C5-6 facet arthropathy', 'MRI scan of the neck, which shows C4-5 ...'."""
    gaps = (
        scene.between(m.last, place.first) if m.first < place.first else scene.between(place.last, m.first)
        for m in scene.of("modality")
    )
    return any(all(scene.words[p] in FILLERS or scene.words[p] in _EXAMS for p in gap) for gap in gaps)


_EXAMS = frozenset("scan scans study images image imaging exam examination".split())


def _not_done(scene: Scene, mention: Mention) -> bool:
    """Ordered, pending or recommended; denied; another person's."""
    near = [
        m for m in scene.of("imaging-planned") if 0 < m.first - mention.last <= 4 or 0 < mention.first - m.last <= 4
    ]
    if near or scene.covered(mention.first, mention.last, "no-imaging"):
        return True
    return said_of(scene, mention.first, mention.last) in ("other", "planned") or _no(scene, mention)


def _no(scene: Scene, mention: Mention) -> bool:
    before = scene.words[mention.first - 1] if mention.first else ""
    return before in ("no", "without", "prior") and before != "prior"


def _functions(scene: Scene, passage: Passage) -> Iterator[Finding]:
    element = "function" if scene.span.section.is_finding else "function.told"
    for mention in scene.of("function"):
        if "change" in mention.concept.needs_near and _is_called_normal(scene, mention):
            continue
        said = said_of(scene, mention.first, mention.last)
        if said == "negated" and _is_altered(scene, mention):
            said = "affirmed"
        if said in ("affirmed", "negated"):
            yield Finding(
                element,
                mention.value,
                Evidence(passage, mention.start, mention.end, said),
                said,
                mention.concept.safety,
            )


def _is_called_normal(scene: Scene, mention: Mention) -> bool:
    """In 'gait normal, clonus absent' the absence is not that of the gait."""
    beside = (
        scene.between(m.last, mention.first) if m.last < mention.first else scene.between(mention.last, m.first)
        for m in scene.of("adequate")
    )
    return any(all(scene.words[p] in FILLERS for p in gap) for gap in beside)


def _intact(scene: Scene, passage: Passage) -> Iterator[Finding]:
    """'Strength 5/5', 'sensation intact': examined, and found as it should be."""
    for mention in scene.of("intact"):
        found_so = said_of(scene, mention.first, mention.last) == "affirmed" and _is_as_it_should_be(scene, mention)
        if found_so and not scene.covered(mention.first, mention.last, "function"):
            yield _finding("function", mention.value, mention, passage, "negated")


def _is_as_it_should_be(scene: Scene, mention: Mention) -> bool:
    """The word that says so is about this sign ('canal normal, strength decreased') and is not denied."""
    if not mention.concept.needs_near:
        return True
    said = [
        m for m in scene.of("adequate") if "," not in (scene.words[p] for p in scene.between(m.first, mention.last))
    ]
    return any(abs(m.first - mention.last) <= 6 and not is_negated(scene, m.first, m.last) for m in said)


def _is_altered(scene: Scene, mention: Mention) -> bool:
    """In 'knee jerk absent' the absence is the finding."""
    changes = {m.last for m in scene.of("change")}
    denials = [m for m in scene.of("negation") if abs(m.first - mention.first) <= 6]
    return "change" in mention.concept.needs_near and all(m.last in changes for m in denials)


def _pressures(scene: Scene, passage: Passage) -> Iterator[Finding]:
    """A nerve root or the cord that something presses on is a neurological finding of the report."""
    targets = [m for m in scene.of("target") if m.value == "root" or "cord" in scene.words[m.first : m.last + 1]]
    for trigger in scene.of("mass-effect") if targets else ():
        if said_of(scene, trigger.first, trigger.last) != "affirmed":
            continue
        for target in targets:
            if _pressed(scene, trigger, target):
                value = "root-compression" if target.value == "root" else "cord-compression"
                yield _finding("function", value, target, passage)


def _pressed(scene: Scene, trigger: Mention, target: Mention) -> bool:
    """The target follows the pressure, or stands before it in the passive or as part of its name."""
    gap = (
        scene.between(trigger.last, target.first)
        if target.first > trigger.last
        else scene.between(target.last, trigger.first)
    )
    if not scene.same_clause(trigger.first, target.first) or any(m.first in gap for m in scene.of("mass-effect")):
        return False
    apart = [p for p in gap if not scene.place_at(p) and scene.words[p] not in FILLERS]
    if target.first > trigger.last:
        return len(apart) <= 6 and not any(scene.words[p] in (".", "without", "no") for p in gap)
    return len(apart) <= 3 and (passive(scene, trigger) or trigger.value == "noun" or len(gap) <= 1)


def _companions(scene: Scene, passage: Passage) -> Iterator[Finding]:
    """A neurological condition attributed to the narrowing ("causing radiculopathy", "myelopathy due to stenosis")."""
    for mention in scene.of("function"):
        if (
            mention.value in ("radiculopathy", "myelopathy", "cauda-equina")
            and said_of(scene, mention.first, mention.last) == "affirmed"
            and _attributed(scene, mention)
        ):
            yield _finding("companion", mention.value, mention, passage)


def _attributed(scene: Scene, mention: Mention) -> bool:
    narrow = scene.of("narrowing")
    caused = any(
        m.value == "causing" and 0 < mention.first - m.last <= 5 and any(n.last < m.first for n in narrow)
        for m in scene.of("link")
    )
    because = any(
        m.value == "because" and 0 < m.first - mention.last <= 4 and any(0 < n.first - m.last <= 6 for n in narrow)
        for m in scene.of("link")
    )
    return caused or because


def _care(scene: Scene, passage: Passage) -> Iterator[Finding]:
    """Conservative care that was given or tried, and apart from it what is planned or only listed."""
    to_come = scene.span.section.counts in ("plan", "indication", "other")
    for mention in scene.of("care"):
        said = said_of(scene, mention.first, mention.last)
        if said in ("affirmed", "historical") and not to_come:
            yield _given(scene, mention, passage)
        elif said not in ("negated", "other"):
            yield _finding("care.mentioned", mention.value, mention, passage)


def _given(scene: Scene, care: Mention, passage: Passage) -> Finding:
    """A treatment with how long and with what success: 'failed 6 weeks of PT', '10 visits without relief'."""
    first, last, told = care.first, care.last, list[str]()
    for response in scene.of("response"):
        if scene.same_clause(response.first, care.first) and _words_apart(response, care) <= 6:
            first, last = min(first, response.first), max(last, response.last)
            told.append(response.value)
    for p in range(max(0, care.first - 6), min(len(scene.words) - 1, care.last + 6)):
        if scene.words[p + 1] in _PERIODS and (scene.words[p][0].isdigit() or scene.words[p] in SPOKEN):
            first, last = min(first, p), max(last, p + 1)
            told.append(f"{scene.words[p]} {scene.words[p + 1]}")
    evidence = Evidence(passage, scene.starts[first], scene.ends[last])
    return Finding("care", care.value, evidence, detail=", ".join(dict.fromkeys(told)))


_PERIODS = frozenset(
    "day days week weeks wk wks month months mo mos year years yr yrs visit visits session sessions".split()
)


def _words_apart(one: Mention, other: Mention) -> int:
    return max(one.first - other.last, other.first - one.last)


def _framing(scene: Scene, passage: Passage) -> Iterator[Finding]:
    """Biomechanical as the provider says it, and other processes that may matter to the question."""
    for mention in scene.of("framing"):
        said = said_of(scene, mention.first, mention.last)
        value = _process(scene, mention)
        if value in ("after-surgery", "post-surgical") and said == "historical":
            said = "affirmed"  # an operation is always past
        if value and (said == "affirmed" or said == "uncertain" or said == "negated"):
            yield Finding("framing", value, Evidence(passage, mention.start, mention.end, said), said)


def _process(scene: Scene, mention: Mention) -> str:
    """The process that a word names here; empty where it names none."""
    if mention.value == "dysfunction":
        return "biomechanical" if _is_cause(scene, mention) else ""
    if mention.value != "after-surgery":
        return mention.value
    planned = any(-4 <= m.first - mention.first <= 6 for m in scene.of("imaging-planned", "plan"))
    return "" if planned else surgery_value(scene, mention) or "after-surgery"


def _is_cause(scene: Scene, mention: Mention) -> bool:
    """Segmental dysfunction counts only where it is stated as the cause (POLICY section 2.2)."""
    before = [m for m in scene.of("link") if m.value == "because" and 0 < mention.first - m.last <= 6]
    after = [m for m in scene.of("link") if m.value == "causing" and 0 < m.first - mention.last <= 8]
    narrows = [m for m in scene.of("narrowing") if m.value == "verb" and 0 < m.first - mention.last <= 8]
    return bool(before or after or narrows)


def abnormal_tissues(scene: Scene, passage: Passage) -> tuple[Finding, ...]:
    """The tissues that a sentence finds abnormal, whatever it says of the canal."""
    found = [
        t
        for t in scene.of("tissue")
        if (not t.concept.anatomy or abnormal(scene, t))
        and not (t.concept.modifier and not abnormal(scene, t))
        and not framing_covers(scene, t)
        and said_of(scene, t.first, t.last) == "affirmed"
    ]
    return tissue_findings(found, passage)


def stated_causes(scene: Scene, passage: Passage) -> tuple[Finding, ...]:
    """'Cause: thickened ligamentum flavum.' 'This is due to fibrosis.' -- the cause of the statement before."""
    opening = set(scene.words[:4])
    links = [m for m in scene.of("link") if m.value == "because" and m.first <= 4]
    if not links and not opening & {"cause", "etiology", "aetiology", "origin", "tissue"}:
        return ()
    tissues = [
        t
        for t in scene.of("tissue")
        if (not t.concept.anatomy or t.concept.modifier or abnormal(scene, t) or links)
        and said_of(scene, t.first, t.last) == "affirmed"
        and (not links or scene.same_clause(links[0].first, t.first))
    ]
    return tissue_findings(tissues, passage)


def _finding(
    element: str, value: str, mention: Mention, passage: Passage, assertion: Assertion = "affirmed"
) -> Finding:
    return Finding(element, value, Evidence(passage, mention.start, mention.end, assertion), assertion)


def _undetermined(scene: Scene, passage: Passage) -> Iterator[Finding]:
    return (_finding("undetermined", "undetermined", mention, passage) for mention in scene.of("undetermined"))


# What is read from which mention, and in which sections that are no findings.
_NOWHERE: frozenset[str] = frozenset()
_BESIDE = {
    "modality": ((_imaging, frozenset({"brief", "history", "other"})),),
    "no-imaging": ((_not_imaged, frozenset({"brief", "history", "other"})),),
    "framing": ((_framing, _NOWHERE),),
    "function": (
        (_functions, frozenset({"brief", "history", "indication", "plan", "other"})),
        (_companions, _NOWHERE),
    ),
    "intact": ((_intact, _NOWHERE),),
    "mass-effect": ((_pressures, _NOWHERE),),
    "undetermined": ((_undetermined, _NOWHERE),),
    "care": ((_care, frozenset({"brief", "history", "indication", "plan", "other"})),),
}
