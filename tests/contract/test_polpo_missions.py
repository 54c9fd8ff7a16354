"""Missions and schedules on the polpo surface against their golden files, under both of its layouts."""

from __future__ import annotations

import json

import pytest
from django.utils import timezone

from apps.core.ids import base62, parse_bare, uuid7
from apps.events.models import Event
from apps.formations.services import create_agent
from apps.missions.models import Barrier, Mission
from apps.tasks.models import Schedule, Task
from tests.contract.board import LAYOUTS, PLAIN, Board, refusal
from tests.contract.golden import assert_golden
from tests.missions.conftest import entry

pytestmark = pytest.mark.django_db

# The first waits for the second: a forward reference.
FLY, FUEL = entry("Fly", "Fuel"), entry("Fuel")
LOOK = {
    "name": "Look",
    "afterTasks": ["Fuel"],
    "blocksTasks": ["Fly"],
    "message": "Is it full?",
}
COOL = {"name": "Cool", "afterTasks": ["Fuel"], "blocksTasks": ["Fly"], "duration": "PT1H"}
GATE = {"name": "Good", "afterTasks": ["Fuel"], "blocksTasks": ["Fly"], "minScore": 3}
DOCUMENT = {"tasks": [FLY, FUEL]}


@pytest.fixture(params=LAYOUTS)
def board(request, aurora, recording_queue):
    create_agent(aurora.ada, name="writer")
    return Board(aurora.ada_token, request.param)


def saved(board, document=DOCUMENT, **fields):
    """The path of a new mission."""
    answer = board("POST", "/missions", {"data": document, "name": "Launch", **fields})
    assert answer.status_code == 201, answer.content
    return f"/missions/{answer.json()['data']['id']}"


def row(path):
    return Mission.unscoped.filter(pk=parse_bare(path.split("/")[2]))


def document_of(answer):
    return json.loads(answer.json()["data"]["data"])


def events(name):
    return Event.objects.filter(name=name).count()


# --- Records --------------------------------------------------------------------------------------


def test_missions_are_listed_newest_first(board):
    saved(board)
    saved(board, name="Landing")
    assert_golden(board("GET", "/missions"), "polpo/missions_list.json")


@pytest.mark.parametrize("spelled", [dict, json.dumps])
def test_a_mission_is_made_of_an_object_or_of_its_text(board, spelled):
    more = {"prompt": "To the moon.", "endDate": "2030-01-01T00:00:00Z"}
    body = {"data": spelled(DOCUMENT), "name": "Launch", "notifications": {"rules": []}}
    answer = board("POST", "/missions", body | more)
    assert_golden(answer, "polpo/missions_create.json")
    assert document_of(answer) == DOCUMENT
    assert events("mission.saved") == 1


def test_a_mission_without_a_name_is_counted(board):
    answer = board("POST", "/missions", {"data": DOCUMENT})
    assert_golden(answer, "polpo/missions_create_nameless.json")


def test_a_mission_is_read(board):
    answer = board("GET", saved(board))
    assert_golden(answer, "polpo/missions_get.json")
    assert document_of(answer) == DOCUMENT


def test_a_mission_is_changed(board):
    path = saved(board)
    changed = DOCUMENT | {"schedule": "2035-01-01T00:00:00Z"}
    body = {"name": "Liftoff", "status": "scheduled", "endDate": "2040-01-01T00:00:00Z"}
    answer = board("PATCH", path, body | {"data": json.dumps(changed)})
    assert_golden(answer, "polpo/missions_patch.json")
    assert document_of(answer) == changed
    again = board("GET", path)
    assert_golden(again, "polpo/missions_get_scheduled.json")
    assert document_of(again) == changed


def test_an_end_beside_the_document_outlives_a_change_of_it(board):
    path = saved(board, endDate="2030-01-01T00:00:00Z")
    assert "endDate" in board("PATCH", path, {"data": {"tasks": [FUEL]}}).json()["data"]
    assert "endDate" not in board("PATCH", path, {"endDate": None}).json()["data"]


def test_a_mission_is_deleted_with_its_tasks(board):
    path = saved(board)
    board("POST", f"{path}/execute")
    assert_golden(board("DELETE", path), "polpo/missions_delete.json")
    assert_golden(board("GET", path), "polpo/error_mission_not_found.json")
    assert not Task.unscoped.exists()
    assert Event.objects.get(name="mission.deleted").payload["deleted_tasks"] == 2


