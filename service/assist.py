"""One line that all doors share: a Request in, an Assessment with its query for each Condition out."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from service import __version__
from service.claim_in import billing_of, with_claim
from service.coding.assessment import assess, unread
from service.coding.claim import PayerPolicy, assess_billing
from service.coding.model import SUPPORTING, Assessment, Disposition, Issue, Query
from service.coding.packs import Terminology, load_terminology
from service.coding.query import build_query
from service.coding.query_check import QueryFault, QueryRules, load_query_rules, query_faults
from service.concepts import load_concepts
from service.fhir_in import documentations
from service.fhir_out import BuiltForm, Json, built_form, release_parts
from service.gate import Gate
from service.glance import Glance
from service.json_body import dump_json
from service.reader import Reader
from service.record import Request, charted_on, date_of_service, duplicates
from service.settings import Settings
from service.shipped import terminology_dir

SOFTWARE = f"fhir-coding-assist {__version__}"
LOG = logging.getLogger("coding_assist")
QUERY_RULES = "queries/ahima-acdis-2022.yaml"
WITHHELD = "query.withheld"
_REMEMBERED = 10_000
_KEPT, _LONGEST_KEPT = 32, 32_000  # answers in each worker, and bytes of the chart of one


@dataclass(frozen=True)
class Judged:
    """One condition assessed, with the query and its form where something is asked and the form may be sent."""

    assessment: Assessment
    query: Query | None = None
    form: BuiltForm | None = None


@dataclass(frozen=True)
class Answer:
    """All that a door phrases: the conditions, the claim's own issues and the dates judged.

    `outside` are what conditions are called that nothing is said about, where a door need not tell one from another.
    """

    judged: tuple[Judged, ...]
    issues: tuple[Issue, ...]
    dates: tuple[str, ...]
    outside: tuple[Disposition, ...] = ()

    @property
    def all_issues(self) -> tuple[Issue, ...]:
        return (*self.issues, *(issue for one in self.judged for issue in one.assessment.issues))

    # What log and metrics tell of each call is told again where the answer is one that was kept.

    @cached_property
    def codes(self) -> list[str]:
        """The codes suggested, each once."""
        return list(dict.fromkeys(s.code for one in self.judged for s in one.assessment.suggestions))

    @cached_property
    def rules(self) -> list[str]:
        """The rules that decided, each once."""
        suggested = (rule for one in self.judged for s in one.assessment.suggestions for rule in s.rules)
        return list(dict.fromkeys([*suggested, *(issue.rule for issue in self.all_issues)]))

    @cached_property
    def dispositions(self) -> Counter[Disposition]:
        """How many Conditions there are of each."""
        return Counter((*self.outside, *(one.assessment.disposition for one in self.judged)))


@dataclass
class Assist:
    """Knowledge loaded once, and the operator's payer policies."""

    terminology: Terminology
    reader: Reader
    query_rules: QueryRules
    gate: Gate
    policies: tuple[PayerPolicy, ...] = ()
    manipulation_codes: frozenset[str] = frozenset()
    wants_care: bool = False
    knowledge: str = ""  # a hash of all that an answer rests on but the input
    withheld_forms: int = field(default=0)

    def __post_init__(self) -> None:
        self._glance = Glance(self.gate)
        self._releases: dict[str, Json] = {}  # by date of service, of which there are few
        self._answers: dict[bytes, Answer] = {}  # by the chart, in which all that decides them stands

    def release(self, on: str) -> Json:
        """The `release` of a FHIR answer for a date of service, flattened."""
        if on not in self._releases:
            [release] = release_parts([on], self.terminology, SOFTWARE)
            told = {part["name"]: part.get("valueDate") or part.get("valueString") for part in release["part"]}
            if len(self._releases) >= _REMEMBERED:
                self._releases.clear()
            self._releases[on] = told
        return self._releases[on]

    def answer(
        self, request: Request, *, sends_forms: bool = True, says_why_not: bool = True, reads_all: bool = False
    ) -> Answer:
        """Assess every Condition of a request and the claim around them.

        A form is built and checked before it is sent; who only lists what is asked (`sends_forms` False) need not pay
        for that, nor who shows no sibling codes for why they are not it (`says_why_not` False). What nothing is to be
        said about is told at a glance, but for who wants to see how it was read (`reads_all`).
        """
        request = with_claim(request)
        request = replace(request, wants_care=True) if self.wants_care else request
        quiet = {} if reads_all else self._glance.quiet(request, date_of_service(request, {}))
        return self._answer(request, quiet.keys(), sends_forms=sends_forms, says_why_not=says_why_not)

    def answer_for_cards(self, request: Request) -> Answer:
        """The same without why-nots, which no card shows.

        The last answers are kept, since an EHR sends the same chart at each step of a visit.
        """
        request = replace(request, wants_care=True) if self.wants_care else request
        day = date_of_service(request, {})
        called = self._glance.quiet(request, day)
        quiet = called.keys()
        if len(quiet) == len(request.conditions):
            return self._silent(request, day, tuple(called.values())) or self._answer(request, quiet)
        written = b"" if request.answers else dump_json(request)
        if not 0 < len(written) <= _LONGEST_KEPT:
            return self._answer(request, quiet)
        answer = self._answers.get(written)
        if answer is None:
            answer = self._answer(request, quiet)
            if len(self._answers) >= _KEPT:
                self._answers.clear()
            self._answers[written] = answer
        return answer

    def _silent(self, request: Request, day: str | None, outside: tuple[Disposition, ...]) -> Answer | None:
        """Of a chart that nothing is to be said about; None where it has orders, or a Condition twice, or none."""
        if request.orders or not request.conditions or duplicates(request.conditions):
            return None
        newest = self.terminology.icd10cm.newest.in_force_from
        dates = dict.fromkeys([day or charted_on(entry.resource) or newest for entry in request.conditions])
        return Answer((), (), tuple(dates), outside)

    def _answer(
        self, request: Request, quiet: Set[int], *, sends_forms: bool = True, says_why_not: bool = False
    ) -> Answer:
        assessments = _asked_once(
            [
                unread(documented, self.terminology)
                if place in quiet
                else assess(documented, self.terminology, says_why_not=says_why_not)
                for place, documented in enumerate(documentations(request, self.reader, quiet))
            ]
        )
        judged = tuple([self._with_query(one) if sends_forms and one.ask else Judged(one) for one in assessments])
        newest = self.terminology.icd10cm.newest.in_force_from
        dates = [a.documentation.date_of_service or newest for a in assessments] or [
            date_of_service(request, {}) or newest
        ]
        issues: tuple[Issue, ...] = ()
        if len(quiet) < len(assessments) or request.orders or not assessments:  # else none is of our families
            operators = {"policies": self.policies, "manipulation_codes": self.manipulation_codes}
            billing = billing_of(request, assessments, dates[0], **operators)
            issues = assess_billing(billing, assessments, self.terminology)
        return Answer(judged, issues, tuple(dict.fromkeys(dates)))

    def _with_query(self, assessment: Assessment) -> Judged:
        """The query goes out only where its form keeps every rule (QUERIES Q0); else that it is withheld is said."""
        query = build_query(assessment, self.terminology)
        if not query:
            return Judged(assessment)
        form = built_form(query, assessment)
        faults = form_faults(form, query, assessment, self.query_rules)
        if not faults:
            return Judged(assessment, query, form)
        self.withheld_forms += 1
        LOG.error("a query is withheld: %s", ", ".join(f"{fault.id} at {fault.link_id}" for fault in faults))
        flag = self.terminology.flags[WITHHELD]
        severity = flag.severity(assessment.documentation.setting)
        issue = Issue(WITHHELD, severity or "information", self.query_rules.id, flag.says, remedy=flag.remedy)
        return Judged(assessment._replace(ask=query.ask, issues=(*assessment.issues, issue)))


