"""Projects and tasks on the polpo surface against their golden files, under both of its layouts."""

from __future__ import annotations

import pytest

from apps.approvals.services import request
from apps.core.actor import Actor
from apps.core.ids import base62, parse_bare, uuid7
from apps.events.models import Event
from apps.formations.services import create_agent
from apps.runs.models import Run
from apps.tasks import services
from apps.tasks.models import Assessment, Task
from tests.contract.board import LAYOUTS, PLAIN, Board, refusal
from tests.contract.golden import assert_golden
from tests.tasks.conftest import World

pytestmark = pytest.mark.django_db

DRAFT = {
    "title": "Write it",
    "description": "Write a poem.",
    "assignTo": "writer",
    "draft": True,
}
FULL = {
    "title": "Publish",
    "group": "Poems",
    "priority": 5,
    "deadline": "2030-01-01T01:00:00+01:00",
    "expectations": [
        {"type": "test", "command": "make test"},
        {"type": "file_exists", "paths": ["poem.md"], "confidence": "firm"},
        {"type": "llm_review", "criteria": "It rhymes.", "threshold": 4},
    ],
    "metrics": [{"name": "coverage", "command": "make cover", "threshold": 90}],
    "expectedOutcomes": [{"type": "file", "label": "The poem", "path": "poem.md"}],
    "maxDuration": 60000,
    "retryPolicy": {"escalateAfter": 2, "fallbackAgent": "writer"},
    "notifications": {"rules": [{"events": ["task:failed"], "channel": "mail"}], "inherit": True},
    "sideEffects": True,
}
RHYME = [{"type": "llm_review", "criteria": "It rhymes.", "threshold": 3, "confidence": "firm"}]
RESULT = {"exitCode": 0, "stdout": "It is written.", "stderr": "", "duration": 1200}


@pytest.fixture(params=LAYOUTS)
def board(request, aurora, recording_queue):
    """As Ada, in Aurora with a writer: by the project's name, and without one."""
    create_agent(aurora.ada, name="writer")
    return Board(aurora.ada_token, request.param)


def made(board, **fields):
    """The path of a new draft."""
    answer = board("POST", "/tasks", DRAFT | fields)
    assert answer.status_code == 201, answer.content
    return f"/tasks/{answer.json()['data']['id']}"


def row(path):
    return Task.unscoped.filter(pk=parse_bare(path.rpartition("/")[2]))


def written(board, **columns):
    """The path of a finished task that was judged twice."""
    path = made(board, title="Wrote it")
    given = {"status": "done", "phase": "review", "result": RESULT, "expectations": RHYME}
    row(path).update(**given | columns)
    task = row(path).get()
    check = {"type": "llm_review", "passed": False, "message": "No rhyme."}
    score = {"dimension": "correctness", "score": 4, "reasoning": "Right.", "weight": 1}
    judge(task, 1, passed=False, checks=[check], trigger="initial")
    good = [check | {"passed": True, "message": "It rhymes."}]
    more = {"review": "Better.", "scores": [score], "global_score": 4.0}
    judge(task, 2, passed=True, checks=good, trigger="fix", **more)
    return path


def judge(task, number, **fields):
    Assessment.unscoped.create(workspace_id=task.workspace_id, task=task, number=number, **fields)


# --- Projects -------------------------------------------------------------------------------------


def test_projects_are_listed_with_what_they_hold(board, aurora, borealis):
    made(board)
    assert_golden(Board(aurora.ada_token, "")("GET", "/api/v1/projects"), "polpo/projects.json")


def test_a_project_runs_while_a_task_is_at_work(board, aurora):
    row(made(board)).update(status="in_progress")
    (project,) = Board(aurora.ada_token, "")("GET", "/api/v1/projects").json()["data"]
    assert project["status"] == "running"


def test_the_state_is_told_under_the_names_of_all_eras(board):
    made(board)
    assert_golden(board("GET", "/state"), "polpo/state.json")


@pytest.mark.parametrize("name", ["/config", "/orchestrator-config"])
def test_the_settings_are_told_with_their_defaults(board, name):
    assert_golden(board("GET", name), "polpo/config.json")


# --- Reading and making ---------------------------------------------------------------------------


