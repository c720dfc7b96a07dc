"""Puts the words of one sentence together into statements: space, place, cause and process of each narrowing."""

from __future__ import annotations

from collections.abc import Sequence

from service.coding.assertions import Said, as_assertion, hedges_of, is_negated, said_by, said_of, then_not_now
from service.coding.causes import abnormal, framing_covers, framings_of, tissue_findings, tissues_of
from service.coding.events import Event, find_events, is_verb
from service.coding.level_causes import by_level
from service.coding.lexicon import Mention
from service.coding.model import Assertion, Evidence, Finding, Passage, Statement, Step
from service.coding.places import (
    Shares,
    is_elsewhere,
    place_findings,
    places_of,
    regions_joined,
    shares_of,
    taken,
)
from service.coding.scene import FILLERS, JOINERS, Place, Scene, labels_of, without_parts


def read_scene(scene: Scene, passage: Passage, heading: list[Place]) -> tuple[list[Statement], list[Finding]]:
    """The statements of one sentence, and the narrowings that it sets aside: another person's, planned or to come.

    `heading` holds the level in force where the sentence names none.
    """
    events = find_events(scene)
    if not events:
        return _thickening(scene, passage, heading), []
    statements, aside = [], []
    shares = shares_of(scene, events) if scene.places else {}
    for event in events:
        said, cue = _said(scene, event)
        assertion = as_assertion(said)
        if assertion is None:
            aside.append(Finding("set-aside", said, _evidence(scene, passage, event, [], "affirmed")))
        else:
            statement = _statement(scene, passage, event, events, shares, heading, assertion, cue)
            statements.extend(by_level(scene, statement))
            statements.extend(_excepted(scene, event, events, statement))
    return _without_repeats(statements), aside


def _statement(
    scene: Scene,
    passage: Passage,
    event: Event,
    events: list[Event],
    shares: Shares,
    heading: list[Place],
    assertion: Assertion,
    cue: Mention | None,
) -> Statement:
    places = without_parts(places_of(scene, event, shares)) or _operated_at(scene, event, assertion)
    if heading and all(place.root for place in places):
        places = []  # 'L4-5: fibrosis about the L5 root narrows the recess'
    used = places or list(heading)
    if is_elsewhere(scene, event):
        places, used = [], []
    elif assertion == "negated" and (exception := _exception(scene, event)):
        places = [place for place in places if place.first < exception]
        used = places
    evidence = _evidence(scene, passage, event, places, assertion)
    tissues = tissues_of(scene, passage, event, events)
    space = _space_finding(passage, event, assertion)
    return Statement(
        assertion=assertion,
        narrowing=event.narrowing,
        evidence=evidence,
        space=space,
        regions=place_findings(used, passage),
        regions_joined=regions_joined(scene, places) if places else True,
        causes=tissues.causes,
        listed=tissues.listed,
        framings=framings_of(scene, passage, event, events, tissues.causes),
        cause_uncertain=tissues.uncertain,
        levels=labels_of(used),
        spine_only=event.spine_only,
        steps=_steps(scene, event, used, tissues.steps, _cue(cue, assertion), own_places=bool(places)),
    )


_EXCEPT = frozenset({"except", "apart", "aside", "other", "save", "barring"})


def _exception(scene: Scene, event: Event) -> int:
    """Where 'except', 'apart from' and the like stand behind the event; 0 where they do not."""
    if _EXCEPT.isdisjoint(scene.said):
        return 0
    cues = (m.first for m in scene.of("contrast") if m.first > event.last and scene.words[m.first] in _EXCEPT)
    return next(cues, 0)


def _excepted(scene: Scene, event: Event, events: list[Event], denied: Statement) -> list[Statement]:
    """'No stenosis except mild at L4-5': what is denied is there where it is excepted, if no more is said."""
    start = _exception(scene, event) if denied.assertion == "negated" else 0
    if not start or any(other.trigger.first > start for other in events):
        return []
    places = [place for place in scene.places if place.first > start]
    rest = range(start + 1, len(scene.words))
    if not places or not all(_is_mere_exception(scene, p) for p in rest):
        return []
    own = denied.evidence.over(denied.evidence.start, max(place.end for place in places), "affirmed")
    return [
        denied.but(
            assertion="affirmed",
            evidence=own,
            regions=place_findings(places, own.passage),
            regions_joined=regions_joined(scene, places),
            levels=labels_of(places),
            steps=(*denied.steps, *(Step("region", "excepted", place.start, place.end) for place in places)),
        )
    ]


def _is_mere_exception(scene: Scene, position: int) -> bool:
    word = scene.words[position]
    plain = word in FILLERS or word in JOINERS or word in (".", "for", "from", "than", "that")
    return plain or scene.at(position, ("severity", "laterality", "region", "level", "contrast")) is not None


