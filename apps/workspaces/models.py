"""The tenant: workspaces, who belongs to them, and the credentials that open them."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Lower

from apps.core.actor import Role
from apps.core.ids import uuid7
from apps.core.tenancy import TenantModel


class WorkspaceStatus(models.TextChoices):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    REMOVED = "removed"


class Workspace(models.Model):
    """The tenant (Polpo calls it project, Polyant instance). `parent` makes a tree.

    `settings` holds what the workspace chooses for itself; `workspaces.preferences` names the keys.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="children"
    )
    slug = models.SlugField(max_length=100, unique=True)
    name = models.CharField(max_length=100)
    avatar_url = models.URLField(max_length=500, blank=True)
    plan = models.CharField(max_length=16, default="free")
    status = models.CharField(
        max_length=16, choices=WorkspaceStatus, default=WorkspaceStatus.ACTIVE
    )
    settings = models.JSONField(default=dict, blank=True)
    created_by = models.ForeignKey(
        "accounts.User", null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["-created_at", "-id"], name="workspace_by_age")]

    def __str__(self) -> str:
        return self.name


class Member(TenantModel):
    """A user's place in a workspace. At least one owner always stands."""

    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(
        max_length=10, choices=[(r.value, r.value) for r in Role], default=Role.MEMBER.value
    )
    invited_by = models.ForeignKey(
        "accounts.User", null=True, on_delete=models.SET_NULL, related_name="+"
    )
    joined_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["workspace", "user"], name="member_once"),
            models.CheckConstraint(
                condition=models.Q(role__in=[r.value for r in Role]), name="member_role_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.workspace}"


class TokenKind(models.TextChoices):
    """Which surface's credential this is. All are stored as SHA-256 with a display prefix."""

    PERSONAL = "pat"
    SESSION = "session"
    ADMIN_KEY = "admin_key"
    CLIENT_KEY = "client_key"
    INSTANCE_KEY = "instance_key"
    HMAC = "hmac"


class ApiToken(models.Model):
    """A credential. `workspace` null means `*`: every workspace its user belongs to.

    The token itself is shown once and kept as SHA-256. `hmac` keys, and admin keys of
    formations, keep `sealed_secret` (AES-256-GCM), too: nothing is signed or checked with a digest.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=16, choices=TokenKind, default=TokenKind.PERSONAL)
    user = models.ForeignKey(
        "accounts.User", null=True, on_delete=models.CASCADE, related_name="api_tokens"
    )
    workspace = models.ForeignKey(
        Workspace, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )
    session_id = models.UUIDField(null=True, editable=False)
    name = models.CharField(max_length=100)
    purpose = models.CharField(max_length=500, blank=True)
    scope = models.CharField(max_length=8, default="read")
    prefix = models.CharField(max_length=24)
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    sealed_secret = models.BinaryField(null=True, editable=False)
    read_per_min = models.PositiveIntegerField(null=True, blank=True)
    write_per_min = models.PositiveIntegerField(null=True, blank=True)
    max_sessions = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["user", "-created_at"], name="token_by_user"),
            models.Index(fields=["workspace", "-created_at"], name="token_by_workspace"),
            models.Index(
                fields=["session_id"],
                name="token_by_session",
                condition=models.Q(session_id__isnull=False),
            ),
            models.Index(fields=["prefix"], name="token_by_prefix"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(scope__in=["read", "write", "admin"]), name="token_scope_known"
            ),
            models.UniqueConstraint(
                fields=["prefix"], condition=models.Q(kind="hmac"), name="hmac_key_id_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class Secret(TenantModel):
    """One vault entry: the value sealed with AES-256-GCM, bound to workspace, table, row and field."""

    name = models.CharField(max_length=200)
    sealed = models.BinaryField(editable=False)
    created_by = models.ForeignKey(
        "accounts.User", null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint("workspace", Lower("name"), name="secret_name_once")]

    def __str__(self) -> str:
        return self.name
