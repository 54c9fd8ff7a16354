"""Issue and revoke credentials. A raw credential exists twice: here, once, and with its holder."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Q

from apps.accounts.models import User
from apps.accounts.selectors import need_platform
from apps.accounts.services import record_change
from apps.core.actor import Actor, Caller, Scope
from apps.core.announce import announce, cut_off
from apps.core.checks import checked_text
from apps.core.clock import now
from apps.core.crypto import digest, new_token, seal
from apps.core.errors import InvalidInput, NotFound, ScopeInsufficient, WorkspaceMismatch
from apps.core.ids import uuid7
from apps.workspaces.credentials import HOME_KINDS, KEY_KINDS, home_digest, sealing_context
from apps.workspaces.errors import TokenLimitReached
from apps.workspaces.events import TokenIssued, TokenRevoked
from apps.workspaces.models import ApiToken, TokenKind, Workspace
from apps.workspaces.selectors import actor_in, need_admin, refuse_session_token

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

SESSION_TOKEN_LIFE = timedelta(days=30)
MAX_LIVE_TOKENS = 200  # a person's personal tokens; and a workspace's keys
LONGEST_NAME = 100
LONGEST_PURPOSE = 500
_SHOWN = 12
_BROUGHT = re.compile(r"[!-~]{8,512}")
_BROUGHT_RULE = "A key is 8 to 512 visible ASCII characters."

_PREFIXES = {
    TokenKind.PERSONAL: "pmx_",
    TokenKind.SESSION: "pmxs_",
    TokenKind.ADMIN_KEY: "fma_",
    TokenKind.CLIENT_KEY: "fmc_",
    TokenKind.INSTANCE_KEY: "pmxi_",
}
_KEY_SCOPES = {
    TokenKind.ADMIN_KEY: Scope.ADMIN,
    TokenKind.CLIENT_KEY: Scope.WRITE,
    TokenKind.INSTANCE_KEY: Scope.WRITE,
    TokenKind.HMAC: Scope.ADMIN,
}


@dataclass(frozen=True, slots=True)
class _Holder:
    """Whose credential it will be, and where it opens."""

    user_id: UUID | None
    workspace_id: UUID | None
    session_id: UUID | None = None
    expires_at: datetime | None = None


@transaction.atomic
def issue_token(
    caller: Caller,
    *,
    name: str,
    scope: str,
    workspace_id: UUID | None = None,
    purpose: str = "",
    for_user: UUID | None = None,
) -> tuple[ApiToken, str]:
    """A personal token of the caller (operators: of `for_user`) and its raw text, which nobody can
    read again.

    `workspace_id` None makes it account-wide. Its scope may not exceed the caller's own, nor what
    the holder's role in that workspace allows. Publishes TokenIssued. Raises InvalidInput,
    ScopeInsufficient, WorkspaceMismatch, NotFound (workspace), TokenLimitReached, OperatorsOnly.
    """
    refuse_session_token(caller)
    if for_user is not None:
        need_platform(caller)
    user_id = for_user or caller.user_id
    if caller.scope < Scope.ADMIN or user_id is None:
        raise ScopeInsufficient(required=Scope.ADMIN.word)
    name = checked_text("name", name, LONGEST_NAME)
    purpose = checked_text("purpose", purpose, LONGEST_PURPOSE, required=False)
    wanted = _checked_scope(scope)
    if workspace_id is None and not caller.everywhere:
        raise WorkspaceMismatch("This token cannot issue one that reaches further.")
    if workspace_id is not None:
        actor_in(replace(caller, user_id=user_id), workspace_id).need(wanted)
    # The person's row makes two issues at once count one another.
    User.objects.select_for_update(no_key=True).filter(pk=user_id).first()
    _check_room(Q(user_id=user_id, kind=TokenKind.PERSONAL))
    holder = _Holder(user_id, workspace_id)
    return _issue(caller, TokenKind.PERSONAL, name, wanted, holder, purpose=purpose)


@transaction.atomic
def issue_key(actor: Actor, *, kind: TokenKind, name: str) -> tuple[ApiToken, str]:
    """An admin, client or instance key of the actor's workspace. Nobody's in particular: it acts with
    its kind's scope and outlives the admin who made it. Publishes TokenIssued.

    In a formation's home an admin or client key opens at the formation's address only: make them
    once the Formation, or the draft, names its home.
    """
    need_admin(actor)
    if kind not in KEY_KINDS:
        raise InvalidInput(fields={"kind": ["Use one of admin_key, client_key, instance_key."]})
    name = checked_text("name", name, LONGEST_NAME)
    _check_room(Q(workspace_id=actor.workspace_id, kind__in=KEY_KINDS))
    if kind in HOME_KINDS and _is_home(actor.workspace_id):
        raw = new_token(_PREFIXES[kind])
        return _keep_home_key(actor, kind, name, raw), raw
    return _issue(actor, kind, name, _KEY_SCOPES[kind], _Holder(None, actor.workspace_id))


@transaction.atomic
def adopt_key(actor: Actor, *, kind: TokenKind, name: str, raw: str) -> ApiToken:
    """The admin or client key that a bundle brought, in a formation's home. The same again changes
    nothing; one that was revoked opens again. Publishes TokenIssued when it did not open before.

    Raises InvalidInput for text that is no key, and for one that is the home's other kind of key.
    """
    need_admin(actor)
    if kind not in HOME_KINDS or not _is_home(actor.workspace_id):
        raise InvalidInput(fields={"kind": ["Only formations bring admin_key and client_key."]})
    if not _BROUGHT.fullmatch(raw):
        raise InvalidInput(fields={kind.value: [_BROUGHT_RULE]})
    mine = ApiToken.objects.select_for_update(no_key=True).filter(
        digest=home_digest(actor.workspace_id, raw)
    )
    token = mine.first()
    if token is None:
        _check_room(Q(workspace_id=actor.workspace_id, kind__in=KEY_KINDS))
        return _keep_home_key(actor, kind, checked_text("name", name, LONGEST_NAME), raw)
    if token.kind != kind:
        raise InvalidInput(fields={kind.value: ["The admin key and the client key must differ."]})
    if token.revoked_at is not None:
        token.revoked_at = None
        token.save(update_fields=["revoked_at"])
        _tell(actor, token)
    return token


@transaction.atomic
def issue_hmac_key(actor: Actor, *, name: str) -> tuple[ApiToken, str]:
    """A signing key of the actor's workspace: the row, whose `prefix` is the key id, and the secret.

    Id `MUXI_` and 16 hex digits, secret `sk_` and 64 (contract/muxi.md). The secret is sealed, not
    digested: a signature can only be checked with the secret itself. Operators only: whoever holds one
    deploys bundles, and a bundle may name programs to run. Publishes TokenIssued. Raises OperatorsOnly,
    InvalidInput, TokenLimitReached.
    """
    need_admin(actor)
    need_platform(actor)
    name = checked_text("name", name, LONGEST_NAME)
    _check_room(Q(workspace_id=actor.workspace_id, kind=TokenKind.HMAC))
    raw, token_id = f"sk_{secrets.token_hex(32)}", uuid7()
    context = sealing_context(actor.workspace_id, token_id)
    token = ApiToken(
        id=token_id,
        kind=TokenKind.HMAC.value,
        workspace_id=actor.workspace_id,
        name=name,
        scope=_KEY_SCOPES[TokenKind.HMAC].word,
        prefix=f"MUXI_{secrets.token_hex(8)}",
        digest=digest(raw),
        sealed_secret=seal(raw.encode(), context=context),
    )
    token.save(force_insert=True)
    _tell(actor, token)
    return token, raw


@transaction.atomic
def issue_session_token(
    actor: Actor, session_id: UUID, *, life: timedelta = SESSION_TOKEN_LIFE
) -> str:
    """The raw token for one session: write at most, `life` long, 30 days at most
    (contract/polymux.md §2.2).
    """
    actor.need(Scope.WRITE)
    refuse_session_token(actor)
    expires_at = now() + min(life, SESSION_TOKEN_LIFE)
    holder = _Holder(actor.user_id, actor.workspace_id, session_id, expires_at=expires_at)
    _, raw = _issue(actor, TokenKind.SESSION, "Session token", Scope.WRITE, holder)
    return raw


@transaction.atomic
def expire_session_tokens(actor: Actor, session_id: UUID) -> int:
    """The session ended: its tokens are expired from now on. How many were alive.

    Open sockets are not cut off here: the session's last event closes them, with its own code.
    """
    moment = now()
    alive = ApiToken.objects.select_for_update(no_key=True).filter(
        workspace_id=actor.workspace_id,
        session_id=session_id,
        kind=TokenKind.SESSION,
        revoked_at=None,
        expires_at__gt=moment,
    )
    ids = list(alive.order_by("id").values_list("id", flat=True))
    ApiToken.objects.filter(pk__in=ids).update(expires_at=moment)
    for token_id in ids:
        record_change(actor, "token.expired", "token", token_id, reason="The session ended.")
    return len(ids)


@transaction.atomic
def revoke_token(caller: Caller | Actor, token_id: UUID, reason: str = "") -> None:
    """Kill one of the caller's own tokens, at once; a repeat changes nothing. Operators: anybody's.

    Needs admin scope, except that every credential may end itself.

    A token bound to a workspace reaches only the tokens of that workspace. Publishes TokenRevoked.
    Raises ScopeInsufficient, NotFound.
    """
    refuse_session_token(caller)
    if caller.scope < Scope.ADMIN and token_id != caller.token_id:
        raise ScopeInsufficient(required=Scope.ADMIN.word)
    rows = ApiToken.objects.all()
    if not caller.platform:
        if caller.user_id is None:
            raise NotFound
        rows = rows.filter(user_id=caller.user_id, kind=TokenKind.PERSONAL)
    if caller.workspace_id is not None:
        rows = rows.filter(workspace_id=caller.workspace_id)
    _revoke(caller, rows.filter(pk=token_id), reason)


@transaction.atomic
def revoke_key(actor: Actor, token_id: UUID, reason: str = "") -> None:
    """Kill any credential bound to the actor's workspace; a repeat changes nothing. Admins."""
    need_admin(actor)
    rows = ApiToken.objects.filter(workspace_id=actor.workspace_id, pk=token_id)
    _revoke(actor, rows, reason)


