"""Verbs on runs: open, claim, keep, cancel, rest, wake, sweep.

Each is one transaction. A run changes hands only by a conditional update whose rows are counted.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from apps.accounts.services import record_change
from apps.approvals.services import withdraw_unanswered
from apps.core.actor import Actor, Scope
from apps.core.queue import enqueue
from apps.core.rows import execute, insert
from apps.engine.ports import Ending, Outcome, Spend, Usage
from apps.engine.state import TurnState
from apps.events.services import publish
from apps.runs import budgets
from apps.runs.errors import RunFinishedAlready, RunNotClaimable, RunNotFound
from apps.runs.events import RunEnded, RunHandedOn, RunQueued, RunStarted
from apps.runs.holding import Hold, died_here, owner_name
from apps.runs.kinds import handler_of
from apps.runs.models import REQUEST, TERMINAL, Run, RunStatus
from apps.runs.selectors import said_so_far

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

log = logging.getLogger(__name__)
ADVANCE = "runs.advance_run"
LOST_LEASES_ALLOWED = 3
SWEEP_BATCH = 200


@transaction.atomic
def open_run(
    actor: Actor,
    *,
    kind: str,
    session_id: UUID | None = None,
    subject: tuple[str, UUID] | None = None,
    agent_id: UUID | None = None,
    run_input: dict[str, Any] | None = None,
    limits: dict[str, Any] | None = None,
) -> Run:
    """A new queued run; a worker is woken after the commit. Publishes RunQueued."""
    run, queued = queue_run(
        actor,
        kind=kind,
        session_id=session_id,
        subject=subject,
        agent_id=agent_id,
        run_input=run_input,
        limits=limits,
    )
    publish(actor, queued)
    return run


def queue_run(
    actor: Actor,
    *,
    kind: str,
    session_id: UUID | None = None,
    subject: tuple[str, UUID] | None = None,
    agent_id: UUID | None = None,
    run_input: dict[str, Any] | None = None,
    limits: dict[str, Any] | None = None,
) -> tuple[Run, RunQueued]:
    """As `open_run`, for a caller whose transaction goes on: it publishes the fact itself, last."""
    actor.need(Scope.WRITE)
    run = Run(
        workspace_id=actor.workspace_id,
        kind=kind,
        session_id=session_id,
        subject_type=subject[0] if subject else "",
        subject_id=subject[1] if subject else None,
        agent_id=agent_id,
        user_id=actor.user_id,
        token_id=actor.token_id,
        input=run_input or {},
        limits=limits or {},
        request_id=actor.request_id,
    )
    insert(run)
    enqueue(ADVANCE, workspace_id=run.workspace_id, run_id=run.pk)
    return run, RunQueued(run_id=run.pk, session_id=session_id, kind=kind)


_CLAIM = """UPDATE runs_run AS r SET status = 'running', lease_owner = %s,
       lease_until = now() + make_interval(secs => %s), attempt = attempt + 1, in_step = false,
       started_at = coalesce(started_at, now()), waiting_for = NULL
 WHERE workspace_id = %s AND id = %s AND status = 'queued'
   AND (session_id IS NULL OR NOT EXISTS (
        SELECT 1 FROM runs_run o WHERE o.workspace_id = r.workspace_id
           AND o.session_id = r.session_id AND o.status = 'running'))
