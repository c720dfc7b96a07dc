"""The form in a real browser: Chromium, by keyboard, nothing loaded from elsewhere.

Needs Chromium and its driver, which `make test` installs where it may; without them the tests are skipped, never in CI.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from flask import Flask
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from werkzeug.serving import make_server

from service.app import create_app
from service.assist import Assist
from service.settings import Settings
from tests.desk import bearer, condition, hook_call, settings_of
from tests.fake_ehr import FakeEhr

Json = dict[str, Any]
BROWSER, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER) and not os.environ.get("CI"),
    reason="Chromium or its driver is missing (Debian, Ubuntu: apt install chromium chromium-driver).",
)
TWO_TISSUES = "Biomechanical lesion. Canal stenosis at C5-C6 with disc bulge and flavum hypertrophy"
AXE = Path(__file__).parent / "data" / "axe-core" / "axe.min.js"
PATIENCE = 20  # seconds until a page must have come up on a slow machine


@dataclass
class Clock:
    """The time, and how far ahead of it a test wants to be."""

    ahead: timedelta = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """The service on a port of this machine."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    app.config["BASE_URL"] = f"http://127.0.0.1:{server.port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield app.config["BASE_URL"]
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def standing_clock() -> Clock:
    return Clock()


@pytest.fixture
def clock(standing_clock: Clock) -> Iterator[Clock]:
    yield standing_clock
    standing_clock.ahead = timedelta()


@pytest.fixture(scope="module")
def host(assist: Assist, standing_clock: Clock) -> Iterator[str]:
    app = create_app(Settings(), assist)
    app.extensions["clock"] = standing_clock
    with served(app) as address:
        yield address


@dataclass
class Browser:
    driver: Chrome
    host: str

    def open_form(self, text: str = TWO_TISSUES) -> str:
        """From the card to the form; its address."""
        held = {"resourceType": "Condition", "id": "c1", "subject": {"reference": "Patient/p1"}}
        entry = {"resource": {**held, "recordedDate": "2026-10-20", "code": {"text": text}}}
        sent = {
            "hook": "patient-view",
            "hookInstance": str(uuid4()),
            "context": {"userId": "Practitioner/d1", "patientId": "p1", "encounterId": str(uuid4())},
            "prefetch": {"conditions": {"resourceType": "Bundle", "type": "searchset", "entry": [entry]}},
        }
        cards = requests.post(f"{self.host}/cds-services/coding-assist", json=sent, timeout=PATIENCE).json()["cards"]
        address = str(next(card["links"][0]["url"] for card in cards if "links" in card))
        self.go(address)
        return address

    def go(self, address: str) -> None:
        self.driver.get(address)
        self.wait("[role=radiogroup][aria-labelledby], h1")

    def wait(self, selector: str) -> WebElement:
        return self.patiently().until(lambda d: d.find_element(By.CSS_SELECTOR, selector))

    def patiently(self) -> WebDriverWait[Chrome]:
        """What was found may be replaced before it is looked at."""
        return WebDriverWait(self.driver, PATIENCE, ignored_exceptions=[StaleElementReferenceException])

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def tab_to(self, name: str) -> WebElement:
        """Press Tab until the element of that accessible name has the focus."""
        for _ in range(40):
            self.press(Keys.TAB)
            focused = self.driver.switch_to.active_element
            if " ".join(focused.accessible_name.split()) == name:
                return focused
        raise AssertionError(f"Tab never reaches {name!r}.")

    def logged(self, kind: str) -> list[Json]:
        return list(self.driver.get_log(kind))

    def sent(self) -> list[Json]:
        """The requests since the last look."""
        events = [json.loads(entry["message"])["message"] for entry in self.logged("performance")]
        return [e["params"]["request"] for e in events if e["method"] == "Network.requestWillBeSent"]

    def requested(self) -> set[str]:
        return {asked["url"] for asked in self.sent()}


@pytest.fixture
def browser(host: str) -> Iterator[Browser]:
    options = ChromeOptions()
    options.binary_location = BROWSER or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))
    yield Browser(driver, host)
    driver.quit()


def answer_by_keyboard(browser: Browser) -> str:
    """What the page tells after it."""
    browser.wait("[role=radiogroup][aria-labelledby]")
    browser.tab_to("Ligament or other connective tissue")
    browser.press(Keys.SPACE)
    browser.tab_to("Send the answers")
    browser.press(Keys.ENTER)
    return browser.wait("[data-told]").text


