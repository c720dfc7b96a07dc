"""What we publish, how it is read and searched, and that /fhir/metadata tells what the service really does."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.assist import Assist
from service.cards import OVERRIDE_SYSTEM, OVERRIDES, TOPIC_SYSTEM, TOPICS
from service.coding.model import ELEMENTS, Disposition
from service.coding.packs import Terminology
from service.conformance import DISPOSITION_SYSTEM, ELEMENT_SYSTEM, Published
from service.envelope import open_envelope
from service.fhir_api import answer_parameters
from service.fhir_out import CANONICAL, FLAG_SYSTEM, ICD10CM, REGION_SYSTEM, SPACE_SYSTEM, TISSUE_SYSTEM
from service.settings import Settings
from service.shipped import terminology_dir
from service.validation import validate_resource
from tests.test_statements import _lines, outpatient_condition, parameters

Json = dict[str, Any]


@pytest.fixture(scope="module")
def published(client: FlaskClient) -> Published:
    found: Published = client.application.extensions["published"]
    return found


def all_of(published: Published) -> list[Json]:
    return list(published.resources.values())


# --- what is published --------------------------------------------------------------------------------------------


@pytest.mark.proves("R4: what is published validates")
def test_everything_published_is_valid_r4(published: Published) -> None:
    for resource in all_of(published):
        assert validate_resource(resource, allowed=frozenset({resource["resourceType"]})) == [], resource["id"]


CODES = {
    ELEMENT_SYSTEM: lambda _: set(ELEMENTS),
    TISSUE_SYSTEM: lambda terminology: set(terminology.tissues),
    REGION_SYSTEM: lambda terminology: set(terminology.main.codes),
    SPACE_SYSTEM: lambda terminology: {pack.space for pack in terminology.packs},
    FLAG_SYSTEM: lambda terminology: set(terminology.flags),
    DISPOSITION_SYSTEM: lambda _: set(get_args(Disposition)),
    TOPIC_SYSTEM: lambda _: {topic["code"] for topic in TOPICS.values()},
    OVERRIDE_SYSTEM: lambda _: {code for reasons in OVERRIDES.values() for code in reasons},
}


@pytest.mark.parametrize("system", CODES)
def test_a_code_system_holds_exactly_what_the_service_says(
    system: str, published: Published, terminology: Terminology
) -> None:
    resource = published.by_url("CodeSystem", system)
    assert resource is not None
    listed = [concept["code"] for concept in resource["concept"]]
    assert len(listed) == len(set(listed)) == resource["count"]
    assert set(listed) == CODES[system](terminology)
    assert all(concept["display"] for concept in resource["concept"])


def every_case() -> Iterator[tuple[Json, str]]:
    for line in _lines("records.jsonl"):
        yield line["input"], "charting" if line["input"].get("mode", "charting") == "charting" else "claim"
    for line in _lines("statements.jsonl"):
        yield outpatient_condition(line["text"]), "charting"


def codings_of(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        if isinstance(value.get("system"), str) and "code" in value:
            yield value["system"], value["code"]
        for child in value.values():
            yield from codings_of(child)
    elif isinstance(value, list):
        for child in value:
            yield from codings_of(child)


def test_every_code_of_ours_in_any_answer_is_in_a_published_code_system(assist: Assist, published: Published) -> None:
    answered: set[tuple[str, str]] = set()
    for record, setting in every_case():
        answer = assist.answer(open_envelope(parameters(record), setting))  # type: ignore[arg-type]
        answered |= set(codings_of(answer_parameters(answer, assist, setting, "http://x")))  # type: ignore[arg-type]
    ours = {(system, code) for system, code in answered if system.startswith(CANONICAL)}
    assert len({system for system, _ in ours}) >= 5
    unknown = [(s, c) for s, c in ours if not published.code_systems.edition(s).concept(c)]
    assert unknown == []


@pytest.mark.parametrize(
    ("identifier", "some"),
    [
        ("m99-4-codes", "M99.40 M99.49"),
        ("m99-stenosis-codes", "M99.20 M99.39 M99.45 M99.51 M99.63 M99.79"),
        ("region", "head abdomen-other"),
        ("tissue", "connective osseous disc subluxation"),
        ("imaging-modality", "MR CT CR DX"),
        ("imaging-report", "24935-9 24968-0"),
    ],
)
def test_a_value_set_expands_to_its_codes(client: FlaskClient, identifier: str, some: str) -> None:
    expansion = client.get(f"/fhir/ValueSet/{identifier}/$expand").get_json()["expansion"]
    assert set(some.split()) <= {one["code"] for one in expansion["contains"]}
    assert expansion["total"] == len(expansion["contains"])


def test_the_families_of_the_value_set_are_those_of_the_packs(client: FlaskClient, terminology: Terminology) -> None:
    contains = client.get("/fhir/ValueSet/m99-stenosis-codes/$expand").get_json()["expansion"]["contains"]
    assert {one["code"] for one in contains} == {code for pack in terminology.packs for code in pack.codes.values()}


def test_every_body_site_of_the_reader_has_a_region(published: Published, assist: Assist) -> None:
    [group] = published.resources["ConceptMap", "snomed-ct-body-site-to-region"]["group"]
    assert {one["code"] for one in group["element"]} == set(assist.reader.concepts.body_sites)


def test_every_combination_that_has_a_code_is_in_the_map(published: Published, terminology: Terminology) -> None:
    [group] = published.resources["ConceptMap", "region-to-icd-10-cm"]["group"]
    mapped = {
        (element["code"], *(one["value"] for one in target["dependsOn"]), target["code"])
        for element in group["element"]
        for target in element["target"]
    }
    assert mapped == {
        (region, tissue, pack.space, code)
        for pack in terminology.packs
        for tissue in pack.tissues
        for region, code in pack.codes.items()
    }


def test_a_rule_pack_names_all_that_its_rules_rest_on(published: Published, terminology: Terminology) -> None:
    for pack in terminology.packs:
        library = published.resources["Library", f"rule-pack-{pack.id}"]
        cites = {cite.id: cite for rule in pack.rules for cite in rule.cites}
        assert {one["label"]: one["url"] for one in library["relatedArtifact"]} == {
            key: cite.url for key, cite in cites.items()
        }
        provenance = published.resources["Provenance", f"rule-pack-{pack.id}"]
        assert provenance["target"] == [{"reference": f"Library/{library['id']}"}]
        assert {one["what"]["identifier"]["value"] for one in provenance["entity"]} == {c.url for c in cites.values()}


def test_a_site_publishes_what_its_own_terminology_says(tmp_path: Path, published: Published) -> None:
    site = tmp_path / "terminology"
    shutil.copytree(terminology_dir(), site)
    pack = site / "packs" / "m99.4" / "pack.yaml"
    pack.write_text(pack.read_text("utf-8").replace("head: Head region", "head: Kopf"), "utf-8")
    client = create_app(Settings(terminology=site)).test_client()
    resource = client.get("/fhir/CodeSystem/region").get_json()
    assert {"code": "head", "display": "Kopf"} in resource["concept"]
    assert resource["meta"] != published.resources["CodeSystem", "region"]["meta"]
    assert client.get("/fhir/CodeSystem/tissue").get_json() == published.resources["CodeSystem", "tissue"]


@pytest.mark.proves("LOINC and SNOMED CT licences: notice")
def test_whatever_carries_codes_of_others_carries_their_notice(published: Published) -> None:
    for resource in all_of(published):
        text = json.dumps({k: v for k, v in resource.items() if k != "copyright"})
        for system, owner in (('"http://loinc.org"', "Regenstrief"), ('"http://snomed.info/sct"', "IHTSDO")):
            if system in text and resource["resourceType"] in ("ValueSet", "ConceptMap", "CodeSystem"):
                assert owner in resource.get("copyright", ""), resource["id"]
        assert "ama-assn.org" not in text


# --- reads --------------------------------------------------------------------------------------------------------


@pytest.mark.proves("R4 http: read, ETag, If-None-Match")
def test_everything_published_is_read_by_its_id_and_not_sent_twice(client: FlaskClient, published: Published) -> None:
    for (kind, identifier), resource in published.resources.items():
        answer = client.get(f"/fhir/{kind}/{identifier}")
        assert answer.get_json() == resource
        etag = answer.headers["ETag"]
        assert etag == f'W/"{resource["meta"]["versionId"]}"'
        again = client.get(f"/fhir/{kind}/{identifier}", headers={"If-None-Match": etag})
        assert (again.status_code, again.data) == (304, b"")
        pretty = client.get(f"/fhir/{kind}/{identifier}?_pretty=true", headers={"If-None-Match": etag})
        assert (pretty.status_code, answer.headers["Vary"]) == (304, "Accept")
        assert client.get(f"/fhir/{kind}/{identifier}", headers={"If-None-Match": 'W/"x"'}).status_code == 200


def test_what_is_not_there_is_not_found(client: FlaskClient) -> None:
    for address in ("CodeSystem/none", "Patient/1", "Nothing", "CodeSystem/tissue/$none"):
        answer = client.get(f"/fhir/{address}")
        assert answer.status_code == 404
        assert answer.get_json()["issue"][0]["code"] == "not-found"


# --- search -------------------------------------------------------------------------------------------------------


def search(client: FlaskClient, kind: str, **query: Any) -> Json:
    answer = client.get(f"/fhir/{kind}", query_string={name.replace("__", ":"): v for name, v in query.items()})
    assert answer.status_code == 200, answer.get_json()
    bundle: Json = answer.get_json()
    assert validate_resource(bundle, allowed=frozenset({"Bundle"})) == []
    assert all(entry["search"] == {"mode": "match"} for entry in bundle.get("entry", ()))
    return bundle


def ids(bundle: Json) -> list[str]:
    return [entry["resource"]["id"] for entry in bundle.get("entry", ())]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"url": REGION_SYSTEM}, ["region"]),
        ({"url": f"{REGION_SYSTEM},{TISSUE_SYSTEM}"}, ["tissue", "region"]),
        ({"url": ICD10CM, "version": "2026"}, ["icd-10-cm-2026"]),
        ({"_id": "space"}, ["space"]),
        ({"name": "card"}, ["card-topic"]),
        ({"name": "topic"}, []),
        ({"name__exact": "card"}, []),
        ({"name__exact": "CardTopic"}, ["card-topic"]),
        ({"name__contains": "TOPIC"}, ["card-topic"]),
        ({"title": "narrowed"}, ["space"]),
        ({"status": "draft"}, []),
        ({"url": "http://example.com/none"}, []),
        ({"url": REGION_SYSTEM, "unknown": "x"}, ["region"]),
        ({"_id": ",region,space"}, ["region", "space"]),
        ({"url": REGION_SYSTEM[:-1]}, []),
        ({"_id": "region", "name": ""}, ["region"]),
    ],
)
def test_resources_are_found_by_what_they_are_called(client: FlaskClient, query: Json, found: list[str]) -> None:
    assert ids(search(client, "CodeSystem", **query)) == found


@pytest.mark.proves("R4 search: POST to _search")
def test_a_search_may_come_as_a_form(client: FlaskClient) -> None:
    by_get = client.get("/fhir/CodeSystem?name=Doc&_count=1")
    by_post = client.post("/fhir/CodeSystem/_search", data={"name": "Doc", "_count": "1"})
    assert by_post.data == by_get.data
    assert client.post("/fhir/CodeSystem/_search").get_json()["total"] > 1
    assert client.post("/fhir/ValueSet/$expand", data={"url": "x"}).status_code == 415


def test_a_search_by_post_is_a_form_whose_result_parameters_count_too(client: FlaskClient) -> None:
    address = "/fhir/CodeSystem/_search"
    assert client.post(address, data={"_format": "xml"}).status_code == 406
    assert client.post(address, data={"_format": "json"}, headers={"Accept": "text/html"}).status_code == 200
    assert b"\n  " in client.post(address, data={"_pretty": "true"}).data
    assert client.get("/fhir/CodeSystem", content_type="application/json").status_code == 200
    as_json = client.post(address, json={"name": "Doc"})
    assert (as_json.status_code, as_json.get_json()["issue"][0]["code"]) == (415, "not-supported")


@pytest.mark.proves("R4 search: escaping of commas")
def test_a_comma_may_be_part_of_a_value(client: FlaskClient) -> None:
    assert ids(search(client, "ConceptMap", title="Region\\, tissue and")) == ["region-to-icd-10-cm"]
    assert len(ids(search(client, "ConceptMap", title="Region,SNOMED"))) > 1


@pytest.mark.proves("R4 search: _summary=count, _total")
def test_the_matches_may_be_counted_alone(client: FlaskClient) -> None:
    strict = {"Prefer": "handling=strict"}
    counted = client.get("/fhir/CodeSystem?_summary=count&_total=accurate", headers=strict).get_json()
    assert (counted["total"], "entry" in counted) == (search(client, "CodeSystem")["total"], False)
    assert search(client, "CodeSystem", _summary="true")["entry"]


@pytest.mark.proves("R4 search: paging")
def test_the_pages_of_a_search_hold_everything_once(client: FlaskClient, published: Published) -> None:
    bundle, seen = search(client, "ValueSet", _count=4), []
    for _ in range(20):
        seen += ids(bundle)
        links = {one["relation"]: one["url"] for one in bundle["link"]}
        if "next" not in links:
            break
        bundle = client.get(links["next"].replace("http://127.0.0.1:8080", "")).get_json()
    assert seen == [one["id"] for one in published.of_type("ValueSet")]
    assert bundle["total"] == len(seen)
    assert {"self", "first", "previous", "last"} == set(links)
    assert search(client, "ValueSet", _count=0).get("entry") is None


@pytest.mark.parametrize(
    ("asked", "links"),
    [
        ("_count=5", {"self": 0, "first": 0, "next": 5, "last": 10}),
        ("_count=5&_offset=2", {"self": 2, "first": 0, "previous": 0, "next": 7, "last": 10}),
        ("_count=5&_offset=10", {"self": 10, "first": 0, "previous": 5, "last": 10}),
        ("_count=15", {"self": 0}),
        ("_count=0", {"self": 0}),
        ("title%3Acontains=codes&status=active&_count=1", {"self": 0, "first": 0, "next": 1, "last": 1}),
    ],
)
def test_the_links_of_a_page_lead_to_the_others(client: FlaskClient, asked: str, links: dict[str, int]) -> None:
    told = client.get(f"/fhir/ValueSet?{asked}").get_json()["link"]
    same = asked.partition("&_offset")[0]
    written = {relation: f"{same}&_offset={at}" if at else same for relation, at in links.items()}
    assert {one["relation"]: one["url"].partition("?")[2] for one in told} == written


def test_a_page_has_a_hundred_matches_at_most(client: FlaskClient) -> None:
    assert search(client, "ValueSet", _count=1000)["link"][0]["url"].endswith("?_count=100")


def test_a_search_that_cannot_be_made_says_why(client: FlaskClient) -> None:
    wrong = ("_count=-1", "_offset=x", "_offset=9999999999", "_count=\u0661")
    unsupported = ("url:below=x", "url:exact=x", "name:below=x")
    for query in (*wrong, *unsupported):
        answer = client.get(f"/fhir/ValueSet?{query}")
        code = "value" if query in wrong else "not-supported"
        assert (answer.status_code, answer.get_json()["issue"][0]["code"]) == (400, code)
    strict = client.get("/fhir/ValueSet?unknown=x", headers={"Prefer": "handling=strict"})
    assert (strict.status_code, strict.get_json()["issue"][0]["code"]) == (400, "not-supported")


def test_no_value_set_runs_in_a_circle_for_none_refers_to_another(published: Published) -> None:
    composed = [one["compose"] for one in published.of_type("ValueSet")]
    assert not any("valueSet" in part for compose in composed for part in compose["include"])


# --- formats ------------------------------------------------------------------------------------------------------


@pytest.mark.proves("R4 http: MIME types; who asks for plain JSON alone has it")
@pytest.mark.parametrize(
    ("query", "accept", "mimetype"),
    [
        ("", "application/json", "application/json"),
        ("", "text/html, Application/JSON ;q=0.9", "application/json"),
        ("", "application/json, application/fhir+json", "application/fhir+json"),
        ("", "application/json, */*;q=0.1", "application/fhir+json"),
        ("", "text/json", "application/fhir+json"),
        ("_format=json", "application/json", "application/fhir+json"),
    ],
)
def test_json_is_called_as_it_was_asked_for(client: FlaskClient, query: str, accept: str, mimetype: str) -> None:
    assert client.get(f"/fhir/CodeSystem/tissue?{query}", headers={"Accept": accept}).mimetype == mimetype


@pytest.mark.proves("R4 http: Prefer handling")
@pytest.mark.parametrize(
    ("prefer", "status"),
    [
        ("handling=strict", 400),
        ('Handling="Strict"', 400),
        ("respond-async, handling=strict", 400),
        ("return=minimal;handling=strict", 400),
        ("handling=lenient", 200),
        ("", 200),
    ],
)
def test_who_prefers_strict_handling_has_it(client: FlaskClient, prefer: str, status: int) -> None:
    assert client.get("/fhir/ValueSet?unknown=x", headers={"Prefer": prefer}).status_code == status


@pytest.mark.proves("R4 http: Accept, _format")
@pytest.mark.parametrize(
    ("query", "accept", "status"),
    [
        ("", None, 200),
        ("", "application/fhir+json", 200),
        ("", "application/fhir+json; fhirVersion=4.0", 200),
        ("", "application/fhir+json; fhirVersion=5.0", 406),
        ("", 'Application/FHIR+JSON; fhirVersion="4.0"; charset=UTF-8', 200),
        ("_format=JSON", "text/html", 200),
        ("", "application/json", 200),
        ("", "*/*", 200),
        ("", "text/html,application/xhtml+xml,*/*;q=0.8", 200),
        ("", "application/fhir+xml", 406),
        ("", "application/fhir+json;q=0", 406),
        ("_format=json", "application/fhir+xml", 200),
        ("_format=application/fhir%2Bjson", "text/html", 200),
        ("_format=application/fhir+json", "text/html", 200),
        ("_format=xml", "application/fhir+json", 406),
    ],
)
def test_the_format_is_agreed_on(client: FlaskClient, query: str, accept: str | None, status: int) -> None:
    headers = {"Accept": accept} if accept else {}
    for address in ("CodeSystem/tissue", "CodeSystem", "metadata", "CodeSystem/none"):
        answer = client.get(f"/fhir/{address}?{query}", headers=headers)
        assert answer.status_code == (404 if status == 200 and address.endswith("none") else status)
        assert answer.get_json()["resourceType"]


def test_who_takes_only_plain_json_gets_it_under_that_name(client: FlaskClient) -> None:
    answer = client.get("/fhir/CodeSystem/tissue", headers={"Accept": "application/json"})
    assert answer.content_type == "application/json; charset=utf-8"
    assert client.get("/fhir/CodeSystem/tissue").content_type == "application/fhir+json; charset=utf-8"


@pytest.mark.proves("R4 http: Content-Type, 415")
def test_a_body_of_another_kind_is_refused(client: FlaskClient) -> None:
    answer = client.post("/fhir/ValueSet/$expand", data=b"<ValueSet/>", content_type="application/fhir+xml")
    assert (answer.status_code, answer.get_json()["issue"][0]["code"]) == (415, "not-supported")
    versioned = "application/fhir+json; fhirVersion=4.0; charset=utf-8"
    body = json.dumps({"resourceType": "Parameters"})
    assert client.post("/fhir/ValueSet/region/$expand", data=body, content_type=versioned).status_code == 200


def test_pretty_answers_are_indented_and_else_the_same(client: FlaskClient) -> None:
    plain, pretty = (client.get(f"/fhir/CodeSystem/tissue{query}") for query in ("", "?_pretty=true"))
    assert plain.get_json() == pretty.get_json()
    assert pretty.get_data(as_text=True).startswith('{\n  "resourceType"')
    assert b"\n" not in plain.data


# FHIR R4 4.0.1, code system issue-type.
ISSUE_TYPES = frozenset(
    "invalid structure required value invariant security login unknown expired forbidden suppressed processing "
    "not-supported duplicate multiple-matches not-found deleted too-long code-invalid extension too-costly "
    "business-rule conflict transient lock-error no-store exception timeout incomplete throttled informational".split()
)


@pytest.mark.proves("R4 http: every error is an OperationOutcome with a code of issue-type")
@pytest.mark.parametrize(
    ("method", "address", "sent", "status", "code"),
    [
        ("GET", "Nothing", {}, 404, "not-found"),
        ("GET", "CodeSystem/none", {}, 404, "not-found"),
        ("PUT", "CodeSystem/region", {"json": {}}, 405, "not-supported"),
        ("POST", "CodeSystem", {"json": {}}, 405, "not-supported"),
        ("DELETE", "ValueSet/region", {}, 405, "not-supported"),
        ("GET", "Condition/$coding-assist", {}, 405, "not-supported"),
        ("GET", "metadata", {"headers": {"Accept": "text/turtle"}}, 406, "not-supported"),
        ("POST", "ValueSet/$expand", {"data": "x", "content_type": "text/plain"}, 415, "not-supported"),
        ("POST", "ValueSet/$expand", {"data": b" " * 1_100_000, "content_type": "application/json"}, 413, "too-long"),
        ("POST", "ValueSet/$expand", {"data": "{", "content_type": "application/json"}, 400, "structure"),
        ("POST", "Condition/$validate", {"data": "{", "content_type": "application/json"}, 400, "structure"),
        ("GET", "ValueSet?_count=x", {}, 400, "value"),
        ("GET", "ValueSet/icd-10-cm/$expand", {}, 422, "too-costly"),
    ],
)
def test_every_error_is_an_outcome_with_a_code_of_r4(
    client: FlaskClient, method: str, address: str, sent: Json, status: int, code: str
) -> None:
    answer = client.open(f"/fhir/{address}", method=method, **sent)
    outcome = answer.get_json()
    assert (answer.status_code, outcome["issue"][0]["code"]) == (status, code)
    assert answer.mimetype == "application/fhir+json"
    assert validate_resource(outcome, allowed=frozenset({"OperationOutcome"})) == []
    assert all(issue["code"] in ISSUE_TYPES and issue["diagnostics"] for issue in outcome["issue"])
    assert answer.headers["X-Request-ID"]


def test_a_crash_is_an_outcome_too(assist: Assist, monkeypatch: pytest.MonkeyPatch) -> None:
    client = create_app(assist=assist).test_client()
    monkeypatch.setattr("service.conformance.Published.read", lambda *_: 1 / 0)
    answer = client.get("/fhir/CodeSystem/region")
    assert (answer.status_code, answer.get_json()["issue"][0]["code"]) == (500, "exception")


# --- metadata -----------------------------------------------------------------------------------------------------


def capabilities(client: FlaskClient) -> dict[str, Json]:
    statement = client.get("/fhir/metadata").get_json()
    assert validate_resource(statement, allowed=frozenset({"CapabilityStatement"})) == []
    return {one["type"]: one for one in statement["rest"][0]["resource"]}


FORM = "<string(length=32):form_id>"  # an open form is a Questionnaire too


@pytest.mark.proves("R4 http: capabilities as the service really is")
def test_each_route_is_told_and_each_thing_told_has_a_route(client: FlaskClient) -> None:
    routes: set[tuple[str, str]] = set()
    for rule in client.application.url_map.iter_rules():
        if found := re.fullmatch(r"/fhir/(\w+)(?:/(.+))?", str(rule)):
            plain = {None: "search-type", "_search": "search-type", "<identifier>": "read", FORM: "read"}
            what = plain.get(found[2], str(found[2]).rpartition("$")[2])
            routes.add((found[1], what))
    told = {
        (kind, code)
        for kind, one in capabilities(client).items()
        for code in [i["code"] for i in one.get("interaction", ())] + [o["name"] for o in one.get("operation", ())]
    }
    assert told == routes - {("metadata", "search-type")}


def test_each_interaction_that_is_told_is_answered(client: FlaskClient) -> None:
    for kind, one in capabilities(client).items():
        for interaction in one.get("interaction", ()):
            address = {"read": f"/fhir/{kind}/none", "search-type": f"/fhir/{kind}"}[interaction["code"]]
            answer = client.get(address)
            assert answer.status_code == (404 if interaction["code"] == "read" else 200)
        for parameter in one.get("searchParam", ()):
            assert (
                client.get(f"/fhir/{kind}?{parameter['name']}=x", headers={"Prefer": "handling=strict"}).status_code
                == 200
            )
        for operation in one.get("operation", ()):
            assert client.post(f"/fhir/{kind}/${operation['name']}", data=b"{").status_code == 400


def test_the_operations_of_ours_are_defined_where_the_statement_says(client: FlaskClient, published: Published) -> None:
    for one in capabilities(client).values():
        for operation in one.get("operation", ()):
            definition = operation["definition"]
            if definition.startswith(CANONICAL):
                found = published.by_url("OperationDefinition", definition)
                assert found is not None, definition
                assert found["code"] == operation["name"]
    told = capabilities(client)
    profiles = {kind: one["supportedProfile"] for kind, one in told.items() if "supportedProfile" in one}
    assert profiles["Condition"] == [f"{CANONICAL}/StructureDefinition/documented-stenosis-condition"]
    for kind, urls in profiles.items():
        found = [published.by_url("StructureDefinition", url) or {} for url in urls]
        assert [one.get("type") for one in found] == [kind] * len(urls)


def test_what_a_type_is_searched_by_is_told_and_who_defines_its_operations(client: FlaskClient) -> None:
    told = capabilities(client)
    assert {one["name"] for one in told["ValueSet"]["searchParam"]} == {*"_id name status title url version".split()}
    assert "searchParam" not in told["Condition"]
    definitions = {one["name"]: one["definition"] for one in told["Condition"]["operation"]}
    assert definitions["validate"] == "http://hl7.org/fhir/OperationDefinition/Resource-validate"
    assert definitions["coding-assist"].startswith(CANONICAL)


def test_the_terminology_capabilities_name_every_version_that_is_answered(client: FlaskClient) -> None:
    told = client.get("/fhir/metadata?mode=terminology").get_json()
    assert validate_resource(told, allowed=frozenset({"TerminologyCapabilities"})) == []
    for system in told["codeSystem"]:
        for version in system["version"]:
            query = {"system": system["uri"], "version": version["code"], "code": "-"}
            answer = client.get("/fhir/CodeSystem/$lookup", query_string=query)
            assert "version" not in answer.get_json()["issue"][0]["diagnostics"]
    assert {one["uri"] for one in told["codeSystem"]} >= {ICD10CM, REGION_SYSTEM, SPACE_SYSTEM, TISSUE_SYSTEM}
    assert {one["code"] for one in told["codeSystem"][0]["version"]} == {str(year) for year in range(2016, 2028)}
    for name in (one["name"] for one in told["expansion"]["parameter"]):
        strict = {"Prefer": "handling=strict"}
        assert (
            client.get(f"/fhir/ValueSet/$expand?{name}=x", headers=strict).get_json()["issue"][0]["code"]
            != "not-supported"
            or name == "valueSet"
        )


def test_an_unknown_mode_is_refused(client: FlaskClient) -> None:
    assert client.get("/fhir/metadata?mode=none").status_code == 400
