"""Conversations: a session, what was said in it, and the files shown in it."""

from __future__ import annotations

from django.db import models

from apps.core.tenancy import TenantKey, TenantModel


class SessionStatus(models.TextChoices):
    """`starting -> idle <-> running <-> waiting; running <-> paused; any -> ended` (contract §4.2)."""

    STARTING = "starting"
    IDLE = "idle"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    ENDED = "ended"


class EndReason(models.TextChoices):
    COMPLETED = "completed"
    STOPPED = "stopped"
    IDLE_TIMEOUT = "idle_timeout"
    BUDGET_EXCEEDED = "budget_exceeded"
    ERROR = "error"
    DELETED = "deleted"


MUXI = "muxi"  # source of a session that an end user's application speaks in
REPLACED = "replaced"  # why a turn was cancelled whose message was edited: its reply is not kept


class Session(TenantModel):
    """One conversation with one agent (contract/polymux.md §4.3).

    `source` is the surface it was opened through; `external_key` continues it from there (a
    chat_id). `position`: higher is nearer the top. `deleted_at` hides it everywhere. `end_user`: the
    user of the application in front of a formation whose conversation it is (contract/muxi.md §5.1).
    Turns read nothing that was said until `buffer_cleared_at`.
    """

    user = models.ForeignKey(
        "accounts.User", null=True, on_delete=models.SET_NULL, related_name="+"
    )
    token_id = models.UUIDField(null=True, editable=False)
    agent = TenantKey(
        "formations.Agent",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,
    )
    source = models.CharField(max_length=20, default="polymux")
    external_key = models.CharField(max_length=200, blank=True)
    end_user = models.CharField(max_length=255, blank=True)
    title = models.CharField(max_length=200, default="New Workflow")
    status = models.CharField(max_length=10, choices=SessionStatus, default=SessionStatus.IDLE)
    end_reason = models.CharField(max_length=20, choices=EndReason, blank=True)
    workflow_id = models.UUIDField(null=True, blank=True)
    browser_mode = models.CharField(max_length=10, default="server")
    humanize = models.BooleanField(default=True)
    cloaked = models.BooleanField(default=True)
    token_budget = models.PositiveIntegerField(null=True, blank=True)
    tokens_used = models.BigIntegerField(default=0)
    metadata = models.JSONField(default=dict, blank=True)
    position = models.FloatField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    last_active_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True, editable=False)
    buffer_cleared_at = models.DateTimeField(null=True, editable=False)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(
                fields=["workspace", "-created_at", "-id"],
                name="session_list",
                condition=models.Q(deleted_at__isnull=True),
            ),
            models.Index(
                fields=["workspace", "status", "-created_at", "-id"],
                name="session_by_status",
                condition=models.Q(deleted_at__isnull=True),
            ),
            models.Index(
                fields=["workspace", "-updated_at", "-id"],
                name="session_by_change",
                condition=models.Q(deleted_at__isnull=True),
            ),
            models.Index(
                fields=["workspace", "-updated_at"],
                name="session_of_polpo",
                condition=models.Q(source="polpo", status="idle"),
            ),
            models.Index(
                fields=["token_id"],
                name="session_active_of_token",
                condition=~models.Q(status="ended"),
            ),
            models.Index(
                fields=["last_active_at"], name="session_idle", condition=~models.Q(status="ended")
            ),
            models.Index(
                fields=["workspace", "end_user", "-last_active_at", "-id"],
                name="session_of_end_user",
                condition=models.Q(deleted_at__isnull=True) & ~models.Q(end_user=""),
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "source", "end_user", "external_key"],
                condition=~models.Q(external_key=""),
                name="session_external_key_once",
            )
        ]

    def __str__(self) -> str:
        return self.title


class MessageRole(models.TextChoices):
    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    TOOL = "tool"


