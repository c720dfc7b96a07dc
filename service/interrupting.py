"""Which cards an assessment earns (POLICY section 6): silence is an answer, and an interruption needs a reason."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set

from service.coding.model import REQUIRED, Assessment, CodingSuggestion, Evidence, Query, Rule
from service.coding.packs import Terminology
from service.coding.weighing import has_family_code

_NEURAL_CANAL = re.compile(r"\bneural\s+canals?\b", re.I)
# Restricted motion is a functional finding; every other `function` of the lexicon speaks of cord, root or nerve.
_NOT_NEUROLOGICAL = frozenset({"restricted-motion"})


def codes_on(assessment: Assessment) -> frozenset[str]:
    """The ICD-10-CM codes that the Condition carries."""
    return frozenset(code.code for code in assessment.documentation.codes if code.system == "icd-10-cm")


def offered_codes(
    assessment: Assessment, on_other_conditions: Set[str] = frozenset(), *, all_created: bool = False
) -> tuple[CodingSuggestion, ...]:
    """The suggested codes that the Condition does not carry yet.

    A code that would need a Condition of its own is not offered where another Condition of the call carries it; an EHR
    that takes no update gets a Condition for each, which else would be offered again as soon as it is there.
    """
    own = codes_on(assessment)
    fresh = [suggestion for suggestion in assessment.suggestions if suggestion.code not in own]
    for_this = fresh[:1] if len(fresh) == len(assessment.suggestions) and not all_created else []
    return tuple(s for s in fresh if s in for_this or s.code not in on_other_conditions)


def earns_query(
    assessment: Assessment, query: Query | None, terminology: Terminology, offered: Sequence[CodingSuggestion]
) -> bool:
    """Whether the query may interrupt: it comes with a code that is offered, or has a reason of its own."""
    if query is None:
        return False
    if not set(query.ask) & set(REQUIRED):
        # Supporting elements never make a code invalid (Guidelines I.A.19): asked for beside a new code, else not.
        return bool(offered)
    return (
        has_family_code(assessment.documentation, terminology)
        or names_neural_canal(assessment)
        or is_contradictory(assessment)
        or (shows_neurological_sign(assessment) and points_to_narrowing(assessment))
    )


def names_neural_canal(assessment: Assessment) -> bool:
    """The provider writes "neural canal"."""
    passages = [reading.passage for reading in assessment.documentation.readings]
    return any(passage.author == "provider" and _NEURAL_CANAL.search(passage.text) for passage in passages)


def is_contradictory(assessment: Assessment) -> bool:
    """Two parts of the record disagree: tissues, regions, provider and report, code and words."""
    # A foramen is no contradiction in itself; where a canal code stands for it, that code is the reason.
    conflicts = (hit.rule for hit in assessment.hits if hit.rule.kind == "conflicts" and hit.outcome == "conflict")
    return any(rule.settings["between"] != "code-and-space" for rule in conflicts)


def shows_neurological_sign(assessment: Assessment) -> bool:
    found = assessment.documentation.findings("function", "provider", "report", "ancillary")
    return any(f.assertion == "affirmed" and f.value not in _NOT_NEUROLOGICAL for f in found)


def points_to_narrowing(assessment: Assessment) -> bool:
    """A tissue is named, or a narrowing is implied, by words that are not denied."""
    statements = assessment.documentation.statements("provider", "report")
    spoken = [s for s in statements if s.assertion in ("affirmed", "uncertain")]
    return any(s.causes or s.listed or s.narrowing == "implied" for s in spoken)


def danger_signs(assessment: Assessment, rule: Rule) -> tuple[Evidence, ...]:
    """The words that make a safety rule hold on this Condition."""
    when = rule.settings["when"]
    signs = when.get("safety", ()) if isinstance(when, Mapping) else ()
    found = assessment.documentation.findings("function", "provider", "report", "ancillary")
    return tuple(f.evidence for f in found if f.assertion == "affirmed" and f.detail in signs and f.evidence)
