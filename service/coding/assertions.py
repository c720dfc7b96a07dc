"""Who says it of whom, and how surely: negation, hedging, history, plans, other people (POLICY section 4).

A cue reaches to the end of its clause. It stops earlier where the sentence turns to something else: at a comma
followed by a new assertion, at a contrast, at a word that says the thing is there.
"""

from __future__ import annotations

from typing import Literal

from service.coding.dates import DATE
from service.coding.lexicon import Mention
from service.coding.model import Assertion
from service.coding.scene import FILLERS, JOINERS, Place, Scene

Said = Literal["affirmed", "negated", "uncertain", "historical", "planned", "other", "before"]
_LISTS = frozenset(
    "no without denies denied deny w negative neg neither nor absence free not never rules excludes".split()
)
_NEW_ASSERTION = frozenset(
    (
        "is are there shows showed demonstrates has have was were remains with but which patient pt noted seen "
        "reveals causing present continue continues start starts started"
    ).split()
)
_AFTER_REACH, _NOT_REACH = 8, 6
_SHORT_REACH = frozenset({"not", "absent"})


def said_of(scene: Scene, first: int, last: int, *, is_verb: bool = False) -> Said:
    """How the words at positions first..last are meant."""
    return said_by(scene, first, last, is_verb=is_verb)[0]


def said_by(scene: Scene, first: int, last: int, *, is_verb: bool = False) -> tuple[Said, Mention | None]:
    """How the words at positions first..last are meant, and the cue that says so."""
    if _was_once(scene, first):
        return "historical", None
    if not scene.says("negation", "hedge", "historical", "plan", "other-person", "hearsay"):
        operation = _operated_for(scene, first) or _operated_since(scene, first, last)
        return ("historical", operation) if operation else ("affirmed", None)
    if cue := _other_person(scene, first):
        return "other", cue
    if cue := _denial(scene, first, last, is_verb=is_verb):
        return "before" if then_not_now(scene, first) or _is_copied(scene, first) else "negated", cue
    if cue := _past(scene, first, last):
        return "historical", cue
    if cue := _governed(scene, first, "plan"):
        return "planned", cue
    if hedges := hedges_of(scene, first, last):
        return "uncertain", hedges[0]
    return "affirmed", None


def _was_once(scene: Scene, first: int) -> bool:
    """'In 2016 there was canal stenosis', 'had been narrowed': of another time, and not called still so."""
    if "had" in scene.said and _had_been(scene, first):
        return _now(scene, first) != "persists"
    if "there" not in scene.said:
        return False
    words = [word for p, word in enumerate(scene.words[:first]) if scene.same_clause(p, first)]
    if "there" not in words[:-1] or words[words.index("there") + 1] not in ("was", "were"):
        return False
    dated = any(len(word) == 4 and word.startswith(("19", "20")) and word.isdigit() for word in words)
    return dated and not any(word in ("no", "not") for word in words) and not _now(scene, first)


def _had_been(scene: Scene, first: int) -> bool:
    before = scene.words[max(0, first - 2) : first]
    return before == ["had", "been"] and scene.at(first, ("narrowing", "mass-effect")) is not None


def as_assertion(said: Said) -> Assertion | None:
    """The assertion of a finding; None where it is not about this patient now."""
    return None if said == "planned" or said == "other" or said == "before" else said


def is_negated(scene: Scene, first: int, last: int, *, is_verb: bool = False) -> bool:
    return _denial(scene, first, last, is_verb=is_verb) is not None


def _denial(scene: Scene, first: int, last: int, *, is_verb: bool) -> Mention | None:
    for cue in scene.of("negation"):
        scope = cue.concept.scope
        reaches = scope == "after" and cue.last < first and _reaches(scene, cue, first, is_verb=is_verb)
        if reaches and not _is_aside(scene, cue, first) and not _denies_cause(scene, cue, first, last):
            return cue
        if scope == "before" and cue.first > last and _answers(scene, cue, last):
            return cue
    return None


def _is_aside(scene: Scene, cue: Mention, verb: int) -> bool:
    """'Thickened flavum without ossification narrows the canal': what is not there stands aside of the verb."""
    if scene.words[cue.first] not in ("without", "w/o") or not cue.first or verb == cue.last + 1:
        return False
    named = scene.at(verb, ("narrowing", "mass-effect"))
    return named is not None and named.value == "verb" and scene.words[verb].endswith("s")


