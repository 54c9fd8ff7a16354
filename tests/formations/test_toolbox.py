"""The tools of a run: what is offered, and that no tool can break the run."""

from __future__ import annotations

import asyncio

import pytest

from apps.core import tools
from apps.core.errors import InvalidInput, ScopeInsufficient
from apps.core.ids import uuid7
from apps.core.tools import ToolFailed, WaitForHuman
from apps.engine.ports import ToolCall, ToolEnds, ToolSpec, ToolWaits
from apps.formations import policy, services
from apps.formations.toolbox import MOST_TOOLS, WorkspaceToolBox, as_result, remote_name
from apps.formations.validation import problems
from apps.workspaces.models import Workspace

pytestmark = pytest.mark.django_db(transaction=True)


def names(box):
    return {spec.name for spec in asyncio.run(box.specs())}


def call(box, name, arguments, key="k"):
    return asyncio.run(box.call(ToolCall("c1", name, arguments), key=key))


async def echo(context, arguments):
    return {"n": arguments["n"], "key": context.key}


def test_what_is_registered_is_offered(box):
    assert {"now", "memory_read", "memory_append", "ask_user", "request_approval"} <= names(box())


def test_an_agent_gets_what_it_names(box):
    assert names(box(["memory_*"])) == {"memory_read", "memory_append"}
    assert names(box([])) == set()


def test_a_tool_that_is_off_by_default_must_be_named(box, register):
    register("odd", echo, enabled_by_default=False)
    assert "odd" not in names(box())
    assert "odd" not in names(box(["*"]))
    assert "odd" in names(box(["odd"]))


def test_a_workspace_switches_a_tool_off_for_everybody(aurora, box):
    assert "now" in names(box())
    services.set_tool(aurora.ada, "now", enabled=False)
    assert "now" not in names(box())
    assert "now" not in names(box(["now"]))
    services.set_tool(aurora.ada, "memory_*", enabled=False)
    services.set_tool(aurora.ada, "memory_read", enabled=True)
    assert {"memory_read"} == {name for name in names(box()) if name.startswith("memory")}


def test_a_workspace_may_have_no_tools_at_all(aurora, box):
    Workspace.objects.filter(id=aurora.id).update(settings={"tools_enabled": False})
    assert names(box()) == set()


def test_the_setting_of_one_workspace_is_not_anothers(aurora, borealis, box):
    services.set_tool(borealis.mallory, "now", enabled=False)
    assert "now" in names(box())


def test_tool_settings_are_for_administrators(aurora):
    with pytest.raises(ScopeInsufficient):
        services.set_tool(aurora.ben, "now", enabled=False)
    with pytest.raises(InvalidInput):
        services.set_tool(aurora.ada, "no such name!", enabled=False)
    with pytest.raises(InvalidInput):
        services.set_tool(aurora.ada, "now", enabled=True, timeout=601)


def test_opening_costs_one_query_and_then_none(context, box, count_queries):
    def read():
        return policy.tool_policy(context.actor)

    with count_queries(1):
        read()
    with count_queries(0):
        assert policy.remembered_policy(context.actor) is not None
    policy.forget_policy(context.actor.workspace_id)
    with count_queries(0):
        assert policy.remembered_policy(context.actor) is None


def test_without_tools_nothing_is_read(monkeypatch, box):
    def read(actor):
        raise AssertionError("the policy was read")

    monkeypatch.setattr("apps.formations.policy.tool_policy", read)
    assert names(box([])) == set()
    with pytest.raises(AssertionError):
        box()


def test_clients_tools_come_along_but_are_not_run_here(context):
    theirs = ToolSpec("theirs", "", {"type": "object"}, client=True)
    box = asyncio.run(WorkspaceToolBox.open(context, [], [theirs]))
    assert asyncio.run(box.specs()) == (theirs,)
    assert call(box, "theirs", {}).is_error


def test_there_are_at_most_128_tools(context):
    many = [ToolSpec(f"t{n}", "", {"type": "object"}, client=True) for n in range(200)]
    assert len(names(asyncio.run(WorkspaceToolBox.open(context, None, many)))) == MOST_TOOLS


def test_a_call_gives_its_result_and_its_key(box, register):
    register("echo", echo)
    result = call(box(), "echo", {"n": 3}, key="run:4")
    assert (result.data, result.is_error) == ({"n": 3, "key": "run:4"}, False)
    assert result.content == '{"n": 3, "key": "run:4"}'


def test_arguments_that_do_not_fit_are_explained(box, register):
    register("echo", echo)
    result = call(box(), "echo", {"n": 0, "m": 1})
    assert result.is_error
    assert "n: 0 is less than the minimum of 1" in result.content
    assert "'m' was unexpected" in result.content


def test_arguments_that_were_no_json_are_explained(box):
    broken = ToolCall("c1", "now", {}, error="Expecting value")
    result = asyncio.run(box().call(broken, key="k"))
    assert result.is_error
    assert "not valid JSON" in result.content


def test_an_unknown_tool_is_named_with_those_there_are(box):
    result = call(box(["now"]), "rm_rf", {})
    assert result.is_error
    assert result.content.endswith("Available: now.")


def test_a_tool_may_fail_in_its_own_words(box, register):
    async def refuse(context, arguments):
        raise ToolFailed("The oven is cold.")

    register("bake", refuse)
    result = call(box(), "bake", {"n": 1})
    assert (result.content, result.is_error) == ("The oven is cold.", True)


