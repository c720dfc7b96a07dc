"""What we install is what was pinned, and the image is built as hadolint would have it."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import combinations
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPO = Path(__file__).resolve().parent.parent
RUNTIME, BUILD, DEV = "requirements.lock", "requirements-build.lock", "requirements-dev.lock"

# The first release without the hole that is named.
FLOORS = {
    "gunicorn": "23.0.0",  # CVE-2024-1135, CVE-2024-6827: one request read as two
    "waitress": "3.0.1",  # CVE-2024-49768, CVE-2024-49769: a request behind a refused one is served; a busy loop
    "requests": "2.33.0",  # CVE-2024-47081: .netrc to another host; CVE-2026-25645: a file that others laid into /tmp
    "urllib3": "2.7.0",  # CVE-2025-66418, CVE-2025-66471, CVE-2026-21441, CVE-2026-44432: unpacks without end
    "cryptography": "48.0.1",  # CVE-2024-12797, GHSA-537c-gmf6-5ccf: the OpenSSL in its wheels
    "werkzeug": "3.1.6",  # CVE-2024-49767: forms that fill the memory; CVE-2026-27199: names of devices as paths
    "flask": "3.1.3",  # CVE-2025-47278: the oldest key signs; CVE-2026-27205: one user's page kept for another
    "marshmallow": "4.1.2",  # CVE-2025-68480: a list that takes more time than its size
    "jinja2": "3.1.6",  # CVE-2025-27516: a template leaves its sandbox
    "certifi": "2024.7.4",  # CVE-2024-39689: roots that are trusted no more
    "idna": "3.15",  # CVE-2024-3651, CVE-2026-45409: time that grows with the square of the name
    "pypdf": "7.0.0",  # CVE-2025-55197, CVE-2026-27025, CVE-2026-119209: PDFs that fill the memory
    "pydantic": "2.4.0",  # CVE-2024-3772: a regular expression without end
    "pyyaml": "5.4",  # CVE-2020-14343: a document that runs code
    "mako": "1.3.12",  # CVE-2026-41205, CVE-2026-44307: templates from outside their folder
    "authlib": "1.6.12",  # CVE-2026-27962: a key that the token brings is trusted; CVE-2026-41425, CVE-2026-44681
    "joserfc": "1.7.2",  # CVE-2026-27932: rounds by the token; CVE-2026-48990; GHSA-5jhw-7jv7-qcqq: padded tokens
}


def pins(lock: str) -> dict[str, Requirement]:
    """The requirements of a lock file by name, without their hashes."""
    lines = [line.removesuffix("\\").strip() for line in (REPO / lock).read_text().splitlines() if line[:1].isalnum()]
    return {canonicalize_name(pin.name): pin for pin in map(Requirement, lines)}


def declared(lock: str) -> list[Requirement]:
    """What pyproject.toml asks for in the part that the lock file pins."""
    pyproject = tomllib.loads((REPO / "pyproject.toml").read_text())
    wanted = {
        RUNTIME: pyproject["project"]["dependencies"],
        BUILD: pyproject["dependency-groups"]["build"] + pyproject["build-system"]["requires"],
        DEV: pyproject["dependency-groups"]["dev"],
    }
    return [Requirement(line) for line in wanted[lock]]


def pinned_version(pin: Requirement) -> str:
    (specifier,) = pin.specifier
    assert specifier.operator == "==", f"{pin} is not pinned to one release"
    return specifier.version


@pytest.mark.parametrize("lock", [RUNTIME, BUILD, DEV])
def test_the_lock_file_holds_what_pyproject_asks_for(lock: str) -> None:
    locked = pins(lock)

    stale = [
        str(wanted)
        for wanted in declared(lock)
        if (pin := locked.get(canonicalize_name(wanted.name))) is None or pinned_version(pin) not in wanted.specifier
    ]

    assert not stale, f"{lock} lacks {', '.join(stale)}: run `make lock`"


@pytest.mark.parametrize("lock", [RUNTIME, BUILD, DEV])
def test_every_pin_has_a_hash_and_no_line_names_a_registry(lock: str) -> None:
    text = (REPO / lock).read_text()

    pinned = re.findall(r"^\S+==", text, re.MULTILINE)
    pinned_with_hash = re.findall(r"^\S+==.*\\\n +--hash=sha256:[0-9a-f]{64}\b", text, re.MULTILINE)

    assert len(pinned_with_hash) == len(pinned) > 0
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text


def test_the_lock_files_agree_since_they_share_one_environment() -> None:
    for first, second in combinations([RUNTIME, BUILD, DEV], 2):
        one, other = pins(first), pins(second)
        differ = [name for name in one.keys() & other.keys() if one[name].specifier != other[name].specifier]
        assert not differ, f"{first} and {second} differ in {', '.join(differ)}: run `make lock`"


@pytest.mark.parametrize("name", FLOORS)
def test_no_release_with_a_known_hole_is_locked(name: str) -> None:
    pin = pins(RUNTIME).get(name)

    assert pin, f"{name} is not used any more: take its line out"
    assert Version(pinned_version(pin)) >= Version(FLOORS[name])


def test_who_installs_without_the_lock_file_gets_no_release_with_a_known_hole_either() -> None:
    below = [
        str(wanted)
        for wanted in declared(RUNTIME)
        if (floor := FLOORS.get(canonicalize_name(wanted.name)))
        and not any(asked.operator == ">=" and Version(asked.version) >= Version(floor) for asked in wanted.specifier)
    ]

    assert not below, f"pyproject.toml lets releases with known holes in: {', '.join(below)}"


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if hadolint is None:
        sentence = "hadolint is not installed, so the Dockerfile was not checked: run `make test`, which installs it."
        (pytest.fail if "CI" in os.environ else pytest.skip)(sentence)

    findings = subprocess.run(
        [hadolint, "Dockerfile"], cwd=REPO, capture_output=True, text=True, timeout=60, check=False
    )

    assert (findings.returncode, findings.stdout, findings.stderr) == (0, "", "")
