"""Door 1, feedback: what users did with our cards, kept before it is acknowledged and once however often it is sent.

CDS Hooks 2.0 "Feedback" in HL7's words, and as Epic sends it: `overrideReasons` with the reason in an extension.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from flask import Blueprint, Response, current_app, g, request
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from service.json_body import Issue, Refusal, dump_json, parse_json
from service.store import Feedback, Store, instant

Json = dict[str, Any]
EPIC = "com.epic.cdshooks.feedback.overrideReason."
MAX_COMMENT = 4000
feedback = Blueprint("feedback", __name__, url_prefix="/cds-services")


class _Tolerant(Schema):
    class Meta:
        unknown = EXCLUDE


_ID = validate.Length(min=1, max=100)


class _Suggestion(_Tolerant):
    id = fields.String(required=True, validate=_ID)


class _Reason(_Tolerant):
    system = fields.String(validate=validate.Length(max=400))
    code = fields.String(required=True, validate=_ID)
    display = fields.String(validate=validate.Length(max=400))


class _Override(_Tolerant):
    reason = fields.Nested(_Reason)
    userComment = fields.String(validate=validate.Length(max=MAX_COMMENT))
    extension = fields.Dict()


class _Item(_Tolerant):
    card = fields.String(required=True, validate=_ID)
    outcome = fields.String(required=True, validate=validate.OneOf(["accepted", "overridden"]))
    outcomeTimestamp = fields.AwareDateTime(required=True, format="iso")
    acceptedSuggestions = fields.List(fields.Nested(_Suggestion), validate=validate.Length(max=100))
    overrideReason = fields.Nested(_Override, allow_none=True)
    overrideReasons = fields.Nested(_Override, allow_none=True)


ITEM = _Item()
WANTED = {
    "card": "the uuid of the card",
    "outcome": "accepted or overridden",
    "outcomeTimestamp": "the moment with its offset, such as 2026-11-16T08:15:30Z",
    "acceptedSuggestions": "a list of objects, each with the id of a suggestion",
    "overrideReason": f"an object with reason (a Coding), userComment (at most {MAX_COMMENT} characters), or both",
    "overrideReasons": "an object as for overrideReason, or with Epic's extension",
}


@feedback.post("/coding-assist/feedback")
def keep_feedback() -> Response:
    """200 once all of it is on the disk; 503 where it cannot be written, and then none of it is kept."""
    items = read_feedback(parse_json(request.get_data()))
    store: Store = current_app.extensions["store"]
    store.add_feedback(str(g.get("client", "")), items, current_app.extensions["clock"]())
    return Response(dump_json({}), content_type="application/json; charset=utf-8")


def read_feedback(body: object) -> list[Feedback]:
    """The items of a body in either dialect; Refusal 400 names the member that is wrong and never repeats it."""
    sent = body.get("feedback") if isinstance(body, dict) else None
    if not isinstance(sent, list) or not sent or not all(isinstance(item, dict) for item in sent):
        _refuse([("feedback", "a list of objects, one for each card")])
    return [_read_item(item, f"feedback[{index}]") for index, item in enumerate(sent)]


def _read_item(sent: Json, at: str) -> Feedback:
    try:
        item = ITEM.load(sent)
    except ValidationError as error:
        _refuse((f"{at}.{name}", WANTED[name]) for name in error.messages_dict)
    content: Json = {"outcome": item["outcome"], "outcomeTimestamp": instant(item["outcomeTimestamp"])}
    if item["outcome"] == "accepted":
        if "acceptedSuggestions" not in item:  # CDS Hooks 2.0 "Feedback": REQUIRED where accepted
            _refuse([(f"{at}.acceptedSuggestions", WANTED["acceptedSuggestions"])])
        content["acceptedSuggestions"] = [one["id"] for one in item["acceptedSuggestions"]]
    else:
        content |= _override(item.get("overrideReason") or item.get("overrideReasons") or {})
    return Feedback(item["card"], content)


def _override(given: Mapping[str, Any]) -> Json:
    """Why the card was overridden, where it is said: a reason, a comment, or both."""
    reason = given.get("reason") or _epic_reason(given.get("extension") or {})
    told: Json = {"reason": reason} if reason else {}
    return told | ({"userComment": given["userComment"]} if given.get("userComment") else {})


def _epic_reason(extension: Mapping[str, Any]) -> Json:
    """Epic's category number as the code, and its words as the display."""
    named = {name.removeprefix(EPIC): str(value)[:400] for name, value in extension.items() if name.startswith(EPIC)}
    if not named:
        return {}
    display = named.get("reasonDisplay") or named.get("reasonTitle") or ""
    reason = {"system": EPIC.rstrip("."), "code": named.get("reasonCategory", ""), "display": display}
    return {name: value for name, value in reason.items() if value}


def _refuse(wrong: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> NoReturn:
    raise Refusal(
        400,
        [
            Issue("error", "value", f"The member {member} is missing or wrong; send {wanted}.", member)
            for member, wanted in wrong
        ],
    ) from None
