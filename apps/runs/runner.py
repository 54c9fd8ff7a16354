"""Carrying held runs on, on the home loop of this process.

A run is a coroutine here, not a thread: hundreds fit in one process. One keeper task renews the leases
of all of them in one statement and hears of cancellations asked for elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import InterfaceError, OperationalError

from apps.core.actor import Actor
from apps.core.aio import db_call, home_loop
from apps.core.errors import DomainError
from apps.engine.loop import run_turn
from apps.engine.ports import Ending, LeaseLost, Outcome, Ports
from apps.engine.state import TurnState
from apps.events import frames
from apps.runs import services
from apps.runs.bench import Bench, work
from apps.runs.errors import RunLimitReached, RunNotClaimable
from apps.runs.journal import RunJournal
from apps.runs.kinds import BenchKindHandler, Plan, handler_of
from apps.runs.resume import resumed_state

if TYPE_CHECKING:
    from uuid import UUID

    from apps.engine.ports import Journal
    from apps.runs.holding import Hold

log = logging.getLogger(__name__)
KEEP_EVERY = 2.0  # seconds; a cancellation asked for in another process is heard within this
UNWATCHED_DRAIN = 1.0  # seconds a stopping process gives what nobody watches: it resumes elsewhere


class LoopClock:
    """Real time for the engine."""

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(slots=True)
class LiveRun:
    """A run this process is carrying on."""

    hold: Hold
    cancel: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[Any] | None = None


_live: dict[UUID, LiveRun] = {}
_claims: set[asyncio.Task[Any]] = set()  # a claim that has begun ends as a run of ours, or not
_keeper: asyncio.Task[None] | None = None
_draining = False


def live_count() -> int:
    return len(_live)


def stop_here(run_id: UUID) -> None:
    """Stop a run if it is this process's: from any thread, at once."""
    live = _live.get(run_id)
    if live is not None:
        home_loop().call_soon_threadsafe(live.cancel.set)


async def advance(workspace_id: UUID, run_id: UUID) -> None:
    """Claim a queued run and carry it to its rest. Quietly does nothing if it cannot be claimed."""
    if _draining or _is_full():
        return  # it stays queued: another worker, or the next sweep, takes it
    claim = asyncio.current_task()
    assert claim is not None
    _claims.add(claim)
    try:
        hold, run_input, limits = await db_call(services.claim_run, workspace_id, run_id)
    except RunNotClaimable:
        return
    finally:
        _claims.discard(claim)
    await carry(hold, run_input, limits)


async def carry(hold: Hold, run_input: dict[str, Any], limits: dict[str, Any]) -> Outcome | None:
    """Plan and drive a held run; a failure to plan ends it in words, a crash with its traceback.

    A database that does not answer ends nothing: the lease runs out, and the run is resumed.
    """
    actor = Actor.for_engine(hold.workspace_id, user_id=hold.user_id)
    journal = RunJournal(actor, hold)
    live = LiveRun(hold)
    _enter(live)  # planning may take longer than a lease
    try:
        handler = handler_of(hold.kind)
        if isinstance(handler, BenchKindHandler):
            return await _work(handler, live, journal, run_input, limits)
        plan = await handler.plan(hold, run_input)
        plan.limits = replace(plan.limits, **limits)
        return await drive(
            hold,
            plan,
            journal,
            resume=hold.attempt > 1 or bool(run_input.get("resumes")),
            live=live,
        )
    except LeaseLost:
        log.warning("run %s: lease lost, another worker has it", hold.run_id)
    except (OperationalError, InterfaceError):
        log.warning("run %s: the database is away, its lease decides", hold.run_id, exc_info=True)
    except DomainError as error:
        await _fail(journal, error.code, error.message)
    except Exception:
        log.exception("run %s crashed", hold.run_id)
        await _fail(journal, "internal", "Something went wrong.")
    finally:
        _leave(live)
    return None


