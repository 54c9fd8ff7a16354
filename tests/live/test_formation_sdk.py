"""The official package against a formation: conversations, requests, feeds (contract/muxi.md §4.4-4.5)."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor

import muxi
import pytest
from muxi import webhook
from muxi.errors import MuxiError, NotFoundError

from apps.core.aio import spawn
from apps.events.hub import hub
from tests.support.formations import document_of, make_formation
from tests.support.receiver import Receiver
from tests.support.stack import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

HELLO = {"message": "Hello", "session_id": "s"}
CLIP = {
    "filename": "a.wav",
    "content": base64.b64encode(b"RIFF").decode(),
    "content_type": "audio/wav",
}
SPOKEN = {"files": [CLIP], "session_id": "s"}


@pytest.fixture
def greeter(stack, aurora, settings):
    settings.AUDIO_MODEL = "stub/whisper"
    triggers = {"greet": {"content": "Greet ${{ data.name }}.", "meta": {}, "fields": []}}
    users = {"memory": {"persistent": {"multi_user": True}}}
    document = document_of(config={"id": "greeter", **users}, triggers=triggers)
    return make_formation(aurora.ada, "greeter", document=document)


def keys(stack, made):
    return {
        "formation_id": made.slug,
        "server_url": stack.url,
        "admin_key": made.admin_key,
        "client_key": made.client_key,
    }


@pytest.fixture
def sdk(stack, greeter):
    with muxi.FormationClient(**keys(stack, greeter)) as client:
        yield client


def texts(events):
    told = [json.loads(event["data"]) for event in events if event["event"] == "message"]
    return "".join(one["token"] for one in told)


def test_the_package_chats(sdk):
    answer = sdk.chat(HELLO, user_id="kim")
    assert answer["message"]["content"] == "Hello from the stub."
    assert (answer["session_id"], answer["user_id"]) == ("s", "kim")
    events = list(sdk.chat_stream({"message": "More"}, user_id="kim"))
    assert texts(events) == "Hello from the stub."
    assert events[-1] == {"event": "done", "data": '{"finished": true}'}


def test_the_package_hears_a_failure_in_a_stream(sdk):
    with pytest.raises(MuxiError) as refused:
        list(sdk.chat_stream(HELLO | {"agent_id": "nobody"}, user_id="kim"))
    assert refused.value.code == "AGENT_NOT_FOUND"
    with pytest.raises(NotFoundError):
        sdk.chat(HELLO | {"agent_id": "nobody"}, user_id="kim")


def test_the_package_speaks(sdk):
    assert sdk.audio_chat(SPOKEN, user_id="kim")["message"]["content"] == "Hello from the stub."
    assert texts(sdk.audio_chat_stream(SPOKEN, user_id="kim")) == "Hello from the stub."


def test_the_package_reads_and_restores_conversations(sdk):
    sdk.chat(HELLO, user_id="kim")
    (session,) = sdk.get_sessions("kim", limit=5)["sessions"]
    assert (session["session_id"], session["user_id"], session["active"]) == ("s", "kim", True)
    assert sdk.get_session("s", "kim")["message_count"] == 2
    said = sdk.get_session_messages("s", "kim")["messages"]
    assert [one["metadata"]["role"] for one in said] == ["user", "assistant"]
    mine = [{"role": "user", "content": "Once", "timestamp": "2026-01-02T03:04:05Z"}]
    sdk.restore_session("s", "kim", mine)
    assert [one["text"] for one in sdk.get_session_messages("s", "kim")["messages"]] == ["Once"]
    assert sdk.get_sessions("lee")["sessions"] == []
    with pytest.raises(NotFoundError):
        sdk.get_session("s", "lee")


def test_the_package_fires_triggers_and_follows_requests(sdk):
    done = sdk.fire_trigger("greet", {"name": "Ada"}, async_mode=False, user_id="kim")
    assert (done["status"], done["content"]) == ("completed", "Hello from the stub.")
    later = sdk.fire_trigger("greet", {"name": "Ada"}, async_mode=True, user_id="kim")
    name = later["request_id"]
    status = wait_until(
        lambda: (found := sdk.get_request_status(name, "kim"))["status"] == "completed" and found
    )
    assert status["result"]["content"] == "Hello from the stub."
    assert name in {one["request_id"] for one in sdk.get_requests("kim")["requests"]}
    with pytest.raises(MuxiError) as refused:
        sdk.cancel_request(name, "kim")
    assert refused.value.status_code == 400


def test_the_package_follows_the_feeds(sdk, stack):
    feeds = [sdk.stream_events("kim"), sdk.stream_logs({"user_id": "kim", "event_type": "run.e*"})]
    with ThreadPoolExecutor(2) as pool:  # the package opens a feed with its first `next()`
        event, entry = [pool.submit(next, feed) for feed in feeds]
        wait_until(lambda: listeners() == 2)
        sdk.chat(HELLO | {"request_id": "r"}, user_id="kim")
        assert json.loads(event.result(20)["data"])["type"] == "chat.started"
        assert entry.result(20)["event"] == "log"
        assert json.loads(entry.result(20)["data"])["request_id"] == "r"
    for feed in feeds:
        feed.close()
    (over,) = sdk.stream_request("kim", "s", "r")
    assert "error" in json.loads(over["data"])


def listeners():
    async def count():
        return len(hub().subscriptions)

    return spawn(count()).result(5)


async def test_the_async_package_does_the_same(stack, greeter):
    async with muxi.AsyncFormationClient(**keys(stack, greeter)) as sdk:
        answer = await sdk.chat(HELLO, user_id="kim")
        assert answer["message"]["content"] == "Hello from the stub."
        assert [e["event"] async for e in await sdk.chat_stream(HELLO, user_id="kim")][-1] == "done"
        heard = await sdk.audio_chat(SPOKEN, user_id="kim")
        assert heard["session_id"] == "s"
        spoken = [e async for e in await sdk.audio_chat_stream(SPOKEN, user_id="kim")]
        assert texts(spoken) == "Hello from the stub."
        assert (await sdk.get_sessions("kim"))["count"] == 1
        assert (await sdk.get_session("s", "kim"))["message_count"] == 8
        assert (await sdk.get_session_messages("s", "kim"))["count"] == 8
        await sdk.restore_session("s", "kim", [])
        assert (await sdk.get_session("s", "kim"))["message_count"] == 0
        assert (await sdk.get_requests("kim"))["count"] == 4
        status = await sdk.get_request_status(answer["request_id"], "kim")
        assert status["status"] == "completed"
        with pytest.raises(MuxiError):
            await sdk.cancel_request(answer["request_id"], "kim")
        fired = await sdk.fire_trigger("greet", {"name": "A"}, async_mode=False, user_id="kim")
        assert fired["status"] == "completed"
        over = [e async for e in await sdk.stream_request("kim", "s", answer["request_id"])]
        assert len(over) == 1


def test_the_packages_webhook_helper_takes_a_real_delivery(sdk, greeter, settings):
    settings.OUTBOUND_ALLOW = ["127.0.0.1"]
    receiver = Receiver()
    try:
        payload = HELLO | {"mode": "async", "webhook_url": receiver.url}
        accepted = sdk.chat(payload, user_id="kim")
        headers, body = wait_until(lambda: receiver.heard)[0]
    finally:
        receiver.close()
    assert webhook.verify_signature(body, headers["X-Muxi-Signature"], greeter.admin_key)
    assert webhook.parse(body).request_id == accepted["request_id"]
