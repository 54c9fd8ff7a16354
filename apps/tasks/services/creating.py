"""Making tasks and changing what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction

from apps.accounts.audit import change_entry, record_change
from apps.core.actor import Scope
from apps.core.errors import InvalidInput
from apps.core.queue import enqueue
from apps.core.rows import execute, insert
from apps.events.services import publish
from apps.formations.selectors import look_up_agent
from apps.tasks.errors import TaskStateForbids, TaskTitleTaken
from apps.tasks.events import TaskCreated, TaskUpdated
from apps.tasks.fields import CHECKS, checked
from apps.tasks.models import Task, TaskStatus
from apps.tasks.services.changing import set_status
from apps.tasks.services.moving import DISPATCH, lock_task, refresh_ready

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from apps.accounts.models import AuditEntry
    from apps.core.actor import Actor
    from apps.core.facts import Fact

MAX_DEPENDENCIES = 1_000
JUDGED_ANEW = (TaskStatus.DRAFT, TaskStatus.PENDING, TaskStatus.FAILED, TaskStatus.DONE)


def create_task(
    actor: Actor,
    *,
    title: str,
    description: str,
    assign_to: str,
    depends_on: Sequence[UUID] = (),
    draft: bool = False,
    **fields: Any,
) -> Task:
    """A task that starts as soon as nothing it depends on is unfinished, or a draft.

    `fields`: any of `fields.CHECKS`. Raises InvalidInput (an unknown agent or dependency too) and
    TaskTitleTaken.
    """
    actor.need(Scope.WRITE)
    values = fields | {"title": title, "description": description, "assign_to": assign_to}
    task = build_task(actor, draft=draft, **values)
    known, preferences = look_up_agent(actor, task.assign_to)
    if not known:
        raise _no_such_agent(task.assign_to)
    if fields.get("max_retries") is None:
        task.max_retries = preferences.max_retries
    task.depends_on = list(dict.fromkeys(depends_on))
    record = change_entry(actor, "task.created", "task", task.pk, after=_shown(task))
    with transaction.atomic():
        publish(actor, *save_tasks(actor, [task], record))
    return task


def build_task(actor: Actor, *, draft: bool = False, **fields: Any) -> Task:
    """A checked task that is not saved yet; the workspace's retries are the caller's to set. InvalidInput."""
    unknown = {name: ["Unknown field."] for name in fields if name not in CHECKS}
    if unknown:
        raise InvalidInput(fields=unknown)
    values = checked(fields)
    return Task(
        workspace_id=actor.workspace_id,
        status=TaskStatus.DRAFT if draft else TaskStatus.PENDING,
        user_id=actor.user_id,
        token_id=actor.token_id,
        **values,
    )


def save_tasks(actor: Actor, tasks: Sequence[Task], *records: AuditEntry) -> list[Fact]:
    """Insert built tasks and `records` in the caller's transaction; the facts are the caller's to publish.

    After TaskTitleTaken the transaction has nothing to go on with: the caller passes it up.

    Dependencies are other tasks of the workspace, those of this call included; InvalidInput when one
    is not. They are locked: one that ends now would not see who waits for it.
    """
    new = {task.pk for task in tasks}
    needed = {need for task in tasks for need in task.depends_on} - new
    _need(actor, needed)
    for task in tasks:
        task.ready = task.status == TaskStatus.PENDING and not (task.depends_on or task.held_by)
    try:
        for start in range(0, len(tasks), 200):
            insert(*tasks[start : start + 200], *(records if start == 0 else ()))
    except IntegrityError as error:
        if "one_open_task_a_title" in str(error):
            raise TaskTitleTaken from None
        raise
    refresh_ready(actor, [task.pk for task in tasks if task.depends_on])
    if any(task.ready for task in tasks):
        enqueue(DISPATCH, workspace_id=actor.workspace_id)
    return [TaskCreated(task_id=task.pk) for task in tasks]


def _need(actor: Actor, ids: set[UUID]) -> None:
    if not ids:
        return
    if len(ids) > MAX_DEPENDENCIES:
        raise InvalidInput(fields={"dependsOn": [f"At most {MAX_DEPENDENCIES} dependencies."]})
    found = execute(
        "SELECT id FROM tasks_task WHERE workspace_id = %s AND id = ANY(%s) ORDER BY id FOR SHARE",
        [actor.workspace_id, list(ids)],
    )
    if len(found) != len(ids):
        raise InvalidInput(fields={"dependsOn": ["There is no such task."]})


@transaction.atomic
def update_task(actor: Actor, task_id: UUID, *, status: str | None = None, **changes: Any) -> Task:
    """Change a task: all of it or nothing (contract/polpo.md §3.2).

    `changes`: any of `fields.CHECKS` but the title and the group. A `status` moves it as `changing.set_status`
    says. Raises TaskNotFound, InvalidInput, TaskStateForbids.
    """
    actor.need(Scope.WRITE)
    fixed = {name: ["This cannot be changed."] for name in ("title", "group") if name in changes}
    if fixed:
        raise InvalidInput(fields=fixed)
    values = checked(changes)
    if "assign_to" in values and not look_up_agent(actor, values["assign_to"])[0]:
        raise _no_such_agent(values["assign_to"])
    task = lock_task(actor, task_id)
    facts = set_status(actor, task, status) if status and status != task.status else []
    if "expectations" in values and task.status not in JUDGED_ANEW:
        raise TaskStateForbids(f"Expectations cannot be changed while a task is {task.status}.")
    changed = [name for name, value in values.items() if getattr(task, name) != value]
    if changed:
        _write(actor, task, {name: values[name] for name in changed})
        facts.append(TaskUpdated(task_id=task.pk, changed=changed))
    if facts:
        publish(actor, *facts)
    return task


def _write(actor: Actor, task: Task, values: dict[str, Any]) -> None:
    if "description" in values:
        values |= {"original_description": ""}  # a brief is written upon this one from now on
    before = {name: getattr(task, name) for name in values}
    for name, value in values.items():
        setattr(task, name, value)
    task.save(update_fields=[*values, "updated_at"])
    record_change(actor, "task.updated", "task", task.pk, before=before, after=values)


def _no_such_agent(name: str) -> InvalidInput:
    return InvalidInput(
        f"There is no agent called {name[:100]}.",
        fields={"assignTo": ["There is no agent of this name."]},
    )


def _shown(task: Task) -> dict[str, Any]:
    return {
        "title": task.title,
        "assign_to": task.assign_to,
        "group": task.group,
        "status": task.status,
        "depends_on": [str(need) for need in task.depends_on],
    }
