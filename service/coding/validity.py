"""The code on the record: known, billable, in force on the date of service, with its own display (POLICY section 5)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from service.coding.model import Documentation, RecordedCode, Rule, RuleHit
from service.coding.packs import Terminology

_CHECKS = {"not-billable": "not-billable", "not-valid": "not-valid", "unknown": "unknown", "not-known": "not-known"}


def recorded_code_hits(documentation: Documentation, terminology: Terminology, on: str) -> Iterator[RuleHit]:
    """What is wrong with each recorded code, judged by the date of service."""
    rules = {str(rule.settings["check"]): rule for rule in terminology.main.of_kind("validates", on)} or {}
    if on < "2015-10-01":
        rules = {str(rule.settings["check"]): rule for rule in terminology.main.rules if rule.kind == "validates"}
    is_coded = any(code.system in ("icd-10-cm", "snomed") for code in documentation.codes)
    for code in documentation.codes:
        if code.system == "icd-10-cm":
            yield from _judged(code, documentation, terminology, on, rules)
        elif code.system in ("other-icd", "other") and "system" in rules and not is_coded:
            yield RuleHit(rules["system"], "conflict", (), code.expression)


def _judged(
    code: RecordedCode, documentation: Documentation, terminology: Terminology, on: str, rules: dict[str, Rule]
) -> Iterator[RuleHit]:
    release = terminology.icd10cm
    status = release.status(code.code, on)
    check = (
        "seventh-character"
        if status.validity == "unknown" and _extended(code.code, terminology)
        else _CHECKS.get(status.validity, "")
    )
    if check and check in rules:
        yield RuleHit(
            rules[check],
            "conflict",
            (),
            f"{code.expression}.code" if not code.expression.endswith(".code") else code.expression,
            says=_says(check, status.code, terminology, on, status.reason),
        )
    if "form" in rules and code.written and code.written != status.code and not check:
        yield RuleHit(rules["form"], "conflict", (), f"{code.expression}.code", says=f"FHIR writes {status.code}.")
    if "display" in rules and code.display and _foreign_display(code, terminology, on):
        yield RuleHit(rules["display"], "conflict", (), f"{code.expression}.display")
    if "unspecified" in rules and status.code == "M48.00" and _region_stated(documentation):
        yield RuleHit(rules["unspecified"], "conflict", (), code.expression)


def _extended(code: str, terminology: Terminology) -> bool:
    """M99.40XA has characters too many, S33.5XX and S33.5A lack their seventh; M99.4A is simply unknown."""
    return bool(terminology.icd10cm.is_extension_of(code) or terminology.icd10cm.seventh_characters(code))


def _says(check: str, code: str, terminology: Terminology, on: str, reason: str) -> str:
    if check == "seventh-character":
        return _seventh(code, terminology)
    title = terminology.icd10cm.title(code, on)
    named = f"{code} ({title})" if title else "The code"
    return {
        "unknown": "The code is in no release of ICD-10-CM.",
        "not-billable": f"{named} {_lacks(code, terminology)}.",
        "not-valid": f"{named} is not valid on {on}: {reason}.",
        "not-known": f"No loaded release of ICD-10-CM covers {code} on {on}: {reason}.",
    }[check]


def _lacks(code: str, terminology: Terminology) -> str:
    complete = terminology.icd10cm.seventh_characters(code)
    return f"lacks its 7th character, {_one_of(complete)}" if complete else "is a header and not billable"


def _seventh(code: str, terminology: Terminology) -> str:
    extended = terminology.icd10cm.is_extension_of(code)
    if extended:
        return f"{extended} takes no further character."
    return f"The code lacks the 7th character that it takes, {_one_of(terminology.icd10cm.seventh_characters(code))}."


def _one_of(codes: Sequence[str]) -> str:
    characters = dict.fromkeys(code[-1] for code in codes)
    return f"one of {', '.join(characters)} as in {codes[0]}"


_NEITHER_LETTER_NOR_DIGIT = re.compile(r"[\W_]+")


def _plain(words: str) -> str:
    return _NEITHER_LETTER_NOR_DIGIT.sub(" ", words.lower()).strip()


def _foreign_display(code: RecordedCode, terminology: Terminology, on: str) -> bool:
    """The display is the title of another code, or names another region than that of this one."""
    shown, title = _plain(code.display), _plain(terminology.icd10cm.title(code.code, on) or "")
    if not title or shown == title:
        return False
    if terminology.icd10cm.is_title_of_another(code.display, code.code):
        return True
    if terminology.pack_of(code.code) and _content(shown) and not _content(shown) & _content(title):
        return True
    return _names_another_region(shown, title) or _contradicts(shown.split(), title.split())


def _content(words: str) -> set[str]:
    return {word for word in words.split() if len(word) >= 3 and word.isalpha()}


_REGION_WORDS = frozenset(
    "head cervical thoracic lumbar sacral pelvic abdomen lumbosacral thoracolumbar cervicothoracic".split()
)


def _names_another_region(shown: str, title: str) -> bool:
    said, meant = _REGION_WORDS & set(shown.split()), _REGION_WORDS & set(title.split())
    return bool(said and meant and not said & meant)


_OF_ANYTHING = frozenset({"a", "an", "the", "other", "any", "or", "and"})
_OPPOSITES = (
    frozenset({"left", "right"}),
    frozenset({"unilateral", "bilateral"}),
    frozenset({"initial", "subsequent", "sequela"}),
    frozenset({"acute", "chronic"}),
)


def _contradicts(shown: list[str], title: list[str]) -> bool:
    """'left knee' of a code for the right knee; 'with' of what the title goes 'without'."""
    for words in _OPPOSITES:
        said, meant = words.intersection(shown), words.intersection(title)
        if said and meant and not said & meant:
            return True
    return any(
        set(_behind(said, shown)) & (set(_behind(meant, title)) - set(_behind(said, title)))
        for said, meant in (("with", "without"), ("without", "with"))
    )


def _behind(word: str, words: list[str]) -> list[str]:
    """What stands behind it, each time: 'neurogenic' of 'with neurogenic claudication'."""
    return [following for each, following in pairwise(words) if each == word and following not in _OF_ANYTHING]


def _region_stated(documentation: Documentation) -> bool:
    return bool(documentation.sites) or any(
        s.regions and s.assertion == "affirmed" for s in documentation.statements("provider")
    )
