"""Carrying an admitted turn: with its request, or later (contract/muxi.md §5.4-5.5)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from apps.conversations.carried import CarriedTurn
from apps.conversations.inline import live_run
from apps.conversations.muxi.admission import InFlight
from apps.conversations.muxi.asks import invalid
from apps.conversations.outcomes import failure_of_provider
from apps.conversations.overlord import ask_model
from apps.conversations.services import accept_turn
from apps.core import net
from apps.core.aio import db_call
from apps.core.errors import DomainError, IdempotencyConflict
from apps.engine.audio import transcribe
from apps.engine.ports import ProviderFailed
from apps.surfaces import idempotency

if TYPE_CHECKING:
    from collections.abc import Callable

    from apps.conversations.muxi.admission import AdmittedTurn, Recording
    from apps.runs.holding import Hold
    from apps.runs.runner import LiveRun
    from apps.surfaces.kit import Reply

PATIENCE = 120.0  # seconds a request waits for another one with its idempotency key
LOOK_EVERY = 0.1


async def admitted_once(admit: Callable[[], AdmittedTurn]) -> AdmittedTurn:
    """`admit()`, once no other request with its idempotency key is under way (§5.4: one flight).

    Raises what it raises; IdempotencyConflict when the other one takes too long.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return await db_call(admit)
        except InFlight as other:
            await _landed(other, until)


async def _landed(other: InFlight, until: float) -> None:
    while await db_call(idempotency.is_in_progress, other.credential, other.key):
        if time.monotonic() > until:
            raise IdempotencyConflict
        await asyncio.sleep(LOOK_EVERY)


async def listen(recording: Recording) -> str:
    """What is said in the recordings, one after the other. Raises NoTranscription, and as a turn does."""
    try:
        heard = [await transcribe(recording.model, clip) for clip in recording.clips]
    except ProviderFailed as error:
        raise failure_of_provider(error) from None
    return "\n".join(text.strip() for text in heard if text.strip())


def begin(admitted: AdmittedTurn) -> CarriedTurn:
    """The turn, under way in a task of its own; the agent is chosen in it where that is open."""
    first = partial(_decide_live, admitted) if admitted.undecided else None
    return CarriedTurn(admitted.turn, first)


async def _decide_live(admitted: AdmittedTurn, live: LiveRun) -> None:
    await _decide(admitted, live.hold)
    live.hold = replace(live.hold, agent_id=admitted.turn.agent.pk)


async def _decide(admitted: AdmittedTurn, hold: Hold) -> None:
    agent = await ask_model(admitted.crew, admitted.wish.said, hold)
    await db_call(admitted.give_to, agent)


async def accept(admitted: AdmittedTurn) -> None:
    """Queue it. Raises TurnInProgress, RequestIdTaken, and InvalidInput for a webhook we may not reach."""
    webhook = admitted.wish.webhook
    if webhook:
        await _check_webhook(webhook["url"])
    if admitted.undecided:
        await _decide(admitted, live_run(admitted.turn).hold)
    await db_call(accept_turn, admitted.asker.actor, admitted.turn)
    admitted.begun = True


async def _check_webhook(url: str) -> None:
    try:
        await net.check_url(url)
    except DomainError as error:
        raise invalid("webhook_url", error.message, "string", "invalid") from None


async def settle(admitted: AdmittedTurn, reply: Reply | None) -> None:
    """Keep the answer for the key's later uses; without one the key is free again.

    The bytes of files go where no turn has begun that names them.
    """
    if admitted.claim or not admitted.begun:
        await db_call(_settle, admitted, reply)


def _settle(admitted: AdmittedTurn, reply: Reply | None) -> None:
    if admitted.claim and reply is not None and reply.status < 300:
        admitted.claim.keep(reply)
    elif admitted.claim:
        admitted.claim.release()
    if not admitted.begun:
        admitted.discard()
