"""The client routes of a formation as MCP tools (contract/muxi.md §5.9), named by operation id.

Data only. A tool whose route is not there yet is not offered: see `tool_server.offered`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
OBJECT: Schema = {"type": "object"}
COUNT: Schema = {"type": "integer", "minimum": 1}


@dataclass(frozen=True, slots=True)
class Tool:
    """One route. `query` and `body` are its arguments beside those in the path; `fixed` goes with every
    body.
    """

    name: str
    method: str
    path: str
    description: str
    query: dict[str, Schema] = field(default_factory=dict)
    body: dict[str, Schema] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    fixed: dict[str, Any] = field(default_factory=dict)

    @property
    def in_path(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    @property
    def input_schema(self) -> Schema:
        """What the tool takes; `user_id` is for clients that do not send `X-Muxi-User-ID`."""
        named = dict.fromkeys(self.in_path, TEXT) | self.query | self.body
        user = {"type": "string", "description": "The user to act for, unless the header says"}
        return {
            "type": "object",
            "properties": {**named, "user_id": user},
            "required": [*self.in_path, *self.required],
            "additionalProperties": False,
        }


_PAGE = {"limit": COUNT}
_CHAT: dict[str, Schema] = {
    "message": TEXT,
    "session_id": TEXT,
    "agent_id": TEXT,
    "files": {"type": "array", "items": OBJECT},
    "request_id": TEXT,
    "mode": {"type": "string", "enum": ["sync", "async"]},
}
_AUDIO: dict[str, Schema] = {
    "files": {"type": "array", "items": OBJECT},
    "session_id": TEXT,
    "agent_id": TEXT,
    "request_id": TEXT,
}
_MESSAGES: dict[str, Schema] = {"messages": {"type": "array", "items": OBJECT}}
_MEMORY: dict[str, Schema] = {"type": TEXT, "detail": TEXT, "scope": TEXT, "scope_id": TEXT}
_CREDENTIAL: dict[str, Schema] = {"service": TEXT, "name": TEXT, "credential": OBJECT}
_DATA: dict[str, Schema] = {"data": OBJECT, "session_id": TEXT, "use_async": {"type": "boolean"}}
_RESOLVE: dict[str, Schema] = {"identifier": TEXT, "identifier_type": TEXT}
_LINK: dict[str, Schema] = {"muxi_user_id": TEXT, "identifiers": {"type": "array"}}

TOOLS: tuple[Tool, ...] = (
    Tool(
        "chat",
        "POST",
        "/v1/chat",
        "Say something to the formation; the whole answer",
        body=_CHAT,
        required=("message",),
        fixed={"stream": False},
    ),
    Tool(
        "audiochat",
        "POST",
        "/v1/audiochat",
        "Say something by a recording; the whole answer",
        body=_AUDIO,
        required=("files",),
        fixed={"stream": False},
    ),
    Tool(
        "list_sessions",
        "GET",
        "/v1/sessions",
        "The user's conversations",
        query=_PAGE | {"active_only": {"type": "boolean"}},
    ),
    Tool("get_session", "GET", "/v1/sessions/{session_id}", "One conversation"),
    Tool(
        "get_session_messages",
        "GET",
        "/v1/sessions/{session_id}/messages",
        "What was said",
        query=_PAGE | {"before": TEXT},
    ),
    Tool(
        "restore_session",
        "POST",
        "/v1/sessions/{session_id}/restore",
        "Put messages from elsewhere into a conversation",
        body=_MESSAGES,
        required=("messages",),
    ),
    Tool("list_requests", "GET", "/v1/requests", "Requests that are or were under way"),
    Tool("get_request", "GET", "/v1/requests/{request_id}", "How one request stands"),
    Tool("cancel_request", "DELETE", "/v1/requests/{request_id}", "Stop a request"),
    Tool(
        "list_memories",
        "GET",
        "/v1/memories",
        "What is remembered of the user",
        query=_PAGE | {"offset": {"type": "integer", "minimum": 0}, "scopes": TEXT},
    ),
    Tool(
        "create_memory",
        "POST",
        "/v1/memories",
        "Remember something of the user",
        body=_MEMORY,
        required=("type", "detail"),
    ),
    Tool("delete_memory", "DELETE", "/v1/memories/{memory_id}", "Forget one memory"),
    Tool("get_buffer", "GET", "/v1/memory/buffer", "The user's latest messages"),
    Tool("clear_buffer", "DELETE", "/v1/memory/buffer", "Forget the user's latest messages"),
    Tool(
        "clear_session_buffer",
        "DELETE",
        "/v1/memory/buffer/{session_id}",
        "Forget the latest messages of one conversation",
    ),
    Tool(
        "list_credential_services",
        "GET",
        "/v1/credentials/services",
        "Services that a user may bring credentials for",
    ),
    Tool("list_credentials", "GET", "/v1/credentials", "The user's credentials, masked"),
    Tool(
        "create_credential",
        "POST",
        "/v1/credentials",
        "Keep a credential of the user, sealed",
        body=_CREDENTIAL,
        required=("service", "credential"),
    ),
    Tool("get_credential", "GET", "/v1/credentials/{credential_id}", "One of them, masked"),
    Tool("delete_credential", "DELETE", "/v1/credentials/{credential_id}", "Throw one away"),
    Tool("list_triggers", "GET", "/v1/triggers", "What may be set off"),
    Tool("get_trigger", "GET", "/v1/triggers/{name}", "One trigger and its template"),
    Tool(
        "execute_trigger",
        "POST",
        "/v1/triggers/{name}",
        "Set a trigger off with data",
        body=_DATA,
        required=("data",),
    ),
    Tool("list_sops", "GET", "/v1/sops", "The formation's standard procedures"),
    Tool("get_sop", "GET", "/v1/sops/{name}", "One procedure and its steps"),
    Tool(
        "resolve_user",
        "POST",
        "/v1/users/resolve",
        "The user behind an identifier; made when there is none",
        body=_RESOLVE,
        required=("identifier",),
    ),
    Tool(
        "link_user_identifier",
        "POST",
        "/v1/users/identifiers",
        "Give a user further identifiers",
        body=_LINK,
        required=("identifiers",),
    ),
    Tool(
        "list_user_identifiers",
        "GET",
        "/v1/users/identifiers/{identifier}",
        "A user's identifiers",
    ),
    Tool(
        "unlink_user_identifier",
        "DELETE",
        "/v1/users/identifiers/{identifier}",
        "Take an identifier away",
    ),
)
