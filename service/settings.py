"""Settings from environment variables CODING_ASSIST_...; unknown or wrong ones are refused with a sentence."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from service.clients import ClientError, TrustedClient, read_clients
from service.coding.claim import PayerPolicy
from service.errors import OperatorError
from service.inputs import KeyFileError, SealedInputs, read_keys
from service.limits import Network
from service.servers import ServerAddress, WrongAddress, server_address

PREFIX = "CODING_ASSIST_"
KNOWN: dict[str, str] = {
    "TERMINOLOGY": "folder that replaces the shipped terminology",
    "LEXICON": "YAML file with a site's own terms on top of ours",
    "PAYER_POLICIES": "JSON file with payer policies and the operator's list of manipulation procedures",
    "BASE_URL": "how the outside reaches the service, such as https://coding.example.org",
    "HOOK_DOMAIN": "reverse domain under which the hooks of our own are listed, such as org.example",
    "FORM_TTL": "hours that a form waits for its answer, 24 where not given",
    "LOG_LEVEL": "DEBUG, INFO, WARNING or ERROR",
    "DATABASE_URL": "sqlite:///... or postgresql+psycopg://...",
    "AUDIT": "group or sync",
    "RETENTION": "days to keep audit records, feedback, decisions and queries",
    "AUTH": "none or jwt",
    "TRUSTED_CLIENTS": "JSON file with the clients whose tokens are accepted",
    "FHIR_SERVERS": "addresses of the FHIR servers that may be asked with AUTH=none, divided by commas",
    "CORS_ORIGINS": "origins of the browser applications that may call, divided by commas",
    "RATE_LIMIT": "calls a minute that one client may make, in each process",
    "TRUSTED_PROXIES": "addresses or networks of the proxies whose X-Forwarded-For is believed, divided by commas",
    "OPEN_DISCOVERY": "1 to answer GET /cds-services without a token",
    "OPEN_METRICS": "1 to answer GET /metrics without a token",
    "INPUT_KEYS": "file with keys, one a line; what callers send is then kept sealed for replay",
    "TRACES": "address of an OpenTelemetry collector (OTLP over HTTP); it needs the extra `tracing`",
    "ALLOW_INSECURE": "1 to serve without authentication on an address that is not this machine's own",
}
_REVERSE_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]++)++")
AUDIT_MODES = ("group", "sync")
STORE = "sqlite:///var/coding-assist.db"
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?", re.ASCII)
OPENED_BY = {"OPEN_DISCOVERY": "cds_hooks.discovery", "OPEN_METRICS": "metrics"}
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class SettingError(OperatorError):
    """A setting that the service does not take, and what it takes instead."""


@dataclass(frozen=True)
class Settings:
    """What the operator decides."""

    terminology: Path | None = None
    lexicon: Path | None = None
    policies: tuple[PayerPolicy, ...] = ()
    manipulation_codes: frozenset[str] = frozenset()
    wants_care: bool = False
    base_url: str = "http://127.0.0.1:8080"
    log_level: str = "INFO"
    allow_insecure: bool = False
    hook_domain: str = ""
    database_url: str = "sqlite://"  # goes with the process; what read_settings gives stays
    audit: str = "group"
    retention_days: int | None = None
    auth: Literal["none", "jwt"] = "none"
    clients: tuple[TrustedClient, ...] = ()
    open_endpoints: frozenset[str] = frozenset()
    fhir_servers: tuple[ServerAddress, ...] = ()
    cors_origins: frozenset[str] = frozenset()
    rate_limit: int = 0
    trusted_proxies: tuple[Network, ...] = ()
    form_hours: float = 24
    traces: str = ""
    inputs: SealedInputs | None = None


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from the environment; SettingError names the variable and what is allowed."""
    given = {name.removeprefix(PREFIX): value for name, value in environment.items() if name.startswith(PREFIX)}
    for name in given:
        if name not in KNOWN:
            raise SettingError(
                f"{PREFIX}{name} is no setting of this service. "
                f"Known: {', '.join(PREFIX + known for known in sorted(KNOWN))}."
            )
    auth = given.get("AUTH", "none")
    if auth not in ("none", "jwt"):
        raise SettingError(f"{PREFIX}AUTH is none or jwt.")
    clients = _clients(_path("TRUSTED_CLIENTS", given))
    if (auth == "jwt") != bool(clients):
        raise SettingError(f"{PREFIX}AUTH=jwt and {PREFIX}TRUSTED_CLIENTS go together; set both or neither.")
    level = given.get("LOG_LEVEL", "INFO").upper()
    if level not in LEVELS:
        raise SettingError(f"{PREFIX}LOG_LEVEL is one of {', '.join(LEVELS)}.")
    base_url = given.get("BASE_URL", Settings.base_url).rstrip("/")
    if not base_url.startswith(("http://", "https://")):
        raise SettingError(f"{PREFIX}BASE_URL begins with http:// or https://.")
    hook_domain = given.get("HOOK_DOMAIN", "")
    if hook_domain and not _REVERSE_DOMAIN.fullmatch(hook_domain):
        raise SettingError(f"{PREFIX}HOOK_DOMAIN is a reverse domain that you own, in lower case, such as org.example.")
    audit = given.get("AUDIT", "group")
    if audit not in AUDIT_MODES:
        raise SettingError(f"{PREFIX}AUDIT is one of {', '.join(AUDIT_MODES)}.")
    policies, codes, wants_care = (
        _policies(_path("PAYER_POLICIES", given)) if "PAYER_POLICIES" in given else ((), frozenset[str](), False)
    )
    return Settings(
        _path("TERMINOLOGY", given),
        _path("LEXICON", given),
        policies,
        codes,
        wants_care,
        base_url,
        level,
        given.get("ALLOW_INSECURE") == "1",
        hook_domain,
        given.get("DATABASE_URL", STORE),
        audit,
        _days(given.get("RETENTION")),
        "jwt" if auth == "jwt" else "none",
        clients,
        frozenset(endpoint for name, endpoint in OPENED_BY.items() if given.get(name) == "1"),
        _fhir_servers(given.get("FHIR_SERVERS", ""), auth),
        _origins(given.get("CORS_ORIGINS", "")),
        _rate_limit(given.get("RATE_LIMIT", "")),
        _proxies(given.get("TRUSTED_PROXIES", "")),
        _hours(given),
        _traces(given.get("TRACES", "")),
        _inputs(_path("INPUT_KEYS", given)),
    )


