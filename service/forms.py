"""Door 3: the query as a form. The page that a clinician answers, and the SDC operations behind it.

    /forms/{id}                          the form, once: answered, declined or expired it shows nothing more
    Questionnaire/$populate              what the record answers of a form
    Questionnaire/$next-question         the next question, the answers so far in the call
    QuestionnaireResponse/$extract       what the answers make of the record, as a transaction

SDC 4.0.0 operations; parameter names as there, with `questionnaireRef` (3.0) and the record's parameters of ours.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, current_app, g, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from service.assist import Assist, Judged, form_faults
from service.decisions import Visit, patients_of
from service.envelope import ROLES
from service.fhir_out import CANONICAL, built_form
from service.form_pages import page_form, told_of
from service.json_body import Issue, Refusal, dump_json, issues_to_operation_outcome, parse_json
from service.launches import LONGEST, Launched, Launches
from service.open_forms import Form, Forms, Opener
from service.record import Request
from service.sdc import (
    FORM,
    Result,
    about,
    asking,
    auto_of,
    form_of,
    issues_of,
    next_question,
    populated,
    record_of,
    result_of,
    still_open,
)
from service.validation import refuse_errors, validate_resource

Json = dict[str, Any]
FHIR_JSON = "application/fhir+json; charset=utf-8"
sdc = Blueprint("sdc", __name__, url_prefix="/fhir")
forms = Blueprint(
    "forms", __name__, template_folder="web/templates", static_folder="web/static", static_url_path="/static"
)
DECLINES = {
    "documented-elsewhere": "Documented elsewhere in the record",
    "other-provider": "A question for another provider",
    "not-now": "Not now",
    "declined": "Declined",
}
GONE = {
    "answered": "This form has been answered.",
    "declined": "This form has been declined.",
    "expired": "This form has expired.",
}


def held_forms(client: str = "") -> Forms:
    """The forms of a client as of now."""
    kept: Forms = current_app.extensions["forms"](client, current_app.extensions["clock"]())
    return kept


def _assist() -> Assist:
    assist: Assist = current_app.extensions["assist"]
    return assist


# --- SDC ----------------------------------------------------------------------------------------------------------


@sdc.get("/Questionnaire/<string(length=32):form_id>")  # other ids are those of published Questionnaires
def questionnaire(form_id: str) -> Response:
    """The Questionnaire of a form that is open."""
    return _fhir(_open_form(form_id).questionnaire)


@sdc.post("/Questionnaire/$populate")
@sdc.post("/Questionnaire/<form_id>/$populate")
def populate(form_id: str = "") -> Response:
    """What the record answers of a form: the one sent, one that is open, or the one that we would ask."""
    given = _parameters(parse_json(request.get_data()))
    form, wanted = _wanted_form(given, form_id)
    record = form.request if form else _opened(_record(given))
    one = about(record, form.condition, _assist()) if form else asking(_assist().answer(record))
    asked = form.questionnaire if form else wanted or form_of(one)
    response = populated(asked, one.assessment)
    if wanted and wanted.get("url"):
        response["questionnaire"] = "|".join(filter(None, (wanted["url"], wanted.get("version"))))
    elif form:
        response["questionnaire"] = _canonical(form.id)
    else:
        response |= {"questionnaire": "#form", "contained": [{**asked, "id": "form"}]}
    subject = _first(given, "subject", "valueReference") or _subject(record)
    response |= {"subject": subject} if subject else {}
    issues = [*_not_fetched(given), *still_open(asked, response)]
    return _fhir(_out(response=response, issues=issues))


@sdc.post("/Questionnaire/$next-question")
def ask_next() -> Response:
    """The response with the next question in its contained form; completed where nothing is left to ask."""
    given = _parameters(parse_json(request.get_data()))
    response, record = _response(given), list(_record(given))
    told = next_question(response, record, _assist())
    _opened([*_contained(response), *record])
    return _fhir(told)


@sdc.post("/QuestionnaireResponse/$extract")
def extract() -> Response:
    """The transaction that keeps the answers and completes the Condition; nothing is written here."""
    given = _parameters(parse_json(request.get_data()))
    result = _extracted(given, _response(given))
    return _fhir(_out(issues=issues_of(result), **{"return": result.bundle}))


def _extracted(given: Mapping[str, list[Json]], response: Json) -> Result:
    form = _form_named(str(response.get("questionnaire") or ""))
    if form:
        return _result(form, response)
    contained = [dict(one) for one in response.get("contained") or ()]
    asked = [one for one in contained if one.get("resourceType") == "Questionnaire"]
    asked += [part["resource"] for part in given.get("questionnaire", ()) if "resource" in part]
    resources = [*_contained(response), *_record(given)]
    if not asked:
        sentence = "The form is not known; send it as parameter `questionnaire`, contained, or by its address."
        raise Refusal(422, [Issue("error", "required", sentence, "QuestionnaireResponse.questionnaire")])
    record = _opened(resources)
    one = asking(_assist().answer(record))
    bare = {key: value for key, value in response.items() if key not in ("contained", "extension")}
    named = {"questionnaire": str(asked[0].get("url") or FORM)}
    auto = auto_of(asked[0], one.assessment)
    return result_of(record, one.assessment.documentation.condition, asked[0], auto, bare, _assist(), **named)


def _opened(resources: Iterable[Json]) -> Request:
    """The record that was sent; that somebody looks at it is recorded from here on."""
    record = record_of(resources)
    g.visit = Visit("sdc", {}, patients_of(record), current_app.extensions["clock"]())
    return record


def _contained(response: Json) -> list[Json]:
    """The record that a response carries along, without its form."""
    return [one for one in response.get("contained") or () if one.get("resourceType") != "Questionnaire"]


def _parameters(body: Any) -> dict[str, list[Json]]:
    """The parameters by name; a bare resource stands for the one that the operation is about."""
    if not isinstance(body, dict):
        raise Refusal(400, [Issue("error", "structure", "The body is not a JSON object; send Parameters.")])
    if body.get("resourceType") in ("QuestionnaireResponse", "Questionnaire"):
        name = "questionnaire-response" if body["resourceType"] == "QuestionnaireResponse" else "questionnaire"
        return {name: [{"name": name, "resource": body}]}
    refuse_errors(validate_resource(body, allowed=frozenset({"Parameters"})))
    given: dict[str, list[Json]] = {}
    for parameter in body.get("parameter") or ():
        given.setdefault(str(parameter["name"]), []).append(parameter)
    known = {"questionnaire-response", "questionnaire", "questionnaireRef", "subject", "context", "data", "local"}
    for name in given.keys() - known - ROLES.keys():
        sentence = "The parameter is not one of this operation; use those of SDC and those of the record."
        raise Refusal(400, [Issue("error", "not-supported", sentence, f"Parameters.parameter.where(name='{name}')")])
    return given


def _first(given: Mapping[str, list[Json]], name: str, value: str) -> Any:
    return next((part[value] for part in given.get(name, ()) if value in part), None)


def _response(given: Mapping[str, list[Json]]) -> Json:
    response = _first(given, "questionnaire-response", "resource")
    if response is None:
        sentence = "No QuestionnaireResponse is given; send it as parameter `questionnaire-response` or as the body."
        raise Refusal(400, [Issue("error", "required", sentence, "Parameters.parameter")])
    refuse_errors(validate_resource(response, allowed=frozenset({"QuestionnaireResponse"})))
    return dict(response)


def _record(given: Mapping[str, list[Json]]) -> Iterator[Json]:
    """The resources of the record: our own parameters, `context` with content, and the Bundle `data`."""
    for name in ROLES:
        yield from (part["resource"] for part in given.get(name, ()) if "resource" in part)
    for context in given.get("context", ()):
        yield from _unpacked(part["resource"] for part in context.get("part") or () if "resource" in part)
    yield from _unpacked(part["resource"] for part in given.get("data", ()) if "resource" in part)


def _unpacked(resources: Iterator[Json]) -> Iterator[Json]:
    for resource in resources:
        if resource.get("resourceType") == "Bundle":
            yield from (entry["resource"] for entry in resource.get("entry") or () if "resource" in entry)
        else:
            yield resource


def _not_fetched(given: Mapping[str, list[Json]]) -> list[Issue]:
    """`context` by reference: what is meant has to come with the call."""
    contexts = [part for context in given.get("context", ()) for part in context.get("part") or ()]
    sentence = "The context is a reference and is not fetched; send the resource itself as `content`."
    return [Issue("warning", "not-supported", sentence) for part in contexts if "valueReference" in part]


def _wanted_form(given: Mapping[str, list[Json]], form_id: str) -> tuple[Form | None, Json | None]:
    """The open form that is named, or the Questionnaire that is sent; neither where ours is asked for."""
    if form_id and form_id != FORM.rpartition("/")[2]:
        return _open_form(form_id), None
    sent = _first(given, "questionnaire", "resource")
    if sent is not None:
        refuse_errors(validate_resource(sent, allowed=frozenset({"Questionnaire"})))
        return None, dict(sent)
    for name in ("questionnaire", "questionnaireRef"):
        for key in ("valueUri", "valueCanonical", "valueReference"):
            named = _first(given, name, key)
            named = named.get("reference") if isinstance(named, Mapping) else named
            if named and str(named).partition("|")[0] != FORM:
                return _form_named(str(named)) or _unknown_form(), None
    return None, None


def _form_named(address: str) -> Form | None:
    """The open form of a canonical or a reference; None where it is none of ours."""
    path, _, form_id = address.partition("|")[0].rpartition("/")
    ours = path == "Questionnaire" or path in (f"{CANONICAL}/Questionnaire", f"{_base()}/fhir/Questionnaire")
    return _open_form(form_id) if ours and form_id != FORM.rpartition("/")[2] else None


def _unknown_form() -> Form:
    raise Refusal(404, [Issue("error", "not-found", "There is no such form; send the Questionnaire itself.")])


def _open_form(form_id: str) -> Form:
    """The form, which is open; 404 where there is none, 410 where it is done."""
    form = _held(form_id)
    if form is None:
        return _unknown_form()
    if form.status != "open":
        raise Refusal(410, [Issue("error", "deleted", f"{GONE[form.status]} Nothing of it is shown any more.")])
    return form


def _held(form_id: str) -> Form | None:
    """The form as it stands, its use recorded; None where there is none, or none of the client that calls."""
    form = held_forms().get(form_id)
    if form is None or (form.client and g.get("client", form.client) != form.client):
        return None
    if form.status != "expired":  # of which nothing is left to be shown
        g.client = form.client
        g.visit = Visit("form", {}, (form.patient,), current_app.extensions["clock"](), form.user)
    return form


def _result(form: Form, response: Json, **kept: Any) -> Result:
    """What the answers to a form that is held make of its record."""
    bare = {key: value for key, value in response.items() if key not in ("contained", "extension", "meta")}
    author = {"reference": form.user} if "/" in form.user else None
    named = {"questionnaire": _canonical(form.id), "author": author, **kept}
    return result_of(form.request, form.condition, form.questionnaire, form.auto, bare, _assist(), **named)


def _canonical(form_id: str) -> str:
    return f"{CANONICAL}/Questionnaire/{form_id}|{_assist().terminology.main.version}"


def _subject(record: Request) -> Json | None:
    return next((c.resource["subject"] for c in record.conditions if c.resource.get("subject")), None)


def _out(issues: list[Issue], **resources: Json) -> Json:
    parts = [{"name": name, "resource": resource} for name, resource in resources.items()]
    parts += [{"name": "issues", "resource": issues_to_operation_outcome(issues)}] if issues else []
    return {"resourceType": "Parameters", "parameter": parts}


def _fhir(resource: Json, status: int = 200) -> Response:
    return Response(dump_json(resource), status, content_type=FHIR_JSON)


def _base() -> str:
    return str(current_app.config["BASE_URL"])


# --- the form inside an EHR -----------------------------------------------------------------------------------------

_NOT_LAUNCHED = "Open this form by the link of its card: the EHR has to say who you are, or has said it too long ago."


def _launches() -> Launches:
    launches: Launches = current_app.extensions["launches"]
    return launches


def _needs_launch(form: Form) -> bool:
    """An EHR that opens our forms says who looks at them; their address alone then opens nothing."""
    return form.client in _launches().apps


def _launched(form: Form) -> Launched | None:
    cookie = request.cookies.get("launch", "")
    return _launches().get(cookie, form, current_app.extensions["clock"]()) if cookie else None


def _answerable(form_id: str) -> tuple[Form, Launched | None]:
    """The open form, inside an EHR with the record as it was read there; Refusal where nobody said who answers."""
    form = _open_form(form_id)
    launched = _launched(form) if _needs_launch(form) else None
    if _needs_launch(form) and launched is None:
        raise Refusal(403, [Issue("error", "login", _NOT_LAUNCHED)])
    return (replace(form, record=launched.record(form.record)) if launched else form), launched


def _frames(form: Form | None) -> tuple[str, ...]:
    app = _launches().apps.get(form.client) if form else None
    return app.embedded_in if app else ()


def _go_on(told: Response, launched: Launched, following: Form) -> None:
    """The same launch opens the form that follows, with the problem as it stands after what was just written."""
    renewed = _launches().renewed(launched, launched.fresh)
    keep_launch_cookie(told, following.id, _launches().keep(renewed), LONGEST)


def keep_launch_cookie(response: AnyResponse, form_id: str, value: str, life: timedelta) -> None:
    keep_cookie(response, "launch", value, f"/forms/{form_id}", life)


def keep_cookie(response: AnyResponse, name: str, value: str, path: str, life: timedelta) -> None:
    """A cookie for one path of ours, out of reach of scripts; in a frame of the EHR it is a third party's."""
    is_https = _base().startswith("https://")
    response.set_cookie(
        name,
        value,
        max_age=life,
        path=urlsplit(_base()).path + path,
        secure=is_https,
        httponly=True,
        samesite="None" if is_https else "Lax",
        partitioned=is_https,
    )