def test_a_form_is_answered_by_keyboard_alone(browser: Browser) -> None:
    browser.open_form()
    told = answer_by_keyboard(browser)
    assert "M99.41" in told and "“Ligament or other connective tissue”" in told
    assert browser.driver.switch_to.active_element.text == "Thank you. What your answers changed"


def test_other_asks_for_words_and_they_count(browser: Browser) -> None:
    browser.open_form()
    browser.wait("[role=radiogroup][aria-labelledby]")
    browser.tab_to("Ligament or other connective tissue")
    browser.press(*[Keys.ARROW_DOWN] * 3)
    browser.tab_to("Other (please specify)")
    browser.press("the yellow ligament")
    browser.tab_to("Send the answers")
    browser.press(Keys.ENTER)
    assert "M99.41" in browser.wait("[data-told]").text


def test_an_imaging_is_asked_about_once_it_is_named(browser: Browser) -> None:
    browser.open_form()
    browser.wait("[role=radiogroup][aria-labelledby]")
    date = "On which date was the imaging performed, if there was any?"
    shown = [element.accessible_name for element in browser.all(".questions input:not([type=radio])")]
    assert date not in shown
    browser.tab_to("Magnetic resonance imaging")
    browser.press(Keys.SPACE)
    browser.tab_to(date)
    browser.press("10/01/2026")
    browser.tab_to("What did the imaging show, if there was any?")
    browser.press("narrow canal at C5-C6")
    browser.tab_to("Send the answers")
    browser.press(Keys.ENTER)
    told = browser.wait("[data-told]").text
    assert "Magnetic resonance imaging; 2026-10-01; narrow canal at C5-C6." in told


def test_declining_needs_no_mouse(browser: Browser) -> None:
    browser.open_form()
    browser.wait("[role=radiogroup][aria-labelledby]")
    browser.driver.execute_script("document.querySelector('summary').focus()")
    browser.press(Keys.ENTER)
    browser.tab_to("Decline")
    browser.press(Keys.ENTER)
    assert "Nothing in the record is changed" in browser.wait("[data-told]").text


def test_nothing_leaves_the_host_and_nothing_is_blocked(browser: Browser) -> None:
    for address in (browser.open_form(), f"{browser.host}/?example=two-tissues"):
        browser.go(address)
        browser.wait("[role=radiogroup][aria-labelledby]")
        asked = {url for url in browser.requested() if not url.startswith("data:")}
        assert asked and all(url.startswith(f"{browser.host}/") for url in asked)
        assert [entry["message"] for entry in browser.logged("browser") if entry["level"] == "SEVERE"] == []


def test_a_screen_reader_hears_the_question_with_its_answers_and_the_quote(browser: Browser) -> None:
    browser.open_form()
    group = browser.wait("[role=radiogroup][aria-labelledby][aria-describedby]")
    assert group.accessible_name.startswith("In your judgement, which structure or tissue accounts for")
    quote = browser.driver.find_element(By.ID, str(group.get_attribute("aria-describedby")).split()[0])
    assert "“Canal stenosis at C5-C6" in quote.text and "dated 2026-10-20" in quote.text
    unnamed = [e.tag_name for e in browser.all(".questions input, .questions textarea") if not e.accessible_name]
    assert unnamed == []


def test_nothing_is_chosen_beforehand(browser: Browser) -> None:
    browser.open_form()
    browser.wait("[role=radiogroup][aria-labelledby]")
    assert browser.all(".questions input:checked") == []


