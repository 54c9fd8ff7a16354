"""`/me`, `/tokens` and `/workspaces` on the polymux surface (contract/polymux.md §2.3 and §7.2).

`/me` stands here and not in accounts: its answer names workspaces, which accounts may not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.urls import path
from rest_framework.response import Response

from apps.accounts.selectors import get_user
from apps.core import gauges
from apps.core.actor import Caller, CallerKind, Role, Scope
from apps.core.clock import rfc3339
from apps.core.ids import parse_id, wire_id
from apps.surfaces import parsing, ratewindow
from apps.surfaces.parsing import StrictSerializer
from apps.surfaces.polymux import page_of, rate_key, rate_limit
from apps.surfaces.views import PolymuxView
from apps.workspaces import selectors, services

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from django.db.models import QuerySet
    from rest_framework.request import Request

    from apps.workspaces.models import ApiToken, Workspace

EVERYWHERE = "*"
MOST_WORKSPACES_SHOWN = 200  # in /me; GET /workspaces pages through more


class Text(parsing.Text):
    """As it was sent; blanks are the service's business."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_blank=True, **kwargs)


class TokenBody(StrictSerializer):
    name = Text()
    scope = Text()
    workspace = Text(max_length=100)
    purpose = Text(required=False, default="")


class WorkspaceBody(StrictSerializer):
    name = Text()
    slug = Text()


class WorkspaceChanges(StrictSerializer):
    name = Text(required=False)
    avatar_url = Text(required=False)


class MeView(PolymuxView):
    account_wide = True

    def get(self, request: Request) -> Response:
        caller = self.caller
        user = get_user(caller, selectors.need_user(caller))
        rows = selectors.list_workspaces(caller)[:MOST_WORKSPACES_SHOWN]
        seats = [_seat_json(row) for row in rows]
        return Response({**user_json(user), "workspaces": seats, "token": _credential_json(caller)})


class TokensView(PolymuxView):
    account_wide = True
    required_scope: ClassVar[Scope] = Scope.ADMIN

    def get(self, request: Request) -> Response:
        rows = selectors.list_tokens(self.caller)
        return Response(_page(self, rows, "tokens", token_json))

    def post(self, request: Request) -> Response:
        body = TokenBody.read(request.data)
        where = body.pop("workspace")
        token, raw = services.issue_token(
            self.caller,
            workspace_id=None if where == EVERYWHERE else parse_id("ws", where),
            **body,
        )
        shown = token_json(token)
        return _created(f"/tokens/{shown['id']}", {**shown, "token": raw})


class TokenView(PolymuxView):
    account_wide = True
    required_scope: ClassVar[Scope] = Scope.ADMIN

    def delete(self, request: Request, token_id: str) -> Response:
        services.revoke_token(self.caller, parse_id("tok", token_id))
        return Response(status=204)


class TokenUsageView(PolymuxView):
    def get(self, request: Request, token_id: str) -> Response:
        token = selectors.get_token(self.caller, parse_id("tok", token_id))
        return Response(usage_json(token.pk))


class WorkspacesView(PolymuxView):
    def get(self, request: Request) -> Response:
        rows = selectors.list_workspaces(self.caller)
        return Response(_page(self, rows, "workspaces", _listed_json))

    def post(self, request: Request) -> Response:
        selectors.need_everywhere(self.caller)
        made = services.create_workspace(self.caller, **WorkspaceBody.read(request.data))
        shown = workspace_json(made, Role.OWNER)
        return _created(f"/workspaces/{shown['id']}", shown)


class WorkspaceView(PolymuxView):
    required_scope: ClassVar[Mapping[str, Scope]] = {"PATCH": Scope.ADMIN, "DELETE": Scope.ADMIN}

    def get(self, request: Request, workspace_id: str) -> Response:
        row = selectors.get_workspace(self.actor)
        return Response(workspace_json(row, self.actor.role))

    def patch(self, request: Request, workspace_id: str) -> Response:
        row = services.update_workspace(self.actor, **WorkspaceChanges.read(request.data))
        return Response(workspace_json(row, self.actor.role))

    def delete(self, request: Request, workspace_id: str) -> Response:
        services.delete_workspace(self.actor)
        return Response(status=204)