# --- the page -----------------------------------------------------------------------------------------------------


@forms.get("/forms/<form_id>")
def form_page(form_id: str) -> Response:
    """The form; done or expired, a page that says so and nothing of the record."""
    form = _held(form_id)
    if form is None or form.status != "open":
        says = GONE[form.status] if form else "There is no form at this address."
        return page("gone.html", 410 if form else 404, _frames(form), says=says)
    launched = _launched(form)
    if _needs_launch(form) and launched is None:
        return page("gone.html", 403, _frames(form), says=_NOT_LAUNCHED)
    changed = launched is not None and launched.has_changed(form.record)
    partial = launched is not None and launched.is_partial(form)
    return page("form.html", 200, _frames(form), form=form, changed=changed, partial=partial, **shown_form(form))


def shown_form(form: Form) -> Json:
    """What the template of a form needs."""
    return {"asked": page_form(form.questionnaire), "declines": DECLINES}


@forms.post("/forms/<form_id>")
def answer_form(form_id: str) -> Response:
    """The answers: taken once, assessed again by the same rules, and shown with what goes back to the record.

    Inside an EHR they are weighed with the record as its user reads it now, and written back with that user's rights.
    """
    form, launched = _answerable(form_id)
    response = _response(_parameters(parse_json(request.get_data())))
    authored = current_app.extensions["clock"]().isoformat(timespec="seconds")
    result = _result(form, {**response, "authored": authored})
    done = replace(form, status="answered", response=result.response)
    if not held_forms(form.client).close(done):
        sentence = "The form was answered or declined in another window; nothing was changed."
        raise Refusal(409, [Issue("error", "conflict", sentence)])
    written = _launches().write(launched, form, result) if launched else []
    following = _following(done, form.record, result.after)
    asked = page_form(following.questionnaire) if following else None
    shown: Json = {"following": following, "following_asked": asked, "declines": DECLINES, "written": written}
    told = page("result.html", 200, _frames(form), form=form, **shown, **told_of(form, result, _assist().terminology))
    if launched and following:
        _go_on(told, launched, following)
    return told


