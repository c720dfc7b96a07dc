"""Is this form a compliant clinical documentation query? (QUERIES Q0: a form that fails is not sent.)

    faults = query_faults(questionnaire, load_query_rules(path), texts=..., ask=..., card=..., response=...)

Reads the Questionnaire, the card and the response as plain dicts, so that it judges what leaves the service and not
what the service meant. The record's own words are exempt from the word lists (Q2, Q3, Q11), but only where they stand
in quotation marks and are the quote of an indicator: an indicator in turn must be verbatim (Q5).
Q15 (kept unchangeable) and Q17 (not repeated) are about the store and not about one form.
"""

from __future__ import annotations

import html
import marshal
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from service.coding.errors import PackError
from service.coding.model import ELEMENTS
from service.coding.yaml_strict import load_yaml

Json = dict[str, Any]
Texts = Mapping[tuple[str, str], str]

CAUSES = frozenset({"narrowing", "tissue", "framing"})  # Q9c: axes of cause or diagnosis
UNABLE, OTHER = "unable-to-determine", "other"
_MARKUP = re.compile(r"<[^>]*>")
_INDICATOR = re.compile(r"indicator-\d+")
_DATE = re.compile(r"\bdated (\d{4}(?:-\d\d){0,2})\b")
_STATUS = re.compile(r"\bstatus (not stated|[a-z-]+)")
# ICD-10-CM: dotted; undotted with four characters or more; a header of three. L1, C5, T12 and B12 are no codes: a
# header counts only where its letter numbers no vertebra and no vitamin. The digit behind the letter is looked for
# before all else, as nearly all places in a text fail at it. The last four signs pass for I, S and K.
_LETTER, _SIGN = r"A-TV-Za-tv-z\u0130\u0131\u017f\u212a", r"0-9A-Za-z\u0130\u0131\u017f\u212a"
_CODE = re.compile(
    rf"\d(?<=[{_LETTER}].)(?<![\w.]..)(?:[{_SIGN}]\.[{_SIGN}-]{{1,4}}|[0-9ABab]\d[{_SIGN}]{{1,3}})(?!\w)"
)
_HEADER = re.compile(r"[AE-KM-RV-Z]\d\d(?<![\w.]...)(?!\w)")
# Names and addresses are not read as words; an address is looked into for a dotted code.
_RECORDED = frozenset({"quote", "source", "expression"})
_NAMES = frozenset("id uuid system version reference valueCanonical valueUri questionnaire authoredOn linkId".split())
_CODING_SYSTEMS = ("icd", "/sid/", "snomed")
_REMEMBERED, _PASSED = 4096, 512  # texts, and forms without the record, of 3 kB each
_WORD = re.compile(r"[^\W\d_]{2}")
_CALCULATED = ("/sdc-questionnaire-initialExpression", "/sdc-questionnaire-calculatedExpression")
_KEYS: Mapping[str, type[Any]] = {
    "rule_set": str,
    "title": str,
    "url": str,
    "read": str,
    "says": str,
    "leading": list,
    "category_titles": list,
    "money": list,
    "diagnoses": list,
    "yes_no": list,
    "unable_to_determine": list,
    "regions": list,
    "certainty": list,
    "uncertain_status": list,
    "words_of_doubt_from": str,
}


@dataclass(frozen=True, slots=True)
class QueryFault:
    """A rule of QUERIES that a form breaks, and at which item; `says` never repeats the record's words."""

    id: str
    link_id: str
    says: str


class Said(NamedTuple):
    """Of which kinds the forbidden words are that a text holds, and the diagnoses that it names."""

    broken: tuple[str, ...]
    diagnoses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QueryRules:
    """The words of one edition of the guidelines."""

    id: str
    leading: re.Pattern[str] = field(repr=False)
    category_titles: re.Pattern[str] = field(repr=False)
    money: re.Pattern[str] = field(repr=False)
    diagnoses: re.Pattern[str] = field(repr=False)
    doubt: re.Pattern[str] = field(repr=False)
    yes_no: frozenset[str]
    unable: frozenset[str]
    regions: tuple[str, ...]
    certainty: tuple[str, ...]
    uncertain_status: frozenset[str]
    known: dict[str, Said] = field(default_factory=dict, repr=False, compare=False)
    passed: set[bytes] = field(default_factory=set, repr=False, compare=False)

    def said(self, text: str) -> Said:
        """What a form says of itself is nearly always what the form before it said, so what is found is remembered."""
        found = self.known.get(text)
        if found is None:
            kinds = {"leading": self.leading, "category_titles": self.category_titles, "money": self.money}
            broken = tuple(kind for kind, words in kinds.items() if words.search(text))
            found = Said(broken, tuple(match.group().casefold() for match in self.diagnoses.finditer(text)))
            if len(self.known) < _REMEMBERED:
                self.known[text] = found
        return found