_GIVEN = frozenset("the his her this that their your".split())


def _denies_cause(scene: Scene, cue: Mention, first: int, last: int) -> bool:
    """'The fall did not cause the stenosis': it is there; not in 'did not cause the canal to narrow'."""
    links = [m for m in scene.of("link") if m.value == "causing" and cue.last < m.first and m.last < first]
    named = bool(links) and scene.words[links[-1].last + 1] in _GIVEN
    return named and links[-1].first - cue.last <= 3 and "to" not in scene.words[first : last + 1]


def is_hedged(scene: Scene, first: int, last: int) -> bool:
    return bool(hedges_of(scene, first, last))


def hedges_of(scene: Scene, first: int, last: int) -> list[Mention]:
    """The hedging words that govern tokens first..last."""
    return [cue for cue in scene.of("hedge") if _hedges(scene, cue, first, last)]


def _hedges(scene: Scene, cue: Mention, first: int, last: int) -> bool:
    if cue.concept.scope == "after":
        return cue.last < first and _hedge_reaches(scene, cue, first)
    if scene.words[cue.first] in ("vs", "versus") and cue.first == last + 1 and not _is_compared(scene, cue):
        return True  # 'foraminal stenosis vs hip osteoarthritis'
    if cue.first == cue.last and not _closes_clause(scene, cue) and scene.words[cue.first - 1] not in _PREDICATE_SIGNS:
        return False  # 'with possible radiculopathy': the hedge is about what follows it
    if _is_about_cause(scene, cue) or _closes_cause(scene, cue, last) or of_a_cause(scene, first):
        return False
    return cue.first > last and _answers(scene, cue, last, commas=True)


def _is_compared(scene: Scene, cue: Mention) -> bool:
    """'stenosis vs prior', 'vs 2019': with an earlier study, not with another diagnosis."""
    following = scene.words[cue.last + 1 : cue.last + 4]
    return not _EARLIER.isdisjoint(following) or any(word[0].isdigit() for word in following)


_EARLIER = frozenset("prior previous last earlier old baseline study exam mri ct year before comparison".split())
_HOW_SURELY = frozenset("likely probably possibly presumably perhaps apparently potentially".split())


def _is_about_cause(scene: Scene, cue: Mention) -> bool:
    """'Stenosis is likely due to ...', '... is thought to be due to ...'; what 'is suspected from ...' is suspected."""
    link = next((m for m in scene.of("link") if cue.last < m.first <= cue.last + 3), None)
    if link is None:
        return False
    return scene.words[cue.last] in _HOW_SURELY or "be" in scene.words[cue.last : link.first]


_CAUSE = frozenset({"cause", "etiology", "aetiology", "reason"})


def of_a_cause(scene: Scene, first: int) -> bool:
    """'The cause of the canal stenosis is ...': what is said behind it is said of the cause."""
    before = scene.words[max(0, first - 4) : first]
    return "of" in before and not _CAUSE.isdisjoint(before)


def _closes_cause(scene: Scene, cue: Mention, last: int) -> bool:
    """'Stenosis due to yellow ligament probably': behind the cause and without a comma, it is the cause that is."""
    because = any(m.value == "because" and last < m.first < cue.first for m in scene.of("link"))
    return because and scene.words[cue.first] in _HOW_SURELY and scene.words[cue.first - 1] not in (",", "-", "(")


def hedges_cause_only(scene: Scene, last: int, cause_first: int, cause_last: int) -> bool:
    """A hedge between the narrowing and its cause (or on the cause alone) leaves the narrowing certain."""
    low, high = (last, cause_first) if last < cause_first else (cause_first, last)
    for cue in scene.of("hedge"):
        if low < cue.first <= high and last < cue.first:
            return True
        if cue.concept.scope == "before" and 0 < cue.first - cause_last <= 3 and last < cause_first:
            return True
    return any(scene.words[p] in ("vs", "versus") for p in range(low, min(high + 4, len(scene.words))))


