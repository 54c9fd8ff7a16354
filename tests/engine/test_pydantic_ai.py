"""Anthropic through pydantic-ai, against a small server that speaks Anthropic's stream."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, asynccontextmanager

import pytest

from apps.engine.ports import (
    CallReady,
    ChatMessage,
    Fault,
    Finished,
    Image,
    ModelRequest,
    ProviderFailed,
    Sampling,
    TextDelta,
    ToolCall,
    ToolSpec,
)
from apps.engine.providers.pydantic_ai import PydanticAI, to_messages

KEY = "ant-key-0123456789"


def events(text=(), call=None, stop="end_turn"):
    """A reply as Anthropic streams it."""
    usage = {"input_tokens": 12, "output_tokens": 1}
    message = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    yield {"type": "message_start", "message": message}
    block = {"type": "text", "text": ""}
    yield {"type": "content_block_start", "index": 0, "content_block": block}
    for piece in text:
        delta = {"type": "text_delta", "text": piece}
        yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    if call:
        block = {"type": "tool_use", "id": "tu1", "name": call[0], "input": {}}
        yield {"type": "content_block_start", "index": 1, "content_block": block}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(call[1])}
        yield {"type": "content_block_delta", "index": 1, "delta": delta}
        yield {"type": "content_block_stop", "index": 1}
    ending = {"stop_reason": "tool_use" if call else stop, "stop_sequence": None}
    yield {"type": "message_delta", "delta": ending, "usage": {"output_tokens": 7}}
    yield {"type": "message_stop"}


@asynccontextmanager
async def anthropic(status=200, reply=(), head="", hang=False):
    """Its base URL, the bodies it got, and an event set when a client leaves it hanging."""
    bodies, left = [], asyncio.Event()

    async def serve(reader, writer):
        raw = await reader.readuntil(b"\r\n\r\n")
        length = int(raw.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        bodies.append(json.loads(await reader.readexactly(length)))
        kind = "text/event-stream" if status == 200 else "application/json"
        answer = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nConnection: close\r\n{head}\r\n"
        for event in reply:
            answer += f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
        if status != 200:
            answer += json.dumps({"type": "error", "error": {"type": "x", "message": f"no {KEY}"}})
        writer.write(answer.encode())
        await writer.drain()
        if hang:
            await reader.read()
            left.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", bodies, left
        await asyncio.sleep(0.02)


async def collect(url, **options):
    request = ModelRequest("claude-x", options.pop("messages", [ChatMessage("user", "Hi")]))
    request = ModelRequest("claude-x", request.messages, **options)
    async with aclosing(PydanticAI("anthropic", KEY, url).stream(request)) as stream:
        return [event async for event in stream]


async def test_text_and_usage_come_through():
    async with anthropic(reply=events(("Hel", "lo"))) as (url, bodies, _):
        got = await collect(url, sampling=Sampling(temperature=0.5, max_tokens=9, stop=("END",)))
    assert [event.text for event in got if isinstance(event, TextDelta)] == ["Hel", "lo"]
    assert isinstance(got[-1], Finished)
    assert (got[-1].reason, got[-1].usage.tokens_in, got[-1].usage.tokens_out) == ("stop", 12, 7)
    body = bodies[0]
    assert (body["max_tokens"], body["temperature"], body["stop_sequences"]) == (9, 0.5, ["END"])


async def test_a_tool_call_comes_through_and_its_result_goes_out():
    tool = ToolSpec("add", "adds", {"type": "object", "properties": {"a": {"type": "integer"}}})
    async with anthropic(reply=events(("See. ",), call=("add", {"a": 1}))) as (url, bodies, _):
        got = await collect(
            url,
            tools=(tool,),
            messages=[
                ChatMessage("system", "Be brief."),
                ChatMessage("user", "add"),
                ChatMessage("assistant", "", tool_calls=(ToolCall("c0", "add", {"a": 0}),)),
                ChatMessage("tool", "zero", tool_call_id="c0"),
            ],
        )
    assert CallReady(ToolCall("tu1", "add", {"a": 1})) in got
    assert got[-1].reason == "tool_calls"
    body = bodies[0]
    assert body["tools"][0]["name"] == "add"
    sent = json.dumps(body)
    for piece in ("Be brief.", '"tool_use_id": "c0"', "zero"):
        assert piece in sent


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (400, Fault.REJECTED),
        (401, Fault.AUTH),
        (404, Fault.UNKNOWN_MODEL),
        (429, Fault.RATE_LIMITED),
        (500, Fault.SERVER),
        (529, Fault.SERVER),
    ],
)
async def test_a_failure_becomes_a_fault_after_one_try(status, fault):
    async with anthropic(status, head="Retry-After: 3\r\n") as (url, bodies, _):
        with pytest.raises(ProviderFailed) as caught:
            await collect(url)
    assert caught.value.fault is fault
    assert KEY not in str(caught.value)
    assert len(bodies) == 1
    if status == 429:
        assert caught.value.retry_after == 3


async def test_a_server_that_is_not_there_is_worth_another_try():
    with pytest.raises(ProviderFailed) as caught:
        await collect("http://127.0.0.1:9")
    assert caught.value.fault in {Fault.SERVER, Fault.TIMEOUT}


async def test_a_hanging_reply_meets_the_deadline_and_is_left():
    async with anthropic(reply=list(events(("a",)))[:3], hang=True) as (url, _, left):
        with pytest.raises(ProviderFailed) as caught:
            await collect(url, timeout=2.0)
        assert caught.value.fault is Fault.TIMEOUT
        await asyncio.wait_for(left.wait(), 2)


def test_an_image_url_is_not_fetched_from_here_for_a_vendor_that_takes_none():
    picture = ChatMessage("user", "look", images=(Image("https://10.0.0.1/a.png"),))
    with pytest.raises(ProviderFailed, match="data URLs"):
        to_messages([picture], urls=False)
    data = ChatMessage("user", "look", images=(Image("data:image/png;base64,aGk="),))
    content = to_messages([data], urls=False)[0].parts[0].content
    assert (content[1].data, content[1].media_type) == (b"hi", "image/png")