def names_a_code(text: str) -> bool:
    """Whether a text holds what looks like an ICD-10-CM code."""
    return bool(_CODE.search(text) or _HEADER.search(text))


# --- the rules as data --------------------------------------------------------------------------------------------


def load_query_rules(path: Path) -> QueryRules:
    """One edition of the guidelines; PackError with file, key and remedy when the file is wrong."""
    page = load_yaml(path)
    _check_keys(path, page)
    if page["rule_set"] != path.stem:
        raise PackError(f"{path}: rule_set is {page['rule_set']!r}. Name it as the file, {path.stem!r}.")
    if unknown := set(page["certainty"]) & {UNABLE, OTHER}:
        raise PackError(f"{path}: certainty lists {sorted(unknown)[0]!r}, which every choice has. Leave it out.")
    doubt = _words_of_doubt(path, path.parent.parent / page["words_of_doubt_from"])
    return QueryRules(
        page["rule_set"],
        _phrases(page["leading"]),
        _phrases(page["category_titles"]),
        _phrases(page["money"]),
        _phrases(page["diagnoses"]),
        _phrases(doubt),
        frozenset(word.casefold() for word in page["yes_no"]),
        frozenset(word.casefold() for word in page["unable_to_determine"]),
        tuple(page["regions"]),
        tuple(page["certainty"]),
        frozenset(page["uncertain_status"]),
    )


def _check_keys(path: Path, page: Mapping[str, Any]) -> None:
    for key in page:
        if key not in _KEYS:
            raise PackError(f"{path}: unknown key {key!r}. Allowed: {', '.join(sorted(_KEYS))}.")
    for key, kind in _KEYS.items():
        if key not in page:
            raise PackError(f"{path}: {key} is missing. Add it.")
        value = page[key]
        if not isinstance(value, kind) or not value:
            raise PackError(f"{path}: {key} is no filled {'list' if kind is list else 'text'}. Write it as such.")
        if kind is list:
            _check_words(path, key, value)


def _check_words(path: Path, key: str, words: Sequence[Any]) -> None:
    for word in words:
        if not isinstance(word, str) or not word.strip():
            raise PackError(f"{path}, {key}: {word!r} is no text. Quote it.")
    twice = {word for word in words if words.count(word) > 1}
    if twice:
        raise PackError(f"{path}, {key}: {sorted(twice)[0]!r} stands twice. Keep one of them.")


def _words_of_doubt(path: Path, lexicon: Path) -> list[str]:
    concepts = load_yaml(lexicon).get("concepts") or ()
    words = [term for concept in concepts if concept.get("kind") == "hedge" for term in concept.get("terms") or ()]
    if not words:
        raise PackError(
            f"{path}: words_of_doubt_from names {lexicon}, which holds no concept of kind hedge. Correct it."
        )
    return words


def _phrases(phrases: Iterable[str]) -> re.Pattern[str]:
    """Any of the phrases as whole words; a trailing * stands for any ending, an apostrophe for either form."""
    ordered = sorted(set(phrases), key=len, reverse=True)
    words = "|".join(_phrase(p) for p in ordered if p[0].isalnum())
    signs = "|".join(_phrase(p) for p in ordered if not p[0].isalnum())
    # One look at the boundary for all words: most places in a text are inside a word and fail at once.
    return re.compile("|".join(part for part in (f"(?<!\\w)(?:{words})" if words else "", signs) if part), re.I)


def _phrase(phrase: str) -> str:
    stem = phrase.removesuffix("*")
    body = r"\s+".join(re.escape(word) for word in stem.split()).replace("'", "['’]")
    ending = r"\w*" if stem != phrase else r"(?!\w)" if stem[-1].isalnum() else ""
    return body + ending