def _hours(given: Mapping[str, str]) -> float:
    written = given.get("FORM_TTL", "24")
    if not re.fullmatch(r"\d{1,4}(\.\d{1,2})?", written) or float(written) == 0:
        raise SettingError(f"{PREFIX}FORM_TTL is a number of hours above 0, such as 24 or 0.5.")
    return float(written)


def _days(written: str | None) -> int | None:
    if written is None:
        return None
    if not (days := _whole_number(written, 36500)):
        raise SettingError(f"{PREFIX}RETENTION is a number of days from 1 to 36500; without it all is kept.")
    return days


def _whole_number(written: str, most: int) -> int:
    """0 where it is none from 1 to the most that is taken."""
    number = int(written) if re.fullmatch("[0-9]{1,9}", written) else 0
    return number if number <= most else 0


def _origins(written: str) -> frozenset[str]:
    origins = frozenset(one.strip() for one in written.split(",") if one.strip())
    if not all(_ORIGIN.fullmatch(origin) for origin in origins):
        raise SettingError(f"{PREFIX}CORS_ORIGINS lists origins such as https://ehr.example.org; * is not taken.")
    return origins


def _rate_limit(written: str) -> int:
    calls = _whole_number(written, 1_000_000)
    if written and not calls:
        raise SettingError(f"{PREFIX}RATE_LIMIT is a number of calls a minute, 1 to 1000000; leave it out for none.")
    return calls


def _proxies(written: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(one.strip()) for one in written.split(",") if one.strip())
    except ValueError:
        raise SettingError(f"{PREFIX}TRUSTED_PROXIES lists addresses or networks such as 10.0.0.0/8.") from None


def _inputs(path: Path | None) -> SealedInputs | None:
    try:
        return read_keys(path) if path else None
    except KeyFileError as wrong:
        raise SettingError(f"{PREFIX}INPUT_KEYS: {wrong}.") from None


def _traces(written: str) -> str:
    if written and not (_ORIGIN.fullmatch(written) and find_spec("opentelemetry")):
        raise SettingError(
            f"{PREFIX}TRACES is the address of a collector such as http://collector:4318, and needs the packages of "
            "fhir-coding-assist[tracing]."
        )
    return written


def _fhir_servers(written: str, auth: str) -> tuple[ServerAddress, ...]:
    if written and auth == "jwt":
        raise SettingError(f"{PREFIX}FHIR_SERVERS is for {PREFIX}AUTH=none; list the fhir_servers of each client.")
    try:
        return tuple(server_address(one.strip()) for one in written.split(",") if one.strip())
    except WrongAddress as wrong:
        raise SettingError(f"{PREFIX}FHIR_SERVERS: {wrong}.") from None


def _clients(path: Path | None) -> tuple[TrustedClient, ...]:
    try:
        return read_clients(path) if path else ()
    except ClientError as wrong:
        raise SettingError(f"{PREFIX}TRUSTED_CLIENTS: {wrong}.") from None


def _path(name: str, given: Mapping[str, str]) -> Path | None:
    if name not in given:
        return None
    path = Path(given[name])
    if not path.exists():
        raise SettingError(f"{PREFIX}{name} names a path that does not exist. Give the {KNOWN[name]}.")
    return path


def _policies(path: Path | None) -> tuple[tuple[PayerPolicy, ...], frozenset[str], bool]:
    """The operator's file: {"policies": [...], "manipulation_procedures": [...], "conservative_care": true}."""
    try:
        page = json.loads(path.read_text("utf-8")) if path else {}
        policies = tuple(
            PayerPolicy(
                entry["id"],
                entry["says"],
                tuple(entry.get("coverage", ())),
                tuple(entry.get("procedures", ())),
                tuple(entry.get("first_diagnosis", ())),
                tuple(entry.get("qualifications", ())),
            )
            for entry in page.get("policies", ())
        )
        return policies, frozenset(page.get("manipulation_procedures", ())), page.get("conservative_care") is True
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise SettingError(
            f"{PREFIX}PAYER_POLICIES: the file is not readable. It holds JSON with `policies` (each with id, says, "
            "coverage, procedures, qualifications, first_diagnosis), `manipulation_procedures` and `conservative_care`."
        ) from None
