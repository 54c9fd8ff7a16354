from __future__ import annotations

from apps.core.errors import Conflict, Gone, InvalidInput, Kind, NotFound


class SessionNotFound(NotFound):
    message = "Session not found."


class MessageNotFound(NotFound):
    message = "Message not found."


class AttachmentNotFound(NotFound):
    message = "File not found."


class SessionEnded(Gone):
    code = "session_ended"
    message = "This session has ended."


class SessionNotActive(Conflict):
    code = "session_ended"
    message = "This session has ended."


class SessionPaused(Conflict):
    code = "session_paused"
    message = "This session is paused. Resume it first."


class SessionLimitReached(Conflict):
    kind = Kind.LIMITED
    code = "session_limit_reached"
    message = "This token already has its limit of active sessions."


class MessageIdTaken(Conflict):
    """A message's id chosen by a client is that of a turn, whose reply it names."""

    code = "message_id_taken"
    message = "This id belongs to another message of the session. Choose a new one."


class EmptyMessage(InvalidInput):
    message = "A message needs content."


class ModelNotFound(NotFound):
    code = "model_not_found"
    message = "No such model."


class ProjectNotFound(NotFound):
    code = "project_not_found"
    message = "No such project."


class RequestNotFound(NotFound):
    code = "request_not_found"
    message = "Request not found."


class RequestIdTaken(Conflict):
    """An end user's application chose the id of a request that it made before."""

    code = "request_id_taken"
    message = "This request_id was used before. Choose a new one."


class RequestOver(InvalidInput):
    code = "operation_failed"
    message = "The request has ended already."


class NotAudio(InvalidInput):
    """`details`: field, invalid_content_type."""

    code = "not_audio"
    message = "An audio file is needed."


class TriggerUnusable(InvalidInput):
    """The trigger's template asks for what the request does not bring."""

    code = "trigger_unusable"
    message = "The trigger cannot be rendered with this data."


class TurnInProgress(Conflict):
    code = "turn_in_progress"
    message = "A turn of this session is still in progress."


class AgentGone(Conflict):
    """The agent was removed between its choice and the turn's beginning."""

    code = "agent_gone"
    message = "The agent was removed in this very moment. Try again."


class TurnCancelled(Conflict):
    code = "turn_cancelled"
    message = "The turn was cancelled."
