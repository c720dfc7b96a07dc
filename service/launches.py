"""What a SMART launch leaves for its form: the record as its user reads it now, and what goes back with their rights.

The token lies in the store under a key that only the browser's cookie holds: neither alone reads anything.
"""

from __future__ import annotations

import re
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from service.deferred import Deferred
from service.fetching import Asking, Fetched, Fetcher, FetchFailed
from service.fhir_out import INDICATOR
from service.json_body import Refusal, dump_json, kept_json, parse_json
from service.open_forms import Form
from service.sdc import Result
from service.smart import Grant, NotLaunched, SmartApp
from service.store import Store
from service.validation import refuse_unsound
from service.write_back import in_dialect

if TYPE_CHECKING:
    from cryptography import fernet
else:
    fernet = Deferred("cryptography.fernet")

Json = dict[str, Any]
SECONDS = 5.0  # for all reading, and for all writing, of one form: a user waits
LONGEST = timedelta(hours=1)
MAX_READ = 12  # resources that a form rests on
_LOCAL = re.compile(r"(?P<kind>Condition|DiagnosticReport)/[A-Za-z0-9.-]{1,64}")
_CREATED = re.compile(r"(?:\S*/)?(QuestionnaireResponse/[A-Za-z0-9.-]{1,64})(?:/_history/\S+)?")
_FHIR = "application/fhir+json"
_NAMES = {"Condition": "the problem", "QuestionnaireResponse": "the answers"}


@dataclass(frozen=True)
class Launched:
    """A form opened inside the EHR: whose, with which rights, and the record as it was read then (by reference)."""

    client: str
    patient: str
    user: str
    server: str
    token: str = field(repr=False)
    may: tuple[tuple[str, str], ...]
    fresh: Json = field(default_factory=dict, repr=False)
    expires: str = ""

    def allows(self, kind: str, letter: str) -> bool:
        return not {(kind, letter), ("*", letter)}.isdisjoint(self.may)

    def is_of(self, form: Form) -> bool:
        return (self.client, self.patient, self.user) == (form.client, form.patient, form.user)

    def record(self, kept: Json) -> Json:
        """The record of a form with what was read afresh in its place."""
        return {name: self._fresh(entries) if isinstance(entries, list) else entries for name, entries in kept.items()}

    def _fresh(self, entries: list[Json]) -> list[Json]:
        return [{**entry, "resource": self.fresh.get(entry["reference"], entry["resource"])} for entry in entries]

    def has_changed(self, kept: Json) -> bool:
        """Does the record say something else than when the form was made?"""
        entries = [entry for entries in kept.values() if isinstance(entries, list) for entry in entries]
        now = [
            (entry["resource"], self.fresh[entry["reference"]]) for entry in entries if entry["reference"] in self.fresh
        ]
        return any(_content(before) != _content(after) for before, after in now)

    def is_partial(self, form: Form) -> bool:
        """Was something that the form rests on not to be read again?"""
        return not self.fresh.keys() >= set(_rests_on(form))


def _content(resource: Mapping[str, Any]) -> Json:
    return {key: value for key, value in resource.items() if key != "meta"}


@dataclass(frozen=True)
class Written:
    """What became of one part of the write-back, in a sentence for the user."""

    sentence: str
    done: bool = False


