"""Questions that only a human may answer. An approval knows its subject by type and id only."""

from __future__ import annotations


from django.db import models

from apps.core.tenancy import TenantModel


class ApprovalKind(models.TextChoices):
    ACTION = "action"
    QUESTION = "question"
    BUDGET = "budget"


class ApprovalStatus(models.TextChoices):
    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    ANSWERED = "answered"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class Approval(TenantModel):
    """One request and its decision. Decided once, by somebody other than the requester.

    `binding` is the SHA-256 of tool, canonical arguments, run and step: the permission covers
    exactly that call and is used once (`used_at`).
    """

    kind = models.CharField(max_length=10, choices=ApprovalKind, default=ApprovalKind.ACTION)
    status = models.CharField(max_length=10, choices=ApprovalStatus, default=ApprovalStatus.PENDING)
    subject_type = models.CharField(max_length=40)
    subject_id = models.UUIDField(null=True)
    session_id = models.UUIDField(null=True)
    action = models.TextField()
    reason = models.TextField(blank=True)
    context = models.JSONField(default=dict, blank=True)
    options = models.JSONField(default=list, blank=True)
    binding = models.CharField(max_length=64, blank=True)
    answer = models.JSONField(null=True)
    requested_by = models.ForeignKey(
        "accounts.User", null=True, on_delete=models.SET_NULL, related_name="+"
    )
    decided_by = models.ForeignKey(
        "accounts.User", null=True, on_delete=models.SET_NULL, related_name="+"
    )
    decided_at = models.DateTimeField(null=True)
    used_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["workspace", "status", "-created_at"], name="approval_queue"),
            models.Index(fields=["subject_type", "subject_id"], name="approval_by_subject"),
            models.Index(
                fields=["expires_at"], name="approval_expiry", condition=models.Q(status="pending")
            ),
        ]

    def __str__(self) -> str:
        return self.action[:80]
