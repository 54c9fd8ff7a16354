"""MCP servers that take what the user of a turn brought (contract/muxi.md §6, `user_credentials`).

The formation's file says which: `${{ user.credentials.SERVICE }}` in a server's `auth` or `env`. Such a
server has a connection for each user, made with their credential and anew when that changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.core.actor import Actor
from apps.core.errors import NotFound
from apps.formations import registry
from apps.formations.bundles import slug_of
from apps.formations.reading import auth_headers
from apps.formations.services.credentials import opened_credential
from apps.formations.user_credentials import filled, secret_of, services_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

SHARED = ""  # whose connection it is that all users share


class NotBrought(Exception):
    """The user has no credential for that service; the text is for the model."""

    def __init__(self, service: str) -> None:
        super().__init__(f"The user has not brought a credential for {service} yet.")


def brought(workspace_id: UUID, server: str, end_user: str) -> dict[str, str] | None:
    """The headers or the environment that are `end_user`'s; None where the server asks users for none.

    `server`: its name. Raises NotBrought.
    """
    item = _asking(workspace_id, server)
    if item is None:
        return None
    system = Actor.for_system(workspace_id)

    def secret(service: str) -> str | None:
        found = opened_credential(system, end_user, service)
        return None if found is None else secret_of(found)

    try:
        if item.get("type") == "command":
            return filled(_asked(item.get("env")), secret)
        return auth_headers(filled(_texts(item.get("auth")), secret))
    except KeyError as missing:
        raise NotBrought(missing.args[0]) from None


def _asking(workspace_id: UUID, server: str) -> Mapping[str, Any] | None:
    """The server as the file has it, if it asks users for something."""
    try:
        listed = registry.running(workspace_id).document.get("mcp") or ()
    except NotFound:
        return None
    for item in listed:
        if slug_of(str(item.get("id", ""))) == server:
            return item if services_in([item.get("auth"), item.get("env")]) else None
    return None


def _texts(block: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in (block or {}).items()}


def _asked(env: Any) -> dict[str, str]:
    """Of an environment only what asks: the rest is sealed with the server."""
    return {key: value for key, value in _texts(env).items() if services_in(value)}
