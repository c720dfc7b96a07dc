"""The pages of terminology/, each a mapping: parsed, or as `coding-assist compile` has kept them."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from service.coding.errors import PackError
from service.coding.kept import kept, key_of

PAGE = "page"


def load_yaml(path: Path) -> dict[str, Any]:
    """One YAML file as a mapping; PackError with file, line and remedy when it is none."""
    try:
        source = path.read_bytes()
    except OSError as error:
        raise PackError(f"{path}: cannot be read ({error.strerror}). Check the folder given as TERMINOLOGY.") from None
    page = kept(PAGE, source) or _parsed(path, source)
    if not isinstance(page, dict):
        raise PackError(f"{path}: holds no mapping. Start the file with keys such as `concepts:` or `rules:`.")
    return page


def entry_to_keep(path: Path) -> dict[str, Any]:
    """What to keep of a page; nothing where JSON would tell something else, such as the text of a date for a date."""
    source = path.read_bytes()
    page = _parsed(path, source)
    try:
        is_same = json.loads(json.dumps(page)) == page
    except TypeError:
        is_same = False
    return {key_of(PAGE, source): page} if is_same else {}


def _parsed(path: Path, source: bytes) -> Any:
    # Imported where it is needed: where all pages are kept, it never is.
    return import_module("service.coding.yaml_parsing").parse_yaml(path, source)
