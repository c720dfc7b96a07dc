"""What we publish and answer, held against a second validator that is not ours: @medplum/core, by node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.assist import Assist
from service.conformance import Published
from tests.test_conformance import every_case
from tests.test_independent_validators import EXAMPLES, answer_to, read, resources_in

Json = dict[str, Any]
HERE = Path(__file__).parent / "medplum"
Faults = Callable[[Sequence[Json]], list[str]]


@pytest.fixture(scope="module")
def faults() -> Faults:
    """What it finds wrong with resources, a sentence each; its packages are installed by their lock file."""
    missing = [name for name in ("node", "npm") if not shutil.which(name)]
    if missing:
        reason = f"{' and '.join(missing)} is missing (Debian: apt install nodejs npm)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    if not (HERE / "node_modules" / ".package-lock.json").exists():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=HERE, check=True, timeout=300)

    def found(resources: Sequence[Json]) -> list[str]:
        sent = "\n".join(json.dumps(one) for one in resources)
        command = ["node", "validate.mjs"]
        told = subprocess.run(command, cwd=HERE, input=sent, capture_output=True, text=True, check=True, timeout=300)
        *lines, last = map(json.loads, told.stdout.splitlines())
        assert last == {"read": len(resources)}
        return [f"{resources[line['line'] - 1]['resourceType']}: {line['says']}" for line in lines]

    return found


@pytest.mark.proves("R4: what is published validates, by @medplum/core")
def test_what_is_published_is_valid(client: FlaskClient, faults: Faults) -> None:
    published: Published = client.application.extensions["published"]
    told = [client.get(f"/fhir/metadata{mode}").get_json() for mode in ("", "?mode=terminology")]
    assert faults([*published.resources.values(), *map(read, EXAMPLES), *told]) == []


@pytest.mark.proves("R4: what is answered validates, by @medplum/core, over all cases")
def test_what_is_answered_is_valid(assist: Assist, faults: Faults) -> None:
    answers = [answer_to(assist, record, setting) for record, setting in every_case()]
    assert faults([resource for answer in answers for resource in resources_in(answer)]) == []


def test_what_is_wrong_is_found(faults: Faults) -> None:
    condition = read(next(path for path in EXAMPLES if path.stem.startswith("Condition")))
    wrong = [{k: v for k, v in condition.items() if k != "subject"}, {**condition, "onset": "x"}, condition]
    assert len(faults(wrong)) == 2
