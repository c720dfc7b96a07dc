"""A QuestionnaireResponse read against the form that it answers, and kept with who said what (SDC 4.0).

What LHC-Forms exports is taken as it comes: display items and unanswered questions left out, its own profile and tag.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from service.coding.answers import OTHER, Answer
from service.coding.model import Passage
from service.fhir_out import HIDDEN, OPTION_SYSTEM
from service.json_body import Issue, Refusal
from service.validation import refuse_errors, validate_resource

Json = dict[str, Any]
ORIGIN = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/information-origin"
LONGEST_ANSWER = 2000
_WANTED = {
    "choice": "one of the options of the form, as valueCoding",
    "text": f"words under valueString, {LONGEST_ANSWER} characters at most",
    "date": "a date under valueDate",
}


def read_response(response: Mapping[str, Any], form: Mapping[str, Any]) -> tuple[Answer, ...]:
    """The answers in the order of the form; Refusal 422 with one sentence where one does not belong to it."""
    refuse_errors(validate_resource(response, allowed=frozenset({"QuestionnaireResponse"})))
    given = _given(response)
    asked = {item["linkId"]: item for item in form.get("item") or () if item.get("type") != "display"}
    for link_id, (_, at) in given.items():
        if link_id not in asked:
            _refuse("not-found", "The form has no question with this linkId; answer the form as it was sent.", at)
    answers = []
    for link_id, item in asked.items():
        if link_id in given and not _is_hidden(item):
            answers.append(_answer(item, *given[link_id], response))
    _check_others({answer.element: answer for answer in answers})
    return tuple(_merged_others(answers))


def _given(response: Mapping[str, Any]) -> dict[str, tuple[Json, str]]:
    """Each answer by linkId with its place; questions that were left out have none."""
    given: dict[str, tuple[Json, str]] = {}
    for item, at in _items(response, "QuestionnaireResponse"):
        answers = item.get("answer") or ()
        if not answers:
            continue
        if len(answers) > 1 or item["linkId"] in given:
            _refuse("structure", "The question is answered more than once; answer it once.", at)
        given[item["linkId"]] = answers[0], f"{at}.answer[0]"
    return given


def _items(holder: Mapping[str, Any], at: str) -> Iterator[tuple[Json, str]]:
    for index, item in enumerate(holder.get("item") or ()):
        place = f"{at}.item[{index}]"
        yield item, place
        yield from _items(item, place)
        for number, answer in enumerate(item.get("answer") or ()):
            yield from _items(answer, f"{place}.answer[{number}]")


def _answer(item: Mapping[str, Any], given: Mapping[str, Any], at: str, response: Mapping[str, Any]) -> Answer:
    kind = str(item["type"])
    if kind == "choice":
        option = _option(item, given.get("valueCoding"))
        if option is None:
            _refuse("code-invalid", f"The answer is no option of this question; give {_WANTED[kind]}.", at)
        code = _named(option)[1]
        shown = str(option.get("display") or code)
        return Answer(item["linkId"], _passage(shown, f"{at}.valueCoding.display", response), code)
    key = "valueDate" if kind == "date" else "valueString"
    words = given.get(key)
    if not isinstance(words, str) or not words.strip() or len(words) > LONGEST_ANSWER:
        _refuse("value", f"The answer is missing, empty or too long; give {_WANTED[kind]}.", at)
    return Answer(item["linkId"], _passage(words, f"{at}.{key}", response))


def _option(item: Mapping[str, Any], coding: Any) -> Json | None:
    """The option of the form: what the response calls it does not count."""
    wanted = _named(coding) if isinstance(coding, Mapping) else ("", "")
    options = (option["valueCoding"] for option in item.get("answerOption") or () if "valueCoding" in option)
    return next((option for option in options if wanted[1] and _named(option) == wanted), None)


def _named(coding: Mapping[str, Any]) -> tuple[str, str]:
    """System and code: both are optional in a Coding, and a form that is sent need not be one of ours."""
    return str(coding.get("system") or OPTION_SYSTEM), str(coding.get("code") or "")


def _passage(words: str, expression: str, response: Mapping[str, Any]) -> Passage:
    source = f"QuestionnaireResponse/{response['id']}" if response.get("id") else "QuestionnaireResponse"
    date, status = str(response.get("authored") or "")[:10], response.get("status")
    return Passage(words, source, expression, "provider", date or None, str(status) if status else None)


def _check_others(answers: Mapping[str, Answer]) -> None:
    """Other needs its words, and its words need Other."""
    for element, answer in answers.items():
        if answer.code == OTHER and f"{element}.{OTHER}" not in answers:
            _refuse("required", "Other is chosen without words; write them, or choose another option.", "", element)
        base = element.removesuffix(f".{OTHER}")
        if base != element and (base not in answers or answers[base].code != OTHER):
            _refuse("business-rule", "Words stand under Other, which is not chosen; choose Other.", "", base)


def _merged_others(answers: Sequence[Answer]) -> Iterator[Answer]:
    """The words under Other are the answer to the question itself."""
    for answer in answers:
        element = answer.element.removesuffix(f".{OTHER}")
        if answer.code != OTHER:
            yield answer._replace(element=element)


def _is_hidden(item: Mapping[str, Any]) -> bool:
    """Filled from the record and not asked: what a response says there is passed over."""
    return any(extension.get("url") == HIDDEN for extension in item.get("extension") or ())


def _refuse(code: str, sentence: str, at: str, element: str = "") -> NoReturn:
    at = at or f"QuestionnaireResponse.item.where(linkId='{element}')"
    raise Refusal(422, [Issue("error", code, sentence, at)])


# --- what is kept -------------------------------------------------------------------------------------------------


def kept_response(response: Mapping[str, Any], form: Mapping[str, Any], auto: Mapping[str, Any], **about: Any) -> Json:
    """The answers as they are kept: those of the record marked auto, the clinician's manual; `about` is set on it."""
    given, known = _given(response), _given(auto)
    items = []
    for asked in form.get("item") or ():
        source, found = ("auto", known) if _is_hidden(asked) else ("manual", given)
        if asked.get("type") != "display" and asked["linkId"] in found:
            items.append(_kept_item(asked, found[asked["linkId"]][0], source))
    kept: Json = {"resourceType": "QuestionnaireResponse", "status": "completed"}
    kept |= {key: value for key in ("id", "authored", "author") if (value := response.get(key))}
    return kept | {key: value for key, value in about.items() if value} | ({"item": items} if items else {})


def is_manual(item: Mapping[str, Any]) -> bool:
    """Whether a person gave this answer of a kept response, and not the record."""
    return bool(item["answer"][0]["extension"][0]["extension"][0]["valueCode"] == "manual")


def _kept_item(asked: Mapping[str, Any], answer: Mapping[str, Any], source: str) -> Json:
    origin = {"url": ORIGIN, "extension": [{"url": "source", "valueCode": source}]}
    option = _option(asked, answer.get("valueCoding"))
    worded = {key: value for key, value in answer.items() if key in ("valueString", "valueDate")}
    value = {"valueCoding": option} if option else worded
    item: Json = {"linkId": asked["linkId"], "answer": [{"extension": [origin], **value}]}
    return {**item, "text": asked["text"]} if asked.get("text") else item
