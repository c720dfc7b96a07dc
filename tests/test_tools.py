"""`make test` installs what the tests need and the machine lacks, where it may."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "install_for_tests.sh"
# Of all that is looked for, the browser alone is missing.
HAS = ("make", "cc", "initdb", "node", "npm", "wrk", "taskset", "strace", "python3")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The programs of a machine, each of which succeeds; apt notes what it is asked for."""
    for name in HAS:
        program(tmp_path, name, "exit 0")
    program(tmp_path, "apt-get", f'echo "$@" >>{tmp_path}/asked; exit $(cat {tmp_path}/fails 2>/dev/null || echo 0)')
    return tmp_path


def program(folder: Path, name: str, does: str) -> None:
    (folder / name).write_text(f"#!/bin/bash\nPATH=/usr/bin:/bin\n{does}\n")
    (folder / name).chmod(0o755)


def installed(machine: Path, user: int) -> tuple[str, str]:
    """What apt was asked for, and what was said."""
    program(machine, "id", f"echo {user}")
    done = subprocess.run(["/bin/bash", SCRIPT], env={"PATH": str(machine)}, capture_output=True, text=True, check=True)
    asked = machine / "asked"
    return asked.read_text() if asked.exists() else "", done.stderr


def test_a_browser_that_is_missing_is_installed_and_nothing_else(machine: Path) -> None:
    assert installed(machine, user=0)[0].splitlines() == [
        "update -qq",
        "install -y -qq --no-install-recommends chromium chromium-driver",
    ]


def test_where_all_is_there_nothing_is_installed(machine: Path) -> None:
    for name in ("google-chrome", "chromedriver"):
        program(machine, name, "exit 0")
    assert installed(machine, user=0) == ("", "")


def test_who_may_not_install_is_told_what_goes_untested(machine: Path) -> None:
    asked, said = installed(machine, user=1000)
    assert asked == "" and "apt install chromium chromium-driver" in said


def test_where_apt_fails_the_tests_go_on(machine: Path) -> None:
    (machine / "fails").write_text("100")
    assert "apt failed. What needs chromium chromium-driver is not tested" in installed(machine, user=0)[1]
