"""What a workspace remembers."""

from __future__ import annotations

from django.db import models

from apps.core.tenancy import TenantKey, TenantModel


class Memory(TenantModel):
    """A named note that agents read and append to. `agent` null: shared by the whole workspace."""

    agent = TenantKey(
        "formations.Agent", null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )
    key = models.CharField(max_length=120, default="notes")
    content = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta(TenantModel.Meta):
        verbose_name_plural = "memories"
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "agent", "key"], name="memory_key_once", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return self.key


class MemoryScope(models.TextChoices):
    """Who reads an end user's memory besides them (contract/muxi.md §5.7)."""

    USER = "user"
    GROUP = "group"
    FORMATION = "formation"


class UserMemory(TenantModel):
    """What an end user of a formation has told it to remember (contract/muxi.md §5.7).

    `end_user` is whose it is, and alone may delete it. Of scope `user` and `group` it is read by them
    alone (a formation does not know who is in a group), of scope `formation` by all of its users.
    `scope_id` is the user, the group or the formation.
    """

    end_user = models.CharField(max_length=255)
    scope = models.CharField(max_length=9, choices=MemoryScope, default=MemoryScope.USER)
    scope_id = models.CharField(max_length=255)
    type = models.CharField(max_length=100, default="general")
    detail = models.TextField()
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        verbose_name_plural = "user memories"
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(
                fields=["workspace", "end_user", "-created_at", "-id"], name="user_memory_list"
            ),
            models.Index(
                fields=["workspace", "-created_at", "-id"],
                name="formation_memory_list",
                condition=models.Q(scope="formation"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type}: {self.detail[:40]}"