class Message(TenantModel):
    """One message, stored once. `parts` holds non-text content (images by file or URL).

    `wire_id` may be minted by the client, so it is unique within its session only: a global
    uniqueness would tell a stranger that an id exists elsewhere.
    """

    session = TenantKey(Session, on_delete=models.CASCADE, related_name="messages", db_index=False)
    wire_id = models.UUIDField()
    role = models.CharField(max_length=10, choices=MessageRole)
    content = models.TextField(blank=True)
    parts = models.JSONField(null=True)
    agent_key = models.CharField(max_length=120, default="orchestrator")
    run = TenantKey(
        "runs.Run", null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    state = models.CharField(max_length=12, default="complete")
    metadata = models.JSONField(default=dict, blank=True)
    user = models.ForeignKey(
        "accounts.User", null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    created_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        ordering = ["created_at", "id"]
        indexes = [
            models.Index(
                fields=["workspace", "session", "created_at", "id"], name="message_transcript"
            )
        ]
        constraints = [
            models.UniqueConstraint(fields=["session", "wire_id"], name="message_wire_id_once")
        ]

    def __str__(self) -> str:
        return f"{self.role}: {self.content[:40]}"


class Attachment(TenantModel):
    """A file uploaded to a session; bytes live in the file storage under `storage_key`."""

    session = TenantKey(
        Session, on_delete=models.CASCADE, related_name="attachments", db_index=False
    )
    name = models.CharField(max_length=255)
    mime_type = models.CharField(max_length=120)
    size = models.BigIntegerField()
    storage_key = models.CharField(max_length=300, editable=False)
    user = models.ForeignKey(
        "accounts.User", null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(
                fields=["workspace", "session", "-created_at", "-id"], name="attachment_list"
            )
        ]

    def __str__(self) -> str:
        return self.name


class TurnRequest(TenantModel):
    """A turn as an end user's application knows it (contract/muxi.md §5.5-5.6).

    `name` is the id it is asked for by (`req_…`, or the caller's own word), once for each end user;
    how the turn stands is told by its `run`. `webhook`: `{url, retries, timeout}` of who wants to hear
    of its end. Kept a week.
    """

    name = models.CharField(max_length=100)
    end_user = models.CharField(max_length=255)
    session = TenantKey(Session, on_delete=models.CASCADE, related_name="+", db_index=False)
    run = TenantKey("runs.Run", on_delete=models.CASCADE, related_name="+", db_index=False)
    webhook = models.JSONField(null=True)
    created_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(
                fields=["workspace", "end_user", "-created_at", "-id"], name="turn_request_list"
            ),
            models.Index(fields=["created_at"], name="turn_request_age"),
            models.Index(fields=["session"], name="turn_request_of_session"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "end_user", "name"], name="turn_request_once"
            ),
            models.UniqueConstraint(fields=["workspace", "run"], name="turn_request_of_run"),
        ]

    def __str__(self) -> str:
        return self.name


class DeliveryStatus(models.TextChoices):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class WebhookDelivery(TenantModel):
    """What a webhook is told of a turn, and what became of it (contract/muxi.md §5.5).

    `body` is sent as it stands: its bytes are the signed bytes. `next_at`: when the next of
    `most_attempts` is due; one that is under way has moved it on already.
    """

    request = TenantKey(TurnRequest, on_delete=models.CASCADE, related_name="+", db_index=False)
    url = models.CharField(max_length=2000)
    body = models.TextField()
    status = models.CharField(max_length=10, choices=DeliveryStatus, default=DeliveryStatus.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    most_attempts = models.PositiveSmallIntegerField(default=4)
    timeout = models.FloatField(default=10)
    answered = models.PositiveSmallIntegerField(null=True)
    error = models.CharField(max_length=200, blank=True)
    next_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(
                fields=["next_at"], name="webhook_due", condition=models.Q(status="pending")
            ),
            models.Index(fields=["request"], name="webhook_of_request"),
        ]

    def __str__(self) -> str:
        return f"{self.url} {self.status}"