def test_tasks_are_listed_in_the_order_they_were_made(board):
    made(board)
    made(board, title="Write more", draft=False)
    written(board)
    assert_golden(board("GET", "/tasks"), "polpo/tasks_list.json")


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("status=draft", ["a", "b"]),
        ("status=pending,failed", ["c", "d"]),
        ("group=red", ["b", "c"]),
        ("group=red&status=draft", ["b"]),
        ("assignTo=orchestrator", ["d"]),
        ("group=&assignTo=&status=", ["a", "b", "c", "d"]),
        ("group=blue", []),
        ("limit=2", ["c", "d"]),
        ("limit=00000000000000000002", None),
        ("limit=2001", None),
        ("limit=1" + "0" * 5000, None),
        ("limit=-1", None),
        ("status=ready", None),
    ],
)
def test_filters_are_anded_and_checked(board, query, titles):
    made(board, title="a")
    made(board, title="b", group="red")
    made(board, title="c", group="red", draft=False)
    row(made(board, title="d", assignTo="orchestrator")).update(status="failed")
    answer = board("GET", f"/tasks?{query}")
    if titles is None:
        assert refusal(answer) == (400, "VALIDATION_ERROR")
    else:
        assert [task["title"] for task in answer.json()["data"]] == titles


def test_a_task_is_read_with_its_judgements(board):
    assert_golden(board("GET", written(board)), "polpo/tasks_get.json")


def test_a_task_is_made(board):
    body = {name: DRAFT[name] for name in ("title", "description", "assignTo")}
    assert_golden(board("POST", "/tasks", body), "polpo/tasks_create.json")


def test_a_task_keeps_all_it_is_told(board):
    needs = [made(board).rpartition("/")[2]]
    answer = board("POST", "/tasks", DRAFT | FULL | {"dependsOn": needs})
    assert_golden(answer, "polpo/tasks_create_full.json")
    assert answer.json()["data"]["dependsOn"] == needs
    again = board("GET", f"/tasks/{answer.json()['data']['id']}")
    assert again.json() == answer.json()


def test_a_body_needs_no_content_type(board):
    content = b'{"title": "Bare", "description": "No type", "assignTo": "writer", "draft": true}'
    for kind in ("", "text/plain", "application/octet-stream"):
        named = content.replace(b"Bare", b"As " + kind.encode())
        assert board.raw("POST", "/tasks", named, kind).status_code == 201
    assert refusal(board.raw("POST", "/tasks", b"title=x", "")) == (400, "VALIDATION_ERROR")


# --- Changing -------------------------------------------------------------------------------------


def test_a_task_is_changed_at_once(board):
    path = made(board)
    changes = {
        "description": "Write an ode.",
        "assignTo": "orchestrator",
        "status": "pending",
        "expectations": [{"type": "script", "command": "test -s ode.md"}],
        "retries": 2,
        "maxRetries": 0,
        "sideEffects": True,
        "priority": 2.5,
        "title": "The title is not editable",
    }
    assert_golden(board("PATCH", path, changes), "polpo/tasks_patch.json")
    names = list(Event.objects.order_by("seq").values_list("name", flat=True))[-2:]
    assert names == ["task.moved", "task.updated"]


@pytest.mark.parametrize(
    ("status", "to"),
    [
        ("pending", "done"),
        ("pending", "in_progress"),
        ("draft", "failed"),
        ("done", "pending"),
        ("done", "failed"),
        ("in_progress", "done"),
        ("assigned", "pending"),
        ("failed", "done"),
    ],
)
def test_a_jump_outside_the_table_changes_nothing(board, status, to):
    path = made(board)
    row(path).update(status=status)
    before, events = row(path).values().get(), Event.objects.count()
    refused = board("PATCH", path, {"status": to, "description": "Another.", "maxRetries": 9})
    assert_golden(refused, "polpo/error_task_jump.json")
    assert (row(path).values().get(), Event.objects.count()) == (before, events)


def test_a_later_mistake_undoes_the_earlier_step(board):
    """Upstream applied the status and then failed on the rest."""
    path = made(board)
    row(path).update(status="failed")
    refused = board("PATCH", path, {"status": "pending", "retries": -1})
    assert refusal(refused) == (400, "VALIDATION_ERROR")
    row(path).update(status="in_progress")
    refused = board("PATCH", path, {"description": "New.", "expectations": RHYME})
    assert refusal(refused) == (409, "INVALID_STATE")
    assert (row(path).get().description, row(path).get().retries) == ("Write a poem.", 0)


def test_a_new_description_outlives_a_retry(board):
    """A brief is written upon the description as it is now, not as it was before an earlier brief."""
    path = made(board)
    row(path).update(status="failed", description="Poem. Brief.", original_description="Poem.")
    assert board("PATCH", path, {"description": "An ode."}).status_code == 200
    assert board("POST", f"{path}/retry").status_code == 200
    assert row(path).get().description == "An ode."