# --- Executions -----------------------------------------------------------------------------------


def test_an_execution_answers_its_tasks_in_the_order_of_the_document(board):
    path = saved(board)
    answer = board("POST", f"{path}/execute")
    assert_golden(answer, "polpo/missions_execute.json")
    assert f"/missions/{answer.json()['data']['tasks'][0]['missionId']}" == path


def test_what_has_work_left_is_resumable(board):
    saved(board, name="Never begun")
    board("POST", f"{saved(board)}/execute")
    assert_golden(board("GET", "/missions/resumable"), "polpo/missions_resumable.json")


def test_a_failed_mission_is_resumed(board):
    path = saved(board)
    board("POST", f"{path}/execute")
    Task.unscoped.filter(title="Fuel").update(status="failed", ready=False)
    row(path).update(status="failed")
    resumed = board("POST", f"{path}/resume", {"retryFailed": True})
    assert_golden(resumed, "polpo/missions_resume.json")
    assert row(path).get().status == "active"


def test_a_mission_is_resumed_without_a_body(board):
    path = saved(board)
    board("POST", f"{path}/execute")
    assert board.raw("POST", f"{path}/resume", b"", "").json()["data"]["pending"] == 2


def test_an_abort_says_how_many_it_killed(board):
    path = saved(board)
    board("POST", f"{path}/execute")
    assert_golden(board("POST", f"{path}/abort"), "polpo/missions_abort.json")
    assert row(path).get().status == "cancelled"


@pytest.mark.parametrize("name", ["Look", "a/b", "Ü&?"])
def test_a_checkpoint_that_waits_is_shown_and_passed_by_its_name(board, name):
    from urllib.parse import quote

    path = saved(board, DOCUMENT | {"checkpoints": [LOOK | {"name": name}]})
    board("POST", f"{path}/execute")
    Barrier.unscoped.update(state="reached", since=timezone.now())
    row(path).update(status="paused")
    if name == "Look":
        assert_golden(board("GET", "/missions/checkpoints"), "polpo/missions_checkpoints.json")
    there = f"{path}/checkpoints/{quote(name, safe='')}/resume"
    assert_golden(board("POST", there), "polpo/missions_checkpoint_resume.json")
    assert_golden(board("POST", there), "polpo/error_checkpoint_not_found.json")
    assert board("GET", "/missions/checkpoints").json()["data"] == []


def test_a_delay_that_runs_is_shown(board):
    path = saved(board, DOCUMENT | {"delays": [COOL]})
    board("POST", f"{path}/execute")
    assert board("GET", "/missions/delays").json()["data"] == []
    moment = timezone.now()
    Barrier.unscoped.update(state="started", since=moment, expires_at=moment)
    assert_golden(board("GET", "/missions/delays"), "polpo/missions_delays.json")


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "golden"),
    [
        ("notjson", "text"),
        ("[]", "text"),
        (None, "data_missing"),
        ({"tasks": [entry("a", "b"), entry("b", "a")]}, "document"),
        ({"tasks": [entry("a", "x"), entry("b", "y")]}, "document"),
    ],
)
def test_a_document_is_checked_when_it_is_saved(board, data, golden):
    body = {"prompt": "x"} if data is None else {"data": data}
    answer = board("POST", "/missions", body)
    if golden == "document" and len(answer.json()["details"]) == 1:
        assert refusal(answer) == (400, "VALIDATION_ERROR")
    else:
        assert_golden(answer, f"polpo/error_mission_{golden}.json")
    assert not Mission.unscoped.exists()


def task(**fields):
    return {"tasks": [entry("a", **fields)]}


