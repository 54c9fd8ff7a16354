"""Tools that end the turn and hand something to the caller; and what forty tools cost."""

from __future__ import annotations

import json

import pytest

from apps.engine.history import estimate, tool_tokens
from apps.engine.ports import Ending, ModelChoice, ModelRequest, ToolEnds, ToolSpec
from apps.engine.providers.local import Local
from apps.engine.providers.openai_compatible import OpenAICompatible
from apps.engine.replies import offered_to
from apps.engine.state import rebuild
from tests.engine.world import HELLO, Line, Toolbox, World, asks

QUESTION = {"questions": [{"id": "q1", "question": "Which city?"}]}


async def test_the_turn_ends_with_what_is_handed_over():
    world = World((asks("ask", text=("Well. ",)),))
    world.toolbox = Toolbox(ask=ToolEnds("ask_user", QUESTION, "Which city?"))
    outcome = await world.run()
    assert (outcome.ending, outcome.handed) == (Ending.HANDED_OVER, ("ask_user", QUESTION))
    assert outcome.text == world.heard == "Well. "
    assert [(s.kind, s.status) for s in world.journal.steps] == [
        ("model", "ok"),
        ("tool", "interrupted"),
    ]
    assert world.journal.outcome == outcome


async def test_a_model_that_said_nothing_is_given_the_tools_words():
    world = World((asks("ask"),))
    world.toolbox = Toolbox(ask=ToolEnds("ask_user", QUESTION, "Which city?"))
    outcome = await world.run()
    assert outcome.text == world.heard == "Which city?"


async def test_the_first_that_hands_over_wins_and_its_siblings_are_dropped():
    world = World((asks("write", "ask", "open", "theirs"),))
    world.toolbox = Toolbox(
        write="written", ask=ToolEnds("ask_user", {}), open=ToolEnds("open_file", {})
    )
    outcome = await world.run(client_tools=[ToolSpec("theirs", "", {})])
    assert outcome.handed == ("ask_user", {})
    assert outcome.calls == ()
    assert [name for name, _ in world.toolbox.calls] == ["ask"]


async def test_a_hand_over_that_makes_no_sense_is_told_to_the_model_and_the_turn_goes_on():
    class Odd(Toolbox):
        async def specs(self):
            return [ToolSpec("ask", "", {}, ends_turn=True), ToolSpec("write", "", {})]

    world = World((asks("write", "ask"), Line(("Done.",))))
    world.toolbox = Odd(ask="the arguments do not fit", write="written")
    outcome = await world.run()
    assert (outcome.ending, outcome.text) == (Ending.DONE, "Done.")
    assert [name for name, _ in world.toolbox.calls] == ["ask", "write"]


async def test_nothing_is_left_to_do_after_a_hand_over():
    world = World((asks("write", "ask"),))
    world.toolbox = Toolbox(write="written", ask=ToolEnds("ask_user", {}))
    await world.run()
    assert rebuild(HELLO, world.journal.steps).pending == ()


def test_a_tools_json_is_made_once():
    tool = ToolSpec("add", "adds", {"type": "object", "properties": {"a": {"type": "integer"}}})
    assert tool.function is tool.function
    assert json.loads(tool.function)["function"]["parameters"] == tool.parameters
    assert estimate((), [tool]) == tool_tokens(tool) >= len(tool.function) / 4


def test_the_body_of_a_request_holds_its_tools():
    tools = [ToolSpec("add", "adds", {"type": "object"}), ToolSpec('q"', "x", {})]
    sent = OpenAICompatible("x", "http://x")._body(ModelRequest("m", HELLO, tools))
    assert [tool["function"]["name"] for tool in json.loads(sent)["tools"]] == ["add", 'q"']
    assert "tools" not in json.loads(OpenAICompatible("x", "http://x")._body(ModelRequest("m", [])))


@pytest.mark.parametrize(("window", "offered"), [(128_000, 40), (4_096, 9), (100, 0)])
def test_a_small_window_is_not_filled_with_tools(window, offered):
    tools = [ToolSpec(f"t{n:02}", "x" * 300, {}) for n in range(40)]
    assert tool_tokens(tools[0]) * 9 <= 4_096 // 3 < tool_tokens(tools[0]) * 10
    choice = ModelChoice("x/m", OpenAICompatible("x", "http://x"), "m", window=window)
    assert len(offered_to(choice, tools)[0]) == offered


def test_a_model_that_calls_no_tools_is_told_of_none():
    choice = ModelChoice("local/smollm2", Local(), "m", window=4_096)
    assert offered_to(choice, [ToolSpec("add", "adds", {})]) == ((), 0)
