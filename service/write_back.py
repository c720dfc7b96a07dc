"""What goes back to the record: the Condition with its code, in the dialect that the EHR takes.

HL7     CDS Hooks actions: `update` of the whole Condition as it was sent, else `create`
Epic    one `create` with the code alone, under the OID of ICD-10-CM
plain   a transaction Bundle: PUT with If-Match, so that a Condition changed meanwhile is not overwritten
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

from service.coding.model import Assessment, CodingSuggestion, RecordedCode
from service.coding.packs import Terminology
from service.fhir_out import CANONICAL, concept
from service.interrupting import codes_on, offered_codes

Json = dict[str, Any]
Dialect = Literal["hl7", "epic"]
EPIC_ICD10CM = "urn:oid:2.16.840.1.113883.6.90"
VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
_IDENTIFYING = ("id", "meta", "identifier", "text")
_EPIC_TAKES = ("category", "subject", "encounter")


@dataclass(frozen=True)
class Proposal:
    """A Condition that would carry a code which is documented and not on it yet."""

    kind: Literal["update", "create"]
    code: str
    title: str
    resource: Json

    @property
    def label(self) -> str:
        if not self.code:
            return "Set the status of this problem"
        return f"Add {self.title}" if self.kind == "create" else f"Code this problem as {self.title}"


def proposals(
    condition: Json, assessment: Assessment, offered: Sequence[CodingSuggestion], terminology: Terminology
) -> list[Proposal]:
    """The first code goes onto the Condition, each further one onto a Condition of its own."""
    writer = _Writer(condition, assessment, terminology)
    return [writer.proposal(suggestion, first=number == 0) for number, suggestion in enumerate(offered)]


def replaces_a_code(assessment: Assessment, suggestion: CodingSuggestion, terminology: Terminology) -> bool:
    """Whether the code takes the place of a wrong one."""
    return bool(_Writer({}, assessment, terminology).replaced(suggestion))


def in_dialect(proposal: Proposal, dialect: Dialect) -> Proposal:
    """The proposal as the EHR takes it: for Epic it is always a create, and of the code alone."""
    return proposal if dialect == "hl7" else replace(proposal, kind="create", resource=_epic_condition(proposal))


def action(proposal: Proposal) -> Json:
    """The CDS Hooks action of a proposal."""
    return {"type": proposal.kind, "description": proposal.label, "resource": proposal.resource}


def _epic_condition(proposal: Proposal) -> Json:
    """What an Epic create takes: whom, where, which list, and one code; the rest it fills in itself."""
    coding = proposal.resource["code"]["coding"]
    display = next(c.get("display", proposal.code) for c in coding if c.get("code") == proposal.code)
    code = {"coding": [{"system": EPIC_ICD10CM, "code": proposal.code, "display": display}], "text": display}
    kept = {key: value for key in _EPIC_TAKES if (value := proposal.resource.get(key))}
    return {"resourceType": "Condition", **kept, "code": code}


# --- the Condition with its code ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Writer:
    condition: Json
    assessment: Assessment
    terminology: Terminology

    def proposal(self, suggestion: CodingSuggestion, *, first: bool) -> Proposal:
        title = self._concept(suggestion)["text"]
        named = f"{suggestion.code} {title}" if title != suggestion.code else suggestion.code
        replaced = self.replaced(suggestion) if first else None
        if replaced is None or "id" not in self.condition:
            return Proposal("create", suggestion.code, named, self._own_condition(suggestion))
        resource = _recoded(self.condition, self._concept(suggestion)["coding"][0], replaced)
        return Proposal("update", suggestion.code, named, resource)

    def _concept(self, suggestion: CodingSuggestion) -> Json:
        return concept(suggestion.code, self.terminology, self._on)

    @property
    def _on(self) -> str:
        return self.assessment.documentation.date_of_service or self.terminology.icd10cm.newest.in_force_from

    @property
    def _recorded(self) -> list[RecordedCode]:
        return [code for code in self.assessment.documentation.codes if code.system == "icd-10-cm"]

    def replaced(self, suggestion: CodingSuggestion) -> frozenset[int] | None:
        """The positions of the wrong ICD-10-CM codings; None where the Condition keeps the code that it has."""
        if codes_on(self.assessment) & {s.code for s in self.assessment.suggestions}:
            return None
        wrong = [code for code in self._recorded if self._is_wrong(code, suggestion)]
        return None if self._recorded and not wrong else frozenset(_position(code) for code in wrong)

    def _is_wrong(self, recorded: RecordedCode, suggestion: CodingSuggestion) -> bool:
        """Of these families, or contradicted by the words. A code in its own right stays (M54.1-; I10 above a note)."""
        contradicted = any(
            issue.flag == "doc.code-text-mismatch" and issue.expression == recorded.expression
            for issue in self.assessment.issues
        )
        if contradicted or self.terminology.pack_of(recorded.code):
            return True
        return self._said_in_code(suggestion) and not self._is_companion(recorded.code)

    def _is_companion(self, code: str) -> bool:
        rules = self.terminology.main.of_kind("companions", self._on)
        targets = [target for rule in rules if isinstance(to := rule.settings["to"], list | tuple) for target in to]
        return any(code.startswith(str(target).rstrip("-")) for target in targets)

    def _said_in_code(self, suggestion: CodingSuggestion) -> bool:
        """The words that the code rests on are those of Condition.code, not of a note beside it."""
        passages = [evidence.passage for evidence in suggestion.evidence]
        own = self.assessment.documentation.condition
        return any(passage.source == own and passage.expression.startswith("Condition.code") for passage in passages)

    def _own_condition(self, suggestion: CodingSuggestion) -> Json:
        """A further Condition with the code: what the client sent without what identifies that one."""
        copy = {key: value for key, value in self.condition.items() if key not in _IDENTIFYING}
        if not self._said_in_code(suggestion):
            return {**copy, "code": self._concept(suggestion)}
        replaced = frozenset(_position(code) for code in self._recorded)
        return _recoded(copy, self._concept(suggestion)["coding"][0], replaced)


def _position(recorded: RecordedCode) -> int:
    return int(recorded.expression.rpartition("[")[2].rstrip("]"))


def _recoded(condition: Json, coding: Json, replaced: frozenset[int]) -> Json:
    """The Condition with the coding in the place of those replaced, or behind all others; the rest as it was sent."""
    code = condition.get("code") or {}
    codings: list[Json] = list(code.get("coding") or ())
    place = min(replaced, default=len(codings))
    kept = [(index, other) for index, other in enumerate(codings) if index not in replaced]
    before, after = [o for i, o in kept if i < place], [o for i, o in kept if i > place]
    return {**condition, "code": {**code, "coding": [*before, coding, *after]}}


# --- after a query: the transaction -------------------------------------------------------------------------------


def completed(condition: Json, assessment: Assessment, terminology: Terminology, answered_by: str) -> list[Proposal]:
    """What the answers change: the Condition with its code or its status, and what it now rests on; else nothing.

    `answered_by` is the reference of the QuestionnaireResponse, which becomes evidence of each Condition.
    """
    found = proposals(condition, assessment, offered_codes(assessment), terminology)
    status = next((f.value for f in assessment.documentation.answers if f.element == "certainty"), "")
    settled = status in ("confirmed", "ruled-out")
    if not found and settled and "id" in condition:
        found = [Proposal("update", "", "", condition)]
    return [replace(p, resource=_resting_on(_with_status(p.resource, status), answered_by)) for p in found]


def _with_status(condition: Json, status: str) -> Json:
    code = {"confirmed": "confirmed", "ruled-out": "refuted"}.get(status)
    if not code:
        return condition
    coding = {"system": VERIFICATION, "code": code, "display": code.capitalize()}
    return {**condition, "verificationStatus": {"coding": [coding]}}


def _resting_on(condition: Json, answered_by: str) -> Json:
    return {**condition, "evidence": [*condition.get("evidence", ()), {"detail": [{"reference": answered_by}]}]}


def transaction(found: Iterable[Proposal], response: Mapping[str, Any], named: str) -> Json:
    """A FHIR transaction: the QuestionnaireResponse, and each Condition by PUT with If-Match or by POST.

    `named` is the reference by which the Conditions name the response: its urn:uuid, or its type and id.
    """
    kept: Json = {"resource": dict(response), "request": _request("QuestionnaireResponse", response)}
    kept |= {"fullUrl": named} if named.startswith("urn:") else {}
    entries = [_condition_entry(p, named) for p in found]
    return {"resourceType": "Bundle", "type": "transaction", "entry": [kept, *entries]}


def _condition_entry(proposal: Proposal, seed: str) -> Json:
    resource = _one_user_selected(proposal.resource)
    entry: Json = {"resource": resource, "request": _request("Condition", resource)}
    if proposal.kind == "update":
        return entry  # by its url; a fullUrl would need the address of the server
    return {"fullUrl": f"urn:uuid:{uuid5(NAMESPACE_URL, f'{CANONICAL}|{seed}|{proposal.code}')}", **entry}


def _request(kind: str, resource: Mapping[str, Any]) -> Json:
    if "id" not in resource:
        return {"method": "POST", "url": kind}
    put: Json = {"method": "PUT", "url": f"{kind}/{resource['id']}"}
    version = (resource.get("meta") or {}).get("versionId")
    return {**put, "ifMatch": f'W/"{version}"'} if version else put


def _one_user_selected(condition: Json) -> Json:
    """FHIR R4 Coding.userSelected: one coding is the one that the user chose; the first that says so keeps it."""
    codings, seen = [], False
    for coding in condition["code"]["coding"] if condition.get("code", {}).get("coding") else ():
        chosen = coding.get("userSelected") is True
        codings.append({k: v for k, v in coding.items() if k != "userSelected"} if chosen and seen else coding)
        seen = seen or chosen
    return {**condition, "code": {**condition["code"], "coding": codings}} if codings else condition
