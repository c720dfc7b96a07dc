"""What is let through at once would pass the whole validation too."""

from __future__ import annotations

import copy
import runpy
import subprocess
import sys

import pytest
from hypothesis import given

from service.json_body import dump_json, parse_json
from service.sound import are_sound, is_sound
from service.validation import validate_resource
from tests.running import REPO
from tests.test_validation import CANARY, HOSTILE, SAMPLES, UNSOUND, mutants, places_in

ALLOWED = frozenset(sample["resourceType"] for sample in SAMPLES)
WRONG: list[object] = [None, True, 0, -1, 1.5, "", " ", " x", "a  b", "2026-02-30", "2026-13", "2026-03-31T10:00:00"]
WRONG += ["x" * 70, [], {}, [None], [[]], {"resourceType": "Nope"}, {"url": "x"}, {"coding": [{"code": "no"}]}, CANARY]


def holds(resource: object) -> bool:
    """Sound only where the whole validation says nothing at all, not even a warning."""
    return not is_sound(resource, ALLOWED) or validate_resource(resource, allowed=ALLOWED) == []


def one_change_each(sample: dict[str, object]) -> list[dict[str, object]]:
    """The sample with one element changed to something wrong, or left out, at every place."""
    found = []
    for number, place in enumerate(places_in(sample)):
        for key in list(place) if isinstance(place, dict) else range(len(place)):
            for wrong in (*WRONG, ...):
                mutant = copy.deepcopy(sample)
                changed = places_in(mutant)[number]
                if wrong is ...:
                    del changed[key]
                else:
                    changed[key] = copy.deepcopy(wrong)
                found.append(mutant)
    return found


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["resourceType"])
def test_a_plainly_valid_resource_is_let_through(sample: dict[str, object]) -> None:
    assert validate_resource(sample, allowed=ALLOWED) != [] or is_sound(sample, ALLOWED)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["resourceType"])
def test_of_all_single_changes_none_is_let_through_that_validation_speaks_of(sample: dict[str, object]) -> None:
    changed = one_change_each(sample)
    assert len(changed) > 50
    assert [mutant for mutant in changed if not holds(mutant)] == []


CONDITION = next(sample for sample in SAMPLES if sample["resourceType"] == "Condition")
PATIENT: dict[str, object] = {"resourceType": "Patient", "id": "p1"}
WIDE = ALLOWED | {"Bundle", "Parameters", "Patient"}
WRONG_GENDER: dict[str, object] = {**PATIENT, "gender": "F"}


