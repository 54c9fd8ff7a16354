"""What a workspace allows its agents: tool settings and MCP servers. Used through `services`."""

from __future__ import annotations

import json
import math
import re
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from apps.accounts.audit import record_change
from apps.core import crypto
from apps.core.actor import Actor, Scope
from apps.core.errors import InvalidInput
from apps.events.services import publish
from apps.formations.errors import (
    McpServerNameTaken,
    McpServerNotFound,
    StdioForOperators,
    TooMany,
)
from apps.formations.events import (
    McpServerAdded,
    McpServerContacted,
    McpServerRemoved,
    McpServerUpdated,
    ToolSettingChanged,
)
from apps.formations.models import McpServer, McpTransport, ToolSetting
from apps.formations.policy import forget_policy
from apps.formations.selectors import get_mcp_server
from apps.workspaces.selectors import may_run_programs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

MAX_SERVERS = 20  # a workspace
MAX_SETTINGS = 500
MAX_TIMEOUT = 600.0  # seconds
MAX_PAIRS = 50
MAX_SEALED = 16 * 1024  # bytes of headers or environment
SERVER_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
TOOL_NAME = re.compile(r"[A-Za-z0-9_*-]{1,120}")
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
# Loaders and interpreters that an environment variable can turn into another program.
ENV_REFUSED = frozenset({"LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT"})
CHANGEABLE = frozenset({"name", "url", "command", "headers", "env", "enabled"})
HEADERS_REFUSED = frozenset({"host", "content-length", "transfer-encoding", "connection"})


def set_tool(
    actor: Actor,
    tool: str,
    *,
    enabled: bool,
    needs_approval: bool | None = None,
    timeout: float | None = None,
) -> ToolSetting:
    """The workspace's word on `tool` (a name, or a pattern with `*`). Raises InvalidInput, TooMany."""
    actor.need(Scope.ADMIN)
    if not TOOL_NAME.fullmatch(tool):
        raise InvalidInput(fields={"tool": ["Not a tool's name."]})
    if timeout is not None and not (math.isfinite(timeout) and 0 < timeout <= MAX_TIMEOUT):
        raise InvalidInput(
            fields={"timeout": [f"Must be between 0 and {MAX_TIMEOUT:.0f} seconds."]}
        )
    rows = ToolSetting.objects.in_workspace(actor.workspace_id)
    word = {"enabled": enabled, "needs_approval": needs_approval, "timeout": timeout}
    with transaction.atomic():
        known = rows.filter(tool=tool).first()
        if known is None and rows.count() >= MAX_SETTINGS:
            raise TooMany
        before = None if known is None else {key: getattr(known, key) for key in word}
        setting: ToolSetting
        setting, _ = rows.update_or_create(
            tool=tool, defaults=word, create_defaults={"workspace_id": actor.workspace_id, **word}
        )
        record_change(actor, "tool.set", "tool", tool, before=before, after=word)
        publish(
            actor,
            ToolSettingChanged(
                tool=tool, enabled=enabled, needs_approval=needs_approval, timeout=timeout
            ),
        )
        _policy_changes(actor)
    return setting


def add_mcp_server(
    actor: Actor,
    *,
    name: str,
    transport: str,
    url: str = "",
    command: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    enabled: bool = True,
) -> McpServer:
    """`http`: `url` and `headers`; `stdio` (operators only): `command` (a list) and `env`.

    Headers and environment are sealed and never shown. Raises InvalidInput, StdioForOperators,
    McpServerNameTaken, TooMany.
    """
    actor.need(Scope.ADMIN)
    server = McpServer(workspace_id=actor.workspace_id, name=name, transport=transport)
    server.url, server.command, server.enabled = url, list(command), enabled
    _check_server(actor, server)
    if McpServer.objects.in_workspace(actor.workspace_id).count() >= MAX_SERVERS:
        raise TooMany
    given: dict[str, Any] = {"headers": headers, "env": env}
    secrets = given.pop(_secret_field(transport))
    _refuse_other_secrets(given)
    _seal_into(server, secrets)
    with transaction.atomic():
        _save_server(server, force_insert=True)
        _record(actor, "mcp_server.added", server.id, None, _shown(server))
        publish(actor, McpServerAdded(server_id=server.id, server=server.name))
        _policy_changes(actor)
    return server


