"""The mission document (contract/polpo.md §7.2): JSON in, frozen values out, every problem at its place.

Keys that the upstream documents know are taken, also those it drops (`name`, `qualityThreshold`, a task's
`priority`, `metrics`, `maxRetries`), which have their effect here. Any other key is refused: dropping a
misspelt `dependsOn` in silence would run a task too early. Two keys are kept and have no effect, as
upstream: a gate's `condition` (nothing says in which language) and the document's `group` (the mission's
name, §7.3).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from apps.core.cron import parse_when
from apps.core.durations import parse_duration
from apps.core.reading import Fields, InvalidFields, Problems, as_json
from apps.missions import graph as graphs
from apps.tasks import spec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from apps.missions.graph import Flaw, Graph

__all__ = ["DocumentInvalid", "MissionDocument", "as_json", "parse_document"]

LONGEST_DOCUMENT = 256 * 1024  # bytes of JSON
MOST_TASKS = 1_000
MOST_BARRIERS = 200  # of each kind
MOST_MEMBERS = 100
LONGEST_RUN = 7 * 24 * 3_600 * 1_000.0  # milliseconds a task may take
HIGHEST_PRIORITY = 1_000.0
REASONING = ("off", "minimal", "low", "medium", "high", "xhigh")

Made = TypeVar("Made")


class DocumentInvalid(InvalidFields):
    """`fields`: `tasks[2].dependsOn[0]` -> messages."""


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """`max_duration`: milliseconds, 0 for none. `notifications`: kept as it came."""

    title: str
    description: str
    assign_to: str = ""
    depends_on: tuple[str, ...] = ()
    expectations: tuple[spec.Expectation, ...] = ()
    expected_outcomes: tuple[spec.ExpectedOutcome, ...] = ()
    metrics: tuple[spec.Metric, ...] = ()
    max_retries: int | None = None
    max_duration: float | None = None
    retry_policy: spec.RetryPolicy | None = None
    side_effects: bool = False
    priority: float = 1.0
    deadline: datetime | None = None
    notifications: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """An agent that lives as long as the mission. `identity`: kept as it came."""

    name: str
    role: str = ""
    model: str = ""
    system_prompt: str = ""
    allowed_tools: tuple[str, ...] | None = None
    skills: tuple[str, ...] = ()
    max_turns: int | None = None
    max_concurrency: int | None = None
    reports_to: str = ""
    reasoning: str = ""
    identity: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class QualityGate:
    name: str
    after_tasks: tuple[str, ...]
    blocks_tasks: tuple[str, ...]
    min_score: float | None = None
    require_all_passed: bool = False
    condition: str = ""
    notify_channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    name: str
    after_tasks: tuple[str, ...]
    blocks_tasks: tuple[str, ...]
    message: str = ""
    notify_channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delay:
    name: str
    after_tasks: tuple[str, ...]
    blocks_tasks: tuple[str, ...]
    duration: timedelta
    message: str = ""
    notify_channels: tuple[str, ...] = ()


BarrierSpec = QualityGate | Checkpoint | Delay


@dataclass(frozen=True, slots=True)
class MissionDocument:
    """`schedule`: five-field cron or an ISO instant, checked, as it was written."""

    tasks: tuple[TaskSpec, ...]
    name: str = ""
    group: str = ""
    team: tuple[Member, ...] = ()
    quality_gates: tuple[QualityGate, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    delays: tuple[Delay, ...] = ()
    quality_threshold: float | None = None
    schedule: str = ""
    deadline: datetime | None = None
    end_date: datetime | None = None
    notifications: Mapping[str, Any] | None = None

    def agent_names(self) -> frozenset[str]:
        """Agents that somebody in the document relies on and that it does not bring along."""
        named = {task.assign_to for task in self.tasks}
        named |= {task.retry_policy.fallback_agent for task in self.tasks if task.retry_policy}
        named |= {member.reports_to for member in self.team}
        return frozenset(named - {member.name for member in self.team} - {""})

    def graph(self) -> Graph:
        """Nodes are the tasks by title, in the order of the document. `GraphInvalid`."""
        gates = (
            graphs.Gate(
                gate.name,
                gate.after_tasks,
                gate.blocks_tasks,
                min_score=gate.min_score,
                all_passed=gate.require_all_passed,
            )
            for gate in self.quality_gates
        )
        stops = (graphs.Checkpoint(c.name, c.after_tasks, c.blocks_tasks) for c in self.checkpoints)
        delays = (
            graphs.Delay(delay.name, delay.after_tasks, delay.blocks_tasks, duration=delay.duration)
            for delay in self.delays
        )
        nodes = (
            graphs.Task(task.title, graphs.edges(*task.depends_on), task.priority, task.assign_to)
            for task in self.tasks
        )
        return graphs.Graph(tuple(nodes), (*gates, *stops, *delays))


def parse_document(raw: str | Mapping[str, Any]) -> MissionDocument:
    """JSON text or the object itself; `DocumentInvalid` with everything that is wrong."""
    problems = Problems()
    value = problems.attempt(_loaded, raw, "data")
    document = None if value is None else _document(value, problems)
    # References into what did not parse would only echo the problems above.
    if document is not None and not problems.fields:
        _check_references(document, problems)
    if document is None or problems.fields:
        raise DocumentInvalid(problems.fields)
    return document


def _loaded(raw: str | Mapping[str, Any], place: str) -> dict[str, Any]:
    try:
        text = raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False, allow_nan=False)
        # A lone surrogate is counted here and refused where it stands.
        size = len(text.encode("utf-8", "surrogatepass"))
        value = json.loads(text) if size <= LONGEST_DOCUMENT else {}
    except (ValueError, TypeError, RecursionError):
        size, value = 0, None
    if size > LONGEST_DOCUMENT:
        raise InvalidFields({place: [f"At most {LONGEST_DOCUMENT} bytes of JSON."]})
    if not isinstance(value, dict):
        raise InvalidFields({place: ["Must be a JSON object."]})
    return value


def _document(raw: Any, problems: Problems) -> MissionDocument:
    with Fields(raw, "", problems) as entry:
        return MissionDocument(
            tasks=_each(entry, "tasks", _task, least=1, most=MOST_TASKS),
            name=entry.name("name"),
            group=entry.name("group"),
            team=_each(entry, "team", _member, most=MOST_MEMBERS),
            quality_gates=_each(entry, "qualityGates", _gate, most=MOST_BARRIERS),
            checkpoints=_each(entry, "checkpoints", _checkpoint, most=MOST_BARRIERS),
            delays=_each(entry, "delays", _delay, most=MOST_BARRIERS),
            quality_threshold=entry.number(
                "qualityThreshold", spec.LOWEST_SCORE, spec.HIGHEST_SCORE
            ),
            schedule=_schedule(entry),
            deadline=entry.instant("deadline"),
            end_date=entry.instant("endDate"),
            notifications=_notifications(entry),
        )


def _each(
    entry: Fields, key: str, read: Callable[[Fields], Made], *, most: int, least: int = 0
) -> tuple[Made, ...]:
    made = []
    for place, value in entry.items(key, most=most, least=least):
        with Fields(value, place, entry.problems) as item:
            made.append(read(item))
    return tuple(made)


def _task(entry: Fields) -> TaskSpec:
    attempt = entry.problems.attempt
    priority = entry.number("priority", 0.001, HIGHEST_PRIORITY)
    return TaskSpec(
        title=entry.name("title", required=True),
        description=entry.text("description", required=True),
        assign_to=entry.name("assignTo"),
        depends_on=entry.texts("dependsOn", most=MOST_TASKS),
        expectations=attempt(spec.parse_expectations, *entry.part("expectations")) or (),
        expected_outcomes=attempt(spec.parse_expected_outcomes, *entry.part("expectedOutcomes"))
        or (),
        metrics=attempt(spec.parse_metrics, *entry.part("metrics")) or (),
        max_retries=entry.whole("maxRetries", 0, spec.MOST_RETRIES),
        max_duration=entry.number("maxDuration", 0.0, LONGEST_RUN),
        retry_policy=attempt(spec.parse_retry_policy, *entry.part("retryPolicy")),
        side_effects=entry.flag("sideEffects"),
        priority=1.0 if priority is None else priority,
        deadline=entry.instant("deadline"),
        notifications=_notifications(entry),
    )


def _member(entry: Fields) -> Member:
    given = entry.raw("allowedTools") is not None
    tools = entry.texts("allowedTools", most=500)
    reasoning = entry.raw("reasoning") is not None
    return Member(
        name=entry.name("name", required=True),
        role=entry.text("role", longest=500),
        model=entry.name("model"),
        system_prompt=entry.text("systemPrompt"),
        allowed_tools=tools if given else None,  # an empty list allows none, an absent one all
        skills=entry.texts("skills", most=100),
        max_turns=entry.whole("maxTurns", 1, 1_000),
        max_concurrency=entry.whole("maxConcurrency", 1, 1_000),
        reports_to=entry.name("reportsTo"),
        reasoning=entry.choice("reasoning", REASONING) if reasoning else "",
        identity=entry.json("identity"),
    )


def _gate(entry: Fields) -> QualityGate:
    return QualityGate(
        name=entry.name("name", required=True),
        after_tasks=entry.texts("afterTasks", least=1),
        blocks_tasks=entry.texts("blocksTasks", least=1),
        min_score=entry.number("minScore", spec.LOWEST_SCORE, spec.HIGHEST_SCORE),
        require_all_passed=entry.flag("requireAllPassed"),
        condition=entry.text("condition", longest=1_000),
        notify_channels=entry.texts("notifyChannels", most=50),
    )


def _checkpoint(entry: Fields) -> Checkpoint:
    return Checkpoint(
        name=entry.name("name", required=True),
        after_tasks=entry.texts("afterTasks", least=1),
        blocks_tasks=entry.texts("blocksTasks", least=1),
        message=entry.text("message", longest=2_000),
        notify_channels=entry.texts("notifyChannels", most=50),
    )


def _delay(entry: Fields) -> Delay:
    entry.raw("duration", required=True)
    return Delay(
        name=entry.name("name", required=True),
        after_tasks=entry.texts("afterTasks", least=1),
        blocks_tasks=entry.texts("blocksTasks", least=1),
        duration=entry.made("duration", parse_duration) or timedelta(),
        message=entry.text("message", longest=2_000),
        notify_channels=entry.texts("notifyChannels", most=50),
    )


def _schedule(entry: Fields) -> str:
    entry.made("schedule", parse_when)
    return entry.name("schedule")


def _notifications(entry: Fields) -> Mapping[str, Any] | None:
    return entry.problems.attempt(spec.parse_notifications, *entry.part("notifications"))


def _check_references(document: MissionDocument, problems: Problems) -> None:
    """What only the whole can say: unique names, known titles, no cycles, barriers that hold."""
    seen: set[str] = set()
    for index, member in enumerate(document.team):
        if member.name in seen:
            problems.note(f"team[{index}].name", f"Names are unique: {member.name!r} is not.")
        seen.add(member.name)
    try:
        document.graph()
    except graphs.GraphInvalid as error:
        for flaw in error.flaws:
            problems.note(_place_of(flaw, document), flaw.message)
    _check_blocked(document, problems)


_KEYS = {"name": "title", "after": "dependsOn"}
_BARRIER_KEYS = {"name": "name", "after": "afterTasks", "blocks": "blocksTasks"}


def _place_of(flaw: Flaw, document: MissionDocument) -> str:
    kind, index, side, *rest = flaw.at
    number = "".join(f"[{step}]" for step in rest)
    if kind == "nodes":
        return f"tasks[{index}].{_KEYS[str(side)]}{number}"
    place, _ = _barriers(document)[int(index)]
    return f"{place}.{_BARRIER_KEYS[str(side)]}{number}"


def _barriers(document: MissionDocument) -> list[tuple[str, BarrierSpec]]:
    """(place, barrier) in the order in which `graph` takes them."""
    return [
        *((f"qualityGates[{n}]", gate) for n, gate in enumerate(document.quality_gates)),
        *((f"checkpoints[{n}]", checkpoint) for n, checkpoint in enumerate(document.checkpoints)),
        *((f"delays[{n}]", delay) for n, delay in enumerate(document.delays)),
    ]


def _check_blocked(document: MissionDocument, problems: Problems) -> None:
    """Each blocked task lists all `afterTasks` among its own dependencies (§7.2)."""
    depends_on = {task.title: set(task.depends_on) for task in document.tasks}
    for place, barrier in _barriers(document):
        for number, title in enumerate(barrier.blocks_tasks):
            missing = set(barrier.after_tasks) - depends_on.get(title, set())
            if missing and title in depends_on and title not in barrier.after_tasks:
                names = ", ".join(repr(name) for name in sorted(missing))
                where = f"{place}.blocksTasks[{number}]"
                problems.note(where, f"{title!r} must depend on {names} itself.")
