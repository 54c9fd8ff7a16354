"""What is remembered, as a model reads it at the start of every turn (contract/polpo.md §9).

The texts are ordinary notes: the shared `notes` are the project's memory, the shared `system_context`
its standing instructions, an agent's own `notes` its memory. Read in one query, remembered for two
seconds; a change made in this process is seen at once. What an end user of a formation told it stands in
the prompts of their turns alone, read each time.
"""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING

from django.db.models import Q

from apps.core.actor import Scope
from apps.core.rows import execute
from apps.knowledge.models import Memory

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.actor import Actor

PROJECT_KEY = "notes"
CONTEXT_KEY = "system_context"
LONGEST = 16_000  # characters of one text in a prompt; the whole of it is behind `get_memory`
FRESH = 2.0  # seconds a change made in another process may take
MOST = 5_000
MOST_LINES = 50  # newest memories of an end user in a prompt
LONGEST_LINE = 1_000  # characters of one of them
LONGEST_OF_USER = 8_000  # of them all
BLOCKS = ("system_context", "project_memory", "agent_memory")
USER_BLOCK = "user_memory"
_TAG = re.compile(rf"<(/?)({'|'.join((*BLOCKS, USER_BLOCK))})>", re.IGNORECASE)

# By hand, as it stands before every turn of an end user; each half by an index of its own.
_OF_USER = """SELECT type, detail FROM (
  (SELECT id, created_at, type, detail FROM knowledge_usermemory
    WHERE workspace_id = %(workspace)s AND end_user = %(user)s
    ORDER BY created_at DESC, id DESC LIMIT %(most)s)
  UNION ALL
  (SELECT id, created_at, type, detail FROM knowledge_usermemory
    WHERE workspace_id = %(workspace)s AND scope = 'formation' AND end_user <> %(user)s
    ORDER BY created_at DESC, id DESC LIMIT %(most)s)) AS readable
 ORDER BY created_at DESC, id DESC LIMIT %(most)s"""

_known: dict[tuple[UUID, UUID | None], tuple[float, str]] = {}
_changes: dict[UUID, int] = {}
_lock = threading.Lock()


def prompt_context(actor: Actor, *, agent_id: UUID | None = None, end_user: str = "") -> str:
    """The tagged blocks that go into a prompt, empty where nothing is remembered.

    Standing instructions, the project's memory and, with `agent_id`, that agent's own: one query, or
    none while it is remembered. With `end_user` one more, for that user's.
    """
    actor.need(Scope.READ)
    known, theirs = _notes(actor, agent_id), user_context(actor, end_user)
    return "\n\n".join(block for block in (known, theirs) if block)


def _notes(actor: Actor, agent_id: UUID | None) -> str:
    key = (actor.workspace_id, agent_id)
    with _lock:
        known = _known.get(key)
        seen = _changes.get(actor.workspace_id, 0)
    if known and time.monotonic() - known[0] < FRESH:
        return known[1]
    made = _blocks(actor, agent_id)
    with _lock:
        if len(_known) >= MOST:
            _known.clear()
        # What changed while it was read is not remembered as it was.
        if _changes.get(actor.workspace_id, 0) == seen:
            _known[key] = (time.monotonic(), made)
    return made


def user_context(actor: Actor, end_user: str) -> str:
    """The block of what `end_user`'s turns should know: their own memories, and the formation's.

    The newest that have room, oldest of these first; "" for nobody and for nothing. One query.
    """
    actor.need(Scope.READ)
    if not end_user:
        return ""
    lines: list[str] = []
    left = LONGEST_OF_USER
    asked = {"workspace": actor.workspace_id, "user": end_user, "most": MOST_LINES}
    for kind, detail in execute(_OF_USER, asked):
        line = f"- {kind}: {' '.join(detail.split())}"[:LONGEST_LINE]
        left -= len(line) + 1
        if left < 0:
            break
        lines.append(line)
    return _block(USER_BLOCK, "\n".join(reversed(lines))) if lines else ""


def forget_context(workspace_id: UUID) -> None:
    """A note of this workspace has changed."""
    with _lock:
        if len(_changes) >= MOST:
            _changes.clear()
            _known.clear()
        _changes[workspace_id] = _changes.get(workspace_id, 0) + 1
        for key in [key for key in _known if key[0] == workspace_id]:
            del _known[key]


def _blocks(actor: Actor, agent_id: UUID | None) -> str:
    shared = Q(agent_id__isnull=True, key__in=[PROJECT_KEY, CONTEXT_KEY])
    own = Q(agent_id=agent_id, key=PROJECT_KEY) if agent_id else Q(pk__in=[])
    rows = Memory.objects.in_workspace(actor.workspace_id).filter(shared | own)
    texts = {
        "agent_memory"
        if agent
        else "project_memory"
        if key == PROJECT_KEY
        else "system_context": text
        for agent, key, text in rows.values_list("agent_id", "key", "content")
    }
    return "\n\n".join(_block(name, texts[name]) for name in BLOCKS if texts.get(name, "").strip())


def _block(name: str, text: str) -> str:
    """A note cannot close its own block: such tags in it are defused."""
    plain = _TAG.sub(r"&lt;\1\2>", text).strip()
    if len(plain) > LONGEST:  # the newest lines stand at the end
        plain = f"[the first {len(plain) - LONGEST} characters are left out]\n{plain[-LONGEST:]}"
    return f"<{name}>\n{plain}\n</{name}>"
