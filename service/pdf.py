"""The text of a PDF, within limits of size, pages and time."""

from __future__ import annotations

import logging
import time
from io import BytesIO

from pypdf import PdfReader, apply_configuration, get_configuration
from pypdf.errors import PyPdfError

MAX_PAGES = 50
MAX_SECONDS = 1.0
MAX_STREAM = 4_000_000  # bytes that a compressed stream may unpack to

_LIMITS = {
    "zlib_maximum_output_length": MAX_STREAM,
    "lzw_maximum_output_length": MAX_STREAM,
    "run_length_maximum_output_length": MAX_STREAM,
    "array_based_stream_maximum_output_length": MAX_STREAM,
    "stream_decoding_work_maximum_length": 4 * MAX_STREAM,
    "stream_parsing_work_maximum_count": 200_000,
    "page_tree_maximum_entries": 10 * MAX_PAGES,
}
logging.getLogger("pypdf").setLevel(logging.CRITICAL + 1)  # what it warns of may quote the document


class _TooLong(Exception):
    """A PDF that takes longer than MAX_SECONDS to read, or has more than MAX_PAGES."""


def pdf_text(raw: bytes) -> str:
    """The text of all pages; empty where there is none (a scan), or where the document is damaged or locked."""
    with apply_configuration(get_configuration().with_overwrites(**_LIMITS)):
        try:
            return _text_of_pages(raw, time.monotonic() + MAX_SECONDS)
        except _TooLong:
            return ""
        except (PyPdfError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError):
            return ""  # what a damaged document makes its reader raise


def _text_of_pages(raw: bytes, deadline: float) -> str:
    def watch(*_: object) -> None:
        if time.monotonic() > deadline:
            raise _TooLong

    pages = PdfReader(BytesIO(raw)).pages
    if len(pages) > MAX_PAGES:
        raise _TooLong
    return "\n\n".join(page.extract_text(visitor_operand_before=watch) for page in pages)