# --- the form, read -----------------------------------------------------------------------------------------------


class _Indicator(NamedTuple):
    """A display item that quotes the record; `label` is what is shown beside the quote."""

    link_id: str
    text: str
    parts: Mapping[str, Any]
    quote: str
    label: str

    @property
    def prior(self) -> bool:
        return self.parts.get("priorEncounter") is True


class _Option(NamedTuple):
    code: str
    display: str
    system: str
    rests_on: tuple[str, ...]
    raw: Json

    @property
    def answers(self) -> bool:
        """An answer with content: not Other, not Unable to determine."""
        return self.code not in (OTHER, UNABLE)


class _Question(NamedTuple):
    element: str
    item: Json
    options: tuple[_Option, ...]

    @property
    def is_choice(self) -> bool:
        return self.item.get("type") in ("choice", "open-choice") or bool(self.options)

    @property
    def offered(self) -> tuple[_Option, ...]:
        return tuple(option for option in self.options if option.answers)


@dataclass(frozen=True)
class _Form:
    """One form with what travels with it, taken apart once."""

    rules: QueryRules
    questionnaire: Json
    items: tuple[Json, ...]
    indicators: dict[str, _Indicator]
    texts: Texts | None
    ask: Sequence[str]
    card: Json
    response: Json
    quotes: tuple[str, ...]
    questions: list[_Question] = field(default_factory=list)
    plain: dict[str, str] = field(default_factory=dict)
    broken: list[tuple[str, str]] = field(default_factory=list)

    @property
    def asked(self) -> frozenset[str]:
        return frozenset(question.element for question in self.questions)

    def own_words(self, text: str) -> str:
        """A text without the record's words: without each quotation that an indicator holds."""
        if "“" not in text:
            return text
        if text not in self.plain:
            self.plain[text] = "\n".join(_without_quotes(line, self.quotes) for line in text.split("\n"))
        return self.plain[text]


def query_faults(
    questionnaire: Json,
    rules: QueryRules,
    *,
    texts: Texts | None = None,
    ask: Sequence[str] = (),
    card: Json | None = None,
    response: Json | None = None,
) -> list[QueryFault]:
    """Every rule that the form breaks, in the order of the rules; an empty list where it may be sent.

    `texts` maps (source, expression) to the record's text (HTML with its markup), `ask` are the elements meant to be
    asked, `card` is the CDS card that carries the form, `response` the prepopulated QuestionnaireResponse.
    """
    items = tuple(_all_items(questionnaire.get("item") or ()))
    indicators = {i["linkId"]: _indicator(i) for i in items if i.get("type") == "display" and "linkId" in i}
    quotes = tuple(_folded(i.quote) for i in indicators.values() if i.quote)
    form = _Form(rules, questionnaire, items, indicators, texts, ask, card or {}, response or {}, quotes)
    ours = _without_the_record(form)
    if ours in rules.passed and _keeps_the_record(form):
        return []
    form.questions.extend(_questions(items))
    form.broken.extend((kind, at) for at, text in _read_words(form) for kind in rules.said(text).broken)
    faults = [QueryFault(rule, at, says) for rule, check in _CHECKS for at, says in check(form)]
    if ours and not faults:
        if len(rules.passed) >= _PASSED:
            rules.passed.clear()
        rules.passed.add(ours)
    return faults


def _without_the_record(form: _Form) -> bytes:
    """All of a form but what it takes from the record, which for many records is the same.

    It decides every rule but what `_keeps_the_record` looks at. Empty for a form that is put together in another way
    than ours, or that rests on more of the record.
    """
    if form.card:
        return b""
    around = {key: value for key, value in form.questionnaire.items() if key != "item"}
    told: list[Any] = [form.response, list(form.ask), around]
    for item in form.items:
        indicator = form.indicators.get(str(item.get("linkId")))
        if (item.get("linkId") == "certainty" and not _is_hidden(item)) or "item" in item:
            return b""
        if indicator is None:
            told.append({**item, "text": form.own_words(str(item.get("text")))} if item.get("text") else item)
        elif _is_plain(item, indicator):
            ours = {name: value for name, value in indicator.parts.items() if name not in _OF_THE_RECORD}
            has = [bool(indicator.parts.get(name)) for name in ("quote", "source", "expression")]
            told.append((indicator.link_id, indicator.label, item["extension"][0]["url"], ours, has))
        else:
            return b""
    return _written(told)


