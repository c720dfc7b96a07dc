"""What 'this', 'together these' and 'as a result' point back to: the tissues of the sentence before.

"The ligamentum flavum is thickened at C5-6. This narrows the canal."
"""

from __future__ import annotations

from collections.abc import Sequence

from service.coding.model import Finding, Statement, Step
from service.coding.scene import Scene

_PRONOUNS = frozenset("this these it they both which all".split())
_RESULTS = frozenset("consequently resultant resulting thereby thus".split())
_PLURAL = frozenset("these they both all combination together result consequence".split())
_NO_SUBJECT = ("narrowing", "space", "target", "level", "region", "modality", "function", "care", "adequate")
_WITH = frozenset({"along", "together", "with", "and", "plus", "combined", "in"})


def points_back(scene: Scene) -> bool:
    """Whether the sentence makes what stood before it the cause of what it says."""
    words = scene.words[:4]
    if not words:
        return False
    if words[:2] == ["as", "a"] and scene.word(2) in ("result", "consequence"):
        return True
    if not _RESULTS.isdisjoint(words):
        return True
    return (_opens_with_pronoun(scene) or "combination" in words) and _acts(scene)


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
