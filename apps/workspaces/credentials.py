"""From a credential to whoever stands behind it: the reads that every request makes.

TLDR: one statement each, no model instances, no cache. A revocation, a demotion or a removal counts
from the next request on because nothing here is remembered. (`uses.py` remembers when a use was last
written down.)
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connection

from apps.core.actor import Actor, Caller, CallerKind, Role, Scope
from apps.core.crypto import SealBroken, context_of, digest, open_sealed
from apps.core.errors import (
    Forbidden,
    NotFound,
    ScopeInsufficient,
    TokenExpired,
    TokenMissing,
    TokenRevoked,
    Unauthenticated,
    WorkspaceMismatch,
)
from apps.workspaces.errors import WorkspaceSuspended
from apps.workspaces.models import ApiToken, TokenKind, WorkspaceStatus
from apps.workspaces.uses import note_use

if TYPE_CHECKING:
    from collections.abc import Collection
    from uuid import UUID

log = logging.getLogger(__name__)

BEARER_KINDS = frozenset({TokenKind.PERSONAL.value, TokenKind.SESSION.value})
KEY_KINDS = frozenset(
    {TokenKind.ADMIN_KEY.value, TokenKind.CLIENT_KEY.value, TokenKind.INSTANCE_KEY.value}
)
HOME_KINDS = frozenset({TokenKind.ADMIN_KEY.value, TokenKind.CLIENT_KEY.value})
LONGEST_TOKEN = 512

_COLUMNS = """t.id, t.kind, t.user_id, t.workspace_id, t.session_id, t.scope, t.expires_at,
    t.revoked_at, t.last_used_at, u.is_active"""

_BY_DIGEST = f"""
SELECT {_COLUMNS}
  FROM workspaces_apitoken t LEFT JOIN accounts_user u ON u.id = t.user_id
 WHERE t.digest = %s"""  # noqa: S608  (constants only)

_OLDEST_HOME = """(
    SELECT o.workspace_id FROM workspaces_member o JOIN workspaces_workspace ow
        ON ow.id = o.workspace_id AND ow.status <> 'removed'
     WHERE o.user_id = {user} ORDER BY o.joined_at, o.id LIMIT 1)"""

_BY_ID_HELD = f"""
SELECT {_COLUMNS}
  FROM workspaces_apitoken t LEFT JOIN accounts_user u ON u.id = t.user_id
 WHERE t.id = %s FOR SHARE OF t"""  # noqa: S608  (constants only)

_SEAT_HELD = """
SELECT m.role FROM workspaces_member m JOIN accounts_user u ON u.id = m.user_id AND u.is_active
 WHERE m.workspace_id = %s AND m.user_id = %s FOR SHARE OF m"""

_WITH_PLACE = f"""
SELECT {_COLUMNS}, w.id, w.status, m.role
  FROM workspaces_apitoken t
  LEFT JOIN accounts_user u ON u.id = t.user_id
  LEFT JOIN workspaces_workspace w ON w.id = {{place}}
  LEFT JOIN workspaces_member m ON m.workspace_id = w.id AND m.user_id = t.user_id
 WHERE t.digest = %s"""  # noqa: S608

_BY_DIGEST_WITH_HOME = _WITH_PLACE.format(
    place=f"coalesce(%s::uuid, t.workspace_id, {_OLDEST_HOME.format(user='t.user_id')})"
)
_BY_DIGEST_WITH_PLACE = _WITH_PLACE.format(place="coalesce(%s::uuid, t.workspace_id)")

_PLACE = """
SELECT w.id, w.status, m.role FROM workspaces_workspace w
  LEFT JOIN workspaces_member m ON m.workspace_id = w.id AND m.user_id = %s
 WHERE w.id = %s"""

_HOME = f"SELECT * FROM {_OLDEST_HOME.format(user='%s')} AS home"  # noqa: S608

_KINDS = {
    TokenKind.PERSONAL.value: CallerKind.TOKEN,
    TokenKind.SESSION.value: CallerKind.SESSION_TOKEN,
    TokenKind.ADMIN_KEY.value: CallerKind.KEY,
    TokenKind.CLIENT_KEY.value: CallerKind.KEY,
    TokenKind.INSTANCE_KEY.value: CallerKind.KEY,
    TokenKind.HMAC.value: CallerKind.KEY,
}


@dataclass(frozen=True, slots=True)
class SuspendedActor(Actor):
    """An actor in a suspended workspace: reads, and hears why it may not write."""

    def need(self, scope: Scope) -> None:
        if scope > Scope.READ:
            raise WorkspaceSuspended
        Actor.need(self, scope)  # zero-argument super() does not survive `slots=True`


class Place(NamedTuple):
    """A workspace as one caller found it a moment ago; `role` None without a seat. Never kept."""

    workspace_id: UUID
    status: str
    role: str | None


def caller_of_token(
    raw: str | None,
    *,
    request_id: str = "",
    ip: str = "",
    kinds: Collection[str] = BEARER_KINDS,
) -> Caller:
    """The caller behind a bearer token or key of one of `kinds`. One query.

    Raises TokenMissing, Unauthenticated (unknown, another kind, closed account), TokenRevoked,
    TokenExpired.
    """
    row = _one(_BY_DIGEST, [_digest(raw)])
    return _caller(row, kinds, request_id, ip)


def caller_of_key(
    raw: str | None, *, kinds: Collection[str] = KEY_KINDS, request_id: str = "", ip: str = ""
) -> Caller:
    """As `caller_of_token`, for the keys of formations and instances."""
    return caller_of_token(raw, request_id=request_id, ip=ip, kinds=kinds)


def caller_near(
    raw: str | None, workspace_id: UUID | None, *, request_id: str = "", ip: str = ""
) -> tuple[Caller, Place | None]:
    """As `caller_of_token`, and what the same statement saw of that workspace, for `actor_in`.

    Without `workspace_id`: of the token's own. None where the workspace is absent; nothing is refused
    for the place's sake before `actor_in`.
    """
    row = _one(_BY_DIGEST_WITH_PLACE, [workspace_id, _digest(raw)])
    caller = _caller(row, BEARER_KINDS, request_id, ip)
    return caller, _place_in(row)


def caller_at_home(
    raw: str | None, *, kinds: Collection[str], request_id: str = "", ip: str = ""
) -> tuple[Caller, Place | None]:
    """As `caller_near`, for keys of `kinds`, of the workspace a caller means who names none: the key's
    own, or for `*` the oldest its person belongs to.
    """
    row = _one(_BY_DIGEST_WITH_HOME, [None, _digest(raw)])
    return _caller(row, kinds, request_id, ip), _place_in(row)


def caller_of_home_key(
    home_id: UUID,
    raw: str | None,
    *,
    kinds: Collection[str] = HOME_KINDS,
    request_id: str = "",
    ip: str = "",
) -> tuple[Caller, Place | None]:
    """As `caller_near`, for an admin or client key among those of one formation's home."""
    _digest(raw)  # refuses what cannot be a key
    row = _one(_BY_DIGEST_WITH_PLACE, [home_id, home_digest(home_id, raw or "")])
    return _caller(row, kinds, request_id, ip), _place_in(row)


