"""What a sentence points back to: 'this', 'together these', 'as a result' to the tissues of the sentence before, 'the
right one' to its space.

"The ligamentum flavum is thickened at C5-6. This narrows the canal."
"The left foramen is narrowed. The right is patent."
"At C4-5 the canal is wide. At C5-6 it is narrowed by a spur."
"""

from __future__ import annotations

from collections.abc import Sequence

from service.coding.lexicon import Mention
from service.coding.model import Evidence, Finding, Passage, Statement, Step
from service.coding.places import place_findings
from service.coding.scene import BE, OBJECTS, Scene, labels_of

_PRONOUNS = frozenset("this these it they both which all".split())
_RESULTS = frozenset("consequently resultant resulting thereby thus".split())
_POINTERS = _PRONOUNS | _RESULTS | {"result", "consequence", "combination"}  # what points back has one of these
_PLURAL = frozenset("these they both all combination together result consequence".split())
_NO_SUBJECT = ("narrowing", "space", "target", "level", "region", "modality", "function", "care", "adequate")
_WITH = frozenset({"along", "together", "with", "and", "plus", "combined", "in"})


def points_back(scene: Scene) -> bool:
    """Whether the sentence makes what stood before it the cause of what it says."""
    if _POINTERS.isdisjoint(scene.said):
        return False
    words = scene.words[:4]
    if words[:2] == ["as", "a"] and scene.word(2) in ("result", "consequence"):
        return True
    if not _RESULTS.isdisjoint(words) or _ends_in_pronoun(scene):
        return True
    return (_opens_with_pronoun(scene) or "combination" in words) and _acts(scene)


def _ends_in_pronoun(scene: Scene) -> bool:
    """'Canal stenosis due to this.'; in 'slip with stenosis because of it' it is the slip."""
    if scene.says("tissue", "framing"):
        return False
    links = [m.last for m in scene.of("link") if m.value == "because"]
    return any(scene.word(p + 1) in OBJECTS and scene.word(p + 2) in ("", ".") for p in links)


def pointed_at(scene: Scene, before: tuple[Finding, ...], under_level: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """The tissues meant: of the sentence before; of 'together these' and 'the combination' all under the level."""
    if not points_back(scene):
        return ()
    return before + under_level if not _PLURAL.isdisjoint(scene.words[:5]) else before


def from_before(scene: Scene, statement: Statement, before: Sequence[Finding]) -> Statement:
    """The statement with the tissues that its sentence points back to as causes, beside those that it names itself."""
    if statement.assertion not in ("affirmed", "uncertain") or statement.narrowing == "unstated":
        return statement
    if statement.causes and _WITH.isdisjoint(scene.words[1:4]):
        return statement
    known = {(cause.value, cause.detail) for cause in statement.causes}
    added = {(tissue.value, tissue.detail): tissue for tissue in before if (tissue.value, tissue.detail) not in known}
    steps = (
        Step("tissue", "in the sentence before", t.evidence.start, t.evidence.end) for t in added.values() if t.evidence
    )
    return statement.but(causes=(*statement.causes, *added.values()), steps=(*statement.steps, *steps))


def _opens_with_pronoun(scene: Scene) -> bool:
    """'This', 'Together these'; not 'this stenosis', 'at this level', 'these foramina'."""
    at = 1 if scene.words[0] in ("together", "and", "here") else 0
    if scene.word(0) == "together" and scene.word(1) == "with":  # 'together with the thick flavum it narrows ...'
        return not {"it", "they", "this", "these"}.isdisjoint(scene.words[2:12])
    if scene.word(at) not in _PRONOUNS:
        return False
    noun = scene.at(at + 1, _NO_SUBJECT)
    return (noun is None or noun.value == "verb") and scene.place_at(at + 1) is None


def _acts(scene: Scene) -> bool:
    """A verb of narrowing or pressure, or a word of causing, follows early."""
    verbs = [m for m in scene.of("narrowing", "mass-effect") if m.value == "verb" or scene.words[m.first] == "narrow"]
    causes = [m for m in scene.of("link") if m.value == "causing"]
    return any(m.first <= 10 for m in (*verbs, *causes))


_SIDES = frozenset({"left", "right"})
_SKIPPED = frozenset({"one", "side", "widely", "."})
_OPEN = frozenset({"open", "fine", "ok", "okay"})
_IS_NOT = (["not"], "affirmed")


def _has_sides(statement: Statement) -> bool:
    """Foramina and lateral recesses lie to the left and the right; a canal has no sides."""
    space = statement.space
    if space is None or space.evidence is None:
        return False
    return space.value == "foramen" or "recess" in space.evidence.quote.lower()


def other_side(scene: Scene, new: list[Statement], before: Sequence[Statement], passage: Passage) -> list[Statement]:
    """'The right is patent', 'The left one is narrowed': of the space, and at the place, of the sentence before."""
    if scene.words[0] != "the" or scene.word(1) not in _SIDES:
        return new
    words = [word for word in scene.words if word not in _SKIPPED]
    if (
        words[2:3] not in (["is"], ["remains"])
        or not before
        or before[-1].space is None
        or scene.span.new_paragraph
        or scene.says("space", "target")
    ):
        return new
    last = before[-1]
    if not _has_sides(last):
        return new
    if new:
        return [s if s.space else s.but(space=last.space) for s in new]
    ends = ["."] if scene.words[-1] == "." else []
    called_wide = any(m.first <= 5 and scene.words[m.last + 1 :] == ends for m in scene.of("adequate"))
    if not (called_wide or (len(words) == 4 and words[3] in _OPEN)) and (words[3:], last.assertion) != _IS_NOT:
        return new
    own = Evidence(passage, scene.starts[0], scene.ends[-1], "negated")
    return [last.but(assertion="negated", evidence=own, causes=(), listed=(), framings=())]


_IT = frozenset({"it", "they"})
_MEAN = ("space", "target", "tissue", "other-organ")


def of_it(scene: Scene, new: list[Statement], before: Sequence[Statement], passage: Passage) -> list[Statement]:
    """'At C4-5 the canal is wide. At C5-6 it is narrowed by a spur.': of the space of the sentence before."""
    if not before or before[-1].space is None or scene.span.new_paragraph or _IT.isdisjoint(scene.said):
        return new
    at = next((p for p, word in enumerate(scene.words) if word in _IT and scene.word(p + 1) in BE), -1)
    if at < 0 or any(m.first < at for m in scene.of(*_MEAN)):
        return new
    space = before[-1].space
    if new:
        named = scene.covered(at + 2, at + 5, "narrowing")
        return [s if s.space or not named else s.but(space=space) for s in new]
    wide = next((m for m in scene.of("adequate") if at < m.first <= at + 4), None)
    places = [place for place in scene.places if not place.root]
    if wide is None or not places or scene.word(wide.last + 1) not in _CLOSES or _is_denied(scene, wide):
        return new
    own = Evidence(passage, scene.starts[0], wide.end, "negated")
    regions, levels = place_findings(places, passage), labels_of(places)
    return [Statement("negated", "stated", own, space=space, regions=regions, levels=levels)]


_CLOSES = frozenset({"", ".", ",", ";", "and", "there"})


def _is_denied(scene: Scene, wide: Mention) -> bool:
    """'It is not patent', though not 'it is not narrowed', which is called wide."""
    return any(cue.last < wide.first for cue in scene.of("negation", "hedge"))
