"""Weighs what is documented on one narrowing against what the families need: the state of each required element."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from service.coding.answers import answered_alone, settle
from service.coding.matters import agree, merged, put_together, settled
from service.coding.model import REQUIRED, Documentation, Element, ElementStatus, Evidence, Finding, Rule, Statement
from service.coding.packs import RulePack, Terminology


@dataclass(frozen=True)
class Weighed:
    """One narrowing with the state of its elements, the families it points to and what sends it elsewhere."""

    statement: Statement
    from_report: bool
    elements: dict[str, Element]
    regions: tuple[Finding, ...]
    hinted_regions: tuple[Finding, ...]
    packs: tuple[RulePack, ...]
    linked: bool
    redirects: tuple[Rule, ...]
    region_clash: tuple[Evidence, ...] = ()
    tissue_clash: tuple[Evidence, ...] = ()

    @property
    def barred(self) -> bool:
        """Classified elsewhere: the families are not even candidates (POLICY section 2.8)."""
        return any(rule.settings.get("bars_families") for rule in self.redirects)

    @property
    def kept_packs(self) -> tuple[RulePack, ...]:
        """The families that remain candidates: all, or where the condition is elsewhere those that a rule keeps."""
        barring = [rule for rule in self.redirects if rule.settings.get("bars_families")]
        return tuple(p for p in self.packs if all(p.tissues & set(rule.names("keeps_tissues")) for rule in barring))

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(name for name in REQUIRED if self.elements[name].status != "documented")

    def has(self, name: str) -> bool:
        return self.elements[name].status == "documented"

    @property
    def space(self) -> str:
        return self.statement.space.value if self.statement.space else ""


def weigh_all(documentation: Documentation, terminology: Terminology, on: str) -> list[Weighed]:
    """The provider's narrowings; where the provider states none, those that only a report states."""
    provider = put_together(documentation.statements("provider")) or answered_alone(documentation)
    answered = [_weigh_answered(s, documentation, terminology, on) for s in provider]
    weighed = [w for w in answered if w and not _silent(w, documentation, terminology)]
    if (
        any(w.statement.narrowing != "unstated" for w in weighed)
        or not documentation.takes_reports
        or documentation.clinical
        or _settled_by_provider(documentation)
    ):
        return weighed
    reported = [
        s for s in put_together(_reported(documentation)) if s.narrowing == "stated" and s.assertion == "affirmed"
    ]
    reported += (
        []
        if reported
        else [
            s
            for s in put_together(_reported(documentation))
            if s.narrowing == "implied" and s.causes and s.assertion == "affirmed"
        ]
    )
    from_reports = [_weigh(s, documentation, terminology, on, from_report=True) for s in reported]
    return weighed + [w for w in from_reports if not _silent(w, documentation, terminology)]


def _settled_by_provider(documentation: Documentation) -> bool:
    """The provider denied the narrowing, or called it past: a report does not reopen it."""
    return any(s.assertion in ("negated", "historical") for s in documentation.statements("provider"))


def _reported(documentation: Documentation) -> list[Statement]:
    return [s for s in documentation.statements("report") if s.assertion == "affirmed"]


def _silent(weighed: Weighed, documentation: Documentation, terminology: Terminology) -> bool:
    """Tumour, infection ... raise the flag only where the record claims the canal or carries a code (section 3)."""
    if not any(rule.settings.get("only_where_canal_is_claimed") for rule in weighed.redirects):
        return False
    claimed = weighed.statement.narrowing == "stated" and weighed.statement.space is not None
    return not claimed and not has_family_code(documentation, terminology)


def has_family_code(documentation: Documentation, terminology: Terminology) -> bool:
    return any(code.system == "icd-10-cm" and terminology.pack_of(code.code) for code in documentation.codes)