WAITS = {"afterTasks": ["a"], "blocksTasks": ["b"]}
PAIR = {"tasks": [entry("a"), entry("b", "a")]}


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"tasks": []}, "tasks"),
        ({}, "tasks"),
        ({"tasks": {}}, "tasks"),
        ({"tasks": [entry("a"), entry("a")]}, "tasks[1].title"),
        (task(dependsOn=["a"]), "tasks[0].dependsOn[0]"),
        (task(dependsOn=["nobody"]), "tasks[0].dependsOn[0]"),
        (task(expectations=[{"type": "vibes"}]), "tasks[0].expectations[0].type"),
        (task(description=""), "tasks[0].description"),
        (task(dependson=["a"]), "tasks[0].dependson"),
        (task(priority=-1), "tasks[0].priority"),
        (task(priority=1e300), "tasks[0].priority"),
        (task(deadline="soon"), "tasks[0].deadline"),
        (task(maxDuration=-1), "tasks[0].maxDuration"),
        (task(notifications={"rules": 7}), "tasks[0].notifications.rules"),
        (PAIR | {"schedule": "every day"}, "schedule"),
        (PAIR | {"schedule": "61 * * * *"}, "schedule"),
        (PAIR | {"deadline": "2026-13-01"}, "deadline"),
        (PAIR | {"delays": [WAITS | {"name": "w", "duration": "1h"}]}, "delays[0].duration"),
        (PAIR | {"delays": [WAITS | {"name": "w", "duration": "P1M"}]}, "delays[0].duration"),
        (PAIR | {"delays": [WAITS | {"name": "w"}]}, "delays[0].duration"),
        (PAIR | {"checkpoints": [WAITS | {"name": "w", "afterTasks": ["x"]}]}, "checkpoints[0]"),
        (PAIR | {"qualityGates": [WAITS | {"name": "w", "minScore": 9}]}, "qualityGates[0]"),
        (PAIR | {"qualityThreshold": 0}, "qualityThreshold"),
        (PAIR | {"team": [{"name": "x"}, {"name": "x"}]}, "team[1].name"),
    ],
)
def test_what_is_wrong_in_a_document_is_named_by_its_place(board, document, place):
    path = saved(board)
    for method, there in (("POST", "/missions"), ("PATCH", path)):
        refused = board(method, there, {"data": document, "name": "Other"})
        assert refusal(refused) == (400, "VALIDATION_ERROR")
        assert any(name.startswith(place) for name in refused.json()["details"])
    assert [mission.name for mission in Mission.unscoped.all()] == ["Launch"]


@pytest.mark.parametrize("count", [1_001, 10_000])
def test_a_mission_has_an_end(board, count):
    many = {"tasks": [{"title": f"t{n}", "description": "x"} for n in range(count)]}
    refused = board("POST", "/missions", {"data": many})
    assert refusal(refused) in {(400, "VALIDATION_ERROR"), (413, "VALIDATION_ERROR")}
    assert not Mission.unscoped.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 201),
        ("name", "\x00"),
        ("prompt", ["x"]),
        ("prompt", "x" * 100_001),
        ("status", "ready"),
        ("endDate", "tomorrow"),
        ("endDate", "0001-01-01T00:00:00+23:59"),
        ("notifications", "all"),
        ("notifications", {"rules": 7}),
        ("data", 7),
        ("data", "\x00"),
    ],
)
def test_odd_input_is_refused_and_makes_nothing(board, field, value):
    body = {"data": DOCUMENT, "name": "Other"} | {field: value}
    assert refusal(board("POST", "/missions", body)) == (400, "VALIDATION_ERROR")
    path = saved(board)
    before = row(path).values().get()
    assert refusal(board("PATCH", path, {"prompt": "x", **body})) == (400, "VALIDATION_ERROR")
    assert row(path).values().get() == before


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]", b"null"])
def test_a_body_that_is_no_object_is_refused(board, content):
    path = saved(board)
    for method, there in (("POST", "/missions"), ("PATCH", path), ("POST", f"{path}/tasks")):
        assert refusal(board.raw(method, there, content, "")) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize("status", ["active", "paused", "completed"])
def test_only_a_plan_is_executed(board, status):
    path = saved(board)
    row(path).update(status=status)
    refused = board("POST", f"{path}/execute")
    assert_golden(refused, "polpo/error_mission_execute_state.json")
    assert not Task.unscoped.exists()


def test_an_unknown_agent_stops_the_whole_execution(board):
    path = saved(board, {"tasks": [entry("a", assignTo="nobody"), entry("b")]})
    assert_golden(board("POST", f"{path}/execute"), "polpo/error_mission_execute_agent.json")
    assert (row(path).get().execution_count, Task.unscoped.count()) == (0, 0)


