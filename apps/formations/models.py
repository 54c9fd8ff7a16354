"""Teams, agents and the means they are given; formations, their versions, ports and end users."""

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


class FormationStatus(models.TextChoices):
    """contract/muxi.md §3.7."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    CRASHED = "crashed"
    RESTARTING = "restarting"


class Formation(TenantModel):
    """A bundle of agents that was deployed and has an address (contract/muxi.md §3).

    `workspace` deployed it; `home` is the formation's own workspace, where its agents, sessions,
    secrets and memories live. `slug` is the formation's id, taken once on an installation because
    ports and `/api/{slug}` are shared. `deployments` counts deploys and updates. `staged` is the
    version of the update that is under way and `staged_at` when it began. `generation` grows with
    every change that a gateway must notice.
    """

    slug = models.CharField(max_length=50, unique=True)
    name = models.CharField(max_length=200)
    home = models.OneToOneField(
        "workspaces.Workspace", on_delete=models.PROTECT, related_name="formation"
    )
    status = models.CharField(
        max_length=10, choices=FormationStatus, default=FormationStatus.STARTING
    )
    error = models.CharField(max_length=500, blank=True)
    current = TenantKey(
        "formations.FormationVersion",
        null=True,
        on_delete=models.RESTRICT,
        related_name="+",
        db_index=False,
    )
    previous = TenantKey(
        "formations.FormationVersion",
        null=True,
        on_delete=models.RESTRICT,
        related_name="+",
        db_index=False,
    )
    staged = TenantKey(
        "formations.FormationVersion",
        null=True,
        on_delete=models.RESTRICT,
        related_name="+",
        db_index=False,
    )
    staged_at = models.DateTimeField(null=True)
    deployments = models.PositiveIntegerField(default=0)
    restarts = models.PositiveIntegerField(default=0)
    generation = models.BigIntegerField(default=0)
    started_at = models.DateTimeField(null=True)
    deployed_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta(TenantModel.Meta):
        ordering = ["slug"]
        indexes = [
            models.Index(fields=["workspace", "slug"], name="formation_list"),
            models.Index(fields=["updated_at"], name="formation_changes"),
        ]

    def __str__(self) -> str:
        return self.slug


class FormationVersion(TenantModel):
    """One deployed bundle: its parsed document, and its archive in the file storage.

    `number` is the deployment counter, `version` the semantic one of the file, `bundle_hash` the
    SHA-256 of the archive in hex. `document` is what `bundles.read` made of it, with placeholders in
    place of secrets.
    """

    formation = TenantKey(
        Formation, on_delete=models.CASCADE, related_name="versions", db_index=False
    )
    number = models.PositiveIntegerField()
    version = models.CharField(max_length=100)
    bundle_hash = models.CharField(max_length=64)
    document = models.JSONField()
    storage_key = models.CharField(max_length=300, editable=False)
    size = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["formation", "number"], name="formation_version_once")
        ]

    def __str__(self) -> str:
        return f"{self.version} (#{self.number})"


class PortPurpose(models.TextChoices):
    LIVE = "live"
    STAGING = "staging"
    ROLLBACK = "rollback"
    DRAFT = "draft"


class FormationPort(TenantModel):
    """A port of 8000-8999 and what it is for. The row is the claim: a port is taken once."""

    port = models.PositiveIntegerField(unique=True)
    formation = TenantKey(Formation, on_delete=models.CASCADE, related_name="ports", db_index=False)
    purpose = models.CharField(max_length=8, choices=PortPurpose, default=PortPurpose.LIVE)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["formation", "purpose"], name="formation_port_once")
        ]

    def __str__(self) -> str:
        return str(self.port)


class FormationDraft(TenantModel):
    """Files being edited before they are deployed: one draft a formation (contract §3.8-3.9).

    `slug` need not be deployed yet. While `home` is set, the draft runs there, at `port`.
    """

    slug = models.CharField(max_length=50)
    base_version = models.CharField(max_length=100, blank=True)
    home = models.OneToOneField(
        "workspaces.Workspace", null=True, on_delete=models.SET_NULL, related_name="formation_draft"
    )
    port = models.PositiveIntegerField(null=True, unique=True)
    document = models.JSONField(null=True)
    generation = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["slug"], name="formation_draft_once")]

    def __str__(self) -> str:
        return f"draft of {self.slug}"


class DraftFile(TenantModel):
    """One file of a draft. `path` is relative, with forward slashes."""

    draft = TenantKey(
        FormationDraft, on_delete=models.CASCADE, related_name="files", db_index=False
    )
    path = models.CharField(max_length=500)
    content = models.BinaryField()
    updated_at = models.DateTimeField(auto_now=True)

    class Meta(TenantModel.Meta):
        ordering = ["path"]
        constraints = [models.UniqueConstraint(fields=["draft", "path"], name="draft_file_once")]

    def __str__(self) -> str:
        return self.path


class ServerCall(TenantModel):
    """One call of the management API, as `/rpc/server/logs` shows it (contract §3.7)."""

    method = models.CharField(max_length=10)
    path = models.CharField(max_length=300)
    ip = models.CharField(max_length=45, blank=True)
    status = models.PositiveSmallIntegerField()
    milliseconds = models.FloatField()
    at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        ordering = ["-at", "-id"]
        indexes = [models.Index(fields=["workspace", "-at", "-id"], name="server_call_log")]

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status}"


class EndUser(TenantModel):
    """A user of an application in front of a formation, not of this installation (contract §5.8).

    `muxi_user_id` is what sessions, memories and requests carry as their `end_user`.
    """

    muxi_user_id = models.CharField(max_length=255)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["workspace", "muxi_user_id"], name="end_user_once")
        ]

    def __str__(self) -> str:
        return self.muxi_user_id


class EndUserIdentifier(TenantModel):
    """Another name of an end user: an e-mail, a chat handle."""

    end_user = TenantKey(
        EndUser, on_delete=models.CASCADE, related_name="identifiers", db_index=False
    )
    identifier = models.CharField(max_length=255)
    type = models.CharField(max_length=50, default="custom")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["workspace", "identifier"], name="identifier_once")
        ]
        indexes = [models.Index(fields=["end_user", "created_at"], name="identifier_of_user")]

    def __str__(self) -> str:
        return self.identifier


class UserCredential(TenantModel):
    """What one end user brought for one service, sealed (AES-256-GCM); `preview` is shown instead."""

    end_user = models.CharField(max_length=255)
    service = models.CharField(max_length=100)
    name = models.CharField(max_length=200, blank=True)
    sealed = models.BinaryField(editable=False)
    preview = models.CharField(max_length=40)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta(TenantModel.Meta):
        indexes = [
            models.Index(fields=["workspace", "end_user", "-created_at"], name="credential_list")
        ]

    def __str__(self) -> str:
        return f"{self.service} of {self.end_user}"
