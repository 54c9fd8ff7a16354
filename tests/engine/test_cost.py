"""What a token costs, counted in calls.

CPU time depends on what else the machine and this process do (`make bench` measures it); how many calls
Python makes does not.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from apps.engine.ports import ChatMessage, ModelRequest
from apps.engine.providers.openai_compatible import OpenAICompatible

ROOT = Path(__file__).resolve().parents[2]
MODEL, TOKENS = "tokens-50@50", 50  # a packet a token


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


async def _calls_of(stream) -> float:
    """Calls of Python functions a token, in this thread, once connections are warm."""
    await stream()
    counted = 0

    def count(_frame, event, _argument):
        nonlocal counted
        counted += event == "call"

    sys.setprofile(count)
    try:
        await stream()
    finally:
        sys.setprofile(None)
    return counted / TOKENS


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

        floor = await _calls_of(theirs)
        cost = await _calls_of(ours)
    assert cost < floor, f"{cost:.0f} calls a token against {floor:.0f}"
