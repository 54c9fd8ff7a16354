"""The event log: one append-only row per fact, numbered per workspace without a gap.

TLDR: never insert here by hand, call `events.services.publish`. `seq` comes from the workspace's
`StreamHead` in the same transaction as the change; an identity column loses events under
concurrency, because the later id may commit first.
"""

from __future__ import annotations

from django.db import models


class StreamHead(models.Model):
    """The last number given in a workspace. Whoever holds this row makes every other writer wait."""

    workspace = models.OneToOneField(
        "workspaces.Workspace", primary_key=True, on_delete=models.CASCADE, related_name="+"
    )
    seq = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.workspace_id} at {self.seq}"


class Event(models.Model):
    """A fact. `name` is dotted past tense (`session.created`); `payload` is JSON without secrets.

    `session_id` routes it to a conversation's stream; `subject_*` links it in the console.
    """

    id = models.BigAutoField(primary_key=True)
    workspace = models.ForeignKey(
        "workspaces.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False
    )
    seq = models.BigIntegerField()
    name = models.CharField(max_length=80)
    payload = models.JSONField(default=dict)
    session_id = models.UUIDField(null=True)
    run_id = models.UUIDField(null=True)
    subject_type = models.CharField(max_length=40, blank=True)
    subject_id = models.UUIDField(null=True)
    actor_kind = models.CharField(max_length=20, blank=True)
    user_id = models.UUIDField(null=True)
    request_id = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["workspace_id", "seq"]
        constraints = [models.UniqueConstraint(fields=["workspace", "seq"], name="event_seq_once")]
        indexes = [
            models.Index(
                fields=["workspace", "session_id", "seq"],
                name="event_by_session",
                condition=models.Q(session_id__isnull=False),
            ),
            models.Index(
                fields=["run_id"], name="event_by_run", condition=models.Q(run_id__isnull=False)
            ),
            models.Index(fields=["created_at"], name="event_by_age"),
            # A day of a workspace, and how many of which facts, from the index alone.
            models.Index(fields=["workspace", "created_at"], include=["name"], name="event_by_day"),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.name}"
