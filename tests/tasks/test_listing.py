"""The list of tasks as bytes: what has not changed is not written twice, and what has is never stale."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from django.db import connection, transaction

from apps.core.actor import Scope
from apps.core.errors import Forbidden
from apps.formations.services import create_agent
from apps.tasks import listing
from apps.tasks.listing import Written, tasks_as_json
from apps.tasks.models import Assessment, Task
from apps.tasks.services import create_task

pytestmark = pytest.mark.django_db


@pytest.fixture
def listed(aurora, recording_queue, monkeypatch):
    """Two drafts; `listed()` is what a board sees of them."""
    monkeypatch.setattr(listing, "_written", Written())
    create_agent(aurora.ada, name="writer")
    for title in ("one", "two"):
        told = {"title": title, "description": "Write.", "assign_to": "writer", "draft": True}
        create_task(aurora.ada, **told)
    return lambda **asked: json.loads(tasks_as_json(aurora.ada, **asked))


def run(statement, *values):
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def test_what_has_not_changed_takes_one_query(listed, count_queries):
    with count_queries(2):  # versions, rows
        first = listed()
    with count_queries(1):
        assert listed() == first
    assert [task["title"] for task in first] == ["one", "two"]


def test_only_what_has_changed_is_written_again(listed, count_queries, monkeypatch):
    listed()
    Task.unscoped.filter(title="two").update(title="new")
    written = []
    monkeypatch.setattr(
        listing, "task_json", lambda task, _: written.append(task.title) or {"title": task.title}
    )
    assert listed()[1] == {"title": "new"}
    assert written == ["new"]


def test_a_change_by_raw_sql_is_seen_at_once(listed):
    """Within one transaction, too: there each version of a row has the same `xmin`."""
    for title in ("first", "second", "third"):
        run("UPDATE tasks_task SET title = %s WHERE title <> 'two'", title)
        assert listed()[0]["title"] == title
    run("DELETE FROM tasks_task WHERE title = 'two'")
    assert [task["title"] for task in listed()] == ["third"]


def test_what_was_undone_is_seen_undone(listed):
    with transaction.atomic():
        run("UPDATE tasks_task SET title = 'never' WHERE title = 'one'")
        assert listed()[0]["title"] == "never"
        transaction.set_rollback(True)
    assert [task["title"] for task in listed()] == ["one", "two"]


def test_a_judgement_is_seen_with_the_touch_of_its_task(listed, aurora, count_queries):
    from apps.tasks.services import judging

    result = {"exitCode": 0, "stdout": "Done.", "stderr": "", "duration": 1}
    Task.unscoped.filter(title="one").update(status="done", result=result)
    assert "assessment" not in listed()[0]["result"]
    task = Task.unscoped.get(title="one")
    verdict = {
        "trigger": "initial",
        "passed": True,
        "globalScore": 4.5,
        "checks": [],
        "metrics": [],
        "review": "",
        "scores": [],
    }
    with transaction.atomic():
        judging._keep(aurora.ada, task, {"attempt": ""}, [verdict])
    assert Assessment.unscoped.count() == 1
    with count_queries(3):  # versions, rows, judgements
        assert listed()[0]["result"]["assessment"]["globalScore"] == 4.5


def test_the_newest_are_listed_oldest_first(listed):
    assert [task["title"] for task in listed(limit=1)] == ["two"]
    assert listed(statuses=["done"]) == []
    assert listed(group="none") == []


def test_what_is_remembered_is_nobody_elses(listed, aurora, borealis):
    listed()
    assert tasks_as_json(borealis.mallory) == b"[]"


def test_only_who_may_read_is_told(aurora):
    with pytest.raises(Forbidden):
        tasks_as_json(replace(aurora.ada, scope=Scope.NONE))


def test_memory_is_bounded_and_forgets_the_longest_known(monkeypatch):
    monkeypatch.setattr(listing, "MOST_BYTES", 10)
    written = Written()
    for number in range(5):
        written.keep({f"v{number}": b"1234"})
    written.keep({"v4": b"1234"})  # twice is once
    assert written.find([f"v{number}" for number in range(5)]) == {"v3": b"1234", "v4": b"1234"}


def test_reading_while_others_forget_is_safe(monkeypatch):
    """A version may be dropped between any two steps of a reader."""
    monkeypatch.setattr(listing, "MOST_BYTES", 4_000)
    written, end = Written(), threading.Event()
    versions = [f"v{number}" for number in range(400)]

    def read():
        while not end.is_set():
            assert all(body == b"x" * 20 for body in written.find(versions).values())

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        for _ in range(60):
            written.keep(dict.fromkeys(versions, b"x" * 20))
        end.set()
    for reader in readers:
        reader.result()