def _weigh(
    statement: Statement, documentation: Documentation, terminology: Terminology, on: str, *, from_report: bool
) -> Weighed:
    regions, hinted, clash = _regions(statement, documentation, from_report=from_report)
    redirects = _redirects(statement, documentation, terminology, on)
    packs, linked = _families(statement, terminology)
    own = settled(statement.regions) or regions  # and none that only a report names
    tissue_clash = () if from_report else _report_tissues(statement, own, documentation, terminology, packs)
    elements = {
        "narrowing": _narrowing(statement, documentation, from_report=from_report),
        "space": _one("space", statement.space),
        "tissue": _tissue(statement, packs, linked=linked, clash=tissue_clash)
        if statement.causes or from_report
        else _told_by_reports(_tissue(statement, packs, linked=linked, clash=()), statement, regions, documentation),
        "region": _region(regions, clash),
        "framing": _framing(statement, documentation, terminology, redirects),
        "certainty": _certainty(statement, documentation),
    }
    return Weighed(statement, from_report, elements, regions, hinted, packs, linked, redirects, clash, tissue_clash)


def _weigh_answered(
    statement: Statement, documentation: Documentation, terminology: Terminology, on: str
) -> Weighed | None:
    """The provider's own narrowing, with what a query's answers say on what it left open; None where they deny it."""
    weighed = _weigh(statement, documentation, terminology, on, from_report=False)
    left_open = _left_open(weighed, documentation)
    settled = settle(statement, documentation.answers, left_open)
    if settled is None:
        return None
    if settled is statement:
        return weighed
    if "tissue" in left_open and _cannot_be_told("tissue", documentation):
        settled = settled.but(cause_uncertain=True)  # whatever another answer settles
    return _weigh(settled, documentation, terminology, on, from_report=False)


def _cannot_be_told(element: str, documentation: Documentation) -> bool:
    """It was asked for, and what came settles nothing ("unable to determine")."""
    return element in documentation.answered and not any(f.element == element for f in documentation.answers)


def _left_open(weighed: Weighed, documentation: Documentation) -> tuple[str, ...]:
    """What the record leaves open; a process that an answer names is open too for all else that this answer names."""
    answered = {f.evidence.passage for f in documentation.answers if f.evidence and f.element == "framing"}
    named_by = [evidence.passage for evidence in weighed.elements["framing"].evidence]
    by_answer = bool(named_by) and answered.issuperset(named_by)
    return (*weighed.missing, *(("framing",) if by_answer else ()))


def _narrowing(statement: Statement, documentation: Documentation, *, from_report: bool) -> Element:
    evidence = (statement.evidence,)
    answered = any(f.element == "narrowing" and f.assertion == "affirmed" for f in documentation.answers)
    denials = () if answered else contradicted(statement, documentation) or _denied_by_reports(statement, documentation)
    if denials and not from_report:
        return Element("narrowing", "conflicting", ("stenosis",), (*evidence, *denials))
    if statement.narrowing != "stated":
        return Element("narrowing", "missing", (), evidence)
    if from_report:
        return Element("narrowing", "missing", ("stenosis",), evidence)
    return Element(
        "narrowing", "uncertain" if statement.assertion == "uncertain" else "documented", ("stenosis",), evidence
    )


def contradicted(statement: Statement, documentation: Documentation) -> tuple[Evidence, ...]:
    """Denials by the provider of the same space at the same level."""
    return tuple(
        s.evidence
        for s in documentation.statements("provider")
        if s.assertion == "negated"
        and s.narrowing == "stated"
        and s.space
        and statement.space
        and s.space.value == statement.space.value
        and _same_spot(s, statement)
    )


def _denied_by_reports(statement: Statement, documentation: Documentation) -> tuple[Evidence, ...]:
    """'No canal stenosis' in a report of this encounter, of the whole region that the provider names, where no report
    finds anything narrow there (POLICY sections 1 and 2.2: in conflict, so it is asked for).
    """
    regions = set(statement.region_values())
    if not documentation.takes_reports or statement.space is None or len(regions) != 1:
        return ()
    told = [s for s in documentation.statements("report") if s.space and s.space.value == statement.space.value]
    if any(s.assertion != "negated" and (not s.regions or regions & set(s.region_values())) for s in told):
        return ()
    return tuple(s.evidence for s in told if _denies_throughout(s, statement, documentation))


