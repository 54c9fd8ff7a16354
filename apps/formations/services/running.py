"""Start, stop, restart, delete (contract/muxi.md §3.6): a row says it, gateways bind and drain."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from django.db import transaction

from apps.core.clock import now
from apps.formations import archive
from apps.formations.claiming import (
    Outcome,
    Stage,
    change,
    forget_after_commit,
    live_port,
    lock_formation,
    need_deployer,
    outcome_of,
    tell,
)
from apps.formations.errors import AlreadyRunning, AlreadyStopped
from apps.formations.events import (
    FormationDeleted,
    FormationRestarted,
    FormationStarted,
    FormationStopped,
)
from apps.formations.health import wait_until_healthy
from apps.formations.models import Formation, FormationStatus, FormationVersion
from apps.workspaces.services import remove_home

if TYPE_CHECKING:
    from apps.core.actor import Actor
    from apps.formations.claiming import Steps

UP = frozenset({FormationStatus.RUNNING, FormationStatus.STARTING, FormationStatus.RESTARTING})


def start(actor: Actor, slug: str) -> Steps:
    """Serve again, on the same port. Raises FormationNotFound, AlreadyRunning, NotHealthy."""
    need_deployer(actor)
    with transaction.atomic():
        _refuse_running(lock_formation(actor, slug))
    yield Stage("validating", "Looking at the deployed version", 20)
    yield Stage("resolving_runtime", "The runtime is built in", 40)
    yield Stage("spawning", "Loading the agents", 60)
    outcome = _started(actor, slug)
    yield Stage("health_check", f"Waiting for port {outcome.port}", 85)
    wait_until_healthy(actor, outcome.formation)
    return outcome


def restart(actor: Actor, slug: str) -> Steps:
    """Begin anew: every gateway lets go of what it remembers. Counts. Raises FormationNotFound, NotHealthy."""
    need_deployer(actor)
    with transaction.atomic():
        lock_formation(actor, slug)
    yield Stage("stopping", "Requests under way end as they began", 10)
    yield Stage("validating", "Looking at the deployed version", 30)
    yield Stage("resolving_runtime", "The runtime is built in", 45)
    yield Stage("spawning", "Loading the agents", 60)
    outcome = _restarted(actor, slug)
    yield Stage("health_check", f"Waiting for port {outcome.port}", 85)
    wait_until_healthy(actor, outcome.formation)
    return outcome


@transaction.atomic
def stop(actor: Actor, slug: str) -> Formation:
    """Serve no more; the port stays its own. Raises FormationNotFound, AlreadyStopped."""
    need_deployer(actor)
    formation = lock_formation(actor, slug)
    if formation.status == FormationStatus.STOPPED:
        raise AlreadyStopped
    before = {"status": formation.status}
    change(formation, status=FormationStatus.STOPPED, started_at=None, error="")
    fact = FormationStopped(formation_id=formation.pk, formation=slug)
    tell(actor, formation, fact, before=before, after={"status": formation.status})
    return formation


@transaction.atomic
def delete_formation(actor: Actor, slug: str) -> None:
    """Stop, and forget it: its home is absent from now on, its keys die, its port is free.

    The home's rows stay until retention takes them. Raises FormationNotFound.
    """
    need_deployer(actor)
    formation = lock_formation(actor, slug)
    versions = FormationVersion.objects.in_workspace(actor.workspace_id).filter(formation=formation)
    keys = list(versions.values_list("storage_key", flat=True))
    before = {"slug": slug, "status": formation.status, "home_id": formation.home_id}
    fact = FormationDeleted(formation_id=formation.pk, formation=slug)
    formation_id, home_id = formation.pk, formation.home_id
    formation.current = formation.previous = formation.staged = None
    formation.save(update_fields=["current", "previous", "staged"])
    remove_home(actor, home_id)
    Formation.objects.in_workspace(actor.workspace_id).filter(pk=formation_id).delete()
    tell(actor, formation, fact, before=before)
    transaction.on_commit(partial(archive.discard, *keys), robust=True)
    forget_after_commit(slug)


@transaction.atomic
def _started(actor: Actor, slug: str) -> Outcome:
    formation = lock_formation(actor, slug)
    _refuse_running(formation)
    before = {"status": formation.status}
    change(formation, status=FormationStatus.RUNNING, started_at=now(), error="")
    fact = FormationStarted(formation_id=formation.pk, formation=slug)
    tell(actor, formation, fact, before=before, after={"status": formation.status})
    return _as_it_is(actor, formation)


@transaction.atomic
def _restarted(actor: Actor, slug: str) -> Outcome:
    formation = lock_formation(actor, slug)
    restarts = formation.restarts + 1
    running = {"status": FormationStatus.RUNNING, "started_at": now(), "error": ""}
    change(formation, restarts=restarts, **running)
    fact = FormationRestarted(formation_id=formation.pk, formation=slug, restarts=restarts)
    tell(actor, formation, fact, after={"restarts": restarts})
    return _as_it_is(actor, formation)


def _refuse_running(formation: Formation) -> None:
    if formation.status in UP:
        raise AlreadyRunning


def _as_it_is(actor: Actor, formation: Formation) -> Outcome:
    assert formation.current is not None
    return outcome_of(formation, live_port(actor, formation), {}, formation.current)