def _following(done: Form, record: Json, after: Judged) -> Form | None:
    """What the answers have opened up, as a further form: none of the questions that were shown, answered or left."""
    forms = [kept["questionnaire"] for kept in (*done.earlier, done.answered)]
    shown = {item["linkId"] for form in forms for item in form["item"] if not item.get("readOnly")}
    query = after.query.without(shown) if after.query else None
    if query is None:
        return None
    assessment = after.assessment._replace(ask=query.ask)  # what was left stays open, and is not asked for again
    built = built_form(query, assessment)
    if form_faults(built, query, assessment, _assist().query_rules):
        return None
    opener = Opener(
        held_forms(done.client),
        replace(done, record=record).request,
        _assist().terminology.main.version,
        patient=done.patient,
        user=done.user,
        encounter=done.encounter,
        dialect=done.dialect,
        record=record,
        earlier=(*done.earlier, done.answered),
    )
    form = opener.prepare(assessment, built, f"after {done.id}", is_shared=False)
    opener.open()
    return form


@forms.post("/forms/<form_id>/decline")
def decline_form(form_id: str) -> Response:
    """Declining closes the form; a reason is kept."""
    form, body = _answerable(form_id)[0], parse_json(request.get_data())
    reason = body.get("reason") if isinstance(body, dict) else None
    if not isinstance(reason, str) or reason not in DECLINES:
        sentence = f"The reason is missing or unknown; send one of {', '.join(DECLINES)}."
        raise Refusal(422, [Issue("error", "value", sentence, "reason")])
    if not held_forms(form.client).close(replace(form, status="declined", reason=reason)):
        raise Refusal(409, [Issue("error", "conflict", "The form is open no more; nothing was changed.")])
    return page("declined.html", reason=DECLINES[reason])


def page(template: str, status: int = 200, frames: Iterable[str] = (), **shown: Any) -> Response:
    """A page of ours: nothing from elsewhere, nothing kept, no frame around it but of the origins given."""
    nonce = secrets.token_urlsafe(16)
    markup = render_template(template, nonce=nonce, **shown)
    response = Response(markup, status, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; font-src 'self'; "
        f"style-src 'self' 'nonce-{nonce}'; base-uri 'none'; form-action 'self'; "
        f"frame-ancestors {' '.join(frames) or chr(39) + 'none' + chr(39)}"
    )
    return response
