"""Reads `terminology/` into rule packs, strictly: a wrong pack stops the start with file, rule and remedy.

A pack is one code family. A sibling family `extends` another and replaces only what differs; it needs no Python.
The kinds of rule are closed. Why each exists:

    requires      an element must be documented, else it is asked for
    settles       what settles the framing
    names-code    the value of an element names the code
    redirects     classified elsewhere: the other code
    default       the code where no tissue is stated
    conflicts     two parts of the record disagree
    certainty     an uncertain diagnosis, by class of encounter
    statement     only the provider's words are coded
    notes         travels with every suggestion
    companions    a further code that the provider states
    validates     the recorded code itself
    excludes      two codes that do not go together
    sequences     the order on a claim
    records       the state of the resources
    safeguards    a danger to the patient
    policies      a payer's order, before a claim only
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.coding.errors import PackError
from service.coding.lexicon import Lexicon, load_lexicon
from service.coding.model import ELEMENTS, Citation, Issue, Rule, RuleHit, Setting, Severity
from service.coding.releases import Icd10Cm, load_icd10cm
from service.coding.yaml_strict import load_yaml

FOREVER = "9999-12-31"
SPACES = frozenset({"canal", "foramen"})
REGIONS = (
    "head",
    "cervical",
    "thoracic",
    "lumbar",
    "sacral",
    "pelvic",
    "lower-extremity",
    "upper-extremity",
    "rib-cage",
    "abdomen-other",
)
SETTINGS: dict[str, frozenset[str]] = {
    "requires": frozenset({"element", "strength", "only_with"}),
    "settles": frozenset({"element", "by"}),
    "names-code": frozenset({"by", "codes"}),
    "default": frozenset({"to"}),
    "redirects": frozenset(
        {"when", "to", "complete", "bars_families", "keeps_tissues", "only_where_canal_is_claimed", "asks"}
    ),
    "conflicts": frozenset({"between", "element"}),
    "certainty": frozenset({"setting"}),
    "statement": frozenset(),
    "notes": frozenset(),
    "companions": frozenset({"when", "to"}),
    "validates": frozenset({"check"}),
    "excludes": frozenset({"check", "with"}),
    "sequences": frozenset({"check"}),
    "records": frozenset({"check"}),
    "safeguards": frozenset({"when", "procedure_words", "elsewhere_words", "spinal_words"}),
    "policies": frozenset(),
}
NEEDED: dict[str, frozenset[str]] = {
    "requires": frozenset({"element", "strength"}),
    "settles": frozenset({"element", "by"}),
    "names-code": frozenset({"by", "codes"}),
    "default": frozenset({"to"}),
    "redirects": frozenset({"when", "to", "complete", "bars_families"}),
    "conflicts": frozenset({"between"}),
    "certainty": frozenset({"setting"}),
    "companions": frozenset({"when", "to"}),
    "validates": frozenset({"check"}),
    "excludes": frozenset({"check"}),
    "sequences": frozenset({"check"}),
    "records": frozenset({"check"}),
    "safeguards": frozenset({"when", "procedure_words"}),
}
COMMON = frozenset({"id", "says", "kind", "flag", "in_force_from", "in_force_until", "cites"})
VALUES: dict[str, frozenset[str]] = {
    "strength": frozenset({"required", "supporting"}),
    "by": frozenset({"category-words", "biomechanical", "chosen-code", "region"}),
    "between": frozenset(
        {"tissues", "tissue-sources", "regions", "assertions", "code-and-words", "code-and-tissue", "code-and-space"}
    ),
    "setting": frozenset({"outpatient", "inpatient"}),
    "check": frozenset(
        [
            "unknown",
            "not-billable",
            "seventh-character",
            "not-valid",
            "not-known",
            "display",
            "unspecified",
            "system",
            "excludes1",
            "category-note",
            "manifestation-first",
            "pointer",
            "diagnosis-sent",
            "diagnosis-coded",
            "external-cause-first",
            "form",
            "left-open",
            "patient",
            "stated-once",
            "sequence-once",
            "code-missing",
            "refuted",
            "entered-in-error",
            "unconfirmed",
            "resolved",
            "duplicate",
            "report-not-final",
            "subject-mismatch",
            "report-undated",
            "unreadable",
            "modifier-extension",
            "dos-missing",
            "modality-unfit",
        ]
    ),
    "only_with": frozenset({"payer-policy"}),
}
PACK_KEYS = frozenset(
    ("pack version title family space tissues tissue_names citations elements tables rules extends").split()
)
TABLE_KEYS = frozenset({"title", "unspecified", "regions", "junctions", "with", "before", "codes", "levels"})
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_REMEMBERED = 4096  # kinds and dates
_GRADES = tuple(
    "charting claim charting-on-code claim-on-code claim-of-imaging claim-inpatient unrelated order-broken".split()
)


@dataclass(frozen=True, eq=False)
class CodeTable:
    """Codes of a neighbouring family by region and junction, and what they were before a date."""

    id: str
    title: str
    unspecified: str
    regions: Mapping[str, str]
    junctions: Mapping[str, str]
    narrower: Mapping[str, Mapping[str, str]]
    levels: Mapping[str, str]
    before: Mapping[str, Mapping[str, str]]
    codes: tuple[str, ...]

    def code(self, region: str, junction: str, findings: Iterable[str], on: str, levels: Sequence[str] = ()) -> str:
        """The code for a place on a date of service; the empty string where the table has none."""
        at_level = {self.levels.get(level, "") for level in levels}
        if len(at_level) == 1 and "" not in at_level:
            return self.on(at_level.pop(), on)
        code = self.junctions.get(junction) or self.regions.get(region, "")
        for finding in findings:
            code = self.narrower.get(finding, {}).get(region, code)
        return self.on(code, on)

    def on(self, code: str, on: str) -> str:
        for day, earlier in self.before.items():
            if on < day:
                code = earlier.get(code, code)
        return code


@dataclass(frozen=True, eq=False)
class RulePack:
    """One code family: what it narrows, its codes by region, its rules."""

    id: str
    version: str
    title: str
    family: str
    space: str
    tissues: frozenset[str]
    tissue_names: Mapping[str, Mapping[str, str]]
    codes: Mapping[str, str]
    rules: tuple[Rule, ...]
    by_kind: Mapping[str, Sequence[Rule]]
    elements: Mapping[str, Mapping[str, Any]]
    tables: Mapping[str, CodeTable]
    holding: dict[tuple[str, str], Sequence[Rule]] = field(default_factory=dict, repr=False)  # filled as it is asked

    def code_on(self, region: str, on: str) -> str:
        """The code that the rule in force on a date of service names for a region; empty where none is in force."""
        for rule in self.of_kind("names-code", on):
            codes = rule.settings["codes"]
            if isinstance(codes, Mapping) and region in codes:
                return str(codes[region])
        return ""

    def of_kind(self, kind: str, on: str) -> Sequence[Rule]:
        """The rules of a kind that are in force on a date of service, in their order; remembered."""
        found = self.holding.get((kind, on))
        if found is None:
            found = tuple(rule for rule in self.by_kind.get(kind, ()) if rule.in_force(on))
            if len(self.holding) >= _REMEMBERED:
                self.holding.clear()
            self.holding[kind, on] = found
        return found

    def citation_quote(self) -> str:
        """The category's own note in its own words."""
        return next(
            (f"{cite.quote}." for rule in self.rules if rule.kind == "notes" for cite in rule.cites if cite.quote), ""
        )

    def region_of(self, code: str) -> str:
        return next((region for region, named in self.codes.items() if named == code), "")


