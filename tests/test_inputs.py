"""Inputs that the operator keeps: sealed, replayed without the caller, gone with the decision."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from flask.testing import FlaskClient

from service.app import create_app
from service.assist import Assist
from service.settings import SettingError, Settings, read_settings
from service.store import Store
from tests.records import ASSIST, CANARY, CHECK, HOOK, call, condition
from tests.test_store_commands import decision_of, run


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> Path:
    """The operator's file of keys, with one in it."""
    file = tmp_path / "keys"
    file.write_bytes(Fernet.generate_key() + b"\n")
    file.chmod(0o600)
    monkeypatch.setenv("CODING_ASSIST_INPUT_KEYS", str(file))
    monkeypatch.setenv("CODING_ASSIST_DATABASE_URL", database_url)
    return file


def keeping() -> Settings:

    return replace(read_settings(os.environ), audit="sync")


@pytest.fixture
def client(assist: Assist, store: Store, keys: Path) -> Iterator[FlaskClient]:
    app = create_app(keeping(), assist, store)
    yield app.test_client()
    app.extensions["journal"].close()


@pytest.mark.proves("replay: from an opt-in encrypted store")
@pytest.mark.parametrize(("door", "body"), [(ASSIST, condition()), (CHECK, condition()), (HOOK, call())])
def test_an_answer_is_replayed_from_the_input_that_was_kept(
    client: FlaskClient, capfd: pytest.CaptureFixture[str], door: str, body: object
) -> None:
    given = client.post(door, json=body).text
    assert run(capfd, "replay", decision_of(capfd)) == (0, given, "")


def test_the_database_holds_no_word_of_it_and_no_token(
    client: FlaskClient, capfd: pytest.CaptureFixture[str], keys: Path, database_url: str
) -> None:
    client.post(HOOK, json=call())
    engine = sa.create_engine(database_url)
    with engine.connect() as connection:
        [content] = connection.execute(sa.text("SELECT content FROM decision")).scalars()
    engine.dispose()
    assert CANARY not in content
    opened = keeping().inputs
    sealed = re.search(r'"sealedInput":"([^"]+)"', content)
    assert opened and sealed
    told = opened.opened(sealed[1]).decode()
    assert CANARY in told
    assert "access_token" not in told  # it is never kept, not even sealed


def test_a_new_key_seals_and_the_old_one_still_opens(
    client: FlaskClient, capfd: pytest.CaptureFixture[str], keys: Path
) -> None:
    client.post(ASSIST, json=condition())
    decision, old = decision_of(capfd), keys.read_bytes()
    keys.write_bytes(Fernet.generate_key() + b"\n" + old)
    assert run(capfd, "replay", decision)[0] == 0
    keys.write_bytes(Fernet.generate_key())
    status, out, err = run(capfd, "replay", decision)
    assert (status, out) == (2, "")
    assert "sealed with a key that is not in the file" in err


def test_without_keys_nothing_is_kept_and_the_file_is_asked_for(
    assist: Assist, store: Store, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("CODING_ASSIST_DATABASE_URL", database_url)
    app = create_app(Settings(audit="sync"), assist, store)
    app.test_client().post(ASSIST, json=condition())
    decision = decision_of(capfd)
    assert "sealedInput" not in (store.decision(decision) or {})
    assert "give FILE" in run(capfd, "replay", decision)[2]
    app.extensions["journal"].close()


@pytest.mark.parametrize(
    ("written", "mode"), [("", 0o600), ("short", 0o600), ("é", 0o600), (Fernet.generate_key().decode(), 0o644)]
)
def test_a_wrong_file_of_keys_is_refused_with_a_sentence(tmp_path: Path, written: str, mode: int) -> None:
    file = tmp_path / "keys"
    file.write_text(written)
    file.chmod(mode)
    with pytest.raises(SettingError, match="INPUT_KEYS: "):
        read_settings({"CODING_ASSIST_INPUT_KEYS": str(file)})
