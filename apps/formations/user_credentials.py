"""Credentials that end users bring: what is shown of them, and where servers take them.

contract/muxi.md §5.8 and §6: `${{ user.credentials.SERVICE }}` stands for what the user of a turn brought.
Service names are compared in lower case.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_PLACEHOLDER = re.compile(r"\$\{\{\s*user\.credentials\.([A-Za-z0-9_.-]{1,100})\s*\}\}")


SHORTEST_SHOWN = 15  # characters; of a shorter one nothing is shown
HIDDEN = "***redacted***"
# Fields that hold what opens the door, the likeliest first.
TOKEN_FIELDS = (
    "access_token",
    "token",
    "api_key",
    "apikey",
    "key",
    "secret",
    "client_secret",
    "password",
)


def secret_of(credential: Mapping[str, Any]) -> str:
    """The token-like field of a credential: by its name, else the first text in it."""
    texts = {key: value for key, value in credential.items() if isinstance(value, str)}
    named = (texts[field] for field in TOKEN_FIELDS if texts.get(field))
    return next(named, next(iter(texts.values()), ""))


def preview_of(credential: Mapping[str, Any]) -> str:
    """The first seven characters and the last three, where that tells little enough."""
    secret = secret_of(credential)
    return HIDDEN if len(secret) < SHORTEST_SHOWN else f"{secret[:7]}*****{secret[-3:]}"


def services_of(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """`{service, server_id, description}` for each service a server takes, in the file's order."""
    return [
        {
            "service": service,
            "server_id": str(server.get("id", "")),
            "description": str(server.get("description") or ""),
        }
        for server in document.get("mcp") or ()
        for service in services_in(server)
    ]


def services_in(value: Any) -> list[str]:
    """The services whose placeholders stand anywhere in `value`, each once."""
    return list(dict.fromkeys(_found(value)))


def filled(pairs: Mapping[str, str], secret: Callable[[str], str | None]) -> dict[str, str]:
    """`pairs` with `secret(service)` in place of each placeholder; KeyError(service) for None."""

    def told(match: re.Match[str]) -> str:
        service = match[1].lower()
        found = secret(service)
        if found is None:
            raise KeyError(service)
        return found

    return {name: _PLACEHOLDER.sub(told, value) for name, value in pairs.items()}


def _found(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from (match[1].lower() for match in _PLACEHOLDER.finditer(value))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _found(item)
    elif isinstance(value, list):
        for item in value:
            yield from _found(item)