def _operated_at(scene: Scene, event: Event, assertion: Assertion) -> list[Place]:
    """'s/p lumbar laminectomy 2016 for spinal stenosis': where the operation was, the stenosis was."""
    if assertion != "historical" or "for" not in scene.said:
        return []
    done = [m.first for m in scene.of("framing") if m.value == "after-surgery" and m.last < event.first]
    return [place for place in scene.places if done and place.last + 1 == done[-1]]


def _steps(
    scene: Scene, event: Event, used: list[Place], tissues: Sequence[Step], cue: Sequence[Step], *, own_places: bool
) -> tuple[Step, ...]:
    """How the narrowing, its space, its place, its tissues and its certainty were read."""
    span, trigger = scene.span, event.trigger
    steps = [
        Step("section", span.section.name or "no heading", span.start, span.end),
        Step("narrowing", "wide enough" if event.adequate else event.narrowing, trigger.start, trigger.end),
    ]
    if event.space_value:
        space = event.space or trigger
        steps.append(Step("space", event.link, space.start, space.end))
    rule = "in the sentence" if own_places else "in force from before"
    steps += [Step("region", rule, place.start, place.end) for place in used]
    return (*steps, *tissues, *cue)


_CUE_RULES: dict[Assertion, str] = {"negated": "denied by", "uncertain": "hedged by", "historical": "past by"}


def _cue(cue: Mention | None, assertion: Assertion) -> tuple[Step, ...]:
    return (Step("assertion", _CUE_RULES[assertion], cue.start, cue.end),) if cue and assertion in _CUE_RULES else ()


def _said(scene: Scene, event: Event) -> tuple[Said, Mention | None]:
    """How the event is meant, and the cue that says so."""
    trigger = event.trigger
    if event.adequate:
        return _said_of_opening(scene, event)
    verb = is_verb(scene, trigger)
    said, cue = said_by(scene, event.first, trigger.last, is_verb=verb)
    if said == "affirmed" and event.first != trigger.first:
        said, cue = said_by(scene, trigger.first, trigger.last, is_verb=verb)
    if said == "affirmed" and event.last > trigger.last:
        beyond = said_by(scene, trigger.first, event.last)
        return beyond if beyond[0] == "negated" else (said, cue)
    return said, cue


def _said_of_opening(scene: Scene, event: Event) -> tuple[Said, Mention | None]:
    """Of 'patent' and the like: the narrowing is denied, unless the openness itself is."""
    trigger = event.trigger
    said, cue = said_by(scene, trigger.first, trigger.last)
    if said == "negated":
        return ("affirmed", cue) if _denied_itself(scene, event) else ("negated", None)
    if said in ("affirmed", "uncertain", "historical"):
        past = said == "historical" and not _WAS.isdisjoint(scene.words[: trigger.first])
        past = past or _narrowed_since(scene, trigger)
        return ("before" if past or then_not_now(scene, trigger.first) else "negated"), None
    return said, cue


_WAS = frozenset({"was", "were", "had", "previously", "formerly", "initially"})


_NOW = frozenset({"now", "today", "currently", "presently"})
_THEN = _WAS | {"before", "then", "earlier", "once"}


def _narrowed_since(scene: Scene, opening: Mention) -> bool:
    """'The foramina, of normal calibre in 2023, are now narrowed': open only then."""
    if _NOW.isdisjoint(scene.words[opening.last + 1 :]):
        return False
    near = scene.words[max(0, opening.first - 2) : opening.first] + scene.words[opening.last + 1 : opening.last + 4]
    then = not _THEN.isdisjoint(near) or any(len(word) == 4 and word.isdigit() for word in near)
    return then and any(m.first > opening.last for m in scene.of("narrowing", "mass-effect"))


def _denied_itself(scene: Scene, opening: Event) -> bool:
    """'not patent', 'no longer adequate', 'patency is lost'; in 'no stenosis, foramina patent' the no is another's."""
    start = max(0, opening.first - 4)
    turns = [p + 1 for p in range(start, opening.trigger.first) if scene.words[p] in (",", "and", "but", "with")]
    before = scene.words[turns[-1] if turns else start : opening.trigger.first]
    return not {"no", "not", "nor", "without", "never", "neither", "isn't", "aren't", "isnt", "arent"}.isdisjoint(
        before
    )


def _evidence(scene: Scene, passage: Passage, event: Event, places: list[Place], assertion: Assertion) -> Evidence:
    """The quote: from the first to the last word that takes part, inside the sentence."""
    start, end = scene.starts[event.first], scene.ends[event.last]
    for place in places:
        start, end = min(start, place.start), max(end, place.end)
    for hedge in hedges_of(scene, event.first, event.trigger.last) if assertion == "uncertain" else ():
        start, end = min(start, hedge.start), max(end, hedge.end)
    return Evidence(passage, start, end, assertion)


