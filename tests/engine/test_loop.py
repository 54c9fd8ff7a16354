"""A turn on scripted ports."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import product

import pytest

from apps.engine.calls import storable
from apps.engine.ports import (
    Denied,
    Ending,
    Fault,
    Go,
    Limits,
    NeedsHuman,
    Sampling,
    ToolCall,
    ToolResult,
    ToolSpec,
    ToolWaits,
    Usage,
)
from apps.engine.providers.scripted import Line
from tests.engine.world import Crash, Gate, Journal, Toolbox, World, asks


async def test_a_plain_chat_is_one_begin_and_one_record_with_the_outcome():
    world = World((Line(("Hel", "lo"), usage=Usage(7, 2)),))
    outcome = await world.run()
    assert world.journal.writes == ["begin", "record"]
    assert world.journal.outcome == outcome
    assert (outcome.ending, outcome.text, outcome.reason) == (Ending.DONE, "Hello", "stop")
    assert outcome.usage == Usage(7, 2)
    assert outcome.cost_micros == 9
    assert world.listener.heard == ["Hel", "lo"]


async def test_a_tool_is_called_and_its_result_is_read_by_the_model():
    world = World((asks("add", text=("Let me see.",)), Line(("It is 4.",))))
    world.toolbox = Toolbox(add="4")
    outcome = await world.run()
    assert world.journal.writes == ["begin", "record"] * 3
    assert [step.kind for step in world.journal.steps] == ["model", "tool", "model"]
    last = world.providers[0].requests[-1].messages[-1]
    assert (last.role, last.content, last.tool_call_id) == ("tool", "4", "c0-add")
    assert world.listener.events == [("started", "add"), ("ended", "add")]
    assert outcome.text == "Let me see.\n\nIt is 4." == world.heard


async def test_all_calls_of_a_reply_are_answered_in_order_before_the_next_model_call():
    world = World((asks("a", "b", "a"), Line(("done",))))
    world.toolbox = Toolbox(a="1", b="2")
    await world.run()
    assert [name for name, _ in world.toolbox.calls] == ["a", "b", "a"]
    answers = [m.content for m in world.providers[0].requests[-1].messages if m.role == "tool"]
    assert answers == ["1", "2", "1"]
    assert len({key for _, key in world.toolbox.calls}) == 3


async def test_two_calls_with_one_id_are_told_apart():
    same = ToolCall("x", "a", {})
    world = World((Line(calls=(same, same)), Line(("done",))))
    world.toolbox = Toolbox(a="1")
    await world.run()
    ids = [call.id for call in world.providers[0].requests[-1].messages[2].tool_calls]
    assert len(set(ids)) == 2
    assert len(world.toolbox.calls) == 2


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (ToolCall("1", "nothing", {}), "There is no tool called 'nothing'."),
        (ToolCall("1", "add", {}, "The arguments are not valid JSON."), "not valid JSON"),
    ],
)
async def test_a_call_that_cannot_be_made_is_an_error_for_the_model(call, words):
    world = World((Line(calls=(call,)), Line(("sorry",))))
    world.toolbox = Toolbox(add="4")
    outcome = await world.run()
    assert outcome.ending is Ending.DONE
    assert words in world.providers[0].requests[-1].messages[-1].content
    assert world.journal.steps[1].status == "error"
    assert world.toolbox.calls == []
    assert world.gate.asked == []


async def test_a_tool_that_crashes_is_an_error_for_the_model_without_its_words():
    world = World((asks("bad"), Line(("sorry",))))
    world.toolbox = Toolbox(bad=RuntimeError("password=hunter2"))
    await world.run()
    content = world.providers[0].requests[-1].messages[-1].content
    assert content == "The tool failed."


async def test_a_denied_call_is_an_error_for_the_model():
    world = World((asks("rm"), Line(("then not",))))
    world.toolbox, world.gate = Toolbox(rm="gone"), Gate(rm=Denied("no deletions here"))
    outcome = await world.run()
    assert outcome.ending is Ending.DONE
    assert "no deletions here" in world.providers[0].requests[-1].messages[-1].content
    assert world.toolbox.calls == []


async def test_a_call_that_needs_a_human_waits_and_goes_on_when_resumed():
    world = World((asks("a", "rm", "b"), Line(("done",))))
    world.toolbox = Toolbox(a="1", rm="gone", b="2")
    world.gate = Gate(rm=NeedsHuman("approval-1"))
    outcome = await world.run()
    assert (outcome.ending, outcome.approval_id) == (Ending.WAITING, "approval-1")
    assert world.journal.writes[-1] == "close"
    assert [name for name, _ in world.toolbox.calls] == ["a"]
    key = world.gate.asked[-1]
    world.gate.verdicts, world.journal.outcome = {}, None
    outcome = await world.run()
    assert outcome.ending is Ending.DONE
    assert [name for name, _ in world.toolbox.calls] == ["a", "rm", "b"]
    assert key in world.gate.asked[2:], "the key is the same when asked again"


async def test_an_interactive_tool_waits():
    world = World((asks("ask_user"),))
    world.toolbox = Toolbox(ask_user=ToolWaits("approval-2"))
    outcome = await world.run()
    assert (outcome.ending, outcome.approval_id) == (Ending.WAITING, "approval-2")
    assert len(world.journal.steps) == 1


async def test_a_client_tool_ends_the_turn_with_the_call():
    world = World((asks("theirs"),))
    outcome = await world.run(client_tools=[ToolSpec("theirs", "", {})])
    assert outcome.ending is Ending.CLIENT_TOOLS
    assert [call.name for call in outcome.calls] == ["theirs"]
    assert world.journal.writes == ["begin", "record"]
    assert world.providers[0].requests[0].tools[0].client


async def test_server_tools_run_before_the_client_gets_its_calls():
    world = World((asks("theirs", "mine"),))
    world.toolbox = Toolbox(mine="1")
    outcome = await world.run(client_tools=[ToolSpec("theirs", "", {})])
    assert outcome.ending is Ending.CLIENT_TOOLS
    assert [call.name for call in outcome.calls] == ["theirs"]
    assert world.journal.writes == ["begin", "record"] * 2
    assert world.journal.outcome == outcome


async def test_a_forced_tool_is_forced_once():
    world = World((asks("a"), Line(("done",))))
    world.toolbox = Toolbox(a="1")
    await world.run(sampling=Sampling(tool_choice="required"))
    choices = [request.sampling.tool_choice for request in world.providers[0].requests]
    assert choices == ["required", None]


async def test_what_a_database_cannot_hold_is_taken_out_before_it_is_journaled():
    odd = ToolCall("i" * 500, "a\0", {"x": float("nan"), "y": ["\0b", "\ud800", 1.5]})
    world = World((Line(("a\0b", "\ud800", "ü"), calls=(odd,)), Line(("done",))))
    world.toolbox = Toolbox(a=ToolResult("r\0", data={"k\0": float("inf")}))
    outcome = await world.run()
    assert outcome.text == "ab?ü\n\ndone" == world.heard
    call = world.journal.steps[0].output["calls"][0]
    assert call["arguments"] == {"x": None, "y": ["b", "?", 1.5]}
    assert (call["name"], len(call["id"]) < 100) == ("a", True)
    assert world.journal.steps[1].output["content"] == "r"
    assert world.journal.steps[1].output["data"] == {"k": None}


def test_what_is_nested_too_deep_is_cut():
    deep = value = []
    for _ in range(500):
        value.append([])
        value = value[0]
    assert "too deep" in str(storable(deep))


# --- Cancellation -----------------------------------------------------------------------------
async def _cancelled_after(world: World, ready) -> object:
    task = asyncio.create_task(world.run())
    while not ready():  # noqa: ASYNC110
        await asyncio.sleep(0)
    world.cancel.set()
    return await asyncio.wait_for(task, 2)


async def test_cancelling_in_mid_stream_keeps_the_text_so_far_and_closes_the_provider():
    world = World((Line(("one ", "two "), hang=True),))
    outcome = await _cancelled_after(world, lambda: world.heard == "one two ")
    assert (outcome.ending, outcome.text) == (Ending.CANCELLED, "one two ")
    step = world.journal.steps[-1]
    assert (step.status, step.output["text"]) == ("cancelled", "one two ")
    assert step.usage.tokens_out > 0, "what was made is paid for"
    assert world.journal.outcome == outcome
    assert world.providers[0].closed == 1


async def test_cancelling_while_the_provider_hangs_ends_the_turn():
    world = World((Line(hang=True),))
    outcome = await _cancelled_after(world, lambda: world.providers[0].requests)
    assert outcome.ending is Ending.CANCELLED
    assert outcome.usage == Usage()


async def test_cancelling_while_a_tool_runs_ends_the_turn():
    async def forever(_call):
        await asyncio.Event().wait()

    world = World((asks("slow"),))
    world.toolbox = Toolbox(slow=forever)
    outcome = await _cancelled_after(world, lambda: world.toolbox.calls)
    assert outcome.ending is Ending.CANCELLED
    assert world.journal.steps[-1].status == "cancelled"


async def test_a_run_cancelled_before_it_began_makes_no_call():
    world = World()
    world.cancel.set()
    outcome = await world.run()
    assert outcome.ending is Ending.CANCELLED
    assert world.providers[0].requests == []
    assert world.journal.writes == ["close"]


async def test_a_cancellation_of_the_task_itself_is_not_swallowed():
    world = World((Line(hang=True),))
    task = asyncio.create_task(world.run())
    while not world.providers[0].requests:  # noqa: ASYNC110
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.journal.outcome is None


@pytest.mark.parametrize(
    ("go", "ending"),
    [(Go.CANCEL, Ending.CANCELLED), (Go.BUDGET, Ending.BUDGET), (Go.LEASE_LOST, Ending.LEASE_LOST)],
)
async def test_the_journal_may_stop_the_turn_before_a_step(go, ending):
    world = World((asks("a"), Line(("never",))))
    world.toolbox = Toolbox(a="1")
    world.journal.go = [Go.ON, Go.ON, go]
    outcome = await world.run()
    assert outcome.ending is ending
    assert len(world.providers[0].requests) == 1
    assert world.journal.outcome == (None if go is Go.LEASE_LOST else outcome)


async def test_a_lost_lease_at_a_record_stops_at_once_and_writes_nothing():
    world = World()
    world.journal.lost = True
    outcome = await world.run()
    assert outcome.ending is Ending.LEASE_LOST
    assert world.journal.steps == []
    assert world.journal.outcome is None


# --- Faults, retries, fallbacks -----------------------------------------------------------------
@pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.SERVER, Fault.TIMEOUT, Fault.BROKEN])
async def test_a_passing_fault_is_tried_again_after_a_growing_pause(fault):
    world = World((Line(fault=fault), Line(fault=fault), Line(("ok",))))
    outcome = await world.run()
    assert (outcome.ending, outcome.text) == (Ending.DONE, "ok")
    assert 0.25 <= world.clock.slept[0] <= 0.5 <= world.clock.slept[1] <= 1.0
    assert world.journal.writes == ["begin", "record"]


async def test_the_pause_a_provider_asks_for_is_kept():
    world = World((Line(fault=Fault.RATE_LIMITED, retry_after=7.0), Line(("ok",))))
    await world.run()
    assert world.clock.slept == [7.0]


async def test_a_pause_that_is_too_long_is_not_waited_for():
    world = World((Line(fault=Fault.RATE_LIMITED, retry_after=3600.0), Line(("ok",))))
    outcome = await world.run()
    assert (outcome.ending, outcome.code) == (Ending.FAILED, "upstream_rate_limited")
    assert world.clock.slept == []


async def test_retries_are_bounded():
    world = World((Line(fault=Fault.SERVER),) * 10, limits=Limits(retries=2, seconds=None))
    outcome = await world.run()
    assert (outcome.ending, outcome.code) == (Ending.FAILED, "upstream_error")
    assert len(world.providers[0].requests) == 3
    assert world.journal.steps[-1].status == "error"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault.AUTH, "provider_auth"),
        (Fault.REJECTED, "upstream_rejected"),
        (Fault.UNKNOWN_MODEL, "model_not_found"),
    ],
)
async def test_a_lasting_fault_is_not_tried_again(fault, code):
    world = World((Line(fault=fault), Line(("ok",))))
    outcome = await world.run()
    assert (outcome.ending, outcome.code) == (Ending.FAILED, code)
    assert len(world.providers[0].requests) == 1


@pytest.mark.parametrize("fault", [Fault.AUTH, Fault.SERVER])
async def test_a_fallback_model_answers_when_the_first_cannot(fault):
    world = World((Line(fault=fault),) * 4, fallback=(Line(("from the other",)),))
    outcome = await world.run()
    assert (outcome.text, outcome.model) == ("from the other", "scripted/1")
    assert world.journal.steps[0].name == "scripted/1"


async def test_a_stream_that_breaks_after_its_first_token_is_not_repeated():
    world = World(
        (Line(("half",), fault=Fault.SERVER), Line(("again",))), fallback=(Line(("other",)),)
    )
    outcome = await world.run()
    assert (outcome.ending, outcome.code) == (Ending.FAILED, "upstream_broken")
    assert outcome.text == "half" == world.heard
    assert world.journal.steps[-1].output["text"] == "half"


async def test_a_provider_that_fails_in_an_unforeseen_way_is_a_server_fault(caplog):
    world = World(limits=Limits(retries=0, seconds=None))

    class Bad:
        name = "bad"

        async def stream(self, request):
            raise KeyError("secret")
            yield

    world.providers = [Bad()]
    outcome = await world.run()
    assert (outcome.ending, outcome.code) == (Ending.FAILED, "upstream_error")
    assert "secret" not in outcome.message
    assert "secret" in caplog.text


# --- Limits -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (Limits(steps=2), "step_limit"),
        (Limits(tokens=10), "token_limit"),
        (Limits(cost_micros=10), "cost_limit"),
        (Limits(tool_calls=1), "tool_call_limit"),
    ],
)
async def test_a_cap_of_the_run_refuses_the_step_that_would_pass_it(limits, code):
    world = World((asks("a", "a"), Line(("never",))), limits=limits)
    world.toolbox = Toolbox(a="1")
    outcome = await world.run()
    assert (outcome.ending, outcome.code) == (Ending.BUDGET, code)
    assert world.heard == ""
    assert world.journal.outcome == outcome


async def test_the_worst_case_is_reserved_before_a_model_is_asked():
    world = World((Line(("x",), usage=Usage(12, 100)),))
    await world.run(sampling=Sampling(max_tokens=100))
    worst = world.journal.reserved[0]
    assert worst.tokens >= 112
    assert worst.cost_micros == worst.tokens, "at a price of one micro-USD a token"
    assert world.providers[0].requests[0].sampling.max_tokens == 100


async def test_a_tool_reserves_one_call():
    world = World((asks("a"), Line(("done",))))
    world.toolbox = Toolbox(a="1")
    await world.run()
    assert [spend.tool_calls for spend in world.journal.reserved] == [0, 1, 0]


async def test_the_time_limit_ends_a_hanging_provider():
    world = World((Line(("a",), hang=True),), limits=Limits(seconds=5.0))
    outcome = await asyncio.wait_for(world.run(), 5)
    assert (outcome.ending, outcome.code, outcome.text) == (Ending.FAILED, "time_limit", "a")
    assert world.clock.now == 1005.0


async def test_the_time_limit_spans_the_turn_and_its_earlier_lives():
    async def slow(_call):
        world.clock.now += 4
        return ToolResult("1")

    world = World((asks("slow"),) * 9, limits=Limits(seconds=10.0))
    world.toolbox = Toolbox(slow=slow)
    world.journal.go = [Go.ON, Go.ON, Go.LEASE_LOST]
    await world.run()
    world.journal.lost = False
    outcome = await world.run()
    assert outcome.code == "time_limit"
    assert len(world.toolbox.calls) == 3


# --- Crashes ------------------------------------------------------------------------------------
def _story() -> World:
    world = World((asks("a", "b", text=("Look.",)), asks("a"), Line(("The end",))))
    world.toolbox = Toolbox(a="1", b="2")
    world.gate = Gate(b=Denied("no"))
    return world


async def _resume(world: World) -> None:
    """Run again after a crash. The script goes on where the journal stands, as a model would."""
    done = sum(step.kind == "model" for step in world.journal.steps)
    world.providers[0].requests = world.providers[0].requests[:done]
    await world.run()


def _journaled(world: World) -> list[tuple]:
    return [(step.kind, step.name, step.status, step.output) for step in world.journal.steps]


async def test_a_crash_at_any_write_repeats_no_journaled_step():
    whole = _story()
    expected = await whole.run()
    writes = len(whole.journal.writes)
    assert writes == 12
    for crash_at, after in product(range(writes), (False, True)):
        world = _story()
        world.journal = Journal(crash_at, after=after)
        with pytest.raises(Crash):
            await world.run()
        before = _journaled(world)
        if world.journal.outcome is None:
            await _resume(world)
        assert world.journal.outcome == expected, (crash_at, after)
        assert _journaled(world) == _journaled(whole)
        assert _journaled(world)[: len(before)] == before
        keys = [key for _, key in world.toolbox.calls]
        assert set(keys) == {key for _, key in whole.toolbox.calls}, "a repeat has the same key"
        assert len(keys) - len(set(keys)) <= 1, "only a call without a journaled result is repeated"


async def test_any_two_crashes_in_one_turn_are_survived():
    whole = _story()
    expected = await whole.run()
    survived = 0
    for first, second, after in product(range(12), range(12), (False, True)):
        world = _story()
        world.journal = Journal(first, after=after)
        with pytest.raises(Crash):
            await world.run()
        world.journal.crash_at = len(world.journal.writes) + second
        while world.journal.outcome is None:
            with suppress(Crash):
                await _resume(world)
        survived += 1
        assert world.journal.outcome == expected, (first, second, after)
        assert _journaled(world) == _journaled(whole)
    assert survived == 288


async def test_an_error_of_the_journal_is_raised_and_not_written_over():
    world = World()
    world.journal = Journal(1)
    with pytest.raises(Crash):
        await world.run()
    assert world.journal.outcome is None