def test_a_task_is_removed(board):
    path = made(board)
    assert_golden(board("DELETE", path), "polpo/tasks_delete.json")
    assert_golden(board("GET", path), "polpo/error_task_not_found.json")
    assert Event.objects.filter(name="task.removed").exists()


@pytest.mark.parametrize(
    "query", ["status=draft&group=red", "status=draft,failed&group=red", "group=red"]
)
def test_many_tasks_are_removed_by_a_filter(board, query):
    for title, group in (("a", "red"), ("b", "red"), ("c", "blue")):
        made(board, title=title, group=group)
    assert_golden(board("DELETE", f"/tasks?{query}"), "polpo/tasks_delete_many.json")
    assert [task["title"] for task in board("GET", "/tasks").json()["data"]] == ["c"]


@pytest.mark.parametrize("query", ["", "?status=", "?group=", "?all=false", "?status=,"])
def test_nothing_is_removed_without_a_filter(board, query):
    made(board)
    assert_golden(board("DELETE", f"/tasks{query}"), "polpo/error_no_filter.json")
    assert Task.unscoped.count() == 1


def test_what_stopped_fitting_the_filter_meanwhile_stays(board, monkeypatch):
    from apps.tasks.services import changing

    path, locks = made(board), changing.lock_tasks
    row(path).update(status="failed")

    def retried_first(actor, ids):
        listed = list(ids)
        row(path).update(status="pending")
        return locks(actor, listed)

    monkeypatch.setattr(changing, "lock_tasks", retried_first)
    assert board("DELETE", "/tasks?status=failed").json()["data"] == {"deleted": 0}
    assert row(path).exists()


@pytest.mark.parametrize(
    ("verb", "status"),
    [("retry", "failed"), ("kill", "pending"), ("queue", "draft"), ("force-fail", "pending")],
)
def test_a_task_is_steered(board, verb, status):
    path = made(board)
    row(path).update(status=status)
    name = verb.replace("-", "_")
    assert_golden(board("POST", f"{path}/{verb}"), f"polpo/tasks_{name}.json")


def test_killing_what_has_ended_is_no_error(board):
    assert_golden(board("POST", f"{written(board)}/kill"), "polpo/tasks_kill.json")


def test_a_reassessment_may_be_left_alone(board, aurora):
    path = written(board)
    headers = {"Prefer": "respond-async"}
    answer = board("POST", f"{path}/reassess", None, **headers)
    assert_golden(answer, "polpo/tasks_reassess_later.json")
    assert Run.unscoped.get(subject_id=row(path).get().pk).kind == "review"


@pytest.mark.django_db(transaction=True)
def test_a_reassessment_is_answered_when_it_is_there(aurora, recording_queue, monkeypatch):
    """The real wait, once somebody has carried the review it waits for."""
    world = World(aurora, recording_queue)
    board, wait = Board(aurora.ada_token), services.await_review
    files = [{"type": "file_exists", "paths": ["poem.md"], "confidence": "firm"}]
    path = written(board, expectations=files)
    monkeypatch.setattr(
        services, "await_review", lambda *asked: world.run_queued() and wait(*asked)
    )
    assert_golden(board("POST", f"{path}/reassess"), "polpo/tasks_reassess.json")
    shown = board("GET", path).json()["data"]
    assert shown["status"] == "failed"
    assert shown["result"]["assessment"]["trigger"] == "reassess"
    assert len(shown["result"]["assessmentHistory"]) == 2


# --- Refusals (contract §2.4) ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "status"),
    [("retry", "done"), ("retry", "draft"), ("reassess", "pending"), ("queue", "pending")],
)
def test_a_verb_in_the_wrong_state_is_an_invalid_state(board, verb, status):
    path = made(board)
    row(path).update(status=status)
    assert_golden(board("POST", f"{path}/{verb}"), f"polpo/error_{verb}_state.json")


def test_there_may_be_nothing_to_assess(board):
    path = written(board, expectations=[])
    assert_golden(board("POST", f"{path}/reassess"), "polpo/error_nothing_to_assess.json")


def test_an_open_title_is_taken(board):
    path = made(board, group="a")
    refused = board("POST", "/tasks", DRAFT | {"group": "a"})
    assert_golden(refused, "polpo/error_task_title_taken.json")
    row(path).update(status="done")
    made(board, group="a")
    row(path).update(status="failed")
    assert_golden(board("POST", f"{path}/retry"), "polpo/error_task_title_taken.json")


