"""What the README claims is so."""

from __future__ import annotations

import json
import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flask.testing import FlaskClient

from service.app import create_app
from service.assist import Assist
from service.cli import main
from service.clients import TrustedClient, read_clients
from service.settings import KNOWN, PREFIX, Settings
from service.smart import SCOPES, WHO, SmartApp
from tests.test_clients import settings_in

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


def test_every_address_of_the_readme_is_served(client: FlaskClient, assist: Assist, tmp_path: Path) -> None:
    apps = [client.application, create_app(settings_in(tmp_path)(), assist)]  # some are there only with tokens
    rules = {str(rule) for app in apps for rule in app.url_map.iter_rules()}
    for address in re.findall(r"`(?:GET|POST) (/[^`]+)`", README):
        assert address in rules, address


CURL = re.compile(r"^curl -s 'http://127\.0\.0\.1:8080(/fhir/[^']+)'(?: -H '[^']+' -d @(\S+))?$", re.M)


def test_every_call_of_the_fhir_server_that_is_shown_is_answered(client: FlaskClient) -> None:
    for address, file in CURL.findall(README):
        body = (ROOT / file).read_bytes() if file else None
        method = "POST" if file else "GET"
        answer = client.open(address, method=method, data=body, content_type="application/fhir+json" if file else None)
        assert answer.status_code == 200, (address, answer.get_json())
        assert not [i for i in answer.get_json().get("issue", ()) if i["severity"] == "error"], address


def test_every_operation_and_type_that_is_served_is_shown(client: FlaskClient) -> None:
    [rest] = client.get("/fhir/metadata").get_json()["rest"]
    called = " ".join(address for address, _ in CURL.findall(README))
    for resource in rest["resource"]:
        if resource.get("interaction"):
            assert f"`{resource['type']}`" in README
        for operation in resource.get("operation", ()):
            assert re.search(rf"/{resource['type']}(/[a-z0-9-]+)?/\${operation['name']}", called), operation


def test_every_setting_is_in_the_readme_and_no_other() -> None:
    assert set(re.findall(rf"`{PREFIX}([A-Z_]+)", README)) == set(KNOWN)


def test_every_command_of_the_readme_is_known(capsys: object) -> None:
    for command in set(re.findall(r"coding-assist ([a-z][a-z-]+)", README)):
        try:
            main([command, "--help"])
        except SystemExit as stopped:
            assert stopped.code == 0, command


def test_every_picture_and_page_that_the_readme_names_is_there() -> None:
    named = re.findall(r"\]\(([^)#:]+)\)", README)
    assert "docs/try-it.png" in named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_make_target_of_the_readme_is_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"`?make ([a-z]+)`?", README)):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_every_list_of_clients_that_is_shown_is_accepted(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    shown = re.findall(r"```json\n(.+?)```", README, re.S)
    for clients in shown:
        (tmp_path / "clients.json").write_text(clients)
        assert read_clients(tmp_path / "clients.json")
    assert len(shown) == 2


def test_the_addresses_and_scopes_to_register_are_those_of_a_launch(assist: Assist) -> None:
    ehr = TrustedClient("https://ehr.example.org", smart=SmartApp("app"))
    paths = {str(rule) for rule in create_app(Settings(clients=(ehr,)), assist).url_map.iter_rules()}
    assert {"/smart/launch", "/smart/callback", "/smart/keys"} <= paths
    assert " ".join([*WHO, *(f"user/{scope}" for scope in SCOPES)]) in README
