"""A real installation and a real browser."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.platform.conftest import Serving
from tests.support.databases import fresh_database
from tests.support.stub_provider import StubProvider

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Installation:
    """A running `manage.py serve` on its own data folder, its operator, and its model."""

    def __init__(self, serving: Serving, stub: StubProvider) -> None:
        self.serving, self.stub = serving, stub
        self.url = serving.url
        self.email = re.search(r"Operator\s+(\S+)", serving.out)[1]
        self.password = re.search(r"Password\s+(\S+)", serving.out)[1]


@pytest.fixture(scope="module")
def serve_process():
    """`manage.py serve` with a model's address and a database of its own: web, worker and beat."""
    folder = Path(tempfile.mkdtemp(prefix="polymux-e2e-"))
    stub = StubProvider(models=("tokens-40@20",))
    told = {
        "POLYMUX_MODEL_ENDPOINTS": f"stub={stub.start()}",
        "POLYMUX_MODEL": "stub/tokens-40@20",
    }
    with fresh_database() as url:
        serving = Serving(folder, DATABASE_URL=url, **told)
        try:
            yield Installation(serving.wait_until_up(120), stub)
        finally:
            serving.kill()
            stub.stop()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def chromium():
    """Not longer than its module: the driver keeps an event loop running in this thread."""
    if not Path(CHROMIUM).exists():
        if os.environ.get("POLYMUX_REQUIRE_SERVICES") or os.environ.get("CI"):
            pytest.fail("Chromium is not installed")
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Watched:
    """A page, and everything that went wrong on it."""

    def __init__(self, page, url: str) -> None:
        self.page, self.url = page, url
        self.errors: list[str] = []
        self.external: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._asked)
        page.on("response", self._answered)

    def _heard(self, message) -> None:
        if message.type in {"error", "warning"}:  # a violated policy is an error of the console
            self.errors.append(message.text)

    def _asked(self, request) -> None:
        local = (self.url, self.url.replace("http://", "ws://"), "data:", "blob:")
        if not request.url.startswith(local):
            self.external.append(request.url)

    def _answered(self, response) -> None:
        if response.status >= 400:
            self.errors.append(f"{response.status} {response.url}")

    def go(self, path: str) -> None:
        self.page.goto(self.url + path)
        self.page.wait_for_load_state("networkidle")

    def theme(self, name: str) -> None:
        self.page.evaluate(f"localStorage.setItem('adminTheme', JSON.stringify('{name}'))")

    def is_clean(self) -> bool:
        assert self.errors == []
        assert self.external == []
        return True


@pytest.fixture
def visitor(chromium, serve_process):
    """A browser that has not logged in."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    yield Watched(context.new_page(), serve_process.url)
    context.close()


@pytest.fixture(scope="module")
def login(chromium, serve_process):
    """The cookies of the operator, who has logged in by hand."""
    context = chromium.new_context()
    visitor = Watched(context.new_page(), serve_process.url)
    log_in(visitor, serve_process)
    cookies = context.cookies()
    context.close()
    return cookies


def log_in(visitor, serve_process):
    visitor.go("/admin/login/?next=/admin/")
    visitor.page.fill("input[name=username]", serve_process.email.upper())
    visitor.page.fill("input[name=password]", serve_process.password)
    visitor.page.click("#login-form button[type=submit]")
    visitor.page.wait_for_url("**/admin/")


@pytest.fixture
def olga(visitor, login):
    """The operator, logged in, on the first page."""
    visitor.page.context.add_cookies(login)
    visitor.go("/admin/")
    return visitor
