"""A visitor with Chromium: a real upload, the answer read from the page, no network.

``PENGI_SCREENSHOT=picture.png PENGI_SCREENSHOT_MODEL=folder pytest -m slow
tests/demo/test_browser.py`` also writes the README's picture.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import numpy as np
import pytest
import soundfile

from pengi_plugin.inference import AudioLanguageModel
from tests.sounds import RATE, write_sounds

pytestmark = pytest.mark.slow


#: Seconds for a start that takes ten on an idle machine, and for an answer.
START, PATIENCE = 900, 120

#: Of the newest Chromium, which must not ask the network by itself either.
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-sync"),
    *("--disable-component-update", "--window-size=1120,1010", "--lang=en"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Page:
    """A running ``pengi demo``."""

    def __init__(self, root, folder, *options):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/"
        self.port = port
        command = [sys.executable, "-m", "pengi_plugin", "demo", str(folder)]
        self.process = subprocess.Popen(
            [*command, "--port", str(port), "--device", "cpu", *options],
            cwd=root,
            env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        end = time.monotonic() + START
        while time.monotonic() < end:
            assert self.process.poll() is None, self.process.stdout.read()
            try:
                with urlopen(self.url, timeout=30) as answer:
                    assert answer.status == 200
                return
            except OSError:
                time.sleep(0.2)
        self.stop()
        raise AssertionError(self.process.stdout.read())

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@pytest.fixture(scope="module")
def page(root, tiny_folder):
    pytest.importorskip("gradio")
    pytest.importorskip("matplotlib")
    options = ("--max-megabytes", "0.5", "--max-seconds", "20")
    page = Page(root, tiny_folder, *options)
    yield page
    assert page.stop() == 0


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("needs Debian's chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in QUIET:
        options.add_argument(word)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    browser = webdriver.Chrome(options=options, service=service)
    browser.set_page_load_timeout(PATIENCE)
    yield browser
    browser.quit()


class Visitor:
    """What a person does on the page."""

    def __init__(self, browser, url):
        self.browser = browser
        browser.get(url)
        self.wait("#ask")

    def find(self, selector):
        return self.browser.find_elements("css selector", selector)

    def wait(self, selector, passes=lambda element: element.is_displayed()):
        """Return the first element that passes."""
        from selenium.common.exceptions import StaleElementReferenceException

        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for element in self.find(selector):
                try:
                    if passes(element):
                        return element
                except StaleElementReferenceException:
                    pass
            time.sleep(0.1)
        raise AssertionError(f"no {selector} in {self.text()}")

    def text(self):
        return self.find("body")[0].text

    def upload(self, path):
        for clear in self.find("#sound button[aria-label='Clear']"):
            clear.click()
        self.wait("#sound input[type=file]", lambda _: True).send_keys(str(path))
        self.wait("#sound button[aria-label='Clear']")

    def choose_task(self, name):
        field = self.wait("input[aria-label='Task']")
        field.click()
        self.wait("ul[role=listbox] li", lambda item: name in item.text).click()

    def type(self, selector, text):
        field = self.wait(selector)
        field.clear()
        field.send_keys(text)

    def press(self, selector):
        button = self.wait(selector)
        self.browser.execute_script("arguments[0].click()", button)

    def ask(self):
        """Press the button on a page without an answer; return what is shown then."""
        self.press("#ask")
        self.wait("#answer .pengi-answer, #answer .pengi-error")
        return self.find("#answer")[0].text


@pytest.fixture
def visitor(browser, page):
    return Visitor(browser, page.url)


@pytest.fixture(scope="module")
def model(tiny_folder):
    return AudioLanguageModel.from_hparams(tiny_folder, run_opts={"device": "cpu"})


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    return write_sounds(tmp_path_factory.mktemp("sounds"), (0.6, 2.5, 1.0, 1.7))


def requested_hosts(browser):
    """Return the hosts of all requests that the browser began."""
    hosts = set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            parts = urlsplit(message["params"]["request"]["url"])
            hosts.add(parts.hostname if parts.scheme in ("http", "https") else None)
        elif message["method"] == "Network.webSocketCreated":
            hosts.add(urlsplit(message["params"]["url"]).hostname)
    return hosts - {None}


def test_an_upload_is_answered_as_generate_file_answers_and_nothing_leaves_the_machine(
    visitor, model, sounds
):
    visitor.upload(sounds[1])
    visitor.choose_task("question answering")
    visitor.type("#words textarea, #words input", "what is heard?")
    visitor.ask()
    prompt = "question: what is heard?"
    expected = model.generate_file(sounds[1], prompt)
    assert visitor.find(".pengi-answer")[0].text == expected
    assert visitor.find(".pengi-prompt")[0].text == prompt
    ranked = model.ranked_file(sounds[1], prompt)
    assert f"{ranked[0][1]:.2f}" in visitor.find(".pengi-note")[0].text
    rows = [row.text for row in visitor.find(".pengi-table td")]
    assert rows[::2] == [text for text, _ in ranked[1:]]
    picture = visitor.wait(
        "#picture img", lambda image: int(image.get_property("naturalWidth")) > 300
    )
    assert urlsplit(picture.get_attribute("src")).hostname == "127.0.0.1"
    assert requested_hosts(visitor.browser) == {"127.0.0.1"}


def test_labels_are_bars_and_every_window_has_its_line(visitor, model, sounds):
    visitor.upload(sounds[1])
    visitor.press("#more button")
    visitor.type("#labels textarea, #labels input", "dog, rain, church bells")
    visitor.press("input[type=radio][value='every window']")
    visitor.ask()
    rows = [row.text for row in visitor.find(".pengi-table td")]
    expected = model.generate_file(sounds[1], "generate audio caption", window="all")
    assert len(expected) == 3
    assert rows[1::3] == [answer for _, _, answer in expected]
    assert rows[2::3]
    assert rows[0] == "0.00 to 1.00 s"
    labels = ["dog", "rain", "church bells"]
    ranking = model.classify_file(sounds[1], labels, "generate audio caption")
    shown = [bar.text.split("\n") for bar in visitor.find(".pengi-bar")]
    assert shown == [[label, f"{score:.3f}"] for label, score in ranking]


def test_a_broken_file_is_an_error_that_a_person_understands(visitor, tmp_path):
    path = tmp_path / "broken.wav"
    path.write_bytes(b"RIFF but no sound at all")
    visitor.upload(path)
    shown = visitor.ask()
    assert "broken.wav cannot be read as audio" in shown
    assert "Traceback" not in visitor.text()
    assert str(tmp_path) not in visitor.text()


def test_files_that_are_too_long_or_too_large_are_refused(visitor, tmp_path):
    long = tmp_path / "long.flac"
    soundfile.write(long, np.zeros(RATE * 21), RATE)
    visitor.upload(long)
    assert "long.flac lasts longer than the 20 s that are allowed" in visitor.ask()
    large = tmp_path / "large.wav"
    soundfile.write(large, np.random.default_rng(0).uniform(-1, 1, RATE * 40), RATE)
    visitor.browser.refresh()
    visitor.wait("#ask")
    field = visitor.wait("#sound input[type=file]", lambda _: True)
    field.send_keys(str(large))
    visitor.wait("body", lambda body: "size" in body.text.lower())
    assert re.search(r"maximum.*size|too large|exceed", visitor.text(), re.I)


def test_a_recording_of_the_microphone_is_answered(visitor):
    visitor.press("#sound button[aria-label='Record audio'], button.record")
    time.sleep(1)
    visitor.press("#sound .record-button, #sound button.record")
    time.sleep(3)
    visitor.press("#sound .stop-button")
    visitor.wait("#sound button[aria-label='Clear']")
    visitor.ask()
    assert visitor.find(".pengi-answer"), visitor.text()


def test_several_visitors_at_once_get_their_own_answers(page, model, sounds):
    from gradio_client import Client, handle_file

    def visit(number):
        client = Client(page.url, verbose=False)
        path = sounds[number % len(sounds)]
        prompt = f"what is it, number {number % 3}?"
        answer, *_ = client.predict(
            handle_file(str(path)),
            *("own prompt", prompt, "", "nearness to the answer", "the beginning"),
            api_name="/ask",
        )
        return path, prompt, re.search(r"pengi-answer\">(.*?)</div>", answer)[1]

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(visit, range(12)))
    for path, prompt, answer in found:
        assert answer == (model.generate_file(path, prompt) or "(no words)")


def test_it_listens_on_this_machine_alone(page):
    if not Path("/proc/net/tcp").exists():
        pytest.skip("needs /proc/net/tcp")
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    at = [line[1] for line in lines if line[1].endswith(f":{page.port:04X}")]
    listening = {line[1] for line in lines if line[1] in at and line[3] == "0A"}
    assert listening == {f"0100007F:{page.port:04X}"}


def test_the_picture_of_the_readme(browser, root, tmp_path):
    target = os.environ.get("PENGI_SCREENSHOT")
    if not target:
        pytest.skip("PENGI_SCREENSHOT names no file")
    from PIL import Image

    page = Page(root, os.environ["PENGI_SCREENSHOT_MODEL"])
    try:
        take_picture(Visitor(browser, page.url), tmp_path / "large.png")
    finally:
        page.stop()
    with Image.open(tmp_path / "large.png") as picture:
        picture.convert("RGB").quantize(192).save(target, optimize=True)
    assert Path(target).stat().st_size < 150_000


def take_picture(visitor, path):
    """Ask about an example, with labels, and save what is seen then."""
    visitor.wait("table tr", lambda row: "sequence.wav" in row.text).click()
    visitor.wait("#sound button[aria-label='Clear']")
    visitor.press("#more button")
    labels = "floor tom, tambourine, bass drum, piano, guitar, dog barking"
    visitor.type("#labels textarea, #labels input", labels)
    visitor.ask()
    visitor.wait(
        "#picture img", lambda image: int(image.get_property("naturalWidth")) > 300
    )
    time.sleep(2)  # until nothing moves
    assert visitor.browser.save_screenshot(str(path))
