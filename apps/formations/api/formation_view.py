"""The base of every view of a formation's own API: which formation, and whose request."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from apps.core.actor import Scope
from apps.core.errors import InvalidInput
from apps.formations import registry
from apps.formations.end_users import end_user_of
from apps.surfaces.views import MuxiFormationView

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from apps.formations.registry import Running


class FormationView(MuxiFormationView):
    """`realm` says which keys the route takes: admin, client or either (the default)."""

    @cached_property
    def running(self) -> Running:
        """The formation; NotFound for a key of a workspace that is nobody's home."""
        ref = self.admission.credentials.formation
        return registry.running(ref.home_id if ref else self.actor.workspace_id)

    @property
    def is_admin(self) -> bool:
        """Whether the admin key was shown."""
        return self.actor.scope >= Scope.ADMIN

    def whose(self, body: Mapping[str, Any] | None = None, *, required: bool = True) -> str | None:
        """The end user: the header, else `user_id` of the query, else of the body; see `end_user_of`."""
        seen = self.admission.credentials
        in_body = (body or {}).get("user_id")
        raw = seen.headers.get("x-muxi-user-id") or seen.query.get("user_id")
        raw = raw or (in_body if isinstance(in_body, str) else None)
        return end_user_of(self.running, raw, admin=self.is_admin, required=required)

    def named_user(self) -> str:
        """The end user, where even an admin key must say which (contract/muxi.md §5.1)."""
        user = self.whose()
        if user is None:
            raise InvalidInput("X-Muxi-User-ID header is required.")
        return user
