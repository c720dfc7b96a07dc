"""create_app(): settings, doors, and errors as OperationOutcome."""

from __future__ import annotations

import re
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING
from urllib.parse import quote

from flask import Flask, Request, Response, current_app, g, request
from flask.globals import app_ctx, request_ctx
from werkzeug.exceptions import HTTPException, TooManyRequests

from service.assist import Assist, open_assist
from service.audit import Access
from service.backend_services import AccessTokens, backend_services
from service.cds_hooks import cds_hooks
from service.clients import Callers, NotAdmitted
from service.conformance import publish
from service.conformance_api import conformance_api
from service.decisions import Visit
from service.ehr import Ehr
from service.feedback import feedback
from service.fetching import Fetcher
from service.fhir_api import fhir
from service.fhir_http import BODY_TYPES, FORM, fhir_response, is_search_form, refuse_format, written_as_asked
from service.fhir_out import Json
from service.forms import forms, sdc
from service.journal import Journal
from service.json_body import MAX_BYTES, Issue, Refusal, issues_to_operation_outcome
from service.launches import Launches
from service.limits import RateLimit, caller_address
from service.logs import LOG
from service.metrics import FORMAT, Metrics
from service.open_forms import Forms
from service.openapi import openapi
from service.readiness import Readiness
from service.recording import entry_of, log_fields
from service.rules_pages import rules_pages
from service.settings import Settings
from service.shipped import fhir_profiles_dir
from service.smart import Smart
from service.smart_pages import smart
from service.store import Store, StoreUnavailable, instant, open_store
from service.terminology_api import terminology_api
from service.try_it import try_it

if TYPE_CHECKING:
    from flask.ctx import AppContext

    from service.tracing import Traces

LAUNCH_CALLS = 8  # to EHRs at once, for launches and what is read and written with them
KEY_FETCHES = 4  # at once; each client's keys are fetched by one thread at a time
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
HEALTH = frozenset({"healthz", "readyz"})
FHIR = "/fhir/"
# Browsers follow a card's link to its rule, its form or its launch without a token; what opens a form, it asks itself.
# A client proves who it is in the form with which it asks for a token.
OPEN_TO_ALL = HEALTH | {"rules", "forms", "backend_services", "openapi", "smart"}
# Pages bring their own style and nothing else; none may be framed (OWASP HTTP headers).
_CONTENT_POLICY = "default-src 'none'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
_ALWAYS = [("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer")]
_UNLESS_SET = (("Cache-Control", "no-store"), ("Content-Security-Policy", _CONTENT_POLICY))
_CORS = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Accept, Prefer, If-None-Match, X-Request-ID",
    "Access-Control-Expose-Headers": "ETag, Retry-After, X-Request-ID",
    "Access-Control-Max-Age": "600",
}
_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
RETRY_SECONDS = "2"
_CODES = {
    404: "not-found",
    405: "not-supported",
    406: "not-supported",
    413: "too-long",
    415: "not-supported",
    429: "throttled",
}
_SENTENCES = {
    404: "Nothing is served at this address; see GET /cds-services and the README for what is.",
    405: "This address does not take that method; see the Allow header.",
    413: "The body is larger than 1 MiB; send less at once.",
    429: "More calls came than one client may make; wait for the seconds of the Retry-After header.",
    415: "The body is not JSON; send application/fhir+json or application/json.",
}


