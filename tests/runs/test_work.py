"""What agents are doing now: open runs of tasks, and what their journals say."""

from __future__ import annotations

import os

import pytest

from apps.core.actor import Actor
from apps.core.ids import uuid7
from apps.engine.ports import StepRecord, Usage
from apps.formations.services import create_agent, delete_agent
from apps.runs import kinds
from apps.runs.holding import pid_of
from apps.runs.journal import RunJournal
from apps.runs.models import Run
from apps.runs.selectors import list_work
from apps.runs.services import claim_run, open_run

pytestmark = pytest.mark.django_db


class TaskRuns:
    """A task that means nothing above."""

    agent_key = "task"


@pytest.fixture(autouse=True)
def _tasks(monkeypatch, recording_queue):
    monkeypatch.setitem(kinds._handlers, "task", TaskRuns())


@pytest.fixture
def scribe(aurora):
    return create_agent(aurora.ada, name="Scribe")


def begun(actor, agent=None, task=None, **fields):
    """A claimed run and its journal."""
    run = open_run(
        actor,
        kind="task",
        subject=("task", task or uuid7()),
        agent_id=agent.pk if agent else None,
        **fields,
    )
    hold, _, _ = claim_run(run.workspace_id, run.pk)
    return run, RunJournal(Actor.for_engine(run.workspace_id), hold)


def say(journal, index, text):
    usage = Usage(7, 3)
    step = StepRecord(index, "model", "stub/m", "ok", output={"text": text}, usage=usage)
    journal._record(step, None)


def use(journal, index, tool, status="ok", **arguments):
    journal._record(StepRecord(index, "tool", tool, status, input=arguments), None)


def test_a_run_tells_who_carries_it_for_which_task(aurora, scribe):
    task, session = uuid7(), uuid7()
    run, _ = begun(aurora.ada, scribe, task, session_id=session)
    (work,) = list_work(aurora.cleo)
    assert (work.agent, work.task_id, work.session_id) == ("Scribe", task, session)
    assert (work.pid, work.alive) == (os.getpid(), True)
    run.refresh_from_db()
    assert work.started_at == work.last_update == run.started_at
    assert (work.tool_calls, work.total_tokens, work.summary, work.last_tool) == (0, 0, "", "")


def test_the_journal_tells_what_was_done(aurora, scribe):
    run, journal = begun(aurora.ada, scribe)
    use(journal, 1, "write_file", path="a.md", content="x")
    use(journal, 2, "write", path="b.md", content="y")
    use(journal, 3, "write_file", path="a.md", content="x", append=True)
    use(journal, 4, "edit", path="c.md")
    use(journal, 5, "edit_file", path="c.md")
    use(journal, 6, "write_file", "error", path="d.md", content="z")
    use(journal, 7, "read_file", path="null")
    use(journal, 8, "now", path=None)
    (work,) = list_work(aurora.ada)
    assert (work.created, work.edited) == (["a.md", "b.md"], ["a.md", "c.md"])
    assert (work.last_tool, work.last_file, work.tool_calls) == ("now", "null", 8)
    assert work.last_update == run.journal.order_by("index").last().finished_at


def test_the_summary_begins_the_last_text_that_was_said(aurora, scribe):
    _, journal = begun(aurora.ada, scribe)
    say(journal, 1, "first")
    say(journal, 2, "x" * 300)
    say(journal, 3, "")
    (work,) = list_work(aurora.ada)
    assert (work.summary, work.total_tokens) == ("x" * 200, 30)


def test_odd_arguments_are_no_files(aurora, scribe):
    _, journal = begun(aurora.ada, scribe)
    journal._record(StepRecord(1, "tool", "write_file", "ok", input=["path"]), None)
    journal._record(StepRecord(2, "tool", "write_file", "ok", input=None), None)
    (work,) = list_work(aurora.ada)
    assert (work.created, work.edited, work.last_file) == ([], [], "")


@pytest.mark.parametrize(
    ("fields", "alive"),
    [
        ({}, True),
        ({"lease_until": "2020-01-01T00:00:00Z"}, False),
        ({"lease_owner": "", "status": "waiting", "lease_until": None}, False),
        ({"lease_owner": "", "status": "queued", "lease_until": None}, False),
    ],
)
def test_a_run_lives_while_somebody_holds_it(aurora, scribe, fields, alive):
    run, _ = begun(aurora.ada, scribe)
    Run.unscoped.filter(pk=run.pk).update(**fields)
    (work,) = list_work(aurora.ada)
    assert work.alive is alive
    assert bool(work.pid) is ("lease_owner" not in fields)


def test_only_begun_open_runs_of_tasks_are_work(aurora, borealis, scribe):
    open_run(aurora.ada, kind="task", subject=("task", uuid7()))  # nobody has taken it yet
    ended, _ = begun(aurora.ada)
    Run.unscoped.filter(pk=ended.pk).update(status="succeeded")
    chat, _ = begun(aurora.ada)
    Run.unscoped.filter(pk=chat.pk).update(kind="chat")
    begun(borealis.mallory)
    mine, _ = begun(aurora.ada, scribe)
    assert [work.task_id for work in list_work(aurora.ada)] == [mine.subject_id]


def test_a_deleted_agents_work_goes_on(aurora, scribe):
    begun(aurora.ada, scribe)
    delete_agent(aurora.ada, scribe.pk)
    assert [work.agent for work in list_work(aurora.ada)] == [""]


def test_however_many_work_it_takes_two_queries(aurora, scribe, count_queries):
    for number in range(5):
        _, journal = begun(aurora.ada, scribe)
        use(journal, 1, "write_file", path=f"{number}.md")
    with count_queries(2):
        works = list_work(aurora.ada)
    assert [work.created for work in works] == [[f"{number}.md"] for number in range(5)]


def test_no_more_than_a_screenful_is_shown(aurora, monkeypatch):
    monkeypatch.setattr("apps.runs.selectors.MOST_WORKING", 2)
    first, second, _third = (begun(aurora.ada)[0] for _ in range(3))
    shown = [work.task_id for work in list_work(aurora.ada)]
    assert shown == [first.subject_id, second.subject_id]


@pytest.mark.parametrize(
    ("owner", "pid"), [("host:42:ab", 42), ("", 0), ("host", 0), ("host:x:ab", 0)]
)
def test_a_holder_is_known_by_its_process(owner, pid):
    assert pid_of(owner) == pid