async def _work(
    handler: BenchKindHandler,
    live: LiveRun,
    journal: RunJournal,
    run_input: dict[str, Any],
    limits: dict[str, Any],
) -> Outcome:
    """A run that is work on a bench; of its limits only the time counts."""
    bench = Bench(journal.actor, live.hold, live.cancel, LoopClock())
    outcome = await work(
        bench, lambda bench: handler.work(bench, run_input), seconds=limits.get("seconds")
    )
    await journal.close(outcome)
    return outcome


async def _fail(journal: Journal, code: str, message: str) -> None:
    with suppress(LeaseLost):
        await journal.close(Outcome(Ending.FAILED, code=code, message=message))


async def drive(
    hold: Hold, plan: Plan, journal: Journal, *, resume: bool = False, live: LiveRun | None = None
) -> Outcome:
    """Run the engine over `plan`, keeping the lease, until the run rests."""
    live = live or LiveRun(hold)
    if hold.run_id not in _live:
        if _is_full():
            raise RunLimitReached
        _enter(live)
    try:
        state = await resumed_state(hold, plan) if resume else None
        ports = Ports(
            models=plan.models,
            toolbox=plan.toolbox,
            gate=plan.gate,
            journal=journal,
            listener=plan.listener,
            cancel=live.cancel,
            clock=LoopClock(),
        )
        return await run_turn(
            state or TurnState(tuple(plan.messages)),
            ports,
            sampling=plan.sampling,
            client_tools=plan.client_tools,
            limits=plan.limits,
            run_key=str(hold.run_id),
        )
    finally:
        _leave(live)


def _is_full() -> bool:
    """Claims under way count: each becomes a run here."""
    return len(_live) + len(_claims) >= settings.MAX_CONCURRENT_RUNS


def _leave(live: LiveRun) -> None:
    _live.pop(live.hold.run_id, None)
    frames.finish(live.hold.run_id)


def _enter(live: LiveRun) -> None:
    global _keeper  # noqa: PLW0603
    live.task = asyncio.current_task()
    _live[live.hold.run_id] = live
    if _keeper is None or _keeper.done():
        _keeper = asyncio.get_running_loop().create_task(_keep())


async def _keep() -> None:
    """While any run lives here: renew its lease, hear its cancellation, notice its loss."""
    while _live:
        await asyncio.sleep(min(KEEP_EVERY, settings.LEASE_SECONDS / 4))
        held = [live for live in list(_live.values()) if live.hold.attempt]
        if not held:
            continue
        try:
            kept = await db_call(services.keep_leases, [live.hold for live in held])
        except Exception:
            log.warning("could not renew leases; trying again", exc_info=True)
            continue
        for live in held:
            if kept.get(live.hold.run_id, True):  # cancelled elsewhere, or no longer ours
                live.cancel.set()


async def drain(seconds: float = 8.0) -> int:
    """Shutdown: let turns finish for `seconds`, then hand the rest back to the queue. Returns those.

    Somebody waits for the words of a conversation's turn; any other run goes on elsewhere, soon.
    """
    global _draining  # noqa: PLW0603
    _draining = True
    soon = min(seconds, UNWATCHED_DRAIN)
    try:
        given = await _give_up(soon, unwatched=True)
        return given + await _give_up(seconds - soon)
    finally:
        _draining = False


async def _give_up(seconds: float, *, unwatched: bool = False) -> int:
    """Wait for the runs (of no session only?), and hand back those that are not over by then."""

    def chosen(live: LiveRun) -> bool:
        return live.hold.session_id is None or not unwatched

    waits = [live.task for live in _live.values() if live.task and chosen(live)]
    if waits or _claims:
        await asyncio.wait([*_claims, *waits], timeout=seconds)
    left = [live for live in list(_live.values()) if chosen(live)]
    for live in left:
        _live.pop(live.hold.run_id, None)  # not to be given up twice while its cancellation is felt
        if live.task:
            live.task.cancel()
    if left:
        await db_call(services.hand_back, [live.hold for live in left])
    return len(left)
