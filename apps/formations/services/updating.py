"""Updating, blue-green, and giving an update up (contract/muxi.md §3.5).

Staging claims the formation: a second update is refused until the first has switched, failed or was
cancelled. The switch is one transaction; requests under way keep the agent they began with.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import IO, TYPE_CHECKING

from django.db import transaction

from apps.core.clock import now
from apps.core.errors import DomainError
from apps.formations import archive
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
from apps.formations.errors import NothingChanged, NoUpdateRunning, UpdateCancelled
from apps.formations.events import (
    FormationUpdateCancelled,
    FormationUpdated,
    FormationUpdateFailed,
)
from apps.formations.health import wait_until_healthy
from apps.formations.models import (
    Formation,
    FormationPort,
    FormationStatus,
    FormationVersion,
    PortPurpose,
)
from apps.formations.services.applying import apply_document, check_may_apply
from apps.formations.services.ports import claim_port, release_port
from apps.formations.services.versions import (
    Prepared,
    add_version,
    kept_or_discarded,
    prepare,
    read_bundle,
    secrets_of,
    spare_versions,
)

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.formations.claiming import Steps


def check_update(actor: Actor, slug: str) -> None:
    """What is known before the bundle is read. Raises FormationNotFound, UpdateRunning."""
    need_deployer(actor)
    with transaction.atomic():
        refuse_second(lock_formation(actor, slug))


def update(actor: Actor, bundle: IO[bytes], *, slug: str, version: str | None = None) -> Steps:
    """Another version of a formation. The one before serves until the very moment of the switch.

    Raises FormationNotFound, UpdateRunning, NothingChanged, UpdateCancelled, and what `deploy` raises;
    then the version before goes on.
    """
    check_update(actor, slug)
    yield Stage("extracting", "Unpacking the bundle", 5)
    bundle_hash = archive.hash_of(bundle)
    with archive.unpacked(bundle) as root:
        yield Stage("validating", "Reading the formation", 25)
        read = read_bundle(actor, root, slug=slug, version=version)
        check_may_apply(actor, read.document)
        _refuse_same(actor, slug, bundle_hash)
        yield Stage("resolving_runtime", "The runtime is built in", 40)
        prepared = prepare(actor, root, bundle_hash=bundle_hash, bundle=read)
    with kept_or_discarded(prepared):
        staged, port = stage(actor, slug, prepared)
    outcome = yield from _switch_over(actor, slug, staged, port)
    return outcome


def _switch_over(actor: Actor, slug: str, staged: FormationVersion, port: int) -> Steps:
    """From a staged version to the serving one; what is staged goes when anything stands in the way."""
    try:
        yield Stage("spawning_staging", "Loading the agents beside", 60, port)
        yield Stage("health_check", "Checking the new version", 75, port)
        outcome = _switch(actor, slug, staged)
    except BaseException as error:
        with suppress(NoUpdateRunning, UpdateCancelled):
            _unstage(actor, slug, staged.pk, error)
        raise
    yield Stage("swapping", "The new version serves", 90)
    yield Stage("stopping_old", "Requests under way end with the version they began with", 95)
    wait_until_healthy(actor, outcome.formation)
    return outcome


@transaction.atomic
def stage(actor: Actor, slug: str, prepared: Prepared) -> tuple[FormationVersion, int]:
    """Claim the formation for this update: the staged version, and the port that is held for it.

    Raises FormationNotFound, UpdateRunning, NothingChanged, NoFreePort.
    """
    need_deployer(actor)
    formation = lock_formation(actor, slug)
    refuse_second(formation)
    if formation.current and formation.current.bundle_hash == prepared.bundle_hash:
        raise NothingChanged
    _drop_staged(actor, formation)
    port = claim_port(actor, formation, PortPurpose.STAGING)
    version = add_version(actor, formation, prepared)
    # Not `change`: nothing that a gateway would have to notice.
    formation.staged, formation.staged_at = version, now()
    formation.save(update_fields=["staged", "staged_at", "updated_at"])
    return version, port


@transaction.atomic
def _switch(actor: Actor, slug: str, staged: FormationVersion) -> Outcome:
    """The document is applied and serves, at once. Raises UpdateCancelled when it is not staged any more."""
    formation = lock_formation(actor, slug)
    if formation.staged_id != staged.pk:
        raise UpdateCancelled
    was = formation.current
    assert was is not None
    applied = apply_document(
        inside_of(actor, formation),
        staged.document,
        secrets_of(actor, staged),
        storage_key=staged.storage_key,
        before=was.document,
    )
    release_port(actor, formation, PortPurpose.STAGING)
    moment = now()
    change(
        formation,
        current=staged,
        previous=was,
        staged=None,
        staged_at=None,
        name=name_of(staged),
        deployments=formation.deployments + 1,
        status=FormationStatus.RUNNING,
        started_at=formation.started_at if is_up(formation) else moment,
        deployed_at=moment,
    )
    spare = spare_versions(actor, formation)
    transaction.on_commit(partial(archive.discard, *spare), robust=True)
    fact = FormationUpdated(
        formation_id=formation.pk,
        formation=slug,
        version=staged.version,
        number=staged.number,
        was=was.version,
    )
    tell(actor, formation, fact, before=shown_version(was), after=shown_version(staged))
    return outcome_of(formation, live_port(actor, formation), applied.made, staged, was)


@transaction.atomic
def _unstage(actor: Actor, slug: str, version_id: UUID, error: BaseException) -> None:
    formation = lock_formation(actor, slug)
    if formation.staged_id != version_id:
        raise UpdateCancelled
    _drop_staged(actor, formation)
    words = error.message if isinstance(error, DomainError) else "The update was interrupted."
    fact = FormationUpdateFailed(formation_id=formation.pk, formation=slug, error=words[:500])
    tell(actor, formation, fact, reason=words)


@transaction.atomic
def cancel_update(actor: Actor, slug: str) -> tuple[Formation, int, int]:
    """Give a staged version up: the formation, the port that was held for it, the port it serves on.

    Raises FormationNotFound, NoUpdateRunning.
    """
    need_deployer(actor)
    formation = lock_formation(actor, slug)
    if formation.staged is None:
        raise NoUpdateRunning
    rows = FormationPort.objects.in_workspace(actor.workspace_id).filter(formation=formation)
    held = rows.filter(purpose=PortPurpose.STAGING).values_list("port", flat=True).first()
    before = shown_version(formation.staged)
    _drop_staged(actor, formation)
    fact = FormationUpdateCancelled(formation_id=formation.pk, formation=slug)
    tell(actor, formation, fact, before=before)
    return formation, int(held or 0), live_port(actor, formation)


def _refuse_same(actor: Actor, slug: str, bundle_hash: str) -> None:
    rows = Formation.objects.in_workspace(actor.workspace_id).filter(slug=slug)
    if rows.filter(current__bundle_hash=bundle_hash).exists():
        raise NothingChanged


def _drop_staged(actor: Actor, formation: Formation) -> None:
    """Forget a staged version: its row, its archive after the commit, its port."""
    staged = formation.staged
    release_port(actor, formation, PortPurpose.STAGING)
    if staged is None:
        return
    formation.staged = formation.staged_at = None
    formation.save(update_fields=["staged", "staged_at", "updated_at"])
    key = staged.storage_key
    staged.delete()
    transaction.on_commit(partial(archive.discard, key), robust=True)