def _denies_throughout(denial: Statement, statement: Statement, documentation: Documentation) -> bool:
    if denial.narrowing != "stated" or denial.evidence.passage.earlier_encounter:
        return False
    if denial.levels:
        return bool(statement.levels) and set(statement.levels) <= set(denial.levels)
    examined = {place.value for place in denial.regions or documentation.exam_places}
    return examined == set(statement.region_values())


def _same_spot(one: Statement, other: Statement) -> bool:
    """Without levels a denial contradicts only within the same place words; 'no stenosis' alone is about elsewhere."""
    if one.levels or other.levels:
        return bool(set(one.levels) & set(other.levels))
    places = set(one.region_values())
    return bool(places) and places == set(other.region_values()) and one.evidence.passage == other.evidence.passage


def _one(name: str, finding: Finding | None) -> Element:
    if finding is None:
        return Element(name, "missing")
    return Element(name, "documented", (finding.value,), (finding.evidence,) if finding.evidence else ())


# --- tissue -------------------------------------------------------------------------------------------------------


def _families(statement: Statement, terminology: Terminology) -> tuple[tuple[RulePack, ...], bool]:
    """The families of the tissues tied to the narrowing; where none is tied, of those that stand beside it."""
    space = statement.space.value if statement.space else "canal"
    linked = terminology.packs_for(space, statement.tissue_values(linked=True))
    return (linked, True) if linked else (terminology.packs_for(space, statement.tissue_values(linked=False)), False)


def _tissue(statement: Statement, packs: Sequence[RulePack], *, linked: bool, clash: Sequence[Evidence]) -> Element:
    found = statement.causes or statement.listed
    evidence = tuple(f.evidence for f in found if f.evidence)
    values = tuple(dict.fromkeys(f.value for f in found))
    status: ElementStatus = "documented"
    if clash or len(packs) > 1:
        status, evidence = "conflicting", (*evidence, *clash)
    elif not linked:
        status = "missing"
    elif statement.cause_uncertain:
        status = "uncertain"
    return Element("tissue", status, values, evidence)


def _told_by_reports(
    tissue: Element, statement: Statement, regions: Sequence[Finding], documentation: Documentation
) -> Element:
    """A tissue that the provider leaves open, with what reports of this encounter tie to the same narrowing."""
    places = [f.value for f in regions]
    told = [
        finding.evidence
        for other in documentation.statements("report")
        if other.causes and other.assertion == "affirmed" and not other.evidence.passage.earlier_encounter
        if _same_space(other, statement) and (not other.regions or not places or agree(other.region_values(), places))
        for finding in other.causes
        if finding.evidence
    ]
    return tissue._replace(evidence=(*tissue.evidence, *told)) if told and tissue.status == "missing" else tissue


def _report_tissues(
    statement: Statement,
    regions: Sequence[Finding],
    documentation: Documentation,
    terminology: Terminology,
    packs: Sequence[RulePack],
) -> tuple[Evidence, ...]:
    """What a report of this encounter ties to the same narrowing, where it is another tissue than the provider's."""
    if not packs or not statement.causes or _answers_in(statement.causes, documentation):
        return ()
    mine = set(statement.tissue_values(linked=True))
    clash: list[Evidence] = []
    for other in documentation.statements("report"):
        if (
            not other.causes
            or other.assertion != "affirmed"
            or other.evidence.passage.earlier_encounter
            or not _same_space(other, statement)
            or (other.regions and regions and not agree(other.region_values(), [f.value for f in regions]))
        ):
            continue
        theirs = set(other.tissue_values(linked=True))
        families = terminology.packs_for(statement.space.value if statement.space else "canal", theirs)
        if theirs & mine or set(families) & set(packs):
            return ()
        clash.extend(f.evidence for f in other.causes if f.evidence)
    return tuple(clash)