def update_mcp_server(actor: Actor, server_id: UUID, **changes: Any) -> McpServer:
    """Change any of `CHANGEABLE`. Another address or command forgets the pinned tools.

    Raises as `add_mcp_server`, and McpServerNotFound.
    """
    actor.need(Scope.ADMIN)
    unknown = sorted(set(changes) - CHANGEABLE)
    if unknown:
        raise InvalidInput(fields={name: ["Unknown field."] for name in unknown})
    with transaction.atomic():
        server = _locked(actor, server_id)
        before = _shown(server)
        secrets = changes.pop(_secret_field(server.transport), None)
        _refuse_other_secrets(changes)
        for field in ("name", "url", "command", "enabled"):
            setattr(server, field, changes.get(field, getattr(server, field)))
        _check_server(actor, server)
        if (server.url, server.command) != (before["url"], before["command"]):
            server.tools, server.status = [], "unknown"
        if secrets is not None:
            _seal_into(server, secrets)
        _save_server(server)
        after = _shown(server) | {"headers_or_env_changed": secrets is not None}
        _record(actor, "mcp_server.updated", server.id, before, after)
        publish(actor, McpServerUpdated(server_id=server.id, server=server.name))
        _policy_changes(actor)
    return server


def remove_mcp_server(actor: Actor, server_id: UUID) -> None:
    """Raises McpServerNotFound."""
    actor.need(Scope.ADMIN)
    with transaction.atomic():
        server = _locked(actor, server_id)
        before = _shown(server)
        server.delete()
        _record(actor, "mcp_server.removed", server_id, before, None)
        publish(actor, McpServerRemoved(server_id=server_id, server=before["name"]))
        _policy_changes(actor)


def accept_mcp_tools(actor: Actor, server_id: UUID) -> McpServer:
    """A human has looked at the changed definitions: the next contact pins them anew."""
    actor.need(Scope.ADMIN)
    with transaction.atomic():
        server = _locked(actor, server_id)
        changed = [tool["name"] for tool in server.tools if tool.get("changed")]
        server.tools = [tool for tool in server.tools if not tool.get("changed")]
        server.status, server.last_error = "unknown", ""
        server.save()
        _record(
            actor, "mcp_server.tools_accepted", server.id, {"changed": changed}, {"changed": []}
        )
        publish(actor, McpServerUpdated(server_id=server.id, server=server.name))
        _policy_changes(actor)
    return server


def record_contact(
    actor: Actor,
    server_id: UUID,
    *,
    status: str,
    error: str = "",
    tools: list[dict[str, Any]] | None = None,
) -> None:
    """What the last contact with a server said; a fact only when that is news.

    `tools` None leaves what is known. Written by update, so that `updated_at` stays the version of
    the configuration.
    """
    rows = McpServer.objects.in_workspace(actor.workspace_id).filter(id=server_id)
    with transaction.atomic():
        server = rows.select_for_update().first()
        if server is None:
            return
        known = server.tools if tools is None else tools
        news = (server.status, server.last_error, server.tools) != (status, error[:500], known)
        rows.update(status=status, last_error=error[:500], tools=known, checked_at=Now())
        if news:
            changed = [tool["name"] for tool in known if tool.get("changed")]
            fact = McpServerContacted(
                server_id=server_id,
                server=server.name,
                status=status,
                error=error[:500],
                changed_tools=changed,
            )
            publish(actor, fact)


def opened_secrets(server: McpServer) -> dict[str, str]:
    """The headers or the environment of a server, in the clear: for the connection only."""
    if server.sealed is None:
        return {}
    opened: dict[str, str] = json.loads(
        crypto.open_sealed(bytes(server.sealed), context=_context(server))
    )
    return opened