def _reaches(scene: Scene, cue: Mention, target: int, *, is_verb: bool) -> bool:
    if not scene.same_clause(cue.last, target):
        return False
    gap = range(cue.last + 1, target)
    words = scene.words[cue.last + 1 : target]
    if _leaves_brackets(scene, cue, words) or _is_about_effect(scene, cue, target):
        return False
    if scene.words[cue.last] in _RESULTS and not _opens_tests(scene, cue):
        return False
    if any(
        mention.kind == "link"
        and mention.value == "causing"
        and mention.first in gap
        and not _passes_on(scene, cue, mention)
        for mention in scene.mentions
    ):
        return False
    if cue.first == cue.last and scene.words[cue.first] in _SHORT_REACH and (len(words) > _NOT_REACH or "," in words):
        return False  # 'triceps jerk absent, middle finger numb'
    return all(
        _list_goes_on(scene, p, target, is_verb=is_verb)
        for p in gap
        if scene.words[p] in (",", ":", "(") and not (p == gap.start and scene.words[cue.last] in _OPEN_A_LIST)
    ) and not _turns(scene, gap, target)


_QUESTION_WHAT_FOLLOWS = frozenset({"doubt", "doubtful", "unlikely", "unclear", "uncertain", "unconvinced"})
_EFFECTS = frozenset("explain explains account accounts causes responsible".split())


def _is_about_effect(scene: Scene, cue: Mention, target: int) -> bool:
    """'I doubt that the stenosis explains the numbness': there it is, though not why her hand is numb."""
    if scene.words[cue.last] not in _QUESTION_WHAT_FOLLOWS:
        return False
    return any(word in _EFFECTS and scene.same_clause(p, target) for p, word in enumerate(scene.words) if p > target)


_OPEN_A_LIST = frozenset({"denies", "denied", "deny", "denying"})  # 'denies: stenosis, herniation'


def _leaves_brackets(scene: Scene, cue: Mention, words: list[str]) -> bool:
    """'(report only, no disc today) reads ...': a cue in brackets does not reach out of them; 'no a) stenosis' does."""
    if ")" not in words or "(" in words[: words.index(")")]:
        return False
    before = [word for word in scene.words[: cue.first] if word in ("(", ")")]
    return before[-1:] == ["("]


def _starts_anew(scene: Scene, comma: int) -> bool:
    """'..., the canal stenosis' after a comma is a new subject."""
    return comma + 1 < len(scene.words) and scene.words[comma + 1] in ("the", "there", "this", "now", "today")


def _passes_on(scene: Scene, cue: Mention, link: Mention) -> bool:
    """'does not cause', 'without causing', 'no X causing Y': the denial reaches over the link."""
    return link.first - cue.last <= 2 or not any(scene.words[p] == "," for p in range(cue.last + 1, link.first))


def _list_goes_on(scene: Scene, comma: int, target: int, *, is_verb: bool) -> bool:
    if scene.words[comma] == ":" or _starts_anew(scene, comma):
        return False
    gap = range(comma + 1, target)
    if any(m.first == comma + 1 and m.concept.scope == "after" for m in scene.of("hedge")):
        return False  # 'no canal stenosis, possible foraminal stenosis'
    if is_verb or any(scene.words[p] in _NEW_ASSERTION for p in gap):
        return False
    graded = scene.at(comma + 1, ("severity",))
    if graded and scene.words[graded.first] in _GRADES and not _closes_list(scene, comma, target):
        return False
    if any(m.kind == "tissue" and m.first in gap for m in scene.mentions) and scene.covered(
        comma + 1, target, "pathology", "link"
    ):
        return False
    following = scene.words[target + 1 : target + 6]
    return not any(
        word in ("is", "are", "present", "noted", "seen", "persists", "remains", "due", "from", "secondary", "at")
        for word in following
    ) or _closes_list(scene, comma, target)


_GRADES = frozenset("minimal mild mildly moderate moderately severe severely marked markedly slight slightly".split())


def _closes_list(scene: Scene, comma: int, target: int) -> bool:
    return any(scene.words[p] in ("or", "nor") for p in range(comma, min(len(scene.words), target + 4)))


def _turns(scene: Scene, gap: range, target: int) -> bool:
    """'No fracture and moderate stenosis is seen': the second half is an assertion of its own."""
    for p in gap:
        if (
            scene.words[p] == "and"
            and scene.at(p + 1, ("severity",))
            and not {"is", "are"}.isdisjoint(scene.words[target : target + 6])
        ):
            return p != gap[0]
    return False


_BARE = frozenset({"no", "none", "nil", "negative", "neg", "absent", "excluded", "unlikely"})
_ASK_FOR_A_SIGN = frozenset({"no", "none", "nil", "negative", "neg"})
_PREDICATE_SIGNS = frozenset({":", "-", "is", "are", "–", "=", "(", "["})


