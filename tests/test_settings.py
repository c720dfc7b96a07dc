"""What the operator writes is taken as it is meant or refused with a sentence that names the setting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.settings import SettingError, Settings, read_settings
from tests.test_clients import CLIENTS


def settings(**given: str) -> Settings:
    return read_settings({f"CODING_ASSIST_{name}": value for name, value in given.items()})


def clients(folder: Path) -> str:
    file = folder / "clients.json"
    file.write_text(json.dumps(CLIENTS))
    return str(file)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOG_LEVEL", "LOUD"),
        ("BASE_URL", "coding.example.org"),
        ("BASE_URL", "ftp://coding.example.org"),
        ("HOOK_DOMAIN", "org.example/hooks"),
        ("RETENTION", "٣"),
        ("RETENTION", "00000" + "1" * 10),
        ("RETENTION", "1" * 5000),
        ("RATE_LIMIT", "٣"),
        ("RATE_LIMIT", "1000001"),
        ("RATE_LIMIT", "000000001" * 1000),
        *[(name, "gone") for name in ("TERMINOLOGY", "LEXICON", "PAYER_POLICIES", "TRUSTED_CLIENTS", "INPUT_KEYS")],
    ],
)
def test_a_value_that_is_not_taken_is_refused_by_the_name_of_its_setting(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=rf"^CODING_ASSIST_{name} .+\.$"):
        settings(**{name: value})


def test_what_is_written_another_way_is_understood() -> None:
    assert settings(LOG_LEVEL="debug").log_level == "DEBUG"
    assert settings(BASE_URL="https://coding.example.org/").base_url == "https://coding.example.org"


@pytest.mark.proves("security: only 1 opens what is closed")
@pytest.mark.parametrize(("written", "is_open"), [("1", True), ("0", False), ("", False), ("false", False)])
def test_only_a_1_opens_what_is_closed(written: str, is_open: bool) -> None:
    read = settings(ALLOW_INSECURE=written, OPEN_DISCOVERY=written, OPEN_METRICS=written)
    assert (read.allow_insecure, len(read.open_endpoints)) == (is_open, 2 * is_open)


def test_clients_that_nobody_asks_for_a_token_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="go together"):
        settings(TRUSTED_CLIENTS=clients(tmp_path))


def test_with_tokens_the_servers_to_ask_are_those_of_each_client(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="FHIR_SERVERS is for CODING_ASSIST_AUTH=none"):
        settings(AUTH="jwt", TRUSTED_CLIENTS=clients(tmp_path), FHIR_SERVERS="https://ehr.example.org/fhir")


def test_traces_need_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.settings.find_spec", lambda _: None)
    with pytest.raises(SettingError, match="fhir-coding-assist"):
        settings(TRACES="http://collector:4318")


@pytest.mark.parametrize("page", ["no JSON", [], {"policies": 1}, {"policies": [{"id": "no words"}]}], ids=str)
def test_payer_policies_that_cannot_be_read_are_refused(tmp_path: Path, page: Any) -> None:
    file = tmp_path / "policies.json"
    file.write_text(page if isinstance(page, str) else json.dumps(page))
    for path in (file, tmp_path):
        with pytest.raises(SettingError, match="PAYER_POLICIES: the file is not readable"):
            settings(PAYER_POLICIES=str(path))


def test_conservative_care_is_asked_for_in_so_many_words(tmp_path: Path) -> None:
    file = tmp_path / "policies.json"
    for written, wanted in (("true", True), ('"false"', False)):
        file.write_text(f'{{"conservative_care": {written}}}')
        assert settings(PAYER_POLICIES=str(file)).wants_care is wanted