@dataclass(frozen=True)
class Flag:
    """A flag with its severity by setting ('-' is not raised)."""

    code: str
    says: str
    remedy: str
    severities: Mapping[str, str]

    def severity(self, setting: Setting, grade: str = "") -> Severity | None:
        found = self.severities.get(f"{setting}-{grade}") or self.severities.get(grade) or self.severities[setting]
        return None if found == "-" else found  # type: ignore[return-value]  # checked by the loader


@dataclass(frozen=True)
class Terminology:
    """All knowledge that an assessment rests on, loaded once."""

    packs: tuple[RulePack, ...]
    flags: Mapping[str, Flag]
    lexicon: Lexicon
    icd10cm: Icd10Cm

    @property
    def main(self) -> RulePack:
        """The pack that the others extend; it carries the rules they share."""
        return self.packs[0]

    def issue(self, hit: RuleHit, setting: Setting, grade: str = "") -> Issue | None:
        """What a hit raises in this setting; None where its flag is not raised there."""
        flag = self.flags[hit.flag or hit.rule.flag]
        severity = flag.severity(setting, hit.grade or grade)
        if severity is None:
            return None
        says = hit.says or flag.says
        return Issue(flag.code, severity, hit.rule.id, says, hit.expression, flag.remedy, hit.rule.cites)

    def pack_of(self, code: str) -> RulePack | None:
        for pack in self.packs:
            if code.startswith(pack.family):
                return pack
        return None

    def tissue_name(self, tissue: str, form: str) -> str:
        """A tissue in words: `is` in a sentence, `option` as an answer to a question."""
        named = (pack.tissue_names.get(tissue, {}).get(form) for pack in self.packs)
        return next((name for name in named if name), tissue)

    @property
    def tissues(self) -> tuple[str, ...]:
        """Every tissue that a family stands for, in the order in which the packs name them."""
        return tuple(dict.fromkeys(t for pack in self.packs for t in pack.tissue_names))

    def packs_for(self, space: str, tissues: Iterable[str]) -> tuple[RulePack, ...]:
        named = set(tissues)
        return tuple(pack for pack in self.packs if pack.space == space and pack.tissues & named)

    def rule(self, rule_id: str) -> Rule | None:
        return next((rule for pack in self.packs for rule in pack.rules if rule.id == rule_id), None)

    def rules(self) -> tuple[Rule, ...]:
        """Every rule once, in the order of the packs."""
        return tuple({rule.id: rule for pack in reversed(self.packs) for rule in reversed(pack.rules)}.values())[::-1]


