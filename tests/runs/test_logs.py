"""A run's log, from its journal (contract/polpo.md §14)."""

from __future__ import annotations

import asyncio

import pytest

from apps.core.actor import Actor
from apps.core.errors import NotFound
from apps.core.ids import base62, uuid7
from apps.core.redact import HIDDEN
from apps.engine.ports import Ending, Outcome, StepRecord
from apps.events.selectors import list_log_entries, list_log_sessions
from apps.runs import kinds
from apps.runs.journal import RunJournal
from apps.runs.logs import run_log
from apps.runs.services import cancel_run, claim_run, open_run
from tests.runs.test_journal import Probe, done, model_step

pytestmark = pytest.mark.django_db(transaction=True)

CALL = {
    "id": "call_1",
    "name": "http_fetch",
    "arguments": {
        "url": "https://example.org",
        "apiKey": "k-1",
        "auth": {"user": "u"},
        "headers": [{"X-Access-Token": "t-1", "author": "Ada"}],
        "max_tokens": 5,
    },
}


@pytest.fixture
def held(aurora, recording_queue, monkeypatch):
    monkeypatch.setitem(kinds._handlers, "probe", Probe())
    task = uuid7()
    run = open_run(aurora.ada, kind="probe", subject=("task", task))
    hold, _, _ = claim_run(aurora.id, run.pk)
    return run, RunJournal(Actor.for_engine(aurora.id), hold), task


def tool_step(index, content="fetched", status="ok"):
    output = {"content": content, "is_error": status != "ok", "data": None}
    return StepRecord(index, "tool", "http_fetch", status, call_id="call_1", output=output)


def finish(journal, *steps, outcome=None):
    async def write():
        for step in steps:
            await journal.record(step)
        await journal.close(outcome or done())

    asyncio.run(write())


def entries(aurora, run, **more):
    return list_log_entries(aurora.ada, f"run-{base62(run.pk)}", surface="polpo", **more)


def test_a_runs_log_tells_its_life_and_its_transcript(aurora, held):
    run, journal, task = held
    finish(journal, model_step(calls=[CALL]), tool_step(2, "x" * 3_000), model_step(3))
    header, *rest = entries(aurora, run)
    assert (header["_run"], header["runId"], header["pid"]) == (True, base62(run.pk), 0)
    assert (header["taskId"], header["agentName"]) == (base62(task), "")
    kinds_told = [entry.get("event") or entry["type"] for entry in rest]
    assert kinds_told == [
        *("spawning", "spawned", "assistant", "tool_use", "tool_result", "assistant", "done"),
    ]
    result = rest[4]
    assert (result["toolId"], result["isError"], len(result["content"])) == ("call_1", False, 2000)
    assert [entry["ts"] for entry in rest] == sorted(entry["ts"] for entry in rest)


def test_inputs_that_look_secret_are_hidden(aurora, held):
    run, journal, _ = held
    finish(journal, model_step(calls=[CALL]))
    told = next(entry for entry in entries(aurora, run) if entry.get("type") == "tool_use")
    assert (told["tool"], told["toolId"]) == ("http_fetch", "call_1")
    assert told["input"] == {
        "url": "https://example.org",
        "apiKey": HIDDEN,
        "auth": HIDDEN,
        "headers": [{"X-Access-Token": HIDDEN, "author": "Ada"}],
        "max_tokens": 5,
    }


def test_a_failure_says_why(aurora, held):
    run, journal, _ = held
    failed = Outcome(Ending.FAILED, code="provider_down", message="No answer.")
    finish(journal, tool_step(1, status="error"), outcome=failed)
    *_, result, last = entries(aurora, run)
    assert result["isError"] is True
    assert last["event"] == "error"
    assert last["data"] == {"code": "provider_down", "message": "No answer."}


def test_runs_are_listed_with_as_many_entries_as_they_have(aurora, held, count_queries):
    run, journal, _ = held
    finish(journal, model_step(calls=[CALL]), tool_step(2), model_step(3))
    waiting = open_run(aurora.ada, kind="probe")
    cancel_run(aurora.ada, waiting.pk, reason="enough")
    with count_queries(3, at_most=True):  # the days, the runs, their steps
        listed = list_log_sessions(aurora.ada, surface="polpo")
    counts = {session.id: session.entries for session in listed if session.id[:4] == "run-"}
    assert counts == {f"run-{base62(one.pk)}": len(entries(aurora, one)) for one in (run, waiting)}
    begun = [session.started_at for session in listed]
    assert begun == sorted(begun, reverse=True)


def test_a_long_log_keeps_its_header_and_its_newest_entries(aurora, held):
    run, journal, _ = held
    finish(journal, *(tool_step(n, str(n)) for n in range(1, 8)))
    header, *rest = entries(aurora, run, limit=4)
    assert header["_run"] is True
    assert [entry.get("content") or entry["event"] for entry in rest] == ["6", "7", "done"]


@pytest.mark.parametrize("name", ["run-", "run-nobody!", "run-351viJtqpct3nN9Kwt9Et"])
def test_an_unknown_run_has_an_empty_log(aurora, held, name):
    assert list_log_entries(aurora.ada, name, surface="polpo") == []


def test_a_strangers_run_is_as_unknown_as_any(aurora, borealis, held):
    run, journal, _ = held
    finish(journal, model_step())
    assert list_log_entries(borealis.mallory, f"run-{base62(run.pk)}", surface="polpo") == []
    with pytest.raises(NotFound):
        run_log(borealis.mallory, run.pk, limit=10)
