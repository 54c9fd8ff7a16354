"""What the feeds of other surfaces call the facts of conversations (contract/polpo.md §15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.events.words import bare, present, speak

if TYPE_CHECKING:
    from collections.abc import Mapping


def register_words() -> None:
    """From `ready()`."""
    speak("polpo", "session.created", "session:created", _session_created)
    speak("polpo", "message.posted", "message:added", _message_added)


def _session_created(said: Mapping[str, Any]) -> dict[str, Any]:
    return present(sessionId=bare(said["session_id"]), title=said.get("title"))


def _message_added(said: Mapping[str, Any]) -> dict[str, Any] | None:
    """`snapshot.complete_messages` has read the row; without one it was edited away meanwhile."""
    message = said.get("message")
    if message is None:
        return None
    return {
        "sessionId": bare(said["session_id"]),
        "messageId": bare(message["message_id"]),
        "role": said["role"],
    }
