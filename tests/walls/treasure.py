"""What Aurora owns, made for real, and how each kind of id is spelled in a path.

A route with a new kind of id fails the walk until its kind is added to `KINDS`: make one such thing
in `bury`, and say here how its id looks. Give the id of something that exists, or the walk proves
nothing.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.core.files.base import ContentFile

from apps.approvals.services import request
from apps.conversations.services.attachments import attach_file
from apps.conversations.services.messages import post_message
from apps.conversations.services.sessions import create_session
from apps.core.ids import base62, session_wire_id, uuid7, wire_id
from apps.formations.claiming import finished
from apps.formations.services import create_agent, create_team, deploy
from apps.missions.services import create_mission
from apps.tasks.services import create_task
from apps.workspaces.services import store_files
from tests.support.management import bundle, operator_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from tests.support.cast import Aurora


ENTRY = "Dig"


@dataclass(frozen=True)
class Treasure:
    """Ids of things in one workspace; `nowhere()` has the same shape and names nothing."""

    workspace: UUID
    slug: str
    session: UUID
    other_session: UUID
    session_token: str
    message: UUID
    file: UUID
    token: UUID
    user: UUID
    agent: str
    team: str
    task: UUID
    mission: UUID
    entry: str
    approval: UUID
    formation: str


def bury(aurora: Aurora) -> Treasure:
    session, session_token = create_session(aurora.ada, title="Ada's")
    other, _ = create_session(aurora.ada, title="Ada's other one")
    message = post_message(aurora.ada, session.pk, content="for Ada's eyes")
    create_team(aurora.ada, "Miners")
    file = attach_file(aurora.ada, session.pk, ContentFile(b"gold", name="map.txt"))
    store_files(aurora.ada, ".", [ContentFile(b"gold", name="map.txt")])
    digger = create_agent(aurora.ada, name="Digger", team="Miners").name
    task = create_task(aurora.ada, title="Dig", description="Deep.", assign_to=digger, draft=True)
    asked = request(aurora.ada, action="Blast", subject_type="task", subject_id=task.pk)
    return Treasure(
        workspace=aurora.id,
        slug=aurora.workspace.slug,
        session=session.pk,
        other_session=other.pk,
        session_token=session_token,
        message=message.wire_id,
        file=file.pk,
        token=aurora.ada_token_id,
        user=aurora.ada_user.pk,
        agent=digger,
        team="Miners",
        task=task.pk,
        mission=_mission(aurora),
        entry=ENTRY,
        approval=asked.pk,
        formation=_formation(aurora),
    )


def _formation(aurora: Aurora) -> str:
    given = io.BytesIO(bundle("gold-team"))
    return finished(deploy(operator_of(aurora).actor, given, slug="gold-team")).formation.slug


def _mission(aurora: Aurora) -> UUID:
    """With an entry of the same name in every part of its document."""
    after = {"name": ENTRY, "afterTasks": [ENTRY], "blocksTasks": ["Fill"]}
    document = {
        "tasks": [
            {"title": ENTRY, "description": "Deep."},
            {"title": "Fill", "description": "Up.", "dependsOn": [ENTRY]},
        ],
        "checkpoints": [after],
        "delays": [after | {"duration": "PT1H"}],
        "qualityGates": [after],
        "team": [{"name": ENTRY}],
        "schedule": "0 9 * * 1",
    }
    return create_mission(aurora.ada, data=document, name="Mine").pk


def nowhere(treasure: Treasure) -> Treasure:
    """Ids that nobody has. The workspace is absent, too."""
    return Treasure(
        workspace=uuid7(),
        slug="nobody-has-this",
        session=uuid7(),
        other_session=uuid7(),
        session_token=treasure.session_token,
        message=uuid7(),
        file=uuid7(),
        token=uuid7(),
        user=uuid7(),
        agent="Nobody",
        team="Nobodies",
        task=uuid7(),
        mission=uuid7(),
        entry="Nothing",
        approval=uuid7(),
        formation="nobodys-team",
    )


KINDS: dict[str, Callable[[Treasure], str]] = {
    "workspace_id": lambda t: wire_id("ws", t.workspace),
    "session_id": lambda t: session_wire_id(t.workspace, t.session),
    "other_session_id": lambda t: session_wire_id(t.workspace, t.other_session),
    "message_id": lambda t: str(t.message),
    "file_id": lambda t: wire_id("file", t.file),
    "token_id": lambda t: wire_id("tok", t.token),
    "user_id": lambda t: wire_id("usr", t.user),
    "agent_name": lambda t: t.agent,
    "team_name": lambda t: t.team,
    "task_id": lambda t: base62(t.task),
    "mission_id": lambda t: base62(t.mission),
    "entry_name": lambda t: t.entry,
    "approval_id": lambda t: base62(t.approval),
    "project_id": lambda t: t.slug,
    "slug": lambda t: t.slug,
    "formation_id": lambda t: t.formation,
    # Of a formation's own API: walked with its keys in tests/walls/test_formations.py.
    "agent_id": lambda t: t.agent,
    "server_id": lambda t: f"{t.slug}-maps",
    "key": lambda t: f"{t.slug.upper()}_KEY",
}
# Parameters that name no row: a document, a platform, an asset, a day. (An unknown log is empty, not
# absent: contract/polpo.md §14; whose runs have one is asked in tests/runs/test_logs.py.)
NOT_AN_ID = {
    "surface": "polymux",
    "name": "index.html",
    "asset": "x.js",
    "path": "x",
    "rest": "x",
    "log_id": "2026-05-21",
    # Of a formation's users: tests/walls/formation_treasure.py.
    "request_id": "req_1",
    "memory_id": "mem_1",
    "credential_id": "cred_1",
    "job_id": "job_1",
    "identifier": "telegram:7",
}


def spelled(kind: str, treasure: Treasure) -> str:
    """How this id stands in a path; KeyError (with instructions) for an unknown kind."""
    if kind in NOT_AN_ID:
        return NOT_AN_ID[kind]
    if kind not in KINDS:
        raise KeyError(
            f"no sample of {kind!r}: make one in tests/walls/treasure.py:bury and spell it in KINDS"
        )
    return KINDS[kind](treasure)


def filled(path: str, treasure: Treasure, *, kinds: list[str]) -> str:
    for kind in kinds:
        path = path.replace("{" + kind + "}", spelled(kind, treasure))
    return path
