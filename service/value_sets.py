"""Value sets in extension: which codes a ValueSet.compose selects (FHIR R4 "ValueSet", compose and expansion).

A part of a compose that cannot be carried out is refused: an expansion that is silently short would be a wrong one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple, NoReturn
from uuid import NAMESPACE_URL, uuid5

from service.code_systems import CodedConcept, CodeSystems, Edition, day_of, official, refuse
from service.conformance import Published
from service.fhir_out import Json

MAX_PAGE = 10_000
MAX_PARTS = 40
FILTERS = ("concept is-a", "concept descendent-of", "parent =", "notSelectable =")


class Selected(NamedTuple):
    """One code that a value set selects; `edition` is None where it is enumerated and its system is not served."""

    system: str
    edition: Edition | None
    code: str
    display: str = ""
    inactive: bool = False

    def concept(self) -> CodedConcept:
        """The code with its display, the value set's own one first."""
        known = self.edition.concept(self.code) or self.edition.retired(self.code) if self.edition else None
        concept = known or CodedConcept(self.code, self.code)
        return replace(concept, display=self.display) if self.display else concept


class Part(NamedTuple):
    """The codes that one include selects of a system; `listed` are those that it enumerates."""

    system: str
    edition: Edition | None
    codes: Collection[str]
    listed: Mapping[str, Selected] = MappingProxyType({})

    def one(self, code: str) -> Selected:
        """One of the codes: a release has 98,000, of which a page shows few."""
        return self.listed.get(code) or Selected(self.system, self.edition, code)


@dataclass(frozen=True)
class Moment:
    """Which editions a call is about: those of a date, or of the versions that it names for systems."""

    published: Published
    date: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    forced: Mapping[str, str] = field(default_factory=dict)
    checked: Mapping[str, str] = field(default_factory=dict)

    @property
    def code_systems(self) -> CodeSystems:
        return self.published.code_systems

    def locked(self, compose: Json) -> Moment:
        """Of the day that the compose is locked to, where it is; what names a version keeps it (R4 lockedDate)."""
        day = compose.get("lockedDate")
        return replace(self, date=day_of(day), versions={}) if day else self

    def edition(self, system: str, version: str = "") -> Edition | None:
        """The edition of a served system; None for one that is not served here."""
        if not self.code_systems.serves(system):
            return None
        url = official(system)
        wanted = self.checked.get(url, "")
        chosen = self.forced.get(url) or version or self.versions.get(url) or ("" if self.date else wanted)
        edition = self.code_systems.edition(system, chosen, "" if chosen else self.date)
        if wanted and wanted != edition.version:
            sentence = "The version is not the one that check-system-version asks for; correct one of them."
            refuse(422, "invalid", sentence, "check-system-version")
        return edition


@dataclass(frozen=True)
class Page:
    """What of an expansion is wanted."""

    filter: str = ""
    words: tuple[str, ...] = ()
    offset: int = 0
    count: int | None = None
    active_only: bool = False
    for_ui: bool = False
    without_systems: frozenset[str] = frozenset()


def value_set_of(published: Published, url: str, version: str = "") -> Json:
    """The value set of a canonical URL; Refusal 404 where none is served."""
    found = published.by_url("ValueSet", url, version)
    if found is None:
        refuse(404, "not-found", "No value set of that url and version is served; GET /fhir/ValueSet lists them.")
    return found


def expansion(value_set: Json, moment: Moment, page: Page) -> Json:
    """ValueSet.expansion without its timestamp; Refusal 422 where it is too long for one answer."""
    parts = _wanted(_selected(value_set, moment, page.words), page)
    total = sum(len(part.codes) for part in parts)
    if page.count is None and total - page.offset > MAX_PAGE:
        sentence = f"The expansion has {total} codes; ask for pages of at most {MAX_PAGE} by count, or filter."
        refuse(422, "too-costly", sentence)
    count = MAX_PAGE if page.count is None else page.count
    shown = islice((part.one(code) for part in parts for code in part.codes), page.offset, page.offset + count)
    contains = [_contains(one) for one in shown]
    parameters = [*(made_with := list(_made_with(parts, moment, page))), *_place_of(page)]
    return {
        # The same on every page, so that a client knows that they belong together.
        "identifier": uuid5(NAMESPACE_URL, f"{value_set.get('url')}{made_with}{total}").urn,
        "total": total,
        "offset": page.offset,
        **({"parameter": parameters} if parameters else {}),
        **({"contains": contains} if contains else {}),
    }


