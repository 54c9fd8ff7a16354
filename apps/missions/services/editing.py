"""Edits of a mission's document, entry by entry (contract/polpo.md §4).

Each reads the whole document anew, so that what an edit would break is refused with its place
(`tasks[2].dependsOn[0]`) and nothing is changed. What is under way goes on as it was executed.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.accounts.audit import record_change
from apps.core.actor import Scope
from apps.core.errors import InvalidInput
from apps.events.services import publish
from apps.missions.drafts import put_document, read_document, saved
from apps.missions.errors import EntryNotFound
from apps.missions.services.saving import lock_mission

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.missions.models import Mission

    Document = dict[str, Any]

# Part, as the surface calls it -> (its key in the document, what names an entry of it).
PARTS = {
    "tasks": ("tasks", "title"),
    "checkpoints": ("checkpoints", "name"),
    "delays": ("delays", "name"),
    "quality-gates": ("qualityGates", "name"),
    "team": ("team", "name"),
}
BARRIERS = ("checkpoints", "delays", "qualityGates")
SIDES = ("afterTasks", "blocksTasks")


def add_entry(actor: Actor, mission_id: UUID, part: str, entry: Mapping[str, Any]) -> Mission:
    """One more task, checkpoint, delay, gate or agent, at the end. MissionNotFound, MissionInvalid."""
    key, _ = PARTS[part]

    def add(document: Document) -> None:
        document.setdefault(key, []).append(dict(entry))

    return _edit(actor, mission_id, add, added=part)


def change_entry(
    actor: Actor, mission_id: UUID, part: str, name: str, changes: Mapping[str, Any]
) -> Mission:
    """Some fields of one entry; null clears one. Who refers to it by name follows a new name.

    Raises MissionNotFound, EntryNotFound, MissionInvalid.
    """
    key, named = PARTS[part]

    def change(document: Document) -> None:
        entry = _find(document, part, name)
        entry |= changes
        new = entry.get(named)
        if new != name and isinstance(new, str):
            _rename(document, key, name, new)

    return _edit(actor, mission_id, change, changed=part, name=name)


def remove_entry(actor: Actor, mission_id: UUID, part: str, name: str) -> Mission:
    """Take one entry out. Nothing depends on a task, or waits for it, that is not there any more; a
    barrier between nothing and something goes, too. The last task stays (MissionInvalid).

    Raises MissionNotFound, EntryNotFound.
    """
    key, _ = PARTS[part]

    def remove(document: Document) -> None:
        entry = _find(document, part, name)
        document[key].remove(entry)
        if key == "tasks":
            _forget(document, name)

    return _edit(actor, mission_id, remove, removed=part, name=name)


def reorder_tasks(actor: Actor, mission_id: UUID, titles: Sequence[str]) -> Mission:
    """All tasks in a new order; InvalidInput unless each is named once."""

    def reorder(document: Document) -> None:
        tasks = {task["title"]: task for task in document["tasks"]}
        if sorted(titles) != sorted(tasks):
            words = "Name every task of the mission once."
            raise InvalidInput(f"titles: {words}", fields={"titles": [words]})
        document["tasks"] = [tasks[title] for title in titles]

    return _edit(actor, mission_id, reorder, reordered="tasks")


def set_notifications(
    actor: Actor, mission_id: UUID, notifications: Mapping[str, Any] | None
) -> Mission:
    """Whom to tell what; None: nobody anything. MissionNotFound, MissionInvalid."""

    def change(document: Document) -> None:
        document["notifications"] = notifications

    return _edit(actor, mission_id, change, changed="notifications")


@transaction.atomic
def _edit(
    actor: Actor, mission_id: UUID, change: Callable[[Document], None], **told: str
) -> Mission:
    actor.need(Scope.WRITE)
    mission = lock_mission(actor, mission_id)
    document = deepcopy(mission.document)
    change(document)
    put_document(mission, read_document(document))
    if "notifications" in document and document["notifications"] is None:
        mission.notifications = None
    mission.save()
    record_change(actor, "mission.edited", "mission", mission.pk, after=told)
    publish(actor, saved(mission))
    return mission


def _find(document: Document, part: str, name: str) -> Document:
    """EntryNotFound, also where the document has no such part at all."""
    key, named = PARTS[part]
    entries: list[Document] = document.get(key, [])
    for entry in entries:
        if entry[named] == name:
            return entry
    raise EntryNotFound


def _rename(document: Document, key: str, old: str, new: str) -> None:
    """Whoever calls an entry by its old name calls it by the new one."""

    def called(name: Any) -> Any:
        return new if name == old else name

    for task in document["tasks"]:
        if key == "tasks":
            task["dependsOn"] = [called(title) for title in task.get("dependsOn") or []]
        if key == "team":
            task["assignTo"] = called(task.get("assignTo"))
            policy = task.get("retryPolicy") or {}
            if policy.get("fallbackAgent") == old:
                policy["fallbackAgent"] = new
    for barrier in _barriers(document) if key == "tasks" else ():
        for side in SIDES:
            barrier[side] = [called(title) for title in barrier[side]]
    for member in document.get("team", []) if key == "team" else ():
        member["reportsTo"] = called(member.get("reportsTo"))


def _forget(document: Document, title: str) -> None:
    for task in document["tasks"]:
        task["dependsOn"] = [need for need in task.get("dependsOn") or [] if need != title]
    for barrier in _barriers(document):
        for side in SIDES:
            barrier[side] = [named for named in barrier[side] if named != title]
    for key in BARRIERS:
        listed = document.get(key, [])
        document[key] = [entry for entry in listed if all(entry[side] for side in SIDES)]


def _barriers(document: Document) -> list[Document]:
    return [barrier for key in BARRIERS for barrier in document.get(key, [])]
