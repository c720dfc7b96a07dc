"""Which Conditions of a chart nothing is to be said about, told at a glance: most of a problem list is of that kind.

The gate of the batch looks at each (see gate.py for what it may let go). A chart has reports as well, which speak to
the Conditions of the spine, so those are never told at a glance; nor is one that was asked about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from msgspec import Raw

from service.fhir_in import Entry, Request, date_of_service, is_spinal, patient_of
from service.gate import ABSENT, Gate, Row
from service.json_body import dump_json

# Elements of a Condition that place it, or change what it means.
_TELLING = ("bodySite", "modifierExtension")
_REMEMBERED = 10_000  # code elements; a stream of ever new ones must not fill the memory


class Glance:
    """Tells which Conditions of a request are out of scope, with no flag to raise on them."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._quiet_days: dict[bytes, int] = {}

    def quiet(self, request: Request) -> frozenset[int]:
        """The places of those Conditions; none where more than reports stands beside them, or a claim is judged."""
        if request.setting != "charting" or request.observations or request.documents or request.answers:
            return frozenset()
        patients = {patient_of(entry) for entry in request.conditions}
        if request.reports and (len(request.conditions) == 1 or len(patients) > 1):
            return frozenset()  # to the only one of a patient they speak whatever it is
        encounter_day = date_of_service(request, {})
        places = enumerate(request.conditions)
        return frozenset(i for i, entry in places if self._is_quiet(entry, request, encounter_day))

    def _is_quiet(self, entry: Entry, request: Request, encounter_day: str | None) -> bool:
        condition = entry.resource
        on = encounter_day or date_of_service(request, condition)
        if on is None or any(name in condition for name in _TELLING):
            return False
        row = _row(condition)
        return bool(self._days(row, condition) >> self._gate.day_of(on) & 1) and not self._gate.speaks_beside(row)

    def _days(self, row: Row, condition: Mapping[str, Any]) -> int:
        """By bit: in which stretches of time nothing is to be said about the code element."""
        key = blake2b(row.code, digest_size=16).digest()  # no patient's words are kept
        days = self._quiet_days.get(key)
        if days is None:
            days = 0 if is_spinal(condition) else self._gate.quiet_days(row)
            if len(self._quiet_days) < _REMEMBERED:
                self._quiet_days[key] = days
        return days


def _row(condition: Mapping[str, Any]) -> Row:
    written: Sequence[Raw] = [
        Raw(dump_json(condition[name])) if name in condition else ABSENT
        for name in ("subject", "code", "verificationStatus", "note", "evidence")
    ]
    return Row("Condition", *written)
