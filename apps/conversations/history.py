"""From stored messages to what the model reads.

The rule: the agent's prompt first, then the newest messages that fit the model's window (whole turns;
`engine.history.trim` says how many were left out). Text files are inlined up to 32 KiB each, images
up to 4 MiB become image parts, other files are named only.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from uuid import UUID

from django.core.files.storage import default_storage

from apps.conversations.models import Attachment, Message, MessageRole
from apps.engine.ports import ChatMessage, Image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apps.formations.models import Agent
    from apps.workspaces.preferences import Preferences

TEXT_CAP = 32 * 1024
IMAGE_CAP = 4 * 1024 * 1024
DEFAULT_PROMPT = (
    "You are the orchestrator of a Polymux workspace: a helpful, precise assistant. "
    "Answer briefly and use the tools you are given when they help."
)


def system_message(agent: Agent | None, preferences: Preferences, context: str = "") -> ChatMessage:
    """The workspace's instructions, the agent's own prompt, then what is remembered (`context`)."""
    prompt = agent.system_prompt if agent and agent.system_prompt else DEFAULT_PROMPT
    return ChatMessage("system", f"{preferences.instructions}\n\n{prompt}\n\n{context}".strip())


def with_files(text: str, files: Sequence[Attachment]) -> ChatMessage:
    """What a user says with these files, as the model reads it."""
    images: list[Image] = []
    for attachment in files:
        text, images = _with_file(text, images, attachment)
    return ChatMessage("user", text, tuple(images))


def as_chat(rows: list[Message]) -> list[ChatMessage]:
    """Stored messages as the model reads them; tool notes are left out, empty turns too."""
    files = _files_of(rows)
    chat = []
    for row in rows:
        if row.role == MessageRole.TOOL or not (row.content or row.parts or files.get(row.pk)):
            continue
        text, images = (
            row.content,
            [Image(part["url"]) for part in row.parts or () if "url" in part],
        )
        for attachment in files.get(row.pk, ()):
            text, images = _with_file(text, images, attachment)
        chat.append(ChatMessage(row.role, text, tuple(images)))
    return chat


def _files_of(rows: list[Message]) -> dict[UUID, list[Attachment]]:
    wanted = {
        UUID(item["id"]): row.pk for row in rows for item in row.metadata.get("attachments", ())
    }
    if not wanted:
        return {}
    found: dict[UUID, list[Attachment]] = {}
    known = Attachment.objects.in_workspace(rows[0].workspace_id).filter(
        session_id=rows[0].session_id, pk__in=wanted
    )
    for attachment in known[:50]:
        found.setdefault(wanted[attachment.pk], []).append(attachment)
    return found


def _with_file(text: str, images: list[Image], attachment: Attachment) -> tuple[str, list[Image]]:
    kind = attachment.mime_type
    if kind.startswith("image/") and attachment.size <= IMAGE_CAP:
        data = base64.b64encode(_read(attachment, IMAGE_CAP)).decode()
        return text, [*images, Image(f"data:{kind};base64,{data}")]
    if kind.startswith("text/") or kind in {"application/json", "application/xml"}:
        body = _read(attachment, TEXT_CAP).decode("utf-8", "replace")
        cut = " (cut)" if attachment.size > TEXT_CAP else ""
        return f"{text}\n\n[File {attachment.name}{cut}]\n{body}", images
    return f"{text}\n\n[File {attachment.name}, {kind}, {attachment.size} bytes]", images


def _read(attachment: Attachment, cap: int) -> bytes:
    try:
        with default_storage.open(attachment.storage_key, "rb") as file:
            return bytes(file.read(cap))
    except OSError:
        return b""
