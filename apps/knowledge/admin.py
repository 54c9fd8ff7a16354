"""What workspaces remember, in the operator console."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from unfold.contrib.filters.admin import ChoicesRadioFilter, FieldTextFilter
from unfold.decorators import display

from apps.console import show
from apps.console.filters import AgeFilter, RowFilter
from apps.console.readonly import ReadOnlyAdmin
from apps.knowledge.models import Memory, UserMemory


@admin.register(Memory)
class MemoryAdmin(ReadOnlyAdmin):
    list_display = ("key", "workspace", "agent", "size", "updated_at")
    list_select_related = ("workspace", "agent")
    list_filter = (
        ("workspace", RowFilter),
        ("agent", RowFilter),
        AgeFilter,
    )
    search_fields = ("key", "workspace__slug", "agent__name")
    id_search = ("pk", "workspace_id", "agent_id")
    fields = ("key", "workspace", "agent", "text", "created_at", "updated_at", "id")
    readonly_fields = ("text",)

    def get_queryset(self, request: Any) -> Any:
        from django.db.models.functions import Length

        return super().get_queryset(request).annotate(length=Length("content"))

    @display(description="Characters")
    def size(self, row: Any) -> str:
        return f"{row.length:,}"

    @display(description="Content")
    def text(self, row: Memory) -> Any:
        return show.text_block(row.content)


@admin.register(UserMemory)
class UserMemoryAdmin(ReadOnlyAdmin):
    list_display = ("type", "workspace", "end_user", "scope", "said", "created_at")
    list_select_related = ("workspace",)
    list_filter = (
        ("workspace", RowFilter),
        ("end_user", FieldTextFilter),
        ("scope", ChoicesRadioFilter),
        AgeFilter,
    )
    search_fields = ("end_user__istartswith", "type__istartswith")
    id_search = ("pk", "workspace_id")
    fields = (
        "type",
        "workspace",
        "end_user",
        "scope",
        "scope_id",
        "text",
        "more",
        "created_at",
        "id",
    )
    readonly_fields = ("text", "more")

    @display(description="Remembered")
    def said(self, row: UserMemory) -> str:
        return row.detail[:80]

    @display(description="Text")
    def text(self, row: UserMemory) -> Any:
        return show.text_block(row.detail)

    @display(description="Metadata")
    def more(self, row: UserMemory) -> Any:
        return show.json_block(row.metadata)