RETURNING kind, attempt, session_id, agent_id, token_id, user_id, input, limits"""


def claim_run(workspace_id: UUID, run_id: UUID) -> tuple[Hold, dict[str, Any], dict[str, Any]]:
    """Take a queued run for this process: (hold, input, limits). One of many claimers wins.

    Raises RunNotClaimable when it is taken, ended, or its session still has a turn running.
    """
    try:
        return _claim_run(workspace_id, run_id)
    except IntegrityError:  # two turns of one session claimed at once: the index let one in
        raise RunNotClaimable from None


@transaction.atomic
def _claim_run(workspace_id: UUID, run_id: UUID) -> tuple[Hold, dict[str, Any], dict[str, Any]]:
    owner = owner_name()
    rows = execute(_CLAIM, [owner, settings.LEASE_SECONDS, workspace_id, run_id])
    if not rows:
        raise RunNotClaimable
    kind, attempt, session_id, agent_id, token_id, user_id, run_input, limits = rows[0]
    hold = Hold(workspace_id, run_id, kind, owner, attempt, session_id, agent_id, token_id, user_id)
    publish(
        Actor.for_engine(workspace_id, user_id=user_id),
        RunStarted(run_id=run_id, session_id=session_id, kind=kind, attempt=attempt),
    )
    return hold, _json(run_input), _json(limits)


def _json(value: Any) -> dict[str, Any]:
    """Raw SQL may hand jsonb out as text, depending on the adapters of the connection."""
    if isinstance(value, (str, bytes)):
        import json

        return dict(json.loads(value))
    return dict(value or {})


def keep_leases(holds: list[Hold]) -> dict[UUID, bool]:
    """Renew many leases in one statement: run id -> is its cancellation asked for?

    A run that is missing from the answer is no longer ours.
    """
    if not holds:
        return {}
    rows = execute(
        """UPDATE runs_run SET lease_until = now() + make_interval(secs => %s)
            WHERE id = ANY(%s) AND lease_owner = %s AND status = 'running'
        RETURNING id, attempt, cancel_requested_at IS NOT NULL""",
        [settings.LEASE_SECONDS, [hold.run_id for hold in holds], owner_name()],
    )
    attempts = {hold.run_id: hold.attempt for hold in holds}
    return {run_id: cancel for run_id, attempt, cancel in rows if attempts[run_id] == attempt}


@transaction.atomic
def cancel_run(actor: Actor, run_id: UUID, *, reason: str = "") -> Run:
    """Stop a run within one step. Queued and waiting runs end here; a running one is asked to stop.

    Raises RunNotFound, RunFinishedAlready.
    """
    actor.need(Scope.WRITE)
    run = lock_run(actor.workspace_id, run_id)
    if run is None:
        raise RunNotFound
    if run.status in TERMINAL:
        raise RunFinishedAlready
    if run.cancel_requested_at and run.status == RunStatus.RUNNING:
        return run  # it is stopping; who asked first, and when, stands
    run.cancel_requested_at, run.cancel_reason = timezone.now(), reason[:200]
    run.save(update_fields=["cancel_requested_at", "cancel_reason"])
    record_change(
        actor, "run.cancelled", "run", run_id, before={"status": run.status}, reason=reason[:500]
    )
    if run.status == RunStatus.RUNNING:
        transaction.on_commit(lambda: _stop_here(run_id), robust=True)
        return run
    end_unheld(actor, run, RunStatus.CANCELLED, code="cancelled", message=reason)
    return run


def lock_run(workspace_id: UUID, run_id: UUID) -> Run | None:
    """The run's row, locked after what stands above it (see `kinds.RunKindHandler`); None: absent."""
    runs = Run.objects.in_workspace(workspace_id).filter(pk=run_id)
    seen = runs.defer("input").first()
    if seen is None:
        return None
    handler_of(seen.kind).lock(hold_of(seen))
    return runs.select_for_update().first()


def _stop_here(run_id: UUID) -> None:
    from apps.runs.runner import stop_here

    stop_here(run_id)


def end_unheld(actor: Actor, run: Run, status: str, *, code: str, message: str = "") -> None:
    """End a locked run that nobody holds (queued, waiting or orphaned).

    Its promises are released, what it asked is asked no more, and its kind hears what it has said and
    spent so far.
    """
    hold, asked = hold_of(run), run.waiting_for
    reserved = Spend(run.reserved_tokens, run.reserved_cost_micros, run.reserved_tool_calls)
    budgets.settle(hold, reserved, Spend())
    run.status, run.finished_at = status, timezone.now()
    run.error_code, run.error_message = code, message[:1000]
    run.reserved_tokens = run.reserved_cost_micros = run.reserved_tool_calls = 0
    run.lease_owner, run.lease_until, run.waiting_for = "", None, None
    run.input.pop(REQUEST, None)
    run.save()
    if asked:
        withdraw_unanswered(Actor.for_system(run.workspace_id), asked)
    rest = handler_of(run.kind).rested(actor, hold, _outcome_of(actor, run))
    insert(*rest.rows)
    publish(
        actor,
        *rest.facts,
        RunEnded(
            run_id=run.pk,
            session_id=run.session_id,
            status=status,
            kind=run.kind,
            error_code=code,
            error_message=message[:500],
            tokens_in=run.tokens_in,
            tokens_out=run.tokens_out,
            cost_micros=run.cost_micros,
        ),
    )
    if rest.wakes_next and run.session_id:
        wake_next(run.workspace_id, run.session_id)


def _outcome_of(actor: Actor, run: Run) -> Outcome:
    """How an unheld run ended, with what its journal proves."""
    cancelled = run.status == RunStatus.CANCELLED
    said = said_so_far(actor, run.pk) if run.steps else TurnState(())
    return Outcome(
        Ending.CANCELLED if cancelled else Ending.FAILED,
        text=said.text,
        last=said.last,
        usage=Usage(run.tokens_in, run.tokens_out),
        cost_micros=run.cost_micros,
        model=run.model,
        code=run.error_code,
        message=run.error_message,
    )


def hold_of(run: Run) -> Hold:
    return Hold(
        run.workspace_id,
        run.pk,
        run.kind,
        run.lease_owner,
        run.attempt,
        run.session_id,
        run.agent_id,
        run.token_id,
        run.user_id,
    )


@transaction.atomic
def wake_run(actor: Actor, run_id: UUID) -> bool:
    """A waiting run's decision has come: back to the queue. False when it was not waiting."""
    run = lock_run(actor.workspace_id, run_id)
    if run is None or run.status != RunStatus.WAITING:
        return False
    run.status, run.waiting_for = RunStatus.QUEUED, None
    run.save(update_fields=["status", "waiting_for"])
    handler_of(run.kind).woken(actor, hold_of(run))
    enqueue(ADVANCE, workspace_id=actor.workspace_id, run_id=run_id)
    return True