def test_a_clash_of_titles_stops_the_whole_execution(board):
    """With a task that stands in the mission's group already."""
    path = saved(board)
    one = {"title": "Fuel", "description": "x", "assignTo": "writer", "group": "Launch #2"}
    assert board("POST", "/tasks", one).status_code == 201
    board("POST", f"{path}/execute")
    row(path).update(status="draft", execution_count=0)
    refused = board("POST", f"{path}/execute")
    assert_golden(refused, "polpo/error_mission_execute_title.json")
    assert Task.unscoped.count() == 3


def test_a_draft_has_nothing_to_resume(board):
    refused = board("POST", f"{saved(board)}/resume", {})
    assert_golden(refused, "polpo/error_mission_resume_state.json")


@pytest.mark.parametrize("status", ["active", "paused", "completed", "failed"])
def test_a_status_that_only_an_execution_has_changes_nothing(board, status):
    path = saved(board)
    before = row(path).values().get()
    refused = board("PATCH", path, {"name": "Other", "status": status})
    assert_golden(refused, "polpo/error_mission_jump.json")
    assert row(path).values().get() == before


def test_missions_of_others_are_as_absent_as_any(board, borealis):
    path, mallory = saved(board), Board(borealis.mallory_token, PLAIN)
    nowhere = f"/missions/{base62(uuid7())}"
    for method, verb in (
        *(("POST", verb) for verb in ("/execute", "/resume", "/abort", "/tasks", "/team")),
        *(("GET", ""), ("PATCH", ""), ("DELETE", ""), ("DELETE", "/tasks/Fly")),
        ("POST", "/checkpoints/Look/resume"),
    ):
        foreign = mallory(method, path + verb, {})
        assert refusal(foreign) == (404, "NOT_FOUND")
        assert foreign.content == mallory(method, nowhere + verb, {}).content
    assert refusal(mallory("GET", "/missions/~")) == (404, "NOT_FOUND")


# --- Edits of the document ------------------------------------------------------------------------

RICH = DOCUMENT | {
    "checkpoints": [LOOK],
    "delays": [COOL],
    "qualityGates": [GATE],
    "team": [{"name": "Ann"}],
}
PARTS = [
    ("checkpoints", "checkpoints", LOOK | {"name": "New"}),
    ("delays", "delays", COOL | {"name": "New"}),
    ("quality-gates", "qualityGates", GATE | {"name": "New"}),
    ("team", "team", {"name": "New", "role": "Helps"}),
]


def test_a_task_is_added_at_the_end(board):
    path = saved(board)
    answer = board("POST", f"{path}/tasks", entry("Land", "Fly"))
    assert_golden(answer, "polpo/missions_edit_add.json")
    assert document_of(answer) == {"tasks": [FLY, FUEL, entry("Land", "Fly")]}
    assert events("mission.saved") == 2


def test_a_task_is_changed_and_others_follow_its_name(board):
    path = saved(board, RICH)
    answer = board("PATCH", f"{path}/tasks/Fuel", {"title": "Fill up", "priority": 2})
    assert_golden(answer, "polpo/missions_edit.json")
    document = document_of(answer)
    assert document["tasks"] == [
        entry("Fly", "Fill up"),
        FUEL | {"title": "Fill up", "priority": 2},
    ]
    for part in ("checkpoints", "delays", "qualityGates"):
        assert document[part][0]["afterTasks"] == ["Fill up"]


def test_an_agent_is_renamed_with_its_tasks(board):
    tasks = [entry("Fly", assignTo="Ann", retryPolicy={"fallbackAgent": "Ann"})]
    team = [{"name": "Ann"}, {"name": "Bob", "reportsTo": "Ann"}]
    path = saved(board, {"tasks": tasks, "team": team})
    document = document_of(board("PATCH", f"{path}/team/Ann", {"name": "Zoe"}))
    assert document["tasks"][0]["assignTo"] == "Zoe"
    assert document["tasks"][0]["retryPolicy"] == {"fallbackAgent": "Zoe"}
    assert document["team"] == [{"name": "Zoe"}, {"name": "Bob", "reportsTo": "Zoe"}]


def test_nothing_waits_for_a_task_that_was_removed(board):
    both = LOOK | {"name": "Both", "afterTasks": ["Fuel", "Load"]}
    tasks = [entry("Fly", "Fuel", "Load"), FUEL, entry("Load")]
    path = saved(board, RICH | {"tasks": tasks, "checkpoints": [LOOK, both]})
    document = document_of(board("DELETE", f"{path}/tasks/Fuel"))
    assert document["tasks"] == [entry("Fly", "Load"), entry("Load")]
    assert document["checkpoints"] == [both | {"afterTasks": ["Load"]}]
    assert "delays" not in document
    assert "qualityGates" not in document


