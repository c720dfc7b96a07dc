"""Compares an answer with what a coder expects of it, on the core's own values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from service.assist import Answer, Judged
from service.coding.model import Issue

Expected = Mapping[str, Any]


def disagreements(answer: Answer, expected: Expected) -> list[str]:
    """Every expectation that the answer does not meet, as a sentence."""
    found = list(_judged(answer.judged, answer.all_issues, expected))
    for condition, own in (expected.get("perCondition") or {}).items():
        judged = [one for one in answer.judged if one.assessment.documentation.condition.split("/")[-1] == condition]
        found += [
            f"{condition}: {sentence}"
            for sentence in _judged(judged, [i for one in judged for i in one.assessment.issues], own)
        ]
    errors = [issue.flag for issue in answer.all_issues if issue.severity == "error"]
    if "result" in expected and expected["result"] is bool(errors):
        found.append(f"result is {not errors}, errors {sorted(set(errors))}")
    return found


def _judged(judged: Sequence[Judged], issues: Sequence[Issue], expected: Expected) -> Iterator[str]:
    assessments = [one.assessment for one in judged]
    suggested = {s.code for a in assessments for s in a.suggestions}
    candidates = {c.code for a in assessments for c in a.candidates}
    named = suggested | candidates | {n.code for a in assessments for n in a.alternatives}
    asked = [name for one in judged for name in (one.query.ask if one.query else ())]
    flags = {issue.flag for issue in issues}
    yield from _codes(expected, suggested, candidates, named)
    yield from _asked(expected, asked)
    yield from (f"no flag {flag}" for flag in expected.get("mustFlag", ()) if flag not in flags)
    yield from (f"none of the flags {group}" for group in expected.get("mustFlagAny", ()) if not flags & set(group))
    yield from (f"raises {flag}" for flag in expected.get("mustNotFlag", ()) if flag in flags)
    allowed = expected.get("disposition")
    if allowed and not expected.get("perCondition"):
        yield from (f"disposition {a.disposition}" for a in assessments if a.disposition not in allowed)
    if expected.get("silent"):
        loud = {issue.flag for issue in issues if issue.severity != "information"} - set(expected.get("mayFlag", ()))
        if suggested or candidates or asked or loud:
            yield f"is not silent: {suggested or candidates or asked or loud}"
    yield from _evidence(expected, judged)


def _codes(expected: Expected, suggested: set[str], candidates: set[str], named: set[str]) -> Iterator[str]:
    if "suggestCodes" in expected:
        wanted, allowed = set(expected["suggestCodes"]), set(expected.get("maySuggest", ()))
        if not wanted <= suggested or suggested - wanted - allowed:
            yield f"suggests {sorted(suggested)}, expected {sorted(wanted)}"
    yield from (f"suggests {code}" for code in expected.get("mustNotSuggest", ()) if code in suggested)
    yield from (
        f"{code} is no candidate ({sorted(candidates)})"
        for code in expected.get("candidateCodes", ())
        if code not in candidates
    )
    yield from (f"{code} is a candidate" for code in expected.get("mustNotCandidate", ()) if code in candidates)
    yield from (
        f"{code} is neither suggested nor a candidate"
        for code in expected.get("eitherCodes", ())
        if code not in suggested | candidates
    )
    yield from (f"{code} is named nowhere" for code in expected.get("mentionCodes", ()) if code not in named)


def _asked(expected: Expected, asked: Sequence[str]) -> Iterator[str]:
    def is_asked(name: str) -> bool:
        return name in asked or (name == "imaging" and any(a.startswith("imaging.") for a in asked))

    yield from (f"does not ask {name} ({list(asked)})" for name in expected.get("mustAsk", ()) if not is_asked(name))
    yield from (
        f"asks none of {group}" for group in expected.get("mustAskAny", ()) if not any(is_asked(n) for n in group)
    )
    yield from (f"asks {name}" for name in expected.get("mustNotAsk", ()) if is_asked(name))


def _evidence(expected: Expected, judged: Sequence[Judged]) -> Iterator[str]:
    evidence = [e for one in judged for element in one.assessment.elements for e in element.evidence]
    evidence += [e for one in judged for hit in one.assessment.hits for e in hit.evidence]
    for words in expected.get("evidenceMustQuote", ()):
        shown = [
            e
            for e in evidence
            if words in e.passage.text
            and e.start < e.passage.text.index(words) + len(words)
            and e.passage.text.index(words) < e.end
        ]
        if not shown and not any(words in e.quote for e in evidence):
            yield f"no evidence quotes {words!r}"
    for source in expected.get("mustNotQuoteSource", ()):
        if any(e.passage.source.endswith(source) for e in evidence):
            yield f"quotes {source}"
