"""The model in this process really answers."""

from __future__ import annotations

import asyncio
import os

import httpx
import pytest

from apps.engine.ports import ChatMessage, Finished, ModelRequest, Sampling, TextDelta, ToolSpec
from apps.engine.providers import local

if not local.installed() and not os.environ.get("POLYMUX_REQUIRE_SERVICES"):
    pytest.skip("the local extra is not installed", allow_module_level=True)


async def ask(words, **options):
    request = ModelRequest(
        "smollm2",
        (ChatMessage("user", words),),
        sampling=Sampling(max_tokens=24),
        **options,
    )
    return [event async for event in local.Local().stream(request)]


async def test_it_knows_the_capital_of_france_and_first_calls_share_one_load():
    heard = []
    loading = local.load(heard.append)
    tool = ToolSpec("add", "adds", {"type": "object"})
    first, second = await asyncio.gather(
        ask("What is the capital of France?"),
        ask("What is the capital of France?", tools=(tool,)),
    )
    assert local.load() is loading
    for events in (first, second):
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert "Paris" in text
        assert isinstance(events[-1], Finished)
        assert events[-1].usage.tokens_out > 0
    assert any("loading" in words for words in heard) or loading.done()


async def test_its_port_answers_nobody_without_the_key():
    provider = await asyncio.wrap_future(local.load())
    async with httpx.AsyncClient(trust_env=False) as http:
        url = f"{provider.base_url}/chat/completions"
        assert (await http.post(url, json={"messages": []})).status_code == 401
        assert provider.base_url.startswith("http://127.0.0.1:")
        key = {"Authorization": f"Bearer {provider.api_key}", "Origin": "http://evil.test"}
        page = await http.get(provider.base_url.removesuffix("/v1") + "/", headers=key)
        assert page.status_code == 404, "no user interface"
        assert not page.headers.get("access-control-allow-origin")
