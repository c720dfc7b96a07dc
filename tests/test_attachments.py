"""Documents as EHRs send them: plain text, HTML, RTF and PDF, in their charsets, whole and damaged."""

from __future__ import annotations

import base64
import socket
import time
import zlib
from typing import Any

import pytest

from service import attachments
from service import pdf as limits
from service.assist import Assist
from service.attachments import attachment_text, blank_markup
from service.coding.model import Evidence, Passage
from service.envelope import open_envelope
from service.fhir_out import assessment_part, evidence_part

WORDS = "Ligamentum flavum hypertrophy narrows the neural canal at L4-L5."


def attachment(raw: bytes, kind: str | None) -> dict[str, Any]:
    found = {"data": base64.b64encode(raw).decode()}
    return found | {"contentType": kind} if kind else found


def pdf(*pages: str, compress: bool = False) -> bytes:
    """A PDF of one line a page, as small as the format allows."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for page in pages:
        kids.append(f"{len(objects) + 1} 0 R")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents {len(objects) + 2} 0 R"
            " /Resources << /Font << /F1 3 0 R >> >> >>"
        )
        stream = f"BT /F1 12 Tf 40 700 Td ({page}) Tj ET" if page else "0 0 m"
        if compress:
            packed = zlib.compress(stream.encode()).decode("latin-1")
            objects.append(f"<< /Filter /FlateDecode /Length {len(packed)} >>\nstream\n{packed}\nendstream")
        else:
            objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    body, offsets = "%PDF-1.4\n", []
    for number, written in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{written}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    trailer = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer << /Size {size} /Root 1 0 R >>\n"
    return f"{body}{trailer}startxref\n{len(body)}\n%%EOF".encode("latin-1")


def rtf(words: str) -> bytes:
    return (r"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}\f0\fs20 " + words + r"\par}").encode("ascii")


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (WORDS.encode(), "text/plain"),
        (WORDS.encode(), None),
        (WORDS.encode("utf-16"), "text/plain; charset=UTF-16"),
        (b"\xef\xbb\xbf" + WORDS.encode(), "text/plain"),
        (WORDS.encode("latin-1"), "text/plain;charset=iso-8859-1"),
        (f"<p>{WORDS}</p>".encode(), "text/html"),
        (f"<div xmlns='http://www.w3.org/1999/xhtml'>{WORDS}</div>".encode(), "application/xhtml+xml"),
        (rtf(WORDS), "application/rtf"),
        (rtf(WORDS), "text/rtf"),
        (rtf(WORDS), "text/plain"),
        (pdf(WORDS), "application/pdf"),
        (pdf(WORDS, compress=True), "application/octet-stream"),
    ],
)
def test_the_words_are_read_whatever_they_are_packed_in(raw: bytes, kind: str | None) -> None:
    found = attachment_text(attachment(raw, kind))
    assert found is not None
    assert WORDS in found[0]


def test_the_pages_of_a_pdf_are_apart() -> None:
    found = attachment_text(attachment(pdf("No stenosis", "at L4-5"), "application/pdf"))
    assert found is not None
    assert (found.text, found.extracted) == ("No stenosis\n\nat L4-5", True)


def test_rtf_characters_of_its_code_page_are_read() -> None:
    found = attachment_text(attachment(rtf(r"sp\'e9cialiste: canal st\'e9nosis"), "application/rtf"))
    assert found is not None
    assert "spécialiste" in found[0]


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (pdf(""), "application/pdf"),  # a scan: pages without text
        (pdf(WORDS)[:200], "application/pdf"),
        (b"%PDF-1.7 nothing follows", "application/pdf"),
        (b"\x00\xff" * 500, "text/plain"),
        (b"\x89PNG\r\n", "image/png"),
        (b"{\\rtf1 ", "application/rtf"),
        (b"  \n ", "text/plain"),
        (b"x" * (attachments.MAX_TEXT + 1), "text/plain"),
    ],
)
def test_what_holds_no_text_has_none(raw: bytes, kind: str) -> None:
    assert attachment_text(attachment(raw, kind)) is None


@pytest.mark.parametrize("data", ["@@@", "A", 7, None, {"x": 1}])
def test_data_that_is_no_base64_has_no_text(data: object) -> None:
    assert attachment_text({"contentType": "text/plain", "data": data}) is None


def test_missing_padding_and_line_breaks_of_base64_are_forgiven() -> None:
    packed = base64.b64encode(WORDS.encode()).decode().rstrip("=")
    found = attachment_text({"contentType": "text/plain", "data": packed[:20] + "\r\n" + packed[20:]})
    assert found is not None
    assert (found.text, found.extracted) == (WORDS, False)


def test_a_pdf_with_too_many_pages_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PAGES", 2)
    assert attachment_text(attachment(pdf("a", "b", "c"), "application/pdf")) is None


def test_a_pdf_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SECONDS", -1.0)
    assert attachment_text(attachment(pdf(WORDS), "application/pdf")) is None


def test_a_stream_that_unpacks_without_end_is_not_followed() -> None:
    bomb = zlib.compress(b"BT /F1 12 Tf (x) Tj ET " * 4_000_000)
    raw = pdf(WORDS, compress=True)
    start, end = raw.index(b"stream\n") + 7, raw.index(b"\nendstream")
    began = time.process_time()
    assert attachment_text(attachment(raw[:start] + bomb + raw[end:], "application/pdf")) is None
    assert time.process_time() - began < 20  # it ends; no measure of speed


# --- in a record --------------------------------------------------------------------------------------------------


def assisted(assist: Assist, *resources: dict[str, Any]) -> Any:
    condition = {
        "resourceType": "Condition",
        "id": "c",
        "subject": {"reference": "Patient/p"},
        "code": {"text": "Biomechanical lesion with narrowing of the neural canal, lumbar region"},
    }
    parameters = [{"name": "condition", "resource": condition}]
    parameters += [{"name": "diagnosticReport", "resource": resource} for resource in resources]
    return assist.answer(open_envelope({"resourceType": "Parameters", "parameter": parameters}, "charting"))


def report(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "code": {"text": "MRI lumbar spine"},
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": "2026-11-01",
        **more,
    }


def texts(answer: Any) -> list[tuple[str, str]]:
    [judged] = answer.judged
    return [(r.passage.expression, r.passage.text) for r in judged.assessment.documentation.readings]


def test_a_report_that_comes_as_pdf_is_read_with_its_place(assist: Assist) -> None:
    answer = assisted(assist, report(presentedForm=[attachment(pdf(WORDS), "application/pdf")]))
    assert ("DiagnosticReport.presentedForm[0].data", WORDS) in texts(answer)


def test_a_scan_is_told_as_unreadable(assist: Assist) -> None:
    [judged] = assisted(assist, report(presentedForm=[attachment(pdf(""), "application/pdf")])).judged
    found = [(issue.flag, issue.expression) for issue in judged.assessment.issues]
    assert ("evidence.unreadable", "DiagnosticReport.presentedForm[0]") in found


def test_the_narrative_is_read_where_a_report_has_no_other_words(assist: Assist) -> None:
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{WORDS}</p></div>'
    answer = assisted(assist, report(text={"status": "additional", "div": div}))
    [text] = [text for expression, text in texts(answer) if expression == "DiagnosticReport.text.div"]
    assert WORDS in text


def test_the_narrative_is_left_alone_where_a_report_has_a_conclusion(assist: Assist) -> None:
    div = '<div xmlns="http://www.w3.org/1999/xhtml">Severe stenosis</div>'
    answer = assisted(assist, report(conclusion=WORDS, text={"status": "generated", "div": div}))
    assert not [expression for expression, _ in texts(answer) if expression.endswith("div")]


def test_nothing_is_fetched_from_the_address_of_an_attachment(assist: Assist, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: opened.append(address))
    form = {"contentType": "text/plain", "url": "http://127.0.0.1:9/never"}
    found = texts(assisted(assist, report(presentedForm=[form])))
    assert (opened, [text for expression, text in found if "presentedForm" in expression]) == ([], [])


def test_the_text_of_a_pdf_is_given_once_with_the_quotes_that_count_in_it(assist: Assist) -> None:
    answer = assisted(assist, report(presentedForm=[attachment(pdf(WORDS), "application/pdf")]))
    [judged] = answer.judged
    parts = assessment_part(judged.assessment, judged.query, assist.terminology, "http://x")["part"]
    [given] = [part for part in parts if part["name"] == "text"]
    values = {part["name"]: part.get("valueString") for part in given["part"]}
    assert (values["expression"], values["content"]) == ("DiagnosticReport.presentedForm[0].data", WORDS)


def test_no_text_is_given_where_offsets_count_in_what_was_sent(assist: Assist) -> None:
    [judged] = assisted(assist, report(conclusion=WORDS)).judged
    parts = assessment_part(judged.assessment, judged.query, assist.terminology, "http://x")["part"]
    assert [part for part in parts if part["name"] == "text"] == []


def test_a_forgiven_misspelling_stands_in_the_evidence(assist: Assist) -> None:
    evidence = Evidence(Passage("severe canal steonsis", "Condition/c", "Condition.code.text"), 7, 21)
    parts = evidence_part(evidence, assist.terminology.lexicon)["part"]
    [correction] = [part["part"] for part in parts if part["name"] == "correction"]
    assert [part["valueString"] for part in correction] == ["steonsis", "stenosis"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("<p>pain < 5, canal narrow", "pain < 5, canal narrow"),
        ("<p>narrow<!-- not closed, stenosis", "narrow"),
        ("narrow<SCRIPT>stenosis", "narrow"),
    ],
)
def test_what_is_opened_and_not_closed_hides_the_rest_only_where_html_says_so(source: str, words: str) -> None:
    blanked = blank_markup(source)
    assert len(blanked) == len(source)
    assert blanked.strip() == words


def test_rtf_with_impossible_characters_is_unreadable() -> None:
    rtf = base64.b64encode(b"{\\rtf1 \\u99999999999999 stenosis}").decode()
    assert attachment_text({"contentType": "application/rtf", "data": rtf}) is None
