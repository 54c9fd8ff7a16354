"""The event log in the operator console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from unfold.contrib.filters.admin import FieldTextFilter
from unfold.decorators import display

from apps.console import show
from apps.console.filters import RowFilter
from apps.console.readonly import ReadOnlyAdmin
from apps.events.models import Event, StreamHead

if TYPE_CHECKING:
    from django.utils.safestring import SafeString


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    list_display = (
        "seq",
        "name",
        "workspace",
        "session_link",
        "run_link",
        "actor_kind",
        "created_at",
    )
    list_select_related = ("workspace",)
    list_filter = (("workspace", RowFilter), ("name", FieldTextFilter))
    search_fields = ("name__istartswith", "request_id__exact")
    search_help_text = (
        "An id (of a session, run, subject or user), a request id, or the start of a name"
    )
    id_search = ("session_id", "run_id", "subject_id", "user_id", "workspace_id")
    date_hierarchy = "created_at"
    fieldsets = (
        (None, {"fields": ("seq", "name", "workspace", "created_at", "data")}),
        ("About", {"fields": ("session_link", "run_link", "subject_type", "subject_id")}),
        ("Who", {"fields": ("actor_kind", "user_link", "request_id")}),
    )
    readonly_fields = ("data", "session_link", "run_link", "user_link")

    @display(description="Payload")
    def data(self, row: Event) -> Any:
        return show.json_block(row.payload)

    @display(description="Session")
    def session_link(self, row: Event) -> str | SafeString:
        return show.id_link("conversations_session", row.session_id, "ses")

    @display(description="Run")
    def run_link(self, row: Event) -> str | SafeString:
        return show.id_link("runs_run", row.run_id, "run")

    @display(description="User")
    def user_link(self, row: Event) -> str | SafeString:
        return show.id_link("accounts_user", row.user_id, "usr")


@admin.register(StreamHead)
class StreamHeadAdmin(ReadOnlyAdmin):
    """Where each workspace's log stands."""

    list_display = ("workspace", "seq", "events")
    list_select_related = ("workspace",)
    search_fields = ("workspace__slug",)
    fields = ("workspace", "seq", "events")
    readonly_fields = ("events",)

    @display(description="Events")
    def events(self, row: StreamHead) -> SafeString:
        return show.links([(show.list_url("events_event", workspace__id__exact=row.pk), "events")])