def user_json(user: Any) -> dict[str, Any]:
    """A person as they see themselves (contract §2.3)."""
    return {
        "id": wire_id("usr", user.pk),
        "email": user.email,
        "display_name": user.display_name,
        "avatar_url": user.avatar_url or None,
        "created_at": rfc3339(user.created_at),
    }


def workspace_json(row: Workspace, role: Role | None) -> dict[str, Any]:
    """A workspace as its reader sees it (contract §7.1): `role` is the reader's own."""
    return {
        "id": wire_id("ws", row.pk),
        "name": row.name,
        "slug": row.slug,
        "avatar_url": row.avatar_url or None,
        "plan": row.plan,
        "role": role.value if role else None,
        "created_by": wire_id("usr", row.created_by_id) if row.created_by_id else None,
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
    }


def token_json(row: ApiToken) -> dict[str, Any]:
    """A token's row (contract §2.2): everything but the token."""
    return {
        "id": wire_id("tok", row.pk),
        "kind": row.kind,
        "name": row.name,
        "scope": row.scope,
        "workspace": _where(row.workspace_id),
        "purpose": row.purpose,
        "prefix": row.prefix,
        "created_at": rfc3339(row.created_at),
        "last_used_at": rfc3339(row.last_used_at),
        "revoked_at": rfc3339(row.revoked_at),
    }


def usage_json(token_id: UUID) -> dict[str, Any]:
    """A token's windows and sessions as they stand now."""
    return {
        "read": _window_json(token_id, "read"),
        "write": _window_json(token_id, "write"),
        "active_sessions": {
            "limit": selectors.token_limits(token_id).max_sessions,
            "used": gauges.read("active_sessions", token_id),
        },
    }


def _listed_json(row: Any) -> dict[str, Any]:
    return workspace_json(row, Role(row.caller_role) if row.caller_role else None)


def _seat_json(row: Any) -> dict[str, Any]:
    shown = _listed_json(row)
    return {key: shown[key] for key in ("id", "name", "slug", "role", "plan")}


def _credential_json(caller: Caller) -> dict[str, Any]:
    return {
        "id": wire_id("tok", caller.token_id) if caller.token_id else None,
        "kind": "pat" if caller.kind == CallerKind.TOKEN else caller.kind.value,
        "scope": caller.scope.word,
        "workspace": _where(caller.workspace_id),
    }


def _where(workspace_id: UUID | None) -> str:
    return wire_id("ws", workspace_id) if workspace_id else EVERYWHERE


def _window_json(token_id: UUID, bucket: str) -> dict[str, int]:
    holder = Caller(CallerKind.TOKEN, Scope.READ, token_id=token_id)
    state = ratewindow.peek(rate_key(holder, "", bucket), rate_limit(holder, bucket))
    return {"limit": state.limit, "remaining": state.remaining, "reset": state.reset}


def _page(view: PolymuxView, rows: QuerySet[Any], name: str, shown: Any) -> dict[str, Any]:
    """A cursor is good for one person's one list."""
    caller = view.caller
    return page_of(
        rows,
        shown,
        view.admission.credentials.query,
        name=f"{name}:{caller.user_id}",
        workspace_id=caller.workspace_id,
    )


def _created(location: str, body: dict[str, Any]) -> Response:
    return Response(body, status=201, headers={"Location": location})


urlpatterns = [
    path("me", MeView.as_view()),
    path("tokens", TokensView.as_view()),
    path("tokens/<str:token_id>", TokenView.as_view()),
    path("tokens/<str:token_id>/usage", TokenUsageView.as_view()),
    path("workspaces", WorkspacesView.as_view()),
    path("workspaces/<str:workspace_id>", WorkspaceView.as_view()),
]
