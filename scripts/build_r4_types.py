"""Builds service/r4_types.json: what sound.py lays its structs out from, told by the models of fhir.resources.

    python scripts/build_r4_types.py

To import those models takes a third of a start, and what is plainly valid needs none of them. A test holds that the
file is what this writes; build it again with a new release of fhir.resources.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from service.fhir_definitions import definition_of, resource_model

TARGET = Path(__file__).resolve().parent.parent / "service" / "r4_types.json"
# What doors and batches read; a resource of another type is left to the whole validation.
RESOURCES = (
    "Bundle Claim Condition Coverage DiagnosticReport DocumentReference Encounter Observation OperationOutcome"
    " Organization Parameters Patient Practitioner PractitionerRole Questionnaire QuestionnaireResponse ServiceRequest"
).split()


def types() -> dict[str, dict[str, Any]]:
    """Each type by name, with all that lie in it: its elements as (type, repeats, is complex), what it asks for."""
    found: dict[str, dict[str, Any]] = {}
    for name in RESOURCES:
        _take(resource_model(name), found)
    return dict(sorted(found.items()))


def _take(model: Any, found: dict[str, dict[str, Any]]) -> None:
    definition = definition_of(model)
    if definition.name in found:
        return
    elements = {name: e for name, e in definition.elements.items() if not name.startswith("_")}
    found[definition.name] = {
        "is_resource": definition.is_resource,
        "elements": {name: [e.type_name, e.repeats, e.model is not None] for name, e in elements.items()},
        "required": [name for name in definition.required if name in elements],
        "choices": [[needed, [n for n in names if n in elements]] for needed, names in definition.choices.values()],
    }
    for element in elements.values():
        if element.model is not None and element.type_name != "Resource":
            _take(element.model, found)


def written() -> str:
    """The file, a type a line."""
    return "{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(one)}" for name, one in types().items()) + "\n}\n"


if __name__ == "__main__":
    TARGET.write_text(written(), "utf-8")
