"""Teams, agents and the means they are given: MCP servers and tool settings."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Lower

from apps.core.tenancy import TenantKey, TenantModel


class Team(TenantModel):
    """A named group of agents. The oldest of a workspace is its first: who names no team joins it."""

    name = models.CharField(max_length=100)
    description = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint("workspace", Lower("name"), name="team_name_once"),
        ]

    def __str__(self) -> str:
        return self.name


class Reasoning(models.TextChoices):
    """How long the model may think before it answers."""

    OFF = "off"
    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"


class Agent(TenantModel):
    """A configured agent: who it is (prompt), what it thinks with (model), what it may use (tools).

    `model` is a model reference (`openai/gpt-4.1`, `ollama/llama3.2`, `local/smollm2`); empty means
    the workspace's default. `tools` are names with `*` wildcards; null means what is enabled.
    `reports_to` names another agent of the workspace. A `volatile` agent was made for the missions
    of `mission_group` and goes with them. `identity` and `extras` have the keys of
    contract/polpo.md §8 (see `profile.py`).
    """

    team = TenantKey(Team, on_delete=models.RESTRICT, related_name="agents", db_index=False)
    name = models.CharField(max_length=100)
    role = models.CharField(max_length=500, blank=True)
    model = models.CharField(max_length=200, blank=True)
    fallback_model = models.CharField(max_length=200, blank=True)
    system_prompt = models.TextField(blank=True)
    tools = models.JSONField(null=True, blank=True)
    skills = models.JSONField(default=list, blank=True)
    allowed_paths = models.JSONField(null=True, blank=True)
    temperature = models.FloatField(null=True, blank=True)
    reasoning = models.CharField(max_length=8, choices=Reasoning, blank=True)
    max_turns = models.PositiveIntegerField(default=20)
    max_concurrency = models.PositiveIntegerField(null=True, blank=True)
    is_default = models.BooleanField(default=False)
    identity = models.JSONField(default=dict, blank=True)
    reports_to = models.CharField(max_length=100, blank=True)
    volatile = models.BooleanField(default=False)
    mission_group = models.TextField(blank=True)
    extras = models.JSONField(default=dict, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint("workspace", Lower("name"), name="agent_name_once"),
            models.UniqueConstraint(
                fields=["workspace"], condition=models.Q(is_default=True), name="one_default_agent"
            ),
            models.CheckConstraint(
                condition=models.Q(volatile=False) | models.Q(is_default=False),
                name="default_agent_lasts",
            ),
        ]
        indexes = [models.Index(fields=["workspace", "team"], name="agent_by_team")]

    def __str__(self) -> str:
        return self.name


class McpTransport(models.TextChoices):
    STDIO = "stdio"
    HTTP = "http"


class McpServer(TenantModel):
    """An MCP server of a workspace. Its tools appear as `<name>__<tool>`.

    `sealed` keeps headers and environment (AES-256-GCM). `status` says what the last contact said;
    a dead server is reported, never fatal.
    """

    name = models.SlugField(max_length=40, allow_unicode=False)
    transport = models.CharField(max_length=8, choices=McpTransport)
    url = models.URLField(max_length=500, blank=True)
    command = models.JSONField(default=list, blank=True)
    sealed = models.BinaryField(null=True, editable=False)
    enabled = models.BooleanField(default=True)
    status = models.CharField(max_length=12, default="unknown")
    last_error = models.CharField(max_length=500, blank=True)
    tools = models.JSONField(default=list, blank=True)
    checked_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["workspace", "name"], name="mcp_server_once")
        ]

    def __str__(self) -> str:
        return self.name


class ToolSetting(TenantModel):
    """A workspace's word on one tool: on or off, always ask, another time limit."""

    tool = models.CharField(max_length=120)
    enabled = models.BooleanField(default=True)
    needs_approval = models.BooleanField(null=True, blank=True)
    timeout = models.FloatField(null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["workspace", "tool"], name="tool_setting_once")
        ]

    def __str__(self) -> str:
        return self.tool
