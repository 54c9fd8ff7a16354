"""What a token costs. Ratios only: machines differ, and other work runs beside the tests."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from apps.engine.ports import ChatMessage, ModelRequest
from apps.engine.providers.openai_compatible import OpenAICompatible

ROOT = Path(__file__).resolve().parents[2]
MODEL, STREAMS, TOKENS = "tokens-100@50", 30, 100


@pytest.fixture(scope="module")
def base_url():
    """The stub in a process of its own, so that its work is not counted as ours."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.support.stub_provider", "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield server.stdout.readline().strip()
    server.terminate()
    server.wait(5)
    server.stdout.close()


async def _cpu_of(stream) -> float:
    await stream()
    began = time.process_time()
    await asyncio.gather(*(stream() for _ in range(STREAMS)))
    return (time.process_time() - began) / (STREAMS * TOKENS)


async def test_a_token_through_the_provider_costs_less_than_httpx_alone(base_url):
    provider = OpenAICompatible("stub", base_url)
    request = ModelRequest(MODEL, (ChatMessage("user", "hi"),))
    body = {"model": MODEL, "stream": True, "messages": []}

    async def ours():
        async for _ in provider.stream(request):
            pass

    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:

        async def theirs():
            async with http.stream("POST", f"{base_url}/chat/completions", json=body) as response:
                async for _ in response.aiter_raw():
                    pass

        floor = await _cpu_of(theirs)
        cost = await _cpu_of(ours)
    assert cost < floor, f"{cost * 1e6:.0f} us a token against {floor * 1e6:.0f}"
