"""Text of a FHIR Attachment: plain text, HTML, RTF and PDF with text; nothing is fetched, nothing is guessed.

Offsets are those of the decoded source (plain text, HTML) or of the text that was extracted (RTF, PDF). An attachment
that is damaged, encrypted, a picture, or larger than the limits below has no text and is told as unreadable.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
from importlib import import_module
from typing import Any, NamedTuple

from striprtf.striprtf import rtf_to_text

# What is opened and not closed runs to the end (HTML "Tokenization"): so each piece is looked at once.
_TAGS = re.compile(r"<!--.*?(?:-->|\Z)|<(?:script|style)\b.*?(?:</(?:script|style)\s*>|\Z)|<[^>]*+>?", re.S | re.I)
_HIDING = ("<!--", "<script", "<style")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_BLOCK = re.compile(r"</?(?:p|div|br|li|ul|ol|tr|td|th|table|h[1-6]|section|pre|hr|body|head|title)\b", re.I)
_CHARSET = re.compile(r"charset=[\"']?([\w.:-]+)", re.I)
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
MAX_TEXT = 262_144  # characters


class AttachmentText(NamedTuple):
    """The words of an attachment, its HTML source where it has one, and whether they were taken out of RTF or PDF."""

    text: str
    markup: str = ""
    extracted: bool = False


def attachment_text(attachment: dict[str, Any]) -> AttachmentText | None:
    """The words of an attachment; None when it holds no text that can be read."""
    raw = _decoded(attachment.get("data"))
    if raw is None:
        return None
    kind = str(attachment.get("contentType") or "text/plain").lower()
    if raw.startswith(b"%PDF-") or "pdf" in kind:
        pdf = import_module("service.pdf")  # not at the start, of which it would take a twentieth
        return _usable(pdf.pdf_text(raw), extracted=True)
    if raw.startswith(b"{\\rtf") or "rtf" in kind:
        return _usable(_rtf_text(raw), extracted=True)
    if not (kind.startswith("text/") or "html" in kind):
        return None
    source = _usable(_characters(raw, kind))
    return AttachmentText(blank_markup(source.text), source.text) if source and "html" in kind else source


def _decoded(data: object) -> bytes | None:
    if not isinstance(data, str):
        return None
    packed = "".join(data.split())
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _usable(text: str, *, extracted: bool = False) -> AttachmentText | None:
    """Text that is not empty, not too long, and for the most part no replacement characters."""
    readable = text.strip() and len(text) <= MAX_TEXT and text.count("�") <= len(text) // 10
    return AttachmentText(text, extracted=extracted) if readable else None


def _characters(raw: bytes, kind: str) -> str:
    named = _CHARSET.search(kind)
    marked = next((charset for mark, charset in _BOMS if raw.startswith(mark)), None)
    try:
        return raw.decode(marked or (named.group(1) if named else "utf-8"), "replace")
    except LookupError:
        return raw.decode("utf-8", "replace")


def _rtf_text(raw: bytes) -> str:
    try:
        return str(rtf_to_text(raw.decode("latin-1"), errors="replace"))  # type: ignore[no-untyped-call]  # it has no types
    except (ValueError, LookupError, IndexError, KeyError, RecursionError, OverflowError):
        return ""


def blank_markup(source: str) -> str:
    """The source at the same length with tags as blanks (new lines for blocks) and entities as their character."""
    return _ENTITY.sub(_plain_entity, _TAGS.sub(_blank, source))


def _blank(match: re.Match[str]) -> str:
    tag = match.group()
    if not tag.endswith(">") and not tag.lower().startswith(_HIDING):
        return tag  # 'pain < 5': no tag, though nothing behind it closes it
    filler = "\n" if _BLOCK.match(tag) else " "
    inside_word = filler == " " and not tag.startswith(_HIDING)
    return (filler if not inside_word else " ") + " " * (len(tag) - 1)


def _plain_entity(match: re.Match[str]) -> str:
    written = html.unescape(match.group())
    character = written if len(written) == 1 and written.isprintable() else " "
    return character + " " * (len(match.group()) - 1)