def selects(value_set: Json, moment: Moment, system: str, code: str) -> Selected | None:
    """The code as the value set selects it; None where it does not."""
    return _find(value_set, moment, system, code)


def _wanted(parts: Sequence[Part], page: Page) -> list[Part]:
    found = [part for part in parts if part.system not in page.without_systems]
    if page.active_only:
        found = _active(found)
    if page.for_ui:
        found = _where(found, lambda part, code: not (part.edition and part.edition.is_abstract(code)))
    return [part for part in found if part.codes]


def _contains(one: Selected) -> Json:
    concept = one.concept()
    return {
        "system": one.system,
        **({"abstract": True} if concept.abstract else {}),
        **({"inactive": True} if one.inactive else {}),
        **({"version": one.edition.version} if one.edition else {}),
        "code": one.code,
        "display": concept.display,
    }


def _made_with(parts: Sequence[Part], moment: Moment, page: Page) -> Iterator[Json]:
    """What the expansion was made with, so that it can be made again."""
    for used in dict.fromkeys(f"{one.edition.url}|{one.edition.version}" for one in parts if one.edition):
        yield {"name": "used-codesystem", "valueUri": used}
    if page.words:
        yield {"name": "filter", "valueString": page.filter}
    if moment.date:
        yield {"name": "date", "valueDateTime": moment.date}
    if page.active_only:
        yield {"name": "activeOnly", "valueBoolean": True}
    if page.for_ui:
        yield {"name": "excludeNotForUI", "valueBoolean": True}
    yield from ({"name": "exclude-system", "valueUri": system} for system in sorted(page.without_systems))


def _place_of(page: Page) -> Iterator[Json]:
    """Which page it is."""
    if page.offset or page.count is not None:
        yield {"name": "offset", "valueInteger": page.offset}
    if page.count is not None:
        yield {"name": "count", "valueInteger": page.count}


# --- the codes of a compose ---------------------------------------------------------------------------------------


def _where(parts: Iterable[Part], holds: Callable[[Part, str], bool]) -> list[Part]:
    return [part._replace(codes=[code for code in part.codes if holds(part, code)]) for part in parts]


def _without(parts: list[Part], others: Sequence[Part]) -> list[Part]:
    held = _by_system(others)
    return _where(parts, lambda part, code: code not in held.get(part.system, ())) if held else parts


def _by_system(parts: Iterable[Part]) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {}
    for part in parts:
        found.setdefault(part.system, set()).update(part.codes)
    return found


def _selected(value_set: Json, moment: Moment, words: Sequence[str]) -> list[Part]:
    compose = _compose(value_set)
    moment = moment.locked(compose)
    found: list[Part] = []
    for include in compose["include"]:
        found += _without(_included(include, moment, words), found)
    for exclude in compose.get("exclude", ()):
        found = _without(found, _included(exclude, moment, ()))
    return found if compose.get("inactive", True) else _active(found)


def _active(parts: Sequence[Part]) -> list[Part]:
    return _where(parts, lambda part, code: not (part.listed and part.one(code).inactive))


def _compose(value_set: Json) -> Json:
    compose: Json = value_set.get("compose") or {}
    if not compose.get("include"):
        refuse(422, "not-supported", "The value set has no compose, so its codes cannot be told; give one by compose.")
    parts = [*compose["include"], *compose.get("exclude", ())]
    if not all("system" in one or "valueSet" in one for one in parts):
        refuse(400, "invalid", "An include has neither system nor valueSet; give it one of them.")
    if any(f"{f['property']} {f['op']}" not in FILTERS for one in parts for f in one.get("filter", ())):
        refuse(422, "not-supported", f"A filter is not one of: {', '.join(FILTERS)}; write it with these.")
    if len(parts) + sum(len(one.get("filter", ())) + len(one.get("valueSet", ())) for one in parts) > MAX_PARTS:
        refuse(422, "too-costly", f"A compose has more than {MAX_PARTS} parts and filters; give fewer at once.")
    return compose