def _written(told: list[Any]) -> bytes:
    """The one text of plain values, in a quarter of the time of their repr; empty where there are others."""
    try:
        return marshal.dumps(told, 2)  # from version 3 on it would depend on who else holds a value
    except ValueError:
        return b""


_OF_THE_RECORD = frozenset({"quote", "source", "expression", "start", "end"})
_OF_AN_INDICATOR = frozenset({"linkId", "type", "text", "extension"})


def _is_plain(item: Json, indicator: _Indicator) -> bool:
    """Whether an item is the indicator and nothing else, so that its parts and its label tell all of it."""
    if item.keys() != _OF_AN_INDICATOR or item["text"] != indicator.text or len(item["extension"]) != 1:
        return False
    [extension] = item["extension"]
    parts = extension.get("extension") or []
    if item["type"] != "display" or len(extension) != 2 or len(parts) != len(indicator.parts):
        return False
    return all(len(part) == 2 and _is_plain_part(part) for part in parts)


def _is_plain_part(part: Json) -> bool:
    name, value = part.get("url"), _value(part)
    if name in _RECORDED:
        return isinstance(value, str)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return is_number if name in _OF_THE_RECORD else part.get("valueReference") is None and isinstance(value, str | bool)


def _keeps_the_record(form: _Form) -> bool:
    """Whether the quotes are verbatim (Q5), and the questions quote no code (Q11) and bring up no diagnosis (Q2)."""
    if any(_misquotes(indicator, form) for indicator in form.indicators.values()):
        return False
    asked = [str(i.get("text") or "") for i in form.items if str(i.get("linkId")) not in form.indicators]
    return not any(_brings_a_code(text) or _introduced(form, form.own_words(text)) for text in asked)


def _brings_a_code(text: str) -> bool:
    """What quotes nothing of the record is for many records the same, and remembered."""
    return names_a_code(text) if "“" in text else _holds_a_code(text)


def _questions(items: Iterable[Json]) -> Iterator[_Question]:
    free_texts = {f"{i.get('linkId')}.{OTHER}" for i in items}
    for item in items:
        if item.get("type") in ("display", "group") or _is_hidden(item) or item.get("linkId") in free_texts:
            continue
        options = tuple(_option(option) for option in item.get("answerOption") or ())
        yield _Question(str(item.get("linkId") or ""), item, options)


def _all_items(items: Iterable[Json]) -> Iterator[Json]:
    for item in items:
        yield item
        yield from _all_items(item.get("item") or ())


def _extensions(holder: Json, ending: str) -> list[Json]:
    found: list[Json] = []
    for extension in holder.get("extension") or ():
        url = extension.get("url")
        if url == ending or str(url).endswith(f"/{ending}"):
            found.append(extension)
    return found


def _value(extension: Json) -> Any:
    for key, value in extension.items():
        if key.startswith("value"):
            return value.get("reference") if isinstance(value, dict) else value
    return None


def _is_hidden(item: Json) -> bool:
    """What the record already answers stands in the form read-only and hidden."""
    return item.get("readOnly") is True and any(_value(e) is True for e in _extensions(item, "questionnaire-hidden"))


def _indicator(item: Json) -> _Indicator:
    found = _extensions(item, "query-indicator")
    parts = {str(e.get("url")): _value(e) for one in found[:1] for e in one.get("extension") or ()}
    quote, text = str(parts.get("quote") or ""), str(item.get("text") or "")
    label = text.replace(f"“{quote}”", "", 1) if quote else text
    return _Indicator(str(item["linkId"]), text, parts, quote, label)


def _option(option: Json) -> _Option:
    coding = option.get("valueCoding") or {}
    rests_on = tuple(str(_value(e)) for e in _extensions(option, "option-indicator"))
    code = str(coding.get("code") or _plain_value(option))
    return _Option(code, _display(option), str(coding.get("system") or ""), rests_on, option)


