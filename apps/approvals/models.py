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
    exactly that call and is used once (`used_at`). `expires_at` ends the wait of a pending request;
    the decision moves it: from then on it ends the time in which the permission may be used.
    `requested_token` is the credential that asked, which may not answer itself either.
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
    requested_token = models.UUIDField(null=True, editable=False)
    decided_by = models.ForeignKey(
        "accounts.User", null=True, on_delete=models.SET_NULL, related_name="+"
    )
    note = models.CharField(max_length=1000, blank=True)
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
            models.Index(
                fields=["workspace", "binding"],
                name="approval_binding",
                condition=~models.Q(binding=""),
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "binding"],
                condition=models.Q(status="pending") & ~models.Q(binding=""),
                name="one_pending_request_a_call",
            )
        ]

    def __str__(self) -> str:
        return self.action[:80]
