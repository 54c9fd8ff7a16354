"""Formations, their versions and drafts, and the calls that manage them, in the operator console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, Subquery
from django.http import Http404
from django.urls import reverse
from unfold.contrib.filters.admin import ChoicesRadioFilter, FieldTextFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from apps.console import show
from apps.console.filters import AgeFilter, RowFilter
from apps.console.formation_pages import (
    deploy_page,
    rotate_page,
    update_page,
    with_reason,
)
from apps.console.formations import (
    STATUS_LABELS,
    FormationList,
    file_list,
    health_of,
    spent_of,
)
from apps.console.readonly import ReadOnlyAdmin, ReadOnlyInline
from apps.console.reasons import actor_for, reason_action
from apps.core.masking import masked_block
from apps.formations import services
from apps.formations.models import (
    Agent,
    DraftFile,
    Formation,
    FormationDraft,
    FormationPort,
    FormationStatus,
    FormationVersion,
    PortPurpose,
    ServerCall,
)

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.utils.safestring import SafeString


SEALED = frozenset({"sealed_secrets"})  # of a version's document
DOWN = frozenset({FormationStatus.STOPPED, FormationStatus.CRASHED})


class VersionInline(ReadOnlyInline):
    model = FormationVersion
    fk_name = "formation"
    verbose_name_plural = "versions"
    fields = ("number", "version", "bundle_hash", "size", "created_at")
    ordering = ("-number",)

    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).defer("document")


@admin.register(Formation)
class FormationAdmin(ReadOnlyAdmin):
    list_display = (
        "slug", "workspace", "state", "health", "version", "port", "requests", "tokens", "cost",
        "elsewhere",
    )  # fmt: skip
    list_select_related = ("workspace", "current")
    list_filter = (("status", ChoicesRadioFilter), ("workspace", RowFilter), AgeFilter)
    search_fields = ("slug", "name", "workspace__slug")
    id_search = ("pk", "workspace_id", "home_id")
    ordering = ("slug",)
    fieldsets = (
        (None, {"fields": ("slug", "name", "workspace", "home_link", "elsewhere")}),
        ("Runs", {"fields": ("state", "health", "port", "error", "started_at", "restarts")}),
        ("Last 24 hours", {"fields": ("requests", "tokens", "cost")}),
        ("Version", {"fields": ("version", "previous_version", "staged_version", "deployments")}),
        ("Agents", {"fields": ("agents",)}),
        ("Files", {"fields": ("files",)}),
        ("Times", {"fields": ("deployed_at", "created_at", "updated_at", "id")}),
    )
    readonly_fields = (
        "state", "health", "version", "port", "requests", "tokens", "cost", "elsewhere",
        "home_link", "previous_version", "staged_version", "agents", "files",
    )  # fmt: skip
    inlines = (VersionInline,)
    actions = ("start", "stop", "roll_back")
    actions_detail = ("deploy_version", "start", "stop", "roll_back", "rotate_keys")
    actions_list = ("deploy",)
    actions_of_the_living = ("start", "stop", "roll_back")

    def is_offered(self, row: Formation, name: str) -> bool:
        offered = {
            "start": row.status in DOWN,
            "stop": row.status not in DOWN,
            "roll_back": row.previous_id is not None,
        }
        return offered.get(name, True)

    @action(description="Deploy formation", icon="upload", permissions=["act"], url_path="deploy")
    def deploy(self, request: HttpRequest) -> HttpResponse:
        self._need_act(request)
        return deploy_page(self, request)

    @action(
        description="Deploy version",
        icon="upload",
        permissions=["act"],
        url_path="deploy-version",
    )
    def deploy_version(self, request: HttpRequest, object_id: str) -> HttpResponse:
        self._need_act(request)
        return update_page(self, request, self._row(request, object_id))

    @action(
        description="Rotate keys", icon="key", permissions=["act"], url_path="rotate-keys",
        variant=ActionVariant.DANGER,
    )  # fmt: skip
    def rotate_keys(self, request: HttpRequest, object_id: str) -> HttpResponse:
        self._need_act(request)
        return rotate_page(self, request, self._row(request, object_id))

    def _need_act(self, request: HttpRequest) -> None:
        if not self.has_act_permission(request):
            raise PermissionDenied

    def _row(self, request: HttpRequest, object_id: str) -> Formation:
        row: Formation | None = self.get_object(request, object_id)
        if row is None:
            raise Http404
        return row

    @reason_action("Start formation", past="started", icon="play_circle")
    def start(self, request: HttpRequest, row: Formation, reason: str) -> None:
        actor = actor_for(request, row)
        services.finished(services.start(actor, row.slug))
        with_reason(actor, row, "started", reason)

    @reason_action(
        "Stop formation",
        past="stopped",
        danger=True,
        icon="stop_circle",
        explain="Requests under way end; new ones are refused until it is started again. "
        "It keeps its port and everything in it.",
    )
    def stop(self, request: HttpRequest, row: Formation, reason: str) -> None:
        actor = actor_for(request, row)
        services.stop(actor, row.slug)
        with_reason(actor, row, "stopped", reason)

    @reason_action(
        "Roll back formation",
        past="rolled back",
        danger=True,
        icon="history",
        explain="The version before serves again; rolling back once more returns to this one.",
    )
    def roll_back(self, request: HttpRequest, row: Formation, reason: str) -> None:
        actor = actor_for(request, row)
        services.finished(services.roll_back(actor, row.slug))
        with_reason(actor, row, "rolled_back", reason)

    def get_changelist(self, request: Any, **kwargs: Any) -> Any:
        return FormationList

    def get_queryset(self, request: Any) -> Any:
        """With its port, and without the documents: a list shows none."""
        mine = {"workspace_id": OuterRef("workspace_id"), "formation_id": OuterRef("pk")}
        ports = FormationPort.unscoped.filter(**mine, purpose=PortPurpose.LIVE)
        rows = super().get_queryset(request).defer("current__document")
        return rows.annotate(live_port=Subquery(ports.values("port")[:1]))

    @display(description="Status", label=STATUS_LABELS, ordering="status")
    def state(self, row: Formation) -> str:
        return row.status

    @display(description="Health", label={"healthy": "success", "unhealthy": "danger"})
    def health(self, row: Formation) -> str:
        return health_of(row)

    @display(description="Port")
    def port(self, row: Any) -> Any:
        return row.live_port or show.NOTHING

    @display(description="Requests (24 h)")
    def requests(self, row: Formation) -> str:
        return show.compact(spent_of(row).requests)

    @display(description="Tokens (24 h)")
    def tokens(self, row: Formation) -> str:
        return show.compact(spent_of(row).tokens)

    @display(description="Cost (24 h)")
    def cost(self, row: Formation) -> str:
        return show.usd(spent_of(row).cost)

    @display(description="Version")
    def version(self, row: Formation) -> Any:
        return show.row_link(row.current)

    @display(description="Previous version")
    @show.once
    def previous_version(self, row: Formation) -> Any:
        return show.row_link(row.previous)

    @display(description="Being staged")
    @show.once
    def staged_version(self, row: Formation) -> Any:
        return show.row_link(row.staged)

    @display(description="Lives in")
    @show.once
    def home_link(self, row: Formation) -> Any:
        return show.row_link(row.home)

    @display(description="Belongs to it")
    def elsewhere(self, row: Formation) -> SafeString:
        return show.links(
            [
                (reverse("admin:board", args=[row.home_id]), "live"),
                (show.list_url("events_event", workspace__id__exact=row.home_id), "log"),
                (
                    show.list_url("conversations_session", workspace__id__exact=row.home_id),
                    "sessions",
                ),
                (show.list_url("runs_run", workspace__id__exact=row.home_id), "runs"),
                (show.list_url("formations_enduser", workspace__id__exact=row.home_id), "users"),
            ]
        )

    @display(description="Agents")
    @show.once
    def agents(self, row: Formation) -> Any:
        found = Agent.objects.in_workspace(row.home_id).order_by("name")[:50]
        pairs = [(show.change_url("formations_agent", each.pk), each.name) for each in found]
        return show.links(pairs) if pairs else show.NOTHING

    @display(description="Files")
    @show.once
    def files(self, row: Formation) -> Any:
        return file_list(row.current.document) if row.current else show.NOTHING


@admin.register(FormationVersion)
class FormationVersionAdmin(ReadOnlyAdmin):
    """The archive itself is not offered: it holds the bundle's secrets."""

    list_display = (
        "formation",
        "number",
        "version",
        "workspace",
        "bundle_hash",
        "size",
        "created_at",
    )
    list_select_related = ("formation", "workspace")
    list_filter = (("formation", RowFilter), ("workspace", RowFilter), AgeFilter)
    search_fields = ("formation__slug", "version", "bundle_hash__istartswith")
    id_search = ("pk", "formation_id", "workspace_id")
    fieldsets = (
        (None, {"fields": ("formation", "number", "version", "workspace", "bundle_hash", "size")}),
        ("Files", {"fields": ("files",)}),
        ("Document", {"fields": ("document_shown",)}),
        ("Times", {"fields": ("created_at", "id")}),
    )
    readonly_fields = ("files", "document_shown")

    def get_queryset(self, request: Any) -> Any:
        rows = super().get_queryset(request)
        match = request.resolver_match
        return rows.defer("document") if match and match.url_name.endswith("changelist") else rows

    @display(description="Files")
    def files(self, row: FormationVersion) -> Any:
        return file_list(row.document)

    @display(description="Document")
    def document_shown(self, row: FormationVersion) -> Any:
        """Without the values of its secrets, which lie beside it, sealed."""
        document = {key: value for key, value in row.document.items() if key not in SEALED}
        return show.json_block(masked_block(document))