def sized(browser: Browser, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


@pytest.mark.parametrize("page", ["form", "answered", "gone", "try it"])
def test_a_page_fits_a_card_of_300_pixels(browser: Browser, page: str) -> None:
    sized(browser, 300, 900)
    PAGES[page](browser)
    if page in ("form", "try it"):
        browser.wait("[role=radiogroup][aria-labelledby]")
    wider = """document.querySelectorAll("details").forEach(one => { one.open = true; });
        const width = document.documentElement.clientWidth;
        return [...document.querySelectorAll("main, main *")]
            .filter(one => one.getBoundingClientRect().right > width + 1).map(one => one.outerHTML.slice(0, 80));"""
    assert browser.driver.execute_script(wider) == []


def test_the_usual_form_fits_on_one_screen(browser: Browser) -> None:
    sized(browser, 1180, 800)
    browser.open_form()
    browser.wait("[role=radiogroup][aria-labelledby]")
    below = "return document.querySelector('[data-form]').getBoundingClientRect().bottom"
    assert browser.driver.execute_script(below) <= 800


def test_what_cannot_be_copied_for_the_user_is_selected(browser: Browser) -> None:
    """A frame of an EHR may keep the clipboard out of reach."""
    browser.open_form()
    answer_by_keyboard(browser)
    refused = "navigator.clipboard.writeText = () => Promise.reject(); document.execCommand = () => false;"
    browser.driver.execute_script(f"{refused} document.querySelector('[data-copy]').click()")
    browser.patiently().until(lambda d: "Selected" in d.find_element(By.CSS_SELECTOR, "[data-copy]").text)
    assert browser.driver.execute_script("return String(getSelection())") == "Ligament or other connective tissue."


def test_two_tabs_give_one_answer(browser: Browser) -> None:
    address = browser.open_form()
    first = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("tab")
    browser.go(address)
    for tab in (browser.driver.current_window_handle, first):
        browser.driver.switch_to.window(tab)
        browser.wait("[role=radiogroup][aria-labelledby]")
        browser.driver.execute_script("document.querySelectorAll('.questions input[type=radio]')[0].click()")
        browser.driver.find_element(By.CSS_SELECTOR, "form[data-answer] button").send_keys(Keys.ENTER)
        browser.patiently().until(
            lambda d: d.find_elements(By.CSS_SELECTOR, "[data-told]") or d.find_element(By.CSS_SELECTOR, ".alert").text
        )
    assert browser.all("[data-told]") == []
    assert "has been answered" in browser.driver.find_element(By.CSS_SELECTOR, ".alert").text


def test_going_back_shows_nothing_of_an_answered_form(browser: Browser) -> None:
    browser.open_form()
    browser.wait("[role=radiogroup][aria-labelledby]")
    browser.driver.execute_script("document.querySelectorAll('.questions input[type=radio]')[0].click()")
    browser.driver.find_element(By.CSS_SELECTOR, "form[data-answer] button").send_keys(Keys.ENTER)
    browser.wait("[data-told]")
    browser.driver.get(f"{browser.host}/rules")
    browser.driver.back()
    assert browser.wait("h1").text == "This form has been answered."
    assert "C5-C6" not in browser.driver.page_source


def test_a_form_that_expired_shows_nothing(browser: Browser, clock: Clock) -> None:
    address = browser.open_form()
    clock.ahead = timedelta(hours=24)
    browser.go(address)
    assert browser.wait("h1").text == "This form has expired."
    assert "C5-C6" not in browser.driver.page_source


def test_an_answer_sent_twice_is_taken_once(browser: Browser) -> None:
    browser.open_form()
    browser.wait("[role=radiogroup][aria-labelledby]")
    browser.driver.execute_script("document.querySelectorAll('.questions input[type=radio]')[0].click()")
    button = "document.querySelector('form[data-answer] button')"
    browser.driver.execute_script(f"const button = {button}; button.click(); button.click();")
    assert "M99" in browser.wait("[data-told]").text
    posted = [e for e in browser.sent() if e["method"] == "POST"]
    assert len(posted) == 1


PAGES = {
    "form": lambda browser: browser.open_form(),
    "answered": lambda browser: browser.open_form() and answer_by_keyboard(browser),
    "gone": lambda browser: browser.go(f"{browser.host}/forms/{'0' * 32}"),
    "try it": lambda browser: browser.go(f"{browser.host}/?example=two-tissues"),
    "rules": lambda browser: browser.go(f"{browser.host}/rules"),
    "rule": lambda browser: browser.go(f"{browser.host}/rules/narrowing-is-stated"),
}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.proves("wcag-2.2: levels A and AA, as far as axe-core can tell")
def test_axe_finds_nothing_that_keeps_people_out(browser: Browser, page: str, theme: str) -> None:
    features = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
    PAGES[page](browser)
    if page in ("form", "try it"):
        browser.wait("[role=radiogroup][aria-labelledby]")
    browser.driver.execute_script(AXE.read_text("utf-8"))
    found = browser.driver.execute_async_script("axe.run(document).then(arguments[0])")
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]] == []


