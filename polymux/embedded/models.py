"""Signs of life of the parts that no request reaches. Platform-wide: no tenant's data."""

from __future__ import annotations

from django.db import models


class Heartbeat(models.Model):
    """When a worker last did the job `platform.beat`: proof that beat, broker and worker all run."""

    name = models.CharField(primary_key=True, max_length=40)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} at {self.at:%H:%M:%S}"