def create_app(settings: Settings | None = None, assist: Assist | None = None, store: Store | None = None) -> Flask:
    """The whole service as a WSGI application; PackError, SettingError or StoreError when what it rests on is wrong."""
    settings = settings or Settings()
    app = Flask(__name__, static_folder=None)
    app.config.update(BASE_URL=settings.base_url, HOOK_DOMAIN=settings.hook_domain, MAX_CONTENT_LENGTH=MAX_BYTES)
    app.config.update(FHIR_SERVERS=settings.fhir_servers, INPUTS=settings.inputs, TERMINOLOGY=settings.terminology)
    app.config.update(FORM_HOURS=settings.form_hours)
    app.extensions["ehr"] = Ehr()
    assist = assist or open_assist(settings)
    app.extensions["assist"] = assist
    app.extensions["published"] = publish(assist.terminology, assist.reader.concepts, fhir_profiles_dir())
    app.extensions["store"] = store = store or open_store(settings.database_url)
    app.extensions["readiness"] = Readiness(store)
    app.extensions["metrics"] = Metrics()
    app.extensions["journal"] = journal = Journal(store, waits=settings.audit == "sync")
    app.register_blueprint(cds_hooks)
    app.register_blueprint(feedback)
    app.register_blueprint(fhir)
    app.extensions["clock"] = lambda: datetime.now(UTC)
    app.extensions["forms"] = partial(Forms, store, timedelta(hours=settings.form_hours), keep=journal.open_forms)
    apps = {client.iss: client.smart for client in settings.clients if client.smart}
    app.extensions["launches"] = Launches(apps, store, calls := Fetcher(LAUNCH_CALLS))
    app.extensions["smart"] = Smart(calls)
    app.config.update(CLIENTS=settings.clients)
    app.register_blueprint(forms)
    if apps:
        app.register_blueprint(smart)
    app.register_blueprint(sdc)
    app.register_blueprint(terminology_api)
    app.register_blueprint(conformance_api)
    app.register_blueprint(rules_pages)
    app.register_blueprint(openapi)
    if settings.auth == "jwt":
        app.extensions["callers"] = callers = Callers(settings.clients, Fetcher(KEY_FETCHES), SeenByAll(store))
        app.extensions["access_tokens"] = AccessTokens(callers, store)
        app.register_blueprint(backend_services)
        app.config["OPEN_TO_ALL"] = OPEN_TO_ALL | settings.open_endpoints
    else:
        app.register_blueprint(try_it)  # a page for people, who bring no token
    app.config.update(CORS_ORIGINS=settings.cors_origins, TRUSTED_PROXIES=settings.trusted_proxies)
    if settings.traces:
        app.extensions["traces"] = import_module("service.tracing").Traces(settings.traces)  # an extra: may be missing
    if settings.rate_limit:
        app.extensions["rate_limit"] = RateLimit(settings.rate_limit)
    app.before_request(_answer_preflight)
    app.before_request(_begin)
    app.after_request(_finish)
    app.register_error_handler(NotAdmitted, _not_admitted)
    app.register_error_handler(Refusal, _refused)
    app.register_error_handler(StoreUnavailable, _unavailable)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _crashed)
    app.add_url_rule("/healthz", "healthz", _healthz)
    app.add_url_rule("/readyz", "readyz", _readyz)
    app.add_url_rule("/metrics", "metrics", _metrics)
    return app


@dataclass(frozen=True)
class SeenByAll:
    """The tokens that were used with any worker: a unique key of the store lets each in once."""

    store: Store

    def first_use(self, iss: str, jti: str, expires: float) -> bool:
        return self.store.see_token(iss, jti, datetime.fromtimestamp(expires, UTC))


def _healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


def _begin() -> None:
    asked, context = request_ctx.request, _context()
    kept, services = context.g, context.app.extensions
    kept.began = time.perf_counter()
    if "traces" in services:
        kept.span = services["traces"].begin(asked.headers)
    given = asked.headers.get("X-Request-ID", "")
    kept.request_id = given if _SAFE_ID.fullmatch(given) else uuid.uuid4().hex
    if "callers" in services:
        _admit()
    if "rate_limit" in services:
        _count()
    if asked.method == "POST":
        _refuse_body_type(asked)
    if asked.path.startswith(FHIR):
        refuse_format(asked)
    if asked.method == "POST" and asked.blueprint == "forms":
        # An answer is kept before its record is written, and only once: a 503 after that could not be made good.
        services["journal"].refuse_failing()
        kept.is_promised = True


def _refuse_body_type(asked: Request) -> None:
    if asked.content_encoding not in (None, "", "identity"):
        raise Refusal(
            415, [Issue("error", "not-supported", "The body is compressed; send it without Content-Encoding.")]
        )
    if asked.mimetype not in BODY_TYPES and not _is_html_form():
        raise Refusal(415, [Issue("error", "not-supported", _SENTENCES[415])])


def _is_html_form() -> bool:
    """A search by POST, the page that people paste into, and how OAuth asks for a token."""
    asks_for_a_token = request.endpoint == "backend_services.token" and request.mimetype == FORM
    return is_search_form(request) or asks_for_a_token or request.endpoint == "try_it.tried"


