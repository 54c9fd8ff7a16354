"""Rolling back to the version before (contract/muxi.md §3.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from apps.core.clock import now
from apps.formations.claiming import (
    Outcome,
    Stage,
    change,
    inside_of,
    is_up,
    live_port,
    lock_formation,
    name_of,
    need_deployer,
    outcome_of,
    refuse_second,
    shown_version,
    tell,
)
from apps.formations.errors import NoPreviousVersion
from apps.formations.events import FormationRolledBack
from apps.formations.health import wait_until_healthy
from apps.formations.models import FormationStatus
from apps.formations.services.applying import apply_document
from apps.formations.services.versions import secrets_of

if TYPE_CHECKING:
    from apps.core.actor import Actor
    from apps.formations.claiming import Steps
    from apps.formations.models import Formation, FormationVersion


def roll_back(actor: Actor, slug: str) -> Steps:
    """The version before, again; a second time returns to the newer one.

    Raises FormationNotFound, NoPreviousVersion, UpdateRunning, ArchiveRefused.
    """
    need_deployer(actor)
    with transaction.atomic():
        _previous_of(lock_formation(actor, slug))
    yield Stage("validating", "Looking at the version before", 10)
    yield Stage("resolving_runtime", "The runtime is built in", 25)
    yield Stage("spawning_previous", "Loading its agents", 45)
    outcome = _swap_back(actor, slug)
    yield Stage("health_check", f"Waiting for port {outcome.port}", 70)
    wait_until_healthy(actor, outcome.formation)
    yield Stage("stopping_current", "Requests under way end with the version they began with", 85)
    yield Stage("swapping", "The version before serves", 95)
    return outcome


@transaction.atomic
def _swap_back(actor: Actor, slug: str) -> Outcome:
    formation = lock_formation(actor, slug)
    refuse_second(formation)
    back, was = _previous_of(formation), formation.current
    assert was is not None
    inside = inside_of(actor, formation)
    applied = apply_document(
        inside,
        back.document,
        secrets_of(actor, back),
        storage_key=back.storage_key,
        before=was.document,
    )
    moment = now()
    change(
        formation,
        current=back,
        previous=was,
        name=name_of(back),
        status=FormationStatus.RUNNING,
        started_at=formation.started_at if is_up(formation) else moment,
        deployed_at=moment,
    )
    fact = FormationRolledBack(
        formation_id=formation.pk,
        formation=slug,
        version=back.version,
        number=back.number,
        was=was.version,
    )
    tell(actor, formation, fact, before=shown_version(was), after=shown_version(back))
    return outcome_of(formation, live_port(actor, formation), applied.made, back, was)


def _previous_of(formation: Formation) -> FormationVersion:
    if formation.previous is None:
        raise NoPreviousVersion
    previous: FormationVersion = formation.previous
    return previous
