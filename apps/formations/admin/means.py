"""Teams, agents and their means in the operator console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from unfold.contrib.filters.admin import (
    BooleanRadioFilter,
    FieldTextFilter,
)
from unfold.decorators import display

from apps.console import show
from apps.console.filters import AgeFilter, RowFilter
from apps.console.readonly import ReadOnlyAdmin
from apps.formations.models import Agent, McpServer, Team, ToolSetting

if TYPE_CHECKING:
    from django.utils.safestring import SafeString

CONTACT_LABELS = {"ready": "success", "failed": "danger", "changed": "warning", "unknown": "info"}


@admin.register(Team)
class TeamAdmin(ReadOnlyAdmin):
    list_display = ("name", "workspace", "description", "created_at", "elsewhere")
    list_select_related = ("workspace",)
    list_filter = (("workspace", RowFilter), AgeFilter)
    search_fields = ("name", "workspace__slug")
    id_search = ("pk", "workspace_id")
    fieldsets = (
        (None, {"fields": ("name", "description", "workspace", "elsewhere")}),
        ("Times", {"fields": ("created_at", "updated_at", "id")}),
    )
    readonly_fields = ("elsewhere",)

    @display(description="Belongs to it")
    def elsewhere(self, row: Team) -> SafeString:
        return show.links([(show.list_url("formations_agent", team__id__exact=row.pk), "agents")])


@admin.register(Agent)
class AgentAdmin(ReadOnlyAdmin):
    list_display = (
        "name",
        "workspace",
        "team",
        "model_shown",
        "is_default",
        "volatile",
        "max_turns",
        "updated_at",
        "elsewhere",
    )
    list_select_related = ("workspace", "team")
    list_filter = (
        ("workspace", RowFilter),
        ("model", FieldTextFilter),
        ("team", RowFilter),
        ("is_default", BooleanRadioFilter),
        ("volatile", BooleanRadioFilter),
        AgeFilter,
    )
    search_fields = ("name", "workspace__slug")
    id_search = ("pk", "workspace_id")
    fieldsets = (
        (None, {"fields": ("name", "role", "workspace", "team_link", "is_default", "elsewhere")}),
        ("Stands", {"fields": ("reports_to", "volatile", "mission_group", "identity_shown")}),
        (
            "Thinks with",
            {"fields": ("model_shown", "fallback_model", "temperature", "reasoning", "max_turns")},
        ),
        ("Prompt", {"fields": ("prompt",)}),
        ("Means", {"fields": ("tools_shown", "skills_shown", "paths_shown", "max_concurrency")}),
        ("Said of it", {"fields": ("extras_shown", "metadata_shown")}),
        ("Times", {"fields": ("created_at", "updated_at", "id")}),
    )
    readonly_fields = (
        "model_shown",
        "elsewhere",
        "team_link",
        "identity_shown",
        "prompt",
        "tools_shown",
        "skills_shown",
        "paths_shown",
        "extras_shown",
        "metadata_shown",
    )

    @display(description="Model", ordering="model")
    def model_shown(self, row: Agent) -> str:
        return row.model or "the workspace's default"

    @display(description="Belongs to it")
    def elsewhere(self, row: Agent) -> SafeString:
        return show.links(
            [
                (show.list_url("conversations_session", agent__id__exact=row.pk), "sessions"),
                (show.list_url("runs_run", agent__id__exact=row.pk), "runs"),
            ]
        )

    @display(description="Team")
    def team_link(self, row: Agent) -> Any:
        return show.row_link(row.team)

    @display(description="Identity")
    def identity_shown(self, row: Agent) -> Any:
        return show.json_block(row.identity)

    @display(description="Skills")
    def skills_shown(self, row: Agent) -> Any:
        return show.json_block(row.skills)

    @display(description="Paths")
    def paths_shown(self, row: Agent) -> Any:
        return show.json_block(row.allowed_paths)

    @display(description="Extras")
    def extras_shown(self, row: Agent) -> Any:
        return show.json_block(row.extras)

    @display(description="System prompt")
    def prompt(self, row: Agent) -> Any:
        return show.text_block(row.system_prompt)

    @display(description="Tools")
    def tools_shown(self, row: Agent) -> Any:
        return (
            "what is enabled in the workspace" if row.tools is None else show.json_block(row.tools)
        )

    @display(description="Metadata")
    def metadata_shown(self, row: Agent) -> Any:
        return show.json_block(row.metadata)


@admin.register(McpServer)
class McpServerAdmin(ReadOnlyAdmin):
    """Headers and environment are sealed and on no page."""

    list_display = ("name", "workspace", "transport", "enabled", "state", "checked_at")
    list_select_related = ("workspace",)
    list_filter = (
        ("workspace", RowFilter),
        ("enabled", BooleanRadioFilter),
        ("status", FieldTextFilter),
        AgeFilter,
    )
    search_fields = ("name", "url", "workspace__slug")
    id_search = ("pk", "workspace_id")
    fieldsets = (
        (None, {"fields": ("name", "workspace", "transport", "url", "program", "enabled")}),
        ("Last contact", {"fields": ("state", "last_error", "checked_at", "tools_shown")}),
        ("Times", {"fields": ("created_at", "updated_at", "id")}),
    )
    readonly_fields = ("state", "program", "tools_shown")

    @display(description="Status", label=CONTACT_LABELS)
    def state(self, row: McpServer) -> str:
        return row.status

    @display(description="Program")
    def program(self, row: McpServer) -> str:
        """Without its arguments: people put keys there."""
        more = len(row.command) - 1
        return f"{row.command[0]} and {more} arguments" if row.command else show.NOTHING

    @display(description="Tools")
    def tools_shown(self, row: McpServer) -> Any:
        return show.json_block(row.tools)


@admin.register(ToolSetting)
class ToolSettingAdmin(ReadOnlyAdmin):
    list_display = ("tool", "workspace", "enabled", "needs_approval", "timeout", "updated_at")
    list_select_related = ("workspace",)
    list_filter = (
        ("workspace", RowFilter),
        ("enabled", BooleanRadioFilter),
        ("tool", FieldTextFilter),
    )
    search_fields = ("tool", "workspace__slug")
    id_search = ("pk", "workspace_id")