@pytest.mark.parametrize("verb", ["retry", "kill", "queue", "force-fail", "reassess"])
def test_ids_of_others_and_of_nobody_are_the_same(board, aurora, borealis, verb):
    path = made(board)
    mallory = Board(borealis.mallory_token, PLAIN)
    paths = [path, f"/tasks/{base62(uuid7())}", f"/tasks/{uuid7()}"]
    assert len({mallory("POST", f"{there}/{verb}").content for there in paths}) == 1
    assert refusal(mallory("POST", f"/tasks/~/{verb}")) == (404, "NOT_FOUND")
    assert refusal(mallory("POST", f"{path}/{verb}")) == (404, "NOT_FOUND")
    for method in ("GET", "PATCH", "DELETE"):
        assert refusal(mallory(method, path, {})) == (404, "NOT_FOUND")


def test_an_unknown_path_and_project_are_not_found_in_the_envelope(board, aurora):
    assert_golden(board("GET", "/nothing"), "polpo/error_route.json")
    nowhere = Board(aurora.ada_token, "/api/v1/projects/nowhere")
    for path in ("/tasks", "/state", "/config", "/missions", "/approvals", "/schedules"):
        assert refusal(nowhere("GET", path)) == (404, "NOT_FOUND")
    assert refusal(board("PUT", "/tasks", {})) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("body", "golden"),
    [
        ({}, "body"),
        (DRAFT | {"assignTo": "nobody"}, "agent"),
        (DRAFT | {"dependsOn": [str(uuid7())]}, "dependency"),
        (DRAFT | {"expectations": [{"type": "vibes"}, {"type": "test"}]}, "expectations"),
    ],
)
def test_what_is_wrong_is_named_as_it_was_sent(board, body, golden):
    assert_golden(board("POST", "/tasks", body), f"polpo/error_task_{golden}.json")
    assert not Task.unscoped.exists()


@pytest.mark.parametrize(
    "content", [b"{", b"[", b'{"a": NaN}', b'{"a": 1e999}', b"\xff", b"[" * 5000, b"9" * 5000]
)
def test_malformed_json_is_refused(board, content):
    assert_golden(board.raw("POST", "/tasks", content), "polpo/error_malformed.json")


@pytest.mark.parametrize("content", [b"null", b"[]", b'"x"', b"7"])
def test_a_body_that_is_no_object_is_refused(board, content):
    for method, path in (("POST", "/tasks"), ("PATCH", made(board))):
        assert refusal(board.raw(method, path, content)) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", ""),
        ("title", "   "),
        ("title", 7),
        ("title", None),
        ("title", "x" * 501),
        ("title", "\U0001f600" * 500),
        ("title", "\x00"),
        ("description", ""),
        ("description", ["x"]),
        ("description", "x" * 100_001),
        ("assignTo", "x" * 101),
        ("assignTo", "\x00"),
        ("group", 7),
        ("group", "\U0001f600" * 300),
        ("dependsOn", "x"),
        ("dependsOn", ["~"]),
        ("dependsOn", [7]),
        ("dependsOn", [None]),
        ("expectations", {"type": "test"}),
        ("expectations", [7]),
        ("expectations", [{"type": "llm_review", "criteria": "x", "threshold": 6}]),
        ("expectations", [{"type": "file_exists", "paths": []}]),
        ("metrics", [{"name": "x"}]),
        ("expectedOutcomes", [{"type": "smell", "label": "x"}]),
        ("retryPolicy", {"escalateAfter": -1}),
        ("retryPolicy", []),
        ("notifications", {"rules": "x"}),
        ("notifications", []),
        ("notifications", {"rules": [{}] * 101}),
        ("sideEffects", "yes"),
        ("maxDuration", -1),
        ("maxDuration", "PT5M"),
        ("maxDuration", 1.5),
        ("maxDuration", 10**400),
        ("priority", "high"),
        ("priority", -1),
        ("priority", True),
        ("priority", 10**400),
        ("deadline", "tomorrow"),
        ("deadline", 7),
        ("deadline", "2030-02-30T00:00:00Z"),
        ("deadline", "0001-01-01T00:00:00+23:59"),
        ("draft", "perhaps"),
    ],
)
def test_odd_input_is_refused_by_name_and_makes_nothing(board, field, value):
    refused = board("POST", "/tasks", DRAFT | {field: value})
    assert refusal(refused) == (400, "VALIDATION_ERROR")
    assert value == "\x00" or any(name.startswith(field) for name in refused.json()["details"])
    assert not Task.unscoped.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("status", "ready"),
        ("retries", -1),
        ("retries", 1.5),
        ("maxRetries", None),
        ("maxRetries", 101),
        ("assignTo", "nobody"),
        ("expectations", None),
        ("priority", 1_000_001),
        ("deadline", ""),
    ],
)
def test_odd_changes_are_refused_by_name_and_change_nothing(board, field, value):
    path = made(board)
    before = row(path).values().get()
    refused = board("PATCH", path, {"description": "New.", field: value})
    assert refusal(refused) == (400, "VALIDATION_ERROR")
    assert any(name.startswith(field) for name in refused.json()["details"])
    assert row(path).values().get() == before


