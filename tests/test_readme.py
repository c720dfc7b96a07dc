"""What the README claims is so."""

from __future__ import annotations

import json
import re
from pathlib import Path

from flask.testing import FlaskClient

from service.cli import main
from service.settings import KNOWN, PREFIX

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_the_first_request_has_the_answer_that_is_shown(client: FlaskClient) -> None:
    body = re.search(r"-d '(\{.*?\})'", README, re.S)
    assert body is not None
    shown = client.post("/fhir/Condition/$coding-assist", json=json.loads(body[1])).get_json()["parameter"]
    assessment = next(p["part"] for p in shown if p["name"] == "assessment")
    text = json.dumps(assessment, ensure_ascii=False)
    assert '"valueCode": "code-supported"' in text
    for words in re.findall(r"^ {3}note +(.+)$", README, re.M):
        assert words in text
    asked = [p["valueCode"] for p in assessment if p["name"] == "ask"]
    assert asked == re.findall(r"^ask +(.+)$", README, re.M)[0].split()
    quote, start, end = re.findall(r"evidence +“(.+)” .*\[(\d+):(\d+)\]", README)[0]
    assert json.loads(body[1])["code"]["text"][int(start) : int(end)] == quote
    assert quote in text
    assert re.findall(r"^alternative +M\d\d\.\d+ +(.+)$", README, re.M)[0] in text


def test_every_address_of_the_readme_is_served(client: FlaskClient) -> None:
    rules = {str(rule) for rule in client.application.url_map.iter_rules()}
    for address in re.findall(r"`(?:GET|POST) (/[^`]+)`", README):
        assert address in rules, address


def test_every_setting_is_in_the_readme_and_no_other() -> None:
    assert set(re.findall(rf"`{PREFIX}([A-Z_]+)", README)) == set(KNOWN)


def test_every_command_of_the_readme_is_known(capsys: object) -> None:
    for command in set(re.findall(r"coding-assist ([a-z][a-z-]+)", README)):
        try:
            main([command, "--help"])
        except SystemExit as stopped:
            assert stopped.code == 0, command


def test_every_make_target_of_the_readme_is_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"`?make ([a-z]+)`?", README)):
        assert re.search(rf"^{target}:", makefile, re.M), target
