"""The form inside an EHR: launched for its own user and patient, read and written with that user's rights."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flask.testing import FlaskClient

from service.app import create_app
from service.assist import Assist
from service.fetching import Fetcher
from service.settings import SettingError
from service.smart import Endpoints, Smart, SmartApp, granted
from tests.desk import ISS, SERVICE, bearer, condition, hook_call, report, settings_of
from tests.fake_ehr import STRANGER, FakeEhr
from tests.lforms_export import exported

Json = dict[str, Any]
BASE = "http://127.0.0.1:8080"


@dataclass
class Desk:
    """An EHR with our service beside it, and a browser at the desk of its user."""

    ehr: FakeEhr
    browser: FlaskClient

    def card(self, user: str = "Practitioner/d1") -> Json:
        answer = self.browser.post(SERVICE, json=hook_call(self.ehr, user), headers=bearer(BASE + SERVICE))
        assert answer.status_code == 200, answer.get_json()
        [card] = [card for card in answer.get_json()["cards"] if "links" in card]
        return dict(card)

    def authorized(self) -> str:
        """From the card through the EHR's authorization: the callback that the browser is sent to."""
        self.ehr.app_context = self.ehr.app_context or self.card()["links"][0]["appContext"]
        return self.allowed(self.launched())

    def authorized_with(self, told: Json) -> str:
        """The same, the EHR saying what a test tells it to."""
        self.ehr.app_context = self.card()["links"][0]["appContext"]
        for name, value in told.items():
            setattr(self.ehr, name, value)
        return self.allowed(self.launched())

    def launched(self) -> Any:
        return self.browser.get(self.ehr.launch_url("/smart/launch"))

    def allowed(self, away: Any) -> str:
        assert away.status_code == 303, away.text
        back = requests.get(away.headers["Location"], allow_redirects=False, timeout=5)
        return back.headers["Location"].removeprefix(BASE)

    def open(self) -> str:
        """The address of the form, opened in the browser."""
        there = self.browser.get(self.authorized())
        assert there.status_code == 303, there.text
        return str(there.headers["Location"]).removeprefix(BASE)

    def form(self, address: str) -> Json:
        path = f"/fhir/Questionnaire/{address.rpartition('/')[2]}"
        return dict(self.browser.get(path, headers=bearer(BASE + path)).get_json())

    def answer(self, address: str, **answers: str) -> Any:
        return self.browser.post(address, json=exported(self.form(address), **answers))


@pytest.fixture
def desk(assist: Assist, ehr: FakeEhr, tmp_path: Path) -> Callable[..., Desk]:
    def made(dialect: str = "hl7", **smart: Any) -> Desk:
        return Desk(ehr, create_app(settings_of(ehr, tmp_path, dialect, **smart), assist).test_client())

    return made


# --- from the card to the record ----------------------------------------------------------------------------------


@pytest.mark.proves("cds-hooks: link type smart carries appContext")
def test_the_card_of_a_launching_ehr_leads_to_the_app_and_names_the_form(desk: Callable[..., Desk]) -> None:
    [link] = desk().card()["links"]
    assert (link["type"], link["url"]) == ("smart", f"{BASE}/smart/launch")
    assert re.fullmatch(r"[0-9a-f]{32}", link["appContext"])


@pytest.mark.proves("smart-app-launch: EHR launch with PKCE S256")
def test_a_launch_opens_the_form(desk: Callable[..., Desk]) -> None:
    here = desk()
    shown = here.browser.get(here.open())
    assert shown.status_code == 200 and "Questions on the documentation" in shown.text


def test_an_answer_is_written_back_with_the_users_token(desk: Callable[..., Desk], ehr: FakeEhr) -> None:
    here = desk()
    told = here.answer(here.open(), tissue="#connective")
    assert "The problem is updated in the record." in told.text and "The answers are kept in the record." in told.text
    [kept] = [one for one in ehr.resources.values() if one["resourceType"] == "QuestionnaireResponse"]
    held = ehr.resources["Condition/c1"]
    assert held["code"]["coding"][0]["code"] == "M99.41"
    assert held["evidence"] == [{"detail": [{"reference": f"QuestionnaireResponse/{kept['id']}"}]}]
    assert [one.headers["if-match"] for one in ehr.calls("PUT")] == ['W/"1"']


