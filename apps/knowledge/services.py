"""Writing memories: named notes of a workspace or of one of its agents, and what end users told it."""

from __future__ import annotations

import json
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
from apps.knowledge.errors import MemoryFull, MemoryNotFound, TooManyMemories
from apps.knowledge.events import MemoryChanged, UserMemoryCreated, UserMemoryDeleted
from apps.knowledge.models import MemoryScope, UserMemory
from apps.knowledge.prompt import forget_context
from apps.knowledge.selectors import list_memories

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.actor import Actor

MAX_BYTES = 64 * 1024  # one memory
MAX_KEYS = 200  # of a workspace, and of each agent
LONGEST_DETAIL = 10_000  # characters of one memory of an end user (contract/muxi.md §6)
MOST_OF_A_USER = 1_000
LONGEST_METADATA = 16 * 1024  # bytes of JSON
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


# --- What end users of a formation told it (contract/muxi.md §5.7) --------------------------------
@transaction.atomic
def remember(
    actor: Actor,
    end_user: str,
    detail: str,
    *,
    type_name: str = "general",
    metadata: dict[str, Any] | None = None,
    scope: str = MemoryScope.USER,
    scope_id: str = "",
) -> UserMemory:
    """Keep `detail` for `end_user`. `scope_id`: of a group, which; of a formation, its name.

    Raises InvalidInput, TooManyMemories.
    """
    actor.need(Scope.WRITE)
    memory = UserMemory(
        workspace_id=actor.workspace_id,
        end_user=end_user,
        scope=scope,
        scope_id=end_user if scope == MemoryScope.USER else scope_id,
        type=type_name,
        detail=detail,
        metadata=metadata or {},
    )
    _check_user_memory(memory, scope_id)
    mine = UserMemory.objects.in_workspace(actor.workspace_id).filter(end_user=end_user)
    if mine.count() >= MOST_OF_A_USER:
        raise TooManyMemories
    rows.insert(memory)
    _tell_of(actor, memory, "memory.created", UserMemoryCreated)
    return memory


@transaction.atomic
def forget(actor: Actor, end_user: str, memory_id: UUID) -> None:
    """Only whose it is may; another's and an absent one are the same MemoryNotFound."""
    actor.need(Scope.WRITE)
    mine = UserMemory.objects.in_workspace(actor.workspace_id).filter(end_user=end_user)
    memory = mine.select_for_update().filter(pk=memory_id).first()
    if memory is None:
        raise MemoryNotFound
    UserMemory.objects.in_workspace(actor.workspace_id).filter(pk=memory_id).delete()
    _tell_of(actor, memory, "memory.deleted", UserMemoryDeleted)


def adopt_memories(actor: Actor, identifier: str, muxi_user_id: str) -> int:
    """What was remembered under another name of an end user is theirs; how much that was."""
    actor.need(Scope.WRITE)
    found = UserMemory.objects.in_workspace(actor.workspace_id).filter(end_user=identifier)
    found.filter(scope=MemoryScope.USER).update(scope_id=muxi_user_id)
    return found.update(end_user=muxi_user_id)


def _check_user_memory(memory: UserMemory, scope_id: str) -> None:
    if not memory.detail.strip() or len(memory.detail) > LONGEST_DETAIL:
        raise InvalidInput(fields={"detail": [f"1 to {LONGEST_DETAIL} characters."]})
    if memory.scope == MemoryScope.USER and scope_id not in ("", memory.end_user):
        raise InvalidInput(fields={"scope_id": ["Another user's memories are theirs."]})
    if not memory.scope_id:
        raise InvalidInput(fields={"scope_id": ["Say which group."]})
    if len(json.dumps(memory.metadata)) > LONGEST_METADATA:
        raise InvalidInput(fields={"metadata": [f"At most {LONGEST_METADATA} bytes of JSON."]})


def _tell_of(
    actor: Actor,
    memory: UserMemory,
    verb: str,
    fact: type[UserMemoryCreated | UserMemoryDeleted],
) -> None:
    """Never the text: the log and the audit are read by others than the end user."""
    shown = {"end_user": memory.end_user, "scope": memory.scope, "type": memory.type}
    gone = verb.endswith("deleted")
    before, after = (shown, None) if gone else (None, shown)
    record_change(actor, verb, "memory", memory.pk, before=before, after=after)
    publish(actor, fact(memory_id=memory.pk, end_user=memory.end_user, scope=memory.scope))
