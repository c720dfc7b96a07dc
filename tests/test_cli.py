"""The commands as an operator types them: what they print, how they end, and that no error shows a trace."""

import http.client
import io
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from service import __version__
from service.assist import Assist, load_assist
from service.batch import Tally
from service.bulk_summary import write_summary
from service.cli import main
from service.coding.model import Passage
from service.coding.packs import Terminology
from service.commands import check, knowledge, serve
from service.envelope import open_envelope
from service.explain import explain
from service.releases import read_merged, table_of
from service.shipped import terminology_dir
from service.store import open_store

TEXT = "Biomechanical lesion: ligamentum flavum hypertrophy narrows the neural canal at L4-L5"
COMMAND = [sys.executable, "-m", "service.cli"]
REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CODING_ASSIST_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("GUNICORN_CMD_ARGS", raising=False)


@pytest.fixture(autouse=True)
def knowledge_loaded_once(assist: Assist, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading takes half a second; who is about the loading itself says so."""
    if "loads" not in request.fixturenames:
        for each in (check, knowledge, serve):
            monkeypatch.setattr(each, "open_assist", lambda settings: assist)


@pytest.fixture(autouse=True)
def no_server_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve.Server, "run", lambda _: pytest.fail("what had to be refused is served"))


@pytest.fixture
def loads() -> None:
    """The command loads its knowledge itself."""


def condition(text: str = TEXT, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Condition", "subject": {"reference": "Patient/p"}, "code": {"text": text}, **more}


def written(path: Path, resource: object) -> str:
    path.write_text(json.dumps(resource, indent=1))
    return str(path)


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence with which a command ends."""
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    assert len(printed.err.splitlines()) == 1
    return printed.err


# --- in general


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"coding-assist {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [[], ["nope"], ["serve", "--port", "x"], ["check"], ["check", "f", "--workers", "0"]]
)
def test_a_wrong_command_line_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)


def test_an_unknown_setting_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODING_ASSIST_DATABASE", "x")
    assert "CODING_ASSIST_DATABASE is no setting" in fails(capsys, "rules")


@pytest.mark.usefixtures("loads")
@pytest.mark.parametrize("command", [["rules"], ["serve", "--port", "0"]])
def test_wrong_knowledge_is_one_sentence_that_names_the_file(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODING_ASSIST_TERMINOLOGY", str(tmp_path))
    assert f"{tmp_path}/icd-10-cm/releases.yaml" in fails(capsys, *command)


def test_an_unforeseen_error_names_its_place_but_not_its_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_: object) -> None:
        raise KeyError("Mrs Smith")

    monkeypatch.setattr(knowledge, "read_settings", crash)
    sentence = fails(capsys, "rules")
    assert "KeyError, test_cli.py:" in sentence
    assert "Smith" not in sentence


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(knowledge, "read_settings", interrupt)
    assert main(["rules"]) == 130


# --- check


def test_check_writes_findings_to_the_output_and_the_figures_to_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "in.json", condition(id="c1"))
    assert main(["check", file, "--output", str(tmp_path / "out")]) == 1
    [line] = map(json.loads, (tmp_path / "out").read_text().splitlines())
    assert (line["input"], line["suggestions"]) == (file, ["M99.43"])
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.search(r"dos\.missing +1\n", printed.err)
    assert re.search(r"code-supported +1 ", printed.err)
    assert re.search(r"1 records, 1 conditions, 0 unreadable, \d+\.\d s, \d+ rows/s\n", printed.err)
    assert "\x1b" not in printed.err


def test_check_reads_standard_input(capsysbinary: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(condition()).encode() + b"\n?\n")))
    assert main(["check", "-"]) == 2
    first, second = map(json.loads, capsysbinary.readouterr().out.splitlines())
    assert (first["input"], first["line"], first["condition"]) == ("-", 1, "#0")
    assert second["error"].startswith("The line is not JSON")