def _answers(scene: Scene, cue: Mention, last: int, *, commas: bool = False) -> bool:
    """A cue behind what it governs: 'stenosis is not seen', 'stenosis: none', '..., questionable'."""
    further = 6 if commas or cue.first != cue.last else 0
    if not _in_reach(scene, cue, last) or cue.first - last > _AFTER_REACH + further:
        return False
    gap = range(last + 1, cue.first)
    if any(m.first in gap and m.kind in _GOVERNED and m.value != "because" for m in scene.mentions):
        return False
    words = [scene.words[p] for p in gap]
    word = scene.words[cue.first]
    if cue.value == "box":
        return _closes_clause(scene, cue) and _beside_its_question(scene, gap)
    if cue.value == "result" or word in _RESULTS:
        if _is_result(scene, cue, last):
            return True
        if cue.value == "result":
            return False
    if "(" in words[1:-1] and ")" not in words:
        return False  # 'stenosis with cord signal change (edema vs myelomalacia)'
    if cue.concept.kind == "negation" and cue.first == cue.last and word in _BARE:
        near = len(words) <= 2 and "," not in words and word not in _ASK_FOR_A_SIGN
        asked = word not in _ASK_FOR_A_SIGN or _closes_clause(scene, cue)
        return near or (bool(words) and words[-1] in _PREDICATE_SIGNS and asked)
    turns = [p for p in gap if scene.words[p] == "," and not _encloses_place(scene, p)]
    plain = not turns or not scene.same_clause(last, cue.first)
    if not plain and cue.first != cue.last and scene.words[cue.first - 1] == ",":
        return _closes_clause(scene, cue) and _names_its_place(scene, gap)
    if commas:
        return plain or (_closes_clause(scene, cue) and _stands_alone(scene, last, cue))
    return plain


def _names_its_place(scene: Scene, gap: range) -> bool:
    """'Stenosis of the canal, sacral region, not present'; not in '..., cord edema, not present'."""
    return all(
        scene.words[p] == "," or scene.words[p] in FILLERS or scene.place_at(p) or scene.at(p, ("space", "laterality"))
        for p in gap
    )


_RESULTS = frozenset({"negative", "neg"})
_LISTED = FILLERS | JOINERS | frozenset({",", "/", "sign", "signs", "test", "tests", ":", "-", "reflex", "response"})
_MORE_RESULTS = frozenset({"and", "but", "/", "x", "x2", "in", "on", "both", "with", "="})


def _is_result(scene: Scene, cue: Mention, last: int) -> bool:
    """How a test came out, behind its name: 'Hoffmann negative', 'Babinski and clonus neg bilaterally'."""
    tested, gap = scene.at(last, ("function",)), range(last + 1, cue.first)
    if tested is None or not _FOUND.isdisjoint(scene.words[tested.first : cue.first]) or _is_found_too(scene, cue):
        return False
    listed = [named for p in gap if (named := scene.at(p, ("function",)))]
    apart = [p for p in gap if not scene.at(p, ("function", "laterality")) and scene.words[p] not in _LISTED]
    # A list of tests has one result; a sign that was seen ('clumsy hands, Hoffmann negative') is in no such list.
    if apart or any(named.concept is not tested.concept for named in listed):
        return False
    if "," in scene.words[last + 1] and not listed:
        return False
    following = scene.words[cue.last + 1 : cue.last + 2]
    goes_on = scene.at(cue.last + 1, ("function", "laterality")) is not None
    return _closes_clause(scene, cue) or following[0] in _MORE_RESULTS or goes_on


_FOUND = frozenset({"positive", "pos", "upgoing", "up", "sustained", "extensor"})


def _is_found_too(scene: Scene, cue: Mention) -> bool:
    """'Negative on the left, positive on the right': found, unless it is another test that is positive."""
    for p in range(cue.last + 1, min(cue.last + 8, len(scene.words))):
        if scene.at(p, ("function",)):
            return False
        if scene.words[p] in _FOUND or (scene.word(p + 1) in ("beat", "beats") and scene.words[p] not in ("0", "no")):
            return True
    return False


def _opens_tests(scene: Scene, cue: Mention) -> bool:
    """'Negative Hoffmann and Babinski': before the name of a test, and not behind that of another."""
    is_behind = cue.first > 0 and scene.at(cue.first - 1, ("function",)) is not None
    return not is_behind and scene.at(cue.last + 1, ("function",)) is not None