def home_digest(home_id: UUID, raw: str) -> bytes:
    """What is kept of an admin or client key of a formation: the SHA-256 of its home's id and the key.

    Bundles bring their keys along, and two formations may bring the same.
    """
    return hashlib.sha256(home_id.bytes + raw.encode()).digest()


def actor_in(caller: Caller, workspace_id: UUID, place: Place | None = None) -> Actor:
    """`caller` inside one workspace, with min(scope, what their role allows). One query, or none
    when `place` is this workspace's, read for this very caller and request.

    Raises WorkspaceMismatch for a token of another workspace, whether or not that one exists, and
    NotFound where the workspace is absent, removed, or not the caller's.
    """
    _check_bound(caller, workspace_id)
    if place is not None and place.workspace_id == workspace_id:
        return _actor(caller, place)
    return _actor(caller, _place(_one(_PLACE, [caller.user_id, workspace_id])))


def actor_of_token(
    raw: str | None,
    workspace_id: UUID | None = None,
    *,
    request_id: str = "",
    ip: str = "",
    kinds: Collection[str] = BEARER_KINDS,
) -> tuple[Caller, Actor]:
    """Caller and actor at once, in one query: the way of the chat surfaces.

    Without `workspace_id`: the token's own workspace, or for `*` the oldest the user belongs to.
    Raises what `caller_of_token` and `actor_in` raise, in that order.
    """
    row = _one(_BY_DIGEST_WITH_HOME, [workspace_id, _digest(raw)])
    caller = _caller(row, kinds, request_id, ip)
    if workspace_id is not None:
        _check_bound(caller, workspace_id)
    return caller, _actor(caller, _place_in(row))