@transaction.atomic
def set_token_limits(
    caller: Caller,
    token_id: UUID,
    *,
    read_per_min: int | None,
    write_per_min: int | None,
    max_sessions: int | None,
    reason: str,
) -> ApiToken:
    """Raise or lower what one credential may do; None is the default. Operators, with a reason."""
    need_platform(caller)
    reason = checked_text("reason", reason, 500)
    token = ApiToken.objects.select_for_update(no_key=True).filter(pk=token_id).first()
    if token is None:
        raise NotFound
    after = {
        "read_per_min": read_per_min,
        "write_per_min": write_per_min,
        "max_sessions": max_sessions,
    }
    for field, value in after.items():
        if value is not None and not 1 <= value <= 1_000_000:
            raise InvalidInput(fields={field: ["Must be from 1 to 1000000."]})
    before = {field: getattr(token, field) for field in after}
    ApiToken.objects.filter(pk=token_id).update(**after)
    record_change(
        caller,
        "token.limits_changed",
        "token",
        token_id,
        before=before,
        after=after,
        reason=reason,
        workspace_id=token.workspace_id,
    )
    token.refresh_from_db()
    return token


def _revoke(who: Caller | Actor, rows: Any, reason: str) -> None:
    reason = checked_text("reason", reason, 500, required=False)
    token = rows.first()
    if token is None:
        raise NotFound
    # One statement decides who revoked it: of two at once, one writes the record.
    if not ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=now()):
        return
    place = who if isinstance(who, Actor) else replace(who, workspace_id=token.workspace_id)
    before = {"kind": token.kind, "name": token.name, "scope": token.scope}
    record_change(place, "token.revoked", "token", token.pk, before=before, reason=reason)
    cut_off(token_id=token.pk)
    announce(place, TokenRevoked(token_id=token.pk, kind=token.kind))


