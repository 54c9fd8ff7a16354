"""The operator as an actor: every change from the console is made by a named person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.accounts.backends import client_ip
from apps.core.actor import Actor, Caller, CallerKind, Scope
from apps.core.ids import request_id
from apps.workspaces.selectors import operator_actor as actor_inside

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpRequest


def operator_caller(request: HttpRequest) -> Caller:
    """The logged-in operator, above workspaces. The console has checked the Django permission."""
    return Caller(
        kind=CallerKind.OPERATOR,
        scope=Scope.ADMIN,
        user_id=request.user.pk,
        platform=True,
        request_id=_request_id(request),
        ip=client_ip(request),
    )


def operator_actor(request: HttpRequest, workspace_id: UUID) -> Actor:
    """The operator inside one workspace. Raises NotFound when it is gone."""
    return actor_inside(operator_caller(request), workspace_id)


def _request_id(request: HttpRequest) -> str:
    known = getattr(request, "request_id", "")
    if not known:
        known = request.request_id = request_id()  # type: ignore[attr-defined]
    return str(known)
