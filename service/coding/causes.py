"""Which tissues and processes of a sentence cause the narrowing, and which merely stand beside it (POLICY 2.6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from service.coding.assertions import hedges_cause_only, is_negated, of_a_cause
from service.coding.events import Event, is_verb, passive
from service.coding.lexicon import Mention
from service.coding.model import Evidence, Finding, Passage, Step
from service.coding.scene import BE, FILLERS, JOINERS, OBJECTS, Place, Scene

_LINK_GAP = frozenset(
    (
        "a an the of his her its both some any combination combined bulky more mild moderate severe marked "
        "hypertrophic thickened redundant buckled localized chronic known with - : ( , and or & / also underlying "
        "associated concomitant diffuse broad based"
    ).split()
)


_STOPS = frozenset("with associated accompanied along alongside beside besides adjacent without plus".split())


class Tissues(NamedTuple):
    """Causes by words, tissues merely beside, whether the cause is hedged, and how each was linked."""

    causes: tuple[Finding, ...] = ()
    listed: tuple[Finding, ...] = ()
    uncertain: bool = False
    steps: tuple[Step, ...] = ()


_NO_TISSUES = Tissues()


def tissues_of(scene: Scene, passage: Passage, event: Event, events: list[Event]) -> Tissues:
    """The tissues of one event: linked by words, or merely beside it (POLICY section 2.6)."""
    if event.adequate or not scene.says("tissue"):
        return _NO_TISSUES
    present = [
        t
        for t in scene.of("tissue")
        if not _named_away(scene, t)
        and not is_negated(scene, t.first, t.last)
        and not _is_normal(scene, t)
        and not _is_where(scene, t)
        and not _is_cleared(scene, t)
    ]
    named = [t for t in present if scene.same_clause(t.first, event.trigger.first)]
    if not named:
        named = _of_silent_clauses(scene, present, events)
    rules = {t: rule for t in named if (rule := _link(scene, t, event, events))}
    joined = [t for t in named if t not in rules and any(_joined_to(scene, t, cause) for cause in rules)]
    rules |= dict.fromkeys(joined, "joined to a cause")
    linked = [t for t in named if t in rules]
    others = [
        t
        for t in named
        if t not in linked
        and (not t.concept.anatomy or abnormal(scene, t) or not t.concept.own_words)
        and not _tied_to_another(scene, t, event, events)
    ]
    uncertain = any(hedges_cause_only(scene, event.last, t.first, t.last) for t in linked)
    steps = [Step("tissue", rules.get(t, "beside it"), t.start, t.end) for t in (*linked, *others)]
    return Tissues(tissue_findings(linked, passage), tissue_findings(others, passage), uncertain, tuple(steps))


def _of_silent_clauses(scene: Scene, tissues: list[Mention], events: list[Event]) -> list[Mention]:
    """'Scar tethers the root; the recess is narrowed': tissues of a clause that says nothing of a space itself."""
    spoken = {scene.clauses[e.trigger.first] for e in events}
    return [
        t for t in tissues if scene.clauses[t.first] not in spoken and (not t.concept.anatomy or abnormal(scene, t))
    ]


def _tied_to_another(scene: Scene, mention: Mention, event: Event, events: list[Event]) -> bool:
    """'canal stenosis from a slip and foraminal stenosis from a spur': each cause belongs to its own narrowing."""
    links = [m for m in scene.of("link") if m.value == "because" and m.last < mention.first]
    owners = [e for e in events if links and e.trigger.last < links[-1].first]
    if not owners or event in owners[-1:] or event.trigger is owners[-1].trigger:
        return False
    owner = owners[-1]
    if event.trigger.first > mention.last:
        return "and" in scene.words[mention.last : event.trigger.first]
    return any(event.trigger.last < link.first < owner.trigger.first for link in links)


def _named_away(scene: Scene, tissue: Mention) -> bool:
    """'disc space narrowing', 'facet subluxation', 'flavum cyst': part of the name of something else."""
    if tissue.concept.anatomy and (
        scene.at(tissue.last + 1, ("growth",))
        or any(
            t.first == tissue.last + 1 and t.value != tissue.value and not t.concept.anatomy for t in scene.of("tissue")
        )
    ):
        return True
    other = scene.at(tissue.first, ("other-organ",))
    return bool(other and other.last > tissue.last) or bool(
        scene.at(tissue.first, ("framing",)) and framing_covers(scene, tissue)
    )


def framing_covers(scene: Scene, tissue: Mention) -> bool:
    """'ossification of the posterior longitudinal ligament' is a framing of its own, not a thick ligament."""
    return any(
        m.first <= tissue.first and tissue.last <= m.last and (m.last - m.first) > (tissue.last - tissue.first)
        for m in scene.of("framing")
    )


def tissue_findings(mentions: Iterable[Mention], passage: Passage) -> tuple[Finding, ...]:
    found: dict[tuple[str, str], Finding] = {}
    for mention in mentions:
        for value in mention.value.split("+"):
            detail = mention.concept.elsewhere or ("own-words" if mention.concept.own_words else "")
            found.setdefault(
                (value, detail), Finding("tissue", value, Evidence(passage, mention.start, mention.end), detail=detail)
            )
    return tuple(found.values())


def abnormal(scene: Scene, tissue: Mention) -> bool:
    """A normal structure with a word of disease close by and no other tissue between, but for what it is listed with
    ('hypertrophy of the facets and ligamentum flavum').
    """
    for word in scene.of("pathology"):
        if word.value == "normal":
            continue
        gap = (
            scene.between(tissue.last, word.first)
            if word.first > tissue.last
            else scene.between(word.last, tissue.first)
        )
        if (
            len(gap) <= 4
            and (not any(t.first in gap for t in scene.of("tissue")) or _is_list(scene, gap))
            and scene.same_clause(word.first, tissue.first)
        ):
            return True
    return _shares_disease(scene, tissue)


_DISEASES = frozenset("hypertrophy thickening overgrowth enlargement buckling infolding redundancy".split())


def _shares_disease(scene: Scene, tissue: Mention) -> bool:
    """'flavum and facet hypertrophy', 'facet/flavum thickening': the word of disease is that of both."""
    return tissue.value != "disc" and any(
        scene.words[t.last] in _DISEASES
        and not t.concept.anatomy
        and 0 < t.first - tissue.last <= 2
        and scene.words[t.first - 1] in _AND
        for t in scene.of("tissue")
    )


_AND = frozenset({"and", "&", "/", "+"})


def _is_normal(scene: Scene, tissue: Mention) -> bool:
    """'flavum there is paper thin', 'ligaments of normal thickness'."""
    found_so = (m for m in scene.of("pathology") if m.value == "normal" and m.first > tissue.last)
    return any(
        all(scene.words[p] in FILLERS or scene.words[p] in _LOOKS for p in scene.between(tissue.last, m.first))
        for m in found_so
    )


_OUT_OF = frozenset("off from out arising originating emanating".split())
_WHERE = frozenset("under underneath beneath behind below above between near along beside adjacent".split())


def _is_where(scene: Scene, tissue: Mention) -> bool:
    """'scar under the L4 lamina', 'a cyst off the left facet narrows the canal': what is named only to say where."""
    if not tissue.concept.anatomy or (_WHERE.isdisjoint(scene.said) and not scene.says("growth")):
        return False
    at = tissue.first - 1
    while at > 0 and (
        scene.word(at) in FILLERS or scene.word(at) in _OUT_OF or scene.place_at(at) or scene.at(at, ("laterality",))
    ):
        at -= 1
    grown = scene.at(at, ("growth",)) and at < tissue.first - 1
    return bool(grown) or scene.word(at) in _WHERE


def _is_cleared(scene: Scene, tissue: Mention) -> bool:
    """'The bulge does not cause the stenosis': not what narrows, nor an indicator of it."""
    if not scene.says("negation"):
        return False
    link = next((m for m in scene.of("link") if m.value == "causing" and m.first > tissue.last), None)
    if link is None or not is_negated(scene, link.first, link.last):
        return False
    gap = scene.between(tissue.last, link.first)
    return not any(m.first in gap for m in scene.of("narrowing", "mass-effect", "tissue", "contrast"))


_LOOKS = frozenset("there here look looks appear appears remains remain thin".split())


def _is_list(scene: Scene, gap: range) -> bool:
    """Nothing but tissues and what joins them, one joiner at least."""
    joined = not JOINERS.isdisjoint(scene.words[gap.start : gap.stop])
    return joined and all(
        scene.words[p] in JOINERS or scene.words[p] in FILLERS or scene.at(p, ("tissue", "laterality", "severity"))
        for p in gap
    )


def _link(scene: Scene, tissue: Mention, event: Event, events: list[Event]) -> str:
    """The rule that makes a tissue the cause; empty where none does."""
    if _acts(scene, tissue, event, events):
        return "it narrows"
    if _follows_because(scene, tissue, event) or _is_its_cause(scene, tissue, event):
        return "due to"
    if _is_called_its_cause(scene, tissue, event):
        return "called its cause"
    if _is_pointed_at(scene, tissue, event):
        return "due to it"
    return "names the narrowing" if _modifies_event(scene, tissue, event) else ""


def _acts(scene: Scene, tissue: Mention, event: Event, events: list[Event]) -> bool:
    """The tissue is the subject of the narrowing: 'thick ligament narrows the canal', '... causing stenosis'."""
    start = event.trigger.first
    if tissue.last >= start:
        return False
    causing = [m for m in scene.of("link") if m.value == "causing" and tissue.last < m.first and m.last < start]
    verb = is_verb(scene, event.trigger) and not passive(scene, event.trigger)
    if not verb and not causing:
        return False
    if _because_before(scene, tissue, start) and not causing:
        return False
    between = [
        e
        for e in events
        if e is not event
        and tissue.last < e.trigger.first
        and e.trigger.last < start
        and e.trigger is not event.trigger
    ]
    if not between:
        return True
    nearest = max(between, key=lambda e: e.trigger.last)
    nearer = any(t.first > nearest.trigger.last and t.last < start for t in scene.of("tissue"))
    return not nearer and bool(_link(scene, tissue, nearest, [e for e in events if e is not event]))


def _because_before(scene: Scene, tissue: Mention, start: int) -> bool:
    """The tissue answers an earlier 'due to' of another narrowing."""
    earlier = [m for m in scene.of("link") if m.value == "because" and m.last < tissue.first]
    return bool(earlier) and any(n.last < earlier[-1].first for n in scene.of("narrowing") if n.first < start)


def _follows_because(scene: Scene, tissue: Mention, event: Event) -> bool:
    """'stenosis due to X and Y', 'narrowed by X', 'because of X the canal is narrow'."""
    for link in scene.of("link"):
        if link.value != "because" or link.last >= tissue.first or not scene.same_clause(link.first, tissue.first):
            continue
        if not _link_governs(scene, link, tissue):
            continue
        if link.first > event.trigger.last:
            later = [m for m in scene.of("narrowing", "mass-effect") if event.trigger.last < m.first < link.first]
            if all(_coordinated(scene, event, m) for m in later):
                return True
        elif tissue.last < event.trigger.first and not any(m.last < link.first for m in scene.of("narrowing")):
            return True
    return False


_CLOSES = frozenset({"", ".", ",", ";", ")", "and", "-", "at"})


def _is_pointed_at(scene: Scene, tissue: Mention, event: Event) -> bool:
    """'Calcified flavum at T9-10, canal stenosis resulting from it': the tissue that stands before, if one does."""
    if tissue.last > event.first or (tissue.concept.anatomy and not abnormal(scene, tissue)):
        return False
    behind = (m for m in scene.of("link") if m.value == "because" and m.first > event.trigger.last)
    link = next(behind, None)
    if link is None or scene.word(link.last + 1) not in OBJECTS or scene.word(link.last + 2) not in _CLOSES:
        return False
    between = [m for m in scene.of("narrowing", "mass-effect") if tissue.last < m.first < link.first]
    return all(m is event.trigger for m in between)


def _is_its_cause(scene: Scene, tissue: Mention, event: Event) -> bool:
    """'The cause of the canal stenosis at L4-5 is a thick ligament.'"""
    said = scene.words[event.last + 1 : tissue.first]
    if not of_a_cause(scene, event.first) or BE.isdisjoint(said) or not scene.same_clause(event.last, tissue.first):
        return False
    return not any(m.first > event.last and m.last < tissue.first for m in scene.of("narrowing", "contrast", "link"))


def _is_called_its_cause(scene: Scene, tissue: Mention, event: Event) -> bool:
    """'canal stenosis at L4-5, a thick flavum being the main cause', 'a tight canal, where it is the culprit'."""
    if tissue.last < event.trigger.last or (tissue.concept.anatomy and not abnormal(scene, tissue)):
        return False
    at = tissue.last + 1
    while scene.word(at) in _CALLED or scene.at(at, ("pathology",)):
        at += 1
    if at == tissue.last + 1 or scene.word(at) not in _CULPRITS or scene.word(at + 1) in ("of", "for"):
        return False
    return not any(event.trigger.last < m.first < at for m in scene.of("narrowing", "mass-effect"))


_CALLED = BE | frozenset(
    (
        "being as the its a main chief principal primary major dominant leading sole only other another also minor "
        "lesser"
    ).split()
)
_CULPRITS = frozenset("cause causes culprit culprits offender offenders contributor contributors driver".split())


def _link_governs(scene: Scene, link: Mention, tissue: Mention) -> bool:
    """Between 'due to' and the tissue stand only modifiers and tissues that are joined to it."""
    position, strange = link.last + 1, 0
    while position < tissue.first:
        inner = scene.at(position, ("tissue", "pathology", "severity", "laterality", "framing", "hedge"))
        word, place = scene.words[position], scene.place_at(position)
        repeated = word == "to" and scene.words[position - 1] in _AND  # 'due to the slip and to thick ligaments'
        if not inner and not repeated and word not in _LINK_GAP and not word.endswith("ed") and not place:
            strange += 1
            if strange > 1 or not word.isalpha() or word in _NO_ADJECTIVE or word in FILLERS:
                return False
        if word in _STOPS - {"plus"} and not _together(scene, position):
            return False
        if (
            place
            and not scene.covered(link.last + 1, position, "tissue")
            and not _names_the_tissue(scene, place, tissue)
        ):
            return False
        position = (inner.last if inner else place.last if place else position) + 1
    return True


# Words of which one may not stand between 'due to' and its tissue; any other may be an adjective ('soft', 'uncinate').
_NO_ADJECTIVE = frozenset(
    (
        "but for as if not no nor so then than when where while although however since because after before during "
        "stenosis narrowing canal foramen patient pain history she he they we i which who what"
    ).split()
)


def _names_the_tissue(scene: Scene, place: Place, tissue: Mention) -> bool:
    """'from T7-8 disc extrusion': the level is the tissue's own."""
    return all(
        scene.at(p, ("severity", "laterality", "pathology")) or scene.words[p] in ("level",)
        for p in range(place.last + 1, tissue.first)
    )