def test_what_the_form_rests_on_is_read_with_the_users_token_and_nothing_else_is(
    desk: Callable[..., Desk], ehr: FakeEhr
) -> None:
    desk().open()
    assert [one.path for one in ehr.calls("GET") if "well-known" not in one.path] == ["/fhir/Condition/c1"]


def test_a_record_that_changed_since_is_said_and_counts(desk: Callable[..., Desk], ehr: FakeEhr) -> None:
    here = desk()
    ehr.app_context = here.card()["links"][0]["appContext"]
    ehr.put({**condition("Biomechanical lesion. Canal stenosis at L4-L5 with disc bulge and flavum hypertrophy")})
    address = here.open()
    assert "The record was changed since these questions were asked." in here.browser.get(address).text
    told = here.answer(address, tissue="#connective")
    assert "M99.43" in told.text
    assert [one.headers["if-match"] for one in ehr.calls("PUT")] == ['W/"2"']


def test_a_report_that_changed_since_is_said(desk: Callable[..., Desk], ehr: FakeEhr) -> None:
    ehr.put(condition("Neck pain with weakness of the hand"))
    ehr.put(report())
    here = desk()
    ehr.app_context = here.card()["links"][0]["appContext"]
    ehr.put(report("C5-C6: corrected, no narrowing."))
    assert "The record was changed since these questions were asked." in here.browser.get(here.open()).text


def test_a_report_that_cannot_be_read_again_is_said(desk: Callable[..., Desk], ehr: FakeEhr) -> None:
    ehr.put(condition("Neck pain with weakness of the hand"))
    ehr.put(report())
    ehr.scope = "launch openid fhirUser user/Condition.ru"
    here = desk()
    assert "Not everything that is quoted here could be read again" in here.browser.get(here.open()).text


def test_a_problem_that_is_in_no_record_yet_is_not_created_twice(desk: Callable[..., Desk], ehr: FakeEhr) -> None:
    ehr.resources["Condition/c1"].pop("id")
    here = desk()
    told = here.answer(here.open(), tissue="#connective")
    assert "not in the record under an id yet" in told.text and ehr.calls("POST", "/fhir/Condition") == []


def test_a_record_with_a_newer_version_of_the_same_words_is_not_called_changed(
    desk: Callable[..., Desk], ehr: FakeEhr
) -> None:
    here = desk()
    ehr.app_context = here.card()["links"][0]["appContext"]
    ehr.put(condition())
    assert "was changed" not in here.browser.get(here.open()).text


def test_a_problem_that_was_changed_while_the_form_was_open_is_not_overwritten(
    desk: Callable[..., Desk], ehr: FakeEhr
) -> None:
    here = desk()
    address = here.open()
    ehr.put(condition("Changed by another user"))
    told = here.answer(address, tissue="#connective")
    assert "was changed in the record while the form was open, and nothing was overwritten" in told.text
    assert "M99.41" in told.text and "<details open>" in told.text
    assert ehr.resources["Condition/c1"]["code"] == {"text": "Changed by another user"}


def test_a_problem_without_a_version_is_not_overwritten(desk: Callable[..., Desk], ehr: FakeEhr) -> None:
    here = desk()
    ehr.resources["Condition/c1"].pop("meta")
    assert "gives no version of the problem" in here.answer(here.open(), tissue="#connective").text
    assert ehr.calls("PUT") == []


@pytest.mark.parametrize(
    ("scope", "sentence"),
    [
        ("user/Condition.r user/QuestionnaireResponse.c", "write the problem (scope user/Condition.u)"),
        ("user/Condition.ru", "write the answers (scope user/QuestionnaireResponse.c)"),
        ("user/*.read", "write the answers (scope user/QuestionnaireResponse.c)"),
    ],
)
def test_what_the_scopes_do_not_allow_is_shown_to_be_copied(
    desk: Callable[..., Desk], ehr: FakeEhr, scope: str, sentence: str
) -> None:
    ehr.scope = f"launch openid fhirUser {scope}"
    here = desk()
    told = here.answer(here.open(), tissue="#connective")
    assert sentence in told.text and "&#34;PUT&#34;" in told.text


