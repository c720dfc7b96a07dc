"""Who may import whom, and that the core asks neither clock nor environment (ARCHITECTURE.md; read from the source)."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVICE = Path(__file__).resolve().parent.parent / "service"
CORE = "service.coding"

# The doors by number, the pages last; two modules of one door may know each other.
DOORS = {
    "service.cds_hooks": 1,
    "service.feedback": 1,
    "service.fhir_api": 2,
    "service.terminology_api": 2,
    "service.conformance_api": 2,
    "service.fhir_http": 2,
    "service.openapi": 2,
    "service.backend_services": 2,
    "service.forms": 3,
    "service.try_it": 3,
    "service.smart_pages": 3,
    "service.batch": 4,
    "service.bulk": 4,
    "service.bulk_manifest": 4,
    "service.bulk_output": 4,
    "service.bulk_summary": 4,
    "service.spark": 4,
    "service.rules_pages": 5,
}
COMMANDS = frozenset(f"service.commands.{path.stem}" for path in SERVICE.glob("commands/*.py"))
OPENS_DOORS = frozenset({"service.app", "service.cli", "service.replay"}) | COMMANDS
# Read terminology/, and what is kept of it; all other files come through them.
LOADERS = frozenset({f"{CORE}.yaml_strict", f"{CORE}.releases", f"{CORE}.kept"})
MIGRATIONS = frozenset(f"service.migrations.versions.{path.stem}" for path in SERVICE.glob("migrations/versions/v*.py"))
STORE = MIGRATIONS | {
    f"service.{module}"
    for module in ("store", "tables", "database", "retention", "prepared", "migrating", "migrations.env")
}
KEPT_TO = {  # a library and the only modules that may know it
    "flask": OPENS_DOORS | set(DOORS),
    "werkzeug": OPENS_DOORS | set(DOORS),
    "marshmallow": OPENS_DOORS | set(DOORS),
    "sqlalchemy": STORE,
    "psycopg": frozenset({"service.postgresql"}),
    "alembic": MIGRATIONS | {"service.migrating", "service.migrations.env"},
    "pyarrow": frozenset({"service.bulk_output"}),
    "pyspark": frozenset({"service.spark"}),
    "pandas": frozenset({"service.spark"}),
    "msgspec": frozenset(
        {
            "service.rows",
            "service.batch",
            "service.bulk_export",
            "service.cds_hooks",
            "service.glance",
            "service.json_body",
            "service.sound",
        }
    ),
    "requests": frozenset({"service.calling"}),
    "urllib3": frozenset({"service.calling"}),
    "authlib": frozenset({"service.smart"}),
    "joserfc": frozenset({"service.clients", "service.smart"}),
    "cryptography": frozenset({"service.inputs", "service.launches", "service.smart_pages"}),
    "waitress": frozenset({"service.serving"}),
    "prometheus_client": frozenset({"service.metrics"}),
    "opentelemetry": frozenset({"service.tracing"}),
}
CLOCK = frozenset({"now", "today", "utcnow", "time_ns", "monotonic", "localtime", "gmtime"})
ENVIRONMENT = frozenset({"environ", "getenv"})
OUTSIDE = frozenset({"time", "os", "socket", "http", "urllib", "subprocess", "sqlite3"})
FILE = frozenset({"open", "read_text", "read_bytes", "write_text", "write_bytes"})


def name_of(path: Path) -> str:
    """service/coding/model.py is service.coding.model."""
    parts = path.relative_to(SERVICE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): ast.parse(path.read_text("utf-8"), str(path)) for path in sorted(SERVICE.rglob("*.py"))}
CORE_MODULES = [module for module in MODULES if module.startswith(f"{CORE}.")]


def imports(module: str) -> Iterator[str]:
    """Every module that this one imports, wherever in the file."""
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, (
                f"{module}, line {node.lineno}: a relative import. Write the whole name, so that this test can read it."
            )
            yield from (
                inner if (inner := f"{node.module}.{alias.name}") in MODULES else str(node.module)
                for alias in node.names
            )


def library(imported: str) -> str:
    return imported.split(".", maxsplit=1)[0]


def reached_for(module: str) -> Iterator[tuple[str, int]]:
    """Attributes that a module reads (`date.today`, called or handed on) and plain functions that it calls (`open`)."""
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Attribute):
            yield node.attr, node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, node.lineno


def test_the_modules_are_found() -> None:
    assert {"service.app", "service.fhir_in", f"{CORE}.model", f"{CORE}.assessment"} <= set(MODULES)


@pytest.mark.parametrize("module", CORE_MODULES)
def test_the_core_imports_the_standard_library_its_siblings_yaml_and_rapidfuzz(module: str) -> None:
    allowed = {*sys.stdlib_module_names, "yaml", "rapidfuzz", "ahocorasick_rs"}
    assert [name for name in imports(module) if library(name) not in allowed and not name.startswith(f"{CORE}.")] == []


def test_the_nouns_import_nothing_of_ours() -> None:
    assert [name for name in imports(f"{CORE}.model") if library(name) == "service"] == []


@pytest.mark.parametrize("module", CORE_MODULES)
def test_the_core_asks_neither_clock_nor_environment_nor_network(module: str) -> None:
    assert [name for name in imports(module) if library(name) in OUTSIDE] == []
    assert [f"line {line}: {name}" for name, line in reached_for(module) if name in CLOCK | ENVIRONMENT] == []


@pytest.mark.parametrize("module", [module for module in CORE_MODULES if module not in LOADERS])
def test_only_the_loaders_of_the_core_open_files(module: str) -> None:
    assert [f"line {line}: {name}" for name, line in reached_for(module) if name in FILE] == []


@pytest.mark.parametrize("kept", KEPT_TO)
def test_a_library_is_known_only_where_it_belongs(kept: str) -> None:
    assert [module for module in MODULES if kept in map(library, imports(module)) and module not in KEPT_TO[kept]] == []


@pytest.mark.parametrize("module", [module for module in MODULES if module not in OPENS_DOORS])
def test_only_the_application_and_the_commands_import_a_door(module: str) -> None:
    doors = [name for name in imports(module) if name in OPENS_DOORS or name in DOORS]
    assert [name for name in doors if DOORS.get(name) != DOORS.get(module)] == []


def test_the_core_has_no_cycle() -> None:
    assert cycle({module: {name for name in imports(module) if name in CORE_MODULES} for module in CORE_MODULES}) == []


def cycle(arrows: dict[str, set[str]]) -> list[str]:
    """What remains when modules that import none of the others are taken away again and again."""
    left = dict(arrows)
    while free := [module for module, imported in left.items() if not imported & set(left)]:
        for module in free:
            del left[module]
    return sorted(left)


def test_a_cycle_would_be_found() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["a", "b", "c"]