def test_check_names_an_input_that_is_not_there_before_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = written(tmp_path / "in.json", condition())
    assert "gone.json does not exist" in fails(capsys, "check", good, str(tmp_path / "gone.json"))
    assert "is a folder" in fails(capsys, "check", str(tmp_path))


def test_check_says_where_it_cannot_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = written(tmp_path / "in.json", condition())
    assert "No such file" in fails(capsys, "check", good, "--output", str(tmp_path / "no" / "out"))


def test_check_ends_quietly_when_its_reader_has_gone(tmp_path: Path) -> None:
    (tmp_path / "in.ndjson").write_text((json.dumps(condition()) + "\n") * 400)
    with subprocess.Popen(
        [*COMMAND, "check", tmp_path / "in.ndjson"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPO
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_check_stopped_by_a_signal_leaves_no_half_file_behind(tmp_path: Path, sent: int, status: int) -> None:
    read, write = os.pipe()  # an input that never ends
    os.write(write, json.dumps(condition()).encode() + b"\n")
    command = [*COMMAND, "check", "-", "--workers", "2", "--output", tmp_path / "out"]
    with subprocess.Popen(command, stdin=read, stderr=subprocess.PIPE, cwd=REPO) as process:
        while not list(tmp_path.glob(".out.*")):
            assert process.poll() is None
        process.send_signal(sent)
        assert process.wait(20) == status
    os.close(read), os.close(write)
    assert list(tmp_path.iterdir()) == []


def test_check_writes_parquet_where_the_output_is_named_so(tmp_path: Path) -> None:
    import pyarrow.parquet

    lines = json.dumps(condition(id="c1")) + "\n?\n"
    (tmp_path / "in.ndjson").write_text(lines)
    file = str(tmp_path / "in.ndjson")
    assert main(["check", file, "--output", str(tmp_path / "out.ndjson")]) == 2
    assert main(["check", file, "--output", str(tmp_path / "out.parquet")]) == 2
    expected = [json.loads(line) for line in (tmp_path / "out.ndjson").read_text().splitlines()]
    found = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [{key: value for key, value in row.items() if value is not None} for row in found] == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.ndjson", "out.ndjson", "out.parquet"]


def test_check_says_before_it_begins_what_parquet_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "find_spec", lambda name: None)
    good = written(tmp_path / "in.json", condition())
    assert "fhir-coding-assist[parquet]" in fails(capsys, "check", good, "--output", str(tmp_path / "out.parquet"))


def test_the_summary_of_a_check_is_one_page_that_needs_nothing_else(tmp_path: Path) -> None:
    named = condition("Lumbar spinal stenosis of Mrs <b>Smith</b>", id="c1")
    code = main(["check", written(tmp_path / "in.json", named), "--summary", str(tmp_path / "s.html")])
    page = (tmp_path / "s.html").read_text("utf-8")
    assert code == 1
    assert not re.search(r"<script|<link|<img|https?:|url\(", page)
    assert "Smith" not in page
    for told in ("tissue-is-stated", "date-of-service-is-given", "A code is judged by the date of service.", "lumbar"):
        assert told in page


def test_a_summary_shows_a_name_from_the_record_as_text(tmp_path: Path) -> None:
    tally = Tally(clinics=Counter({("<script>x</script>", "query"): 2}))
    stream = io.BytesIO()
    write_summary(stream, tally, ["in.ndjson"], load_assist(terminology_dir()).terminology)
    assert b"<script>" not in stream.getvalue()
    assert b"&lt;script&gt;x&lt;/script&gt;" in stream.getvalue()


def test_a_check_that_was_killed_goes_on_with_the_same_command(tmp_path: Path) -> None:
    page = {"status": "generated", "div": f"<div xmlns='http://www.w3.org/1999/xhtml'>{'x' * 4_000}</div>"}
    rows = [condition(f"{n} canal stenosis at L4-5", id=f"c{n}") | {"text": page} for n in range(8000)]
    (tmp_path / "in.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [*COMMAND, "check", tmp_path / "in.ndjson", "--output", tmp_path / "out"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=REPO) as process:
        while not (tmp_path / ".out.part" / "journal.json").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    finished = subprocess.run(command, stderr=subprocess.PIPE, text=True, cwd=REPO, check=False)
    assert re.match(r"Going on after [1-9]\d* records of the run before\.\n", finished.stderr)
    lines = [json.loads(line)["line"] for line in (tmp_path / "out").read_text().splitlines()]
    assert lines == list(range(1, 8001))
    assert "8000 records, 8000 conditions" in finished.stderr


def test_check_shows_on_a_terminal_how_fast_it_is_and_how_long_it_will_take(tmp_path: Path) -> None:
    rows = [json.dumps(condition(f"{number} canal stenosis at L4-5", id=f"c{number}")) for number in range(200)]
    for name in ("a.ndjson", "b.ndjson", "c.ndjson"):
        (tmp_path / name).write_text("\n".join(rows))
    command = [*COMMAND, "check", *sorted(tmp_path.glob("*.ndjson")), "--output", tmp_path / "out"]
    terminal, slave = pty.openpty()
    with subprocess.Popen(command, stderr=slave, cwd=REPO, env={**os.environ, "COLUMNS": "120"}) as process:
        os.close(slave)
        shown = b""
        with suppress(OSError):  # so a terminal ends on Linux
            while piece := os.read(terminal, 65536):
                shown += piece
    os.close(terminal)
    assert process.returncode == 1
    assert re.search(
        rb"\d\d% +\d:\d\d:\d\d [^\r\n]*\d+ records, [\d,]+ a second", re.sub(rb"\x1b\[[\d;?]*\w", b"", shown)
    )


# --- explain


def test_explain_shows_the_record_and_what_it_came_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "c.json", condition(id="c1", recordedDate="2026-11-16"))
    assert main(["explain", file]) == 0
    shown = capsys.readouterr().out
    assert TEXT in shown
    assert re.search(r"Condition/c1  code-supported ─+\n", shown)
    assert re.search(r"M99\.43  Connective tissue stenosis of neural canal of lumbar region\n", shown)
    assert re.search(r"region +documented +lumbar +“L4-L5” A\n", shown)
    assert re.search(r"met +region-is-stated +The region is stated", shown)
    assert "I.B.2 Level of detail in coding" in shown
    assert re.search(r"imaging\.modality\n +\( \) ", shown)
    assert re.search(r"information +doc\.function-missing", shown)
    assert "judged while charting" in shown


def test_explain_shows_how_each_statement_was_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "Assessment: possible canal steonsis at L4-5 due to ligamentum flavum hypertrophy"
    main(["explain", written(tmp_path / "c.json", condition(words))])
    shown = capsys.readouterr().out
    for line in (
        r"section +assessment",
        r"narrowing +“steonsis” stated",
        r"space +“canal” directly before",
        r"region +“L4-5” in the sentence",
        r"tissue +“ligamentum flavum hypertrophy” due to",
        r"assertion +“possible” hedged by",
        r"spelling +steonsis read as stenosis",
    ):
        assert re.search(line, shown), line


def test_explain_is_plain_and_fits_in_100_columns_when_piped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["explain", written(tmp_path / "c.json", condition("very long words " * 40 + TEXT))])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert not any("\x1b" in line or line != line.rstrip() for line in lines)