def test_the_last_task_stays(board):
    path = saved(board, {"tasks": [FUEL]})
    assert_golden(board("DELETE", f"{path}/tasks/Fuel"), "polpo/error_last_task.json")
    assert document_of(board("GET", path)) == {"tasks": [FUEL]}


def test_tasks_are_reordered(board):
    path = saved(board)
    answer = board("PUT", f"{path}/tasks/reorder", {"titles": ["Fuel", "Fly"]})
    assert_golden(answer, "polpo/missions_edit_reorder.json")
    assert document_of(answer) == {"tasks": [FUEL, FLY]}


@pytest.mark.parametrize(
    "titles", [["Fuel"], ["Fuel", "Fuel"], ["Fuel", "Fly", "Fly"], [], "x", [7]]
)
def test_an_order_names_every_task_once(board, titles):
    path = saved(board)
    refused = board("PUT", f"{path}/tasks/reorder", {"titles": titles})
    assert refusal(refused) == (400, "VALIDATION_ERROR")
    assert document_of(board("GET", path)) == DOCUMENT


@pytest.mark.parametrize(("part", "key", "new"), PARTS)
def test_every_part_is_added_to_changed_and_taken_from(board, part, key, new):
    path, there = saved(board, RICH), f"/{part}"
    added = board("POST", path + there, new)
    assert added.status_code == 201
    assert document_of(added)[key] == [*RICH[key], new]
    more = {"message": None} if "message" in new else {}
    changed = document_of(board("PATCH", f"{path}{there}/New", {"name": "a/b", **more}))
    assert changed[key][1] == {name: new[name] for name in new if name != "message"} | {
        "name": "a/b"
    }
    removed = board("DELETE", f"{path}{there}/a%2Fb")
    assert (removed.status_code, document_of(removed)[key]) == (200, RICH[key])
    assert events("mission.saved") == 4


@pytest.mark.parametrize(("part", "key", "new"), [("tasks", "tasks", {}), *PARTS])
def test_an_edit_that_breaks_the_document_changes_nothing(board, part, key, new):
    path = saved(board, RICH)
    first = RICH[key][0]
    name = first.get("title") or first["name"]
    broken = [
        board("POST", f"{path}/{part}", {"wings": 2}),
        board("POST", f"{path}/{part}", first),  # the name is taken
        board("POST", f"{path}/{part}", []),
        board("PATCH", f"{path}/{part}/{name}", {"title" if part == "tasks" else "name": ""}),
        board("PATCH", f"{path}/{part}/{name}", {"title" if part == "tasks" else "name": 7}),
    ]
    assert {refusal(answer) for answer in broken} == {(400, "VALIDATION_ERROR")}
    for method in ("PATCH", "DELETE"):
        absent = board(method, f"{path}/{part}/nobody", {})
        assert_golden(absent, "polpo/error_entry_not_found.json")
    assert document_of(board("GET", path)) == RICH
    assert events("mission.saved") == 1


@pytest.mark.parametrize("part", [part for part, *_ in PARTS])
def test_a_part_that_is_not_there_has_no_entries(board, part):
    path = saved(board)
    for method in ("PATCH", "DELETE"):
        absent = board(method, f"{path}/{part}/nobody", {})
        assert_golden(absent, "polpo/error_entry_not_found.json")


def test_notifications_are_set_and_taken_away(board):
    path = saved(board)
    answer = board(
        "PUT", f"{path}/notifications", {"notifications": {"rules": [{"channel": "mail"}]}}
    )
    assert_golden(answer, "polpo/missions_edit_notifications.json")
    assert (
        "notifications"
        not in board("PUT", f"{path}/notifications", {"notifications": None}).json()["data"]
    )
    for wrong in ({}, {"notifications": []}, {"notifications": {"rules": [7]}}):
        assert refusal(board("PUT", f"{path}/notifications", wrong)) == (400, "VALIDATION_ERROR")


