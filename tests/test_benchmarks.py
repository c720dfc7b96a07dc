"""The benchmarks run and print, on the least input; how fast anything is, no test asserts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.benchmarks import __main__ as bench
from tests.benchmarks import bare, call, growth, hook, load, soak, start
from tests.benchmarks.figures import Goal
from tests.running import REPO, serving


def test_the_floor_answers_any_call_with_the_same() -> None:
    client = bare.app.test_client()
    answers = {client.post(hook.ADDRESS, data=body).data for body in hook.calls().values()}
    assert len(answers) == 1
    assert b'"cards"' in answers.pop()


def test_ours_answers_the_call_in_scope_with_cards_and_the_other_with_none(client: FlaskClient) -> None:
    cards = {
        name: len(client.post(hook.ADDRESS, data=body, content_type="application/json").json["cards"])
        for name, body in hook.calls().items()
    }
    assert cards[hook.OUT_OF_SCOPE] == 0
    assert cards[hook.IN_SCOPE] > 0
    assert cards[hook.LARGE] > 0


def test_each_call_is_one_of_its_own() -> None:
    for body in hook.calls().values():
        assert body.count(hook.PLACEHOLDER) == 1
        assert hook.RECORD in body


def test_the_cost_of_each_call_is_measured_and_of_a_token() -> None:
    code = "from tests.benchmarks import hook; found = hook.costs(10); print(*found, sep='|')"
    told = subprocess.run([sys.executable, "-c", code], cwd=REPO, check=True, capture_output=True, text=True).stdout
    expected = [
        hook.FLOOR,
        hook.OUT_OF_SCOPE,
        hook.IN_SCOPE,
        hook.LARGE,
        hook.SENT_AGAIN,
        hook.WITH_TOKEN,
        hook.READING,
    ]
    assert told.strip().split("|") == expected


def test_a_goal_that_is_missed_is_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    others = {name: [100.0] for name in (hook.FLOOR, hook.OUT_OF_SCOPE, hook.WITH_TOKEN, hook.READING, hook.LARGE)}
    call.tell_ours({**others, hook.IN_SCOPE: [901.0]})
    told = capsys.readouterr().out
    assert "goal <= 900: MISSED" in told
    assert "goal <= 250: met" in told


def test_a_start_is_measured_to_the_first_right_answer(capsys: pytest.CaptureFixture[str]) -> None:
    starts = start.measure(1)
    assert [one.elapsed > 0 < one.worker < one.both for found in starts.values() for one in found] == [True] * 3
    start.tell_starts(starts)
    assert "goal <= 80" in capsys.readouterr().out


def test_a_goal_that_is_just_reached_is_met() -> None:
    assert Goal(1.5, at_least=True).verdict(1.5).endswith("met")
    assert Goal(1.5, at_least=True).verdict(1.49).endswith("MISSED")
    assert Goal(4).verdict(4.0).endswith("met")


def test_of_a_peer_is_told_what_ours_costs_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    call.tell_peers({"HealthChain (0.16.1)": [500.0]}, {hook.IN_SCOPE: [1000.0], hook.READING: [300.0]})
    assert "our call in scope, times that" in (told := capsys.readouterr().out)
    assert "2.00" in told


@pytest.mark.skipif(not shutil.which("wrk") or not shutil.which("taskset"), reason="wrk or taskset is not installed")
def test_ours_and_the_floor_are_loaded_in_turns(capsys: pytest.CaptureFixture[str]) -> None:
    runs = load.measure(load.own_servers(), hook.calls()[hook.OUT_OF_SCOPE], 1, 1, (2,))
    assert {which for which, _ in runs} == {load.OURS, load.FLOOR}
    load.tell_out_of_scope(runs)
    assert "ours: requests/s at 2, times bare Flask's" in capsys.readouterr().out


def test_without_the_client_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SystemExit, match="Install it"):
        load.require_tools()


def test_a_server_that_gives_no_cards_is_not_measured(tmp_path: Path) -> None:
    server = load.own_servers()[load.OURS]
    astray = load.Server(server.command, "/fhir/metadata")
    with pytest.raises(RuntimeError, match="so nothing is measured"), load.started(astray, b"{}", tmp_path / "server"):
        pass


def test_against_healthchain_each_width_has_its_goal(capsys: pytest.CaptureFixture[str]) -> None:
    run = load.Run(100.0, 0.5, 1.0)
    names = (load.OURS, load.FLOOR, load.PEER, load.OURS_ON_GRANIAN)
    load.tell_in_scope({(name, width): [run] for name in names for width in load.CONNECTIONS})
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ours: requests/s, times HealthC")]
    assert [line.partition("goal ")[2] for line in told] == [">= 1: met", ">= 1.2: MISSED", ">= 1.5: MISSED"]


def test_what_one_more_costs_is_reckoned_between_sizes() -> None:
    assert growth.steps_of({20: [2000.0], 100: [10_000.0], 500: [90_000.0]}) == {
        (20, 100): [100.0],
        (100, 500): [200.0],
    }


def test_growth_that_is_not_linear_is_called_missed(capsys: pytest.CaptureFixture[str]) -> None:
    growth.tell_growth("Condition", {20: [2000.0], 100: [10_000.0], 500: [90_000.0]}, Goal(120))
    assert capsys.readouterr().out.count("MISSED") == 2


def test_reports_of_every_length_are_of_the_same_text() -> None:
    def told(bodies: list[bytes]) -> str:
        reports = [json.loads(body)["prefetch"]["reports"]["entry"][0]["resource"]["conclusion"] for body in bodies]
        return "".join(report.partition("\n")[2] for report in reports)

    [longest, *others] = [told(growth.with_report(size)) for size in sorted(growth.KILOBYTES, reverse=True)]
    assert len(longest) == 128_000
    assert set(others) == {longest}


def test_the_conditions_in_scope_are_many_and_differ() -> None:
    texts = [one["code"]["text"] for one in growth.in_scope(500)]
    assert len(set(texts)) == 500


def test_the_soak_makes_calls_of_each_kind_and_each_is_answered_right(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1) as service:
        answered, memory = soak.soaked(service, seconds=2, clients=1)
    assert set(answered) == set(soak.requests())
    assert len(memory) == soak.SAMPLES
    assert min(memory) > 1


def test_growth_of_memory_is_told_between_the_second_tenth_and_the_last() -> None:
    assert soak.growth([500.0] * 20 + [100.0] * 20 + [0.0] * 140 + [110.0] * 20) == pytest.approx(10)


def test_each_section_names_a_program_that_is_there() -> None:
    programs = {section.command[0] for section in bench.SECTIONS}
    assert {name for name in programs if not (REPO / "tests" / "benchmarks" / f"{name}.py").is_file()} == set()


def test_a_section_is_its_title_its_command_and_what_it_printed() -> None:
    page = "\n".join(bench.page([(bench.Section("A call", ("call",)), "a line\n")], "peer 1", 1.0, 0.7, None))
    assert "## A call\n\n`python -m tests.benchmarks.call`\n\n```text\na line\n```" in page


def test_the_page_says_on_what_it_was_measured() -> None:
    page = "\n".join(bench.page([], "peer 1", 1.0, 0.7, None))
    assert "peer 1" in page
    assert "flask " in page
    assert "cores" in page
    assert "Load before the run: 0.7" in page


def test_without_a_peer_nothing_is_measured() -> None:
    with pytest.raises(SystemExit, match="A peer is missing"):
        bench.versions_of_peers(sys.executable)