def test_explain_judges_with_the_claims_severities_on_demand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["explain", "--claim", written(tmp_path / "c.json", condition())])
    shown = capsys.readouterr().out
    assert re.search(r"error +dos\.missing", shown)
    assert "judged before a claim" in shown


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"resourceType": "Condition"}', "Condition.subject is missing"),
        ('{\n"resourceType": Condition}', "The file is not JSON: the first error is at line 2, column 17"),
        ('{"a": 1}\n{"a": 2}\n', "holds several records"),
        ("", "holds nothing"),
    ],
)
def test_explain_refuses_in_a_sentence(
    content: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.json").write_text(content)
    assert sentence in fails(capsys, "explain", str(tmp_path / "c.json"))


def explained(resource: dict[str, Any], assist: Assist) -> str:
    """What a terminal with colours gets."""
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=100, highlight=False)
    explain(assist.answer(open_envelope(resource, "charting")), assist.terminology, console)
    shown = console.file
    assert isinstance(shown, io.StringIO)
    return shown.getvalue()


def test_explain_marks_the_evidence_in_the_text_by_element(assist: Assist) -> None:
    shown = explained(condition("Fibrous band narrowing the neural canal at C1"), assist)
    assert "\x1b[1;35mFibrous band\x1b[0m" in shown  # the tissue
    assert "\x1b[1;4;36mneural canal\x1b[0m" in shown  # the space, within the underlined narrowing


