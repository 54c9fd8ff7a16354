"""Sessions, messages and attachments in the operator console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.contrib.filters.admin import (
    ChoicesRadioFilter,
    FieldTextFilter,
)
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from apps.console import show
from apps.console.filters import AgeFilter, RowFilter
from apps.console.readonly import ReadOnlyAdmin, ReadOnlyInline
from apps.console.reasons import actor_for, reason_action
from apps.conversations.models import (
    Attachment,
    Message,
    Session,
    SessionStatus,
    TurnRequest,
    WebhookDelivery,
)

if TYPE_CHECKING:
    from django.utils.safestring import SafeString

STATUS_LABELS = {
    "starting": "info",
    "idle": "success",
    "running": "primary",
    "waiting": "warning",
    "paused": "warning",
    "ended": "info",
}
_FIRST_WORDS = 200


class MessageInline(ReadOnlyInline):
    """The newest first, fifty a page."""

    model = Message
    fk_name = "session"
    fields = ("opened", "role", "words", "state", "run")
    ordering = ("-created_at", "-id")

    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).select_related("run").defer("parts", "run__input")

    @display(description="When")
    def opened(self, row: Message) -> str | SafeString:
        return show.row_link(row, f"{row.created_at:%Y-%m-%d %H:%M:%S}")

    @display(description="Content")
    def words(self, row: Message) -> str:
        return row.content[:_FIRST_WORDS] + ("…" if len(row.content) > _FIRST_WORDS else "")


class AttachmentInline(ReadOnlyInline):
    model = Attachment
    fk_name = "session"
    fields = ("name", "mime_type", "size", "user", "created_at")
    ordering = ("-created_at", "-id")

    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).select_related("user")


@admin.register(Session)
class SessionAdmin(ReadOnlyAdmin):
    list_display = (
        "title",
        "state",
        "workspace",
        "agent",
        "user",
        "source",
        "tokens_used",
        "last_active_at",
        "elsewhere",
    )
    list_select_related = ("workspace", "agent", "user")
    list_filter = (
        ("status", ChoicesRadioFilter),
        ("workspace", RowFilter),
        ("agent", RowFilter),
        ("source", FieldTextFilter),
        AgeFilter,
    )
    search_fields = ("title", "external_key__exact", "user__email")
    id_search = ("pk", "workspace_id", "agent_id", "user_id", "token_id")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "title",
                    "wire",
                    "state",
                    "end_reason",
                    "workspace",
                    "agent",
                    "user",
                    "elsewhere",
                )
            },
        ),
        ("Spent", {"fields": ("tokens_used", "token_budget")}),
        ("Came from", {"fields": ("source", "external_key", "token_link", "shown_metadata")}),
        (
            "Times",
            {
                "fields": (
                    "created_at",
                    "last_active_at",
                    "updated_at",
                    "ended_at",
                    "deleted_at",
                    "id",
                )
            },
        ),
    )
    readonly_fields = ("wire", "state", "elsewhere", "token_link", "shown_metadata", "deleted_at")
    inlines = (MessageInline, AttachmentInline)
    actions = ("end",)
    actions_detail = ("watch", "end")
    actions_of_the_living = ("end",)

    def is_over(self, row: Session) -> bool:
        return row.status == SessionStatus.ENDED

    @display(description="Status", label=STATUS_LABELS, ordering="status")
    def state(self, row: Session) -> str:
        return row.status

    @display(description="Id on the wire")
    def wire(self, row: Session) -> SafeString:
        return show.mono(show.session_name(row.workspace_id, row.pk))

    @display(description="Belongs to it")
    def elsewhere(self, row: Session) -> SafeString:
        return show.links(
            [
                (reverse("admin:live_session", args=[row.pk]), "live"),
                (show.list_url("runs_run", session_id__exact=row.pk), "runs"),
                (show.list_url("events_event", session_id__exact=row.pk), "events"),
            ]
        )

    @display(description="Token")
    def token_link(self, row: Session) -> str | SafeString:
        return show.id_link("workspaces_apitoken", row.token_id, "tok")

    @display(description="Metadata")
    def shown_metadata(self, row: Session) -> Any:
        return show.json_block(row.metadata)

    @action(
        description="Watch live", url_path="watch", icon="sensors", variant=ActionVariant.PRIMARY
    )
    def watch(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:live_session", args=[object_id]))

    @reason_action(
        "End session",
        past="ended",
        danger=True,
        icon="stop_circle",
        explain="Its turn stops, its session tokens die and clients are told. The transcript stays.",
    )
    def end(self, request: HttpRequest, row: Session, reason: str) -> None:
        from apps.conversations.services import end_session

        end_session(actor_for(request, row), row.pk, note=reason)


@admin.register(Message)
class MessageAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "role", "words", "session", "workspace", "state")
    list_select_related = ("session", "workspace")
    list_filter = (
        ("role", ChoicesRadioFilter),
        ("workspace", RowFilter),
        ("session", RowFilter),
        AgeFilter,
    )
    search_fields = ("content",)
    id_search = ("pk", "wire_id", "session_id", "run_id", "workspace_id")
    fieldsets = (
        (None, {"fields": ("role", "text", "state", "created_at")}),
        ("Where", {"fields": ("workspace", "session", "run", "user", "agent_key", "wire_id")}),
        ("More", {"fields": ("shown_parts", "shown_metadata", "id")}),
    )
    readonly_fields = ("text", "shown_parts", "shown_metadata")

    @display(description="Content")
    def words(self, row: Message) -> str:
        return row.content[:80] + ("…" if len(row.content) > 80 else "")

    @display(description="Content")
    def text(self, row: Message) -> Any:
        return show.text_block(row.content)

    @display(description="Parts")
    def shown_parts(self, row: Message) -> Any:
        return show.json_block(row.parts)

    @display(description="Metadata")
    def shown_metadata(self, row: Message) -> Any:
        return show.json_block(row.metadata)


@admin.register(Attachment)
class AttachmentAdmin(ReadOnlyAdmin):
    list_display = ("name", "mime_type", "size", "session", "workspace", "user", "created_at")
    list_select_related = ("session", "workspace", "user")
    list_filter = (("workspace", RowFilter), AgeFilter)
    search_fields = ("name",)
    id_search = ("pk", "session_id", "workspace_id")
    fields = ("name", "mime_type", "size", "session", "workspace", "user", "created_at", "id")


@admin.register(TurnRequest)
class TurnRequestAdmin(ReadOnlyAdmin):
    """What end users' applications asked for; how it stands is told by the run."""

    list_display = ("name", "end_user", "workspace", "session", "run", "created_at")
    list_select_related = ("workspace", "session", "run")
    list_filter = (("workspace", RowFilter), AgeFilter)
    search_fields = ("name", "end_user")
    id_search = ("pk", "run_id", "session_id", "workspace_id")
    fields = (
        "name",
        "end_user",
        "workspace",
        "session",
        "run",
        "shown_webhook",
        "created_at",
        "id",
    )
    readonly_fields = ("shown_webhook",)

    @display(description="Webhook")
    def shown_webhook(self, row: TurnRequest) -> Any:
        return show.json_block(row.webhook)


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "url", "status", "attempts", "answered", "workspace", "request")
    list_select_related = ("workspace", "request")
    list_filter = (("status", ChoicesRadioFilter), ("workspace", RowFilter), AgeFilter)
    search_fields = ("url",)
    id_search = ("pk", "request_id", "workspace_id")
    fields = (
        "url",
        "status",
        "attempts",
        "most_attempts",
        "answered",
        "error",
        "next_at",
        "finished_at",
        "request",
        "workspace",
        "shown_body",
        "created_at",
        "id",
    )
    readonly_fields = ("shown_body",)

    @display(description="Body")
    def shown_body(self, row: WebhookDelivery) -> Any:
        return show.text_block(row.body)
