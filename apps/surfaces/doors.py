"""The kit's way into `workspaces` and `accounts`: which rows stand behind a credential."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from apps.accounts.models import PlatformRole, User
from apps.accounts.selectors import find_user_by_email
from apps.core.actor import Actor, Caller, CallerKind, Scope
from apps.core.errors import NotFound, Unauthenticated
from apps.workspaces import selectors
from apps.workspaces.models import ApiToken

if TYPE_CHECKING:
    from collections.abc import Callable

    from apps.workspaces.selectors import Place

LIMITS_TTL = 30.0  # seconds an operator's change of a token's limits may take
MAX_LIMITS = 10_000


def caller_of_token(raw: str, *, request_id: str, ip: str) -> Caller:
    """The caller of a personal or session token; TokenRevoked, TokenExpired, Unauthenticated."""
    return selectors.caller_of_token(raw, request_id=request_id, ip=ip)


def caller_near(
    raw: str, workspace_id: UUID | None, *, request_id: str, ip: str
) -> tuple[Caller, Place | None]:
    """As `caller_of_token`, and the workspace the request is about, in one query; see `actor_in`."""
    return selectors.caller_near(raw, workspace_id, request_id=request_id, ip=ip)


def caller_of_key(raw: str, *, kinds: frozenset[str], request_id: str, ip: str) -> Caller:
    """The caller of a key of one of `kinds` (`TokenKind` values); Unauthenticated."""
    return selectors.caller_of_key(raw, kinds=kinds, request_id=request_id, ip=ip)


def caller_at_home(
    raw: str, *, kinds: frozenset[str], request_id: str, ip: str
) -> tuple[Caller, Place | None]:
    """As `caller_of_key`, and the workspace such a caller means who names none; see `actor_in`."""
    return selectors.caller_at_home(raw, kinds=kinds, request_id=request_id, ip=ip)


def caller_of_home_key(
    home_id: UUID, raw: str, *, kinds: frozenset[str], request_id: str, ip: str
) -> tuple[Caller, Place | None]:
    """The caller of a key of that formation's home, and the home; see `actor_in`."""
    return selectors.caller_of_home_key(home_id, raw, kinds=kinds, request_id=request_id, ip=ip)


def home_of_key(
    raw: str, *, kinds: frozenset[str], request_id: str, ip: str
) -> tuple[Caller, Actor]:
    """Caller and their home workspace at once, in one query; as `caller_of_key` and `actor_in`."""
    return selectors.actor_of_token(raw, request_id=request_id, ip=ip, kinds=kinds)


def actor_in(caller: Caller, workspace_id: UUID, place: Place | None = None) -> Actor:
    """`caller` inside that workspace; WorkspaceMismatch or NotFound. `place`: what `caller_near` saw."""
    if caller.platform and caller.user_id is None:
        return selectors.operator_actor(caller, workspace_id)
    return selectors.actor_in(caller, workspace_id, place)


def caller_of_hmac(
    key_id: str, signed: Callable[[bytes], bool], *, request_id: str, ip: str
) -> Caller:
    """The caller behind HMAC key `key_id`, if `signed(secret)`; else Unauthenticated."""
    try:
        token, secret = selectors.hmac_key(key_id)
    except (NotFound, Unauthenticated):
        signed(b"sk_of_nobody")  # the same work for a key that does not exist
        raise Unauthenticated from None
    if not signed(secret):
        raise Unauthenticated
    return Caller(
        CallerKind.KEY,
        Scope.named(token.scope),
        user_id=token.user_id,
        token_id=token.id,
        workspace_id=token.workspace_id,
        request_id=request_id,
        ip=ip,
    )


def workspace_by_slug(caller: Caller, slug: str) -> UUID:
    """The id of the caller's workspace with that slug; NotFound for absent and foreign alike."""
    return selectors.find_workspace_id(caller, slug)


def first_workspace(caller: Caller) -> UUID:
    """The one a caller means who names none: the key's own, else their oldest; NotFound."""
    return selectors.default_workspace(caller)


@dataclass(frozen=True, slots=True)
class Person:
    """The local user behind a panel session."""

    id: UUID
    is_superadmin: bool


def session_user(subject: str, email: str) -> Person:
    """The person a panel session names, by id, else by e-mail; Unauthenticated for nobody."""
    user = None
    with contextlib.suppress(ValueError):
        user = User.objects.filter(id=UUID(subject)).first()
    user = user or find_user_by_email(email)
    if user is None or not user.is_active:
        raise Unauthenticated
    return Person(user.pk, user.role == PlatformRole.SUPERADMIN)


@dataclass(frozen=True, slots=True)
class Limits:
    """A credential's own limits per minute; None where the surface's default holds."""

    kind: str
    read: int | None
    write: int | None


_limits: dict[UUID, tuple[float, Limits]] = {}
_limits_lock = threading.Lock()


def limits_of(token_id: UUID) -> Limits:
    """The limits staff set for this credential, remembered `LIMITS_TTL` seconds."""
    known = _limits.get(token_id)
    if known and known[0] > time.monotonic():
        return known[1]
    row = (
        ApiToken.objects.filter(id=token_id)
        .values_list("kind", "read_per_min", "write_per_min")
        .first()
    )
    limits = Limits(*row) if row else Limits("", None, None)
    with _limits_lock:
        if len(_limits) >= MAX_LIMITS:
            _limits.clear()
        _limits[token_id] = (time.monotonic() + LIMITS_TTL, limits)
    return limits


def forget_limits() -> None:
    """Read every credential's limits anew (tests, the console after a change)."""
    with _limits_lock:
        _limits.clear()
