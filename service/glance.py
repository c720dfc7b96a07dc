"""Which Conditions of a chart nothing is to be said about, told at a glance: most of a problem list is of that kind.

The gate of the batch looks at each (see gate.py for what it may let go). A chart has reports as well, which speak to
the Conditions of the spine, so those are never told at a glance; nor is one that was asked about.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from service.coding.model import Disposition
from service.fhir_in import is_spinal, words_in
from service.fhir_values import code_of, icd10cm_codes
from service.gate import UNSPOKEN, Gate
from service.json_body import dump_json
from service.record import Request, charted_on, patient_of

# Elements of a Condition that place it, or change what it means.
_TELLING = frozenset({"bodySite", "modifierExtension"})
_WORDS = ("note", "evidence")
_REMEMBERED = 10_000  # code elements; a stream of ever new ones must not fill the memory


class _Code(NamedTuple):
    """Of a code element: by bit, in which stretches of time nothing is to be said about it; whether it is coded."""

    quiet_days: int
    is_coded: bool


class Glance:
    """Tells which Conditions of a request are out of scope, with no flag to raise on them."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._codes: dict[bytes, _Code] = {}

    def quiet(self, request: Request, day: str | None) -> Mapping[int, Disposition]:
        """The places of those Conditions, each with what it is called: of a family without rules, or not coded at all.

        None where more than reports stands beside them, or a claim is judged. `day` is the request's date of service.
        """
        if request.setting != "charting" or request.observations or request.documents or request.answers:
            return {}
        if request.reports and (len(request.conditions) == 1 or len(set(map(patient_of, request.conditions))) > 1):
            return {}  # to the only one of a patient they speak whatever it is
        found: dict[int, Disposition] = {}
        for place, entry in enumerate(request.conditions):
            code = self._code(entry.resource.get("code"))
            if self._is_quiet(entry.resource, code, day or charted_on(entry.resource)):
                found[place] = "not-assessed" if code.is_coded else "out-of-scope"
        return found

    def _is_quiet(self, condition: Mapping[str, Any], code: _Code, on: str | None) -> bool:
        if on is None or not code.quiet_days >> self._gate.day_of(on) & 1:
            return False
        if not _TELLING.isdisjoint(condition) or code_of(condition.get("verificationStatus")) in UNSPOKEN:
            return False
        return not any(self._gate.says(condition[name]) for name in _WORDS if name in condition)

    def _code(self, code: Any) -> _Code:
        key = blake2b(dump_json(code), digest_size=16).digest()  # no patient's words are kept
        known = self._codes.get(key)
        if known is None:
            is_told = is_spinal({"code": code}) or any(map(self._gate.names_a_sign, words_in(code)))
            days = 0 if is_told else self._gate.quiet_days(code)
            known = _Code(days, bool(icd10cm_codes(code)))
            if len(self._codes) < _REMEMBERED:
                self._codes[key] = known
        return known
