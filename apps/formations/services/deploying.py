"""Deploying (contract/muxi.md §3.3).

TLDR: `deploy`, `update` and `roll_back` are generators: they yield a `Stage` before each step and return
an `Outcome`, so that one way serves both answers, whole and streamed. Nothing is held while a stage is
told. All that changes happens in one transaction: whoever dies before it leaves nothing, whoever dies
after it leaves everything.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from django.db import IntegrityError, transaction

from apps.core.clock import now
from apps.core.errors import DomainError
from apps.formations import archive
from apps.formations.bundles import checked_id
from apps.formations.claiming import (
    LONGEST_NAME,
    Outcome,
    Stage,
    change,
    inside_of,
    need_deployer,
    outcome_of,
    shown_version,
    tell,
)
from apps.formations.errors import FormationExists
from apps.formations.events import FormationDeployed
from apps.formations.health import wait_until_healthy
from apps.formations.models import Formation, FormationStatus, PortPurpose
from apps.formations.services.applying import apply_document, check_may_apply
from apps.formations.services.ports import claim_port
from apps.formations.services.running import delete_formation
from apps.formations.services.versions import (
    Prepared,
    add_version,
    kept_or_discarded,
    prepare,
    read_bundle,
)
from apps.workspaces.services import create_home

if TYPE_CHECKING:
    from apps.core.actor import Actor
    from apps.formations.claiming import Steps


def check_new(actor: Actor, slug: str) -> None:
    """What is known before the bundle is read. Raises BundleError (the id), FormationExists."""
    need_deployer(actor)
    checked_id(slug)
    if Formation.unscoped.filter(slug=slug).exists():
        raise FormationExists


def deploy(actor: Actor, bundle: IO[bytes], *, slug: str, version: str | None = None) -> Steps:
    """A new formation out of an archive. `version`: refuse any other.

    Raises BundleError, IdsDiffer, VersionsDiffer, FormationExists, StdioForOperators, NoFreePort,
    ArchiveRefused, NotHealthy; then nothing of it is left.
    """
    check_new(actor, slug)
    yield Stage("extracting", "Unpacking the bundle", 5)
    bundle_hash = archive.hash_of(bundle)
    with archive.unpacked(bundle) as root:
        yield Stage("validating", "Reading the formation", 25)
        read = read_bundle(actor, root, slug=slug, version=version)
        check_may_apply(actor, read.document)
        yield Stage("resolving_runtime", "The runtime is built in", 40)
        prepared = prepare(actor, root, bundle_hash=bundle_hash, bundle=read)
    with kept_or_discarded(prepared):
        yield Stage("spawning", "Loading the agents", 60)
        outcome = _register(actor, prepared)
    yield Stage("health_check", f"Waiting for port {outcome.port}", 85)
    _or_take_back(actor, outcome)
    return outcome


@transaction.atomic
def _register(actor: Actor, prepared: Prepared) -> Outcome:
    """Everything at once: the home, the row, the port, the agents. Of two who deploy one id, one does."""
    bundle = prepared.bundle
    home = create_home(actor, name=bundle.name, slug=f"formation-{bundle.id}")
    formation = Formation(workspace_id=actor.workspace_id, slug=bundle.id, home=home)
    formation.name = bundle.name[:LONGEST_NAME]
    try:
        with transaction.atomic():
            formation.save(force_insert=True)
    except IntegrityError:
        raise FormationExists from None
    port = claim_port(actor, formation, PortPurpose.LIVE)
    version = add_version(actor, formation, prepared)
    applied = apply_document(
        inside_of(actor, formation),
        version.document,
        bundle.secrets,
        storage_key=version.storage_key,
    )
    moment = now()
    running = {"status": FormationStatus.RUNNING, "started_at": moment, "deployed_at": moment}
    change(formation, current=version, deployments=1, **running)
    fact = FormationDeployed(
        formation_id=formation.pk,
        formation=formation.slug,
        version=version.version,
        number=version.number,
        port=port,
    )
    tell(actor, formation, fact, after=shown_version(version) | {"port": port})
    return outcome_of(formation, port, applied.made, version)


def _or_take_back(actor: Actor, outcome: Outcome) -> None:
    """A formation whose port nobody can open is no formation. Raises NotHealthy."""
    try:
        wait_until_healthy(actor, outcome.formation)
    except DomainError:
        delete_formation(actor, outcome.formation.slug)
        raise