def _answer_preflight() -> Response | None:
    """A browser asks without a token whether it may call; `_finish` says so to the origins that are listed."""
    asked = request_ctx.request
    is_asked = asked.method == "OPTIONS" and "Access-Control-Request-Method" in asked.headers
    return Response(status=204) if is_asked and _may_read() else None


def _may_read() -> bool:
    return request.headers.get("Origin") in current_app.config["CORS_ORIGINS"]


def _count() -> None:
    """429 for a client that calls too often; without authentication an address is a client."""
    limit: RateLimit = current_app.extensions["rate_limit"]
    if request.endpoint in HEALTH:
        return
    if seconds := limit.wait(g.client if "client" in g else _address(request)):
        raise TooManyRequests(retry_after=seconds)


def _address(asked: Request) -> str:
    """Where the call comes from, behind the proxies that the operator trusts."""
    forwarded_for = asked.headers.get("X-Forwarded-For", "")
    return caller_address(asked.remote_addr or "", forwarded_for, current_app.config["TRUSTED_PROXIES"])


def _admit() -> None:
    """Before anything of the request is looked at; NotAdmitted where no trusted client calls."""
    callers: Callers = current_app.extensions["callers"]
    if {request.endpoint, request.blueprint} & current_app.config["OPEN_TO_ALL"]:
        return
    shown = request.headers.get("Authorization", "")
    tokens: AccessTokens = current_app.extensions["access_tokens"]
    g.caller = (tokens.holder(shown) if _is_fhir() else None) or callers.admit(shown, _audiences())
    g.client = g.caller.iss


def _audiences() -> list[str]:
    """The address called as the outside names it; any call to /fhir may also be named by the base of the server."""
    base = str(current_app.config["BASE_URL"])
    called = [base + request.path, base + quote(request.path)]
    return [*called, f"{base}/fhir"] if _is_fhir() else called


def _is_fhir() -> bool:
    return request.path.startswith(FHIR)


def _context() -> AppContext:
    """What is kept of the call, and the app: to be looked up once, as to go through a proxy takes ten times as long."""
    return app_ctx._get_current_object()  # type: ignore[attr-defined,no-any-return]  # werkzeug's, which has no type


def _finish(response: Response) -> Response:
    asked, context = request_ctx.request, _context()
    kept, app = context.g, context.app
    response = _recorded(response, asked, context)
    _count_answer(response, asked, context)
    headers = response.headers
    headers.extend(_ALWAYS)
    headers.add("X-Request-ID", kept.get("request_id", ""))
    for name, value in _UNLESS_SET:
        if name not in headers:
            headers.add(name, value)
    if app.config["BASE_URL"].startswith("https://"):
        headers["Strict-Transport-Security"] = "max-age=31536000"
    if app.config["CORS_ORIGINS"]:
        response.vary.add("Origin")
        if _may_read():
            headers.update(_CORS | {"Access-Control-Allow-Origin": asked.headers["Origin"]})
    return written_as_asked(response) if asked.path.startswith(FHIR) else response


def _recorded(response: Response, asked: Request, context: AppContext) -> Response:
    """The answer, once what it did with a patient's data is recorded; 503 where that cannot be."""
    kept = context.g
    visit: Visit | None = kept.get("visit")
    fields: Json = {}
    if visit:
        try:
            fields = _record(visit, response, asked, context)
        except StoreUnavailable as error:
            response = _unavailable(error)
    if asked.method == "POST":
        fields["milliseconds"] = round((time.perf_counter() - kept.get("began", time.perf_counter())) * 1000, 1)
        LOG.info("answered", request=kept.get("request_id", "-"), status=response.status_code, **fields)
    return response


def _count_answer(response: Response, asked: Request, context: AppContext) -> None:
    """For metrics and traces: the template of the address and the method are of closed sets, what was sent is not."""
    kept, services = context.g, context.app.extensions
    metrics: Metrics = services["metrics"]
    route = asked.url_rule.rule if asked.url_rule else "none"
    method = asked.method if asked.method in METHODS else "other"
    seconds = time.perf_counter() - kept.get("began", time.perf_counter())
    metrics.answered(route, method, response.status_code, seconds)
    if "visit" in kept and response.status_code < 400:
        metrics.assessed(kept.visit)
    if "span" in kept:
        traces: Traces = services["traces"]
        traces.end(kept.span, route, method, response.status_code, kept.get("request_id", "-"))