def test_a_problem_names_no_answers_that_the_ehr_does_not_keep(desk: Callable[..., Desk], ehr: FakeEhr) -> None:
    ehr.scope = "launch openid fhirUser user/Condition.ru"
    here = desk()
    here.answer(here.open(), tissue="#connective")
    assert ehr.resources["Condition/c1"]["code"]["coding"] and "evidence" not in ehr.resources["Condition/c1"]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (403, "did not take the problem (status 403)"),
        (503, "did not confirm the problem"),
        (409, "was not overwritten"),
    ],
)
def test_what_the_ehr_refuses_is_said(desk: Callable[..., Desk], ehr: FakeEhr, status: int, sentence: str) -> None:
    ehr.statuses["PUT", "Condition"] = status
    here = desk()
    told = here.answer(here.open(), tissue="#connective").text
    assert sentence.replace("was not overwritten", "nothing was overwritten") in told


def test_the_answers_get_their_id_from_the_ehr(desk: Callable[..., Desk], ehr: FakeEhr) -> None:
    here = desk()
    address = here.open()
    here.browser.post(address, json=exported(here.form(address), tissue="#connective") | {"id": "mine"})
    [sent] = [json.loads(one.body) for one in ehr.calls("POST", "/fhir/QuestionnaireResponse")]
    assert "id" not in sent
    assert ehr.resources["Condition/c1"]["evidence"] == [{"detail": [{"reference": "QuestionnaireResponse/new-1"}]}]


def test_epic_gets_one_create_with_the_code_alone(desk: Callable[..., Desk], ehr: FakeEhr) -> None:
    here = desk("epic")
    here.answer(here.open(), tissue="#connective")
    [sent] = [json.loads(one.body) for one in ehr.calls("POST", "/fhir/Condition")]
    assert sent["code"]["coding"] == [
        {
            "system": "urn:oid:2.16.840.1.113883.6.90",
            "code": "M99.41",
            "display": "Connective tissue stenosis of neural canal of cervical region",
        }
    ]
    assert ehr.calls("PUT") == []


def test_a_second_answer_writes_nothing(desk: Callable[..., Desk], ehr: FakeEhr) -> None:
    here = desk()
    address = here.open()
    sent = exported(here.form(address), tissue="#connective")
    assert [here.browser.post(address, json=sent).status_code for _ in range(2)] == [200, 410]
    assert len(ehr.calls("PUT")) == 1


def test_declining_writes_nothing(desk: Callable[..., Desk], ehr: FakeEhr) -> None:
    here = desk()
    assert here.browser.post(f"{here.open()}/decline", json={"reason": "declined"}).status_code == 200
    assert [one.path for one in ehr.asked if one.method in ("POST", "PUT")] == ["/token"]


def test_the_form_that_follows_is_opened_by_the_same_launch_and_knows_the_new_version(
    desk: Callable[..., Desk], ehr: FakeEhr
) -> None:
    ehr.put(condition("Neck pain with weakness of the hand"))
    ehr.put(report())
    here = desk()
    address = here.open()
    ehr.put(condition("Neck pain with weakness of the hand"))
    told = here.answer(address, narrowing="Symptomatic stenosis of the cervical canal, a biomechanical lesion")
    following = re.search(r'data-form="\.\.(/forms/[^"]+)"', told.text)
    assert following
    last = here.answer(following[1], tissue="#connective")
    assert "The problem is updated in the record." in last.text
    assert ehr.resources["Condition/c1"]["code"]["coding"][0]["code"] == "M99.41"


# --- who is let in ------------------------------------------------------------------------------------------------


def is_refused(page: Any, status: int, sentence: str) -> bool:
    """A plain page with that sentence, and nothing of the record."""
    assert "C5-C6" not in page.text and "M99" not in page.text
    assert (page.status_code, page.mimetype) == (status, "text/html"), page.text
    return sentence in page.text


def test_the_description_of_the_api_tells_of_launches_and_of_forms_without_one(desk: Callable[..., Desk]) -> None:
    told = desk().browser.get("/openapi.json", headers=bearer(f"{BASE}/openapi.json")).get_json()["paths"]
    assert {"/smart/launch", "/smart/callback", "/smart/keys"} <= set(told)
    assert "403" in told["/forms/{form_id}"]["get"]["responses"]


