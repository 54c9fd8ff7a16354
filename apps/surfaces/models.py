"""Two technical tables of the surface kit: rate windows without Redis, and idempotent replies."""

from __future__ import annotations

from django.db import models


class RateWindow(models.Model):
    """A fixed window's counter, when neither Redis nor one process's memory can hold it."""

    key = models.CharField(max_length=160, primary_key=True)
    window_start = models.BigIntegerField()
    used = models.PositiveIntegerField(default=0)

    class Meta:
        indexes = [models.Index(fields=["window_start"], name="rate_window_age")]

    def __str__(self) -> str:
        return self.key


class IdempotentReply(models.Model):
    """The first answer to an `Idempotency-Key`, kept 24 h per credential (contract/polymux.md §1.6).

    `status` 0 means the first request is still in progress.
    """

    credential = models.CharField(max_length=80)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    headers = models.JSONField(default=dict)
    body = models.BinaryField(default=b"")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "idempotent replies"
        constraints = [
            models.UniqueConstraint(fields=["credential", "key"], name="idempotency_once")
        ]
        indexes = [models.Index(fields=["created_at"], name="idempotency_age")]

    def __str__(self) -> str:
        return self.key