def test_what_is_under_way_goes_on_as_it_was_executed(board):
    path = saved(board)
    board("POST", f"{path}/execute")
    assert board("DELETE", f"{path}/tasks/Fly").status_code == 200
    assert Task.unscoped.count() == 2
    assert row(path).get().executed == DOCUMENT


# --- Schedules ------------------------------------------------------------------------------------

WEEKLY = {"expression": "0 9 * * 1", "recurring": True}


@pytest.fixture
def weekly(board):
    path = saved(board)
    answer = board("POST", "/schedules", WEEKLY | {"missionId": path.rpartition("/")[2]})
    assert_golden(answer, "polpo/schedules_create.json")
    return path


def schedule_of(path):
    return f"/schedules/{path.rpartition('/')[2]}"


def test_a_mission_is_scheduled(board, weekly):
    assert_golden(board("GET", "/schedules"), "polpo/schedules_list.json")
    mission = board("GET", weekly).json()["data"]
    assert (mission["status"], mission["schedule"]) == ("recurring", "0 9 * * 1")
    assert events("schedule.created") == 1


def test_a_schedule_is_changed(board, weekly):
    changes = {"enabled": False, "expression": "30 9 * * 1"}
    assert_golden(board("PATCH", schedule_of(weekly), changes), "polpo/schedules_patch.json")
    board("PATCH", weekly, {"name": "Renamed"})
    assert Schedule.unscoped.get().enabled is False
    once = board("PATCH", schedule_of(weekly), {"expression": "2035-01-01T00:00:00Z"})
    assert once.json()["data"]["recurring"] is False
    assert board("GET", weekly).json()["data"]["status"] == "scheduled"


def test_a_schedule_that_is_taken_away_leaves_a_draft(board, weekly):
    assert_golden(board("DELETE", schedule_of(weekly)), "polpo/schedules_delete.json")
    mission = board("GET", weekly).json()["data"]
    assert (mission["status"], "schedule" in mission) == ("draft", False)
    for method in ("PATCH", "DELETE"):
        assert refusal(board(method, schedule_of(weekly), {})) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    "change", [{"name": "Renamed"}, {"data": DOCUMENT | {"schedule": "0 9 * * 1"}}]
)
def test_a_change_while_it_runs_keeps_the_schedule(board, weekly, change):
    board("POST", f"{weekly}/execute")
    due = Schedule.unscoped.get().next_run_at
    assert board("PATCH", weekly, change).status_code == 200
    assert Schedule.unscoped.get().next_run_at == due


def test_a_spent_schedule_stops_no_other_change(board):
    """A scheduled mission that failed is scheduled again (contract §7.4), though its time has passed."""
    path = saved(board, DOCUMENT | {"schedule": "2035-01-01T00:00:00Z"})
    row(path).update(document=DOCUMENT | {"schedule": "2020-01-01T00:00:00Z"})
    Schedule.unscoped.update(expression="2020-01-01T00:00:00Z", enabled=False, next_run_at=None)
    assert board("PATCH", path, {"name": "Renamed"}).status_code == 200
    refused = board("PATCH", path, {"endDate": "2021-01-01T00:00:00Z"})
    assert refusal(refused) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "often",
        "61 * * * *",
        "* * * *",
        "@daily",
        "30 2 31 2 *",
        "2020-01-01T00:00:00Z",
        "\x00",
        "1," * 90 + "1 * * * *",
    ],
)
def test_an_expression_that_never_comes_is_refused(board, expression):
    path = saved(board)
    body = {"missionId": path.rpartition("/")[2], "expression": expression}
    refused = board("POST", "/schedules", body)
    if expression in {"", "\x00"}:
        assert refusal(refused) == (400, "VALIDATION_ERROR")
    else:
        assert_golden(refused, "polpo/error_schedule_expression.json")
    assert row(path).get().status == "draft"
    assert not Schedule.unscoped.exists()


def test_schedules_of_others_are_as_absent_as_any(board, borealis, weekly):
    mallory = Board(borealis.mallory_token, PLAIN)
    body = WEEKLY | {"missionId": weekly.rpartition("/")[2]}
    assert refusal(mallory("POST", "/schedules", body)) == (404, "NOT_FOUND")
    for method in ("PATCH", "DELETE"):
        assert refusal(mallory(method, schedule_of(weekly), {})) == (404, "NOT_FOUND")
    assert mallory("GET", "/schedules").json()["data"] == []