_BOXES = frozenset("? y n / ) yes no".split())


def _beside_its_question(scene: Scene, gap: range) -> bool:
    """Between a question and its box stand at most the place, the side and a sign."""
    return all(
        scene.words[p] in _PREDICATE_SIGNS
        or scene.words[p] in _BOXES
        or scene.place_at(p)
        or scene.at(p, ("laterality",))
        for p in gap
    )


def _encloses_place(scene: Scene, comma: int) -> bool:
    """'..., pelvic region, is not present': one of the two commas around a place alone."""
    behind, before = scene.place_at(comma + 1), scene.place_at(comma - 1)
    opens = behind is not None and scene.words[behind.last + 1 : behind.last + 2] == [","]
    return opens or (before is not None and before.first > 0 and scene.words[before.first - 1] == ",")


_GOVERNED = frozenset({"narrowing", "mass-effect", "link", "adequate"})


def _in_reach(scene: Scene, cue: Mention, last: int) -> bool:
    """In the same clause, or in the next one where that says nothing else ('..., but is unlikely')."""
    if scene.same_clause(last, cue.first):
        return True
    clause = scene.clauses[cue.first]
    others = scene.of("narrowing", "mass-effect", "space", "tissue", "region", "level", "function", "framing")
    alone = not any(scene.clauses[m.first] == clause for m in others)
    return clause == scene.clauses[last] + 1 and alone


def _stands_alone(scene: Scene, last: int, cue: Mention) -> bool:
    """Behind the last comma stands the cue and nothing that it could govern instead ('..., lumbar pain suspected')."""
    comma = max(p for p in range(last + 1, cue.first) if scene.words[p] in (",", ":", "-", "–"))
    return all(
        scene.words[p] in ("is", "still", "remains", "diagnosis", "dx", "as", "yet", "this", "currently")
        for p in range(comma + 1, cue.first)
    )


def _closes_clause(scene: Scene, cue: Mention) -> bool:
    tail = scene.words[cue.last + 1 : cue.last + 3]
    return not tail or tail[0] in (",", ".", ")", ";", "at", "|", '"', "”")


def _hedge_reaches(scene: Scene, cue: Mention, target: int) -> bool:
    if not scene.same_clause(cue.last, target):
        return False
    gap = range(cue.last + 1, target)
    words = scene.words[cue.last + 1 : target]
    if _leaves_brackets(scene, cue, words):
        return False
    cue_word = scene.words[cue.first]
    if _is_about_effect(scene, cue, target):
        return False
    if cue_word == "appearing" and scene.word(cue.first - 1).isalpha():
        return False  # 'unstable appearing fracture with canal compromise'
    if any(
        m.value == "confirmed" and cue.last < m.first for m in scene.of("present") if scene.same_clause(m.first, target)
    ):
        return False
    if cue_word in ("may", "might", "could") and len(words) > _AFTER_REACH:
        return False
    if cue_word in ("appear", "appears", "appearing", "seems", "seem") and scene.covered(
        cue.last + 1, target, "present"
    ):
        return False
    if "," in words and any(m.first in gap and m.kind in ("link",) for m in scene.mentions):
        return False
    commas = [p for p in gap if scene.words[p] == ","]
    return not commas or all(_list_goes_on(scene, p, target, is_verb=False) for p in commas)


def _past(scene: Scene, first: int, last: int) -> Mention | None:
    now = _now(scene, first)
    for cue in scene.of("historical"):
        if cue.first and scene.words[cue.first - 1] in _NOT_PAST:
            continue
        if now and (cue.concept.scope == "after" or now == "persists"):
            continue
        if scene.words[cue.last] == "for" and _is_to_come(scene, first):
            continue
        if scene.same_clause(cue.first, first) and _makes_past(scene, cue, first, last):
            return cue
    return _operated_for(scene, first) or (None if now == "persists" else _operated_since(scene, first, last))


# 'never operated', and the age of 'a 64 year old man has ...'
_NOT_PAST = frozenset("never not no without year years yr yrs y yo month months week weeks day days".split())
_TO_COME = frozenset(
    "will scheduled planned awaiting awaits listed booked upcoming proposed recommended offered".split()
)


def _is_to_come(scene: Scene, first: int) -> bool:
    """'Laminectomy for stenosis is scheduled': what it is for is there."""
    return any(word in _TO_COME and scene.same_clause(p, first) for p, word in enumerate(scene.words))


