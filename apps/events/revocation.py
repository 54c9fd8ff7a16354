"""Ending the live streams of a credential that no longer holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from apps.events import nudge

if TYPE_CHECKING:
    from uuid import UUID


def revoke(
    *, token_id: UUID | None = None, user_id: UUID | None = None, workspace_id: UUID | None = None
) -> None:
    """After the commit, close every live stream of that token, or of that user in that workspace.

    Best effort and at once; streams also re-check their credential every 5 seconds by themselves.
    """
    transaction.on_commit(
        lambda: nudge.revoked(token_id=token_id, user_id=user_id, workspace_id=workspace_id),
        robust=True,
    )
