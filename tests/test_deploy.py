"""The examples of deploy/ keep their promises: no root, no capabilities, nothing writable, settings that exist."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import KNOWN, PREFIX
from tests.test_supply_chain import RUNTIME, pins

REPO = Path(__file__).resolve().parent.parent
COMPOSE = yaml.safe_load((REPO / "deploy/compose.yaml").read_text("utf-8"))
KUBERNETES = list(yaml.safe_load_all((REPO / "deploy/kubernetes.yaml").read_text("utf-8")))
NGINX = (REPO / "deploy/nginx.conf").read_text("utf-8")
DOCKERFILE = (REPO / "Dockerfile").read_text("utf-8")


def settings_of(environment: Any) -> set[str]:
    return {name.removeprefix(PREFIX) for name in environment if name.startswith(PREFIX)}


def test_compose_starts_two_replicas_that_may_do_nothing_but_serve() -> None:
    service = COMPOSE["services"]["coding-assist"]
    assert service["deploy"]["replicas"] == 2
    assert (service["read_only"], service["user"]) == (True, "10001:10001")
    assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
    assert settings_of(service["environment"]) <= set(KNOWN)
    assert service["environment"][f"{PREFIX}DATABASE_URL"].startswith("postgresql+psycopg://")
    assert "ports" not in service  # only the proxy is reached,
    assert COMPOSE["services"]["proxy"]["ports"] == ["127.0.0.1:8080:8080"]  # and only from this machine


def test_the_pods_may_do_nothing_but_serve() -> None:
    deployment = KUBERNETES[0]["spec"]
    pod = deployment["template"]["spec"]
    [container] = pod["containers"]
    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 10001)
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert settings_of(one["name"] for one in container["env"]) <= set(KNOWN)
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_the_proxy_logs_no_address_and_believes_no_client_about_its_address() -> None:
    assert re.findall(r"\$(?:request|request_uri|uri|args|remote_user)\b", NGINX) == []
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in NGINX
    assert "location = /metrics" in NGINX


def test_the_image_runs_as_a_number_and_is_asked_whether_it_is_well() -> None:
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.M)
    assert re.search(r"^HEALTHCHECK ", DOCKERFILE, re.M)
    assert re.search(r"^STOPSIGNAL SIGTERM$", DOCKERFILE, re.M)


def test_the_bill_of_materials_names_every_package_with_its_hash(tmp_path: Path) -> None:
    [command] = re.findall(r"^sbom:.*\n(?:\t.*mkdir.*\n)?\t(.+)$", (REPO / "Makefile").read_text("utf-8"), re.M)
    program = Path(sys.executable).parent / "cyclonedx-py"
    if not program.exists():
        pytest.skip("cyclonedx-py is not installed: run `make test`, which installs it")
    arguments = command.replace("dist/sbom.json", str(tmp_path / "sbom.json")).split()[1:]
    subprocess.run([program, *arguments], cwd=REPO, check=True, capture_output=True, timeout=60)
    told = json.loads((tmp_path / "sbom.json").read_text("utf-8"))
    assert told["bomFormat"] == "CycloneDX"
    assert {one["name"].lower().replace("_", "-") for one in told["components"]} == set(pins(RUNTIME))
    for one in told["components"]:
        assert any(reference.get("hashes") for reference in one["externalReferences"]), one["name"]