def _display(option: Json) -> str:
    coding = option.get("valueCoding") or {}
    return str(coding.get("display") or _plain_value(option))


def _plain_value(option: Json) -> str:
    return next((str(v) for key, v in option.items() if key.startswith("value") and not isinstance(v, Mapping)), "")


def _folded(text: str) -> str:
    """Words as they can be compared: markdown's escapes and HTML entities undone, blanks folded, nothing invisible."""
    plain = html.unescape(text.replace("\\", "")).replace(" @ ", "@")
    if not plain.isprintable():
        plain = "".join(char if unicodedata.category(char)[0] != "C" else " " for char in plain)
    return "".join(plain.split()).casefold()


def _is_quoted(words: str, quotes: Iterable[str]) -> bool:
    shown = _folded(words.rstrip().removesuffix("…"))
    return bool(shown) and any(shown in quote for quote in quotes)


def _quotations(line: str) -> Iterator[tuple[int, int]]:
    """Where quotation marks open and close; the widest first, as a quote may hold marks of its own."""
    opens, closes = [i for i, c in enumerate(line) if c == "“"], [i for i, c in enumerate(line) if c == "”"]
    yield from sorted(((a, b) for a in opens for b in closes if a < b), key=lambda pair: pair[0] - pair[1])


def _without_quotes(line: str, quotes: Sequence[str]) -> str:
    while found := next((p for p in _quotations(line) if _is_quoted(line[p[0] + 1 : p[1]], quotes)), None):
        line = f"{line[: found[0]]} {line[found[1] + 1 :]}"
    return line


# --- what is read, and by whom ------------------------------------------------------------------------------------

Words = Iterator[tuple[str, str]]  # (linkId or place, text)
Found = Iterator[tuple[str, str]]  # (linkId or place, what is wrong)


def _titles(form: _Form) -> Words:
    for key in ("title", "name", "subtitle"):
        yield "title", str(form.questionnaire.get(key) or "")
    yield "card.summary", str(form.card.get("summary") or "")


def _asked_words(form: _Form) -> Words:
    """What the form itself says, without the record's words."""
    for item in form.items:
        at = str(item.get("linkId") or "")
        for key in ("text", "prefix"):
            yield at, _own_words_of(item, str(item.get(key) or ""), form)
        for option in item.get("answerOption") or ():
            yield at, _display(option)


def _own_words_of(item: Json, text: str, form: _Form) -> str:
    indicator = form.indicators.get(str(item.get("linkId")))
    return indicator.label if indicator else form.own_words(text)


def _card_words(form: _Form) -> Words:
    card = form.card
    yield "card.summary", str(card.get("summary") or "")
    yield "card.detail", form.own_words(str(card.get("detail") or ""))
    for suggestion in card.get("suggestions") or ():
        yield "card.suggestions", str(suggestion.get("label") or "")
        for action in suggestion.get("actions") or ():
            yield "card.suggestions", str(action.get("description") or "")
    for link in card.get("links") or ():
        yield "card.links", str(link.get("label") or "")
    for reason in card.get("overrideReasons") or ():
        yield "card.overrideReasons", str(reason.get("display") or "")


def _read_words(form: _Form) -> Words:
    """Everything that the clinician reads."""
    yield from _titles(form)
    for key in ("description", "purpose"):
        yield key, str(form.questionnaire.get(key) or "")
    yield from _asked_words(form)
    yield from _card_words(form)


def _sent_words(form: _Form) -> Words:
    """Every text that reader or client is sent, whatever it is called; of the record only an indicator's quote is out.

    The record's own code in a quote is what the reader wrote; in a question or an option it would be an answer.
    """
    rest = {key: value for key, value in form.questionnaire.items() if key != "item"}
    yield from (("title", text) for text in _strings(rest, form))
    for item in form.items:
        at = str(item.get("linkId") or "")
        for text in _item_strings(item, form):
            yield at, text
    yield from (("response", text) for text in _strings(form.response, form))
    yield from (("card", text) for text in _strings(form.card, form))


def _item_strings(item: Json, form: _Form) -> list[str]:
    indicator = form.indicators.get(str(item.get("linkId")))
    kept = {key: value for key, value in item.items() if key != "item"}
    found = [str(item.get("linkId") or "")]
    if indicator:
        found.append(indicator.label)
        kept.pop("text", None)
    return found + _strings(kept, form)


