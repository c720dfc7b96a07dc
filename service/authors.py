"""Who wrote something of a record: the provider, whose words diagnose, or someone whose words only point there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from service.fhir_values import Resource, concept_texts, is_provider, reference_in

_NOT_PROVIDER = re.compile(
    r"\b(?:nurse|nursing|rn|lpn|lvn|cna|physical therap\w*|occupational therap\w*|therapist|medical assistant|dietit\w*"
    r"|technologist|student|patient|social work\w*|pta|scribe)\b",
    re.I,
)
_PT_CREDENTIAL = re.compile(r",\s*(?:PT|DPT|OT|OTR|PTA|RN|BSN|LPN|MA)\b")


def note_by_provider(note: Mapping[str, Any]) -> bool:
    if not is_provider(note.get("authorReference")):
        return False
    named = f"{note.get('authorString') or ''} {(note.get('authorReference') or {}).get('display') or ''}"
    return not _NOT_PROVIDER.search(named) and not _PT_CREDENTIAL.search(named)


def document_by_provider(document: Resource) -> bool:
    authors = document.get("author") or ()
    if any(
        reference_in(a).split("/")[0] in ("Patient", "RelatedPerson", "Device", "Organization")
        for a in authors
        if reference_in(a)
    ):
        return False
    titles = (
        [a.get("display") for a in authors]
        + [t for _, t in concept_texts(document.get("type"), "")]
        + [document.get("description")]
    )
    titles += [t for c in document.get("category") or () for _, t in concept_texts(c, "")]
    named = " | ".join(str(t) for t in titles if t)
    return not _NOT_PROVIDER.search(named) and not _PT_CREDENTIAL.search(named)