def test_the_longest_names_fit_the_index(board):
    """Random letters do not compress: PostgreSQL bounds an index entry at 2704 bytes."""
    letters = "".join(chr(0x4E00 + (number * 7919) % 20_000) for number in range(800))
    longest = {"title": letters[:500], "group": letters[500:800]}
    assert board("POST", "/tasks", DRAFT | longest).status_code == 201


def test_a_viewer_may_look_but_not_touch(board, aurora):
    path = made(board)
    cleo = Board(aurora.cleo_token)
    assert cleo("GET", "/tasks").status_code == 200
    refused = [cleo("POST", "/tasks", DRAFT), cleo("DELETE", "/tasks?all=true")]
    refused += [cleo("PATCH", path, {"maxRetries": 1}), cleo("POST", f"{path}/queue")]
    assert {refusal(answer) for answer in refused} == {(403, "FORBIDDEN")}


# --- Approvals ------------------------------------------------------------------------------------


@pytest.fixture
def asked(board, aurora):
    """The path of a request about a task, put by the engine."""
    task = row(made(board)).get()
    engine = Actor.for_engine(aurora.id)
    more = {"reason": "It is ready.", "context": {"target": "production"}}
    approval = request(engine, action="Deploy", subject_type="task", subject_id=task.pk, **more)
    return f"/approvals/{base62(approval.pk)}"


def test_requests_are_listed_by_status_and_task(board, aurora, asked):
    task_id = base62(Task.unscoped.get().pk)
    for query in ("", "?status=pending", f"?taskId={task_id}&status=pending"):
        assert_golden(board("GET", f"/approvals{query}"), "polpo/approvals_list.json")
    for query in ("?status=approved", f"?taskId={base62(uuid7())}", "?taskId=~"):
        assert board("GET", f"/approvals{query}").json()["data"] == []
    assert refusal(board("GET", "/approvals?status=denied")) == (400, "VALIDATION_ERROR")
    assert_golden(board("GET", asked), "polpo/approvals_get.json")


def test_a_request_about_an_attempt_is_about_its_task(board, aurora):
    from apps.runs.services import queue_run

    task = row(made(board)).get()
    engine = Actor.for_engine(aurora.id)
    run, _ = queue_run(engine, kind="task", subject=("task", task.pk))
    request(engine, action="Deploy", subject_type="run", subject_id=run.pk)
    (told,) = board("GET", f"/approvals?taskId={base62(task.pk)}").json()["data"]
    assert told["taskId"] == base62(task.pk)


def test_a_request_is_decided_once(board, asked):
    decided = board("POST", f"{asked}/approve", {"note": "Go.", "resolvedBy": "somebody"})
    assert_golden(decided, "polpo/approvals_approve.json")
    for verb in ("approve", "reject"):
        again = board("POST", f"{asked}/{verb}", {"feedback": "No."})
        assert_golden(again, "polpo/error_approval_decided.json")


def test_a_request_is_rejected_with_a_reason(board, asked):
    assert refusal(board("POST", f"{asked}/reject", {})) == (400, "VALIDATION_ERROR")
    rejected = board("POST", f"{asked}/reject", {"feedback": "Not on a Friday."})
    assert_golden(rejected, "polpo/approvals_reject.json")


def test_a_question_is_answered_by_the_note(board, aurora):
    engine = Actor.for_engine(aurora.id)
    question = request(engine, kind="question", action="Which colour?")
    path = f"/approvals/{base62(question.pk)}/approve"
    assert refusal(board("POST", path, {})) == (400, "VALIDATION_ERROR")
    assert board("POST", path, {"note": "Blue."}).json()["data"]["status"] == "approved"
    question.refresh_from_db()
    assert (question.status, question.answer) == ("answered", "Blue.")


def test_requests_of_others_are_as_absent_as_any(board, borealis, asked):
    mallory = Board(borealis.mallory_token, PLAIN)
    assert_golden(mallory("GET", asked), "polpo/error_approval_not_found.json")
    for verb in ("approve", "reject"):
        foreign = mallory("POST", f"{asked}/{verb}", {"feedback": "No."})
        absent = mallory("POST", f"/approvals/{base62(uuid7())}/{verb}", {"feedback": "No."})
        assert foreign.content == absent.content
    assert mallory("GET", "/approvals").json()["data"] == []