def test_words_of_the_record_do_not_steer_the_terminal(assist: Assist) -> None:
    shown = explained(condition("Spinal stenosis \x1b[2J\x9b2J \u202e[red]not markup[/red]"), assist)
    assert "\x1b[2J" not in shown
    assert "\x9b" not in shown
    assert "\u202e" not in shown
    assert "[red]not markup[/red]" in shown


def test_the_words_of_a_record_are_not_in_the_repr_of_a_passage() -> None:
    assert "Smith" not in repr(Passage("Mrs Smith", "Condition/c", "Condition.code.text"))


# --- rules


def test_rules_lists_every_rule_uncut(capsys: pytest.CaptureFixture[str], terminology: Terminology) -> None:
    assert main(["rules"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["rule", "kind", "strength", "flag", "in", "force"]
    assert [row.split()[0] for row in rows] == [rule.id for rule in terminology.rules()]
    assert all(rule.flag in row for rule, row in zip(terminology.rules(), rows, strict=True))


def test_one_rule_is_shown_whole_with_what_it_rests_on(
    capsys: pytest.CaptureFixture[str], terminology: Terminology
) -> None:
    assert main(["rules", "region-names-the-code"]) == 0
    shown = capsys.readouterr().out
    rule = terminology.rule("region-names-the-code")
    assert rule
    assert all(f"{cite.url}\n" in shown and f"read {cite.read}" in " ".join(shown.split()) for cite in rule.cites)
    assert "head M99.40" in shown
    assert re.search(r"packs +m99\.6\n", shown)  # a sibling family has codes of its own


def test_an_unknown_rule_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Nearest: region-names-the-code" in fails(capsys, "rules", "region-names-code")


# --- add-release


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site's own terminology with an order file of next year beside it: one code less, two new ones."""
    merged = read_merged(terminology_dir() / "icd-10-cm" / "codes.csv.gz")
    codes = table_of(merged, max(year for years in merged.values() for year in years))
    del codes["M99.49"]
    rows = [(code, billable, title) for code, (billable, title) in codes.items()]
    rows += [("M99.4X1", True, "New one"), ("M99.4X2", True, "New two")]
    (tmp_path / "icd10cm-order-2028.txt").write_text(
        "".join(
            f"{number:05} {code.replace('.', ''):7} {billable:d} {title[:60]:60} {title}\n"
            for number, (code, billable, title) in enumerate(rows, 1)
        )
    )
    folder = tmp_path / "terminology" / "icd-10-cm"
    folder.mkdir(parents=True)
    for file in (terminology_dir() / "icd-10-cm").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_add_release_says_what_is_new_and_what_was_dropped(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, folder = str(site / "icd10cm-order-2028.txt"), str(site / "terminology")
    dates = ["--fiscal-year", "2028", "--in-force-from", "2027-10-01"]
    assert main(["add-release", file, *dates, "--terminology", folder]) == 0
    shown = capsys.readouterr().out
    assert "in force 2027-10-01 to 2028-09-30" in shown
    assert "New codes: 2\n  M99.4X1, M99.4X2\n" in shown
    assert "Dropped codes: 1\n  M99.49\n" in shown
    assert "2028 is loaded already" in fails(capsys, "add-release", file, *dates, "--terminology", folder)


def test_add_release_refuses_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "icd10cm-order-2028.txt", "no order file")
    dates = ["--fiscal-year", "2028", "--in-force-from", "2027-10-01"]
    assert "is no official ICD-10-CM file" in fails(capsys, "add-release", file, *dates)


# --- serve


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "ehr.example.org"])
@pytest.mark.proves("contract: AUTH none is refused on a non-loopback address")
def test_serve_refuses_an_address_that_others_reach(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "CODING_ASSIST_ALLOW_INSECURE=1" in fails(capsys, "serve", "--host", host)


@pytest.mark.proves("issue 6: AUTH=none beyond loopback is said at every start")
@pytest.mark.parametrize("level", ["DEBUG", "ERROR"])
def test_serving_without_authentication_is_said_at_every_start(level: str) -> None:
    script = (
        "import sys; from service.commands.serve import _refuse_unprotected; from service.logs import configure_logs\n"
        "from service.settings import Settings\n"
        "configure_logs(sys.argv[1]); _refuse_unprotected((sys.argv[2], 80), Settings(allow_insecure=True))"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", script, level, host], cwd=REPO, capture_output=True, text=True, check=True
        )
        for host in ("192.0.2.1", "127.0.0.1")
    ]
    assert "Without authentication on 192.0.2.1" in told[0].stderr
    assert told[1].stderr == ""


