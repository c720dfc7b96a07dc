"""What the wheel carries, and that the folders which ship with the code are found however it was installed."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
FOLDERS_BESIDE_THE_PACKAGE = ("terminology", "fhir_profiles")
WHERE_THE_FOLDERS_ARE = """
from service.shipped import fhir_profiles_dir, terminology_dir
print(terminology_dir())
print(fhir_profiles_dir())
"""


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, REPO], cwd=folder)
    return folder


@pytest.fixture(scope="module")
def installed(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel, and with the dependencies that the running environment has."""
    environment = tmp_path_factory.mktemp("installed")
    venv.create(environment, with_pip=False, symlinks=True)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    run([*pip, "install", "--quiet", "--no-index", "--no-deps", only(distributions, "*.whl")], cwd=environment)
    # A .pth line adds the folder but not what its own .pth files name: the editable checkout stays out of reach.
    site_packages = only(environment, "lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python


@pytest.mark.proves("architecture: terminology/ and fhir_profiles/ ship in the wheel under service/")
@pytest.mark.parametrize("folder", FOLDERS_BESIDE_THE_PACKAGE)
def test_the_wheel_carries_every_file_of_the_folders_beside_the_package(distributions: Path, folder: str) -> None:
    with zipfile.ZipFile(only(distributions, "*.whl")) as wheel:
        shipped = set(wheel.namelist())

    expected = {f"service/{path.relative_to(REPO)}" for path in files_under(REPO / folder)}

    assert expected, f"{folder}/ is empty"
    assert expected - shipped == set()


@pytest.mark.parametrize("folder", ["service", "tests", *FOLDERS_BESIDE_THE_PACKAGE])
def test_the_sdist_carries_every_file_of_the_source(distributions: Path, folder: str) -> None:
    with tarfile.open(only(distributions, "*.tar.gz")) as sdist:
        shipped = {name.partition("/")[2] for name in sdist.getnames()}

    assert {str(path.relative_to(REPO)) for path in files_under(REPO / folder)} - shipped == set()


def test_the_wheel_carries_nothing_but_the_package(distributions: Path) -> None:
    with zipfile.ZipFile(only(distributions, "*.whl")) as wheel:
        top_level = {name.partition("/")[0] for name in wheel.namelist()}

    assert {name for name in top_level if not name.endswith(".dist-info")} == {"service"}


def test_an_installed_wheel_finds_its_own_folders_from_anywhere(installed: Path, tmp_path: Path) -> None:
    printed = run([installed, "-I", "-c", WHERE_THE_FOLDERS_ARE], cwd=tmp_path)

    site_packages = only(installed.parent.parent, "lib/python*/site-packages").resolve()
    assert printed.split("\n")[:2] == [str(site_packages / "service" / folder) for folder in FOLDERS_BESIDE_THE_PACKAGE]


ONE_HOOK_CALL = """
import json
from service.app import create_app
words = "Biomechanical lesion: neural canal narrowed by thick ligamentum flavum at C5-C6"
condition = {"resourceType": "Condition", "id": "c1", "subject": {"reference": "Patient/p1"}, "code": {"text": words}}
call = {
    "hook": "patient-view",
    "hookInstance": "2f6a4a0e-4b2b-4f0c-9a53-6a3a3a3f1a11",
    "context": {"userId": "Practitioner/d1", "patientId": "p1"},
    "prefetch": {"conditions": {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": condition}]}},
}
answer = create_app().test_client().post("/cds-services/coding-assist", json=call)
action = answer.get_json()["cards"][0]["suggestions"][0]["actions"][0]
print(answer.status_code, action["type"], action["resource"]["code"]["coding"][0]["code"])
"""


def test_an_installed_wheel_answers_one_hook_call(installed: Path, tmp_path: Path) -> None:
    assert run([installed, "-I", "-c", ONE_HOOK_CALL], cwd=tmp_path) == "200 update M99.41\n"


def test_a_bare_checkout_finds_its_own_folders_from_anywhere(tmp_path: Path) -> None:
    # -S leaves out everything that is installed, the editable install of this checkout too.
    program = f"import sys; sys.path.insert(0, {str(REPO)!r})" + WHERE_THE_FOLDERS_ARE
    printed = run([sys.executable, "-I", "-S", "-c", program], cwd=tmp_path)

    assert printed.split("\n")[:2] == [str(REPO / folder) for folder in FOLDERS_BESIDE_THE_PACKAGE]


def run(command: list[str | Path], *, cwd: Path) -> str:
    """What the command prints; what it had to say besides when it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def only(folder: Path, pattern: str) -> Path:
    (match,) = folder.glob(pattern)
    return match


def files_under(folder: Path) -> Iterator[Path]:
    made_here = {"__pycache__", "compiled", "node_modules"}  # no source: for one machine, or another's
    return (path for path in folder.rglob("*") if path.is_file() and made_here.isdisjoint(path.parts))
