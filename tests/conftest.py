"""What many tests share: the shipped knowledge, loaded once."""

import pytest

from service.assist import Assist, load_assist
from service.coding.packs import Terminology
from service.shipped import terminology_dir


@pytest.fixture(scope="session")
def assist() -> Assist:
    """The service without a door, with the terminology as shipped."""
    return load_assist(terminology_dir())


@pytest.fixture(scope="session")
def terminology(assist: Assist) -> Terminology:
    return assist.terminology
