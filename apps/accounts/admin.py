"""People and the audit log in the operator console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesRadioFilter, FieldTextFilter
from unfold.decorators import display

from apps.accounts.models import AuditEntry, User
from apps.accounts.services import set_active
from apps.console import show
from apps.console.filters import AgeFilter
from apps.console.operator import operator_caller
from apps.console.readonly import ReadOnlyAdmin
from apps.console.reasons import reason_action

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.utils.safestring import SafeString


@admin.register(User)
class UserAdmin(ReadOnlyAdmin):
    list_display = (
        "email",
        "display_name",
        "role",
        "is_active",
        "is_staff",
        "created_at",
        "elsewhere",
    )
    list_filter = (
        ("role", ChoicesRadioFilter),
        ("is_active", BooleanRadioFilter),
        ("is_staff", BooleanRadioFilter),
        AgeFilter,
    )
    search_fields = ("email", "display_name")
    fieldsets = (
        (None, {"fields": ("email", "display_name", "role", "elsewhere")}),
        (
            "Access",
            {"fields": ("is_active", "is_staff", "is_superuser", "must_change_password", "groups")},
        ),
        ("Times", {"fields": ("last_login", "created_at", "updated_at", "id")}),
    )
    readonly_fields = ("elsewhere",)
    actions = ("close_account", "reopen_account")
    actions_detail = ("close_account", "reopen_account")

    @display(description="Belongs to it")
    def elsewhere(self, row: User) -> SafeString:
        return show.links(
            [
                (show.list_url("workspaces_member", user__id__exact=row.pk), "memberships"),
                (show.list_url("workspaces_apitoken", user__id__exact=row.pk), "tokens"),
                (show.list_url("accounts_auditentry", user_id__exact=row.pk), "changes"),
            ]
        )

    @reason_action(
        "Close account",
        past="closed",
        danger=True,
        icon="person_off",
        explain="The person can no longer log in and their tokens stop working at once.",
    )
    def close_account(self, request: HttpRequest, row: User, reason: str) -> None:
        set_active(operator_caller(request), row.pk, active=False, reason=reason)

    @reason_action("Reopen account", past="reopened", icon="person_check")
    def reopen_account(self, request: HttpRequest, row: User, reason: str) -> None:
        set_active(operator_caller(request), row.pk, active=True, reason=reason)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "action", "subject", "who", "reason", "workspace_link")
    list_filter = (
        ("action", FieldTextFilter),
        ("actor_kind", FieldTextFilter),
        AgeFilter,
    )
    search_fields = ("subject_id__exact", "request_id__exact", "action__istartswith")
    search_help_text = (
        "An id (of the subject, user, token or workspace), a request id, or an action"
    )
    id_search = ("pk", "workspace_id", "user_id", "token_id", "subject_id")
    date_hierarchy = "created_at"
    fieldsets = (
        (None, {"fields": ("created_at", "action", "subject", "workspace_link", "reason")}),
        ("Who", {"fields": ("actor_kind", "user_link", "token_link", "ip", "request_id")}),
        ("What changed", {"fields": ("was", "became")}),
    )
    readonly_fields = ("subject", "workspace_link", "user_link", "token_link", "was", "became")

    @display(description="Subject")
    def subject(self, row: AuditEntry) -> str:
        return f"{row.subject_type} {row.subject_id}"

    @display(description="Who")
    def who(self, row: AuditEntry) -> str | SafeString:
        return show.id_link("accounts_user", row.user_id, "usr") if row.user_id else row.actor_kind

    @display(description="Workspace")
    def workspace_link(self, row: AuditEntry) -> str | SafeString:
        return show.id_link("workspaces_workspace", row.workspace_id, "ws")

    @display(description="User")
    def user_link(self, row: AuditEntry) -> str | SafeString:
        return show.id_link("accounts_user", row.user_id, "usr")

    @display(description="Token")
    def token_link(self, row: AuditEntry) -> str | SafeString:
        return show.id_link("workspaces_apitoken", row.token_id, "tok")

    @display(description="Before")
    def was(self, row: AuditEntry) -> Any:
        return show.json_block(row.before)

    @display(description="After")
    def became(self, row: AuditEntry) -> Any:
        return show.json_block(row.after)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> Any:
        return super().get_search_results(request, queryset, search_term.strip()[:100])