def _strings(value: Any, form: _Form) -> list[str]:
    found: list[str] = []
    _gather(value, form, "", found)
    return found


def _gather(value: Any, form: _Form, key: str, found: list[str]) -> None:
    if isinstance(value, str):
        if key == "url":
            found.extend(_codes_in(value))
        elif key not in _NAMES:
            found.append(form.own_words(value) if key == "detail" else value)
    elif isinstance(value, dict):
        if value.get("url") in _RECORDED:
            return  # the record's own words and where they stand
        is_this_form = "resourceType" in value and _is_this_form(value, form)
        for name, inner in value.items():
            if not (is_this_form and name == "item"):  # judged by its items
                _gather(inner, form, name, found)
    elif isinstance(value, list | tuple):
        for inner in value:
            _gather(inner, form, key, found)


def _is_this_form(value: Json, form: _Form) -> bool:
    return value["resourceType"] == "Questionnaire" and value.get("item") == form.questionnaire.get("item")


# --- the rules ----------------------------------------------------------------------------------------------------


def _q1(form: _Form) -> Found:
    for at, text in _titles(form):
        if names_a_code(text):
            yield at, "names a code"
        if form.rules.diagnoses.search(text) or form.rules.category_titles.search(text):
            yield at, "names a diagnosis"


def _q2(form: _Form) -> Found:
    yield from _where("leading", form, "leads the reader")
    yield from _where("category_titles", form, "offers the title of the category")
    for question in form.questions:
        if not question.item.get("text"):
            yield question.element, "asks without words"
        if _introduced(form, form.own_words(str(question.item.get("text") or ""))):
            yield question.element, "asks with a diagnosis that the record does not name"


def _where(kind: str, form: _Form, says: str) -> Found:
    yield from ((at, says) for broken, at in form.broken if broken == kind)


@lru_cache(maxsize=_REMEMBERED)
def _codes_in(address: str) -> tuple[str, ...]:
    return tuple(address[found.start() - 1 : found.end()] for found in _CODE.finditer(address))


@lru_cache(maxsize=_REMEMBERED)
def _holds_a_code(text: str) -> bool:
    return names_a_code(text)


def _introduced(form: _Form, text: str) -> bool:
    named = form.rules.said(text).diagnoses
    if not named:
        return False
    quoted = " ".join(i.quote for i in form.indicators.values()).casefold()
    return any(found not in quoted for found in named)


def _q3(form: _Form) -> Found:
    yield from _where("money", form, "speaks of payment, quality figures or audits")


def _q4(form: _Form) -> Found:
    if any(indicator.quote for indicator in form.indicators.values()):
        return
    for question in form.questions:
        if question.is_choice and question.element != "region":
            yield question.element, "offers options and shows no indicator; ask it open-ended"


def _q5(form: _Form) -> Found:
    for indicator in form.indicators.values():
        if wrong := _misquotes(indicator, form):
            yield indicator.link_id, wrong
    for question in form.questions:
        text = str(question.item.get("text") or "")
        if any(mark in form.own_words(text) for mark in "“”"):
            yield question.element, "quotes what no indicator holds"


def _misquotes(indicator: _Indicator, form: _Form) -> str:
    if not indicator.quote:
        return "quotes nothing"
    if not indicator.text.startswith(f"“{indicator.quote}”"):
        return "shows other words than its quote"
    return "" if form.texts is None or _verbatim(indicator, form.texts) else "is not verbatim"


def _verbatim(indicator: _Indicator, texts: Texts) -> bool:
    text = texts.get((str(indicator.parts.get("source")), str(indicator.parts.get("expression"))))
    start, end = indicator.parts.get("start"), indicator.parts.get("end")
    if text is None or not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end <= len(text):
        return False
    written = text[start:end]
    if "<" in text and _MARKUP.search(text):
        return indicator.quote in (written, " ".join(html.unescape(_MARKUP.sub("", written)).split()))
    return indicator.quote == written