def _included(include: Json, moment: Moment, words: Sequence[str]) -> list[Part]:
    """What one include or exclude selects: the codes of its system that are in all its value sets."""
    sets = [_selected(value_set_of(moment.published, url), moment, words) for url in include.get("valueSet", ())]
    if "system" in include:
        sets.insert(0, [_of_system(include, moment, words)])
    first, *others = sets
    held = [_by_system(other) for other in others]
    return _where(first, lambda part, code: all(code in one.get(part.system, ()) for one in held)) if held else first


def _of_system(include: Json, moment: Moment, words: Sequence[str]) -> Part:
    system = official(include["system"])
    edition = moment.edition(system, include.get("version", ""))
    if "concept" in include:
        known = [one for listed in include["concept"] if (one := _enumerated(listed, system, edition))]
        listed = {one.code: one for one in known if _says(one.concept(), words)}
        return Part(system, edition, listed, listed)
    if edition is None:
        _refuse_unserved()
    filters = include.get("filter", ())
    found = _candidates(edition, filters, words)
    for one_filter in filters:
        found = [code for code in found if _passes(edition, code, one_filter)]
    return Part(system, edition, found)


def _refuse_unserved() -> NoReturn:
    refuse(404, "not-found", "The code system of an include is not served here; enumerate its codes.")


def _says(concept: CodedConcept, words: Sequence[str]) -> bool:
    return all(word in f"{concept.code}\n{concept.display}".lower() for word in words)


def _enumerated(listed: Json, system: str, edition: Edition | None) -> Selected | None:
    """An enumerated code; one that the system had and has no more is inactive, one that it never had is none."""
    code, display = listed["code"], listed.get("display", "")
    if edition is None:
        return Selected(system, None, code, display)
    if edition.concept(code):
        return Selected(system, edition, code, display)
    return Selected(system, edition, code, display, inactive=True) if edition.retired(code) else None


def _candidates(edition: Edition, filters: Sequence[Json], words: Sequence[str]) -> Collection[str]:
    """The codes to try: those beneath the first header that is named, with the header, else all."""
    header = next((one["value"] for one in filters if one["property"] != "notSelectable"), "")
    if not header:
        return edition.codes(words)
    concept = edition.concept(header)
    return [*([header] if concept and _says(concept, words) else []), *edition.codes(words, header)]


def _passes(edition: Edition, code: str, one: Json) -> bool:
    """Does the code pass one filter?"""
    by, value = f"{one['property']} {one['op']}", str(one["value"])
    if by == "notSelectable =":
        return edition.is_abstract(code) == (value == "true")
    if by == "parent =":
        return edition.parent(code) == value
    return value in _above(edition, code) or (by == "concept is-a" and code == value)


def _above(edition: Edition, code: str) -> Iterator[str]:
    parent = edition.parent(code)
    while parent:
        yield parent
        parent = edition.parent(parent)


def _find(value_set: Json, moment: Moment, system: str, code: str) -> Selected | None:
    compose = _compose(value_set)
    moment = moment.locked(compose)
    if any(_find_in(exclude, moment, system, code) for exclude in compose.get("exclude", ())):
        return None
    found = (_find_in(include, moment, system, code) for include in compose["include"])
    return next((one for one in found if one and (compose.get("inactive", True) or not one.inactive)), None)


def _find_in(include: Json, moment: Moment, system: str, code: str) -> Selected | None:
    referred = [_find(value_set_of(moment.published, url), moment, system, code) for url in include.get("valueSet", ())]
    if not all(referred):
        return None
    return _find_in_system(include, moment, system, code) if "system" in include else next(iter(referred), None)


def _find_in_system(include: Json, moment: Moment, system: str, code: str) -> Selected | None:
    edition = moment.edition(include["system"], include.get("version", ""))
    if system != official(include["system"]):
        return None
    if "concept" in include:
        listed = next((one for one in include["concept"] if one["code"] == code), None)
        return _enumerated(listed, system, edition) if listed else None
    if edition is None:
        _refuse_unserved()
    passes = edition.concept(code) and all(_passes(edition, code, one) for one in include.get("filter", ()))
    return Selected(system, edition, code) if passes else None
