"""The provider that says what it was told to."""

from __future__ import annotations

import pytest

from apps.engine.ports import ChatMessage, Fault, Finished, ModelRequest, ProviderFailed, TextDelta
from apps.engine.providers import scripted


async def say(provider, *messages):
    request = ModelRequest("x", messages)
    return [event async for event in provider.stream(request)]


async def test_echo_repeats_the_last_message():
    events = await say(scripted.provider("echo"), ChatMessage("user", "a b  c"))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "a b  c"
    assert isinstance(events[-1], Finished)


async def test_a_script_goes_on_where_the_conversation_stands():
    scripted.add_script(
        "two", [{"calls": [{"name": "add"}]}, {"text": "done", "usage": {"tokens_in": 3}}]
    )
    user = ChatMessage("user", "go")
    first = await say(scripted.provider("two"), user)
    assert first[0].call.name == "add"
    later = await say(scripted.provider("two"), user, ChatMessage("assistant"))
    assert later[0] == TextDelta("done")
    assert later[1].usage.tokens_in == 3


async def test_a_script_may_fail_and_may_be_over():
    scripted.add_script("bad", [{"text": ["a"], "fault": "rate_limited", "retry_after": 2}])
    with pytest.raises(ProviderFailed) as caught:
        await say(scripted.provider("bad"), ChatMessage("user", "x"))
    assert (caught.value.fault, caught.value.retry_after) == (Fault.RATE_LIMITED, 2)
    with pytest.raises(ProviderFailed, match="over"):
        await say(scripted.provider("bad"), ChatMessage("user", "x"), ChatMessage("assistant"))