def test_the_address_of_the_form_alone_opens_nothing(desk: Callable[..., Desk], ehr: FakeEhr) -> None:
    here = desk()
    address = f"/forms/{here.card()['links'][0]['appContext']}"
    assert is_refused(here.browser.get(address), 403, "Open this form by the link of its card")
    sent = exported(here.form(address), tissue="#connective")
    assert here.browser.post(address, json=sent).status_code == 403
    assert here.browser.post(f"{address}/decline", json={"reason": "declined"}).status_code == 403
    assert here.form(address)["id"]  # still open


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"patient": "p2"}, "another patient"),
        ({"patient": ""}, "did not say whose record is open"),
        ({"user": "Practitioner/d2"}, "another user"),
        ({"id_token": {"fhirUser": None}}, "did not say who its user is"),
        ({"id_token": {"fhirUser": "https://elsewhere.example/fhir/Practitioner/d1"}}, "did not say who its user is"),
        ({"id_token": {"aud": "another-app"}}, "cannot be verified"),
        ({"id_token": {"iss": "https://elsewhere.example"}}, "cannot be verified"),
        ({"id_token": {"exp": 1}}, "cannot be verified"),
        ({"id_token": {"exp": None}}, "cannot be verified"),
        ({"granted": {"id_token": None}}, "did not say who its user is"),
        ({"granted": {"id_token": "a.b.c"}}, "cannot be verified"),
        ({"granted": {"token_type": "mac"}}, "did not take its own code"),
        ({"granted": {"access_token": "two words"}}, "did not take its own code"),
        ({"granted": {"access_token": None}}, "did not take its own code"),
        ({"granted": {"error": "invalid_grant"}}, "did not take its own code"),
        ({"granted": {"patient": ["p1"]}}, "did not say whose record is open"),
        ({"scope": "launch openid fhirUser user/QuestionnaireResponse.c"}, "does not let this form read the problem"),
        ({"statuses": {("GET", "Condition"): 403}}, "The problem cannot be read in the record now"),
    ],
)
def test_a_launch_that_is_not_the_forms_own_opens_nothing(
    desk: Callable[..., Desk], ehr: FakeEhr, told: Json, sentence: str
) -> None:
    here = desk()
    back = here.authorized_with(told)
    status = 502 if "cannot be read" in sentence else 403
    assert is_refused(here.browser.get(back), status, sentence)
    assert here.form(f"/forms/{ehr.app_context}")["id"]  # still open


def test_an_id_token_signed_by_another_opens_nothing(desk: Callable[..., Desk], ehr: FakeEhr) -> None:
    ehr.signs_with = STRANGER
    here = desk()
    assert is_refused(here.browser.get(here.authorized()), 403, "cannot be verified")


def test_a_record_of_another_patient_under_the_id_of_the_problem_is_not_shown(
    desk: Callable[..., Desk], ehr: FakeEhr
) -> None:
    here = desk()
    back = here.authorized()
    ehr.put({**condition(), "subject": {"reference": "Patient/p2"}})
    assert is_refused(here.browser.get(back), 502, "cannot be read in the record")


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        ("access_denied", 403, "refused to open the record"),
        ("invalid_scope", 403, "does not grant this form what it needs"),
        ("server_error", 502, "did not answer as it should"),
        ("<b>other</b>", 403, "did not authorize this form"),
    ],
)
def test_a_refused_authorization_is_said(
    desk: Callable[..., Desk], ehr: FakeEhr, error: str, status: int, sentence: str
) -> None:
    ehr.refuses = error
    here = desk()
    shown = here.browser.get(here.authorized())
    assert is_refused(shown, status, sentence) and error not in shown.text


@pytest.mark.parametrize("iss", ["https://elsewhere.example/fhir", "http://ehr.example/fhir", "", "{base}/more", "x"])
def test_an_ehr_that_is_not_registered_is_asked_nothing(desk: Callable[..., Desk], ehr: FakeEhr, iss: str) -> None:
    here = desk()
    shown = here.browser.get("/smart/launch", query_string={"iss": iss.format(base=ehr.base), "launch": "launch-1"})
    assert is_refused(shown, 403, "This EHR is not registered")
    assert ehr.asked == []


