"""Turns and feeds of a formation against golden files, over a real socket (contract/muxi.md §5.5-5.6, §5.8)."""

from __future__ import annotations

import base64

import httpx
import pytest

from apps.conversations.overlord import forget_crews
from apps.formations.services import create_agent
from tests.contract.golden import Matcher, assert_golden, load
from tests.support.formations import document_of, make_formation
from tests.support.serving import serving
from tests.support.stub_provider import StubProvider

pytestmark = pytest.mark.django_db(transaction=True)

HELLO = {"message": "Hello"}
CLIP = {"filename": "a.wav", "content": base64.b64encode(b"RIFF").decode()}


@pytest.fixture
def made(aurora):
    triggers = {"greet": {"content": "Say hello to ${{ data.name }}.", "meta": {}, "fields": []}}
    users = {"memory": {"persistent": {"multi_user": True}}}
    team = make_formation(
        aurora.ada, document=document_of(config={"id": "team", **users}, triggers=triggers)
    )
    create_agent(team.home_owner, name="helper")
    forget_crews()
    return team


@pytest.fixture
def kim(made, settings, recording_queue):
    settings.DEFAULT_MODEL = "scripted/echo"
    with serving() as port:
        base = f"http://127.0.0.1:{port}/api/team"
        with httpx.Client(base_url=base, headers=made.headers(user="kim"), timeout=30) as http:
            yield http


def test_a_chat_in_each_of_its_manners(kim):
    assert_golden(kim.post("/v1/chat", json=HELLO), "muxi/chat.json")
    assert_golden(kim.post("/v1/chat", json=HELLO | {"mode": "async"}), "muxi/chat_async.json")
    streamed = HELLO | {"stream": True}
    assert_golden(kim.post("/v1/chat", json=streamed), "muxi/chat_stream.json")
    unknown = {"agent_id": "nobody"}
    assert_golden(kim.post("/v1/chat", json=HELLO | unknown), "muxi/error_agent.json")
    assert_golden(kim.post("/v1/chat", json=streamed | unknown), "muxi/chat_stream_error.json")
    assert_golden(kim.post("/v1/chat", json={}), "muxi/error_message.json")
    kim.headers.pop("x-muxi-client-key")
    assert_golden(kim.post("/v1/chat", json=HELLO), "muxi/error_key.json")


def test_a_recording_is_answered(kim, settings):
    stub = StubProvider()
    settings.MODEL_ENDPOINTS = [f"stub={stub.start()}"]
    settings.DEFAULT_MODEL, settings.AUDIO_MODEL = "stub/default", "stub/whisper"
    try:
        body = {"session_id": "s", "files": [CLIP | {"content_type": "audio/wav"}]}
        assert_golden(kim.post("/v1/audiochat", json=body), "muxi/audiochat.json")
        odd = {"files": [CLIP | {"content_type": "text/plain"}]}
        assert_golden(kim.post("/v1/audiochat", json=odd), "muxi/error_audio.json")
    finally:
        stub.stop()


def test_a_trigger_is_fired(kim):
    fired = kim.post("/v1/triggers/greet", json={"data": {"name": "Ada"}})
    assert_golden(fired, "muxi/trigger_processing.json")
    waited = kim.post("/v1/triggers/greet?async=false", json={"name": "Ada"})
    assert_golden(waited, "muxi/trigger_completed.json")
    assert_golden(kim.post("/v1/triggers/none", json={}), "muxi/error_trigger.json")


@pytest.mark.parametrize(
    ("path", "key", "golden"),
    [
        ("/v1/events", "client", "events"),
        ("/v1/events/trip", "client", "events_of_session"),
        ("/v1/logs?user_id=kim&event_type=run.started", "admin", "logs"),
    ],
)
def test_a_feed_begins_at_once(kim, made, path, key, golden):
    talk = HELLO | {"session_id": "trip"}
    kim.post("/v1/chat", json=talk)
    user = "kim" if key == "client" else ""
    headers = made.headers(key, user)
    with httpx.stream("GET", f"{kim.base_url}{path.removeprefix('/')}", headers=headers) as feed:
        lines = feed.iter_lines()
        said = [next(lines), next(lines)]
        kim.post("/v1/chat", json=talk)
        while not said[-1].startswith("data: "):
            line = next(lines)
            said += [] if line.startswith(":") or not (line or said[-1]) else [line]
    expected = load(f"muxi/{golden}.json")
    text = "\n".join(said).replace("keepalive\n\n\n", "keepalive\n\n") + "\n\n"
    Matcher().match(expected["text"], text)
    assert feed.status_code == expected["status"]
    assert feed.headers["content-type"] == expected["headers"]["Content-Type"]


def test_a_feed_of_nothing_and_a_log_of_everything_are_refused(kim, made):
    assert_golden(kim.get("/v1/events/trip/none"), "muxi/events_of_request.json")
    refused = kim.get("/v1/logs", headers=made.headers("admin"))
    assert_golden(refused, "muxi/error_logs.json")