def _makes_past(scene: Scene, cue: Mention, first: int, last: int) -> bool:
    if cue.concept.scope == "after":
        return cue.last < first and not _cut_off(scene, cue, first)
    closes = cue.first != cue.last or _is_dated(scene, cue) or _closes_clause(scene, cue)
    closes = closes or scene.words[cue.first - 1] in _PREDICATE_SIGNS
    return last < cue.first <= last + 12 and closes


def _is_dated(scene: Scene, cue: Mention) -> bool:
    """'decompressed in 2019', 'decompressed 03/2020', 'operated May 2018'."""
    if cue.last + 1 == len(scene.words):
        return False
    return scene.words[cue.last + 1] == "in" or DATE.match(scene.text, scene.starts[cue.last + 1]) is not None


_OPERATED = frozenset(
    "had underwent ago previous previously prior since after remote old out postop months years weeks".split()
)


def _operated_for(scene: Scene, first: int) -> Mention | None:
    """'s/p laminectomy 2018 for lumbar stenosis', 'had an ACDF for stenosis': what the operation was for is past."""
    if "for" not in scene.said or _is_to_come(scene, first):
        return None
    done = [m for m in scene.of("framing") if m.value == "after-surgery" and m.last < first]
    if not done or not scene.same_clause(done[-1].first, first):
        return None
    reasons = [p for p in range(done[-1].last + 1, min(done[-1].last + 8, first)) if scene.words[p] == "for"]
    if not reasons or any(word in (",", ";", ".") for word in scene.words[reasons[0] : first]):
        return None
    dated = any(len(word) == 4 and word.isdigit() and scene.same_clause(p, first) for p, word in enumerate(scene.words))
    return done[-1] if dated or scene.says("after") or not _OPERATED.isdisjoint(scene.words[:first]) else None


_SINCE = (["s", "/"], ["status", "post"], ["for", "which"])
_SAY_SINCE = frozenset({"s", "status", "which"})
_HAD_DONE = FILLERS | JOINERS | frozenset("s p status post for he she they patient had underwent prior ( ) -".split())


def _operated_since(scene: Scene, first: int, last: int) -> Mention | None:
    """'Cervical stenosis s/p C4-6 laminectomy': operated on; not where it is graded, or the operation was elsewhere."""
    if not scene.says("framing") or _SAY_SINCE.isdisjoint(scene.said):
        return None
    done = next((m for m in scene.of("framing") if m.value == "after-surgery" and m.last > last), None)
    if done is None or not scene.same_clause(done.last, first) or scene.covered(first - 2, last, "severity"):
        return None
    if _is_to_come(scene, first):
        return None
    turn = next((p for p in range(last + 1, done.last) if scene.words[p : p + 2] in _SINCE), None)
    if turn is None or not all(_leads_on(scene, p) for p in range(last + 1, done.first)):
        return None
    here = [place for place in scene.places if place.first < turn]
    there = [place for place in scene.places if turn < place.first < done.first]
    return done if not here or not there or any(_meet(one, other) for one in here for other in there) else None


def _leads_on(scene: Scene, position: int) -> bool:
    word = scene.words[position]
    return word in _HAD_DONE or word[0].isdigit() or scene.at(position, _OF_OPERATION) is not None


_OF_OPERATION = ("region", "level", "laterality", "severity")


def _meet(one: Place, other: Place) -> bool:
    """Of two levels whether they share one, else whether the regions do."""
    if one.labels and other.labels:
        return not set(one.labels).isdisjoint(other.labels)
    return not {region for region, _ in one.values}.isdisjoint(region for region, _ in other.values)


def _cut_off(scene: Scene, cue: Mention, target: int) -> bool:
    """'s/p fusion 2015, canal stenosis at L4-5': a new noun phrase after the comma is not history."""
    commas = [p for p in range(cue.last + 1, target) if scene.words[p] in (",", ":")]
    if commas and all(scene.words[p].isdigit() or scene.words[p] in ("/", ":") for p in range(cue.last + 1, commas[0])):
        commas = commas[1:]  # 'Copied from 02/2023: severe stenosis'
    if _is_beside_operation(scene, cue, target):
        return True
    if cue.first == cue.last and scene.words[cue.first] in ("old", "former", "remote") and target - cue.last > 4:
        return True
    return bool(commas) and not any(scene.words[p] in ("and", "or") for p in range(commas[-1], target + 1))