def _record(visit: Visit, response: Response, asked: Request, context: AppContext) -> Json:
    """Write the visit to the journal, and return what the log may say of it."""
    kept, services, config = context.g, context.app.extensions, context.app.config
    access = _access(visit, response.status_code, asked, context)
    caller = kept.get("caller")
    settings = {"base_url": config["BASE_URL"], "hook_domain": config["HOOK_DOMAIN"], "client": access.client}
    settings |= {"dialect": caller.dialect if caller else None, "smart": bool(caller and caller.smart)}
    settings |= {"form_hours": config["FORM_HOURS"]}
    entry = entry_of(
        visit, access, response.get_data(), settings, services["assist"], services["store"], config["INPUTS"]
    )
    services["journal"].write(entry, is_promised="is_promised" in kept)
    return log_fields(visit, access, services["store"])


def _access(visit: Visit, status: int, asked: Request, context: AppContext) -> Access:
    kept = context.g
    return Access(
        recorded=instant(visit.at),
        method=asked.method,
        path=_path(asked),
        status=status,
        request_id=kept.request_id,
        client=str(kept.get("client", "")),
        address=_address(asked) or "unknown",
        user=visit.user,
        patient="",
        decision="",
        server=str(context.app.config["BASE_URL"]),
    )


def _path(asked: Request) -> str:
    """The path called; that of a form without its id, which would open the form to whoever reads it here."""
    return str(asked.url_rule) if "form_id" in (asked.view_args or {}) else asked.path


def _not_admitted(_: NotAdmitted) -> Response:
    return Response(status=401, headers={"WWW-Authenticate": "Bearer"})


def _refused(refusal: Refusal) -> Response:
    return fhir_response(issues_to_operation_outcome(refusal.issues), refusal.status)


def _unavailable(_error: StoreUnavailable) -> Response:
    sentence = "The store cannot be written now, so nothing was kept or answered; send the same again after a while."
    response = fhir_response(issues_to_operation_outcome([Issue("error", "transient", sentence)]), 503)
    response.headers["Retry-After"] = RETRY_SECONDS
    return response


def _readyz() -> Response | Json:
    """Ready only where the store can be written: a patient's data is not touched without a record of it."""
    services = current_app.extensions
    try:
        services["journal"].refuse_failing()
        services["readiness"].check()
    except StoreUnavailable as error:
        return _unavailable(error)
    assist: Assist = services["assist"]
    codes = assist.terminology.icd10cm
    is_covered = codes.covers(datetime.now(UTC).date().isoformat())
    ended = f"no release covers today; the newest is of fiscal year {codes.newest.fiscal_year}, see add-release"
    return {"status": "ready", "store": "ok", "terminology": "ok" if is_covered else ended}


def _metrics() -> Response:
    return Response(current_app.extensions["metrics"].told(), content_type=FORMAT)


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    sentence = _SENTENCES.get(status, f"{error.name}.")
    if status == 404 and _is_fhir():
        sentence = "Nothing is served at this address; GET /fhir/metadata tells what is."
    response = fhir_response(
        issues_to_operation_outcome([Issue("error", _CODES.get(status, "processing"), sentence)]), status
    )
    for name in ("Allow", "Retry-After"):
        if value := error.get_response().headers.get(name):
            response.headers[name] = value
    return response


def _crashed(error: Exception) -> Response:
    """Whatever was not foreseen: 500 with an OperationOutcome; the log names a place in the code, never the record."""
    trace, frames = error.__traceback__, []
    while trace:
        frames.append(f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}")
        trace = trace.tb_next
    told = f"failed: {type(error).__name__} at {' > '.join(frames[-4:])}"
    LOG.error(told, request=g.get("request_id", "-"))
    issue = Issue(
        "fatal",
        "exception",
        f"The service failed on this request; report it with X-Request-ID {g.get('request_id', '-')}.",
    )
    return fhir_response(issues_to_operation_outcome([issue]), 500)