def actor_who_asked(workspace_id: UUID, *, user_id: UUID | None, token_id: UUID | None) -> Actor:
    """Whoever asked for a turn, with the rights they have now. Inside a transaction.

    Credential and seat are held until it ends: whoever revokes the one or changes the other waits for
    what is done here, and what begins after them is refused. Raises TokenRevoked, TokenExpired,
    ScopeInsufficient (a session's token does nothing outside its session), Forbidden, NotFound,
    WorkspaceMismatch.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("rights are held by a transaction")
    if token_id is not None:
        caller = _caller(_one(_BY_ID_HELD, [token_id]), BEARER_KINDS | KEY_KINDS, "", "")
        refuse_session_token(caller)
        user_id = caller.user_id
    elif user_id is not None:
        caller = Caller(CallerKind.LOGIN, Scope.ADMIN, user_id=user_id)
    else:
        raise Forbidden("Nobody stands behind this turn whose rights could be used.")
    if user_id is not None and _one(_SEAT_HELD, [workspace_id, user_id]) is None:
        raise NotFound("Whoever asked is no member of this workspace any more.")
    return actor_in(caller, workspace_id)


def hmac_key(key_id: str) -> tuple[ApiToken, bytes]:
    """The signing key with this id and its secret. One query.

    Raises Unauthenticated (unknown, or sealed with a key that is gone), TokenExpired, TokenRevoked.
    """
    rows = ApiToken.objects.filter(kind=TokenKind.HMAC, prefix=key_id.replace("\x00", ""))
    token = rows.first()
    if token is None or token.sealed_secret is None:
        raise Unauthenticated
    if token.expires_at is not None and token.expires_at <= datetime.now(UTC):
        raise TokenExpired
    if token.revoked_at is not None:
        raise TokenRevoked
    try:
        context = sealing_context(token.workspace_id, token.pk)
        secret = open_sealed(token.sealed_secret, context=context)
    except SealBroken:
        log.warning("the secret of signing key %s does not open", token.pk)
        raise Unauthenticated from None
    note_use(token.pk, token.last_used_at)
    return token, secret


def signing_secret(workspace_id: UUID) -> bytes:
    """The newest admin key of a formation's home: what its webhooks are signed with. One query.

    NotFound when there is none, or none whose copy opens (made elsewhere, or sealed with a lost key).
    """
    keys = ApiToken.objects.filter(
        workspace_id=workspace_id,
        kind=TokenKind.ADMIN_KEY,
        revoked_at=None,
        sealed_secret__isnull=False,
    )
    for token in keys.order_by("-created_at")[:10]:
        try:
            context = sealing_context(workspace_id, token.pk)
            return open_sealed(token.sealed_secret or b"", context=context)
        except SealBroken:
            log.warning("the secret of admin key %s does not open", token.pk)
    raise NotFound("This formation has no admin key to sign with.")


def sealing_context(workspace_id: UUID | None, token_id: UUID) -> str:
    """What a signing key's secret is bound to."""
    return context_of(workspace_id, "workspaces_apitoken", token_id, "sealed_secret")


