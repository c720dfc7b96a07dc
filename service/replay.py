"""A past answer again: the same bytes, when the caller supplies the input once more."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from service.assist import SOFTWARE, Assist
from service.cds_hooks import answer_call, listed_hooks, open_call
from service.cds_hooks import open_visit as open_hook_visit
from service.coding.model import Setting
from service.decisions import input_hash
from service.errors import OperatorError
from service.fhir_api import DOORS, answer_parameters, open_visit
from service.json_body import dump_json, parse_json
from service.open_forms import Forms
from service.store import Store

SETTINGS: dict[str, Setting] = {door: setting for setting, door in DOORS.items()}


class ReplayRefused(OperatorError):
    """Why a decision cannot be made again, and what to do."""


@dataclass(frozen=True)
class Replay:
    """The answer that is made now, and what differs from then where it is not the same."""

    answer: bytes
    differs: str = ""


def replay(decision: Mapping[str, Any], sent: bytes, assist: Assist, store: Store) -> Replay:
    """The answer of a decision to its input; ReplayRefused where `sent` is another input.

    `store` is the one of the decision: it names the forms, and knows what the encounter had answered by then.
    """
    body: Any = parse_json(sent)
    if not isinstance(body, dict) or input_hash(body) != decision["input"]:
        raise ReplayRefused("The input is not the one of this decision; supply the body that was sent then, unchanged.")
    at, settings = datetime.fromisoformat(decision["recorded"]), decision["settings"]
    if decision["door"] in SETTINGS:
        answer = _operation(SETTINGS[decision["door"]], sent, assist, settings["base_url"], at)
    else:
        opens = {"launches": settings.get("smart", False)}
        call = open_call(body, listed_hooks(settings["hook_domain"]), settings.get("dialect"), **opens)
        life = timedelta(hours=settings.get("form_hours", 24))  # which names the forms; none is kept
        forms = Forms(store, life, settings.get("client", ""), at)
        _, shown = answer_call(call, open_hook_visit(call, at), assist, settings["base_url"], forms)
        answer = dump_json(shown)
    same = hashlib.sha256(answer).hexdigest() == decision["output"]
    return Replay(answer, "" if same else _difference(decision, assist))


def _operation(setting: Setting, sent: bytes, assist: Assist, base_url: str, at: datetime) -> bytes:
    _, record = open_visit(sent, setting, at)
    return dump_json(answer_parameters(assist.answer(record), assist, setting, base_url))


def _difference(decision: Mapping[str, Any], assist: Assist) -> str:
    if decision["software"] != SOFTWARE:
        return f"The answer differs: it was given by {decision['software']}, and this is {SOFTWARE}."
    if decision["knowledge"] != assist.knowledge:
        return (
            f"The answer differs: it rested on other knowledge (pack {decision['pack']} {decision['packVersion']}, "
            f"hash {decision['knowledge'][:12]}); set the TERMINOLOGY, LEXICON and PAYER_POLICIES of that time."
        )
    return "The answer differs though software, knowledge and input are the same; report it."
