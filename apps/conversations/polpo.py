"""How conversations look to polpo's clients (contract/polpo.md §13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.conversations.models import MessageRole
from apps.conversations.selectors import counts_of
from apps.core.clock import rfc3339
from apps.core.ids import base62
from apps.core.redact import redacted
from apps.formations.selectors import list_agents
from apps.runs.selectors import calls_of_runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from uuid import UUID

    from apps.conversations.models import Message, Session
    from apps.core.actor import Actor

STATES = {"ok": "completed", "error": "error"}  # of a step; any other was interrupted


def sessions_json(actor: Actor, sessions: Sequence[Session]) -> list[dict[str, Any]]:
    """Session objects; two more queries, however many."""
    counts = counts_of(actor, [session.pk for session in sessions])
    named = {session.agent_id for session in sessions if session.agent_id}
    agents = list_agents(actor).filter(pk__in=named, is_default=False) if named else ()
    names = {agent.pk: agent.name for agent in agents}
    return [session_json(session, counts, names) for session in sessions]


def session_json(
    session: Session, counts: Mapping[UUID, int], agents: Mapping[UUID, str]
) -> dict[str, Any]:
    body = {
        "id": base62(session.pk),
        "title": session.title,
        "createdAt": rfc3339(session.created_at),
        "updatedAt": rfc3339(session.updated_at),
        "messageCount": counts.get(session.pk, 0),
        "agent": agents.get(session.agent_id) if session.agent_id else None,
    }
    return {name: value for name, value in body.items() if value not in (None, "")}


def message_json(message: Message, calls: list[dict[str, Any]] | None) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": base62(message.pk),
        "role": message.role,
        "content": message.content,
        "ts": rfc3339(message.created_at),
    }
    if calls and message.role == MessageRole.ASSISTANT:
        body["toolCalls"] = calls
    return body


def tool_calls_of(
    actor: Actor, messages: Iterable[Message]
) -> dict[UUID | None, list[dict[str, Any]]]:
    """Run -> the tools it called, in order: one query."""
    runs = {row.run_id for row in messages if row.run_id and row.role == MessageRole.ASSISTANT}
    found: dict[UUID | None, list[dict[str, Any]]] = {}
    for step in calls_of_runs(actor, runs):
        found.setdefault(step["run_id"], []).append(_call_json(step))
    return found


def _call_json(step: Mapping[str, Any]) -> dict[str, Any]:
    call = {
        "id": step["call_id"],
        "name": step["name"],
        "arguments": redacted(step["input"] or {}),
        "state": STATES.get(step["status"], "interrupted"),
    }
    if step["size"] is None:
        return call
    if not step["structured"]:
        return call | {"result": step["content"]}
    if step["data"] is None:
        return call | {"result": f"[{step['size']} characters]"}
    return call | {"result": redacted(step["data"])}
