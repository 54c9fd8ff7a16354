"""Writing memories: named notes of a workspace or of one of its agents."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.accounts.audit import record_change
from apps.core import rows
from apps.core.actor import Scope
from apps.core.errors import InvalidInput
from apps.core.ids import uuid7
from apps.events.services import publish
from apps.formations.selectors import get_agent
from apps.knowledge.errors import MemoryFull, TooManyMemories
from apps.knowledge.events import MemoryChanged
from apps.knowledge.prompt import forget_context
from apps.knowledge.selectors import list_memories

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.actor import Actor

MAX_BYTES = 64 * 1024  # one memory
MAX_KEYS = 200  # of a workspace, and of each agent
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./ -]{0,119}")

# One statement: two agents that append at once both keep their line, and neither passes the cap.
_APPEND = """
INSERT INTO knowledge_memory AS m (id, workspace_id, agent_id, key, content, created_at, updated_at)
VALUES (%s, %s, %s, %s, %s, now(), now())
ON CONFLICT (workspace_id, agent_id, key) DO UPDATE
   SET content = m.content || CASE WHEN m.content = '' THEN '' ELSE E'\\n' END || excluded.content,
       updated_at = now()
 WHERE octet_length(m.content) + octet_length(excluded.content) + 1 <= %s
RETURNING m.id, octet_length(m.content)
"""
_WRITE = """
INSERT INTO knowledge_memory AS m (id, workspace_id, agent_id, key, content, created_at, updated_at)
VALUES (%s, %s, %s, %s, %s, now(), now())
ON CONFLICT (workspace_id, agent_id, key) DO UPDATE
   SET content = excluded.content, updated_at = now()
RETURNING m.id, octet_length(m.content)
"""


def append_memory(
    actor: Actor, text: str, *, key: str = "notes", agent_id: UUID | None = None
) -> int:
    """Add a line; the new size in bytes. Raises MemoryFull, TooManyMemories, InvalidInput, NotFound."""
    with transaction.atomic():
        _check(actor, key, text, agent_id)
        values = [uuid7(), actor.workspace_id, agent_id, key, text, MAX_BYTES]
        written = rows.execute(_APPEND, values)
        if not written:
            raise MemoryFull(limit=MAX_BYTES)
        return _record(actor, "memory.appended", (key, agent_id), written[0])


def write_memory(
    actor: Actor, text: str, *, key: str = "notes", agent_id: UUID | None = None
) -> int:
    """Replace the text under `key`; its size in bytes. Raises as `append_memory`."""
    with transaction.atomic():
        _check(actor, key, text, agent_id)
        written = rows.execute(_WRITE, [uuid7(), actor.workspace_id, agent_id, key, text])
        return _record(actor, "memory.written", (key, agent_id), written[0])


def delete_memory(actor: Actor, key: str, *, agent_id: UUID | None = None) -> bool:
    """True when there was one."""
    actor.need(Scope.WRITE)
    with transaction.atomic():
        memory = list_memories(actor, agent_id=agent_id).filter(key=key).first()
        if memory is None:
            return False
        id_ = memory.id
        memory.delete()
        _record(actor, "memory.deleted", (key, agent_id), (id_, 0))
    return True


def _check(actor: Actor, key: str, text: str, agent_id: UUID | None) -> None:
    actor.need(Scope.WRITE)
    if not KEY.fullmatch(key):
        raise InvalidInput(fields={"key": ["1 to 120 letters, digits, spaces and _./- ."]})
    if "\x00" in text:
        raise InvalidInput(fields={"content": ["May not contain NUL."]})
    if len(text.encode()) > MAX_BYTES:
        raise MemoryFull(limit=MAX_BYTES)
    if agent_id is not None:
        get_agent(actor, agent_id)
    kept = list_memories(actor, agent_id=agent_id)
    if not kept.filter(key=key).exists() and kept.count() >= MAX_KEYS:
        raise TooManyMemories


def _record(actor: Actor, verb: str, place: tuple[str, UUID | None], row: tuple[Any, ...]) -> int:
    key, agent_id = place
    memory_id: UUID = row[0]
    size: int = row[1]
    after = {"name": key, "agent_id": None if agent_id is None else str(agent_id), "size": size}
    record_change(actor, verb, "memory", memory_id, before=None, after=after)
    transaction.on_commit(partial(forget_context, actor.workspace_id))
    publish(actor, MemoryChanged(memory_id=memory_id, key=key, agent_id=agent_id, size=size))
    return size
