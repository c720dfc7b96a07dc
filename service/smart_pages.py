"""Door 3 from inside an EHR: how a card's `smart` link becomes an open form (SMART App Launch 2.2, EHR launch).

/smart/launch      the EHR opens us; we ask it for leave
/smart/callback    leave is given; patient and user are those of the form, so the form is shown
/smart/keys        the public keys that our confidential clients sign with
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from flask import Blueprint, Response, current_app, g, redirect, request
from werkzeug.wrappers import Response as Redirect

from service.clients import TrustedClient
from service.decisions import Visit
from service.deferred import Deferred
from service.forms import GONE, held_forms, keep_cookie, keep_launch_cookie, page
from service.json_body import dump_json
from service.launches import LONGEST, Launches
from service.logs import LOG
from service.open_forms import Form
from service.servers import ServerAddress, WrongAddress, server_address
from service.smart import Begun, Grant, NotLaunched, Smart, SmartApp, public_keys, read_begun, refusal
from service.store import instant

if TYPE_CHECKING:
    from cryptography import fernet
else:
    fernet = Deferred("cryptography.fernet")

smart = Blueprint("smart", __name__, url_prefix="/smart")
LOGIN = timedelta(minutes=10)  # how long a user may take to let us in
_TOO_LATE = "This launch is over, or was begun in another browser; open the form from its card again."


@smart.errorhandler(NotLaunched)
def not_launched(refused: NotLaunched) -> Response:
    """A page with the one sentence, in the frame of the EHR where it has one; the operator reads it in the log."""
    LOG.warning(f"no form opened: {refused.sentence}", request=g.get("request_id", "-"), status=refused.status)
    return page("gone.html", refused.status, _frames(), says=refused.sentence)


@smart.get("/launch")
def launch() -> Redirect:
    """Where the EHR opens us: `iss` is its FHIR server, `launch` what it calls this launch."""
    iss = request.args.get("iss", "")
    server = _address(iss)
    client = _client_of(server)
    app = _app(client)
    if not request.args.get("launch"):
        raise NotLaunched("The EHR opened this address without a launch; open the form by the link of a card.", 400)
    endpoints = _smart().find_endpoints(app, server)
    url, begun = _smart().begin(client.iss, app, iss, endpoints, request.args["launch"], _callback())
    away = redirect(url, 303)
    sealed = _fernet().encrypt(begun.written().encode()).decode()
    keep_cookie(away, _cookie_of(begun.state), sealed, "/smart/callback", LOGIN)
    return away


@smart.get("/callback")
def callback() -> Redirect:
    """Where the EHR sends the browser back with a code: the form of the launch, or a page that says why not."""
    begun = _begun()
    client = _client(begun.client)
    if "code" not in request.args:
        raise refusal(request.args.get("error", ""))
    grant = _smart().redeem(_app(client), begun, request.args["code"], _callback())
    shown = _opened(_form(client, grant), grant, begun)
    keep_cookie(shown, _cookie_of(begun.state), "", "/smart/callback", timedelta())
    return shown


@smart.get("/keys")
def keys() -> Response:
    """The public keys of all apps as a JWK set, to be registered with an EHR."""
    listed = [app.key for app in _launches().apps.values() if app.key]
    return Response(dump_json(public_keys(listed)), content_type="application/json; charset=utf-8")


# --- which EHR ----------------------------------------------------------------------------------------------------


def _address(written: str) -> ServerAddress:
    try:
        return server_address(written)
    except WrongAddress:
        raise _unknown_ehr() from None


def _client_of(server: ServerAddress) -> TrustedClient:
    """The one client whose EHR that FHIR server is."""
    clients: tuple[TrustedClient, ...] = current_app.config["CLIENTS"]
    found = [client for client in clients if client.smart and server in client.fhir_servers]
    if not found:
        raise _unknown_ehr()
    return found[0]


def _unknown_ehr() -> NotLaunched:
    return NotLaunched("This EHR is not registered for launches here; ask the operator of this service to list it.")


def _client(iss: str) -> TrustedClient:
    clients: tuple[TrustedClient, ...] = current_app.config["CLIENTS"]
    found = next((client for client in clients if client.iss == iss), None)
    if found is None:
        raise _unknown_ehr()
    return found


def _app(client: TrustedClient) -> SmartApp:
    if client.smart is None:
        raise _unknown_ehr()
    g.frames = client.smart.embedded_in
    return client.smart


def _frames() -> tuple[str, ...]:
    frames: tuple[str, ...] = g.get("frames", ())
    return frames


# --- the launch that comes back -----------------------------------------------------------------------------------


def _begun() -> Begun:
    """What the browser was sent away with, once."""
    state = request.args.get("state", "")
    sealed = request.cookies.get(_cookie_of(state), "")
    try:
        begun = read_begun(_fernet().decrypt(sealed, ttl=int(LOGIN.total_seconds())).decode())
    except (fernet.InvalidToken, ValueError):
        raise NotLaunched(_TOO_LATE, 400) from None
    ends = _now() + LOGIN
    if begun.state != state or not current_app.extensions["store"].see_token("smart", state, ends):
        raise NotLaunched(_TOO_LATE, 400)
    return begun


def _form(client: TrustedClient, grant: Grant) -> Form:
    """The form that the card named, which is the client's and open."""
    form = held_forms(client.iss).get(grant.form)
    if form is None or form.client != client.iss:
        raise NotLaunched("There is no such form; open the one of a newer card.", 404)
    g.client, g.visit = client.iss, Visit("smart", {}, (form.patient,), _now(), grant.user)
    if form.status != "open":
        raise NotLaunched(GONE[form.status], 410)
    return form


def _opened(form: Form, grant: Grant, begun: Begun) -> Redirect:
    """Off to the form, with the cookie that opens it for as long as the token lives."""
    life = timedelta(seconds=min(max(grant.seconds, 0), LONGEST.total_seconds()))
    expires = min(instant(_now() + life), form.expires)
    launched = _launches().open(form, grant, begun.iss.rstrip("/"), expires)
    there = redirect(f"{current_app.config['BASE_URL']}/forms/{form.id}", 303)
    keep_launch_cookie(there, form.id, _launches().keep(launched), life)
    return there


# --- what the application holds -----------------------------------------------------------------------------------


def _smart() -> Smart:
    steps: Smart = current_app.extensions["smart"]
    return steps


def _launches() -> Launches:
    launches: Launches = current_app.extensions["launches"]
    return launches


def _fernet() -> fernet.Fernet:
    """Seals what the browser keeps while the user logs in; every worker has the same key."""
    return fernet.Fernet(urlsafe_b64encode(bytes.fromhex(current_app.extensions["store"].hashed("launch"))))


def _cookie_of(state: str) -> str:
    return f"launch-{sha256(state.encode()).hexdigest()[:16]}"


def _now() -> datetime:
    clock: Callable[[], datetime] = current_app.extensions["clock"]
    return clock()


def _callback() -> str:
    return f"{current_app.config['BASE_URL']}/smart/callback"