def load_terminology(folder: Path, site_lexicon: Path | None = None) -> Terminology:
    """Read the whole folder; PackError names the file, the rule and the remedy."""
    icd10cm = load_icd10cm(folder / "icd-10-cm")
    flags = _flags(folder / "flags.yaml")
    lexicon = load_lexicon(folder / "lexicon", icd10cm.vocabulary(), site_lexicon)
    return Terminology(load_packs(folder / "packs", flags, icd10cm, lexicon), flags, lexicon, icd10cm)


@dataclass(frozen=True)
class _Known:
    """What a pack may name: flags, codes, and the tissues and framings of the lexicon."""

    flags: Mapping[str, Flag]
    icd10cm: Icd10Cm
    tissues: frozenset[str]
    framings: frozenset[str]


def load_packs(folder: Path, flags: Mapping[str, Flag], icd10cm: Icd10Cm, lexicon: Lexicon) -> tuple[RulePack, ...]:
    """The packs of a folder, the one that others extend first."""
    pages = {path: load_yaml(path) for path in sorted(folder.glob("*/pack.yaml"))}
    if not pages:
        raise PackError(f"{folder}: holds no pack. A family is a folder with a pack.yaml in it.")
    ids = {str(page.get("pack")): page for page in pages.values()}
    named = [str(page.get("pack")) for page in pages.values()]
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice:
        raise PackError(f"{folder}: two folders hold a pack {twice}. Give each `pack:` a name of its own.")
    known = _Known(flags, icd10cm, lexicon.values("tissue"), lexicon.values("framing") | {"post-surgical"})
    # The packs that others extend come first, so that a fault is reported in the file that it stands in.
    own_first = sorted(pages.items(), key=lambda item: "extends" in item[1])
    packs = [_pack(path, _extended(path, page, ids), known) for path, page in own_first]
    _refuse_shared_codes(packs, folder)
    bases = {str(page["extends"]) for page in pages.values() if "extends" in page}
    return tuple(sorted(packs, key=lambda pack: (pack.id not in bases, pack.id)))