class DraftFileInline(ReadOnlyInline):
    model = DraftFile
    fk_name = "draft"
    verbose_name_plural = "files"
    fields = ("path", "updated_at")
    ordering = ("path",)
    show_change_link = False

    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).defer("content")


@admin.register(FormationDraft)
class FormationDraftAdmin(ReadOnlyAdmin):
    list_display = ("slug", "workspace", "base_version", "port", "updated_at")
    list_select_related = ("workspace",)
    list_filter = (("workspace", RowFilter), AgeFilter)
    search_fields = ("slug", "workspace__slug")
    id_search = ("pk", "workspace_id", "home_id")
    fields = (
        "slug", "workspace", "base_version", "home_link", "port", "created_at", "updated_at", "id",
    )  # fmt: skip
    readonly_fields = ("home_link",)
    inlines = (DraftFileInline,)

    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).defer("document")

    @display(description="Runs in")
    @show.once
    def home_link(self, row: FormationDraft) -> Any:
        return show.row_link(row.home)


@admin.register(ServerCall)
class ServerCallAdmin(ReadOnlyAdmin):
    list_display = ("at", "method", "path", "status", "milliseconds", "ip", "workspace")
    list_select_related = ("workspace",)
    list_filter = (("workspace", RowFilter), ("method", FieldTextFilter), AgeFilter)
    search_fields = ("path",)
    id_search = ("pk", "workspace_id")