def _together(scene: Scene, position: int) -> bool:
    return any(
        scene.words[p] in ("together", "combined", "along")
        for p in range(max(0, position - 1), min(len(scene.words), position + 2))
    )


def _coordinated(scene: Scene, event: Event, other: Mention) -> bool:
    gap = {scene.words[p] for p in scene.between(event.trigger.last, other.first)}
    if any(m.value == "because" and event.trigger.last < m.first < other.first for m in scene.of("link")):
        return False
    return not gap & {"but", "without", "no", "with"} or "and" in gap


def _modifies_event(scene: Scene, tissue: Mention, event: Event) -> bool:
    """'ligamentous stenosis', 'stenosis of the neural canal, connective tissue', '(fibrous)'."""
    if not tissue.concept.modifier or event.trigger.kind != "narrowing":
        return False
    if tissue.concept.own_words and scene.covered(tissue.last + 1, tissue.last + 1, "pathology"):
        return False
    if tissue.last < event.trigger.first:
        return all(_light(scene, p, event) for p in range(tissue.last + 1, event.trigger.first))
    gap = list(range(event.trigger.last + 1, tissue.first))
    if [scene.words[p] for p in gap] == ["of"] and tissue.concept.own_words:
        return True
    end = scene.words[tissue.last + 1] if tissue.last + 1 < len(scene.words) else "."
    closes = (
        end
        in (
            ",",
            ")",
            ".",
            ";",
            "-",
            "/",
            "and",
            "or",
            "origin",
            "type",
            "etiology",
            "in",
            "nature",
            "cause",
            ":",
            "+",
            "related",
            "mediated",
            "caused",
            "induced",
        )
        or scene.place_at(tissue.last + 1) is not None
    )
    comma = any(scene.words[p] in (",", "(", "-", ":", "–") for p in gap) or end in (
        "origin",
        "type",
        "etiology",
        "related",
        "mediated",
        "caused",
        "induced",
    )
    return (
        closes
        and comma
        and all(_light(scene, p, event) or scene.words[p] in (",", "(", "-", ":", ")", "–") for p in gap)
    )


