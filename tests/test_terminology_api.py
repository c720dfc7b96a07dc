"""The terminology operations as an R4 client meets them: GET and POST, type and instance, by date and by version."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from service import value_sets
from service.code_systems import ListedEdition
from service.fhir_out import CANONICAL, ICD10CM, REGION_SYSTEM, SPACE_SYSTEM, TISSUE_SYSTEM
from service.terminology_api import (
    CODE_SYSTEM_VALIDATE_CODE,
    EXPAND,
    LOOKUP,
    TRANSLATE,
    VALUE_SET_VALIDATE_CODE,
)
from service.validation import validate_resource

Json = dict[str, Any]
SNOMED = "http://snomed.info/sct"
M99_4 = f"{CANONICAL}/ValueSet/m99-4-codes"
ALL = f"{CANONICAL}/ValueSet/icd-10-cm"
TITLE = "Connective tissue stenosis of neural canal of cervical region"


def get(client: FlaskClient, operation: str, **query: Any) -> Any:
    return client.get(f"/fhir/{operation}", query_string={name.replace("_", "-"): v for name, v in query.items()})


def post(client: FlaskClient, operation: str, *parameters: Json, **headers: str) -> Any:
    body = (
        {"resourceType": "Parameters", "parameter": list(parameters)} if parameters else {"resourceType": "Parameters"}
    )
    return client.post(f"/fhir/{operation}", json=body, headers=headers)


def told(answer: Any, name: str) -> Any:
    """The values of the parameters of that name; the one value where there is one."""
    assert answer.status_code == 200, answer.get_json()
    found = [_value(one) for one in answer.get_json()["parameter"] if one["name"] == name]
    return found[0] if len(found) == 1 else found


def _value(parameter: Json) -> Any:
    if "part" in parameter:
        return {one["name"]: _value(one) for one in parameter["part"]}
    return next(value for key, value in parameter.items() if key.startswith("value"))


def codes(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.get_json()
    return [one["code"] for one in answer.get_json()["expansion"].get("contains", [])]


def refused(answer: Any) -> tuple[int, str]:
    """Status and issue type of a refusal, which is an OperationOutcome with one sentence."""
    outcome = answer.get_json()
    assert outcome["resourceType"] == "OperationOutcome"
    (issue,) = outcome["issue"]
    assert issue["diagnostics"].endswith(".")
    return answer.status_code, issue["code"]


# --- CodeSystem/$lookup -------------------------------------------------------------------------------------------


@pytest.mark.proves("R4 CodeSystem/$lookup: name, version, display, property")
def test_a_code_is_looked_up_by_get_and_by_post_alike(client: FlaskClient) -> None:
    by_get = get(client, "CodeSystem/$lookup", system=ICD10CM, code="M99.41")
    by_code = post(
        client, "CodeSystem/$lookup", {"name": "system", "valueUri": ICD10CM}, {"name": "code", "valueCode": "M99.41"}
    )
    coding = {"system": ICD10CM, "code": "M99.41"}
    by_coding = post(client, "CodeSystem/$lookup", {"name": "coding", "valueCoding": coding})
    assert by_get.data == by_code.data == by_coding.data
    assert [told(by_get, name) for name in ("name", "version", "display")] == ["ICD-10-CM", "2027", TITLE]
    assert {"code": "parent", "value": "M99.4", "description": TITLE[:42]} in told(by_get, "property")


def test_a_header_tells_that_it_is_not_selectable_and_what_is_beneath_it(client: FlaskClient) -> None:
    found = told(get(client, "CodeSystem/$lookup", system=ICD10CM, code="M99.4"), "property")
    assert {"code": "notSelectable", "value": True} in found
    assert [one["value"] for one in found if one["code"] == "child"] == [f"M99.4{digit}" for digit in range(10)]


def test_only_the_properties_asked_for_are_told(client: FlaskClient) -> None:
    answer = get(client, "CodeSystem/$lookup", system=ICD10CM, code="M99.41", property=["parent", "inactive"])
    assert [one["code"] for one in told(answer, "property")] == ["inactive", "parent"]


@pytest.mark.parametrize(
    ("when", "title"),
    [
        ({"version": "2021"}, "Other intervertebral disc degeneration, lumbar region"),
        ({"date": "2021-06-01"}, "Other intervertebral disc degeneration, lumbar region"),
    ],
)
def test_the_date_or_the_version_decides_on_the_release(client: FlaskClient, when: Json, title: str) -> None:
    answer = get(client, "CodeSystem/$lookup", system=ICD10CM, code="M51.36", **when)
    assert (told(answer, "version"), told(answer, "display")) == ("2021", title)
    assert {"code": "notSelectable", "value": False} in told(answer, "property")
    # It became a header on 2024-10-01.
    newest = get(client, "CodeSystem/$lookup", system=ICD10CM, code="M51.36")
    assert {"code": "notSelectable", "value": True} in told(newest, "property")


@pytest.mark.parametrize(
    "asked",
    [
        {"system": f"{ICD10CM}|2017", "code": "M48.06"},
        {"coding": {"system": f"{ICD10CM}|2017", "code": "M48.06"}},
        {"coding": {"system": "urn:oid:2.16.840.1.113883.6.90", "version": "2017", "code": "M48.06"}},
    ],
)
def test_the_version_may_stand_behind_the_system(client: FlaskClient, asked: Json) -> None:
    """M48.06 was split in October 2017; before, it was reported."""
    names = {"system": "valueUri", "code": "valueCode", "coding": "valueCoding"}
    parameters = [{"name": name, names[name]: value} for name, value in asked.items()]
    assert told(post(client, "CodeSystem/$lookup", *parameters), "version") == "2017"
    for operation, url in (("CodeSystem", ICD10CM), ("ValueSet", ALL)):
        found = [one for one in parameters if one["name"] != "system" or operation == "ValueSet"]
        named = f"{url}|2017" if operation == "CodeSystem" and "system" in asked else url
        answer = post(client, f"{operation}/$validate-code", {"name": "url", "valueUri": named}, *found)
        assert told(answer, "result") is True


def test_two_versions_of_one_system_are_one_too_many(client: FlaskClient) -> None:
    query = {"system": f"{ICD10CM}|2017", "version": "2018", "code": "M48.06"}
    assert refused(get(client, "CodeSystem/$lookup", **query)) == (400, "invalid")
    query = {"url": ALL, "system": f"{ICD10CM}|1999", "code": "M99.41"}
    assert refused(get(client, "ValueSet/$validate-code", **query)) == (404, "not-found")


@pytest.mark.parametrize(("code", "version"), [("U07.1", "2020"), ("Z28.310", "2022"), ("U07.1", "2027")])
def test_a_version_has_the_codes_that_came_within_its_year(client: FlaskClient, code: str, version: str) -> None:
    assert told(get(client, "CodeSystem/$lookup", system=ICD10CM, code=code, version=version), "version") == version


def test_a_version_has_not_the_codes_of_a_later_year(client: FlaskClient) -> None:
    query = {"system": ICD10CM, "code": "U07.1", "version": "2019"}
    assert refused(get(client, "CodeSystem/$lookup", **query)) == (404, "not-found")


def test_our_own_systems_are_looked_up_with_what_they_define(client: FlaskClient) -> None:
    system = f"{CANONICAL}/CodeSystem/documentation-flag"
    found = told(get(client, "CodeSystem/$lookup", system=system, code="code.excludes1"), "property")
    assert {"code": "claim", "value": "error"} in found
    assert any(one["code"] == "definition" for one in found)


@pytest.mark.parametrize(
    ("query", "refusal"),
    [
        ({"system": ICD10CM, "code": "M99.4Z"}, (404, "not-found")),
        ({"system": ICD10CM, "code": "m9941"}, (404, "not-found")),
        ({"system": ICD10CM, "code": "Mrs. Miller"}, (404, "not-found")),
        ({"system": "http://example.com/none", "code": "x"}, (404, "not-found")),
        ({"system": ICD10CM, "code": "M99.41", "version": "1999"}, (404, "not-found")),
        ({"system": ICD10CM, "code": "G56.00", "date": "2027-05-01"}, (404, "not-found")),
        ({"system": ICD10CM, "code": "M99.41", "version": "2021", "date": "2026-11-01"}, (400, "invalid")),
        ({"system": ICD10CM, "code": "M99.41", "date": "2026"}, (400, "value")),
        ({"system": ICD10CM, "code": "M99.41", "date": "2026-13-45"}, (400, "value")),
        ({"code": "M99.41"}, (400, "required")),
        ({"system": ICD10CM}, (400, "required")),
        ({"system": ICD10CM, "code": ["M99.41", "M99.42"]}, (400, "invalid")),
        ({"system": ICD10CM, "code": "M99.41", "coding": "x"}, (400, "not-supported")),
    ],
)
def test_a_lookup_that_cannot_be_answered_says_why(client: FlaskClient, query: Json, refusal: tuple[int, str]) -> None:
    answer = get(client, "CodeSystem/$lookup", **query)
    assert refused(answer) == refusal
    assert "Miller" not in answer.get_data(as_text=True)


def test_both_code_and_coding_are_one_too_many(client: FlaskClient) -> None:
    coding = {"system": ICD10CM, "code": "M99.41"}
    answer = post(
        client,
        "CodeSystem/$lookup",
        {"name": "coding", "valueCoding": coding},
        {"name": "code", "valueCode": "M99.41"},
        {"name": "system", "valueUri": ICD10CM},
    )
    assert refused(answer) == (400, "invalid")


# --- CodeSystem/$validate-code ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "result"),
    [
        ({"code": "M99.41"}, True),
        ({"code": "M99.41", "display": TITLE.upper()}, True),
        ({"code": "M99.41", "display": "Connective tissue stenosis of neural canal of head region"}, False),
        ({"code": "M99.4"}, False),
        ({"code": "M99.4", "abstract": "true"}, True),
        ({"code": "M99.4Z"}, False),
        ({"code": "m99.41"}, False),
        ({"code": "M99.41", "date": "2015-10-01"}, True),
        ({"code": "M99.41", "date": "2015-09-30"}, False),
        ({"code": "M48.061", "date": "2017-09-30"}, False),
        ({"code": "M48.061", "date": "2017-10-01"}, True),
        ({"code": "M51.360", "date": "2024-09-30", "version": "2024"}, False),
        ({"code": "M51.360", "date": "2027-04-01"}, None),
        ({"code": "M51.360", "date": "2024-10-01"}, True),
        ({"code": "D69.1", "date": "2026-09-30"}, True),
        ({"code": "D69.1", "date": "2026-10-01"}, False),
        ({"code": "D69.1", "version": "2026"}, True),
    ],
)
def test_a_code_of_icd_10_cm_is_valid_by_date_or_version(client: FlaskClient, query: Json, result: bool | None) -> None:
    answer = get(client, "CodeSystem/$validate-code", url=ICD10CM, **query)
    if result is None:
        assert refused(answer) == (404, "not-found")
        return
    assert told(answer, "result") is result
    assert bool(told(answer, "message")) is not result


@pytest.mark.proves("R4 $validate-code: display mismatch message")
def test_a_wrong_display_is_told_with_the_right_one(client: FlaskClient) -> None:
    answer = get(client, "CodeSystem/$validate-code", url=ICD10CM, code="M99.41", display="Mrs. Miller's back")
    assert (told(answer, "result"), told(answer, "display")) == (False, TITLE)
    assert TITLE in told(answer, "message")
    assert "Miller" not in told(answer, "message")


def test_the_instance_of_a_year_is_that_release(client: FlaskClient) -> None:
    assert told(get(client, "CodeSystem/icd-10-cm-2021/$validate-code", code="M51.36"), "result") is True
    assert told(get(client, "CodeSystem/icd-10-cm-2026/$validate-code", code="M51.36"), "result") is False
    assert refused(get(client, "CodeSystem/none/$validate-code", code="M51.36")) == (404, "not-found")


def test_one_valid_coding_makes_a_concept_valid_and_the_other_is_told(client: FlaskClient) -> None:
    concept = {"coding": [{"system": ICD10CM, "code": "M99.4"}, {"system": ICD10CM, "code": "M99.41"}]}
    answer = post(
        client,
        "CodeSystem/$validate-code",
        {"name": "url", "valueUri": ICD10CM},
        {"name": "codeableConcept", "valueCodeableConcept": concept},
    )
    assert told(answer, "result") is True
    assert "M99.4 is a header" in told(answer, "message")


def test_a_code_system_may_be_given_with_the_call(client: FlaskClient) -> None:
    system = {
        "resourceType": "CodeSystem",
        "url": "http://example.com/colours",
        "status": "active",
        "content": "complete",
        "concept": [{"code": "red", "display": "Red", "concept": [{"code": "crimson", "display": "Crimson"}]}],
    }
    given = {"name": "codeSystem", "resource": system}
    for url, code, result in (
        ("http://example.com/colours", "crimson", True),
        ("http://example.com/colours", "blue", False),
        (ICD10CM, "crimson", False),
    ):
        coding = {"name": "coding", "valueCoding": {"system": url, "code": code}}
        assert told(post(client, "CodeSystem/$validate-code", given, coding), "result") is result
    crimson = {"name": "code", "valueCode": "crimson"}
    assert told(post(client, "CodeSystem/$validate-code", given, crimson), "result") is True
    another = {"name": "url", "valueUri": ICD10CM}
    assert refused(post(client, "CodeSystem/$validate-code", given, crimson, another)) == (400, "invalid")


# --- ValueSet/$expand ---------------------------------------------------------------------------------------------


@pytest.mark.proves("R4 ValueSet/$expand by url, by id, by resource")
def test_a_value_set_is_expanded_in_every_way_that_r4_names(client: FlaskClient) -> None:
    include = {"system": ICD10CM, "filter": [{"property": "concept", "op": "descendent-of", "value": "M99.4"}]}
    given = {"resourceType": "ValueSet", "status": "active", "compose": {"include": [include]}}
    answers = [
        get(client, "ValueSet/$expand", url=M99_4),
        get(client, "ValueSet/m99-4-codes/$expand"),
        client.post("/fhir/ValueSet/m99-4-codes/$expand"),
        post(client, "ValueSet/$expand", {"name": "url", "valueUri": M99_4}),
        post(client, "ValueSet/$expand", {"name": "valueSet", "resource": given}),
        client.post("/fhir/ValueSet/$expand", json=given),
    ]
    assert [codes(answer) for answer in answers] == [[f"M99.4{digit}" for digit in range(10)]] * 6
    assert "compose" not in answers[0].get_json()
    assert "compose" in get(client, "ValueSet/$expand", url=M99_4, includeDefinition="true").get_json()


@pytest.mark.proves("R4 ValueSet/$expand: filter, offset, count")
def test_an_expansion_is_filtered_and_paged(client: FlaskClient) -> None:
    found = get(client, "ValueSet/$expand", url=ALL, filter="spinal STENO lumbar").get_json()["expansion"]
    assert [one["code"] for one in found["contains"]] == ["M48.05", "M48.06", "M48.061", "M48.062"]
    assert [one.get("abstract", False) for one in found["contains"]] == [False, True, False, False]
    page = get(client, "ValueSet/$expand", url=ALL, filter="spinal steno lumbar", offset=1, count=2)
    assert codes(page) == ["M48.06", "M48.061"]
    assert (page.get_json()["expansion"]["total"], page.get_json()["expansion"]["offset"]) == (4, 1)
    assert codes(get(client, "ValueSet/$expand", url=ALL, filter="spinal steno", count=0)) == []
    assert "M48.06" not in codes(
        get(client, "ValueSet/$expand", url=ALL, filter="spinal steno", excludeNotForUI="true")
    )


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("M99.4", [f"M99.4{place}" for place in ("", *range(10))]),
        ("m99.4 CERVICAL", ["M99.41"]),
        ("2026", []),  # no code and no title has it
    ],
)
def test_the_words_of_a_filter_stand_in_the_code_or_its_display(
    client: FlaskClient, words: str, found: list[str]
) -> None:
    assert codes(get(client, "ValueSet/$expand", url=ALL, filter=words, date="2026-05-01")) == found


def test_an_expansion_of_a_whole_release_is_had_by_pages_and_never_cut_short(client: FlaskClient) -> None:
    assert refused(get(client, "ValueSet/$expand", url=ALL)) == (422, "too-costly")
    release, pages = "2025", []
    for offset in range(0, 100_000, 10_000):
        answer = get(
            client, "ValueSet/$expand", url=ALL, offset=offset, count=10_000, system_version=f"{ICD10CM}|{release}"
        )
        pages.append(codes(answer))
    # releases.yaml: 97,584 codes in the tabular list of April 2025
    assert len({code for page in pages for code in page}) == sum(map(len, pages)) == 97_584
    assert {len(page) for page in pages[:-1]} == {10_000}


def test_all_pages_of_an_expansion_name_it_alike_and_other_expansions_otherwise(client: FlaskClient) -> None:
    def identifier(**query: Any) -> str:
        return str(get(client, "ValueSet/$expand", url=ALL, **query).get_json()["expansion"]["identifier"])

    asked = {"filter": "stenosis", "date": "2026-05-01"}
    assert identifier(**asked) == identifier(**asked, count=5) == identifier(**asked, count=5, offset=5)
    others = [{"date": "2025-05-01"}, {"filter": "spinal"}, {"activeOnly": "true"}, {"excludeNotForUI": "true"}]
    assert len({identifier(**{**asked, **other}) for other in ({}, *others)}) == 5


def test_a_page_is_as_long_as_it_is_asked_for_or_refused(client: FlaskClient) -> None:
    assert refused(get(client, "ValueSet/$expand", url=ALL, count=10_001)) == (422, "too-costly")
    assert len(codes(get(client, "ValueSet/$expand", url=ALL, count=10_000))) == 10_000


@pytest.mark.parametrize(("longest", "status"), [(10, 200), (9, 422)])
def test_an_expansion_without_count_is_had_whole_or_refused(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, longest: int, status: int
) -> None:
    monkeypatch.setattr(value_sets, "MAX_PAGE", longest)
    assert get(client, "ValueSet/$expand", url=M99_4).status_code == status
    assert codes(get(client, "ValueSet/$expand", url=M99_4, offset=1)) == [f"M99.4{place}" for place in range(1, 10)]


def test_an_expansion_of_nothing_has_no_empty_arrays(client: FlaskClient) -> None:
    never_a_code = value_set({"system": ICD10CM, "concept": [{"code": "M99.4Z"}]})
    assert {"parameter", "contains"}.isdisjoint(post(client, "ValueSet/$expand", never_a_code).get_json()["expansion"])


def test_beyond_the_last_code_is_an_empty_page(client: FlaskClient) -> None:
    expansion = get(client, "ValueSet/$expand", url=M99_4, offset=10, count=5).get_json()["expansion"]
    assert (expansion["total"], expansion["offset"], "contains" in expansion) == (10, 10, False)


def test_who_names_a_value_set_twice_has_to_mean_the_same(client: FlaskClient) -> None:
    for operation, more in (("$expand", {}), ("$validate-code", {"system": ICD10CM, "code": "M99.41"})):
        at = f"ValueSet/m99-4-codes/{operation}"
        assert get(client, at, url=M99_4, **more).status_code == 200
        assert refused(get(client, at, url=ALL, **more)) == (400, "invalid")
        assert refused(get(client, at, valueSetVersion="0", **more)) == (400, "invalid")


def test_an_exclude_by_filter_takes_out_what_it_says(client: FlaskClient) -> None:
    family = {"system": ICD10CM, "filter": [{"property": "concept", "op": "is-a", "value": "M48.0"}]}
    headers = {"system": ICD10CM, "filter": [{"property": "notSelectable", "op": "=", "value": "true"}]}
    found = codes(post(client, "ValueSet/$expand", value_set(family, exclude=headers)))
    assert ("M48.0" in found, "M48.06" in found, "M48.061" in found) == (False, False, True)
    of_2016 = {"system": ICD10CM, "version": "2016", "filter": headers["filter"]}
    assert "M48.06" in codes(post(client, "ValueSet/$expand", value_set(family, exclude=of_2016)))


def test_a_filter_finds_no_less_to_be_excluded(client: FlaskClient) -> None:
    """What is excluded in 2021 was called otherwise then: Ehrlichiosis chafeensis."""
    family = {"system": ICD10CM, "filter": [{"property": "parent", "op": "=", "value": "A77.4"}]}
    of_2021 = {"system": ICD10CM, "version": "2021", "concept": [{"code": "A77.41"}]}
    words = {"name": "filter", "valueString": "chaffeensis"}
    assert codes(post(client, "ValueSet/$expand", value_set(family), words)) == ["A77.41"]
    assert codes(post(client, "ValueSet/$expand", value_set(family, exclude=of_2021), words)) == []


@pytest.mark.parametrize(
    "include",
    [
        {"system": ICD10CM, "concept": [{"code": "M48.06"}, {"code": "M99.4"}, {"code": "M99.41"}]},
        {"system": ICD10CM, "filter": [{"property": "concept", "op": "is-a", "value": "M99.4"}]},
    ],
)
def test_a_filter_is_held_against_codes_that_are_listed_and_headers_too(client: FlaskClient, include: Json) -> None:
    words = [{"name": "filter", "valueString": text} for text in ("m99.4 CANAL", "m99.41 cervical", "m99.4 lumbar foo")]
    found = [codes(post(client, "ValueSet/$expand", value_set(include), each)) for each in words]
    assert (found[0].count("M99.4"), found[1:]) == (1, [["M99.41"], []])
    assert "M99.4" not in codes(
        post(client, "ValueSet/$expand", value_set(include), {**words[1], "valueString": "head"})
    )


def test_an_expansion_is_of_the_date(client: FlaskClient) -> None:
    split = {"url": f"{CANONICAL}/ValueSet/icd-10-cm", "filter": "M48.06"}
    assert codes(get(client, "ValueSet/$expand", **split, date="2026-11-01")) == ["M48.06", "M48.061", "M48.062"]
    assert codes(get(client, "ValueSet/$expand", **split, date="2017-09-30")) == ["M48.06"]
    of_2018 = get(client, "ValueSet/$expand", url=M99_4, date="2018-05-01").get_json()["expansion"]
    assert {"name": "used-codesystem", "valueUri": f"{ICD10CM}|2018"} in of_2018["parameter"]
    assert {one["version"] for one in of_2018["contains"]} == {"2018"}
    assert refused(get(client, "ValueSet/$expand", url=ALL, filter="carpal", date="2027-05-01")) == (404, "not-found")


def value_set(*includes: Json, exclude: Json | None = None) -> Json:
    compose = {"include": list(includes)} | ({"exclude": [exclude]} if exclude else {})
    return {"name": "valueSet", "resource": {"resourceType": "ValueSet", "status": "active", "compose": compose}}


@pytest.mark.proves("R4 ValueSet/$expand: activeOnly")
def test_an_enumerated_code_that_is_no_longer_valid_is_inactive(client: FlaskClient) -> None:
    listed = value_set(
        {
            "system": ICD10CM,
            "concept": [{"code": "S23.420A"}, {"code": "M99.41"}, {"code": "M99.4Z"}, {"code": "S23420A"}],
        }
    )
    date = {"name": "date", "valueDateTime": "2026-11-01"}
    answer = post(client, "ValueSet/$expand", listed, date)
    assert [(one["code"], one.get("inactive", False)) for one in answer.get_json()["expansion"]["contains"]] == [
        ("S23.420A", True),
        ("M99.41", False),
    ]
    active = {"name": "activeOnly", "valueBoolean": True}
    assert codes(post(client, "ValueSet/$expand", listed, date, active)) == ["M99.41"]


def test_a_compose_is_followed_to_its_end(client: FlaskClient) -> None:
    family = {"system": ICD10CM, "filter": [{"property": "concept", "op": "is-a", "value": "M99.4"}]}
    both = {"system": ICD10CM, "concept": [{"code": "M99.41"}, {"code": "M99.31"}], "valueSet": [M99_4]}
    assert codes(post(client, "ValueSet/$expand", value_set(both))) == ["M99.41"]
    assert "M99.4" in codes(post(client, "ValueSet/$expand", value_set(family)))
    beneath = {"system": ICD10CM, "concept": [{"code": "M99.4"}]}
    assert "M99.4" not in codes(post(client, "ValueSet/$expand", value_set(family, exclude=beneath)))
    assert codes(post(client, "ValueSet/$expand", value_set({"valueSet": [M99_4]}))) == [
        f"M99.4{digit}" for digit in range(10)
    ]


@pytest.mark.parametrize(
    ("include", "refusal"),
    [
        ({"system": "http://example.com/none"}, (404, "not-found")),
        ({"system": ICD10CM, "filter": [{"property": "code", "op": "regex", "value": ".*"}]}, (422, "not-supported")),
        ({"valueSet": ["http://example.com/none"]}, (404, "not-found")),
        ({"system": ICD10CM, "version": "1999"}, (404, "not-found")),
    ],
)
def test_a_compose_that_cannot_be_carried_out_is_refused_whole(
    client: FlaskClient, include: Json, refusal: tuple[int, str]
) -> None:
    assert refused(post(client, "ValueSet/$expand", value_set(include))) == refusal


@pytest.mark.parametrize(
    ("query", "refusal"),
    [
        ({"url": "http://example.com/none"}, (404, "not-found")),
        ({"url": M99_4, "valueSetVersion": "9"}, (404, "not-found")),
        ({}, (400, "required")),
        ({"url": M99_4, "count": "-1"}, (400, "value")),
        ({"url": M99_4, "count": "ten"}, (400, "value")),
        ({"url": M99_4, "count": "--1"}, (400, "value")),
        ({"url": M99_4, "count": "\u0661"}, (400, "value")),  # a digit of Arabic
        ({"url": M99_4, "offset": "2147483648"}, (400, "value")),
        ({"url": M99_4, "offset": "9" * 20}, (400, "value")),
        ({"url": M99_4, "system-version": ICD10CM}, (400, "value")),
        ({"valueSet": "x"}, (400, "not-supported")),
        ({"url": M99_4, "activeOnly": "yes"}, (400, "value")),
        ({"context": "http://hl7.org/fhir/StructureDefinition/Condition#code"}, (400, "not-supported")),
    ],
)
def test_an_expansion_that_cannot_be_made_says_why(client: FlaskClient, query: Json, refusal: tuple[int, str]) -> None:
    assert refused(get(client, "ValueSet/$expand", **query)) == refusal


def test_what_would_keep_the_service_busy_is_refused(client: FlaskClient) -> None:
    assert refused(get(client, "ValueSet/$expand", url=M99_4, filter="a" * 101)) == (400, "too-long")
    assert codes(get(client, "ValueSet/$expand", url=M99_4, filter="a" * 100)) == []
    many = [{"system": REGION_SYSTEM}] * 41
    assert refused(post(client, "ValueSet/$expand", value_set(*many))) == (422, "too-costly")
    assert codes(post(client, "ValueSet/$expand", value_set(*many[1:]))) != []


def test_version_parameters_choose_check_and_force_the_release(client: FlaskClient) -> None:
    ask = {"url": ALL, "filter": "M51.36"}
    for name in ("system_version", "check_system_version", "force_system_version"):
        assert codes(get(client, "ValueSet/$expand", **ask, **{name: f"{ICD10CM}|2021"})) == ["M51.36"]
    oid = "urn:oid:2.16.840.1.113883.6.90"
    assert codes(get(client, "ValueSet/$expand", **ask, system_version=f"{oid}|2021")) == ["M51.36"]
    by_oid = value_set({"system": oid, "filter": [{"property": "concept", "op": "descendent-of", "value": "M48.06"}]})
    version = {"name": "system-version", "valueCanonical": f"{ICD10CM}|2017"}
    assert codes(post(client, "ValueSet/$expand", by_oid, version)) == []
    for system in (ICD10CM, oid):
        assert codes(get(client, "ValueSet/$expand", **ask, exclude_system=system)) == []
    checked = get(
        client,
        "ValueSet/$expand",
        **ask,
        system_version=f"{ICD10CM}|2021",
        check_system_version=f"{ICD10CM}|2026",
    )
    assert refused(checked) == (422, "invalid")


@pytest.mark.proves("R4 ValueSet/$expand: check-system-version, an error where the value set names another version")
@pytest.mark.parametrize(
    ("checked", "date", "is_made"),
    [("2021", "", True), ("2026", "", False), ("2021", "2026-05-01", True), ("2026", "2021-05-01", False)],
)
def test_a_version_that_is_checked_is_that_of_the_value_set(
    client: FlaskClient, checked: str, date: str, is_made: bool
) -> None:
    include = {"system": ICD10CM, "concept": [{"code": "M99.41"}]} | (
        {} if date == "2021-05-01" else {"version": "2021"}
    )
    given = [{"name": "date", "valueDateTime": date}] if date else []
    check = {"name": "check-system-version", "valueCanonical": f"{ICD10CM}|{checked}"}
    answer = post(client, "ValueSet/$expand", value_set(include), check, *given)
    assert (codes(answer) == ["M99.41"]) if is_made else (refused(answer) == (422, "invalid"))


@pytest.mark.proves("R4 ValueSet.compose.lockedDate")
@pytest.mark.parametrize(
    ("include", "parameter", "is_of_2017"),
    [
        ({}, [], True),
        ({}, [{"name": "date", "valueDateTime": "2026-05-01"}], True),
        ({}, [{"name": "system-version", "valueCanonical": f"{ICD10CM}|2026"}], True),
        ({}, [{"name": "force-system-version", "valueCanonical": f"{ICD10CM}|2026"}], False),
        ({"version": "2026"}, [], False),
    ],
)
def test_a_compose_that_is_locked_is_of_that_day_where_it_names_no_version(
    client: FlaskClient, include: Json, parameter: list[Json], is_of_2017: bool
) -> None:
    family = {"system": ICD10CM, "filter": [{"property": "concept", "op": "descendent-of", "value": "M48.06"}]}
    given = value_set({**family, **include})
    given["resource"]["compose"]["lockedDate"] = "2017-09-30"
    assert codes(post(client, "ValueSet/$expand", given, *parameter)) == ([] if is_of_2017 else ["M48.061", "M48.062"])
    if not any("system-version" in one["name"] for one in parameter):
        coding = {"name": "coding", "valueCoding": {"system": ICD10CM, "code": "M48.061"}}
        assert told(post(client, "ValueSet/$validate-code", given, coding, *parameter), "result") is not is_of_2017


@pytest.mark.proves("R4 ValueSet.compose.inactive")
@pytest.mark.parametrize(
    ("says", "found"), [({}, ["S23.420A"]), ({"inactive": True}, ["S23.420A"]), ({"inactive": False}, [])]
)
def test_a_compose_says_whether_inactive_codes_are_in_it(client: FlaskClient, says: Json, found: list[str]) -> None:
    given = value_set({"system": ICD10CM, "concept": [{"code": "S23.420A"}]})
    given["resource"]["compose"] |= says
    assert codes(post(client, "ValueSet/$expand", given)) == found
    coding = {"name": "coding", "valueCoding": {"system": ICD10CM, "code": "S23.420A"}}
    answer = post(client, "ValueSet/$validate-code", given, coding)  # of no code that it has not, it tells the display
    assert "is not valid in ICD-10-CM" in told(answer, "message")
    assert (told(answer, "result"), bool(told(answer, "display"))) == (False, bool(found))
    given["resource"]["compose"]["include"].append({"system": ICD10CM, "concept": [{"code": "M99.41"}]})
    coding["valueCoding"]["code"] = "M99.41"
    assert told(post(client, "ValueSet/$validate-code", given, coding), "result") is True


# --- ValueSet/$validate-code --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "result"),
    [
        ({"code": "M99.41"}, True),
        ({"code": "M99.31"}, False),
        ({"code": "M99.4"}, False),
        ({"code": "M99.41", "display": "Head"}, False),
        ({"code": "M99.41", "date": "2015-09-30"}, False),
    ],
)
def test_a_code_is_validated_against_a_value_set(client: FlaskClient, query: Json, result: bool) -> None:
    for operation, more in (("ValueSet/$validate-code", {"url": M99_4}), ("ValueSet/m99-4-codes/$validate-code", {})):
        answer = get(client, operation, system=ICD10CM, **more, **query)
        assert told(answer, "result") is result
        assert bool(told(answer, "message")) is not result


def test_an_enumerated_code_of_a_system_that_is_not_served_is_validated_all_the_same(client: FlaskClient) -> None:
    loinc = {"system": "http://loinc.org", "code": "24935-9"}
    answer = get(client, "ValueSet/imaging-report/$validate-code", **loinc)
    assert (told(answer, "result"), told(answer, "display")) == (True, "MR Cervical spine")
    modality = {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "MR", "display": "MRI"}
    assert told(get(client, "ValueSet/imaging-modality/$validate-code", **modality), "result") is False


def test_a_code_without_system_is_not_guessed(client: FlaskClient) -> None:
    assert refused(get(client, "ValueSet/$validate-code", url=M99_4, code="M99.41")) == (400, "required")


# --- ConceptMap/$translate ----------------------------------------------------------------------------------------


def matches(answer: Any) -> Iterator[tuple[str, str]]:
    for one in answer.get_json()["parameter"]:
        if one["name"] == "match":
            by_name = {part["name"]: _value(part) for part in one["part"]}
            yield by_name["equivalence"], by_name["concept"]["code"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"system": SNOMED, "code": "122494005"}, [("wider", "cervical")]),
        ({"system": SNOMED, "code": "62555009"}, [("inexact", "head"), ("inexact", "cervical")]),
        ({"system": SNOMED, "code": "203712005"}, [("equivalent", "M99.4")]),
        ({"system": SNOMED, "code": "203714006"}, [("equivalent", "M99.6")]),
        ({"system": SNOMED, "code": "83561009"}, [("equivalent", "M48.02")]),
        ({"system": SNOMED, "code": "18347007"}, [("narrower", "M48.061")]),
        ({"system": SNOMED, "code": "76107001"}, [("relatedto", "M48.0")]),
        ({"system": SNOMED, "code": "90448008"}, [("relatedto", "M48.8X")]),
    ],
)
def test_a_code_of_snomed_ct_is_translated(client: FlaskClient, query: Json, found: list[tuple[str, str]]) -> None:
    assert list(matches(get(client, "ConceptMap/$translate", **query))) == found


def dependency(system: str, code: str) -> Json:
    concept = {"coding": [{"system": system, "code": code}]}
    parts = [{"name": "element", "valueUri": system}, {"name": "concept", "valueCodeableConcept": concept}]
    return {"name": "dependency", "part": parts}


@pytest.mark.parametrize(
    ("tissue", "space", "code"),
    [
        ("connective", "canal", "M99.41"),
        ("osseous", "canal", "M99.31"),
        ("subluxation", "canal", "M99.21"),
        ("disc", "canal", "M99.51"),
        ("osseous", "foramen", "M99.61"),
        ("connective", "foramen", "M99.71"),
    ],
)
def test_region_tissue_and_space_name_the_code_and_the_code_names_them(
    client: FlaskClient, tissue: str, space: str, code: str
) -> None:
    coding = {"name": "coding", "valueCoding": {"system": REGION_SYSTEM, "code": "cervical"}}
    depends = [dependency(TISSUE_SYSTEM, tissue), dependency(SPACE_SYSTEM, space)]
    forward = post(client, "ConceptMap/region-to-icd-10-cm/$translate", coding, *depends)
    # The families of the foramen stand for two tissues each: wider than the one asked about.
    forth_and_back = ("equivalent", "equivalent") if space == "canal" else ("wider", "narrower")
    assert list(matches(forward)) == [(forth_and_back[0], code)]
    back = get(client, "ConceptMap/$translate", system=ICD10CM, code=code, reverse="true", targetsystem=REGION_SYSTEM)
    assert set(matches(back)) == {(forth_and_back[1], "cervical")}
    products = [one["concept"]["code"] for one in _products(back)]
    assert {tissue, space} <= set(products)


def _products(answer: Any) -> Iterator[Json]:
    for one in answer.get_json()["parameter"]:
        yield from (_value(part) for part in one.get("part", ()) if part["name"] == "product")


def test_what_has_no_translation_is_no_error(client: FlaskClient) -> None:
    answer = get(client, "ConceptMap/$translate", system=SNOMED, code="0")
    assert told(answer, "result") is False
    assert told(answer, "message")
    url = f"{CANONICAL}/ConceptMap/none"
    assert refused(get(client, "ConceptMap/$translate", url=url, system=SNOMED, code="0")) == (404, "not-found")


def concept_map(*elements: Json, **group: Any) -> Json:
    made = {"source": "http://example.com/a", "target": "http://example.com/b", "element": list(elements), **group}
    return {"name": "conceptMap", "resource": {"resourceType": "ConceptMap", "status": "draft", "group": [made]}}


def coding_of(code: str) -> Json:
    return {"name": "coding", "valueCoding": {"system": "http://example.com/a", "code": code}}


def test_what_a_map_does_not_say_is_left_out_of_the_answer(client: FlaskClient) -> None:
    """FHIR has no empty strings, and a code that is unmatched has no concept."""
    named = {"code": "1", "target": [{"code": "2", "equivalence": "equivalent"}]}
    nothing = {"code": "3", "target": [{"equivalence": "unmatched", "comment": "none"}]}
    given = concept_map(named, nothing)
    found = told(post(client, "ConceptMap/$translate", given, coding_of("1")), "match")
    assert found == {"equivalence": "equivalent", "concept": {"system": "http://example.com/b", "code": "2"}}
    unmatched = post(client, "ConceptMap/$translate", given, coding_of("3"))
    assert (told(unmatched, "result"), told(unmatched, "match")) == (False, {"equivalence": "unmatched"})
    assert validate_resource(unmatched.get_json(), allowed=frozenset({"Parameters"})) == []


def test_where_a_map_sends_the_codes_that_it_does_not_list_is_refused(client: FlaskClient) -> None:
    given = concept_map(
        {"code": "1", "target": [{"code": "2", "equivalence": "equal"}]}, unmapped={"mode": "fixed", "code": "x"}
    )
    assert told(post(client, "ConceptMap/$translate", given, coding_of("1")), "result") is True
    assert refused(post(client, "ConceptMap/$translate", given, coding_of("9"))) == (422, "not-supported")


def test_a_system_of_others_is_known_by_its_oid(client: FlaskClient) -> None:
    oid = {"system": "urn:oid:2.16.840.1.113883.6.96", "code": "203712005"}
    assert list(matches(get(client, "ConceptMap/$translate", **oid))) == [("equivalent", "M99.4")]


# --- parameters ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "others", "wrong", "right"),
    [
        ("CodeSystem/$lookup", {"system": ("Uri", ICD10CM)}, {"code": ("String", "I10")}, {"code": ("Code", "I10")}),
        ("ValueSet/$expand", {"url": ("Uri", M99_4)}, {"count": ("String", "10")}, {"count": ("Integer", 10)}),
        (
            "ConceptMap/$translate",
            {"system": ("Uri", ICD10CM), "code": ("Code", "M99.41")},
            {"reverse": ("String", "true")},
            {"reverse": ("Boolean", True)},
        ),
    ],
)
def test_a_parameter_of_the_wrong_type_is_refused(
    client: FlaskClient, operation: str, others: Json, wrong: Json, right: Json
) -> None:
    def call(given: Json) -> Any:
        return post(client, operation, *({"name": n, f"value{kind}": value} for n, (kind, value) in given.items()))

    assert call({**others, **right}).status_code == 200
    assert refused(call({**others, **wrong})) == (400, "value")


def test_a_resource_that_comes_as_something_else_is_refused(client: FlaskClient) -> None:
    text = {"name": "valueSet", "valueString": "x"}
    assert refused(post(client, "ValueSet/$expand", text)) == (400, "structure")


def test_an_unknown_parameter_is_passed_over_unless_strict_handling_is_preferred(client: FlaskClient) -> None:
    extra = {"name": "cache-id", "valueId": "x"}
    url = {"name": "url", "valueUri": M99_4}
    assert post(client, "ValueSet/$expand", url, extra).status_code == 200
    strict = post(client, "ValueSet/$expand", url, extra, Prefer="handling=strict")
    assert refused(strict) == (400, "not-supported")


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b"{", b'{"resourceType":"Patient"}', b'{"resourceType":"Parameters","x":1}']
)
def test_a_body_that_is_no_parameters_is_refused(client: FlaskClient, body: bytes) -> None:
    answer = client.post("/fhir/CodeSystem/$lookup", data=body, content_type="application/fhir+json")
    assert refused(answer) == (400, "structure")


# FHIR R4 4.0.1, OperationDefinitions: the in parameters with their types, as in the published definitions.
R4 = {
    "CodeSystem-lookup": (LOOKUP, "code system version coding date displayLanguage property"),
    "CodeSystem-validate-code": (
        CODE_SYSTEM_VALIDATE_CODE,
        "url codeSystem code version display coding codeableConcept date abstract displayLanguage",
    ),
    "ValueSet-expand": (
        EXPAND,
        "url valueSet valueSetVersion context contextDirection filter date offset count includeDesignations "
        "designation includeDefinition activeOnly excludeNested excludeNotForUI excludePostCoordinated displayLanguage "
        "exclude-system system-version check-system-version force-system-version",
    ),
    "ValueSet-validate-code": (
        VALUE_SET_VALIDATE_CODE,
        "url context valueSet valueSetVersion code system systemVersion display coding codeableConcept date abstract "
        "displayLanguage",
    ),
    "ConceptMap-translate": (
        TRANSLATE,
        "url conceptMap conceptMapVersion code system version source coding codeableConcept target targetsystem "
        "dependency reverse",
    ),
}


@pytest.mark.parametrize("operation", R4)
def test_an_operation_takes_exactly_the_parameters_of_r4(operation: str) -> None:
    ours, theirs = R4[operation]
    assert list(ours) == theirs.split()


def test_the_url_of_another_code_system_than_the_address_is_refused(client: FlaskClient) -> None:
    for named, status in (({}, 200), ({"url": REGION_SYSTEM}, 200), ({"url": ICD10CM}, 400), ({"version": "0"}, 400)):
        answer = get(client, "CodeSystem/region/$validate-code", code="cervical", **named)
        assert answer.status_code == status
        assert status == 200 or refused(answer) == (400, "invalid")


@pytest.mark.proves("R4 dateTime")
@pytest.mark.parametrize(
    ("date", "status"),
    [
        ("2026-05-01", 200),
        ("2026-05-01T10:00:00Z", 200),
        ("2026-05-01T10:00:00.123+01:00", 200),
        ("2026-05-01T10:00:00 01:00", 200),  # a plus sign that nobody encoded
        ("2015-01-01", 200),
        ("2026-05", 400),
        ("2026-02-30", 400),
        ("2026-W18-5", 400),
        ("20260501", 400),
        ("2026-05-01 or so", 400),
    ],
)
def test_a_date_is_one_as_r4_writes_it(client: FlaskClient, date: str, status: int) -> None:
    assert get(client, "ValueSet/$expand", url=ALL, count=1, date=date).status_code == status


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("Zebedee Quux", "The code has not the form of an ICD-10-CM code"),
        ("m9941", "give M99.41."),
        ("S23.420A", "S23.420A is not valid in ICD-10-CM 2027 on 2026-11-01 ("),
        ("M99.4Z", "M99.4Z is in no release of ICD-10-CM"),
    ],
)
def test_why_there_is_no_such_code_is_said_without_words_that_are_none(
    client: FlaskClient, code: str, says: str
) -> None:
    answer = get(client, "CodeSystem/$validate-code", url=ICD10CM, code=code, date="2026-11-01")
    assert (told(answer, "result"), says in told(answer, "message")) == (False, True)
    assert "Zebedee" not in answer.text


def test_the_filter_is_told_as_it_was_given(client: FlaskClient) -> None:
    answer = get(client, "ValueSet/$expand", url=ALL, filter="Carpal Tunnel", date="2026-05-01").get_json()
    assert {"name": "filter", "valueString": "Carpal Tunnel"} in answer["expansion"]["parameter"]


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ({}, {}),
        ({"filter": "Cervical  head"}, {"filter": "Cervical  head"}),
        ({"date": "2026-05-01T10:00:00Z"}, {"date": "2026-05-01"}),
        ({"activeOnly": "true", "excludeNotForUI": "true"}, {"activeOnly": True, "excludeNotForUI": True}),
        ({"activeOnly": "false", "excludeNotForUI": "false"}, {}),
        ({"exclude-system": f"{SNOMED}|1"}, {"exclude-system": SNOMED}),
        ({"offset": "0"}, {}),
        ({"offset": "2"}, {"offset": 2, "count": None}),
        ({"count": "3"}, {"offset": 0, "count": 3}),
    ],
)
def test_an_expansion_says_what_it_was_made_with(client: FlaskClient, query: Json, parameters: Json) -> None:
    made = get(client, "ValueSet/$expand", url=M99_4, **query).get_json()["expansion"]
    told = {one["name"]: next(v for key, v in one.items() if key.startswith("value")) for one in made["parameter"]}
    assert told.pop("used-codesystem", "").startswith(f"{ICD10CM}|") is (parameters.get("filter") is None)
    assert told == {name: value for name, value in parameters.items() if value is not None}


def test_an_address_below_fhir_that_is_none_points_to_the_statement(client: FlaskClient) -> None:
    answer = client.get("/fhir/Nonsense/1")
    assert "/fhir/metadata" in answer.get_json()["issue"][0]["diagnostics"]


def test_icd_10_cm_is_known_by_its_oid_too(client: FlaskClient) -> None:
    oid = "urn:oid:2.16.840.1.113883.6.90"
    assert told(get(client, "ValueSet/$validate-code", url=M99_4, system=oid, code="M99.41"), "result") is True


def test_a_token_may_name_its_system(client: FlaskClient) -> None:
    def total(status: str) -> int:
        return int(client.get("/fhir/ValueSet", query_string={"status": status}).get_json()["total"])

    assert total("http://hl7.org/fhir/publication-status|active") == total("active") > 0


def names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.get_json()
    return [one["name"] for one in answer.get_json()["parameter"]]


def coding(system: str, code: str) -> Json:
    return {"name": "coding", "valueCoding": {"system": system, "code": code} if system else {"code": code}}


def test_an_answer_has_nothing_empty(client: FlaskClient) -> None:
    at, region = "CodeSystem/$validate-code", {"url": REGION_SYSTEM}
    assert names(get(client, at, **region, code="cervical")) == ["result", "display"]
    assert names(get(client, at, **region, code="none")) == ["result", "message"]
    found = told(get(client, "CodeSystem/$lookup", system=ICD10CM, code="M99.41"), "property")
    assert [one["code"] for one in found] == ["inactive", "notSelectable", "parent"]
    translated = get(client, "ConceptMap/$translate", system=SNOMED, code="203712005")
    assert names(translated) == ["result", "match"]
    assert told(translated, "match")["source"] == f"{CANONICAL}/ConceptMap/snomed-ct-finding-to-icd-10-cm"
    element = {"code": "a", "target": [{"code": "b", "equivalence": "equal"}]}
    own = {"resourceType": "ConceptMap", "status": "draft", "group": [{"source": "urn:a", "element": [element]}]}
    by_own = post(client, "ConceptMap/$translate", {"name": "conceptMap", "resource": own}, coding("urn:a", "a"))
    assert told(by_own, "match") == {"equivalence": "equal", "concept": {"code": "b"}}


def test_a_coding_may_leave_its_system_and_version_to_the_call(client: FlaskClient) -> None:
    operation, url = "CodeSystem/$validate-code", {"name": "url", "valueUri": ICD10CM}
    assert told(post(client, operation, coding(ICD10CM, "M48.061")), "result") is True
    assert told(post(client, operation, url, coding("", "M48.061")), "result") is True
    of_2016 = {"name": "version", "valueString": "2016"}
    assert told(post(client, operation, url, of_2016, coding("", "M48.061")), "result") is False


def test_an_instance_is_of_its_version_on_any_date(client: FlaskClient) -> None:
    at = "CodeSystem/icd-10-cm-2026/$validate-code"
    assert told(get(client, at, code="M99.41", date="2026-05-01"), "result") is True
    assert refused(get(client, at, code="M99.41", date="2026-11-01")) == (400, "invalid")


def test_a_header_that_a_release_has_not_is_passed_over(client: FlaskClient) -> None:
    """H54.512 stands in every release but that of 2021, which has the code beneath it."""
    for version, header in (("2021", "H54.51"), ("2025", "H54.512")):
        asked = {"system": ICD10CM, "version": version}
        found = told(get(client, "CodeSystem/$lookup", code="H54.512A", **asked), "property")
        assert next(one for one in found if one["code"] == "parent")["value"] == header
        children = told(get(client, "CodeSystem/$lookup", code=header, **asked, property="child"), "property")
        assert "H54.512A" in str(children)


def test_a_code_that_no_file_names_is_called_by_itself(client: FlaskClient) -> None:
    newest = get(client, "CodeSystem/$lookup", system=ICD10CM, version="2027", code="C78.31")
    assert told(newest, "display") == "C78.31"


def test_a_filter_is_held_against_our_own_codes_too(client: FlaskClient) -> None:
    assert codes(get(client, "ValueSet/region/$expand", filter="CERVical")) == ["cervical"]
    assert told(get(client, "CodeSystem/$lookup", system=REGION_SYSTEM, code="cervical"), "name") == "Body regions"


def test_a_listed_code_system_is_read_as_it_is_written() -> None:
    concept = {"code": "1", "property": [{"code": "p", "valueString": "x"}]}
    edition = ListedEdition({"name": "A", "concept": [concept]})
    assert (edition.name, edition.by_code["1"].properties) == ("A", (("p", ("valueString", "x")),))


@pytest.mark.parametrize(
    ("system", "more", "found"),
    [
        ("urn:a", {}, ["of-a", "of-a-in-y"]),
        ("urn:b", {}, ["of-b"]),
        ("urn:a", {"targetsystem": "urn:y"}, ["of-a-in-y"]),
        ("urn:c", {}, []),
    ],
)
def test_only_the_groups_of_both_systems_translate(
    client: FlaskClient, system: str, more: Json, found: list[str]
) -> None:
    def group(source: str, target: str, code: str) -> Json:
        mapped = {"code": code, "equivalence": "equal"}
        return {"source": source, "target": target, "element": [{"code": "1", "target": [mapped]}]}

    groups = [group("urn:a", "urn:x", "of-a"), group("urn:b", "urn:x", "of-b"), group("urn:a", "urn:y", "of-a-in-y")]
    resource = {"resourceType": "ConceptMap", "status": "draft", "group": groups}
    given = [{"name": "conceptMap", "resource": resource}, coding(system, "1")]
    given += [{"name": name, "valueUri": value} for name, value in more.items()]
    matches = [one for one in post(client, "ConceptMap/$translate", *given).get_json()["parameter"] if "part" in one]
    assert [_value(one)["concept"]["code"] for one in matches] == found
    resource["group"][0]["unmapped"] = {"mode": "provided"}
    reverse = {"name": "reverse", "valueBoolean": True}
    backwards = [given[0], coding("urn:x", "of-a"), reverse]
    assert told(post(client, "ConceptMap/$translate", *backwards), "result") is True


def test_a_map_is_named_by_the_address(client: FlaskClient) -> None:
    asked = {"system": SNOMED, "code": "203712005"}
    for identifier, found in (("snomed-ct-finding-to-icd-10-cm", True), ("snomed-ct-body-site-to-region", False)):
        assert told(get(client, f"ConceptMap/{identifier}/$translate", **asked), "result") is found


@pytest.mark.parametrize(
    ("code", "system", "says"),
    [
        ("M99.31", ICD10CM, "The code is not in the value set"),
        ("M99.4Z", ICD10CM, "M99.4Z is in no release"),
        ("1", SNOMED, "The code is not in the value set"),
    ],
)
def test_why_a_code_is_not_in_a_value_set(client: FlaskClient, code: str, system: str, says: str) -> None:
    answer = get(client, "ValueSet/$validate-code", url=M99_4, system=system, code=code)
    assert says in told(answer, "message")


def test_a_body_is_read_of_post_alone(client: FlaskClient) -> None:
    query = {"system": ICD10CM, "code": "M99.41", "_format": "json", "_pretty": "true"}
    with_body = client.get(
        "/fhir/CodeSystem/$lookup", query_string=query, data=b"[", headers={"Prefer": "handling=strict"}
    )
    assert with_body.status_code == 200


# --- each refusal of its own ---------------------------------------------------------------------------------------

A_CODE = {"name": "code", "valueCode": "M99.41"}
LISTED = {
    "name": "codeSystem",
    "resource": {"resourceType": "CodeSystem", "status": "draft", "content": "complete"},
}


@pytest.mark.parametrize(
    ("operation", "parameters", "refusal"),
    [
        ("CodeSystem/$validate-code", [LISTED, A_CODE], (400, "required", "code")),
        ("CodeSystem/$validate-code", [A_CODE], (400, "required", "url")),
        (
            "CodeSystem/$validate-code",
            [{"name": "codeableConcept", "valueCodeableConcept": {"text": "x"}}],
            (400, "required", "codeableConcept"),
        ),
        (
            "CodeSystem/$validate-code",
            [{"name": "codeableConcept", "valueCodeableConcept": {"coding": [{"system": ICD10CM, "code": "M99.41"},
                                                                             {"code": "M99.41"}]}}],
            (400, "required", "codeableConcept.coding[1]"),
        ),
        (
            "ConceptMap/$translate",
            [{"name": "coding", "valueCoding": {"system": SNOMED, "code": "1"}}, {"name": "dependency", "part": [
                {"name": "concept", "valueCodeableConcept": {"coding": [{"code": "x"}]}}]}],
            (400, "required", "dependency"),
        ),
        ("CodeSystem/$lookup", [{"name": "coding", "valueCoding": {"code": "M99.41"}}], (400, "required", "coding")),
        ("CodeSystem/$lookup", [{"name": "coding", "valueCoding": {"system": ICD10CM}}], (400, "required", "coding")),
        (
            "ConceptMap/$translate",
            [{"name": "coding", "valueCoding": {"system": SNOMED, "code": "1"}}, {"name": "dependency", "part": [
                {"name": "element", "valueUri": TISSUE_SYSTEM}]}],
            (400, "required", "dependency"),
        ),
        (
            "CodeSystem/$lookup",
            [{"name": "system", "valueUri": REGION_SYSTEM}, {"name": "version", "valueString": "0"},
             {"name": "code", "valueCode": "cervical"}],
            (404, "not-found", ""),
        ),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(
    client: FlaskClient, operation: str, parameters: list[Json], refusal: tuple[int, str, str]
) -> None:
    answer = post(client, operation, *parameters)
    where = answer.get_json()["issue"][0].get("expression", [""])[0]
    assert (*refused(answer), where) == refusal


def test_an_empty_parameter_is_refused_and_an_unknown_one_passed_over(client: FlaskClient) -> None:
    assert refused(get(client, "CodeSystem/$lookup", system=ICD10CM, code="")) == (400, "value")
    query = {"system": ICD10CM, "code": "M99.41", "colour": "red", "_format": "json"}
    assert get(client, "CodeSystem/$lookup", **query).status_code == 200
    strict = client.get("/fhir/CodeSystem/$lookup", query_string=query, headers={"Prefer": "handling=strict"})
    assert refused(strict) == (400, "not-supported")


def test_a_coding_of_another_system_is_not_in_the_one_that_is_asked(client: FlaskClient) -> None:
    coding = {"name": "coding", "valueCoding": {"system": REGION_SYSTEM, "code": "cervical"}}
    answer = post(client, "CodeSystem/$validate-code", {"name": "url", "valueUri": ICD10CM}, coding)
    assert (told(answer, "result"), told(answer, "message")) == (
        False,
        "The coding is of another code system than the one that is asked.",
    )


@pytest.mark.parametrize(
    ("compose", "refusal"),
    [
        ({}, (422, "not-supported")),
        ({"include": [{"concept": [{"code": "M99.41"}]}]}, (400, "invalid")),
        ({"include": [{"valueSet": [ALL]}], "exclude": [{"concept": [{"code": "M99.41"}]}]}, (400, "invalid")),
    ],
)
def test_a_value_set_whose_codes_cannot_be_told_is_refused_by_both_operations(
    client: FlaskClient, compose: Json, refusal: tuple[int, str]
) -> None:
    resource = {"resourceType": "ValueSet", "status": "active", "date": "2026-05-04"} | (
        {"compose": compose} if compose else {}
    )
    given = {"name": "valueSet", "resource": resource}
    coding = {"name": "coding", "valueCoding": {"system": ICD10CM, "code": "M99.41"}}
    assert refused(post(client, "ValueSet/$expand", given)) == refusal
    assert refused(post(client, "ValueSet/$validate-code", given, coding)) == refusal


def is_in(client: FlaskClient, code: str, *includes: Json, exclude: Json | None = None, system: str = ICD10CM) -> bool:
    """What $validate-code says; $expand says the same, or this fails."""
    given, date = value_set(*includes, exclude=exclude), {"name": "date", "valueDateTime": "2026-11-01"}
    coding = {"name": "coding", "valueCoding": {"system": system, "code": code}}
    abstract = {"name": "abstract", "valueBoolean": True}
    result = bool(told(post(client, "ValueSet/$validate-code", given, coding, date, abstract), "result"))
    active = {"name": "activeOnly", "valueBoolean": True}
    assert (code in codes(post(client, "ValueSet/$expand", given, date, active))) is result
    return result


def test_both_operations_follow_a_compose_alike(client: FlaskClient) -> None:
    family: Json = {"system": ICD10CM, "filter": [{"property": "concept", "op": "is-a", "value": "M99.4"}]}
    beneath: Json = {"system": ICD10CM, "filter": [{"property": "parent", "op": "=", "value": "M99.4"}]}
    below: Json = {"system": ICD10CM, "filter": [{"property": "concept", "op": "descendent-of", "value": "M99.4"}]}
    headers: Json = {"system": ICD10CM, "filter": [{"property": "notSelectable", "op": "=", "value": "true"}]}
    enumerated: Json = {"system": ICD10CM, "concept": [{"code": "S23.420A"}, {"code": "M99.41"}]}
    assert [is_in(client, code, family) for code in ("M99.4", "M99.41", "M99.51")] == [True, True, False]
    assert [is_in(client, code, beneath) for code in ("M99.4", "M99.41")] == [False, True]
    assert [is_in(client, code, below) for code in ("M99.4", "M99.41")] == [False, True]
    assert [is_in(client, code, family, exclude=headers) for code in ("M99.4", "M99.41")] == [False, True]
    assert [is_in(client, code, family, exclude=enumerated) for code in ("M99.40", "M99.41")] == [True, False]
    assert [is_in(client, code, enumerated) for code in ("S23.420A", "M99.41", "M99.40")] == [False, True, False]
    assert [is_in(client, code, enumerated, family) for code in ("M99.41", "M99.42")] == [True, True]
    unknown: Json = {"system": ICD10CM, "filter": [{"property": "concept", "op": "is-a", "value": "M99.4Z"}]}
    assert is_in(client, "M99.4Z", unknown) is False
    oid: Json = {**enumerated, "system": "urn:oid:2.16.840.1.113883.6.90"}
    assert [is_in(client, code, oid) for code in ("M99.41", "M99.40")] == [True, False]
    assert [is_in(client, code, family, exclude=oid) for code in ("M99.41", "M99.40")] == [False, True]
    children: Json = {"system": ICD10CM, "filter": [{"property": "parent", "op": "=", "value": "M48.0"}]}
    assert [is_in(client, code, children) for code in ("M48.06", "M48.061")] == [True, False]
    elsewhere: Json = {"system": ICD10CM, "concept": [{"code": "M99.31"}], "valueSet": [M99_4]}
    assert is_in(client, "M99.31", elsewhere) is False
    both = {**enumerated, "valueSet": [M99_4]}
    assert [is_in(client, code, both) for code in ("M99.41", "M99.40")] == [True, False]
    assert [is_in(client, code, {"valueSet": [M99_4]}) for code in ("M99.41", "M99.31")] == [True, False]
    listed: Json = {"system": REGION_SYSTEM, "concept": [{"code": "cervical"}, {"code": "nowhere"}]}
    assert [is_in(client, code, listed, system=REGION_SYSTEM) for code in ("cervical", "nowhere", "head")] == [
        True,
        False,
        False,
    ]
    assert is_in(client, "cervical", family, system=REGION_SYSTEM) is False
    of_icd = {"name": "coding", "valueCoding": {"system": ICD10CM, "code": "cervical"}}
    assert told(post(client, "ValueSet/$validate-code", value_set(listed), of_icd), "result") is False


def test_whether_a_code_is_in_a_code_system_that_is_not_served_is_not_guessed(client: FlaskClient) -> None:
    elsewhere = {"system": "http://example.com/none"}
    coding = {"name": "coding", "valueCoding": {**elsewhere, "code": "x"}}
    operation = "ValueSet/$validate-code"
    assert refused(post(client, operation, value_set(elsewhere), coding)) == (404, "not-found")
    listed = {**elsewhere, "concept": [{"code": "x"}]}
    for_ui = {"name": "excludeNotForUI", "valueBoolean": True}
    assert codes(post(client, "ValueSet/$expand", value_set(listed), for_ui)) == ["x"]
    assert told(post(client, operation, value_set(listed), coding), "result") is True


def test_the_hierarchy_of_a_listed_code_system_is_followed(client: FlaskClient) -> None:
    published = client.application.extensions["published"]
    nested = {
        "resourceType": "CodeSystem",
        "url": "http://example.com/a",
        "concept": [
            {"code": "1", "concept": [{"code": "2", "concept": [{"code": "3"}]}]},
            {"code": "4", "concept": [{"code": "5"}]},
        ],
    }
    edition = ListedEdition(nested)
    assert edition.codes(beneath="1") == ("2", "3")
    assert (edition.parent("3"), edition.parent("1"), edition.children("1")) == ("2", None, ("2",))
    assert published.code_systems.serves("http://example.com/a") is False


def test_a_map_is_named_by_its_url_or_by_its_value_sets(client: FlaskClient) -> None:
    asked = {"system": SNOMED, "code": "203712005"}
    finding = f"{CANONICAL}/ConceptMap/snomed-ct-finding-to-icd-10-cm"
    assert list(matches(get(client, "ConceptMap/$translate", url=finding, **asked))) == [("equivalent", "M99.4")]
    site = f"{CANONICAL}/ConceptMap/snomed-ct-body-site-to-region"
    assert list(matches(get(client, "ConceptMap/$translate", url=site, **asked))) == []
    assert list(matches(get(client, "ConceptMap/$translate", target=ALL, **asked))) == [("equivalent", "M99.4")]
    assert list(matches(get(client, "ConceptMap/$translate", source=ALL, **asked))) == []


def test_a_form_of_a_search_that_is_too_large_is_said_to_be_so(client: FlaskClient) -> None:
    form = "application/x-www-form-urlencoded"
    told = client.post("/fhir/ValueSet/_search", data="name=" + "x" * 2_000_000, content_type=form)
    assert (told.status_code, told.get_json()["resourceType"]) == (413, "OperationOutcome")


def test_an_answer_that_is_no_resource_stays_what_it_is(client: FlaskClient) -> None:
    told = client.get("/fhir//metadata?_pretty=true", headers={"Accept": "application/json"})
    assert (told.status_code, told.mimetype) == (308, "text/html")