def test_a_launch_without_its_parameter_is_said(desk: Callable[..., Desk], ehr: FakeEhr) -> None:
    assert is_refused(desk().browser.get("/smart/launch", query_string={"iss": ehr.base}), 400, "without a launch")


@pytest.mark.parametrize(
    ("configuration", "sentence"),
    [
        ({"code_challenge_methods_supported": ["plain"]}, "does not offer PKCE with S256"),
        ({"authorization_endpoint": "https://elsewhere.example/authorize"}, "not listed for it"),
        ({"token_endpoint": "https://elsewhere.example/token"}, "not listed for it"),
        ({"jwks_uri": "https://elsewhere.example/keys"}, "not listed for it"),
        ({"issuer": None}, "not listed for it"),
        ({"code_challenge_methods_supported": 5}, "does not offer PKCE with S256"),
        ({"token_endpoint": ["https://ehr.example.org/token"]}, "not listed for it"),
    ],
)
def test_an_ehr_whose_authorization_will_not_do_is_not_used(
    desk: Callable[..., Desk], ehr: FakeEhr, configuration: Json, sentence: str
) -> None:
    ehr.configuration = configuration
    assert is_refused(desk().launched(), 502, sentence)


def test_an_ehr_that_is_down_is_said_to_user_and_operator(
    desk: Callable[..., Desk], ehr: FakeEhr, caplog: pytest.LogCaptureFixture
) -> None:
    ehr.close()
    assert is_refused(desk().launched(), 502, "did not answer as it should")
    told = caplog.text
    assert "no form opened: The EHR did not answer as it should" in told and "launch-1" not in told


@pytest.mark.parametrize("path", ["/token", "/keys", "/fhir/Condition/c1"])
def test_a_redirect_of_the_ehr_is_not_followed(desk: Callable[..., Desk], ehr: FakeEhr, path: str) -> None:
    ehr.redirects = (path,)
    here = desk()
    assert here.browser.get(here.authorized()).status_code in (403, 502)
    assert not [one for one in ehr.asked if "elsewhere" in one.path]