def _space_finding(passage: Passage, event: Event, assertion: Assertion) -> Finding | None:
    if not event.space_value:
        return None
    mention = event.space or event.trigger
    return Finding(
        "space",
        event.space_value,
        Evidence(passage, mention.start, mention.end, assertion),
        assertion,
        detail="" if mention.kind != "target" else "target",
    )


def _thickening(scene: Scene, passage: Passage, heading: list[Place]) -> list[Statement]:
    """A thickened ligament without a word on the canal: an indicator, and the question about narrowing (POLICY 2.7)."""
    thick = [
        t
        for t in scene.of("tissue")
        if t.value == "connective"
        and (not t.concept.anatomy or abnormal(scene, t))
        and not (t.concept.modifier and not abnormal(scene, t))
        and said_of(scene, t.first, t.last) == "affirmed"
        and not framing_covers(scene, t)
        and not scene.covered(t.first, t.last, "other-organ")
    ]
    if not thick:
        return _ossified(scene, passage, heading)
    places = _sites(scene, heading)
    spinal = any(
        place.labels or value in ("head", "cervical", "thoracic", "lumbar", "sacral")
        for place in places
        for value, _ in place.values
    )
    named = [t for t in thick if _spinal_tissue(scene, t) or (spinal and any(p.labels for p in places))]
    if not named:
        return _ossified(scene, passage, heading)
    listed = tissue_findings(named, passage)
    framings = tuple(f for f in _framing_findings(scene, passage))
    start, end = scene.starts[named[0].first], scene.ends[named[-1].last]
    evidence = Evidence(
        passage,
        min([start, *(p.start for p in places if p in scene.places)]),
        max([end, *(p.end for p in places if p in scene.places)]),
    )
    return [
        Statement(
            "affirmed",
            "unstated",
            evidence,
            regions=place_findings(places, passage),
            regions_joined=regions_joined(scene, [p for p in places if p in scene.places]),
            listed=listed,
            framings=framings,
            levels=labels_of(places),
        )
    ]


def _sites(scene: Scene, heading: list[Place]) -> list[Place]:
    """The places that the sentence names for what it finds, else those of its heading."""
    return [place for place in scene.places if not place.root and not taken(scene, place)] or list(heading)


def _ossified(scene: Scene, passage: Passage, heading: list[Place]) -> list[Statement]:
    """An ossified ligament named alone is a diagnosis of its own (M48.8X-)."""
    ossified = [
        m
        for m in scene.of("framing")
        if m.value in ("opll", "ossified-flavum") and said_of(scene, m.first, m.last) in ("affirmed", "uncertain")
    ]
    if not ossified:
        return []
    first, places = ossified[0], _sites(scene, heading)
    said = said_of(scene, first.first, first.last)
    evidence = Evidence(
        passage,
        min([first.start, *(p.start for p in places if p in scene.places)]),
        max([first.end, *(p.end for p in places if p in scene.places)]),
    )
    return [
        Statement(
            "uncertain" if said == "uncertain" else "affirmed",
            "unstated",
            evidence,
            regions=place_findings(places, passage),
            framings=tuple(_framing_findings(scene, passage)),
            levels=labels_of(places),
        )
    ]


def _framing_findings(scene: Scene, passage: Passage) -> list[Finding]:
    return [
        Finding("framing", m.value, Evidence(passage, m.start, m.end))
        for m in scene.of("framing")
        if m.value not in ("biomechanical", "dysfunction", "after-surgery") and not is_negated(scene, m.first, m.last)
    ]


_SPINAL_TISSUE = frozenset(
    (
        "flavum flava flaval lfh hlf longitudinal pll hpll tectorial dural yellow lf epidural meningeal cruciate "
        "alar atlantal"
    ).split()
)


def _spinal_tissue(scene: Scene, tissue: Mention) -> bool:
    return bool(set(scene.words[tissue.first : tissue.last + 1]) & _SPINAL_TISSUE)


def _without_repeats(statements: list[Statement]) -> list[Statement]:
    """One statement for each space and assertion of a sentence where the same is said twice."""
    if len(statements) < 2:
        return statements
    kept: dict[tuple[object, ...], Statement] = {}
    for statement in statements:
        key = (
            statement.space.value if statement.space else "",
            statement.assertion,
            statement.narrowing,
            statement.region_values(),
            statement.levels,
        )
        if key in kept:
            old = kept[key]
            kept[key] = old.but(causes=old.causes + tuple(c for c in statement.causes if c not in old.causes))
        else:
            kept[key] = statement
    return list(kept.values())