def _same_space(one: Statement, other: Statement) -> bool:
    return one.space is None or other.space is None or one.space.value == other.space.value


# --- region -------------------------------------------------------------------------------------------------------


def _regions(
    statement: Statement, documentation: Documentation, *, from_report: bool
) -> tuple[tuple[Finding, ...], tuple[Finding, ...], tuple[Evidence, ...]]:
    """(regions, regions only hinted at, clashing evidence), by the order of sources of POLICY section 3."""
    if answered := _answers_in(statement.regions, documentation):
        return answered, (), ()
    own, sites = settled(statement.regions), documentation.sites if not from_report else ()
    if not statement.regions_joined:
        return own, (), _evidence_of(own)
    if own and sites and not agree((f.value for f in own), (f.value for f in sites)):
        return merged(own, sites), (), _evidence_of((*own, *sites))
    if own:
        narrowed = _narrowed_by(own, sites)
        clash = () if from_report else _report_regions(statement, narrowed, documentation)
        return (
            (narrowed if not clash else merged(narrowed, clash)),
            (),
            _evidence_of((*narrowed, *clash)) if clash else (),
        )
    if sites:
        return settled(sites), (), ()
    from_reports = _regions_of_reports(statement, documentation)
    if len({f.value for f in from_reports}) == 1:
        return from_reports, (), ()
    return (), from_reports or _exam_regions(documentation), ()


def _answers_in(findings: Iterable[Finding], documentation: Documentation) -> tuple[Finding, ...]:
    """What was answered with the record in view: no other source disputes it."""
    return tuple(f for f in findings if f in documentation.answers)


def _evidence_of(findings: Iterable[Finding]) -> tuple[Evidence, ...]:
    return tuple(f.evidence for f in findings if f.evidence)


def _narrowed_by(own: Sequence[Finding], sites: Sequence[Finding]) -> tuple[Finding, ...]:
    """C1-C2 in the words and a head or cervical bodySite: the site settles it."""
    if {f.value for f in own} == {"head-or-cervical"} and {f.value for f in sites} <= {"head", "cervical"} and sites:
        return tuple(sites)
    return tuple(own)


def _regions_of_reports(statement: Statement, documentation: Documentation) -> tuple[Finding, ...]:
    found: tuple[Finding, ...] = ()
    for other in documentation.statements("report"):
        if (
            other.assertion == "affirmed"
            and other.narrowing != "unstated"
            and _same_space(other, statement)
            and not other.evidence.passage.earlier_encounter
        ):
            found = merged(found, other.regions)
    return settled(found)


def _exam_regions(documentation: Documentation) -> tuple[Finding, ...]:
    return settled(documentation.exam_places)


def _report_regions(statement: Statement, own: Sequence[Finding], documentation: Documentation) -> tuple[Finding, ...]:
    """Regions of reports where every narrowing that they find lies elsewhere, and no other Condition claims it.

    An exam of the provider's region that finds narrowing elsewhere is no conflict unless it finds none in that region.
    """
    values = frozenset(f.value for f in own)
    found: tuple[Finding, ...] = ()
    for other in documentation.statements("report"):
        if (
            other.assertion != "affirmed"
            or other.narrowing != "stated"
            or not other.regions
            or other.evidence.passage.earlier_encounter
            or not _same_space(other, statement)
        ):
            continue
        if agree(other.region_values(), values):
            return ()
        found = merged(found, tuple(f for f in other.regions if f.value not in documentation.regions_claimed_elsewhere))
    examined = {f.value for f in documentation.exam_places}
    return () if examined & values and not _denied_by_report(statement, values, documentation) else found


def _denied_by_report(statement: Statement, values: frozenset[str], documentation: Documentation) -> bool:
    return any(
        other.assertion == "negated" and _same_space(other, statement) and values.intersection(other.region_values())
        for other in documentation.statements("report")
        if not other.evidence.passage.earlier_encounter
    )