@dataclass(frozen=True)
class Launches:
    """The launches of all clients whose EHR opens our forms, by the `iss` of the client."""

    apps: Mapping[str, SmartApp]
    store: Store
    fetcher: Fetcher

    def keep(self, launched: Launched) -> str:
        """Keep a launch until it expires; the cookie under which it is found again."""
        cookie = secrets.token_urlsafe(32)
        sealed = fernet.Fernet(_sealing_key(cookie)).encrypt(dump_json(asdict(launched))).decode()
        self.store.keep_launch(_row_key(cookie), sealed, launched.expires)
        return cookie

    def get(self, cookie: str, form: Form, at: datetime) -> Launched | None:
        """The launch of a cookie where it is one of this form's user with this form's patient, and not over."""
        sealed = self.store.launch(_row_key(cookie), at)
        if sealed is None:
            return None
        try:
            kept = kept_json(fernet.Fernet(_sealing_key(cookie)).decrypt(sealed).decode())
        except fernet.InvalidToken:
            return None
        launched = Launched(**{**kept, "may": tuple((kind, letter) for kind, letter in kept["may"])})
        return launched if launched.is_of(form) else None

    def open(self, form: Form, grant: Grant, server: str, expires: str) -> Launched:
        """The launch of a form with the record read afresh; NotLaunched where it may not be had."""
        who = (form.client, form.patient, form.user)
        launched = Launched(*who, server, grant.token, tuple(sorted(grant.may)), {}, expires)
        if (form.patient.rpartition("/")[2], form.user) != (grant.patient.rpartition("/")[2], grant.user):
            whose = "patient" if form.user == grant.user else "user"
            raise NotLaunched(
                f"The form was asked for another {whose} than the EHR has now; open it from its own card."
            )
        if not launched.allows("Condition", "r"):
            raise NotLaunched(
                "The EHR does not let this form read the problem (scope user/Condition.r); nothing is shown."
            )
        launched = self.renewed(launched, _rests_on(form))
        if _LOCAL.fullmatch(form.condition) and form.condition not in launched.fresh:
            raise NotLaunched("The problem cannot be read in the record now; open the form from its card again.", 502)
        return launched

    def renewed(self, launched: Launched, references: Iterable[str]) -> Launched:
        """The launch with these resources as they are now; what cannot be had stays as it was."""
        calls = _Calls(self.fetcher, launched)
        read = {one: calls.read(one) for one in references if launched.allows(one.partition("/")[0], "r")}
        return replace(launched, fresh=launched.fresh | {one: found for one, found in read.items() if found})

    def write(self, launched: Launched, form: Form, result: Result) -> list[Written]:
        """Write the answers and the Conditions back, each where the EHR lets the user; nothing is overwritten."""
        calls = _Calls(self.fetcher, launched)
        kept, answered_by = calls.create({key: value for key, value in result.response.items() if key != "id"})
        if form.condition not in launched.fresh:
            return [kept, Written("The problem is not in the record under an id yet; copy what goes back.")]
        return [kept, *(calls.write(entry) for entry in _conditions(form, result, answered_by))]


def _row_key(cookie: str) -> str:
    return sha256(f"row {cookie}".encode()).hexdigest()


def _sealing_key(cookie: str) -> bytes:
    return urlsafe_b64encode(sha256(f"seal {cookie}".encode()).digest())


def _rests_on(form: Form) -> list[str]:
    """The Condition of a form and the reports that it quotes, as far as the EHR has them under an id."""
    told = [e for item in form.questionnaire.get("item") or () for e in item.get("extension") or ()]
    parts = [part for extension in told if extension.get("url") == INDICATOR for part in extension["extension"]]
    sources = [str(part["valueReference"]["reference"]) for part in parts if part["url"] == "source"]
    named = [reference for reference in (form.condition, *sources) if _LOCAL.fullmatch(reference)]
    return list(dict.fromkeys(named))[:MAX_READ]


def _conditions(form: Form, result: Result, answered_by: str) -> Iterator[Json]:
    """The entries of the Conditions, in the dialect of the EHR, which name the answers as the EHR has kept them."""
    answers = result.bundle["entry"][0]
    named = str(answers.get("fullUrl") or answers["request"]["url"])
    for proposal, entry in zip(result.proposals, result.bundle["entry"][1:], strict=True):
        if form.dialect == "epic" and proposal.code:
            request = {"method": "POST", "url": "Condition"}
            yield {"resource": in_dialect(proposal, "epic").resource, "request": request}
        elif form.dialect != "epic":
            yield {**entry, "resource": _naming(entry["resource"], named, answered_by)}