def open_assist(settings: Settings) -> Assist:
    """The knowledge as the operator's settings have it; PackError when something in it is wrong."""
    return load_assist(
        settings.terminology or terminology_dir(),
        site_lexicon=settings.lexicon,
        policies=settings.policies,
        manipulation_codes=settings.manipulation_codes,
        wants_care=settings.wants_care,
    )


def load_assist(folder: Path, **options: Any) -> Assist:
    """Everything an answer rests on, from the terminology folder; PackError when something in it is wrong."""
    site_lexicon = options.pop("site_lexicon", None)
    terminology = load_terminology(folder, site_lexicon)
    concepts = load_concepts(folder / "concepts")
    rules = load_query_rules(folder / QUERY_RULES)
    assist = Assist(terminology, Reader(terminology.lexicon, concepts), rules, Gate(terminology, concepts), **options)
    assist.knowledge = _hash_of(folder, site_lexicon, assist)
    return assist


def _hash_of(folder: Path, site_lexicon: Path | None, assist: Assist) -> str:
    """SHA-256 over every file of the terminology, the site's lexicon and the operator's policies."""
    policies = [str(policy) for policy in assist.policies]
    told = [policies, sorted(assist.manipulation_codes), assist.wants_care]
    found = hashlib.sha256(json.dumps(told).encode())
    files = sorted((str(path.relative_to(folder)), path) for path in folder.rglob("*") if path.is_file())
    for name, path in [*files, *([("site", site_lexicon)] if site_lexicon else [])]:
        found.update(f"\n{name}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def form_faults(form: BuiltForm, query: Query, assessment: Assessment, rules: QueryRules) -> list[QueryFault]:
    """What speaks against sending the form of a query, judged on what would be sent."""
    passages = [evidence.passage for evidence in query.indicators]
    texts = {(passage.source, passage.expression): passage.markup or passage.text for passage in passages}
    return query_faults(form.questionnaire, rules, texts=texts, ask=assessment.ask, response=form.response)


def _asked_once(assessments: Sequence[Assessment]) -> list[Assessment]:
    """Supporting elements are asked for once in a request (POLICY 1): with a code to offer rather than without."""
    if not any(assessment.ask for assessment in assessments):
        return list(assessments)
    owner: dict[str, int] = {}
    for index, assessment in sorted(enumerate(assessments), key=lambda item: not item[1].suggestions):
        for name in assessment.ask:
            if name in SUPPORTING:
                owner.setdefault(name, index)
    asked = [tuple(n for n in a.ask if owner.get(n, index) == index) for index, a in enumerate(assessments)]
    return [a if a.ask == ask else a._replace(ask=ask) for a, ask in zip(assessments, asked, strict=True)]
