"""The FHIR resources that we publish.

What repeats terminology/ is built from it here, so that it cannot go stale and a site's own folder counts; what only
defines (profiles, operations, examples) lies in fhir_profiles/ as JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from service.cards import OVERRIDE_SYSTEM, OVERRIDES, TOPIC_SYSTEM, TOPICS
from service.code_systems import CodeSystems, ListedEdition
from service.coding.model import ELEMENTS, REQUIRED, Disposition
from service.coding.packs import CodeTable, RulePack, Terminology
from service.concepts import DICOM, LOINC, SNOMED, Concepts
from service.fhir_out import (
    CANONICAL,
    FLAG_SYSTEM,
    ICD10CM,
    OPTION_SYSTEM,
    REGION_SYSTEM,
    SPACE_SYSTEM,
    TISSUE_SYSTEM,
    VALUE_SYSTEM,
    Json,
)
from service.json_body import dump_json
from service.sdc import ADAPTIVE, FORM

PUBLISHER = "FHIR Coding Assist"
ELEMENT_SYSTEM = f"{CANONICAL}/CodeSystem/documentation-element"
DISPOSITION_SYSTEM = f"{CANONICAL}/CodeSystem/disposition"
LOINC_NOTICE = (
    "This material contains content from LOINC (http://loinc.org). LOINC is copyright (c) 1995-2020, Regenstrief "
    "Institute, Inc. and the Logical Observation Identifiers Names and Codes (LOINC) Committee and is available at no "
    "cost under the license at http://loinc.org/license. LOINC(R) is a registered United States trademark of "
    "Regenstrief Institute, Inc."
)
SNOMED_NOTICE = (
    "This material includes content from SNOMED Clinical Terms(R) (SNOMED CT(R)), copyright (c) 2002+ International "
    "Health Terminology Standards Development Organisation (IHTSDO). Whoever uses the SNOMED CT codes needs an "
    "affiliate licence of their own."
)
DISPOSITIONS: Mapping[Disposition, str] = {
    "code-supported": "A code is selected; supporting details may still be asked for.",
    "query": "A required element is missing, uncertain or in conflict, and is asked for.",
    "not-applicable": "In these families, but denied, past, refuted, another person's, or complete elsewhere.",
    "not-assessed": "A code of a family without a rule pack; only its validity was checked.",
    "out-of-scope": "No stenosis, canal or code of these families.",
}
SPACES = {"canal": "Neural canal", "foramen": "Intervertebral foramen"}
# What an element can be found to be besides what the lexicon and the packs name.
FOUND = ("stenosis", "stated", "uncertain", "uncertain-at-discharge", "category-words", "chosen-code")
OFFERED_ALWAYS = {"other": "Other", "unable-to-determine": "Unable to determine"}
LEXICON_KINDS = ("framing", "modality", "function", "care", "tissue")


@dataclass(frozen=True)
class Published:
    """Every resource that is served for reading, by type and id."""

    resources: Mapping[tuple[str, str], Json]
    code_systems: CodeSystems
    date: str

    def of_type(self, kind: str) -> list[Json]:
        return [resource for (its_kind, _), resource in self.resources.items() if its_kind == kind]

    def read(self, kind: str, identifier: str) -> Json | None:
        return self.resources.get((kind, identifier))

    def by_url(self, kind: str, url: str, version: str = "") -> Json | None:
        """The resource of a canonical URL, `url|version` too."""
        asked, _, of_url = url.partition("|")
        wanted = version or of_url
        found = (one for one in self.of_type(kind) if one.get("url") == asked)
        return next((one for one in found if not wanted or one.get("version") == wanted), None)

    @cached_property
    def bytes(self) -> Mapping[tuple[str, str], bytes]:
        """Each resource as it is sent."""
        return {key: dump_json(resource) for key, resource in self.resources.items()}


def publish(terminology: Terminology, concepts: Concepts, folder: Path) -> Published:
    """All that is published, from what is known and from the folder fhir_profiles/."""
    completed = _with_origin(terminology)
    listed = [completed(one) for one in _code_systems(terminology)]
    systems = CodeSystems(terminology.icd10cm, {one["url"]: ListedEdition(one) for one in listed})
    built = [
        *_icd10cm(systems, terminology),
        *_value_sets(terminology, concepts),
        *_concept_maps(terminology, concepts),
        *_rule_packs(terminology),
        _adaptive_form(),
    ]
    resources = [*listed, *map(completed, built), *_files(folder)]
    return Published(
        {(one["resourceType"], one["id"]): _stamped(one) for one in resources}, systems, _date(terminology)
    )


def _date(terminology: Terminology) -> str:
    """The day on which what the rules rest on was read last."""
    return max(cite.read for rule in terminology.rules() for cite in rule.cites)


def _files(folder: Path) -> Iterator[Json]:
    for path in sorted(folder.glob("*.json")):
        yield json.loads(path.read_text("utf-8"))


def _with_origin(terminology: Terminology) -> Callable[[Json], Json]:
    """The elements that all canonical resources of ours have, where they lack them."""
    common = {"version": terminology.main.version, "status": "active", "experimental": False, "publisher": PUBLISHER}

    def completed(resource: Json) -> Json:
        if resource["resourceType"] == "Provenance":
            return resource
        url = f"{CANONICAL}/{resource['resourceType']}/{resource['id']}"
        name = "".join(word.capitalize() for word in resource["id"].replace(".", "-").split("-"))
        head = {"resourceType": resource["resourceType"], "id": resource["id"], "url": url, "name": name}
        return {**head, **common, **resource}

    return completed


def _stamped(resource: Json) -> Json:
    """With a versionId that changes when, and only when, the content does."""
    digest = hashlib.sha256(dump_json(resource)).hexdigest()[:16]
    head = {"resourceType": resource["resourceType"], "id": resource["id"]}
    return {**head, "meta": {**resource.get("meta", {}), "versionId": digest}, **_without(resource, "meta")}


def _without(resource: Json, *names: str) -> Json:
    return {name: value for name, value in resource.items() if name not in names}


# --- code systems -------------------------------------------------------------------------------------------------


def _code_systems(terminology: Terminology) -> Iterator[Json]:
    elements = terminology.main.elements
    regions: Mapping[str, str] = elements["region"]["options"]
    yield _system(
        ELEMENT_SYSTEM,
        "Documentation elements",
        "What has to be documented for a code of the stenosis families; a required one that is missing is asked for.",
        [
            {
                "code": name,
                "display": elements[name]["label"] if name in elements else name.capitalize(),
                "definition": "Required." if name in REQUIRED else "Supporting.",
            }
            for name in ELEMENTS
        ],
    )
    yield _system(
        TISSUE_SYSTEM,
        "Narrowing tissues",
        "The tissue that narrows a neural canal or an intervertebral foramen.",
        [{"code": tissue, "display": terminology.tissue_name(tissue, "option")} for tissue in terminology.tissues],
    )
    yield _system(
        REGION_SYSTEM,
        "Body regions",
        "The body regions of ICD-10-CM category M99.",
        [{"code": region, "display": regions[region]} for region in terminology.main.codes],
    )
    yield _system(SPACE_SYSTEM, "Narrowed spaces", "The space that is narrowed.", _listed(SPACES))
    yield _system(
        VALUE_SYSTEM,
        "Values of documentation elements",
        "What an element was found to be, where it is neither a tissue nor a region nor a space.",
        [{"code": code, "display": _in_words(code)} for code in _values(terminology)],
    )
    yield _system(FLAG_SYSTEM, "Documentation flags", "What an issue of an answer is about.", _flags(terminology))
    yield _system(
        DISPOSITION_SYSTEM,
        "Dispositions",
        "What became of a Condition that was assessed.",
        [
            {"code": code, "display": _in_words(code), "definition": DISPOSITIONS[code]}
            for code in get_args(Disposition)
        ],
    )
    yield _system(TOPIC_SYSTEM, "Card topics", "What a CDS Hooks card is about.", list(TOPICS.values()))
    reasons = {code: display for of_card in OVERRIDES.values() for code, display in of_card.items()}
    yield _system(OVERRIDE_SYSTEM, "Override reasons", "Why a CDS Hooks card was not followed.", _listed(reasons))
    yield _system(
        OPTION_SYSTEM, "Query options", "The answers that a documentation query offers.", _options(terminology)
    )


def _system(url: str, title: str, description: str, concepts: Sequence[Json]) -> Json:
    properties = sorted({one["code"] for concept in concepts for one in concept.get("property", ())})
    system: Json = {
        "resourceType": "CodeSystem",
        "id": url.rpartition("/")[2],
        "url": url,
        "title": title,
        "description": description,
        "caseSensitive": True,
        "valueSet": url.replace("/CodeSystem/", "/ValueSet/"),
        "content": "complete",
        "count": len(concepts),
        "property": [{"code": code, "description": f"Severity {code}.", "type": "code"} for code in properties],
        "concept": list(concepts),
    }
    return system if properties else _without(system, "property")


def _listed(displays: Mapping[str, str]) -> list[Json]:
    return [{"code": code, "display": display} for code, display in displays.items()]


def _in_words(code: str) -> str:
    return code.replace("-", " ").capitalize() if code.islower() else code


def _values(terminology: Terminology) -> list[str]:
    named = {value for kind in LEXICON_KINDS for value in terminology.lexicon.values(kind)}
    offered = {code for element in terminology.main.elements.values() for code in element.get("options", {})}
    apart = {*terminology.main.codes, *SPACES} - set(terminology.tissues)
    return sorted((named | offered | set(FOUND)) - apart)


def _flags(terminology: Terminology) -> list[Json]:
    return [
        {
            "code": flag.code,
            "display": _in_words(flag.code.rpartition(".")[2]),
            "definition": flag.says,
            "property": [
                {"code": setting, "valueCode": severity}
                for setting, severity in flag.severities.items()
                if severity != "-"
            ],
        }
        for flag in terminology.flags.values()
    ]


def _options(terminology: Terminology) -> list[Json]:
    options = {tissue: terminology.tissue_name(tissue, "option") for tissue in terminology.tissues}
    for element in terminology.main.elements.values():
        options |= element.get("options", {})
    return _listed({**options, "several": "More than one of these", **OFFERED_ALWAYS})


def _icd10cm(systems: CodeSystems, terminology: Terminology) -> Iterator[Json]:
    """One CodeSystem for each fiscal year; the codes are too many for a resource and are had by the operations."""
    for year in systems.icd10cm_versions:
        editions = [release.edition for release in terminology.icd10cm.releases if release.fiscal_year == year]
        yield {
            "resourceType": "CodeSystem",
            "id": f"icd-10-cm-{year}",
            "url": ICD10CM,
            "version": year,
            "title": "ICD-10-CM",
            "description": f"ICD-10-CM of fiscal year {year} ({'; '.join(editions)}).",
            "publisher": "National Center for Health Statistics (NCHS)",
            "copyright": "A work of the United States government; the World Health Organization (WHO) holds the "
            "copyright of ICD-10.",
            "caseSensitive": False,
            "hierarchyMeaning": "is-a",
            "compositional": False,
            "content": "not-present",
            "property": [
                {"code": "parent", "uri": _PROPERTY + "parent", "type": "code"},
                {"code": "child", "uri": _PROPERTY + "child", "type": "code"},
                {"code": "notSelectable", "uri": _PROPERTY + "notSelectable", "type": "boolean"},
            ],
        }


_PROPERTY = "http://hl7.org/fhir/concept-properties#"


# --- value sets ---------------------------------------------------------------------------------------------------


def _value_sets(terminology: Terminology, concepts: Concepts) -> Iterator[Json]:
    for system in _code_systems(terminology):
        yield _value_set(system["id"], system["title"], system["description"], [{"system": system["url"]}])
    main = terminology.main
    yield _value_set(
        f"{main.family.lower().replace('.', '-')}-codes", f"{main.family}- codes", main.title, [_family(main)]
    )
    yield _value_set(
        "m99-stenosis-codes",
        "Stenosis codes of M99",
        "The codes of all the families that have a rule pack.",
        [_family(pack) for pack in sorted(terminology.packs, key=lambda pack: pack.family)],
    )
    yield _value_set("icd-10-cm", "ICD-10-CM", "All codes of ICD-10-CM, headers too.", [{"system": ICD10CM}])
    yield _value_set(
        "imaging-modality",
        "Imaging modalities",
        "DICOM modalities of the imaging that a narrowing is documented by.",
        [_enumerated(DICOM, concepts.modalities)],
    )
    yield {
        **_value_set(
            "imaging-report",
            "Imaging reports",
            "LOINC codes of imaging reports on the regions that a narrowing is documented in.",
            [_enumerated(LOINC, concepts.imaging_reports)],
        ),
        "copyright": LOINC_NOTICE,
    }


def _value_set(identifier: str, title: str, description: str, includes: Sequence[Json]) -> Json:
    return {
        "resourceType": "ValueSet",
        "id": identifier,
        "title": title,
        "description": description,
        "compose": {"include": list(includes)},
    }


def _family(pack: RulePack) -> Json:
    return {"system": ICD10CM, "filter": [{"property": "concept", "op": "descendent-of", "value": pack.family}]}


def _enumerated(system: str, displays: Mapping[str, Mapping[str, Any]]) -> Json:
    return {"system": system, "concept": [{"code": code, "display": d["display"]} for code, d in displays.items()]}


# --- concept maps -------------------------------------------------------------------------------------------------


def _concept_maps(terminology: Terminology, concepts: Concepts) -> Iterator[Json]:
    yield {
        **_map("snomed-ct-body-site-to-region", "SNOMED CT body site to region", SNOMED, REGION_SYSTEM),
        "description": "The body region of ICD-10-CM category M99 that a body site belongs to.",
        "copyright": SNOMED_NOTICE,
        "group": [_group(SNOMED, REGION_SYSTEM, _sites(terminology, concepts))],
    }
    yield {
        **_map("snomed-ct-finding-to-icd-10-cm", "SNOMED CT finding to ICD-10-CM family", SNOMED, ICD10CM),
        "description": "The ICD-10-CM code or family that a finding points to; the region decides on the code.",
        "copyright": SNOMED_NOTICE,
        "group": [_group(SNOMED, ICD10CM, _findings(terminology, concepts))],
    }
    yield {
        **_map("region-to-icd-10-cm", "Region, tissue and space to ICD-10-CM", REGION_SYSTEM, ICD10CM),
        "description": "The code of the M99 stenosis families for a region, depending on tissue and space.",
        "group": [_group(REGION_SYSTEM, ICD10CM, _regions(terminology))],
    }


def _map(identifier: str, title: str, source: str, target: str) -> Json:
    return {
        "resourceType": "ConceptMap",
        "id": identifier,
        "title": title,
        "sourceUri": _all_of(source),
        "targetUri": _all_of(target),
    }


def _all_of(system: str) -> str:
    """The value set of all codes of a system."""
    ours = {ICD10CM: f"{CANONICAL}/ValueSet/icd-10-cm", SNOMED: f"{SNOMED}?fhir_vs"}
    return ours.get(system) or system.replace("/CodeSystem/", "/ValueSet/")


def _group(source: str, target: str, elements: Iterable[Json]) -> Json:
    return {"source": source, "target": target, "element": [one for one in elements if one["target"]]}


def _element(code: str, display: str, targets: Sequence[Json]) -> Json:
    return {"code": code, "display": display, "target": list(targets)}


def _target(code: str, display: str, equivalence: str, comment: str = "", **more: Any) -> Json:
    told = {"comment": comment} if comment else {}
    return {"code": code, "display": display, "equivalence": equivalence, **told, **more}


def _sites(terminology: Terminology, concepts: Concepts) -> Iterator[Json]:
    regions: Mapping[str, str] = terminology.main.elements["region"]["options"]
    for code, site in concepts.body_sites.items():
        # head-or-cervical: the atlantoaxial joint has no entry in the Alphabetic Index (POLICY 3)
        named = site["region"].split("-or-")
        equivalence, comment = (
            ("wider", "") if len(named) == 1 else ("inexact", "One of these; the region is asked for.")
        )
        yield _element(code, site["display"], [_target(one, regions[one], equivalence, comment) for one in named])


def _findings(terminology: Terminology, concepts: Concepts) -> Iterator[Json]:
    for code, finding in concepts.findings.items():
        yield _element(code, finding["display"], list(_finding_targets(finding, terminology)))


def _finding_targets(finding: Mapping[str, Any], terminology: Terminology) -> Iterator[Json]:
    tissues = set(finding.get("tissue", ()))
    for pack in terminology.packs_for(str(finding.get("space", "")), tissues):
        equivalence = "equivalent" if pack.tissues == tissues else "wider"
        yield _target(pack.family, pack.title, equivalence, "The region decides on the code.")
    if finding.get("narrowing") and not tissues:
        yield _in_table(terminology.main.tables["M48.0-"], finding, terminology)
    for kind in ("framing", "function"):
        for table in _tables_for(kind, str(finding.get(kind, "")), terminology.main):
            yield _in_table(table, finding, terminology)


def _tables_for(kind: str, value: str, pack: RulePack) -> Iterator[CodeTable]:
    """The tables that a redirecting or accompanying rule names for a finding."""
    for rule in pack.rules:
        if rule.kind in ("redirects", "companions") and value in rule.when.get(kind, ()):
            yield from (pack.tables[name] for name in rule.names("to"))


def _in_table(table: CodeTable, finding: Mapping[str, Any], terminology: Terminology) -> Json:
    """The code of the finding's own region; the family where it names none."""
    newest = terminology.icd10cm.newest.in_force_from
    region, junction = str(finding.get("region", "")), str(finding.get("junction", ""))
    code = table.code(region, junction, (), newest)
    if not code:
        family = table.codes[0] if table.codes else table.id.rstrip("-")
        return _target(family, _title(family, terminology), "relatedto", "The region decides on the code.")
    narrower = next((name for name, codes in table.narrower.items() if region in codes), "")
    if narrower:
        return _target(code, _title(code, terminology), "narrower", f"Where {narrower} is not documented.")
    return _target(code, _title(code, terminology), "equivalent")


