"""One formation takes its share and no more: turns, tokens, and the memory of its tools."""

from __future__ import annotations

import pytest
from django.db import transaction

from apps.formations import services
from apps.formations.errors import FormationBusy
from apps.formations.limits import Limits, limits_of, tool_memory
from apps.formations.models import McpServer
from apps.runs.models import Run
from apps.runs.selectors import need_turn_room
from apps.runs.services import queue_run
from tests.formations.test_mcp import STDIO, opened  # noqa: F401  (a fixture)
from tests.support.formations import document_of, make_formation

pytestmark = pytest.mark.django_db

THREE = Limits(turns=3, tokens_a_minute=1000, tool_memory=0)


def begin(actor, limits=THREE):
    with transaction.atomic():
        need_turn_room(actor, limits)
        return queue_run(actor, kind="chat")[0]


def begin_without_guard(actor, met):
    """As `begin`, with the check outside the transaction that queues the run."""
    need_turn_room(actor, THREE)
    met.wait()
    return queue_run(actor, kind="chat")[0]


def test_the_file_says_more_or_less_than_the_installation(settings):
    settings.FORMATION_TURNS, settings.TOOL_MEMORY_MB = 7, 32
    assert limits_of({}) == Limits(7, 0, 32 << 20)
    said = {"max_concurrent_turns": 2, "tokens_per_minute": 5, "tool_memory_mb": 64}
    assert limits_of({"limits": said}) == Limits(2, 5, 64 << 20)
    nonsense = {"max_concurrent_turns": 0, "tokens_per_minute": -1, "tool_memory_mb": "many"}
    assert limits_of({"limits": nonsense}) == limits_of({"limits": None}) == limits_of({})


def test_a_full_formation_refuses_and_the_next_one_does_not(aurora, borealis, recording_queue):
    runs = [begin(aurora.ada) for _ in range(3)]
    with pytest.raises(FormationBusy) as refused:
        begin(aurora.ada)
    assert refused.value.details["retry_after"] == 1
    begin(borealis.mallory)
    waiting = Run.objects.in_workspace(aurora.id).filter(pk=runs[0].pk)
    waiting.update(status="waiting")  # for a human: it takes nothing
    begin(aurora.ada)


def test_spent_tokens_refuse_until_the_minute_is_over(aurora, recording_queue):
    run = begin(aurora.ada)
    mine = Run.objects.in_workspace(aurora.id).filter(pk=run.pk)
    mine.update(status="succeeded", tokens_in=900, tokens_out=100)
    with pytest.raises(FormationBusy):
        begin(aurora.ada)
    begin(aurora.ada, Limits(turns=3, tokens_a_minute=0, tool_memory=0))


@pytest.mark.django_db(transaction=True)
def test_no_two_turns_take_the_last_place(race, aurora, recording_queue):
    outcome = race(begin, aurora.ada, runners=8)
    assert outcome.winners == 3
    assert set(outcome.errors) == {FormationBusy}


@pytest.mark.django_db(transaction=True)
def test_the_race_for_the_last_place_is_real(race, aurora, recording_queue):
    """Control: checked outside the transaction, all get in."""
    import threading

    met = threading.Barrier(5, timeout=20)
    assert race(begin_without_guard, aurora.ada, met, runners=5).winners == 5


def test_tools_of_a_formation_take_what_its_file_allows(aurora, settings):
    settings.TOOL_MEMORY_MB = 100
    document = document_of(config={"limits": {"tool_memory_mb": 40}})
    made = make_formation(aurora.ada, document=document)
    assert tool_memory(made.home_id) == 40 << 20
    assert tool_memory(aurora.id) == 100 << 20


@pytest.mark.django_db(transaction=True)
def test_a_tool_that_swells_is_ended_alone(operator, opened, settings, monkeypatch):  # noqa: F811
    monkeypatch.setattr("apps.formations.mcp_stdio.LOOK_EVERY", 0.05)
    settings.TOOL_MEMORY_MB = 400
    server = services.add_mcp_server(operator, name="kit", transport="stdio", command=STDIO)
    box = opened()
    result = opened.call(box, "kit__swell", {"mebibytes": 600})
    assert result.is_error
    assert "It took more than 400 MiB of memory." in result.content
    assert McpServer.unscoped.get(id=server.id).status == "failed"
    assert opened.call(opened(), "kit__add", {"a": 1, "b": 1}).content == "2"  # a new process
