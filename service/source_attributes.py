"""What decision support says of itself, attribute by attribute (45 CFR 170.315(b)(11)(iv)(A)).

What is said lies in `terminology/source-attributes.yaml`; what each rule rests on and which releases are loaded is
told by the terminology itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from service.coding.errors import PackError
from service.coding.packs import Terminology
from service.coding.yaml_strict import load_yaml
from service.shipped import terminology_dir

Json = dict[str, Any]
PAGE = "source-attributes.yaml"


def attributes_of(own: Path | None, terminology: Terminology) -> list[Json]:
    """Each attribute with what is listed for it; PackError where the page names a list that there is not.

    `own` is the operator's folder of terminology, whose page counts where it has one.
    """
    path = (own if own and (own / PAGE).exists() else terminology_dir()) / PAGE
    return [_listed(entry, terminology, path) for entry in load_yaml(path)["attributes"]]


def _listed(entry: Json, terminology: Terminology, path: Path) -> Json:
    if "lists" not in entry:
        return dict(entry)
    if entry["lists"] not in _LISTS:
        raise PackError(f"{path}, '{entry['id']}': lists '{entry['lists']}'. Allowed: {', '.join(_LISTS)}.")
    listed = {"listed": _LISTS[entry["lists"]](terminology)}
    return {key: value for key, value in entry.items() if key != "lists"} | listed


def _citations(terminology: Terminology) -> list[str]:
    cited = (citation for rule in terminology.rules() for citation in rule.cites)
    return sorted({f"{c.title}, {c.section}, {c.url} (read {c.read})" for c in cited})


def _releases(terminology: Terminology) -> list[str]:
    packs = [f"{pack.title}: version {pack.version}" for pack in terminology.packs]
    return [*packs, f"ICD-10-CM: in force from {terminology.icd10cm.newest.in_force_from} (the newest)"]


_LISTS: Mapping[str, Callable[[Terminology], list[str]]] = {"citations": _citations, "releases": _releases}