def _is_beside_operation(scene: Scene, cue: Mention, target: int) -> bool:
    """'s/p L4-5 fusion with canal stenosis at L3-4': the operation is past, what is found with it is not."""
    done = [m for m in scene.of("framing") if m.value == "after-surgery" and cue.last < m.last < target]
    return bool(done) and "with" in scene.words[done[0].last + 1 : target]


def _now(scene: Scene, first: int) -> str:
    """'persists' where the sentence says that it is still there, 'now' for a weaker word of the present."""
    denied = ("no", "without", "never")
    said = [m for m in scene.of("present") if not (m.first and scene.words[m.first - 1] in denied)]
    values = [m.value for m in said if scene.same_clause(m.first, first)]
    return "persists" if "persists" in values else values[0] if values else ""


_PAST = frozenset("when was were previously prior previous showed revealed demonstrated had formerly earlier".split())


def then_not_now(scene: Scene, first: int) -> bool:
    """A denial of an earlier time ('in 2019 there was no stenosis; now ...') says nothing of today."""
    if all(scene.same_clause(m.first, first) or _past(scene, m.first, m.last) for m in scene.of("narrowing")):
        return False
    words = {word for p, word in enumerate(scene.words) if scene.same_clause(p, first)}
    dated = any(len(word) == 4 and word.startswith(("19", "20")) and word.isdigit() for word in words)
    return dated or not _PAST.isdisjoint(words)


def _is_copied(scene: Scene, first: int) -> bool:
    """'[copied forward from 08/2022]: no canal stenosis': a denial of then."""
    copied = (cue for cue in scene.of("historical") if cue.value == "copied" and cue.last < first)
    return any(
        scene.same_clause(cue.last, first) and _TODAY.isdisjoint(scene.words[cue.last + 1 : first]) for cue in copied
    )


_TODAY = frozenset("today now current currently new update updated".split())


def _governed(scene: Scene, first: int, kind: str) -> Mention | None:
    for cue in scene.of(kind):
        if not scene.same_clause(cue.last, first) and not _lists_risks(scene, cue, first):
            continue
        if cue.concept.scope == "before":
            if cue.first > first:
                return cue
        elif (
            cue.last < first
            and not (cue.concept.opening and cue.first and scene.words[cue.first - 1] not in (":", ";"))
            and ":" not in scene.words[_opens_list(scene, cue) : first]
        ):
            return cue
    return None


def _lists_risks(scene: Scene, cue: Mention, first: int) -> bool:
    """'Risks discussed: infection; recurrent canal stenosis': a list goes on behind a semicolon."""
    return cue.value == "risks" and _NEW_ASSERTION.isdisjoint(scene.words[cue.last + 1 : first])


def _opens_list(scene: Scene, cue: Mention) -> int:
    """Where the words begin that a cue governs: of risks behind their colon ('risks, as I told him: ...')."""
    following = scene.words[cue.last + 1 : cue.last + 9]
    listed = cue.value == "risks" and ":" in following
    return cue.last + 2 + following.index(":") if listed else cue.last + 1


def _is_said_to_patient(scene: Scene, cue: Mention) -> bool:
    """'Told her the canal is tight', 'I told him': the provider's own statement."""
    return scene.words[cue.first] == "told" and scene.word(cue.first - 1) in ("", "i", "we", ".", "-")


def _other_person(scene: Scene, first: int) -> Mention | None:
    """A relative, or the patient's own words and hearsay, which are no provider's statement (Guidelines I.B.14)."""
    hearsay = (
        cue
        for cue in scene.of("hearsay")
        if cue.last < first and scene.same_clause(cue.last, first) and not _is_said_to_patient(scene, cue)
    )
    persons = (
        cue
        for cue in scene.of("other-person")
        if (cue.concept.scope == "before" and cue.first > first)
        or (cue.first < first and not any(_turns_to_patient(scene, p) for p in range(cue.last, first)))
    )
    return next(hearsay, None) or next(persons, None)


_PATIENT = frozenset({"patient", "pt"})


def _turns_to_patient(scene: Scene, position: int) -> bool:
    """'mother has MS, pt has ...'; not in 'husband of the pt has ...', where the husband is still spoken of."""
    if scene.words[position] not in _PATIENT:
        return False
    before = scene.word(position - 2 if scene.word(position - 1) in ("the", "this", "our") else position - 1)
    return before != "of"
