"""The checker finds what it is there for: a history that is right passes, each planted wrong is found."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace as Row

import pytest

from tests.chaos import checker
from tests.chaos.driver import SHAPE
from tests.chaos.history import History
from tests.chaos.reader import Heard
from tests.chaos.stubs import Call

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MISSION = "m0"


def right() -> History:
    """One mission that went as it should, followed by one reader."""
    tasks, runs, log, calls = [], [], [("mission.saved", {}), ("mission.executed", {})], []
    log += [("task.created", {"task": title}) for title in SHAPE]
    for place, (title, needs) in enumerate(SHAPE.items()):
        began = NOON + timedelta(seconds=10 * place)
        tasks.append(
            Row(
                id=title,
                mission=MISSION,
                title=title,
                status="done",
                retries=0,
                attempts=1,
                needs=list(needs),
                said=f"Did {MISSION}.{title}.",
            )
        )
        runs.append(
            Row(
                id=f"run-{title}",
                task=title,
                status="succeeded",
                owner="",
                leased=False,
                reserved=0,
                waits=False,
                error="",
                began=began,
                ended=began + timedelta(seconds=5),
                steps=[1, 2, 3],
            )
        )
        calls.append(Call(f"run-{title}:2:call", f"{MISSION}.{title}", 0.0))
        log += [
            ("task.moved", {"task": title, "before": before, "after": after})
            for before, after in checker.WAY
        ]
        log.append(("run.ended", {}))  # a fact that the stream does not tell
    log.append(("mission.completed", {"mission": "M"}))
    return History(
        promised=[MISSION],
        shape=SHAPE,
        missions=[Row(id="M", name=MISSION, status="completed", executions=1, passed=True)],
        tasks=tasks,
        runs=runs,
        log=[fact(seq, name, **told) for seq, (name, told) in enumerate(log, 1)],
        head=len(log),
        calls=calls,
        heard=[
            Heard(str(seq), checker.TOLD[name], {})
            for seq, (name, _) in enumerate(log, 1)
            if name in checker.TOLD
        ],
    )


def fact(seq, name, *, task=None, before=None, after=None, mission=None):
    return Row(seq=seq, name=name, task=task, before=before, after=after, mission=mission)


def test_a_history_that_is_right_passes():
    assert checker.violations(right()) == []


def lost_mission(history):
    history.missions = []


def doubled_mission(history):
    history.missions = [*history.missions, Row(**{**vars(history.missions[0]), "id": "N"})]


def unacknowledged_mission(history):
    history.promised = []


def wrong_mission_status(history):
    history.missions[0].status = "active"


def mission_executed_twice(history):
    history.missions[0].executions = 2


def failed_report(history):
    history.missions[0].passed = False


def lost_task(history):
    history.tasks = history.tasks[1:]


def wrong_task_status(history):
    history.tasks[2].status = "in_progress"


def retried_task(history):
    history.tasks[2].retries = 1


def task_with_the_words_of_another(history):
    history.tasks[2].said = "Did m1.plan."


def task_that_began_too_early(history):
    history.runs[1].began = NOON


def run_of_nobodys_second_attempt(history):
    history.runs = [*history.runs, Row(**{**vars(history.runs[0]), "id": "again"})]


def failed_run(history):
    history.runs[0].status = "failed"


def missing_step(history):
    history.runs[0].steps = [1, 3]


def left_lease(history):
    history.runs[3].owner, history.runs[3].leased = "host:1:abc", True


def left_promise(history):
    history.runs[3].reserved = 40


def waiting_run(history):
    history.runs[3].status, history.runs[3].waits = "waiting", True


def open_question(history):
    history.questions = 1


def double_effect(history):
    history.calls = [*history.calls, replace(history.calls[0], key="another-run:2:call")]


def lost_effect(history):
    history.calls = history.calls[1:]


def foreign_effect(history):
    history.calls = [*history.calls, Call("k", "m7.plan", 0.0)]


def effect_without_a_key(history):
    history.calls[0] = replace(history.calls[0], key="")


def gap_in_the_log(history):
    history.log = [row for row in history.log if row.name != "run.ended"]


def double_move(history):
    move = next(row for row in history.log if row.name == "task.moved")
    history.log.append(Row(**{**vars(move), "seq": history.head + 1}))
    history.head += 1


def end_that_was_never_told(history):
    history.log[-1].name = "something.else"


def gap_in_the_stream(history):
    del history.heard[5]


def missing_last_event(history):
    del history.heard[-1]


def double_in_the_stream(history):
    history.heard.insert(5, history.heard[5])


def disorder_in_the_stream(history):
    history.heard[4], history.heard[5] = history.heard[5], history.heard[4]


def event_of_another_name(history):
    history.heard[5] = replace(history.heard[5], event="task:removed")


def event_of_no_fact(history):
    history.heard.append(Heard(str(history.head + 9), "task:created", {}))


def told_gap(history):
    history.gaps = ['gap {"since":"4","resumedAt":"9"}']


def odd_answer(history):
    history.odd = ["POST missions: 500"]


PLANTED = {
    checker.every_promised_mission_is_there_once: [
        lost_mission,
        doubled_mission,
        unacknowledged_mission,
    ],
    checker.every_mission_is_completed: [
        wrong_mission_status,
        mission_executed_twice,
        failed_report,
    ],
    checker.every_task_is_done_at_its_first_attempt: [
        lost_task,
        wrong_task_status,
        retried_task,
        task_with_the_words_of_another,
    ],
    checker.nothing_began_before_what_it_needs: [task_that_began_too_early],
    checker.every_run_succeeded: [run_of_nobodys_second_attempt, failed_run],
    checker.every_journal_is_whole: [missing_step],
    checker.no_lease_is_left: [left_lease, left_promise],
    checker.nothing_waits_for_a_human: [waiting_run, open_question],
    checker.every_effect_happened_once: [
        double_effect,
        lost_effect,
        foreign_effect,
        effect_without_a_key,
    ],
    checker.the_log_is_without_gap: [gap_in_the_log],
    checker.the_log_tells_each_tasks_way_once: [double_move, end_that_was_never_told],
    checker.the_stream_is_the_log: [
        gap_in_the_stream,
        missing_last_event,
        double_in_the_stream,
        disorder_in_the_stream,
        event_of_another_name,
        event_of_no_fact,
        told_gap,
    ],
    checker.no_answer_was_a_failure: [odd_answer],
}


@pytest.mark.parametrize(
    ("check", "plant"),
    [(check, plant) for check, plants in PLANTED.items() for plant in plants],
    ids=lambda part: part.__name__,
)
def test_a_planted_wrong_is_found_by_its_check(check, plant):
    history = right()
    plant(history)
    assert list(check(history)), f"{check.__name__} did not see it"


def test_every_check_has_its_planted_wrong():
    assert set(PLANTED) == set(checker.CHECKS)
