"""The hot path over real HTTP, against the stub: what goes out, what comes back, how it fails."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing

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
    Usage,
)
from apps.engine.providers.openai_compatible import OpenAICompatible
from apps.engine.providers.openai_reply import MAX_REPLY, Reply, retry_after
from tests.support.stub_provider import Reply as Answer
from tests.support.stub_provider import StubProvider

KEY = "sk-test-0123456789"
HELLO = (ChatMessage("user", "Hello"),)


@pytest.fixture
def stub():
    with StubProvider(api_key=KEY) as server:
        yield server


@pytest.fixture
def provider(stub):
    return OpenAICompatible("stub", stub.base_url, KEY)


async def collect(provider, model="m", **options):
    request = ModelRequest(model, options.pop("messages", HELLO), **options)
    return [event async for event in provider.stream(request)]


def text_of(events):
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def failure(provider, model="m", **options):
    """The failure of a call, and the text that came before it."""
    texts = []

    async def listen():
        async for event in provider.stream(ModelRequest(model, HELLO, **options)):
            texts.append(event.text)  # noqa: PERF401 - what came before the failure counts

    with pytest.raises(ProviderFailed) as caught:
        await listen()
    return caught.value, "".join(texts)


async def gone(stub):
    """Whether the server sees us go (in a thread: our loop must go on to close the socket)."""
    return await asyncio.to_thread(stub.requests[-1].wait_disconnected, 2)


# --- What goes out ------------------------------------------------------------------------------
WHOLE_BODY = {
    "model": "m",
    "stream": True,
    "stream_options": {"include_usage": True},
    "temperature": 0.5,
    "top_p": 0.9,
    "max_tokens": 77,
    "stop": ["END"],
    "seed": 3,
    "response_format": {"type": "json_object"},
    "tool_choice": "auto",
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "add",
                "description": "adds",
                "parameters": {"type": "object"},
            },
        }
    ],
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                {
                    "type": "image_url",
                    "image_url": {"url": "https://x.test/a.png", "detail": "low"},
                },
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "add", "arguments": '{"a": 1}'},
                }
            ],
        },
        {"role": "tool", "content": "2", "tool_call_id": "c1"},
    ],
}


async def test_everything_we_can_say_is_sent_in_openais_form(stub, provider):
    tool = ToolSpec("add", "adds", {"type": "object"})
    messages = (
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "Look", images=(Image("https://x.test/a.png", "low"),)),
        ChatMessage("assistant", "", tool_calls=(ToolCall("c1", "add", {"a": 1}),)),
        ChatMessage("tool", "2", tool_call_id="c1"),
    )
    sampling = Sampling(0.5, 0.9, 77, ("END",), 3, {"type": "json_object"}, "auto")
    await collect(provider, messages=messages, tools=(tool,), sampling=sampling)
    body = stub.requests[-1].body
    assert stub.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    assert body == WHOLE_BODY


async def test_what_is_not_set_is_not_sent(stub, provider):
    await collect(provider)
    assert set(stub.requests[-1].body) == {"model", "messages", "stream", "stream_options"}


async def test_a_server_with_other_words_is_spoken_to_in_them(stub):
    odd = OpenAICompatible(
        "odd",
        stub.base_url,
        KEY,
        max_tokens_field="max_completion_tokens",
        seed_field="random_seed",
        ask_usage=False,
        offer_tools=False,
    )
    tool = ToolSpec("add", "adds", {})
    await collect(odd, tools=(tool,), sampling=Sampling(max_tokens=5, seed=1))
    body = stub.requests[-1].body
    assert (body["max_completion_tokens"], body["random_seed"]) == (5, 1)
    assert not {"tools", "stream_options", "max_tokens", "seed"} & set(body)


# --- What comes back ----------------------------------------------------------------------------
async def test_text_streams_and_ends_with_the_usage_that_was_counted(stub, provider):
    usage = {
        "prompt_tokens": 11,
        "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    stub.queue(Answer(("Hel", "lo ", "wörld ✓"), usage=usage))
    events = await collect(provider)
    assert text_of(events) == "Hello wörld ✓"
    assert events[-1] == Finished("stop", Usage(11, 3, 4))


async def test_usage_is_estimated_when_the_server_does_not_count(stub, provider):
    stub.queue(Answer(("twelve chars",), with_usage=False))
    usage = (await collect(provider))[-1].usage
    assert usage.tokens_out == 3
    assert usage.tokens_in > 0


async def test_tool_calls_are_put_together_from_their_pieces(stub, provider):
    stub.queue(
        Answer("Let me see. ", calls=(("add", {"a": 1, "b": [2, 3]}), ("now", ""), ("bad", "{no")))
    )
    events = await collect(provider)
    calls = [event.call for event in events if isinstance(event, CallReady)]
    assert [(call.name, call.arguments) for call in calls] == [
        ("add", {"a": 1, "b": [2, 3]}),
        ("now", {}),
        ("bad", {}),
    ]
    assert [bool(call.error) for call in calls] == [False, False, True]
    assert events[-1].reason == "tool_calls"


async def test_the_reason_of_the_end_is_told(stub, provider):
    stub.queue(Answer("cut", reason="length"))
    assert (await collect(provider))[-1].reason == "length"


async def test_a_connection_is_used_again(stub, provider):
    for _ in range(5):
        await collect(provider)
    assert len(stub.connections) == 1


async def test_a_connection_that_the_server_closed_meanwhile_is_replaced(stub, provider):
    await collect(provider)
    stub.drop_connections()
    await asyncio.sleep(0.1)
    assert text_of(await collect(provider)) == "Hello from the stub."


async def test_many_streams_at_once_keep_apart(stub, provider):
    texts = await asyncio.gather(
        *(
            collect(provider, "echo", messages=(ChatMessage("user", f"number {n} " * 30),))
            for n in range(50)
        )
    )
    assert [text_of(events) for events in texts] == [f"number {n} " * 30 for n in range(50)]


# --- How it fails -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (400, Fault.REJECTED),
        (401, Fault.AUTH),
        (403, Fault.AUTH),
        (404, Fault.UNKNOWN_MODEL),
        (408, Fault.TIMEOUT),
        (422, Fault.REJECTED),
        (429, Fault.RATE_LIMITED),
        (500, Fault.SERVER),
        (503, Fault.SERVER),
    ],
)
async def test_a_status_becomes_a_fault(stub, provider, status, fault):
    stub.queue(Answer(status=status))
    failed, _ = await failure(provider)
    assert failed.fault is fault
    assert str(status) in failed.message


async def test_a_rate_limit_says_how_long_to_wait(stub, provider):
    stub.queue(Answer(status=429, retry_after=12))
    assert (await failure(provider))[0].retry_after == 12.0


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer("one two three", broken_after=2), "one two "),
        (Answer("one two three", die_after=2), "one two "),
        (Answer("one two three", cut_after=2), "one two "),
        (Answer(content_type="text/html", raw=b"<html>"), ""),
        (Answer(content_type="application/json", raw=b"{}"), ""),
        (Answer(raw=b"data: [1, 2]\n\n"), ""),
        (Answer(raw=b'data: {"choices": [7]}\n\n'), ""),
        (Answer(raw=b'data: {"choices": [{"delta": {"tool_calls": 5}}]}\n\n'), ""),
        (Answer(raw=b"data: " + b"[" * 200_000 + b"\n\n"), ""),
        (Answer(raw=b"data: \xff\xfe\n\n"), ""),
        (Answer(raw=b""), ""),
    ],
)
async def test_a_broken_reply_is_a_broken_stream_after_the_text_so_far(
    stub, provider, answer, text
):
    stub.queue(answer)
    failed, heard = await failure(provider)
    assert failed.fault is Fault.BROKEN
    assert heard == text


def hung_up(stub) -> bool:
    """Whether the server has no connection left. (It may have queued the whole reply before.)"""
    deadline = time.monotonic() + 5
    while stub.connections and time.monotonic() < deadline:
        time.sleep(0.01)
    return not stub.connections


async def test_a_reply_beyond_the_cap_is_cut_off(stub, provider):
    failed, heard = await failure(provider, "huge")
    assert failed.fault is Fault.BROKEN
    assert len(heard) < MAX_REPLY
    assert await asyncio.to_thread(hung_up, stub)


async def test_an_endless_line_is_cut_off(stub, provider):
    stub.queue(Answer(raw=b"data: " + b"x" * (2 * 1024 * 1024)))
    failed, _ = await failure(provider)
    assert failed.fault is Fault.BROKEN


async def test_a_server_that_never_answers_times_out(stub, provider):
    failed, _ = await failure(provider, "hang", timeout=0.2)
    assert failed.fault is Fault.TIMEOUT
    assert await gone(stub)


async def test_a_server_that_stalls_times_out_with_the_text_so_far(stub, provider):
    failed, heard = await failure(provider, "stall", timeout=0.3)
    assert (failed.fault, heard) == (Fault.TIMEOUT, "one two ")
    assert await gone(stub)


async def test_a_server_that_drips_for_ever_meets_the_deadline(stub, provider):
    failed, _ = await failure(provider, "tokens-100@20", timeout=0.4)
    assert failed.fault is Fault.TIMEOUT


async def test_a_server_that_is_not_there_is_a_server_fault():
    nobody = OpenAICompatible("nobody", "http://127.0.0.1:9/v1", KEY)
    failed, _ = await failure(nobody)
    assert failed.fault is Fault.SERVER


async def test_an_error_inside_the_stream_is_a_fault(stub, provider):
    stub.queue(Answer(raw=b'data: {"error": {"message": "overloaded", "code": 429}}\n\n'))
    assert (await failure(provider))[0].fault is Fault.RATE_LIMITED


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
async def test_the_key_is_never_in_an_error(stub, provider, status):
    stub.queue(Answer(status=status, error=f"bad key {KEY}, Bearer abc, sk-other-key-9 at line 1"))
    failed, _ = await failure(provider)
    for secret in (KEY, "abc", "sk-other"):
        assert secret not in str(failed)
    assert KEY not in repr(provider)


async def test_a_refused_key_is_told_without_the_servers_words(stub):
    wrong = OpenAICompatible("stub", stub.base_url, "sk-wrong-key")
    failed, _ = await failure(wrong)
    assert failed.message == "stub refused the API key (401)"


async def test_closing_the_stream_disconnects_the_server_at_once(stub, provider):
    request = ModelRequest("tokens-1000@100", HELLO)
    async with aclosing(provider.stream(request)) as events:
        async for _ in events:
            break
    left = time.monotonic()
    assert await gone(stub)
    assert stub.requests[-1].gone_at - left < 0.5


async def test_cancelling_a_waiting_call_disconnects_the_server(stub, provider):
    task = asyncio.create_task(collect(provider, "hang"))
    while not stub.requests:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone(stub)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_a_reply_is_the_same_however_it_is_cut_into_packets(size):
    events = [{"choices": [{"delta": {"content": word}}]} for word in ("a", "ü✓", "\n", "z")]
    events.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    raw = "".join(f"data: {json.dumps(e, ensure_ascii=False)}\r\n\r\n" for e in events).encode()
    raw = b": a comment\n\nevent: x\n" + raw + b"data: [DONE]\n\n"
    reply = Reply("x")
    text = "".join(reply.feed(raw[i : i + size]) for i in range(0, len(raw), size))
    assert (text, reply.done, reply.reason, reply.failure) == ("aü✓\nz", True, "stop", None)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        ("-1", 0.0),
        ("soon", None),
        ("", None),
        (None, None),
        ("nan", None),
    ],
)
def test_retry_after_is_read(header, seconds):
    assert retry_after(header) == seconds


def test_retry_after_may_be_a_date():
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