def default_workspace(caller: Caller) -> UUID:
    """Where a caller acts when nobody said where: their token's workspace, else their oldest one."""
    if caller.workspace_id is not None:
        return caller.workspace_id
    row = _one(_HOME, [caller.user_id]) if caller.user_id else None
    if row is None:
        raise NotFound
    home: UUID = row[0]
    return home


def operator_actor(caller: Caller, workspace_id: UUID) -> Actor:
    """A platform operator's hands in one workspace, for the console only. NotFound when absent."""
    if not caller.platform:
        raise NotFound
    row = _one(_PLACE, [None, workspace_id])
    if row is None:
        raise NotFound
    return Actor(
        workspace_id=workspace_id,
        scope=Scope.ADMIN,
        kind=caller.kind,
        user_id=caller.user_id,
        platform=True,
        request_id=caller.request_id,
        ip=caller.ip,
    )


def _one(statement: str, values: list[Any]) -> tuple[Any, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        row: tuple[Any, ...] | None = cursor.fetchone()
        return row


def _digest(raw: str | None) -> bytes:
    if not raw:
        raise TokenMissing
    if len(raw) > LONGEST_TOKEN:
        raise Unauthenticated
    try:
        return digest(raw)
    except UnicodeEncodeError:  # a lone surrogate out of a header
        raise Unauthenticated from None


def _caller(
    row: tuple[Any, ...] | None, kinds: Collection[str], request_id: str, ip: str
) -> Caller:
    if row is None or row[1] not in kinds or row[9] is False:
        raise Unauthenticated
    token_id, kind, user_id, workspace_id, session_id, scope, expires, revoked, used, _ = row[:10]
    if expires is not None and expires <= datetime.now(UTC):
        raise TokenExpired
    if revoked is not None:
        raise TokenRevoked
    note_use(token_id, used)
    return Caller(
        kind=_KINDS[kind],
        scope=Scope[scope.upper()],
        user_id=user_id,
        token_id=token_id,
        workspace_id=workspace_id,
        session_id=session_id,
        request_id=request_id,
        ip=ip,
    )


def _check_bound(caller: Caller, workspace_id: UUID) -> None:
    if caller.workspace_id is not None and caller.workspace_id != workspace_id:
        raise WorkspaceMismatch


def _place(row: tuple[Any, ...] | None) -> Place | None:
    return Place(*row) if row is not None and row[0] is not None else None


def _place_in(row: tuple[Any, ...] | None) -> Place | None:
    """The place in a row of `_WITH_PLACE`."""
    return _place(row and row[10:])


def _actor(caller: Caller, place: Place | None) -> Actor:
    if place is None or place.status == WorkspaceStatus.REMOVED:
        raise NotFound
    role = Role(place.role) if place.role else None
    if role is None and (caller.user_id is not None or caller.workspace_id is None):
        raise NotFound  # a person without a seat; only keys act without being somebody
    scope = min(caller.scope, role.ceiling) if role else caller.scope
    suspended = place.status == WorkspaceStatus.SUSPENDED
    made = SuspendedActor if suspended else Actor
    return made(
        workspace_id=place.workspace_id,
        scope=min(scope, Scope.READ) if suspended else scope,
        kind=caller.kind,
        role=role,
        user_id=caller.user_id,
        token_id=caller.token_id,
        session_id=caller.session_id,
        request_id=caller.request_id,
        ip=caller.ip,
    )


def need_session(actor: Actor | Caller, session_id: UUID) -> None:
    """Raise `ScopeInsufficient` when this is a session token of another session."""
    if actor.session_id is not None and actor.session_id != session_id:
        raise ScopeInsufficient("A session token may only use its session.")


def refuse_session_token(who: Actor | Caller) -> None:
    """Raise `ScopeInsufficient` for a session token: it opens its session and nothing else."""
    if who.session_id is not None or who.kind == CallerKind.SESSION_TOKEN:
        raise ScopeInsufficient("A session token may only use its session.")


def need_admin(actor: Actor) -> None:
    """Raise unless `actor` is an admin, and no session's token."""
    refuse_session_token(actor)
    actor.need(Scope.ADMIN)