def _naming(condition: Json, before: str, answered_by: str) -> Json:
    """The Condition with the reference under which the answers are kept; without it where they are not."""
    others = [one for one in condition["evidence"] if one.get("detail") != [{"reference": before}]]
    named = [*others, *([{"detail": [{"reference": answered_by}]}] if answered_by else [])]
    return {**{k: v for k, v in condition.items() if k != "evidence"}, **({"evidence": named} if named else {})}


class _Calls:
    """Calls to the FHIR server with the user's token, until a deadline."""

    def __init__(self, fetcher: Fetcher, launched: Launched) -> None:
        self._fetcher = fetcher
        self._launched = launched
        self._deadline = time.monotonic() + SECONDS

    def _send(self, method: Any, path: str, body: Json | None = None, **headers: str) -> Fetched:
        given = {"Accept": _FHIR, "Authorization": f"Bearer {self._launched.token}", **headers}
        given |= {"Content-Type": _FHIR, "Prefer": "return=minimal"} if body is not None else {}
        raw = dump_json(body) if body is not None else None
        asking = Asking(f"{self._launched.server}/{path}", given, method, raw)
        return self._fetcher.send(asking, self._deadline).result(self._deadline)

    def read(self, reference: str) -> Json | None:
        """The resource, about the patient of the launch; None where it cannot be had."""
        kind, _, resource_id = reference.partition("/")
        try:
            resource: Any = parse_json(self._send("GET", reference).body)
            refuse_unsound(resource, allowed=frozenset({kind}))
        except (FetchFailed, Refusal):
            return None
        subject = str((resource.get("subject") or {}).get("reference") or "").split("/_history/")[0]
        is_theirs = subject.split("/")[-2:] == self._launched.patient.split("/")
        return resource if is_theirs and resource.get("id") == resource_id else None

    def create(self, resource: Json) -> tuple[Written, str]:
        """What became of it, and the reference under which the EHR keeps it, empty where it does not."""
        kind = str(resource["resourceType"])
        if not self._launched.allows(kind, "c"):
            return _not_granted(kind, "c"), ""
        try:
            made = _CREATED.fullmatch(self._send("POST", kind, resource).location)
        except FetchFailed as failed:
            return _failed(kind, failed), ""
        return Written("The answers are kept in the record.", done=True), made[1] if made else ""

    def write(self, entry: Json) -> Written:
        """One Condition of the transaction: created, or updated where nobody has changed it meanwhile."""
        request, resource = entry["request"], entry["resource"]
        letter = "u" if request["method"] == "PUT" else "c"
        if not self._launched.allows("Condition", letter):
            return _not_granted("Condition", letter)
        if letter == "u" and "ifMatch" not in request:
            return Written("The EHR gives no version of the problem, so it was not overwritten; copy what goes back.")
        matching = {"If-Match": request["ifMatch"]} if letter == "u" else {}
        try:
            self._send(request["method"], request["url"], resource, **matching)
        except FetchFailed as failed:
            return _failed("Condition", failed)
        done = "The problem is updated in the record." if letter == "u" else "A problem with the code is in the record."
        return Written(done, done=True)


def _not_granted(kind: str, letter: str) -> Written:
    scope = f"user/{kind}.{letter}"
    return Written(f"The EHR does not let this form write {_NAMES[kind]} (scope {scope}); copy what goes back.")


def _failed(kind: str, failed: FetchFailed) -> Written:
    name = _NAMES[kind]
    if failed.status in (409, 412):
        told = f"{name.capitalize()} was changed in the record while the form was open, and nothing was overwritten"
        return Written(f"{told}; look at it there, and copy what goes back where it still holds.")
    if failed.is_outage:
        return Written(f"The EHR did not confirm {name}; look there before you copy what goes back.")
    return Written(f"The EHR did not take {name} (status {failed.status}); copy what goes back.")
