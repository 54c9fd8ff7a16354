"""Who uses formations: users of the applications in front of them, and what they brought along."""

from __future__ import annotations

from django.contrib import admin
from unfold.contrib.filters.admin import FieldTextFilter

from apps.console.filters import AgeFilter, RowFilter
from apps.console.readonly import ReadOnlyAdmin, ReadOnlyInline
from apps.formations.models import EndUser, EndUserIdentifier, UserCredential


class IdentifierInline(ReadOnlyInline):
    model = EndUserIdentifier
    fk_name = "end_user"
    verbose_name_plural = "identifiers"
    fields = ("identifier", "type", "created_at")
    ordering = ("created_at",)
    show_change_link = False


@admin.register(EndUser)
class EndUserAdmin(ReadOnlyAdmin):
    """Users of the applications in front of formations: none of them can log in here."""

    list_display = ("muxi_user_id", "workspace", "created_at")
    list_select_related = ("workspace",)
    list_filter = (("workspace", RowFilter), AgeFilter)
    search_fields = ("muxi_user_id", "identifiers__identifier")
    id_search = ("pk", "workspace_id")
    inlines = (IdentifierInline,)


@admin.register(UserCredential)
class UserCredentialAdmin(ReadOnlyAdmin):
    """What is sealed is on no page; the preview says which one it is."""

    list_display = ("service", "name", "end_user", "preview", "workspace", "updated_at")
    list_select_related = ("workspace",)
    list_filter = (("workspace", RowFilter), ("service", FieldTextFilter), AgeFilter)
    search_fields = ("service", "end_user")
    id_search = ("pk", "workspace_id")
    fields = (
        "service", "name", "end_user", "preview", "workspace", "created_at", "updated_at", "id",
    )  # fmt: skip