def _issue(
    who: Caller | Actor,
    kind: TokenKind,
    name: str,
    scope: Scope,
    holder: _Holder,
    *,
    purpose: str = "",
) -> tuple[ApiToken, str]:
    raw = new_token(_PREFIXES[kind])
    token = ApiToken(
        kind=kind.value,
        user_id=holder.user_id,
        workspace_id=holder.workspace_id,
        session_id=holder.session_id,
        expires_at=holder.expires_at,
        name=name,
        purpose=purpose,
        scope=scope.word,
        prefix=raw[:_SHOWN],
        digest=digest(raw),
    )
    token.save(force_insert=True)
    _tell(who, token)
    return token, raw


def _sealed_copy(kind: TokenKind, raw: str, workspace_id: UUID, token_id: UUID) -> bytes | None:
    """An admin key signs its formation's webhooks (contract/muxi.md §5.5): a digest cannot."""
    if kind != TokenKind.ADMIN_KEY:
        return None
    return seal(raw.encode(), context=sealing_context(workspace_id, token_id))


def _is_home(workspace_id: UUID) -> bool:
    """True for the workspace of a formation or of its draft."""
    mine = Workspace.objects.filter(pk=workspace_id)
    return mine.filter(Q(formation__isnull=False) | Q(formation_draft__isnull=False)).exists()


def _keep_home_key(actor: Actor, kind: TokenKind, name: str, raw: str) -> ApiToken:
    token_id = uuid7()
    token = ApiToken(
        id=token_id,
        kind=kind.value,
        workspace_id=actor.workspace_id,
        name=name,
        scope=_KEY_SCOPES[kind].word,
        prefix=raw[: min(_SHOWN, len(raw) // 4)],
        digest=home_digest(actor.workspace_id, raw),
        sealed_secret=_sealed_copy(kind, raw, actor.workspace_id, token_id),
    )
    token.save(force_insert=True)
    _tell(actor, token)
    return token


def _tell(who: Caller | Actor, token: ApiToken) -> None:
    place = who if isinstance(who, Actor) else replace(who, workspace_id=token.workspace_id)
    after = {
        "kind": token.kind,
        "name": token.name,
        "scope": token.scope,
        "workspace_id": token.workspace_id,
        "prefix": token.prefix,
    }
    record_change(place, "token.issued", "token", token.pk, after=after)
    announce(place, TokenIssued(token_id=token.pk, kind=token.kind, scope=token.scope))


def _checked_scope(scope: Any) -> Scope:
    if scope not in {"read", "write", "admin"}:
        raise InvalidInput(fields={"scope": ["Use one of read, write, admin."]})
    return Scope.named(scope)


def _check_room(mine: Q) -> None:
    if ApiToken.objects.filter(mine, revoked_at=None).count() >= MAX_LIVE_TOKENS:
        raise TokenLimitReached