def _context(server: McpServer) -> str:
    return crypto.context_of(server.workspace_id, "formations_mcpserver", server.id, "sealed")


def _seal_into(server: McpServer, pairs: Mapping[str, str] | None) -> None:
    _check_pairs(server.transport, pairs or {})
    if not pairs:
        server.sealed = None
        return
    plain = json.dumps(dict(pairs)).encode()
    server.sealed = crypto.seal(plain, context=_context(server))


def _record(
    actor: Actor,
    verb: str,
    server_id: UUID,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> None:
    record_change(actor, verb, "mcp_server", server_id, before=before, after=after)


def _secret_field(transport: str) -> str:
    return "headers" if transport == McpTransport.HTTP else "env"


def _refuse_other_secrets(changes: Mapping[str, Any]) -> None:
    for field in ("headers", "env"):
        if changes.get(field):
            raise InvalidInput(fields={field: ["This transport has none."]})


def _policy_changes(actor: Actor) -> None:
    transaction.on_commit(partial(forget_policy, actor.workspace_id))


def _locked(actor: Actor, server_id: UUID) -> McpServer:
    get_mcp_server(actor, server_id)
    rows = McpServer.objects.in_workspace(actor.workspace_id).select_for_update()
    server: McpServer | None = rows.filter(id=server_id).first()
    if server is None:
        raise McpServerNotFound
    return server


def _save_server(server: McpServer, *, force_insert: bool = False) -> None:
    try:
        with transaction.atomic():
            server.save(force_insert=force_insert)
    except IntegrityError as error:
        if "mcp_server_once" in str(error):
            raise McpServerNameTaken from None
        raise


def _shown(server: McpServer) -> dict[str, Any]:
    """Without what is sealed."""
    return {
        "name": server.name,
        "transport": server.transport,
        "url": server.url,
        "command": server.command,
        "enabled": server.enabled,
    }


def _check_server(actor: Actor, server: McpServer) -> None:
    if not SERVER_NAME.fullmatch(server.name):
        raise InvalidInput(fields={"name": ["Small letters, digits and hyphens, at most 40."]})
    if server.transport == McpTransport.HTTP:
        _check_url(server.url)
    elif server.transport == McpTransport.STDIO:
        if not may_run_programs(actor):
            raise StdioForOperators
        _check_command(server.command)
    else:
        raise InvalidInput(fields={"transport": ["Must be stdio or http."]})


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        good = good and len(url) <= 500 and "@" not in parts.netloc
    except ValueError:
        good = False
    if not good:
        raise InvalidInput(fields={"url": ["Must be an http or https URL without a user name."]})


def _check_command(command: Any) -> None:
    good = (
        isinstance(command, list)
        and 0 < len(command) <= 50
        and all(
            isinstance(word, str) and len(word) <= 2_000 and "\x00" not in word for word in command
        )
        and bool(command[0])
    )
    if not good:
        raise InvalidInput(fields={"command": ["Must be a list of words, the program first."]})


def _check_pairs(transport: str, pairs: Mapping[str, object]) -> None:
    http = transport == McpTransport.HTTP
    field, name = ("headers", HEADER_NAME) if http else ("env", ENV_NAME)
    for key, value in pairs.items():
        refused = key.lower() in HEADERS_REFUSED if http else key.upper() in ENV_REFUSED
        if refused or not name.fullmatch(key) or not isinstance(value, str) or _breaks(value):
            raise InvalidInput(fields={field: [f"{key[:100]!r} cannot be set."]})
    if len(pairs) > MAX_PAIRS or len(json.dumps(dict(pairs))) > MAX_SEALED:
        raise InvalidInput(fields={field: [f"At most {MAX_PAIRS} and {MAX_SEALED} bytes in all."]})


def _breaks(value: str) -> bool:
    return any(char in value for char in "\r\n\x00")
