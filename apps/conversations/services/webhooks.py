"""Telling an application that a turn of its user has ended, or asks (contract/muxi.md §5.5, C17).

What is told is written down with the turn's rest, in its transaction, byte for byte as it is signed and
sent. The signature's secret is the newest admin key of the formation. Each attempt claims the row by
moving its time on, so that two senders never send at once and a dead one is followed by another.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from apps.approvals.selectors import get_approval
from apps.conversations.models import (
    DeliveryStatus,
    Message,
    MessageRole,
    TurnRequest,
    WebhookDelivery,
)
from apps.conversations.outcomes import failure_of
from apps.core import net
from apps.core.aio import db_call
from apps.core.errors import DomainError
from apps.core.queue import enqueue
from apps.core.rows import execute, insert
from apps.surfaces.muxi_formation import code_of
from apps.workspaces.credentials import signing_secret

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.engine.ports import Outcome

log = logging.getLogger(__name__)

DELIVER = "conversations.deliver_webhook"
RETRIES = 3  # after the first attempt
TIMEOUT = 10.0  # seconds an attempt may take
LONGEST_WAIT = 60.0  # seconds between two attempts: 1, 2, 4 … up to this
SLACK = 30.0  # seconds beyond its time-out after which a sender counts as dead
MAX_ANSWER = 64 * 1024
SWEEP_BATCH = 50


def tell_webhook(actor: Actor, run_id: UUID, outcome: Outcome, *, asks: UUID | None = None) -> None:
    """Write down what the webhook of this turn hears now, and have it sent after the commit.

    `asks`: the approval of a budget that the turn waits for; other waits name theirs.
    """
    requests = TurnRequest.objects.in_workspace(actor.workspace_id).filter(run_id=run_id)
    request = requests.exclude(webhook=None).first()
    if request is None:
        return
    waits = str(asks or outcome.approval_id)
    body = _question(actor, request, waits) if waits else _answer(request, outcome)
    delivery = WebhookDelivery(
        workspace_id=actor.workspace_id,
        request_id=request.pk,
        url=request.webhook["url"],
        body=json.dumps(body, sort_keys=True, separators=(",", ":")),
        most_attempts=1 + request.webhook.get("retries", RETRIES),
        timeout=request.webhook.get("timeout", TIMEOUT),
        next_at=timezone.now(),
    )
    insert(delivery)
    enqueue(DELIVER, workspace_id=actor.workspace_id, delivery_id=delivery.pk)


def _answer(request: TurnRequest, outcome: Outcome) -> dict[str, Any]:
    error = failure_of(outcome)
    told = error and {"code": code_of(error), "message": error.message, "trace": None}
    said = [{"type": "text", "text": outcome.text}] if error is None else []
    return _about(request) | {
        "status": "failed" if error else "completed",
        "error": told,
        "response": said,
    }


def _question(actor: Actor, request: TurnRequest, approval_id: Any) -> dict[str, Any]:
    """Both ids: the SDK reads `id`, upstream's own form has `request_id`."""
    messages = Message.objects.in_workspace(actor.workspace_id).filter(
        session_id=request.session_id, role=MessageRole.USER
    )
    asked = messages.order_by("-created_at", "-id").first()
    return _about(request) | {
        "status": "awaiting_clarification",
        "clarification_question": get_approval(actor, approval_id).action,
        "clarification_request_id": str(approval_id),
        "original_message": asked.content if asked else "",
        "request_id": request.name,
    }


def _about(request: TurnRequest) -> dict[str, Any]:
    took, hook = timezone.now() - request.created_at, request.webhook or {}
    return {
        "id": request.name,
        "object": "response",
        "timestamp": time.time_ns() // 1_000_000,
        "formation_id": hook["formation"],
        "user_id": request.end_user,
        "processing_time": round(took.total_seconds(), 3),
        "processing_mode": "async",
        "webhook_url": hook["url"],
        "error": None,
        "response": [],
    }


# --- Sending --------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Attempt:
    number: int
    most: int
    url: str
    body: bytes
    timeout: float
    signature: str
    at: int

    @property
    def wait(self) -> float:
        """Seconds until the next one."""
        return float(min(2 ** (self.number - 1), LONGEST_WAIT))


