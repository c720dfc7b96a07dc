"""What many tests share: the shipped knowledge, loaded once."""

import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.assist import Assist, load_assist
from service.coding.packs import Terminology
from service.settings import Settings
from service.shipped import terminology_dir


@pytest.fixture(scope="session")
def assist() -> Assist:
    """The service without a door, with the terminology as shipped."""
    return load_assist(terminology_dir())


@pytest.fixture(scope="session")
def terminology(assist: Assist) -> Terminology:
    return assist.terminology


@pytest.fixture(scope="session")
def client(assist: Assist) -> FlaskClient:
    """The whole service over HTTP, with hooks of the operator's own."""
    return create_app(Settings(hook_domain="org.example"), assist).test_client()
