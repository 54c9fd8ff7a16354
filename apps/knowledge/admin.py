"""What workspaces remember, in the operator console."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from unfold.decorators import display

from apps.console import show
from apps.console.filters import AgeFilter, RowFilter
from apps.console.readonly import ReadOnlyAdmin
from apps.knowledge.models import Memory


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
