"""Whose path is it? Several surfaces share one host; this table decides where they meet (design §1).

The order is the rule: the first pattern that fits names the surface. Patterns have no leading slash.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from apps.surfaces import (
    molecule,
    muxi_formation,
    muxi_server,
    openai,
    polpo,
    polyant,
    polymux,
)
from apps.workspaces.services.workspaces import RESERVED_SLUGS

if TYPE_CHECKING:
    from apps.surfaces.kit import Credentials, Surface

# `/webhooks/{platform}` is molecule's for these and polyant's for anything else.
PLATFORMS = ("telegram", "slack", "whatsapp", "discord", "lark", "github")
MOLECULE_PARTS = ("tokens", "schedules", "channels", "plugins", "approvals")

LONGEST_REMEMBERED = 200  # characters: a megabyte of paths at most

_END = r"(?:/|\Z)"
TABLE: tuple[tuple[str, Surface], ...] = (
    (rf"v1/(?:chat/completions|models){_END}", openai.SURFACE),
    (rf"(?:rpc|ping|health|metrics){_END}", muxi_server.SURFACE),
    (rf"api/v1{_END}", polpo.SURFACE),
    (rf"api/(?:{'|'.join(RESERVED_SLUGS)}){_END}", polyant.SURFACE),
    (rf"memories{_END}", polyant.SURFACE),
    (rf"webhooks/(?:{'|'.join(PLATFORMS)}){_END}", molecule.SURFACE),
    (rf"webhooks{_END}", polyant.SURFACE),
    (rf"workspaces/[^/]+/(?:{'|'.join(MOLECULE_PARTS)}){_END}", molecule.SURFACE),
    (rf"(?:channels|plugins|templates|org|bundles|approvals){_END}", molecule.SURFACE),
    (rf"admin/workspaces/[^/]+/(?:tokens|test-token){_END}", molecule.SURFACE),
    (rf"v1{_END}", muxi_formation.SURFACE),
    (rf"(?:api|draft)/[^/]+{_END}", muxi_formation.SURFACE),
    (r"mcp/[^/]+", muxi_formation.SURFACE),
    (rf"(?:api|draft){_END}", muxi_server.SURFACE),
    (
        rf"(?:me|tokens|oauth|sessions?|workspaces?|invitations|marketplace|mcp){_END}",
        polymux.SURFACE,
    ),
)
# Unknown paths below these ask for a credential before they say that they are unknown.
GUARDED = re.compile(
    rf"(?:rpc/|api/v1(?!/health){_END}|(?:me|tokens|sessions|workspaces|marketplace){_END})"
)

_COMPILED = tuple((re.compile(pattern), surface) for pattern, surface in TABLE)


def surface_of(path: str, method: str = "GET") -> Surface:  # noqa: ARG001
    """The surface that answers for `path`; polymux for what belongs to nobody.

    `method` is part of the question so that callers need not know that today it never decides.
    """
    return _remembered(path) if len(path) <= LONGEST_REMEMBERED else _look_up(path)


def _look_up(path: str) -> Surface:
    relative = path.removeprefix("/")
    for pattern, surface in _COMPILED:
        if pattern.match(relative):
            return surface
    return polymux.SURFACE


_remembered = lru_cache(maxsize=4_096)(_look_up)  # each table of contents asks, for every request


def surface_for(seen: Credentials) -> Surface:
    """The surface that answers this request: a formation's own, at its address, for every path."""
    return muxi_formation.SURFACE if seen.formation else surface_of(seen.path, seen.method)


def is_guarded(path: str) -> bool:
    """True where an unknown path answers 401 to a stranger."""
    return GUARDED.match(path.removeprefix("/")) is not None


def realm_of(surface: Surface, path: str) -> str:
    """Which of a surface's credentials an unknown path of it asks for."""
    if surface is molecule.SURFACE and not path.startswith("/workspaces/"):
        return molecule.ADMIN
    return ""


def patterns_of(surface: Surface) -> list[str]:
    """The patterns that lead to `surface`, in order."""
    return [pattern for pattern, owner in TABLE if owner is surface]
