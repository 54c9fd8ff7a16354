"""The documents in a real browser: readable, offline, within their policy, on a phone as well."""

from __future__ import annotations

import os
import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here"),
]


@pytest.fixture
def visit(live_server, monkeypatch):
    """`visit(path, width)` -> (page, complaints): what the console and foreign requests told."""
    from playwright.sync_api import sync_playwright

    monkeypatch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # Playwright runs a loop here
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

        def go(path, width=1280, scheme="light"):
            page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
            complaints = []
            page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on(
                "request",
                lambda asked: (
                    asked.url.startswith((live_server.url, "data:")) or complaints.append(asked.url)
                ),
            )
            page.goto(live_server.url + path, wait_until="networkidle")
            return page, complaints

        yield go
        browser.close()


def test_the_reader_shows_the_operations(visit):
    page, complaints = visit("/docs/polymux/")
    assert complaints == []
    page.locator(".opblock").first.wait_for(timeout=20_000)
    assert page.locator(".opblock").count() > 5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_index_fits_a_phone(visit, scheme):
    page, complaints = visit("/docs/", width=360, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    assert dark == (scheme == "dark")
    assert complaints == []
