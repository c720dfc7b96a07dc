"""The files of a Bulk Data export by its manifest, the answer of `$export` when it is complete.

Bulk Data Access 2.0, "Response - Complete Status": `output` names for each file its `type` and its `url`. Whoever
downloaded the files keeps them beside the manifest, under the last part of the url.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

from service.json_body import Issue, Refusal

# The types that the batch judges or joins; the files of other types are of no matter to it.
TYPES = frozenset({"Condition", "Claim", "DiagnosticReport", "Encounter", "Observation", "DocumentReference"})
_LARGEST = 4 * 1024 * 1024  # bytes of a manifest; an NDJSON file is not read whole to see that it is none
_ENDINGS = ("", ".gz", ".ndjson", ".ndjson.gz")


def with_manifests(names: Sequence[str]) -> list[str]:
    """These inputs, in the place of each manifest the files that lie beside it. Refusal names one that does not."""
    return [file for name in names for file in (_beside(Path(name)) if _is_manifest(name) else [name])]


def files_of(manifest: str) -> list[str]:
    """The names of the files that a manifest's text tells of, without folder; only of types that the batch judges."""
    page = json.loads(manifest)
    names = [_name(str(each.get("url", ""))) for each in page["output"] if each.get("type") in TYPES]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        _refuse(f"The manifest names two files {twice[0]}; give the downloaded files themselves instead of it.")
    return names


def _is_manifest(name: str) -> bool:
    path = Path(name)
    if not name.endswith(".json") or not path.is_file() or path.stat().st_size > _LARGEST:
        return False
    try:
        page: Any = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(page, dict) and "resourceType" not in page and isinstance(page.get("output"), list)


def _beside(manifest: Path) -> list[str]:
    return [str(_existing(manifest, name)) for name in files_of(manifest.read_text("utf-8"))]


def _existing(manifest: Path, name: str) -> Path:
    found = [path for ending in _ENDINGS if (path := manifest.with_name(name + ending)).is_file()]
    if not found:
        _refuse(f"{manifest} names {name}, which does not lie beside it; download it there.")
    return found[0]


def _name(url: str) -> str:
    """The last part of a url's path; a name that could lead elsewhere is refused."""
    name = unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]
    if not name or name in (".", "..") or "\\" in name or "\0" in name:
        _refuse("The manifest has an output whose url ends in no file name; give the downloaded files instead of it.")
    return name


def _refuse(sentence: str) -> NoReturn:
    raise Refusal(400, [Issue("error", "not-found", sentence)])