_CLAIM = """UPDATE conversations_webhookdelivery
   SET attempts = attempts + 1, next_at = now() + make_interval(secs => timeout + %s)
 WHERE workspace_id = %s AND id = %s AND status = 'pending' AND next_at <= now()
RETURNING attempts, most_attempts, url, body, timeout"""
_NOTE = """UPDATE conversations_webhookdelivery
   SET answered = %(answered)s, error = %(error)s,
       status = CASE WHEN %(ok)s THEN 'delivered' WHEN attempts >= most_attempts THEN 'failed'
                     ELSE 'pending' END,
       finished_at = CASE WHEN %(ok)s OR attempts >= most_attempts THEN now() END,
       next_at = now() + make_interval(secs => %(wait)s)
 WHERE workspace_id = %(workspace)s AND id = %(delivery)s AND attempts = %(number)s
   AND status = 'pending'"""


async def carry_webhook(actor: Actor, delivery_id: UUID) -> None:
    """Attempt after attempt, until it is taken or given up. What dies here the sweep takes up."""
    wait = await deliver_webhook(actor, delivery_id)
    if wait:
        await asyncio.sleep(wait)
        await carry_webhook(actor, delivery_id)


async def deliver_webhook(actor: Actor, delivery_id: UUID) -> float:
    """One attempt, if it is due. Seconds until the next one; 0 when there is none to come."""
    try:
        attempt = await db_call(_claim, actor, delivery_id)
    except DomainError as error:  # there is no key to sign with
        log.warning("webhook %s cannot be signed: %s", delivery_id, error.message)
        await db_call(_give_up, actor, delivery_id, error.message)
        return 0
    if attempt is None:
        return 0
    status, problem = await _sent(attempt)
    is_taken = status is not None and 200 <= status < 300
    result = {"answered": status, "error": problem[:200], "ok": is_taken, "wait": attempt.wait}
    await db_call(_note, actor, delivery_id, result | {"number": attempt.number})
    return 0 if is_taken or attempt.number >= attempt.most else attempt.wait


def _claim(actor: Actor, delivery_id: UUID) -> _Attempt | None:
    secret = signing_secret(actor.workspace_id)
    rows = execute(_CLAIM, [SLACK, actor.workspace_id, delivery_id])
    if not rows:
        return None
    number, most, url, body, timeout = rows[0]
    now, raw = int(time.time()), body.encode()
    return _Attempt(number, most, url, raw, timeout, _signature_of(secret, raw, now), now)


def _give_up(actor: Actor, delivery_id: UUID, why: str) -> None:
    rows = WebhookDelivery.objects.in_workspace(actor.workspace_id).filter(pk=delivery_id)
    rows.filter(status=DeliveryStatus.PENDING).update(
        status=DeliveryStatus.FAILED, error=why[:200], finished_at=timezone.now()
    )


def _note(actor: Actor, delivery_id: UUID, result: dict[str, Any]) -> None:
    execute(_NOTE, result | {"workspace": actor.workspace_id, "delivery": delivery_id})


def _signature_of(secret: bytes, body: bytes, at: int) -> str:
    """`t=…,v1=…`: HMAC-SHA256 over `<t>.` and the body's bytes (contract/muxi.md §4.5)."""
    digest = hmac.new(secret, b"%d.%s" % (at, body), hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


async def _sent(attempt: _Attempt) -> tuple[int | None, str]:
    """(status, what went wrong); no redirect is followed."""
    headers = {
        "Content-Type": "application/json",
        "X-Muxi-Signature": attempt.signature,
        "X-Muxi-Timestamp": str(attempt.at),
    }
    try:
        answer = await net.fetch(
            "POST",
            attempt.url,
            headers=headers,
            content=attempt.body,
            timeout=attempt.timeout,
            max_bytes=MAX_ANSWER,
        )
    except DomainError as error:
        return None, error.message
    problem = "" if 200 <= answer.status < 300 else f"It answered {answer.status}."
    return answer.status, problem


def due_webhooks() -> list[tuple[UUID, UUID]]:
    """Sweeper: (workspace, delivery) of attempts that are due: retries, and what was left behind."""
    rows = execute(
        """SELECT workspace_id, id FROM conversations_webhookdelivery
            WHERE status = 'pending' AND next_at <= now() ORDER BY next_at LIMIT %s""",
        [SWEEP_BATCH],
    )
    return [(workspace_id, delivery_id) for workspace_id, delivery_id in rows]
