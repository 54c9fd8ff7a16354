"""Facts about conversations. A message's text is stored once, in its row: facts carry its id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from apps.core.facts import Fact

if TYPE_CHECKING:
    from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFact(Fact):
    subject: ClassVar[tuple[str, str]] = ("session", "session_id")
    session_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCreated(SessionFact):
    name: ClassVar[str] = "session.created"
    title: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionChanged(SessionFact):
    """Title, settings or status changed; `status` is the one now in force."""

    name: ClassVar[str] = "session.changed"
    status: str
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEndedFact(SessionFact):
    name: ClassVar[str] = "session.ended"
    end_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePosted(SessionFact):
    """`message_id` is the row; `state`: complete, interrupted or failed."""

    name: ClassVar[str] = "message.posted"
    message_id: UUID
    role: str
    agent_key: str
    state: str = "complete"
    run_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesReplaced(SessionFact):
    """That message and everything after it left the transcript (edit and resend)."""

    name: ClassVar[str] = "messages.replaced"
    from_message_id: UUID
    removed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAttached(SessionFact):
    name: ClassVar[str] = "file.attached"
    file_id: UUID
    file_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRemoved(SessionFact):
    name: ClassVar[str] = "file.removed"
    file_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewportChanged(SessionFact):
    """What a browser agent shows (contract/polymux.md §11.3 `viewport`).

    `event`: spawned, navigated, status, cursor, closed or released. Published once there is a browser.
    """

    name: ClassVar[str] = "viewport.changed"
    agent_id: str
    event: str
    label: str | None = None
    task: str | None = None
    url: str | None = None
    title: str | None = None
    status: str | None = None
    cursor: dict[str, Any] | None = None
    reason: str | None = None
    result_summary: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferCleared(Fact):
    """`end_user` None: everybody's conversations. What was said stays in the transcript."""

    name: ClassVar[str] = "buffer.cleared"
    end_user: str | None
    session_count: int
