"""The cards of door 1: a code to take, a query to answer, a danger to see; never mixed, markup never let through."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

from service.assist import Answer, Judged
from service.coding.model import REQUIRED, Assessment, CodingSuggestion, Evidence, Passage, Query, Question, Rule
from service.coding.model import Issue as Flagged
from service.coding.packs import Terminology
from service.decisions import Shown
from service.fhir_out import CANONICAL, BuiltForm, Json, built_form, concept, source_label
from service.interrupting import codes_on, danger_signs, earns_query, offered_codes
from service.open_forms import Opener, identity
from service.record import Entry, Request
from service.write_back import Dialect, action, in_dialect, proposals, replaces_a_code

LABEL = "FHIR Coding Assist"
MAX_SUMMARY = 139  # CDS Hooks 2.0, "Card Attributes": less than 140 characters
MAX_QUOTE = 240
MAX_QUOTES = 6
SDC_TEMP = "http://hl7.org/fhir/uv/sdc/CodeSystem/temp"
TOPIC_SYSTEM = f"{CANONICAL}/CodeSystem/card-topic"
OVERRIDE_SYSTEM = f"{CANONICAL}/CodeSystem/override-reason"
TOPICS = {
    "code": {"code": "code-suggestion", "display": "Code suggestion"},
    "query": {"code": "documentation-query", "display": "Documentation query"},
    "safety": {"code": "patient-safety", "display": "Patient safety"},
}
OVERRIDES = {
    "code": {
        "other-code-fits-better": "Another code fits better",
        "documentation-differs": "The documentation says something else",
        "left-to-coding-staff": "Left to coding staff",
        "not-now": "Not now",
    },
    "query": {
        "unable-to-determine": "Unable to determine",
        "documented-elsewhere": "Documented elsewhere in the record",
        "other-provider": "A question for another provider",
        "declined": "Declined",
    },
    "safety": {
        "considered": "Considered; the order stands",
        "sign-not-present": "The finding is not present",
        "not-spinal-manipulation": "The order is not a spinal manipulation",
    },
}
_TOPICS = {kind: {"system": TOPIC_SYSTEM, **topic} for kind, topic in TOPICS.items()}
_REASONS = {
    kind: [{"system": OVERRIDE_SYSTEM, "code": code, "display": display} for code, display in reasons.items()]
    for kind, reasons in OVERRIDES.items()
}


@dataclass(frozen=True)
class Call:
    """One call of a hook: the record that came with it, and the Conditions that its cards may be about.

    `body` is all that the answer rests on, with what was fetched.
    """

    hook: str
    instance: UUID
    patient_id: str
    request: Request
    concerned: frozenset[str]
    user_id: str = ""
    dialect: Dialect = "hl7"
    launches: bool = False
    body: Json = field(default_factory=dict, repr=False)

    @property
    def patient(self) -> str:
        return f"Patient/{self.patient_id}"

    @property
    def is_final(self) -> bool:
        """The problem is already on the list: cards recommend, "in lieu of suggesting modifications" to it."""
        return self.hook == "problem-list-item-create"


# --- the record's words in a card ---------------------------------------------------------------------------------

_MARKUP = re.compile(r"[\\`*_\[\]|~$]|:(?=//)|(?<=\bwww)\.", re.I)
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_SPECIAL = re.compile(r"[\\`*_\[\]|~$&<>@]")
_ADDRESS = re.compile(r"(?<=\S)@(?=\S)")  # GFM makes a mail link of it even where it is escaped


def markdown(text: str, limit: int = MAX_QUOTE) -> str:
    """Words as GitHub-flavoured Markdown that can only be words: no markup, no link, no HTML, nothing invisible."""
    shown = _visible(text)
    if len(shown) > limit:
        shown = shown[: limit - 1].rstrip() + "…"
    if not (_SPECIAL.search(shown) or "//" in shown or "www" in shown.lower()):
        return shown  # as most of a record is
    return _MARKUP.sub(lambda found: "\\" + found[0], _ADDRESS.sub(" @ ", shown).translate(_HTML))


def _visible(text: str) -> str:
    """Without control, bidi and other invisible characters; a line break or a run of blanks is one blank."""
    plain = " ".join(text.split())
    if plain.isprintable():
        return plain
    return " ".join("".join(char for char in plain if unicodedata.category(char)[0] != "C").split())


_Span = tuple[int, int, Passage]


def _quotes(evidence: Iterable[Evidence]) -> list[str]:
    """Each quote with its source, date and status; one inside a longer one of the same text says nothing new."""
    worded = [(one, shown) for one in evidence if (shown := _visible(one.quote))]
    spans = [(one.start, one.end, one.passage) for one, _ in worded]
    lines: dict[str, None] = {}
    for (one, shown), span in zip(worded, spans, strict=True):
        if not _is_within(span, spans):
            lines[f"- “{markdown(shown)}” — {markdown(source_label(one))}"] = None
            if len(lines) == MAX_QUOTES:
                break
    return list(lines)


def _is_within(span: _Span, others: Iterable[_Span]) -> bool:
    start, end, passage = span
    return any(s <= start and end <= e and end - start < e - s and passage == p for s, e, p in others)


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"**{title}**\n\n" + "\n".join(lines)] if lines else []


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SUMMARY else text[: MAX_SUMMARY - 1].rstrip() + "…"


# --- the cards ----------------------------------------------------------------------------------------------------


class _Earned(NamedTuple):
    """What a Condition has earned: the codes to take or, beside them, a query; and what it is about across calls."""

    kind: str
    assessment: Assessment
    matters: tuple[str, ...]
    offered: tuple[CodingSuggestion, ...] = ()
    query: Query | None = None
    form: BuiltForm | None = None


@dataclass
class Cards:
    """Phrases the answer to one call: per Condition at most one code card, one query card and one safety card."""

    call: Call
    terminology: Terminology
    base_url: str
    at: datetime
    opener: Opener | None = None
    put_away: Callable[[Iterable[str]], Set[str]] = lambda _: frozenset()

    def __post_init__(self) -> None:
        self._entries = {entry.reference: entry for entry in self.call.request.conditions}

    def of(self, answer: Answer) -> list[tuple[Json, Shown]]:
        """The cards, each with what is kept of it.

        What was answered, declined or overridden in the encounter is not said again (QUERIES Q17); what is new is.
        """
        judged = [one for one in answer.judged if one.assessment.documentation.condition in self.call.concerned]
        suggests = any(one.assessment.suggestions for one in judged)
        carried = Counter(code for one in answer.judged for code in codes_on(one.assessment)) if suggests else Counter()
        earned = [card for one in judged for card in self._earned(one, carried)]
        away = self.put_away(matter for card in earned for matter in card.matters) if earned else frozenset()
        told = [self._told(left) for card in earned if (left := self._left(card, away))]
        return [*self._safety_cards(answer.issues, judged), *told]

    def _earned(self, one: Judged, carried: Mapping[str, int]) -> Iterator[_Earned]:
        """What a Condition earns: its codes, and its questions."""
        assessment = one.assessment
        offered: tuple[CodingSuggestion, ...] = ()
        if assessment.suggestions:
            beside = _codes_beside(assessment, carried)
            offered = offered_codes(assessment, beside, all_created=self.call.dialect == "epic")
        if offered:
            yield _Earned("code", assessment, _code_matters(self._identity(assessment), offered), offered)
        if one.query and earns_query(assessment, one.query, self.terminology, offered):
            about = self._identity(assessment)
            yield _Earned("query", assessment, _query_matters(about, one.query), offered, one.query, one.form)

    def _left(self, earned: _Earned, away: Set[str]) -> _Earned | None:
        """What is left to say once what was put away falls away; None where that earns no card any more."""
        if not earned.query:
            return None if away >= set(earned.matters) else earned
        about = self._identity(earned.assessment)
        put_away = {name for name in earned.query.ask if f"query {about} {name}" in away}
        query = earned.query.without(put_away) if put_away else earned.query
        if query is None:
            return None
        if set(query.ask).isdisjoint(REQUIRED) and away >= set(_code_matters(about, earned.offered)):
            return None  # supporting elements are asked for beside a code that is offered, and else not
        if query is earned.query:
            return earned
        form = built_form(query, earned.assessment)
        return earned._replace(query=query, form=form, matters=_query_matters(about, query))

    def _told(self, earned: _Earned) -> tuple[Json, Shown]:
        assessment, query = earned.assessment, earned.query
        if query and earned.form:
            card = self._query_card(assessment, query, earned.form)
        else:
            card = self._code_card(assessment, earned.offered)
        kind, condition = TOPICS[earned.kind]["code"], assessment.documentation.condition
        asked_as = self.opener.queries.get(card["uuid"], "") if self.opener else ""
        return card, Shown(card["uuid"], kind, condition, earned.matters, query.ask if query else (), asked_as)

    def _identity(self, assessment: Assessment) -> str:
        return identity(self._entry(assessment))

    def _card(self, kind: str, assessment: Assessment, rule: str, **content: Any) -> Json:
        card: Json = {"uuid": self._uuid(assessment, kind), "indicator": "info", **content}
        card["source"] = {"label": LABEL, "url": f"{self.base_url}/rules/{rule}", "topic": _TOPICS[kind]}
        card["overrideReasons"] = _REASONS[kind]
        return card

    def _uuid(self, assessment: Assessment, kind: str) -> str:
        """The same for a retry of the same call, and for nothing else."""
        condition = assessment.documentation.condition
        return str(uuid5(NAMESPACE_URL, f"{CANONICAL}|{self.call.instance}|{condition}|{kind}"))

    def _title(self, assessment: Assessment, code: str) -> str:
        title: str = concept(code, self.terminology, self._on(assessment))["text"]
        return f"{code} {title}" if title != code else code

    def _on(self, assessment: Assessment) -> str:
        return assessment.documentation.date_of_service or self.terminology.icd10cm.newest.in_force_from

    # -- the code card

    def _code_card(self, assessment: Assessment, offered: Sequence[CodingSuggestion]) -> Json:
        replaced = replaces_a_code(assessment, offered[0], self.terminology)
        content: Json = {
            "summary": self._code_summary(assessment, offered),
            "detail": self._code_detail(assessment, offered),
            "indicator": "warning" if replaced else "info",
        }
        if not self.call.is_final:
            content["suggestions"] = self._code_suggestions(assessment, offered)
            any_number = len(offered) > 1 or self.call.dialect == "epic"
            content["selectionBehavior"] = "any" if any_number else "at-most-one"
        rules = (self.terminology.rule(rule_id) for rule_id in offered[0].rules)
        names = next((rule.id for rule in rules if rule and rule.kind == "names-code"), offered[0].rules[0])
        return self._card("code", assessment, names, **content)

    def _code_summary(self, assessment: Assessment, offered: Sequence[CodingSuggestion]) -> str:
        if len(offered) == 1:
            return _cut(f"The documentation supports {self._title(assessment, offered[0].code)}")
        return _cut(f"The documentation supports {' and '.join(s.code for s in offered)}")

    def _code_detail(self, assessment: Assessment, offered: Sequence[CodingSuggestion]) -> str:
        sections = _section("From the record", _quotes(e for s in offered for e in s.evidence))
        for suggestion in offered:
            why = [f"- {markdown(says)}" for says in self._why(suggestion)]
            sections += _section(f"Why {markdown(self._title(assessment, suggestion.code))}", why)
            sections += _section("Note", [f"- {markdown(note, 400)}" for note in suggestion.notes])
        codes = sorted(codes_on(assessment))
        if codes:
            sections.append(f"The problem is now coded {', '.join(markdown(code, 20) for code in codes)}.")
        return "\n\n".join(sections)

    def _why(self, suggestion: CodingSuggestion) -> Iterator[str]:
        """What settles the framing and what names the code; that the elements are stated, the quotes show."""
        rules = [rule for rule_id in suggestion.rules if (rule := self.terminology.rule(rule_id))]
        return (rule.says for rule in rules if rule.kind in ("settles", "names-code"))

    def _code_suggestions(self, assessment: Assessment, offered: Sequence[CodingSuggestion]) -> list[Json]:
        suggestions = []
        for proposal in proposals(self._condition(assessment), assessment, offered, self.terminology):
            uuid = self._uuid(assessment, f"code|{proposal.code}")
            taken = in_dialect(proposal, self.call.dialect)
            suggestions.append({"label": taken.label, "uuid": uuid, "actions": [action(taken)]})
        return suggestions

    def _condition(self, assessment: Assessment) -> Json:
        return dict(self._entry(assessment).resource)

    def _entry(self, assessment: Assessment) -> Entry:
        return self._entries[assessment.documentation.condition]

    # -- the query card

    def _query_card(self, assessment: Assessment, query: Query, built: BuiltForm) -> Json:
        """Asks, and names neither a code nor a diagnosis (QUERIES Q1, Q11)."""
        count = len(query.questions)
        what = "A question" if count == 1 else f"{count} questions"
        rule = self._rule_asking(assessment, query)
        form, link = self._form(assessment, built)
        return self._card(
            "query",
            assessment,
            rule,
            summary=f"{what} on the documentation of a problem",
            detail=_query_detail(query),
            suggestions=[self._task_suggestion(assessment, form)],
            selectionBehavior="at-most-one",
            **link,
        )

    def _form(self, assessment: Assessment, built: BuiltForm) -> tuple[Json, Json]:
        """The form with an address of its own, and the link to its page where it is kept."""
        card = self._uuid(assessment, "query")
        if self.opener:
            kept = self.opener.prepare(assessment, built, card)
            link = {"label": "Answer the questions", **self._link(kept.id)}
            # A create leaves the id to whoever keeps it (FHIR R4 "create").
            return {key: value for key, value in kept.questionnaire.items() if key != "id"}, {"links": [link]}
        # The form quotes this record, so its address belongs to this call and not to the elements asked for.
        named = {"url": f"{CANONICAL}/Questionnaire/{card}", "version": self.terminology.main.version}
        return {**built.questionnaire, **named}, {}

    def _link(self, form_id: str) -> Json:
        """Where the EHR opens us as an app, it passes the form on in its token (CDS Hooks 2.0 "Link", `appContext`)."""
        if self.call.launches:
            return {"url": f"{self.base_url}/smart/launch", "type": "smart", "appContext": form_id}
        return {"url": f"{self.base_url}/forms/{form_id}", "type": "absolute"}

    def _rule_asking(self, assessment: Assessment, query: Query) -> str:
        """The rule of the first element asked for."""
        open_hits = [hit.rule for hit in assessment.hits if hit.outcome != "met"]
        fitting = [rule for rule in open_hits if rule.element == query.ask[0]]
        return (fitting or open_hits or list(self.terminology.main.rules))[0].id

    def _task_suggestion(self, assessment: Assessment, form: Json) -> Json:
        """Request Form Completion as Da Vinci CRD has it: a Task for the form, and the form."""
        label = "Put the questions on the task list"
        task = self._task(assessment, f"{form['url']}|{form['version']}")
        actions = [
            {"type": "create", "description": label, "resource": task},
            {"type": "create", "description": "Add the form with the questions", "resource": form},
        ]
        return {"label": label, "uuid": self._uuid(assessment, "query|task"), "actions": actions}

    def _task(self, assessment: Assessment, canonical: str) -> Json:
        task: Json = {
            "resourceType": "Task",
            "status": "ready",
            "intent": "order",
            "code": {"coding": [{"system": SDC_TEMP, "code": "complete-questionnaire"}]},
            "description": "Answer the questions on the documentation",
            "for": {"reference": f"Patient/{self.call.patient_id}"},
            "authoredOn": self.at.isoformat(timespec="seconds"),
            "requester": {"display": LABEL},
            "reasonCode": {"text": "Documentation query"},
            "input": [{"type": {"text": "questionnaire"}, "valueCanonical": canonical}],
        }
        if "id" in self._condition(assessment):
            task["focus"] = {"reference": assessment.documentation.condition}
        if self.call.request.encounter:
            task["encounter"] = {"reference": self.call.request.encounter.reference}
        return task

    # -- the safety card

    def _safety_cards(self, issues: Iterable[Flagged], judged: Sequence[Judged]) -> Iterator[tuple[Json, Shown]]:
        """A danger that an order and the record make together, on the Condition whose words show it."""
        dangers = [(issue, rule) for issue in issues if (rule := self.terminology.rule(issue.rule))]
        for issue, rule in dangers:
            if rule.kind == "safeguards":
                yield from self._safety_card(issue, rule, judged)

    def _safety_card(self, issue: Flagged, rule: Rule, judged: Sequence[Judged]) -> Iterator[tuple[Json, Shown]]:
        in_scope = [one.assessment for one in judged if one.assessment.disposition != "out-of-scope"]
        for assessment in in_scope:
            signs = danger_signs(assessment, rule)
            if signs:
                detail = "\n\n".join([*_section("From the record", _quotes(signs)), markdown(rule.says)])
                summary = _cut(issue.says)
                card = self._card("safety", assessment, rule.id, summary=summary, detail=detail, indicator="warning")
                yield card, Shown(card["uuid"], TOPICS["safety"]["code"], assessment.documentation.condition)
                return


def _code_matters(about: str, offered: Sequence[CodingSuggestion]) -> tuple[str, ...]:
    return tuple(f"code {about} {suggestion.code}" for suggestion in offered)


def _query_matters(about: str, query: Query) -> tuple[str, ...]:
    return tuple(f"query {about} {name}" for name in query.ask)


def _codes_beside(assessment: Assessment, carried: Mapping[str, int]) -> frozenset[str]:
    """The suggested codes that another Condition carries; `carried` counts the Conditions with each code."""
    own = codes_on(assessment)
    return frozenset(one.code for one in assessment.suggestions if carried.get(one.code, 0) > (one.code in own))


def _query_detail(query: Query) -> str:
    questions = [f"{number}. {_asked(question)}" for number, question in enumerate(query.questions, 1)]
    sections = _section("From the record", _quotes(query.indicators)) + _section("Questions", questions)
    return "\n\n".join([*sections, "Answering is optional; “unable to determine” is an answer."])


def _asked(question: Question) -> str:
    if not question.options:
        return markdown(question.text)
    return f"{markdown(question.text)} ({_offered(tuple(option.text for option in question.options))})"


@lru_cache(maxsize=256)
def _offered(options: tuple[str, ...]) -> str:
    """The answers of a choice as the pack words them, for many records the same."""
    return markdown("; ".join([*options, "Other", "Unable to determine"]), 600)
