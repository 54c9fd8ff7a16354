"""A whole turn over real HTTP: the loop, the provider and a server."""

from __future__ import annotations

import asyncio
import time

import pytest

from apps.engine.ports import Ending, Limits
from apps.engine.providers.openai_compatible import OpenAICompatible
from tests.engine.world import Toolbox, World
from tests.support.stub_provider import Reply, StubProvider


class RealClock:
    def monotonic(self):
        return time.monotonic()

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)


@pytest.fixture
def stub():
    with StubProvider() as server:
        yield server


def world_of(stub, *models, **options):
    world = World(clock=RealClock(), **options)
    world.providers = [OpenAICompatible("stub", stub.base_url) for _ in models or ("m",)]
    return world


async def test_a_tool_is_called_and_the_turn_is_done(stub):
    stub.queue(Reply("Let me see.", calls=(("add", {"a": 1}),)), Reply("It is 2."))
    world = world_of(stub)
    world.toolbox = Toolbox(add="2")
    outcome = await world.run()
    assert (outcome.ending, outcome.text) == (Ending.DONE, "Let me see.\n\nIt is 2.")
    assert stub.requests[-1].body["messages"][-1]["content"] == "2"
    assert outcome.usage.tokens_in > 0


async def test_a_failing_server_is_tried_again_until_it_answers(stub):
    stub.queue(Reply(status=429, retry_after=0.1), Reply(status=500), Reply("at last"))
    outcome = await world_of(stub).run()
    assert outcome.text == "at last"
    assert len(stub.requests) == 3
    assert stub.requests[1].at - stub.requests[0].at >= 0.1


async def test_a_server_that_dies_in_mid_stream_leaves_the_text_so_far(stub):
    stub.queue(Reply("one two three", die_after=2))
    outcome = await world_of(stub).run()
    assert (outcome.ending, outcome.code) == (Ending.FAILED, "upstream_broken")
    assert outcome.text == "one two "
    assert len(stub.requests) == 1


async def test_cancelling_reaches_the_server_at_once(stub):
    stub.queue(Reply(("tok ",) * 1000, rate=50))
    world = world_of(stub)
    task = asyncio.create_task(world.run())
    while not world.heard:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    when = time.monotonic()
    world.cancel.set()
    outcome = await task
    assert time.monotonic() - when < 0.5
    assert (outcome.ending, outcome.text) == (Ending.CANCELLED, world.heard)
    assert await asyncio.to_thread(stub.requests[-1].wait_disconnected, 2)
    assert stub.requests[-1].gone_at - when < 0.5


async def test_cancelling_while_the_server_is_silent(stub):
    stub.queue(Reply(hang=True))
    world = world_of(stub)
    task = asyncio.create_task(world.run())
    while not stub.requests:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    world.cancel.set()
    assert (await asyncio.wait_for(task, 2)).ending is Ending.CANCELLED
    assert await asyncio.to_thread(stub.requests[-1].wait_disconnected, 2)


async def test_the_time_limit_of_the_run_ends_a_slow_reply(stub):
    stub.queue(Reply(("tok ",) * 1000, rate=50))
    outcome = await world_of(stub, limits=Limits(seconds=0.4)).run()
    assert (outcome.ending, outcome.code) == (Ending.FAILED, "time_limit")
    assert outcome.text.startswith("tok ")


async def test_a_server_that_goes_down_is_replaced_by_the_fallback(stub):
    stub.queue(*[Reply(status=401)], Reply("from the second"))
    outcome = await world_of(stub, "a", "b", fallback=()).run()
    assert (outcome.text, outcome.model) == ("from the second", "scripted/1")
