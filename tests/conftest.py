"""What many tests share: the shipped knowledge, loaded once."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from service import settings
from service.app import create_app
from service.assist import Assist, load_assist
from service.coding.packs import Terminology
from service.settings import Settings
from service.shipped import terminology_dir
from service.store import TRANSIENT, Store, open_store
from tests.desk import condition
from tests.fake_ehr import FakeEhr
from tests.postgres import new_database, running_server
from tests.running import Running, serving

# Spark is 450 MB and built from source: `make test-spark` brings an environment of its own for these tests.
collect_ignore = [] if find_spec("pyspark") else ["test_spark.py"]


@pytest.fixture(scope="session", autouse=True)
def no_store_in_the_checkout() -> Iterator[None]:
    """Settings that name no store get one that goes with the process, not the one that `make run` has left here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "STORE", TRANSIENT)
        yield


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


@pytest.fixture
def ehr() -> Iterator[FakeEhr]:
    """An EHR with one problem on its list."""
    made = FakeEhr()
    made.put(condition())
    yield made
    made.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server, started by the first test that needs one."""
    with running_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind that the service keeps things in."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/var/store.db"
    return new_database(request.getfixturevalue("postgres"), uuid4().hex)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = open_store(database_url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The service as an operator starts it, for tests that leave it running."""
    with serving(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Running]:
    """One that a test may stop."""
    with serving(tmp_path) as running:
        yield running
