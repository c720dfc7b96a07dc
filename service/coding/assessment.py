"""assess(): what each rule finds on one condition, and what follows: suggestions, candidates, questions, flags.

    documentation ──► weigh each narrowing ──► one small function for each kind of rule ──► Assessment

The date of service decides which rules and codes hold, never today.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from service.coding.alternatives import alternatives
from service.coding.model import (
    ELEMENTS,
    REQUIRED,
    Assessment,
    Author,
    Candidate,
    CodingSuggestion,
    Disposition,
    Documentation,
    Element,
    Evidence,
    Finding,
    Issue,
    Rule,
    RuleHit,
)
from service.coding.packs import CodeTable, RulePack, Terminology
from service.coding.supporting import supporting_elements
from service.coding.validity import recorded_code_hits
from service.coding.weighing import (
    Weighed,
    as_certain,
    chosen_code,
    has_family_code,
    uncertain_by_status,
    weigh_all,
)

_UNSPOKEN = frozenset({"entered-in-error", "refuted"})


@dataclass(frozen=True)
class Case:
    """One condition on the table: what is documented, what it weighs, and on which date it is judged."""

    documentation: Documentation
    terminology: Terminology
    on: str
    weighed: tuple[Weighed, ...]
    elements: dict[str, Element]

    @property
    def on_code(self) -> bool:
        return has_family_code(self.documentation, self.terminology)


def assess(documentation: Documentation, terminology: Terminology, *, says_why_not: bool = True) -> Assessment:
    """Apply every rule in force on the date of service to one condition; of its siblings, say why not if asked to."""
    on = documentation.date_of_service or terminology.icd10cm.newest.in_force_from
    case = _table(documentation, terminology, on)
    if documentation.verification in _UNSPOKEN or documentation.clinical in ("resolved", "inactive", "remission"):
        return _unspoken(case)
    suggestions = _suggestions(case)
    candidates = _candidates(case, suggestions)
    ask = _ask(case, suggestions, candidates)
    hits = tuple(_hits(case, suggestions, ask))
    issues = _issues(case, hits)
    disposition = _disposition(case, suggestions, ask)
    elements = tuple(case.elements.values()) if disposition not in ("out-of-scope", "not-assessed") else ()
    wanted = says_why_not and bool(elements)
    reasons = alternatives(case.weighed, suggestions, candidates, terminology, on) if wanted else ()
    return Assessment(documentation, disposition, suggestions, candidates, reasons, elements, ask, issues, hits)


def unread(documentation: Documentation, terminology: Terminology) -> Assessment:
    """What `assess` says of a condition of which only codes and faults are known, as its words do not speak."""
    if not documentation.faults:
        return Assessment(documentation, _outside(documentation))
    on = documentation.date_of_service or terminology.icd10cm.newest.in_force_from
    case = Case(documentation, terminology, on, (), {})
    hits = tuple(_records(case))
    return Assessment(documentation, _outside(documentation), issues=_issues(case, hits), hits=hits)


def _table(documentation: Documentation, terminology: Terminology, on: str) -> Case:
    weighed = tuple(as_certain(w) for w in weigh_all(documentation, terminology, on))
    required = {name: _worst(name, weighed, documentation) for name in REQUIRED}
    return Case(documentation, terminology, on, weighed, {**required, **supporting_elements(documentation, weighed)})


def _worst(name: str, weighed: Sequence[Weighed], documentation: Documentation) -> Element:
    """The element over all narrowings of the condition: a conflict before a gap before what is documented."""
    found = [w.elements[name] for w in weighed]
    if not found:
        denied = [s for s in documentation.statements("provider", "report") if s.assertion == "negated"]
        if name == "narrowing" and denied:
            return Element(name, "negated", (), tuple(s.evidence for s in denied))
        return Element(name, "missing")
    order = {"conflicting": 0, "uncertain": 1, "missing": 2, "negated": 3, "documented": 4}
    lead = min(found, key=lambda element: order[element.status])
    values = tuple(dict.fromkeys(value for element in found for value in element.values))
    evidence = tuple(dict.fromkeys(e for element in found for e in element.evidence))
    return Element(name, lead.status, values, evidence)


def _unspoken(case: Case) -> Assessment:
    """Refuted, entered in error or resolved: nothing is suggested or asked (POLICY section 4)."""
    hits = tuple(
        hit for hit in [*_records(case), *recorded_code_hits(case.documentation, case.terminology, case.on)] if hit
    )
    disposition: Disposition = "not-applicable" if _in_families(case) else _outside(case.documentation)
    elements = tuple(case.elements.values()) if disposition == "not-applicable" else ()
    return Assessment(case.documentation, disposition, elements=elements, issues=_issues(case, hits), hits=hits)


# --- the code -----------------------------------------------------------------------------------------------------


def _suggestions(case: Case) -> tuple[CodingSuggestion, ...]:
    found: dict[str, CodingSuggestion] = {}
    if case.documentation.faults and any(f.check == "modifier-extension" for f in case.documentation.faults):
        return ()
    for weighed in case.weighed:
        if (
            weighed.missing
            or weighed.barred
            or weighed.from_report
            or len(weighed.packs) != 1
            or not _undisputed(case, weighed)
        ):
            continue
        for region in weighed.regions:
            code = weighed.packs[0].code_on(region.value, case.on)
            if code:
                found.setdefault(code, _suggestion(case, weighed, code, region))
    return tuple(found.values())


def _undisputed(case: Case, weighed: Weighed) -> bool:
    return not weighed.region_clash and not weighed.tissue_clash


def _suggestion(case: Case, weighed: Weighed, code: str, region: Finding) -> CodingSuggestion:
    pack = weighed.packs[0]
    rules = [
        rule.id
        for kind in ("requires", "names-code")
        for rule in pack.of_kind(kind, case.on)
        if rule.strength != "supporting"
    ]
    framing = weighed.elements["framing"].values[0]
    rules += [rule.id for rule in pack.of_kind("settles", case.on) if rule.settings["by"] == framing]
    notes = [rule.says for rule in pack.of_kind("notes", case.on)]
    elsewhere = _default_code(case, region)
    if elsewhere:
        notes.append(f"The concrete alternative is {elsewhere} {case.terminology.icd10cm.title(elsewhere, case.on)}.")
    notes += [rule.says for rule in weighed.redirects]
    evidence = tuple(dict.fromkeys(e for name in REQUIRED for e in weighed.elements[name].evidence))
    return CodingSuggestion(code, tuple(rules), tuple(notes), evidence)


def _default_code(case: Case, region: Finding) -> str:
    for rule in case.terminology.main.of_kind("default", case.on):
        for table in _tables(case, rule):
            return table.code(region.value, region.detail, _stated_functions(case), case.on)
    return ""


def _tables(case: Case, rule: Rule) -> Iterator[CodeTable]:
    return (case.terminology.main.tables[target] for target in rule.names("to"))


def _stated_functions(case: Case) -> list[str]:
    return [f.value for f in case.documentation.findings("function", "provider") if f.assertion == "affirmed"]


def _candidates(case: Case, suggestions: Sequence[CodingSuggestion]) -> tuple[Candidate, ...]:
    """The codes that the record points to, best first, each with what it waits for."""
    found: dict[str, Candidate] = {}
    chosen = {suggestion.code for suggestion in suggestions}
    for weighed in case.weighed:
        if _selected(case, weighed, chosen):
            continue
        for candidate in _candidates_of(case, weighed):
            # What was asked for and could not be settled is not waited for: the codes that need it are out.
            if candidate.code not in chosen and not set(candidate.awaits) & set(case.documentation.answered):
                found.setdefault(candidate.code, candidate)
    for companion in _companions(case) if case.weighed else ():
        found.setdefault(companion.code, companion)
    return tuple(found.values())


def _selected(case: Case, weighed: Weighed, chosen: set[str]) -> bool:
    return (
        not weighed.missing
        and not weighed.barred
        and len(weighed.packs) == 1
        and bool(chosen)
        and not weighed.from_report
    )


def _candidates_of(case: Case, weighed: Weighed) -> Iterator[Candidate]:
    elsewhere = list(_elsewhere(case, weighed))
    ours = list(_ours(case, weighed))
    usual = [] if _complete_elsewhere(weighed) else list(_usual(case, weighed))
    claudication = "claudication" in _stated_functions(case) and any(r.value == "lumbar" for r in weighed.regions)
    yield from elsewhere
    yield from [*usual, *ours] if claudication else [*ours, *usual]


def _companions(case: Case) -> Iterator[Candidate]:
    """What the provider attributes to the stenosis is offered beside it, a manifestation after it; never inferred."""
    stated = {f.value for f in case.documentation.findings("companion", "provider")}
    places = [f for w in case.weighed for f in w.regions]
    for rule in case.terminology.main.of_kind("companions", case.on):
        for table in _tables(case, rule) if stated & set(rule.when["function"]) else ():
            if table.codes:
                yield from (Candidate(code) for code in table.codes)
            yield from (Candidate(code) for f in places if (code := table.code(f.value, f.detail, (), case.on)))


def _complete_elsewhere(weighed: Weighed) -> bool:
    return any(rule.settings.get("complete") and rule.settings.get("bars_families") for rule in weighed.redirects)


def _places(weighed: Weighed) -> tuple[Finding, ...]:
    return weighed.regions or weighed.hinted_regions


def _elsewhere(case: Case, weighed: Weighed) -> Iterator[Candidate]:
    for rule in weighed.redirects:
        for table in _tables(case, rule):
            waits = _waits_elsewhere(weighed, rule, table.id)
            if table.codes:
                yield from (Candidate(table.on(code, case.on), waits) for code in table.codes)
            else:
                yield from _by_place(case, weighed, table, waits)


def _waits_elsewhere(weighed: Weighed, rule: Rule, table: str) -> tuple[str, ...]:
    waits = [] if rule.settings.get("complete") else [str(rule.settings.get("asks", "framing"))]
    if table == "M48.0-" and not weighed.has("narrowing") and not weighed.has("certainty"):
        waits.append("certainty")
    elif table == "M48.0-" and not weighed.has("narrowing"):
        waits.append("narrowing")
    elif not weighed.has("certainty"):
        waits.append("certainty")
    return tuple(dict.fromkeys(waits))


def _by_place(case: Case, weighed: Weighed, table: CodeTable, waits: tuple[str, ...]) -> Iterator[Candidate]:
    levels, functions = weighed.statement.levels, _stated_functions(case)
    codes = [table.code(f.value, f.detail, functions, case.on, levels) for f in _places(weighed)]
    if any(codes):
        unsure = not weighed.regions or bool(weighed.region_clash)
        yield from (Candidate(code, (*waits, "region") if unsure else waits) for code in dict.fromkeys(codes) if code)
    elif not _places(weighed) and table.unspecified:
        yield Candidate(table.unspecified, (*waits, "region"))


def _ours(case: Case, weighed: Weighed) -> Iterator[Candidate]:
    """Codes of our families, each waiting for what is not documented."""
    waits = _waits(weighed) or ("framing",)
    values = [
        v for f in _places(weighed) for v in (("head", "cervical") if f.value == "head-or-cervical" else (f.value,))
    ]
    for pack in weighed.kept_packs:
        codes = dict.fromkeys(pack.code_on(value, case.on) for value in values)
        yield from (Candidate(code, waits) for code in codes if code)


def _waits(weighed: Weighed) -> tuple[str, ...]:
    missing = [
        name
        for name in weighed.missing
        if not (
            name == "narrowing" and weighed.elements["narrowing"].status == "uncertain" and not weighed.has("certainty")
        )
    ]
    return tuple(missing)


def _usual(case: Case, weighed: Weighed) -> Iterator[Candidate]:
    """M48.0- of the region, complete where narrowing and region are stated (POLICY section 2.5)."""
    waits = tuple(name for name in _waits(weighed) if name in ("narrowing", "certainty"))
    for rule in case.terminology.main.of_kind("default", case.on):
        for table in _tables(case, rule):
            yield from _by_place(case, weighed, table, waits)


# --- the questions ------------------------------------------------------------------------------------------------


def _ask(case: Case, suggestions: Sequence[CodingSuggestion], candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """The elements asked for, each once: required ones that can change the code, then what supports a family code."""
    asked: list[str] = []
    for weighed in case.weighed:
        asked += _required(case, weighed)
    if not case.weighed and case.on_code and not _denied(case) and not _named_elsewhere(case):
        asked += [
            "narrowing",
            "space",
            "tissue",
            "region",
            *([] if chosen_code(case.documentation, case.terminology) else ["framing"]),
        ]
    asked = [name for name in asked if name not in case.documentation.answered]
    if case.documentation.answered and not suggestions and not asked:
        return ()  # nothing that supports a code changes anything where the answers lead to none
    ours = bool(suggestions) or any(w.packs and not w.barred for w in case.weighed)
    if (ours and not any(w.from_report for w in case.weighed)) or (asked and case.on_code):
        asked += [name for name in ELEMENTS if name not in REQUIRED and _is_asked(case, name)]
    return tuple(name for name in dict.fromkeys(asked) if name not in case.documentation.answered)


def _named_elsewhere(case: Case) -> tuple[Rule, ...]:
    """Without a statement on narrowing: the conditions classified elsewhere that the provider names."""
    named = {f.value for f in case.documentation.findings("framing", "provider") if f.assertion == "affirmed"}
    return tuple(
        rule
        for rule in case.terminology.main.of_kind("redirects", case.on)
        if rule.settings.get("bars_families") and rule.when.keys() == {"framing"} and named & set(rule.when["framing"])
    )


def _denied(case: Case) -> bool:
    return case.elements["narrowing"].status == "negated"


def _is_asked(case: Case, name: str) -> bool:
    return case.elements[name].status == "missing" and (name != "care" or case.documentation.wants_care)


def _required(case: Case, weighed: Weighed) -> list[str]:
    if weighed.from_report:
        return ["narrowing"]
    missing = list(_waits(weighed))
    if weighed.barred:
        needed = {element for candidate in _elsewhere(case, weighed) for element in candidate.awaits}
        asks = {
            str(rule.settings["asks"])
            for rule in weighed.redirects
            if rule.settings.get("asks") and not _complete_elsewhere(weighed)
        }
        return [name for name in REQUIRED if name in needed | asks]
    if case.documentation.findings("undetermined", "provider"):
        return [name for name in missing if name not in ("tissue", "framing")]
    if not weighed.packs and "framing" in missing:
        missing.remove("framing")
    if weighed.statement.narrowing != "stated" and weighed.statement.assertion != "uncertain":
        return [
            name
            for name in missing
            if name in ("narrowing", "framing", "certainty", "region", "tissue")
            and (
                name != "tissue"
                or weighed.elements["tissue"].status == "conflicting"
                or weighed.statement.narrowing == "implied"
            )
            and not (name == "framing" and weighed.statement.narrowing == "unstated")
        ]
    return missing


# --- the hits -----------------------------------------------------------------------------------------------------


def _hits(case: Case, suggestions: Sequence[CodingSuggestion], ask: Sequence[str]) -> Iterator[RuleHit]:
    yield from _requires(case, suggestions, ask)
    yield from _settles(case)
    yield from _redirected(case)
    yield from _conflicts(case, suggestions)
    yield from _certainty(case)
    yield from _statement(case)
    yield from _records(case)
    yield from _modality(case)
    yield from recorded_code_hits(case.documentation, case.terminology, case.on)
    yield from _code_and_words(case, suggestions)


def _requires(case: Case, suggestions: Sequence[CodingSuggestion], ask: Sequence[str]) -> Iterator[RuleHit]:
    """Gap where an element is asked for; met where it is documented."""
    expression = _expression(case)
    for rule in case.terminology.main.of_kind("requires", case.on):
        element = case.elements[rule.element]
        if (
            rule.element in ask
            and element.status in ("missing", "uncertain")
            and not (rule.element == "narrowing" and any(w.from_report for w in case.weighed))
        ):
            yield RuleHit(rule, "gap", element.evidence, expression)
        elif element.status == "documented" and (case.weighed or rule.strength == "supporting"):
            yield RuleHit(rule, "met", element.evidence, expression)


def _expression(case: Case) -> str:
    return next((w.statement.evidence.passage.expression for w in case.weighed), case.documentation.code_path)


def _settles(case: Case) -> Iterator[RuleHit]:
    framings = {value for w in case.weighed for value in w.elements["framing"].values if not w.barred}
    for rule in case.terminology.main.of_kind("settles", case.on):
        if rule.settings["by"] in framings:
            warns = rule.settings["by"] == "chosen-code" and case.documentation.setting == "claim"
            yield RuleHit(
                rule,
                "conflict" if warns else "met",
                case.elements["framing"].evidence,
                case.documentation.code_path,
                flag=rule.flag if warns else "",
                says="The biomechanical framing rests on the code alone." if warns else "",
            )


def _redirected(case: Case) -> Iterator[RuleHit]:
    if not case.weighed and case.on_code:
        path = case.documentation.code_path
        yield from (RuleHit(rule, "conflict", (), path, says=rule.says) for rule in _named_elsewhere(case))
    for rule in dict.fromkeys(rule for w in case.weighed for rule in w.redirects):
        evidence = tuple(
            f.evidence
            for w in case.weighed
            if rule in w.redirects
            for f in (*w.statement.framings, *w.statement.causes)
            if f.evidence
        )
        yield RuleHit(rule, "conflict", evidence, _expression(case), says=rule.says)


def _conflicts(case: Case, suggestions: Sequence[CodingSuggestion]) -> Iterator[RuleHit]:
    checks: dict[str, Callable[[Weighed], Sequence[Evidence]]] = {
        "tissues": lambda w: w.elements["tissue"].evidence if len(w.packs) > 1 and not w.barred else (),
        "tissue-sources": lambda w: w.tissue_clash and w.elements["tissue"].evidence,
        "regions": lambda w: w.region_clash,
        "assertions": lambda w: (
            w.elements["narrowing"].evidence if w.elements["narrowing"].status == "conflicting" else ()
        ),
    }
    for rule in case.terminology.main.of_kind("conflicts", case.on):
        check = checks.get(str(rule.settings["between"]))
        evidence = tuple(e for w in case.weighed for e in (check(w) if check else ()))
        if evidence:
            yield RuleHit(rule, "conflict", evidence, evidence[0].passage.expression)
    yield from _foramen(case)


def _foramen(case: Case) -> Iterator[RuleHit]:
    foramina = [w for w in case.weighed if w.space == "foramen"]
    if not foramina:
        return
    canal_code = any(
        pack.space == "canal" for code in case.documentation.codes if (pack := case.terminology.pack_of(code.code))
    )
    for rule in _between(case, "code-and-space"):
        yield RuleHit(
            rule,
            "conflict",
            tuple(e for w in foramina for e in w.elements["space"].evidence),
            _expression(case),
            grade="on-code" if canal_code else "",
        )


def _between(case: Case, name: str) -> Iterator[Rule]:
    return (rule for rule in case.terminology.main.of_kind("conflicts", case.on) if rule.settings["between"] == name)


def _certainty(case: Case) -> Iterator[RuleHit]:
    unsure = [w for w in case.weighed if not w.has("certainty") and not w.from_report]
    if not unsure:
        return
    setting = "inpatient" if case.documentation.inpatient else "outpatient"
    for rule in case.terminology.main.of_kind("certainty", case.on):
        if rule.settings["setting"] == setting:
            yield RuleHit(rule, "gap", tuple(w.statement.evidence for w in unsure), _expression(case))


def _statement(case: Case) -> Iterator[RuleHit]:
    reported = [w for w in case.weighed if w.from_report]
    if reported:
        for rule in case.terminology.main.of_kind("statement", case.on):
            yield RuleHit(
                rule,
                "gap",
                tuple(w.statement.evidence for w in reported),
                case.documentation.code_path,
                grade="claim-of-imaging" if case.documentation.imaging_encounter else "",
            )


def _records(case: Case) -> Iterator[RuleHit]:
    documentation = case.documentation
    checks = {fault.check: fault.expression for fault in documentation.faults}
    if documentation.verification in _UNSPOKEN:
        checks[documentation.verification] = "Condition.verificationStatus"
    is_doubted = uncertain_by_status(documentation)
    is_over = documentation.clinical in ("resolved", "inactive", "remission")
    # A diagnosis that is billed concerns us, of whatever chapter.
    if (is_doubted or is_over) and (documentation.on_claim or _in_families(case)):
        checks |= {"unconfirmed": "Condition.verificationStatus"} if is_doubted else {}
        checks |= {"resolved": "Condition.clinicalStatus"} if is_over else {}
    for rule in case.terminology.main.of_kind("records", case.on) if checks else ():
        check = str(rule.settings["check"])
        if check in checks and not (check in _UNSPOKEN and not (_in_families(case) or documentation.codes)):
            grade = "inpatient" if check == "unconfirmed" and documentation.inpatient else ""
            yield RuleHit(rule, "conflict", (), checks[check], grade=grade)


def _modality(case: Case) -> Iterator[RuleHit]:
    """A plain film alone does not show ligament."""
    values = set(case.elements["imaging.modality"].values)
    connective = any("connective" in pack.tissues for w in case.weighed for pack in w.packs)
    if values and values <= {"XR"} and connective:
        for rule in case.terminology.main.of_kind("records", case.on):
            if rule.settings["check"] == "modality-unfit":
                yield RuleHit(rule, "conflict", case.elements["imaging.modality"].evidence, "DiagnosticReport.code")


# --- the recorded code against the words --------------------------------------------------------------------------


def _code_and_words(case: Case, suggestions: Sequence[CodingSuggestion]) -> Iterator[RuleHit]:
    for code in case.documentation.codes:
        pack = case.terminology.pack_of(code.code)
        if code.system != "icd-10-cm" or (pack is None and not code.code.startswith("M48.0")):
            continue
        if pack and code.code in pack.codes.values() and not _tissue_words(case, pack) and not _denied(case):
            yield from (RuleHit(rule, "conflict", (), code.expression) for rule in _between(case, "code-and-tissue"))
        if _disagrees(case, code.code, pack, suggestions):
            evidence = tuple(
                e for w in case.weighed for name in ("region", "tissue") for e in w.elements[name].evidence
            )
            yield from (
                RuleHit(rule, "conflict", evidence, code.expression) for rule in _between(case, "code-and-words")
            )


def _tissue_words(case: Case, pack: RulePack) -> bool:
    return any(
        pack.tissues & {*w.statement.tissue_values(linked=True), *w.statement.tissue_values(linked=False)}
        for w in case.weighed
        if not w.from_report or case.documentation.imaging_encounter
    )


def _disagrees(case: Case, code: str, pack: RulePack | None, suggestions: Sequence[CodingSuggestion]) -> bool:
    mine = [w for w in case.weighed if not w.from_report]
    if suggestions:
        return code not in {s.code for s in suggestions} and not (pack and code == pack.family)
    if pack is None:
        return bool(mine) and all(_m48_disagrees(case, w, code) for w in mine)
    if not mine:
        return _denied(case) and code in pack.codes.values()
    region = pack.region_of(code)
    return all(_family_disagrees(w, pack, region) for w in mine) and bool(region)


def _family_disagrees(weighed: Weighed, pack: RulePack, region: str) -> bool:
    regions = {f.value for f in weighed.regions}
    other_region = (
        bool(regions) and not weighed.region_clash and region not in regions and "head-or-cervical" not in regions
    )
    other_tissue = weighed.linked and bool(weighed.packs) and pack not in weighed.packs
    other_space = bool(weighed.space) and weighed.space != pack.space
    elsewhere = _complete_elsewhere(weighed) and not pack.tissues & {*weighed.statement.tissue_values(linked=True)}
    return other_region or other_tissue or other_space or elsewhere


def _m48_disagrees(case: Case, weighed: Weighed, code: str) -> bool:
    """M48.0- of another region than the words name, or with a claudication that they deny; M48.00 has its own rule."""
    if code == "M48.00" or not weighed.regions or weighed.region_clash:
        return False
    table = case.terminology.main.tables["M48.0-"]
    told = {f.value: f.assertion for f in case.documentation.findings("function", "provider")}
    stated = [name for name in table.narrower if told.get(name) == "affirmed"]
    possible = [stated] if stated else [[], [name for name in table.narrower if told.get(name) != "negated"]]
    named = {table.code(f.value, f.detail, found, case.on) for f in weighed.regions for found in possible}
    # L5-S1 may be coded with its lumbar vertebra; what is called lumbosacral has a code of its own.
    by_word = not weighed.statement.levels
    plain = [f for f in weighed.regions if not (f.detail and by_word)]
    named |= {table.code(f.value, "", found, case.on) for f in plain for found in possible}
    narrower = {narrow for codes in table.narrower.values() for narrow in codes.values()}
    return code not in named and code in {*table.regions.values(), *table.junctions.values(), *narrower}


# --- what follows -------------------------------------------------------------------------------------------------


def _issues(case: Case, hits: Iterable[RuleHit]) -> tuple[Issue, ...]:
    found: dict[tuple[str, str], Issue] = {}
    on_code = case.on_code
    for hit in hits:
        code = hit.flag or hit.rule.flag
        if hit.outcome == "met" or not code:
            continue
        grade = "on-code" if on_code and code != "doc.foramen-not-canal" else ""
        issue = case.terminology.issue(hit, case.documentation.setting, grade)
        if issue and issue.severity == "error" and case.documentation.beside_claim:
            issue = replace(issue, severity="warning")  # not billed: it cannot fail the claim
        if issue:
            found.setdefault((code, hit.expression), issue)
    return tuple(found.values())


def _in_families(case: Case) -> bool:
    """The record speaks of these families, be it to deny them, of another person, or with a code of theirs."""
    documentation = case.documentation
    authors: tuple[Author, ...] = ("provider", "ancillary")
    spoken = documentation.statements(*authors) or documentation.findings("set-aside", *authors)
    reported = documentation.takes_reports and documentation.statements("report")
    return bool(spoken or reported) or case.on_code


def _outside(documentation: Documentation) -> Disposition:
    known = [code for code in documentation.codes if code.system == "icd-10-cm"]
    return "not-assessed" if known else "out-of-scope"


def _disposition(case: Case, suggestions: Sequence[CodingSuggestion], ask: Sequence[str]) -> Disposition:
    if suggestions:
        return "code-supported"
    if set(ask) & set(REQUIRED):
        return "query"
    return "not-applicable" if _in_families(case) else _outside(case.documentation)