def _q6(form: _Form) -> Found:
    for indicator in form.indicators.values():
        dated, status = _DATE.search(indicator.label), _STATUS.search(indicator.label)
        source = indicator.label.strip(" —-–").split(",")[0].strip()
        if not indicator.parts.get("source") or not indicator.parts.get("expression"):
            yield indicator.link_id, "has no source"
        if not source or source.startswith(("dated", "undated", "status")):
            yield indicator.link_id, "does not show its source"
        if (dated[1] if dated else None) != indicator.parts.get("date") or not (dated or "undated" in indicator.label):
            yield indicator.link_id, "does not show its date"
        shown = status[1] if status and status[1] != "not stated" else None
        if not status or shown != (indicator.parts.get("status") or None):
            yield indicator.link_id, "does not show its status"


def _q7(form: _Form) -> Found:
    for question in form.questions:
        if question.is_choice and question.item.get("type") != "open-choice" and not _has_free_text(question, form):
            yield question.element, "offers no Other with free text"


def _has_free_text(question: _Question, form: _Form) -> bool:
    if not any(option.code == OTHER for option in question.options):
        return False
    return any(_is_free_text_of(question, item) for item in form.items)


def _is_free_text_of(question: _Question, item: Json) -> bool:
    if item.get("linkId") != f"{question.element}.{OTHER}" or item.get("type") not in ("text", "string"):
        return False
    if item.get("readOnly") or _extensions(item, "questionnaire-hidden"):
        return False
    return all(_enables(question, condition) for condition in item.get("enableWhen") or ())


def _enables(question: _Question, condition: Json) -> bool:
    answer = condition.get("answerCoding") or {}
    other = next(option for option in question.options if option.code == OTHER)
    return (
        condition.get("question") == question.element
        and condition.get("operator") == "="
        and answer.get("code") == OTHER
        and str(answer.get("system") or "") == other.system
    )


def _q8(form: _Form) -> Found:
    for question in form.questions:
        if question.is_choice and not any(o.display.casefold() in form.rules.unable for o in question.options):
            yield question.element, "offers no Unable to determine"


def _q9(form: _Form) -> Found:
    for question in form.questions:
        if not question.is_choice:
            continue
        if not question.offered:
            yield question.element, "offers no supported option"
        codes = [option.code for option in question.options]
        displays = [option.display.casefold() for option in question.options]
        if len(set(codes)) < len(codes) or len(set(displays)) < len(displays):
            yield question.element, "offers the same option twice"
        if question.element not in CAUSES | {"region", "certainty"}:
            yield from _dangling(question, form)


def _dangling(question: _Question, form: _Form) -> Found:
    if any(link not in form.indicators for option in question.options for link in option.rests_on):
        yield question.element, "rests an option on an indicator that is not shown"


def _q9c(form: _Form) -> Found:
    for question in form.questions:
        if question.element in CAUSES:
            yield from _dangling(question, form)
            if any(not option.rests_on for option in question.offered):
                yield question.element, "offers a cause that no indicator supports"


def _q9r(form: _Form) -> Found:
    order = form.rules.regions
    for question in form.questions:
        if question.element != "region" or not question.is_choice:
            continue
        yield from _dangling(question, form)
        codes = tuple(option.code for option in question.offered)
        if not set(codes) <= set(order):
            yield "region", "offers what is no region"
        elif codes != tuple(region for region in order if region in codes):
            yield "region", "is not in anatomical order"
        elif codes != order and any(not option.rests_on for option in question.offered):
            yield "region", "leaves regions out without pointing to those that stay"


def _q9s(form: _Form) -> Found:
    for question in form.questions:
        if question.element != "certainty" or not question.is_choice:
            continue
        yield from _dangling(question, form)
        if tuple(option.code for option in question.offered) != form.rules.certainty:
            yield "certainty", "is not confirmed, still under evaluation, ruled out"
        if not any(_shows_doubt(form.indicators[link], form) for link in _rests_on(question, form)):
            yield "certainty", "does not quote the hedged words"


def _rests_on(question: _Question, form: _Form) -> set[str]:
    return {link for option in question.offered for link in option.rests_on if link in form.indicators}


