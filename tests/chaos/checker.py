"""The invariants, and nothing else. Each check is a function from a history to the violations it finds.

None of the product's code is used here: what a mission, an attempt or a stream must be is said anew.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from tests.chaos.history import History

# The way of a task that nothing goes wrong with, as its transitions tell it.
WAY = [
    ("pending", "assigned"),
    ("assigned", "in_progress"),
    ("in_progress", "review"),
    ("review", "done"),
]
# Facts that the stream tells each time, and what it calls them.
TOLD = {
    "task.created": "task:created",
    "task.moved": "task:transition",
    "agent.spawned": "agent:spawned",
    "agent.active": "agent:activity",
    "agent.finished": "agent:finished",
    "task.recovered": "task:recovered",
    "mission.saved": "mission:saved",
    "mission.executed": "mission:executed",
    "mission.completed": "mission:completed",
}


def violations(history: History) -> list[str]:
    return [f"{check.__name__}: {found}" for check in CHECKS for found in check(history)]


def every_promised_mission_is_there_once(history: History) -> Iterator[str]:
    counted = Counter(mission.name for mission in history.missions)
    for name in history.promised:
        if counted[name] != 1:
            yield f"mission {name} is there {counted[name]} times"
    for name in counted.keys() - set(history.promised):
        yield f"mission {name} was never acknowledged"


def every_mission_is_completed(history: History) -> Iterator[str]:
    for mission in history.missions:
        if mission.status != "completed" or mission.executions != 1 or not mission.passed:
            yield (
                f"mission {mission.name}: {mission.status}, executed {mission.executions} times, "
                f"passed: {mission.passed}"
            )


def every_task_is_done_at_its_first_attempt(history: History) -> Iterator[str]:
    tasks = defaultdict(list)
    for task in history.tasks:
        tasks[task.mission].append(task)
    for mission in history.missions:
        titles = sorted(task.title for task in tasks[mission.name])
        if titles != sorted(history.shape):
            yield f"mission {mission.name} has the tasks {titles}"
    for task in history.tasks:
        said = f"Did {task.mission}.{task.title}."
        if (task.status, task.retries, task.attempts, task.said) != ("done", 0, 1, said):
            yield (
                f"task {task.mission}.{task.title}: {task.status}, {task.retries} retries, "
                f"{task.attempts} attempts, said {task.said!r}"
            )


def nothing_began_before_what_it_needs(history: History) -> Iterator[str]:
    runs = {run.task: run for run in history.runs}
    for task in history.tasks:
        for need in task.needs:
            mine, theirs = runs.get(task.id), runs.get(need)
            if mine and theirs and theirs.ended and mine.began and mine.began < theirs.ended:
                yield f"task {task.mission}.{task.title} began before {need} had ended"


def every_run_succeeded(history: History) -> Iterator[str]:
    of_task = Counter(run.task for run in history.runs)
    for task in history.tasks:
        if of_task[task.id] != 1:
            yield f"task {task.mission}.{task.title} has {of_task[task.id]} runs"
    for run in history.runs:
        if run.status != "succeeded":
            yield f"run {run.id} is {run.status} {run.error}"


def every_journal_is_whole(history: History) -> Iterator[str]:
    """What the model said, what the tool answered, what the model said then."""
    for run in history.runs:
        if list(run.steps or ()) != [1, 2, 3]:
            yield f"run {run.id} has the steps {run.steps}"


def no_lease_is_left(history: History) -> Iterator[str]:
    for run in history.runs:
        if run.owner or run.leased:
            yield f"run {run.id} ({run.status}) is still held by {run.owner!r}"
        if run.reserved:
            yield f"run {run.id} still has {run.reserved} reserved"


def nothing_waits_for_a_human(history: History) -> Iterator[str]:
    if history.questions:
        yield f"{history.questions} questions are open"
    for run in history.runs:
        if run.status == "waiting" or run.waits:
            yield f"run {run.id} waits"


def every_effect_happened_once(history: History) -> Iterator[str]:
    """Once a key is the tool's part; a second key for one effect is ours to answer for."""
    keys = defaultdict(set)
    for call in history.calls:
        keys[call.effect].add(call.key)
        if not call.key:
            yield f"effect {call.effect} was asked for without a key"
    for task in history.tasks:
        effect = f"{task.mission}.{task.title}"
        found = keys.pop(effect, set())
        if len(found) != 1:
            yield f"effect {effect} was made under {len(found)} keys: {sorted(found)}"
    for effect in keys:
        yield f"effect {effect} belongs to no task"


def the_log_is_without_gap(history: History) -> Iterator[str]:
    numbers = [fact.seq for fact in history.log]
    if numbers != list(range(1, history.head + 1)):
        yield f"the log has {len(numbers)} facts up to {max(numbers, default=0)}, head {history.head}"


def the_log_tells_each_tasks_way_once(history: History) -> Iterator[str]:
    ways: dict[str, list[Any]] = defaultdict(list)
    completed: Counter[str] = Counter()
    for fact in history.log:
        if fact.name == "task.moved":
            ways[fact.task].append((fact.before, fact.after))
        if fact.name == "mission.completed":
            completed[fact.mission] += 1
    for task in history.tasks:
        if ways[task.id] != WAY:
            yield f"task {task.mission}.{task.title} went {ways[task.id]}"
    for mission in history.missions:
        if completed[mission.id] != 1:
            yield f"the end of mission {mission.name} was told {completed[mission.id]} times"


def the_stream_is_the_log(history: History) -> Iterator[str]:
    """Every fact that has a word, once, in order, over all reconnects; and nothing else."""
    if history.gaps:
        yield f"the stream told of gaps: {list(history.gaps)}"
    places = [_place(event.id) for event in history.heard]
    for before, after in pairwise(places):
        if after <= before:
            yield f"event {after} came after {before}"
    there = {_place(event.id)[0]: event.event for event in history.heard}
    names = {fact.seq: fact.name for fact in history.log}
    for seq, name in names.items():
        if name in TOLD and there.get(seq) != TOLD[name]:
            yield f"fact {seq} ({name}) was heard as {there.get(seq)}"
    for seq in there.keys() - names.keys():
        yield f"event {seq} is of no fact"


def _place(event_id: str) -> tuple[int, float]:
    """(fact, place among its events): `12.1` is the first of fact 13's events, `13` its last."""
    whole, _, place = event_id.partition(".")
    return (int(whole) + 1, float(place)) if place else (int(whole), float("inf"))


def no_answer_was_a_failure(history: History) -> Iterator[str]:
    yield from history.odd


CHECKS = [
    every_promised_mission_is_there_once,
    every_mission_is_completed,
    every_task_is_done_at_its_first_attempt,
    nothing_began_before_what_it_needs,
    every_run_succeeded,
    every_journal_is_whole,
    no_lease_is_left,
    nothing_waits_for_a_human,
    every_effect_happened_once,
    the_log_is_without_gap,
    the_log_tells_each_tasks_way_once,
    the_stream_is_the_log,
    no_answer_was_a_failure,
]