def test_an_ehr_that_is_slow_is_waited_for_so_long_and_no_longer(
    desk: Callable[..., Desk], ehr: FakeEhr, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.smart.SECONDS", 0.3)
    ehr.delays["/token"] = 1.5
    here = desk()
    assert is_refused(here.browser.get(here.authorized()), 502, "did not answer as it should")


def test_a_write_that_the_ehr_does_not_confirm_in_time_is_said(
    desk: Callable[..., Desk], ehr: FakeEhr, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = desk()
    address = here.open()
    form = exported(here.form(address), tissue="#connective")
    monkeypatch.setattr("service.launches.SECONDS", 0.3)
    ehr.delays["/fhir/QuestionnaireResponse"] = 1.5
    told = here.browser.post(address, json=form).text
    assert "did not confirm the answers; look there before you copy" in told


def test_an_authorization_server_elsewhere_is_used_where_it_is_listed(desk: Callable[..., Desk], ehr: FakeEhr) -> None:
    other = ehr.origin.replace("127.0.0.1", "localhost")
    ehr.configuration = {"token_endpoint": f"{other}/token"}
    here = desk(authorization_server=other)
    assert here.browser.get(here.authorized()).status_code == 303


# --- once, and by the browser that began --------------------------------------------------------------------------


def test_a_callback_is_good_for_once(desk: Callable[..., Desk], ehr: FakeEhr) -> None:
    here = desk()
    back = here.authorized()
    [kept] = [one for one in here.browser._cookies.values() if one.path == "/smart/callback"]
    assert here.browser.get(back).status_code == 303
    here.browser.set_cookie(kept.key, kept.value, path=kept.path)
    assert is_refused(here.browser.get(back), 400, "This launch is over")
    assert len(ehr.calls("POST", "/token")) == 1


def test_a_launch_goes_on_with_another_worker(desk: Callable[..., Desk]) -> None:
    here, there = desk(), desk()
    back = here.authorized()
    here.browser.application = there.browser.application
    address = str(here.browser.get(back).headers["Location"]).removeprefix(BASE)
    assert here.browser.get(address).status_code == 200


def test_a_callback_in_another_browser_opens_nothing(desk: Callable[..., Desk], ehr: FakeEhr) -> None:
    here = desk()
    back = here.authorized()
    assert is_refused(here.browser.application.test_client().get(back), 400, "begun in another browser")
    assert ehr.calls("POST", "/token") == []


def test_a_launch_that_took_too_long_opens_nothing(desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    here = desk()
    back = here.authorized()
    later = time.time() + 601
    monkeypatch.setattr("cryptography.fernet.time.time", lambda: later)
    assert is_refused(here.browser.get(back), 400, "This launch is over")


def test_the_form_closes_with_the_token(desk: Callable[..., Desk]) -> None:
    here = desk()
    address, clock = here.open(), here.browser.application.extensions["clock"]
    here.browser.application.extensions["clock"] = lambda: clock() + timedelta(seconds=601)
    assert is_refused(here.browser.get(address), 403, "has said it too long ago")


@pytest.mark.parametrize("told", [10**19, -(10**19), 0, "600", None, True, 1e300, []])
def test_whatever_the_ehr_says_of_the_life_of_its_token_is_no_failure_of_ours(
    desk: Callable[..., Desk], ehr: FakeEhr, told: object
) -> None:
    ehr.granted = {"expires_in": told}
    here = desk()
    assert here.browser.get(here.authorized()).status_code in (303, 403)


def test_a_launch_of_another_users_form_opens_only_its_own(desk: Callable[..., Desk], ehr: FakeEhr) -> None:
    here = desk()
    mine = here.open()
    theirs = f"/forms/{here.card('Practitioner/d2')['links'][0]['appContext']}"
    [cookie] = [one for one in here.browser._cookies.values() if one.path == mine]
    here.browser.set_cookie(cookie.key, cookie.value, path=theirs)
    assert is_refused(here.browser.get(theirs), 403, "Open this form by the link of its card")


def test_a_form_that_was_answered_is_not_launched_again(desk: Callable[..., Desk]) -> None:
    here = desk()
    here.answer(here.open(), tissue="#connective")
    back = here.allowed(here.launched())
    assert is_refused(here.browser.get(back), 410, "This form has been answered.")


def test_a_launch_that_names_no_form_of_this_ehr_is_said(desk: Callable[..., Desk], ehr: FakeEhr) -> None:
    here = desk()
    ehr.app_context = "f" * 32
    assert is_refused(here.browser.get(here.authorized()), 404, "There is no such form")


def test_a_form_of_another_ehr_is_not_launched(desk: Callable[..., Desk], ehr: FakeEhr) -> None:
    here = desk()
    services, mine = here.browser.application.extensions, here.card()["links"][0]["appContext"]
    mine = services["forms"](ISS, services["clock"]()).get(mine)
    theirs = replace(mine, id="e" * 32, client="https://other.example")
    services["forms"](theirs.client, services["clock"]()).open([(theirs, "key")], lambda: b"{}")
    ehr.app_context = theirs.id
    assert is_refused(here.browser.get(here.authorized()), 404, "There is no such form")


# --- how we show who we are ---------------------------------------------------------------------------------------


def test_a_client_with_a_secret_shows_it(desk: Callable[..., Desk], ehr: FakeEhr, tmp_path: Path) -> None:
    ehr.secret = "a secret / of 100 %"
    (tmp_path / "secret").write_text(f"{ehr.secret}\n")
    assert desk(client_secret_file="secret").open()


@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.proves("smart-app-launch: private_key_jwt")
def test_a_client_with_a_key_signs_and_publishes_the_public_half(
    desk: Callable[..., Desk], ehr: FakeEhr, tmp_path: Path, kind: str
) -> None:
    key = ec.generate_private_key(ec.SECP384R1()) if kind == "ec" else STRANGER
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    here = desk(private_key_file="key.pem")
    [published] = here.browser.get("/smart/keys").get_json()["keys"]
    assert not {"d", "p", "q"} & set(published)
    ehr.public_key = jwt.PyJWK(published).key
    assert here.open()


@pytest.mark.parametrize(
    ("smart", "sentence"),
    [
        ({"client_id": ""}, "client_id"),
        ({"redirect": "x"}, "not known"),
        ({"client_secret_file": "none"}, "names no file"),
        ({"private_key_file": "clients.json"}, "no private key in PEM"),
        ({"client_secret_file": "clients.json", "private_key_file": "clients.json"}, "give the one"),
        ({"authorization_server": "http://ehr.example"}, "https address"),
        ({"embedded_in": ["*"]}, "list of origins"),
    ],
)
def test_a_wrong_registration_is_refused_with_a_sentence(desk: Callable[..., Desk], smart: Json, sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        desk(**smart)


# --- what stays where ---------------------------------------------------------------------------------------------


def test_the_token_is_in_no_page_address_log_or_readable_row(
    desk: Callable[..., Desk], ehr: FakeEhr, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    here = desk()
    address = here.open()
    shown = [here.browser.get(address).text, here.answer(address, tissue="#connective").text, address]
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    [token] = ehr.tokens
    audit = list(here.browser.application.extensions["store"].export_audit())
    assert not any(token in text for text in [*shown, caplog.text, *audit])
    assert token.encode() not in kept
    assert not any(token in one.value for one in here.browser._cookies.values())
    assert not any(token in one.path for one in ehr.asked)


def test_a_launch_is_in_the_audit_without_its_code(desk: Callable[..., Desk]) -> None:
    here = desk()
    here.open()
    here.browser.application.extensions["journal"].close()
    records = [json.loads(one) for one in here.browser.application.extensions["store"].export_audit()]
    lines = [base64.b64decode(one["entity"][1]["query"]).decode() for one in records]
    assert lines[-1] == "GET /smart/callback"
    assert records[-1]["entity"][2]["what"]["reference"] == "Patient/p1"


def test_cookies_are_out_of_reach_of_scripts_and_of_other_pages(desk: Callable[..., Desk]) -> None:
    here = desk()
    away = here.launched()
    there = here.browser.get(here.authorized())
    for answer, path in ((away, "/smart/callback"), (there, "/forms/")):
        cookie = answer.headers.getlist("Set-Cookie")[0]
        assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and f"Path={path}" in cookie


def test_in_a_frame_of_the_ehr_cookies_are_partitioned_and_only_the_ehr_may_frame(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = desk(embedded_in=["https://ehr.example.org"])
    address = here.open()
    shown = here.browser.get(address)
    assert "frame-ancestors https://ehr.example.org" in shown.headers["Content-Security-Policy"]
    here.browser.application.config["BASE_URL"] = "https://coding.example.org"
    cookie = here.launched().headers["Set-Cookie"]
    assert "SameSite=None" in cookie and "Secure" in cookie and "Partitioned" in cookie


def test_the_audience_is_the_fhir_server_as_the_ehr_writes_it() -> None:
    endpoints = Endpoints("i", "https://ehr.example.org/authorize", "t", "k", ("launch",))
    url, _ = Smart(Fetcher(1)).begin("c", SmartApp("a"), "https://ehr.example.org/fhir", endpoints, "l", BASE)
    assert parse_qs(urlsplit(url).query)["aud"] == ["https://ehr.example.org/fhir"]


def test_older_scopes_are_asked_of_an_ehr_that_knows_no_others(desk: Callable[..., Desk], ehr: FakeEhr) -> None:
    ehr.configuration = {"capabilities": ["permission-v1"]}
    asked = parse_qs(urlsplit(desk().launched().headers["Location"]).query)["scope"][0]
    assert "user/Condition.write" in asked and ".cru" not in asked


@pytest.mark.parametrize(
    ("scopes", "may"),
    [
        ("user/Condition.rs", "Condition-r Condition-s"),
        ("user/Condition.write launch", "Condition-c Condition-u Condition-d"),
        ("patient/*.r", "*-r"),
        ("user/Condition.u?category=problem", "Condition-u"),
        ("system/Condition.r user/Condition.sr user/.r openid", ""),
    ],
)
def test_scopes_are_read_as_smart_writes_them(scopes: str, may: str) -> None:
    assert {f"{kind}-{letter}" for kind, letter in granted(scopes)} == set(may.split())
