"""What `coding-assist compile` has derived from files of terminology/, so that a start need not derive it again.

Each entry stands under the SHA-256 of the file that it was derived from and of the code that derived it: of what
changed since, nothing is found.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

CORE = Path(__file__).parent
FILE = CORE / "compiled" / "kept.json"
DERIVING = ("code_lines.py", "yaml_parsing.py")


def key_of(kind: str, source: bytes) -> str:
    """Under which an entry stands: what was derived, by what and from what."""
    return f"{kind} {_deriving()} {hashlib.sha256(source).hexdigest()}"


def kept(kind: str, source: bytes) -> Any:
    """What was derived from these bytes; None where nothing was."""
    text = _entries().get(key_of(kind, source))
    return None if text is None else json.loads(text)


def keep(entries: dict[str, Any]) -> None:
    """Write these entries, and no others."""
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps({key: json.dumps(entry) for key, entry in entries.items()}), "utf-8")
    _entries.cache_clear()


@cache
def _deriving() -> str:
    return hashlib.sha256(b"".join((CORE / name).read_bytes() for name in DERIVING)).hexdigest()


@cache
def _entries() -> dict[str, str]:
    """Each entry as text: who changes what he got changes nothing here."""
    try:
        entries: dict[str, str] = json.loads(FILE.read_bytes())
    except (OSError, ValueError):
        return {}
    return entries
