"""/rules and /rules/{id}: every rule with what it says, its dates and what it rests on, for people and for programs.

/about/source-attributes: what decision support has to say of itself.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, current_app, render_template, request

from service.assist import Assist
from service.coding.model import Rule
from service.json_body import dump_json
from service.source_attributes import attributes_of

rules_pages = Blueprint("rules", __name__, template_folder="web/templates")


def _rules() -> tuple[Rule, ...]:
    assist: Assist = current_app.extensions["assist"]
    return assist.terminology.rules()


@rules_pages.get("/rules")
def all_rules() -> Response | str:
    """All rules: an HTML table, or JSON where that is asked for."""
    if _wants_html():
        return render_template("rules.html", rules=_rules())
    return _json([rule_as_json(rule) for rule in _rules()])


@rules_pages.get("/rules/<rule_id>")
def one_rule(rule_id: str) -> Response | str:
    """One rule with its citations; 404 where there is none of that id."""
    rule = next((rule for rule in _rules() if rule.id == rule_id), None)
    if rule is None:
        abort(404)
    return render_template("rule.html", rule=rule) if _wants_html() else _json(rule_as_json(rule))


@rules_pages.get("/about/source-attributes")
def source_attributes() -> Response | str:
    """The source attributes of decision support: an HTML table, or JSON where that is asked for."""
    told = attributes_of(current_app.config["TERMINOLOGY"], current_app.extensions["assist"].terminology)
    return render_template("source_attributes.html", attributes=told) if _wants_html() else _json(told)


def rule_as_json(rule: Rule) -> dict[str, Any]:
    """A rule in plain words: id, says, kind, dates, flag and citations."""
    cites = [
        {
            "title": c.title,
            "section": c.section,
            "url": c.url,
            "read": c.read,
            **({"quote": c.quote} if c.quote else {}),
        }
        for c in rule.cites
    ]
    shown = {
        "id": rule.id,
        "says": rule.says,
        "kind": rule.kind,
        "pack": rule.pack,
        "element": rule.element,
        "strength": rule.strength,
        "flag": rule.flag,
        "in_force_from": rule.in_force_from,
        "cites": cites,
    }
    return {key: value for key, value in shown.items() if value}


def _wants_html() -> bool:
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def _json(content: Any) -> Response:
    return Response(dump_json(content), content_type="application/json; charset=utf-8")
