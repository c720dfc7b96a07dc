"""The form in a real browser: Chromium, by keyboard, nothing loaded from elsewhere.

Needs Chromium and its driver, which .ci/run installs; where they are missing the tests are skipped, never in CI.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
import requests
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

Json = dict[str, Any]
BROWSER, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER) and not os.environ.get("CI"),
    reason="Chromium or its driver is missing (Debian, Ubuntu: apt install chromium chromium-driver).",
)
TWO_TISSUES = "Biomechanical lesion. Canal stenosis at C5-C6 with disc bulge and flavum hypertrophy"
PATIENCE = 20  # seconds until a page must have come up on a slow machine


@pytest.fixture(scope="module")
def host(assist: Assist) -> Iterator[str]:
    """The service on a port of this machine."""
    app = create_app(Settings(), assist)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    app.config["BASE_URL"] = f"http://127.0.0.1:{server.port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield app.config["BASE_URL"]
    server.shutdown()
    server.server_close()


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

    def requested(self) -> set[str]:
        events = [json.loads(entry["message"])["message"] for entry in self.logged("performance")]
        return {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}


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


def test_a_form_is_answered_by_keyboard_alone(browser: Browser) -> None:
    browser.open_form()
    browser.wait("[role=radiogroup][aria-labelledby]")
    browser.tab_to("Ligament or other connective tissue")
    browser.press(Keys.SPACE)
    browser.tab_to("Send the answers")
    browser.press(Keys.ENTER)
    told = browser.wait("[data-told]").text
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


@pytest.mark.parametrize("page", ["form", "try it"])
def test_a_page_fits_a_card_of_300_pixels(browser: Browser, page: str) -> None:
    metrics = {"width": 300, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    if page == "form":
        browser.open_form()
    else:
        browser.go(f"{browser.host}/?example=two-tissues")
    browser.wait("[role=radiogroup][aria-labelledby]")
    assert browser.driver.execute_script("return document.documentElement.scrollWidth") <= 300


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