def inside(kind: str, resource: object) -> dict[str, object]:
    """A resource in another, in each place that R4 has for one."""
    return {
        "contained": {**CONDITION, "contained": [resource]},
        "entry": {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": resource}]},
        "response": {
            "resourceType": "Bundle",
            "type": "batch-response",
            "entry": [{"response": {"status": "200", "outcome": resource}}],
        },
        "parameter": {"resourceType": "Parameters", "parameter": [{"name": "x", "resource": resource}]},
        "part": {
            "resourceType": "Parameters",
            "parameter": [{"name": "x", "part": [{"name": "y", "resource": resource}]}],
        },
    }[kind]


@pytest.mark.parametrize("kind", ["contained", "entry", "response", "parameter", "part"])
def test_a_resource_inside_another_is_looked_at_too(kind: str) -> None:
    assert is_sound(inside(kind, PATIENT), WIDE)
    for inner in (
        WRONG_GENDER,
        {"id": "x"},
        {"resourceType": "Nope"},
        {"resourceType": []},
        {**PATIENT, "contained": [WRONG_GENDER]},
    ):
        assert not is_sound(inside(kind, inner), WIDE)
        assert validate_resource(inside(kind, inner), allowed=WIDE) != []
    assert are_sound([PATIENT, PATIENT], "Patient")
    assert not are_sound([PATIENT, WRONG_GENDER], "Patient")
    assert not are_sound([inside(kind, {"id": "x"})], str(inside(kind, PATIENT)["resourceType"]))


@pytest.mark.parametrize("resource", [None, [], "Patient", {"resourceType": []}, {"id": "x"}, {"resourceType": "Flag"}])
def test_what_is_no_resource_of_a_type_that_is_known_is_not_sound(resource: object) -> None:
    assert not is_sound(resource, WIDE | {"Flag"})
    assert not is_sound(PATIENT, WIDE - {"Patient"})


VERIFIED = "http://terminology.hl7.org/CodeSystem/condition-ver-status"


@pytest.mark.parametrize("resource", [resource for resource, _, _ in UNSOUND])
def test_what_validation_speaks_of_is_not_let_through(resource: object) -> None:
    assert not is_sound(resource, WIDE)


@pytest.mark.parametrize(
    ("changes", "sound"),
    [
        ({"verificationStatus": {"coding": [{"system": VERIFIED, "code": "refuted"}]}}, True),
        ({"verificationStatus": {"coding": [{"system": VERIFIED, "code": "entered-in-error"}]}}, False),
        ({"abatementString": "last year"}, False),
        ({"clinicalStatus": None}, False),  # beside a category it may be a problem without a status
        ({"clinicalStatus": None, "category": None}, True),
        ({"onsetAge": {"value": 50, "code": "a", "system": "http://unitsofmeasure.org"}}, True),
        ({"onsetAge": {"value": "50"}}, False),
        ({"onsetString": "x", "onsetDateTime": "2026"}, False),
    ],
)
def test_a_condition_is_let_through_where_no_invariant_can_speak(changes: dict[str, object], sound: bool) -> None:
    changed = {name: value for name, value in {**CONDITION, **changes}.items() if value is not None}
    assert is_sound(changed, WIDE) is sound


@HOSTILE
@given(mutants())
def test_no_mutant_is_let_through_that_validation_speaks_of(mutant: object) -> None:
    assert holds(mutant)


def test_most_changes_are_not_let_through() -> None:
    """Else the tests above would hold for a gate that says nothing."""
    changed = [mutant for sample in SAMPLES for mutant in one_change_each(sample)]
    assert 0 < sum(is_sound(mutant, ALLOWED) for mutant in changed) < len(changed) / 4


def test_threads_that_begin_together_all_have_their_answer() -> None:
    code = (
        "import sys; from concurrent.futures import ThreadPoolExecutor; sys.setswitchinterval(1e-6)\n"
        "from service.sound import is_sound\n"
        f"from service.json_body import parse_json; samples = parse_json({dump_json(SAMPLES)!r}) * 8\n"
        "with ThreadPoolExecutor(48) as pool:\n"
        "    list(pool.map(lambda one: is_sound(one, frozenset({one['resourceType']})), samples))\n"
    )
    for _ in range(3):
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("levels", [1, 10, 28])
def test_what_is_nested_as_deep_as_a_body_may_be_is_sound_as_well(levels: int) -> None:
    deep: dict[str, object] = {"url": "urn:x", "valueString": "x"}
    for _ in range(levels):
        deep = {"url": "urn:x", "extension": [deep]}
    patient = {"resourceType": "Patient", "extension": [deep]}
    assert parse_json(dump_json(patient)) == patient
    assert validate_resource(patient, allowed=frozenset({"Patient"})) == []
    assert is_sound(patient, frozenset({"Patient"}))
    deep["extension"] = [{"url": "urn:x"}, {"url": " "}]
    assert not is_sound(patient, frozenset({"Patient"}))


@pytest.mark.parametrize("text", ["• lumbar stenosis", "“canal stenosis”", "– none", "Ödem", "狭窄", "ｘ"])
def test_a_string_that_begins_with_another_sign_than_a_letter_is_let_through(text: str) -> None:
    assert is_sound({"resourceType": "Patient", "name": [{"text": text}]}, frozenset({"Patient"}))


def test_what_is_nested_without_end_is_not_sound_and_no_crash() -> None:
    deep: dict[str, object] = {"url": "urn:x", "valueString": "x"}
    for _ in range(20_000):
        deep = {"url": "urn:x", "extension": [deep]}
    assert not is_sound({"resourceType": "Patient", "extension": [deep]}, WIDE)
    while inner := deep.pop("extension", None):  # taken apart, for Python frees it by recursion
        [deep] = inner  # type: ignore[misc]


def test_a_string_of_blanks_is_not_let_through_whichever_blanks_of_unicode() -> None:
    blanks = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace()]
    samples = [{"resourceType": "Patient", "name": [{"text": text}]} for one in blanks for text in (one, one * 3)]
    assert [sample for sample in samples if is_sound(sample, frozenset({"Patient"}))] == []


@pytest.mark.parametrize("text", ["says “x”", 'a "quoted" word', "été", "narrow {} canal"])
def test_an_ordinary_text_is_let_through_or_looked_at(text: str) -> None:
    sample = {"resourceType": "Patient", "id": "p", "name": [{"text": text}]}
    assert is_sound(sample, frozenset({"Patient"})) or "{}" in text
    assert validate_resource(sample, allowed=frozenset({"Patient"})) == []


def test_the_types_are_those_of_fhir_resources() -> None:
    build = runpy.run_path(str(REPO / "scripts" / "build_r4_types.py"))
    assert build["TARGET"].read_text("utf-8") == build["written"]()