def test_a_crash_is_logged_and_not_shown(box, register, caplog):
    async def crash(context, arguments):
        raise RuntimeError("password=hunter2")

    register("crash", crash)
    result = call(box(), "crash", {"n": 1})
    assert (result.content, result.is_error) == ("The tool failed unexpectedly.", True)
    assert "hunter2" in caplog.text


def test_a_tool_has_its_time_and_no_more(aurora, box, register):
    async def dawdle(context, arguments):
        await asyncio.sleep(30)

    register("dawdle", dawdle)
    services.set_tool(aurora.ada, "dawdle", enabled=True, timeout=0.05)
    result = call(box(), "dawdle", {"n": 1})
    assert result.is_error
    assert "0.05 seconds" in result.content


def test_a_long_output_is_cut_with_a_mark(box, register):
    async def babble(context, arguments):
        return "x" * 1000

    register("babble", babble, max_output=100)
    result = call(box(), "babble", {"n": 1})
    assert result.content == "x" * 100 + "\n[cut: 100 of 1000 characters shown]"


def test_an_output_can_be_stored():
    result = as_result({"a": "\x00", "b": "\ud800"}, 1000)
    assert result.data is None
    result.content.encode()
    assert "\x00" not in as_result("a\x00b", 100).content


def test_waiting_for_a_human_leaves_the_toolbox(box, register):
    waiting = uuid7()

    async def wait(context, arguments):
        raise WaitForHuman(waiting)

    register("wait", wait, interactive=True)
    with pytest.raises(ToolWaits) as raised:
        call(box(), "wait", {"n": 1})
    assert raised.value.approval_id == str(waiting)


def test_a_foreign_schema_reaches_no_network_and_holds_no_loop():
    assert problems("d1", {"$ref": "http://127.0.0.1:9/x"}, {})[0].startswith("The tool's schema")
    slow = {"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    assert problems("d2", slow, {"a": "a" * 60 + "!"}) == []
    assert problems("d3", {"$ref": "#"}, {})
    assert problems("d4", {"type": 7}, {})


def test_remote_names_fit_every_provider():
    assert remote_name("files", "read.file") == "files__read_file"
    long = remote_name("a" * 40, "b" * 64)
    assert len(long) == 64
    assert long != remote_name("a" * 40, "b" * 63)


def test_the_time_is_told_in_a_zone(box):
    assert call(box(), "now", {"timezone": "Asia/Tokyo"}).data["time"].endswith("+09:00")
    assert call(box(), "now", {"timezone": "../etc/passwd"}).is_error


# --- The orchestrator's tools, and those that hand over ---------------------------------------------
async def show(context, arguments):
    return {"shown": arguments["n"]}


def orchestrators(register, **options):
    register("steer", echo, tags=frozenset({tools.ORCHESTRATOR}), **options)


def opened(context, allowed=None, **options):
    return asyncio.run(WorkspaceToolBox.open(context, allowed, **options))


def test_only_the_orchestrator_has_its_tools_unless_an_agent_names_one(context, register):
    orchestrators(register)
    assert "steer" not in names(opened(context))
    assert "steer" not in names(opened(context, ["*"]))
    assert "steer" not in names(opened(context, ["st*"]))
    assert "steer" in names(opened(context, ["steer"]))
    assert "steer" in names(opened(context, leads=True))
    assert {"steer", "now"} <= names(opened(context, ["now"], leads=True))
    assert names(opened(context, [], leads=True)) == set()


def test_a_workspace_switches_an_orchestrators_tool_off(aurora, context, register):
    orchestrators(register)
    services.set_tool(aurora.ada, "steer", enabled=False)
    assert "steer" not in names(opened(context, leads=True))
    assert "steer" not in names(opened(context, ["steer"]))


def test_a_tool_that_only_hands_over_is_offered_where_somebody_takes_it(context, register):
    register("show", echo, hand_over=tools.HandOver("look", show))
    assert "show" not in names(opened(context))
    box = opened(context, hands_over=True)
    with pytest.raises(ToolEnds) as ends:
        call(box, "show", {"n": 2})
    assert (ends.value.reason, ends.value.payload, ends.value.words) == ("look", {"shown": 2}, "")


def test_a_tool_with_another_way_takes_it_where_nobody_takes_what_is_handed_over(context, register):
    other = {"type": "object", "properties": {"n": {"type": "string"}}}
    over = tools.HandOver("look", show, words=str, parameters=other, only=False)
    register("reveal", echo, hand_over=over)
    assert call(opened(context), "reveal", {"n": 2}).data == {"n": 2, "key": "k"}
    box = opened(context, hands_over=True)
    assert call(box, "reveal", {"n": 2}).is_error, "these are the other way's arguments"
    with pytest.raises(ToolEnds) as ends:
        call(box, "reveal", {"n": "two"})
    assert ends.value.words == "{'shown': 'two'}"


def test_what_cannot_be_handed_over_is_told_to_the_model(context, register):
    async def refuse(context, arguments):
        raise ToolFailed("There is nothing to show.")

    register("show", echo, hand_over=tools.HandOver("look", refuse))
    answer = call(opened(context, hands_over=True), "show", {"n": 1})
    assert (answer.is_error, answer.content) == (True, "There is nothing to show.")


def test_a_tool_is_described_once_for_all_runs(context):
    first, second = (asyncio.run(opened(context, leads=True).specs()) for _ in range(2))
    assert all(ours is theirs for ours, theirs in zip(first, second, strict=True))