def _light(scene: Scene, position: int, event: Event) -> bool:
    if scene.at(
        position, ("severity", "laterality", "region", "level", "space", "tissue", "framing", "modality", "pathology")
    ):
        return not (scene.at(position, ("pathology",)) and position < event.trigger.first)
    return scene.words[position] in FILLERS | JOINERS | {"-", "neural", "(", ")", "not"} and scene.words[
        position
    ] not in ("with", "seen", "noted", "there")


def _joined_to(scene: Scene, tissue: Mention, cause: Mention) -> bool:
    """Listed together with a cause: 'X, Y and Z narrow the canal'."""
    low, high = sorted((tissue, cause), key=lambda m: m.first)
    gap = range(low.last + 1, high.first)
    if any(scene.covered(p, p, "narrowing", "mass-effect") for p in gap):
        return False
    words = [scene.words[p] for p in gap]
    tied = set(words) & {"and", "&", "/", "+", "or", "plus", "together", "combined", "alongside"} or words == [","]
    return bool(tied) and all(
        word in JOINERS | {"with", "combined", "alongside", "a", "an", "the"}
        or bool(scene.at(p, ("tissue", "pathology", "severity", "laterality")))
        for p, word in zip(gap, words, strict=True)
    )


def framings_of(
    scene: Scene, passage: Passage, event: Event, events: list[Event], causes: Sequence[Finding]
) -> tuple[Finding, ...]:
    """Processes named in the clause of the statement, and the category's own words (POLICY section 2.2)."""
    found = []
    for mention in scene.of("framing"):
        if mention.value in ("biomechanical", "dysfunction") or is_negated(scene, mention.first, mention.last):
            continue
        if _names_a_tissue(scene, mention) or _tied_to_another(scene, mention, event, events):
            continue
        value = surgery_value(scene, mention) if mention.value == "after-surgery" else mention.value
        if value and _of_this_clause(scene, mention, event) and not _long_ago(scene, mention):
            found.append(Finding("framing", value, Evidence(passage, mention.start, mention.end)))
    own = [f for f in causes if f.detail == "own-words" and _is_category_wording(scene, f, event)]
    if own and event.space_value:
        words = _space_words(scene, event)
        found.append(Finding("framing", "category-words", own[0].evidence, own[0].assertion, words))
    return tuple(found)


