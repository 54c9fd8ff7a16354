"""Spans of a turn, sent to a real OTLP endpoint."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from apps.engine import tracing

ROOT = Path(__file__).resolve().parents[2]
TURN = """
import asyncio
from apps.engine.providers.scripted import Line
from tests.engine.world import HELLO, Toolbox, World, asks
world = World((asks("add"), Line(("PRIVATE reply",))))
world.toolbox = Toolbox(add="PRIVATE result")
asyncio.run(world.run())
from opentelemetry import trace
trace.get_tracer_provider().shutdown()
"""


def test_without_an_endpoint_a_span_is_nothing():
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" not in os.environ
    with tracing.span("chat x", gen_ai__request__model="x") as span:
        span.set_attribute("a", 1)
    assert isinstance(span, tracing.NoSpan)


@pytest.fixture
def collector():
    """An OTLP endpoint: its URL and what was sent to it."""
    bodies = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", bodies
        server.shutdown()


def test_with_an_endpoint_each_step_is_a_span_without_content(collector):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    endpoint, bodies = collector
    tracing_on = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
    }
    code = [sys.executable, "-c", TURN]
    subprocess.run(code, cwd=ROOT, env={**os.environ, **tracing_on}, check=True, timeout=60)
    sent = b"".join(bodies)
    for name in (b"invoke_agent", b"chat m0", b"execute_tool add", b"gen_ai.usage.input_tokens"):
        assert name in sent
    assert b"PRIVATE" not in sent
    assert b"Hello" not in sent