def test_dark_pages_are_dark_and_still_legible(browser: Browser) -> None:
    features = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
    browser.open_form()
    browser.wait("[role=radiogroup][aria-labelledby]")
    luminance = """const seen = (node, part) => getComputedStyle(node)[part].match(/[0-9.]+/g).slice(0, 3)
        .map(Number).reduce((sum, one) => sum + one, 0) / 3;
        return [seen(document.body, "backgroundColor"),
          ...[...document.querySelectorAll("h1, .questions .question, .questions label span")]
            .map(node => seen(node, "color"))];"""
    ground, *words = browser.driver.execute_script(luminance)
    assert ground < 60 and min(words) > 120


# --- inside an EHR ------------------------------------------------------------------------------------------------


@pytest.fixture
def inside(assist: Assist, ehr: FakeEhr, tmp_path: Path) -> Iterator[str]:
    """The service that the EHR opens as an app."""
    with served(create_app(settings_of(ehr, tmp_path), assist)) as address:
        yield address


def launched(browser: Browser, ehr: FakeEhr, host: str) -> str:
    """From the card through the EHR's authorization to the form; its address."""
    address = f"{host}/cds-services/coding-assist"
    answer = requests.post(address, json=hook_call(ehr), headers=bearer(address), timeout=PATIENCE).json()
    [link] = [link for card in answer["cards"] for link in card.get("links", ())]
    assert link["type"] == "smart"
    ehr.app_context = link["appContext"]
    browser.go(ehr.launch_url(link["url"]))
    return f"{host}/forms/{link['appContext']}"


def test_inside_an_ehr_an_answer_by_keyboard_is_in_the_record(browser: Browser, ehr: FakeEhr, inside: str) -> None:
    address = launched(browser, ehr, inside)
    assert browser.driver.current_url == address
    assert "The problem is updated in the record." in answer_by_keyboard(browser)
    held = ehr.resources["Condition/c1"]
    [kept] = [one for one in ehr.resources.values() if one["resourceType"] == "QuestionnaireResponse"]
    assert (held["meta"]["versionId"], held["code"]["coding"][0]["code"]) == ("2", "M99.41")
    assert kept["item"][0]["answer"][0]["valueCoding"]["code"] == "connective"
    assert kept["author"] == {"reference": "Practitioner/d1"}


def test_inside_an_ehr_nothing_leaves_both_hosts_and_no_address_holds_the_token(
    browser: Browser, ehr: FakeEhr, inside: str
) -> None:
    launched(browser, ehr, inside)
    answer_by_keyboard(browser)
    asked = {url for url in browser.requested() if not url.startswith("data:")}
    assert all(url.startswith((f"{inside}/", f"{ehr.origin}/authorize", ehr.origin + "/fhir")) for url in asked)
    assert not any(token in url for url in asked for token in ehr.tokens)
    assert ehr.tokens[0] not in str(browser.driver.get_cookies()) + browser.driver.page_source


def test_inside_an_ehr_a_problem_that_somebody_changed_meanwhile_is_left_alone(
    browser: Browser, ehr: FakeEhr, inside: str
) -> None:
    launched(browser, ehr, inside)
    browser.wait("[role=radiogroup][aria-labelledby]")
    ehr.put(condition("Changed by another user"))
    told = answer_by_keyboard(browser)
    assert "was changed in the record while the form was open, and nothing was overwritten" in told
    assert ehr.resources["Condition/c1"]["code"] == {"text": "Changed by another user"}


def test_inside_an_ehr_going_back_shows_nothing_of_an_answered_form(
    browser: Browser, ehr: FakeEhr, inside: str
) -> None:
    launched(browser, ehr, inside)
    answer_by_keyboard(browser)
    browser.driver.get(f"{inside}/rules")
    browser.driver.back()
    assert browser.wait("h1").text == "This form has been answered."


def test_a_refused_authorization_is_a_plain_page(browser: Browser, ehr: FakeEhr, inside: str) -> None:
    ehr.refuses = "access_denied"
    launched(browser, ehr, inside)
    assert "refused to open the record" in browser.wait("h1").text
