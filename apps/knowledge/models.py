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