def _region(regions: Sequence[Finding], clash: Sequence[Evidence]) -> Element:
    values = tuple(dict.fromkeys(f.value for f in regions))
    if clash:
        return Element("region", "conflicting", values, tuple(clash))
    if not values or "head-or-cervical" in values:
        return Element("region", "missing", (), _evidence_of(regions))
    return Element("region", "documented", values, _evidence_of(regions))


# --- framing and certainty ----------------------------------------------------------------------------------------


def _redirects(
    statement: Statement, documentation: Documentation, terminology: Terminology, on: str
) -> tuple[Rule, ...]:
    framings = {f.value for f in statement.framings}
    tissues = {f.detail for f in statement.causes or statement.listed}
    past_surgery = {
        f.value
        for f in documentation.findings("framing", "provider")
        if f.value == "after-surgery" and f.assertion == "affirmed"
    }

    def holds(rule: Rule) -> bool:
        said = {"framing": framings | past_surgery if "tissue" in rule.when else framings, "tissue": tissues}
        return all(said[key] & set(wanted) for key, wanted in rule.when.items())

    return tuple(rule for rule in terminology.main.of_kind("redirects", on) if holds(rule))


def _framing(
    statement: Statement, documentation: Documentation, terminology: Terminology, redirects: Sequence[Rule]
) -> Element:
    denied = [f for f in _said_biomechanical(documentation) if f.assertion == "negated"]
    if denied:
        return Element("framing", "conflicting", (), _evidence_of(denied))
    words = [f for f in statement.framings if f.value == "category-words"]
    if words and not any(rule.settings.get("bars_families") for rule in redirects):
        return Element("framing", "documented", ("category-words",), _evidence_of(words[:1]))
    as_sure = ("affirmed", "uncertain") if statement.assertion == "uncertain" else ("affirmed",)
    said = [f for f in _said_biomechanical(documentation) if f.assertion in as_sure]
    if said:
        return Element("framing", "documented", ("biomechanical",), _evidence_of(said[:1]))
    barred = any(rule.settings.get("bars_families") for rule in redirects)
    if chosen_code(documentation, terminology) and not barred:
        return Element("framing", "documented", ("chosen-code",), ())
    elsewhere = [f for f in statement.framings if any(f.value in rule.when.get("framing", ()) for rule in redirects)]
    if elsewhere and any(rule.settings.get("complete") for rule in redirects):
        return Element(
            "framing", "documented", tuple(dict.fromkeys(f.value for f in elsewhere)), _evidence_of(elsewhere)
        )
    return Element("framing", "missing", (), _evidence_of(elsewhere))


def _said_biomechanical(documentation: Documentation) -> list[Finding]:
    return [f for f in documentation.findings("framing", "provider") if f.value == "biomechanical"]


def chosen_code(documentation: Documentation, terminology: Terminology) -> bool:
    """A code of these families in the provider's own hand; before a claim any that stands on the record."""
    return any(
        code.system == "icd-10-cm"
        and terminology.pack_of(code.code)
        and (code.chosen or documentation.setting == "claim")
        for code in documentation.codes
    )


def uncertain_by_status(documentation: Documentation) -> bool:
    return documentation.verification in ("unconfirmed", "provisional", "differential")


def _certainty(statement: Statement, documentation: Documentation) -> Element:
    hedged = statement.assertion == "uncertain"
    if not hedged and not uncertain_by_status(documentation):
        return Element("certainty", "documented", ("confirmed",), ())
    if documentation.inpatient and documentation.discharged:
        return Element("certainty", "documented", ("uncertain-at-discharge",), (statement.evidence,))
    return Element("certainty", "uncertain", ("uncertain",), (statement.evidence,))


def as_certain(weighed: Weighed) -> Weighed:
    """At discharge an uncertain inpatient diagnosis is coded as if established (Guidelines II.H)."""
    if weighed.has("certainty") and weighed.elements["narrowing"].status == "uncertain":
        return replace(
            weighed,
            elements={**weighed.elements, "narrowing": weighed.elements["narrowing"]._replace(status="documented")},
        )
    return weighed