def _extended(path: Path, page: Mapping[str, Any], ids: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The page with what it takes from the pack that it extends; rules of the same id replace."""
    _only(path, "", page, PACK_KEYS)
    if "extends" not in page:
        return dict(page)
    base = ids.get(str(page["extends"]))
    if base is None or "extends" in base:
        raise PackError(
            f"{path}: extends {page['extends']!r}, which is no pack of its own here. "
            f"Name one of: {', '.join(sorted(ids))}."
        )
    own = list(page.get("rules", []))
    replaced = {rule.get("id") for rule in own}
    merged = {**base, **page, "rules": [rule for rule in base["rules"] if rule.get("id") not in replaced] + own}
    for key in ("citations", "elements", "tables", "tissue_names"):
        merged[key] = {**base.get(key, {}), **page.get(key, {})}
    return merged


def _pack(path: Path, page: Mapping[str, Any], known: _Known) -> RulePack:
    for key in ("pack", "version", "title", "family", "space", "tissues", "rules", "citations", "elements"):
        if not page.get(key):
            raise PackError(f"{path}: `{key}` is missing. Add it.")
    if not isinstance(page["version"], str):
        raise PackError(f"{path}: `version` is no text. Write it in quotes.")
    if page["space"] not in SPACES or not set(page["tissues"]) <= known.tissues:
        raise PackError(
            f"{path}: space is one of {', '.join(sorted(SPACES))}, tissues are of the lexicon's "
            f"({', '.join(sorted(known.tissues))}). Correct them, or add the tissue to the lexicon."
        )
    unnamed = set(page["tissues"]) - set(page.get("tissue_names", {}))
    if unnamed:
        raise PackError(f"{path}: tissue {sorted(unnamed)[0]!r} has no entry under tissue_names. Add is and option.")
    citations = {key: _citation(path, key, entry) for key, entry in page["citations"].items()}
    tables = {key: _table(path, key, entry, known.icd10cm) for key, entry in page.get("tables", {}).items()}
    rules = [_rule(path, entry, page["pack"], citations, tables, known) for entry in page["rules"]]
    _refuse_repeats(path, rules)
    _check_elements(path, page["elements"], known)
    return RulePack(
        page["pack"],
        page["version"],
        page["title"],
        page["family"],
        page["space"],
        frozenset(page["tissues"]),
        page.get("tissue_names", {}),
        _codes(path, page, rules),
        tuple(rules),
        {kind: [rule for rule in rules if rule.kind == kind] for kind in {rule.kind for rule in rules}},
        page["elements"],
        tables,
    )


def _citation(path: Path, key: str, entry: Mapping[str, Any]) -> Citation:
    _only(path, f", citation '{key}'", entry, frozenset({"title", "section", "url", "read", "quote"}))
    missing = {"title", "section", "url", "read"} - set(entry)
    if missing:
        raise PackError(
            f"{path}, citation '{key}': `{sorted(missing)[0]}` is missing. Say what was read, where and when."
        )
    return Citation(key, entry["title"], entry["section"], entry["url"], str(entry["read"]), entry.get("quote", ""))


def _table(path: Path, key: str, entry: Mapping[str, Any], icd10cm: Icd10Cm) -> CodeTable:
    _only(path, f", table '{key}'", entry, TABLE_KEYS)
    table = CodeTable(
        id=key,
        title=entry.get("title", key),
        unspecified=entry.get("unspecified", ""),
        regions=entry.get("regions", {}),
        junctions=entry.get("junctions", {}),
        narrower=entry.get("with", {}),
        levels=entry.get("levels", {}),
        before=entry.get("before", {}),
        codes=tuple(entry.get("codes", ())),
    )
    named = [
        table.unspecified,
        *table.levels.values(),
        *table.regions.values(),
        *table.junctions.values(),
        *table.codes,
        *(c for m in table.narrower.values() for c in m.values()),
    ]
    for code in filter(None, named):
        if not icd10cm.known(code):
            raise PackError(f"{path}, table '{key}': {code} is in no loaded release of ICD-10-CM. Correct the code.")
    return table


def _rule(
    path: Path,
    entry: Mapping[str, Any],
    pack: str,
    citations: Mapping[str, Citation],
    tables: Mapping[str, CodeTable],
    known: _Known,
) -> Rule:
    label = f", rule '{entry.get('id')}'"
    kind = str(entry.get("kind"))
    if kind not in SETTINGS:
        raise PackError(f"{path}{label}: unknown kind {kind!r}. Allowed: {', '.join(sorted(SETTINGS))}.")
    _only(path, label, entry, COMMON | SETTINGS[kind])
    for key in ("id", "says", "in_force_from"):
        if not isinstance(entry.get(key), str):
            raise PackError(f"{path}{label}: `{key}` is missing or no text. Add it, quoted.")
    missing = NEEDED.get(kind, frozenset()) - set(entry)
    if missing:
        raise PackError(f"{path}{label}: a rule of kind {kind} needs `{sorted(missing)[0]}`. Add it.")
    _check_values(path, label, entry, known)
    _check_targets(path, label, entry, tables, known)
    cites = [citations[cite] for cite in entry.get("cites", ()) if cite in citations]
    if not cites or len(cites) != len(entry["cites"]):
        wrong = next((cite for cite in entry.get("cites", ()) if cite not in citations), None)
        raise PackError(
            f"{path}{label}: "
            + (
                f"cites '{wrong}', which is not under citations. Add it there."
                if wrong
                else "cites nothing. Name what the rule rests on."
            )
        )
    settings = {key: value for key, value in entry.items() if key not in COMMON}
    return Rule(
        entry["id"],
        entry["says"],
        kind,
        pack,
        entry.get("flag", ""),
        entry["in_force_from"],
        entry.get("in_force_until", FOREVER),
        tuple(cites),
        entry.get("element", ""),
        entry.get("strength", ""),
        settings,
        {key: tuple(values) for key, values in settings.get("when", {}).items()},
    )


def _check_values(path: Path, label: str, entry: Mapping[str, Any], known: _Known) -> None:
    for key, allowed in VALUES.items():
        if key in entry and entry[key] not in allowed:
            raise PackError(f"{path}{label}: `{key}` is {entry[key]!r}. Allowed: {', '.join(sorted(allowed))}.")
    for key in ("element", "asks"):
        if key in entry and entry[key] not in ELEMENTS:
            raise PackError(
                f"{path}{label}: `{key}` names {entry[key]!r}, which is no documentation element. "
                f"Allowed: {', '.join(ELEMENTS)}."
            )
    for key in ("in_force_from", "in_force_until"):
        if key in entry and not (isinstance(entry[key], str) and _DATE.fullmatch(entry[key])):
            raise PackError(f'{path}{label}: `{key}` is no date. Write it as "2015-10-01", quoted.')
    if entry.get("in_force_until", FOREVER) < entry["in_force_from"]:
        raise PackError(f"{path}{label}: ends before it begins. Correct the dates.")
    if entry["kind"] == "redirects" and not set(entry["when"]) <= {"framing", "tissue"}:
        raise PackError(f"{path}{label}: `when` names {', '.join(entry['when'])}. Allowed: framing, tissue.")
    unknown = set(entry.get("when", {}).get("framing", ())) - known.framings
    if unknown:
        raise PackError(
            f"{path}{label}: framing {sorted(unknown)[0]!r} is unknown. Allowed: {', '.join(sorted(known.framings))}."
        )


def _check_targets(
    path: Path,
    label: str,
    entry: Mapping[str, Any],
    tables: Mapping[str, CodeTable],
    known: _Known,
) -> None:
    if entry.get("flag") and entry["flag"] not in known.flags:
        raise PackError(f"{path}{label}: flag {entry['flag']!r} is not in flags.yaml. Add it there or correct it.")
    for target in entry.get("to", ()):
        if target not in tables:
            raise PackError(f"{path}{label}: points to table {target!r}, which is not under tables. Add it there.")
    named = set(entry["codes"]) if entry["kind"] == "names-code" else set(REGIONS)
    odd = [*sorted(named - set(REGIONS)), *sorted(set(REGIONS) - named)]
    if odd:
        raise PackError(
            f"{path}{label}: {odd[0]!r} is no region, or has no code. Correct it: each of {', '.join(REGIONS)} has one."
        )
    for region, code in entry.get("codes", {}).items():
        if not isinstance(code, str) or not known.icd10cm.known(code):
            raise PackError(
                f"{path}{label}: {region!r}: {code!r} is no code of a loaded release. Correct it, in quotes."
            )


def _codes(path: Path, page: Mapping[str, Any], rules: Iterable[Rule]) -> Mapping[str, str]:
    naming = [rule for rule in rules if rule.kind == "names-code"]
    codes: Any = naming[-1].settings["codes"] if naming else {}
    strange = [code for code in codes.values() if not str(code).startswith(page["family"])]
    if not codes or strange:
        raise PackError(
            f"{path}: the names-code rule gives {strange[0] if strange else 'no code'}, which is not of family "
            f"{page['family']}. Correct it."
        )
    return dict(codes)


def _refuse_repeats(path: Path, rules: Iterable[Rule]) -> None:
    """A rule id may stand twice only for dates that do not overlap."""
    seen: dict[str, list[Rule]] = {}
    for rule in rules:
        for other in seen.get(rule.id, []):
            if rule.in_force_from <= other.in_force_until and other.in_force_from <= rule.in_force_until:
                raise PackError(
                    f"{path}, rule '{rule.id}': stands twice for the same dates. End one before the other begins."
                )
        seen.setdefault(rule.id, []).append(rule)


def _refuse_shared_codes(packs: Iterable[RulePack], folder: Path) -> None:
    owner: dict[str, str] = {}
    for pack in packs:
        for code in pack.codes.values():
            if owner.setdefault(code, pack.id) != pack.id:
                raise PackError(
                    f"{folder}: {code} is named by packs {owner[code]} and {pack.id}. A code belongs to one pack."
                )


def _check_elements(path: Path, elements: Mapping[str, Any], known: _Known) -> None:
    for name, entry in elements.items():
        if name not in ELEMENTS:
            raise PackError(f"{path}, element '{name}': unknown. Allowed: {', '.join(ELEMENTS)}.")
        _only(path, f", element '{name}'", entry, frozenset({"label", "asks", "options"}))
        if not entry.get("label") or not entry.get("asks"):
            raise PackError(f"{path}, element '{name}': has no question. Add label and asks.")
    missing = set(ELEMENTS) - set(elements)
    if missing:
        raise PackError(f"{path}: element '{sorted(missing)[0]}' has no question. Add label and asks.")
    for name, codes in (("region", set(REGIONS)), ("space", set(SPACES))):
        if set(elements[name].get("options", ())) != codes:
            raise PackError(f"{path}, element '{name}': options are exactly {', '.join(sorted(codes))}. Correct them.")
    unknown = set(elements["framing"].get("options", ())) - known.framings
    if unknown:
        raise PackError(f"{path}, element 'framing': option {sorted(unknown)[0]!r} is no framing of the lexicon.")


def _flags(path: Path) -> dict[str, Flag]:
    page = load_yaml(path)
    _only(path, "", page, frozenset({"source", "flags"}))
    found = {}
    for code, entry in page.get("flags", {}).items():
        _only(path, f", flag '{code}'", entry, frozenset({"says", "do", *_GRADES}))
        severities = {key: value for key, value in entry.items() if key in _GRADES}
        if not {"charting", "claim"} <= set(severities) or set(severities.values()) - {
            "information",
            "warning",
            "error",
            "-",
        }:
            raise PackError(
                f"{path}, flag '{code}': give charting and claim one of information, warning, error, \"-\"."
            )
        if not entry.get("says") or not entry.get("do"):
            raise PackError(f"{path}, flag '{code}': say what is found in `says` and what to do in `do`.")
        found[code] = Flag(code, entry["says"], entry["do"], severities)
    return found


def _only(path: Path, label: str, entry: Mapping[str, Any], allowed: frozenset[str]) -> None:
    unknown = set(entry) - allowed
    if unknown:
        raise PackError(f"{path}{label}: unknown key {sorted(unknown)[0]!r}. Allowed: {', '.join(sorted(allowed))}.")