def _title(code: str, terminology: Terminology) -> str:
    return terminology.icd10cm.title(code) or code


def _regions(terminology: Terminology) -> Iterator[Json]:
    regions: Mapping[str, str] = terminology.main.elements["region"]["options"]
    for region, display in regions.items():
        targets = [
            _region_target(pack, region, tissue, terminology)
            for pack in sorted(terminology.packs, key=lambda pack: pack.family)
            for tissue in terminology.tissues
            if tissue in pack.tissues and region in pack.codes
        ]
        yield _element(region, display, targets)


def _region_target(pack: RulePack, region: str, tissue: str, terminology: Terminology) -> Json:
    depends = [
        {"property": TISSUE_SYSTEM, "system": TISSUE_SYSTEM, "value": tissue},
        {"property": SPACE_SYSTEM, "system": SPACE_SYSTEM, "value": pack.space},
    ]
    code = pack.codes[region]
    equivalence = "equivalent" if len(pack.tissues) == 1 else "wider"
    return _target(code, _title(code, terminology), equivalence, f"{pack.citation_quote()}", dependsOn=depends)


# --- the rule packs -----------------------------------------------------------------------------------------------


def _rule_packs(terminology: Terminology) -> Iterator[Json]:
    for pack in terminology.packs:
        identifier = f"rule-pack-{pack.id}"
        cites = {cite.id: cite for rule in pack.rules for cite in rule.cites}
        yield {
            "resourceType": "Library",
            "id": identifier,
            "version": pack.version,
            "title": f"Rule pack {pack.family}-: {pack.title}",
            "description": f"The {len(pack.rules)} rules by which a code of {pack.family}- is selected, asked for or "
            "refused. Each is served under /rules with what it rests on.",
            "type": {"coding": [{"system": _LIBRARY_TYPE, "code": "asset-collection"}]},
            "relatedArtifact": [
                {"type": "citation", "label": cite.id, "display": f"{cite.title}, {cite.section}", "url": cite.url}
                for cite in cites.values()
            ],
        }
        yield {
            "resourceType": "Provenance",
            "id": identifier,
            "target": [{"reference": f"Library/{identifier}"}],
            "recorded": f"{max(cite.read for cite in cites.values())}T00:00:00Z",
            "agent": [{"type": {"text": "author of the rules"}, "who": {"display": PUBLISHER}}],
            "entity": [
                {"role": "source", "what": {"display": f"{title} (read {read})", "identifier": {"value": url}}}
                for title, url, read in sorted({(cite.title, cite.url, cite.read) for cite in cites.values()})
            ],
        }


def _adaptive_form() -> Json:
    """The form without its questions, which depend on the record: $next-question gives them (SDC adaptive forms)."""
    return {
        "resourceType": "Questionnaire",
        "id": FORM.rpartition("/")[2],
        "extension": [{"url": ADAPTIVE, "valueBoolean": True}],
        "title": "Documentation query",
        "description": "What a record leaves open on a narrowed neural canal or foramen, one question at a time. Send "
        "a QuestionnaireResponse that contains a Questionnaire derived from this one, and the record, to "
        "$next-question.",
        "subjectType": ["Patient"],
    }


_LIBRARY_TYPE = "http://terminology.hl7.org/CodeSystem/library-type"