def wake_next(workspace_id: UUID, session_id: UUID) -> None:
    """After a turn came to rest: wake the next queued turn of its session, if any."""
    rows = execute(
        """SELECT id FROM runs_run WHERE workspace_id = %s AND session_id = %s AND status = 'queued'
            ORDER BY created_at, id LIMIT 1""",
        [workspace_id, session_id],
    )
    for (run_id,) in rows:
        enqueue(ADVANCE, workspace_id=workspace_id, run_id=run_id)


# --- Sweepers: they see every workspace, and are named in the house test -------------------------
def sweep_leases() -> int:
    """Hand on the runs whose holder is gone. Returns how many. Bounded; run every few seconds.

    Expired by the database's clock, or held by a process of this host that has died. A run that lost
    its lease three times in one and the same step is poison: it fails with `worker_lost`.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT workspace_id, id, lease_owner, lease_until < now() FROM runs_run
                WHERE status = 'running' ORDER BY lease_until LIMIT %s""",
            [SWEEP_BATCH],
        )
        rows = cursor.fetchall()
    lost = [(ws, run_id) for ws, run_id, owner, expired in rows if expired or died_here(owner)]
    return _hand_on_all(lost)


def hand_back(holds: list[Hold]) -> int:
    """Shutdown: give up these runs at once, without counting the lease as lost."""
    given = execute(
        """UPDATE runs_run SET lease_until = now() - interval '1 second', lost_leases = lost_leases - in_step::int
            WHERE id = ANY(%s) AND lease_owner = %s AND status = 'running' RETURNING workspace_id, id""",
        [[hold.run_id for hold in holds], owner_name()],
    )
    return _hand_on_all(given)


def _hand_on_all(lost: Iterable[tuple[UUID, UUID]]) -> int:
    """Each by itself: one that cannot be handed on must not keep the others."""
    done = 0
    for workspace_id, run_id in lost:
        try:
            done += _hand_on(workspace_id, run_id)
        except Exception:
            log.exception("run %s could not be handed on; the next sweep tries again", run_id)
    return done


@transaction.atomic
def _hand_on(workspace_id: UUID, run_id: UUID) -> bool:
    """Under the row's lock, look again: its holder may have renewed or ended it meanwhile."""
    run = lock_run(workspace_id, run_id)
    if run is None or run.status != RunStatus.RUNNING:
        return False
    if not (died_here(run.lease_owner) or _lapsed(run)):
        return False
    actor = Actor.for_system(run.workspace_id)
    run.lost_leases += run.in_step  # a run that has not begun a step cannot have killed its worker
    if run.cancel_requested_at:
        end_unheld(actor, run, RunStatus.CANCELLED, code="cancelled", message=run.cancel_reason)
    elif run.input.get("inline"):
        message = "The server stopped during this turn."
        end_unheld(actor, run, RunStatus.FAILED, code="interrupted", message=message)
    elif run.lost_leases >= LOST_LEASES_ALLOWED:
        message = "Its worker was lost three times."
        end_unheld(actor, run, RunStatus.FAILED, code="worker_lost", message=message)
    else:
        _requeue(run)
    return True


def _lapsed(run: Run) -> bool:
    """By the database's clock: a jump of ours must not take a run from its holder."""
    return bool(execute("SELECT lease_until < now() FROM runs_run WHERE id = %s", [run.pk])[0][0])


def _requeue(run: Run) -> None:
    reserved = Spend(run.reserved_tokens, run.reserved_cost_micros, run.reserved_tool_calls)
    budgets.settle(hold_of(run), reserved, Spend())
    run.reserved_tokens = run.reserved_cost_micros = run.reserved_tool_calls = 0
    run.status, run.lease_owner, run.lease_until = RunStatus.QUEUED, "", None
    run.save()
    enqueue(ADVANCE, workspace_id=run.workspace_id, run_id=run.pk)
    handed_on = RunHandedOn(run_id=run.pk, session_id=run.session_id, kind=run.kind)
    publish(Actor.for_system(run.workspace_id), handed_on)


def left_queued(*, older_than: float = 2.0) -> list[tuple[UUID, UUID]]:
    """(workspace, run) of runs nobody has taken: their nudge was lost, or the broker is deaf or late.

    Bounded, oldest first. For the worker that asks, to take itself: another message each would make a
    queue that is already too long grow with every look.
    """
    rows = execute(
        """SELECT workspace_id, id FROM runs_run r WHERE status = 'queued'
              AND created_at < now() - make_interval(secs => %s)
              AND (session_id IS NULL OR NOT EXISTS (SELECT 1 FROM runs_run o
                   WHERE o.workspace_id = r.workspace_id AND o.session_id = r.session_id
                     AND o.status = 'running'))
            ORDER BY created_at, id LIMIT %s""",
        [older_than, SWEEP_BATCH],
    )
    return [(workspace_id, run_id) for workspace_id, run_id in rows]