def test_an_address_in_gunicorn_cmd_args_is_no_way_around(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--bind 127.0.0.1:0 --bind 0.0.0.0:0")
    assert "does not listen on 0.0.0.0" in fails(capsys, "serve")


def test_serve_says_that_the_port_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"Cannot listen on 127.0.0.1:{port}" in fails(capsys, "serve", "--port", str(port))


def test_serve_tells_a_wrong_gunicorn_cmd_args(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--worker-class nope")
    assert fails(capsys, "serve").startswith("GUNICORN_CMD_ARGS is not accepted: class uri 'nope' invalid")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """A running service and its port."""
    environment = {**os.environ, "HOME": str(tmp_path), "GUNICORN_CMD_ARGS": "--workers 1"}
    environment["CODING_ASSIST_DATABASE_URL"] = f"sqlite:///{tmp_path}-kept/store.db"
    environment.pop("XDG_RUNTIME_DIR", None)
    with subprocess.Popen(
        [*COMMAND, "serve", "--port", "0"],
        cwd=REPO, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout
        said = process.stdout.readline()
        match = re.fullmatch(r"Serving on http://127\.0\.0\.1:(\d+)\n", said)
        assert match, (said, process.stderr and process.stderr.read())
        yield process, int(match[1])
        process.kill()


def test_serve_answers_and_stops_cleanly_on_sigterm(
    server: tuple["subprocess.Popen[str]", int], tmp_path: Path
) -> None:
    process, port = server
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    body, headers = json.dumps(condition(id="c1")), {"Content-Type": "application/fhir+json"}
    connection.request("POST", "/fhir/Condition/$coding-assist?patient=Smith", body, headers)
    answer = connection.getresponse()
    assert answer.status == 200
    assert json.load(answer)["resourceType"] == "Parameters"
    connection.close()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in err
    assert "Smith" not in out + err  # which still names no address
    assert list(tmp_path.iterdir()) == []  # no control socket in the home folder
    store = open_store(f"sqlite:///{tmp_path}-kept/store.db")
    assert len(list(store.export_audit())) == 1  # AUDIT=group: what still waited was written at the stop
    assert "answered" in err  # the log, one JSON object a line
    store.close()
