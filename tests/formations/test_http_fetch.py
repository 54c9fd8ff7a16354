"""Reading the web: text only, bounded, and never our own network."""

from __future__ import annotations

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from apps.engine.ports import ToolCall
from apps.formations import services
from apps.formations.tools import page_text

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = (
    b"<html><head><title>Bread &amp; salt</title><style>p{}</style></head><body>"
    b"<script>steal()</script><h1>Dough</h1><p>Knead   it.</p></body></html>"
)
ANSWERS = {
    "/page": ("text/html; charset=utf-8", PAGE),
    "/latin": ("text/plain; charset=iso-8859-1", b"caf\xe9"),
    "/odd": ("text/plain; charset=nonsense", b"plain"),
    "/picture": ("image/png", b"\x89PNG"),
    "/long": ("text/plain", b"x" * 50_000),
}


class Web(BaseHTTPRequestHandler):
    def do_GET(self):
        kind, body = ANSWERS[self.path]
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def web():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def fetch(box, settings, web):
    settings.OUTBOUND_ALLOW = ["127.0.0.1"]

    def read(path, **more):
        call = ToolCall("c1", "http_fetch", {"url": web + path, **more})
        return asyncio.run(box(["http_fetch"]).call(call, key="k"))

    return read


def test_a_page_is_reduced_to_its_text(fetch):
    assert fetch("/page").data["text"] == "Bread & salt\n\nDough\nKnead it."


def test_the_charset_is_heeded(fetch):
    assert fetch("/latin").data["text"] == "café"
    assert fetch("/odd").data["text"] == "plain"


def test_what_is_no_text_is_refused(fetch):
    result = fetch("/picture")
    assert (result.content, result.is_error) == ("This is not text but image/png.", True)


def test_a_long_text_is_cut_and_says_so(fetch):
    data = fetch("/long").data
    assert len(data["text"]) == 20_000
    assert data["cut"] == "20000 of 50000 characters shown"


def test_a_head_shows_no_body(fetch):
    data = fetch("/page", method="HEAD").data
    assert data["status"] == 200
    assert "text" not in data


def test_our_own_network_is_closed(fetch, settings):
    settings.OUTBOUND_ALLOW = []
    result = fetch("/page")
    assert result.is_error
    assert "Dough" not in result.content


def test_nothing_but_reading_is_possible(fetch):
    assert fetch("/page", method="POST").is_error


def test_reading_the_web_is_off_until_somebody_opens_it(aurora, box):
    assert "http_fetch" not in {spec.name for spec in asyncio.run(box().specs())}
    services.set_tool(aurora.ada, "http_fetch", enabled=True)
    assert "http_fetch" in {spec.name for spec in asyncio.run(box().specs())}


def test_an_unclosed_head_does_not_swallow_the_page():
    assert page_text("<head><title>T</title><body><p>Text</p>") == "T\n\nText"
    assert page_text("<p>a<script>b") == "a"
