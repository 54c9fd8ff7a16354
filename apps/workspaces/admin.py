"""Workspaces, members, tokens and the names of secrets in the operator console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib import admin
from django.urls import reverse
from unfold.contrib.filters.admin import (
    ChoicesRadioFilter,
    FieldTextFilter,
)
from unfold.decorators import display

from apps.console import show
from apps.console.filters import AgeFilter, RowFilter
from apps.console.operator import operator_actor, operator_caller
from apps.console.readonly import ReadOnlyAdmin, ReadOnlyInline
from apps.console.reasons import reason_action
from apps.core.ids import wire_id
from apps.workspaces.models import ApiToken, Member, Secret, Workspace
from apps.workspaces.services import resume_workspace, revoke_token, suspend_workspace

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.utils.safestring import SafeString

STATUS_LABELS = {"active": "success", "suspended": "warning", "removed": "danger"}
# What a workspace's page counts: model, its list's filter, and the words.
_PARTS = (
    ("conversations.Session", "conversations_session", "sessions"),
    ("tasks.Task", "tasks_task", "tasks"),
    ("missions.Mission", "missions_mission", "missions"),
    ("runs.Run", "runs_run", "runs"),
    ("events.Event", "events_event", "events"),
    ("formations.Agent", "formations_agent", "agents"),
    ("workspaces.ApiToken", "workspaces_apitoken", "tokens"),
    ("approvals.Approval", "approvals_approval", "approvals"),
)


class MemberInline(ReadOnlyInline):
    model = Member
    fk_name = "workspace"
    fields = ("user", "role", "invited_by", "joined_at")
    ordering = ("joined_at",)

    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).select_related("user", "invited_by")


@admin.register(Workspace)
class WorkspaceAdmin(ReadOnlyAdmin):
    list_display = (
        "name",
        "slug",
        "state",
        "plan",
        "parent",
        "created_by",
        "created_at",
        "elsewhere",
    )
    list_select_related = ("parent", "created_by")
    list_filter = (("status", ChoicesRadioFilter), ("plan", FieldTextFilter), AgeFilter)
    search_fields = ("slug", "name")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "name",
                    "slug",
                    "wire",
                    "state",
                    "plan",
                    "parent",
                    "children_links",
                    "parts",
                )
            },
        ),
        ("Settings", {"fields": ("shown_settings",)}),
        ("Times", {"fields": ("created_by", "created_at", "updated_at", "id")}),
    )
    readonly_fields = ("state", "wire", "children_links", "parts", "shown_settings")
    inlines = (MemberInline,)
    actions = ("suspend", "resume")
    actions_detail = ("suspend", "resume")

    @display(description="Status", label=STATUS_LABELS, ordering="status")
    def state(self, row: Workspace) -> str:
        return row.status

    @display(description="Id on the wire")
    def wire(self, row: Workspace) -> SafeString:
        return show.mono(wire_id("ws", row.pk))

    @display(description="Belongs to it")
    def elsewhere(self, row: Workspace) -> SafeString:
        return show.links(
            [
                (show.list_url(model, workspace__id__exact=row.pk), words)
                for _, model, words in (_PARTS[0], *_PARTS[3:5])
            ]
        )

    @display(description="Children")
    @show.once
    def children_links(self, row: Workspace) -> str | SafeString:
        children = list(row.children.order_by("name")[:50])
        if not children:
            return show.NOTHING
        return show.links(
            (show.change_url("workspaces_workspace", child.pk), child.name) for child in children
        )

    @display(description="Belongs to it")
    @show.once
    def parts(self, row: Workspace) -> SafeString:
        pairs = []
        for label, model, words in _PARTS:
            known = apps.get_model(label)._default_manager  # noqa: SLF001  (public in all but name)
            rows = known.filter(workspace_id=row.pk)
            url = show.list_url(model, workspace__id__exact=row.pk)
            pairs.append((url, f"{show.capped_count(rows)} {words}"))
        pairs.append((show.list_url("accounts_auditentry", workspace_id__exact=row.pk), "changes"))
        pairs.append((reverse("admin:board", args=[row.pk]), "board"))
        pairs.append((f"{reverse('admin:live_new')}?workspace={row.pk}", "talk to an agent"))
        return show.links(pairs)

    @display(description="Settings")
    def shown_settings(self, row: Workspace) -> Any:
        return show.json_block(row.settings)

    @reason_action(
        "Suspend workspace",
        past="suspended",
        danger=True,
        icon="pause_circle",
        explain="It can be read but not changed, and no new runs begin, until it is resumed.",
    )
    def suspend(self, request: HttpRequest, row: Workspace, reason: str) -> None:
        suspend_workspace(operator_actor(request, row.pk), reason=reason)

    @reason_action("Resume workspace", past="resumed", icon="play_circle")
    def resume(self, request: HttpRequest, row: Workspace, reason: str) -> None:
        resume_workspace(operator_actor(request, row.pk), reason=reason)


@admin.register(Member)
class MemberAdmin(ReadOnlyAdmin):
    list_display = ("user", "workspace", "role", "invited_by", "joined_at")
    list_select_related = ("user", "workspace", "invited_by")
    list_filter = (
        ("workspace", RowFilter),
        ("user", RowFilter),
        ("role", ChoicesRadioFilter),
    )
    search_fields = ("user__email", "workspace__slug")
    id_search = ("pk", "user_id", "workspace_id")


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    """Never shows the digest or the sealed secret: neither is a field of any page."""

    list_display = (
        "name",
        "prefix",
        "kind",
        "scope",
        "state",
        "user",
        "workspace",
        "last_used_at",
        "created_at",
    )
    list_select_related = ("user", "workspace")
    list_filter = (
        ("workspace", RowFilter),
        ("user", RowFilter),
        ("kind", ChoicesRadioFilter),
        AgeFilter,
    )
    search_fields = ("name", "prefix", "user__email")
    id_search = ("pk", "user_id", "workspace_id", "session_id")
    fieldsets = (
        (None, {"fields": ("name", "prefix", "kind", "scope", "state", "purpose")}),
        ("Whose", {"fields": ("user", "workspace", "session_link")}),
        ("Limits", {"fields": ("read_per_min", "write_per_min", "max_sessions")}),
        ("Times", {"fields": ("created_at", "last_used_at", "expires_at", "revoked_at", "id")}),
    )
    readonly_fields = ("state", "session_link")
    actions = ("revoke",)
    actions_detail = ("revoke",)

    @display(description="State", label={"live": "success", "revoked": "danger"})
    def state(self, row: ApiToken) -> str:
        return "revoked" if row.revoked_at else "live"

    @display(description="Session")
    def session_link(self, row: ApiToken) -> str | SafeString:
        return show.id_link("conversations_session", row.session_id)

    @reason_action(
        "Revoke token",
        past="revoked",
        danger=True,
        icon="key_off",
        explain="Whoever uses it is refused from the next request on; open sockets are closed. "
        "This cannot be undone.",
    )
    def revoke(self, request: HttpRequest, row: ApiToken, reason: str) -> None:
        revoke_token(operator_caller(request), row.pk, reason=reason)


@admin.register(Secret)
class SecretAdmin(ReadOnlyAdmin):
    """Names only. The value is sealed and never leaves the database through the console."""

    list_display = ("name", "workspace", "created_by", "updated_at")
    list_select_related = ("workspace", "created_by")
    list_filter = (("workspace", RowFilter), AgeFilter)
    search_fields = ("name",)
    id_search = ("pk", "workspace_id")
    fields = ("name", "workspace", "created_by", "created_at", "updated_at", "id")