def _names_a_tissue(scene: Scene, mention: Mention) -> bool:
    """'degeneration' in 'disc degeneration' is part of the tissue's name."""
    return any(
        t.first <= mention.first and mention.last <= t.last and t.last - t.first > mention.last - mention.first
        for t in scene.of("tissue")
    )


def _is_category_wording(scene: Scene, cause: Finding, event: Event) -> bool:
    """'connective tissue stenosis', 'stenosis due to connective tissue'; what narrows or is narrowed is no title."""
    if event.trigger.value != "stenosis" or is_verb(scene, event.trigger):
        return False
    named = [t for t in scene.of("tissue") if cause.evidence and t.start == cause.evidence.start]
    direct = any(_modifies_event(scene, tissue, event) for tissue in named)
    titled = scene.words[event.trigger.last] not in ("narrowed", "stenosed")
    return direct or (cause.value == "connective" and titled)


def _space_words(scene: Scene, event: Event) -> str:
    return " ".join(scene.words[event.space.first : event.space.last + 1]) if event.space else ""


def _of_this_clause(scene: Scene, mention: Mention, event: Event) -> bool:
    """In the clause of the statement, or in one that states nothing else ('DISH; flowing bone narrows ...')."""
    if scene.same_clause(mention.first, event.trigger.first):
        return True
    clause = scene.clauses[mention.first]
    return clause < scene.clauses[event.trigger.first] and not any(
        scene.clauses[m.first] == clause for m in scene.of("narrowing", "mass-effect", "contrast")
    )


def _long_ago(scene: Scene, mention: Mention) -> bool:
    """Only a current injury is classified to chapter 19 (Guidelines I.C.13.b)."""
    words = set(scene.words[max(0, mention.first - 4) : min(len(scene.words) - 1, mention.last + 5) + 1])
    return mention.value == "traumatic" and bool(
        words & {"old", "remote", "healed", "chronic", "prior", "previous", "ago", "history", "past", "childhood"}
    )


def surgery_value(scene: Scene, surgery: Mention) -> str:
    """'post-surgical' where the text ties the finding to the operation, 'after-surgery' where it only comes later."""
    for link in scene.of("link"):
        gap = range(link.last + 1, surgery.first)
        if link.value == "because" and 0 < len(gap) + 1 <= 6 and not any(t.first in gap for t in scene.of("tissue")):
            return "post-surgical"
    return "after-surgery" if any(0 <= surgery.first - cue.last <= 6 for cue in scene.of("after")) else ""
