"""Text of a FHIR Attachment: text/plain and text/html, decoded; offsets are those of the decoded source."""

from __future__ import annotations

import base64
import binascii
import html
import re
from typing import Any

_TAGS = re.compile(r"<!--.*?-->|<(?:script|style)\b.*?</(?:script|style)\s*>|<[^>]*>", re.S | re.I)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_BLOCK = re.compile(r"</?(?:p|div|br|li|ul|ol|tr|td|th|table|h[1-6]|section|pre|hr|body|head|title)\b", re.I)
_CHARSET = re.compile(r"charset=[\"']?([\w.:-]+)", re.I)
MAX_TEXT = 262_144


def attachment_text(attachment: dict[str, Any]) -> tuple[str, str] | None:
    """(text, HTML source or '') of an attachment; None when it holds no text that can be read."""
    kind = str(attachment.get("contentType") or "text/plain").lower()
    data = attachment.get("data")
    if not isinstance(data, str) or not (kind.startswith("text/") or "html" in kind):
        return None
    try:
        raw = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    named = _CHARSET.search(kind)
    try:
        source = raw.decode(named.group(1) if named else "utf-8", "replace")
    except LookupError:
        source = raw.decode("utf-8", "replace")
    if not source.strip() or len(source) > MAX_TEXT or source.count("�") > len(source) // 10:
        return None
    return (blank_markup(source), source) if "html" in kind else (source, "")


def blank_markup(source: str) -> str:
    """The source at the same length with tags as blanks (new lines for blocks) and entities as their character."""
    return _ENTITY.sub(_plain_entity, _TAGS.sub(_blank, source))


def _blank(match: re.Match[str]) -> str:
    tag = match.group()
    filler = "\n" if _BLOCK.match(tag) else " "
    inside_word = filler == " " and not tag.startswith(("<!--", "<script", "<style"))
    return (filler if not inside_word else " ") + " " * (len(tag) - 1)


def _plain_entity(match: re.Match[str]) -> str:
    written = html.unescape(match.group())
    character = written if len(written) == 1 and written.isprintable() else " "
    return character + " " * (len(match.group()) - 1)
