"""Alive, ready, counted: the four doors for probes and operators."""

from __future__ import annotations

import asyncio
import json

import pytest
from django.test import Client

from polymux import health
from polymux.embedded.watch import record_heartbeat

pytestmark = pytest.mark.django_db(transaction=True)


def ask_asgi(method="GET"):
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(health.asgi_health({"type": "http", "method": method}, None, send))
    return sent[0]["status"], sent[1]["body"]


def test_health_says_what_each_of_its_readers_looks_for():
    status, body = ask_asgi()
    said = json.loads(body)
    assert status == 200
    assert (said["status"], said["success"], said["service"]) == ("ok", True, "polyant")
    assert said["timestamp"].endswith("Z")
    assert said["data"]["status"] == "ok"
    assert said["version"] == said["data"]["version"]


def test_health_is_read_only():
    assert ask_asgi("POST")[0] == 405
    assert ask_asgi("HEAD") == (200, b"")


def test_ready_names_the_part_that_does_not_work():
    answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"] == {"database": "ok", "live_frames": "ok", "worker": "failed"}


def test_ready_once_a_worker_has_given_a_sign_of_life():
    record_heartbeat()
    answer = Client().get("/readyz")
    assert answer.status_code == 200, answer.json()


def test_a_part_that_hangs_does_not_hold_the_probe(monkeypatch):
    import threading

    release = threading.Event()
    monkeypatch.setattr(health, "PART_SECONDS", 0.3)
    monkeypatch.setitem(health.PARTS, "database", lambda: release.wait(10))
    try:
        assert health.readiness()["database"] == "slow"
    finally:
        release.set()


def test_strangers_and_members_do_not_read_metrics(aurora):
    assert Client().get("/metrics").status_code == 401
    held = {"Authorization": f"Bearer {aurora.ada_token}"}
    assert Client().get("/metrics", headers=held).status_code == 401


def test_an_operators_login_reads_metrics(aurora):
    aurora.ada_user.is_staff = True
    aurora.ada_user.save()
    client = Client()
    client.force_login(aurora.ada_user)
    text = client.get("/metrics").content.decode()
    assert "polymux_queue_depth 0.0" in text
    assert "process_resident_memory_bytes" in text


def test_metrics_may_be_opened(settings):
    settings.METRICS_OPEN = True
    assert Client().get("/metrics").status_code == 200