def _shows_doubt(indicator: _Indicator, form: _Form) -> bool:
    """A hedging word in the quote, or a status that says so; a word that we do not know as one is let pass."""
    if form.rules.doubt.search(indicator.quote) or indicator.parts.get("status") in form.rules.uncertain_status:
        return True
    text = (form.texts or {}).get((str(indicator.parts.get("source")), str(indicator.parts.get("expression"))))
    return text is not None and not form.rules.doubt.search(_MARKUP.sub(" ", text))


def _q10(form: _Form) -> Found:
    for item in form.items:
        at = str(item.get("linkId") or "")
        if "initial" in item or any(f"/{e.get('url')}".endswith(_CALCULATED) for e in item.get("extension") or ()):
            yield at, "has an answer filled in"
        if any(option.get("initialSelected") for option in item.get("answerOption") or ()):
            yield at, "has an option selected"
    if any(suggestion.get("isRecommended") for suggestion in form.card.get("suggestions") or ()):
        yield "card.suggestions", "recommends an answer"
    asked = form.asked
    for at in _answered(form):
        if at in asked or at.removesuffix(f".{OTHER}") in asked:
            yield at, "has an answer in the response"


def _answered(form: _Form) -> Iterator[str]:
    items = list(form.response.get("item") or ())
    while items:
        item = items.pop()
        if item.get("answer"):
            yield str(item.get("linkId") or "")
        items += [*(item.get("item") or ()), *(i for a in item.get("answer") or () for i in a.get("item") or ())]


def _q11(form: _Form) -> Found:
    for question in form.questions:
        for option in question.options:
            if not _WORD.search(option.display):
                yield question.element, "offers an option without clinical words"
            elif any(mark in option.system.casefold() for mark in _CODING_SYSTEMS):
                yield question.element, "offers an option of a coding system"
    held = (at for at, text in _sent_words(form) if _holds_a_code(text))
    yield from ((at, "holds a code") for at in dict.fromkeys(held))


def _q12(form: _Form) -> Found:
    for indicator in form.indicators.values():
        labelled = "prior encounter" in indicator.label.casefold()
        if not isinstance(indicator.parts.get("priorEncounter"), bool) or labelled != indicator.prior:
            yield indicator.link_id, "does not say whether it is of a prior encounter"
    for question in form.questions:
        for option in question.offered:
            grounds = [form.indicators[link] for link in option.rests_on if link in form.indicators]
            if grounds and all(ground.prior for ground in grounds):
                yield question.element, "rests an option on a prior encounter alone"


def _q13(form: _Form) -> Found:
    for question in form.questions:
        if question.item.get("type") == "boolean":
            yield question.element, "is a yes/no question"
        elif any(option.display.casefold() in form.rules.yes_no for option in question.options):
            yield question.element, "offers yes or no"


def _q14(form: _Form) -> Found:
    for item in form.items:
        minimum = any((_value(e) or 0) > 0 for e in _extensions(item, "questionnaire-minOccurs"))
        if item.get("required") or minimum:
            yield str(item.get("linkId") or ""), "cannot be declined"
    if form.card.get("indicator") == "critical":
        yield "card.indicator", "stops the clinician"


def _q16(form: _Form) -> Found:
    named = [question.element for question in form.questions]
    for element in named:
        if element not in ELEMENTS:
            yield element, "is no documentation element"
        elif form.ask and element not in form.ask:
            yield element, "is not among what is to be asked"
        if named.count(element) > 1:
            yield element, "is asked twice"
    yield from ((element, "is to be asked and is not") for element in form.ask if element not in named)
    asked = form.asked
    yield from ((at, "is answered in the record") for at in _answered(form) if at in asked)
    for link_id in form.indicators:
        if not _INDICATOR.fullmatch(link_id):
            yield link_id, "is a display item and no indicator"


_CHECKS: tuple[tuple[str, Callable[[_Form], Found]], ...] = (
    ("Q1", _q1),
    ("Q2", _q2),
    ("Q3", _q3),
    ("Q4", _q4),
    ("Q5", _q5),
    ("Q6", _q6),
    ("Q7", _q7),
    ("Q8", _q8),
    ("Q9", _q9),
    ("Q9c", _q9c),
    ("Q9r", _q9r),
    ("Q9s", _q9s),
    ("Q10", _q10),
    ("Q11", _q11),
    ("Q12", _q12),
    ("Q13", _q13),
    ("Q14", _q14),
    ("Q16", _q16),
)
