"""One change of a formation at a time: finding it, holding it, saying what it became."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.accounts.audit import record_change
from apps.core.clock import now
from apps.events.services import publish
from apps.formations import registry
from apps.formations.errors import FormationNotFound, UpdateRunning
from apps.formations.models import Formation, FormationPort, FormationStatus, PortPurpose
from apps.workspaces.selectors import need_admin

if TYPE_CHECKING:
    from collections.abc import Generator

    from apps.core.actor import Actor
    from apps.formations.events import FormationFact
    from apps.formations.models import FormationVersion

NO_PORT = 0
LONGEST_NAME = 200
# A staged version older than this was left by somebody who died: the next change takes its place.
STAGED_AT_MOST = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Stage:
    """Where an operation stands (contract/muxi.md §3.4): upstream's name of the stage, and words."""

    stage: str
    message: str
    progress: int | None = None
    staging_port: int | None = None


if TYPE_CHECKING:
    Steps = Generator[Stage, None, "Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an operation left behind. `previous`: the version before, as (number, semantic)."""

    formation: Formation
    port: int
    keys: dict[str, str]
    number: int = 0
    version: str = ""
    previous_number: int = 0
    previous_version: str = ""


def finished(steps: Steps) -> Outcome:
    """The operation's result, its stages untold."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome


def need_deployer(actor: Actor) -> None:
    """Raise unless `actor` may change formations: an admin, and no session's token."""
    need_admin(actor)


def lock_formation(actor: Actor, slug: str) -> Formation:
    """The row, held until the transaction ends. Raises FormationNotFound for absent and foreign."""
    rows = Formation.objects.in_workspace(actor.workspace_id).filter(slug=slug.replace("\x00", ""))
    # Its versions are read when they are asked for: joined here, they would be those of the moment
    # before the wait for the row.
    found = rows.select_for_update(no_key=True).first()
    if found is None:
        raise FormationNotFound
    formation: Formation = found
    return formation


def inside_of(actor: Actor, formation: Formation) -> Actor:
    """The same hands in the formation's home."""
    return replace(actor, workspace_id=formation.home_id, role=None)


def change(formation: Formation, **fields: Any) -> None:
    """Write `fields`; every gateway notices. The caller holds the row."""
    for name, value in fields.items():
        setattr(formation, name, value)
    formation.generation += 1
    formation.save(update_fields=[*fields, "generation", "updated_at"])
    forget_after_commit(formation.slug)


def forget_after_commit(slug: str) -> None:
    """This process looks the address up anew; others do so within a second."""
    transaction.on_commit(partial(registry.forget, slug), robust=True)


def tell(actor: Actor, formation: Formation, fact: FormationFact, **recorded: Any) -> None:
    """Record and publish a change, last: here and in the home, whose log is the formation's own."""
    record_change(actor, fact.name, "formation", formation.pk, **recorded)
    publish(actor, fact)
    publish(inside_of(actor, formation), fact)


def live_port(actor: Actor, formation: Formation) -> int:
    """The port it answers on, `NO_PORT` when it has none."""
    rows = FormationPort.objects.in_workspace(actor.workspace_id).filter(formation=formation)
    found = rows.filter(purpose=PortPurpose.LIVE).values_list("port", flat=True).first()
    return int(found or NO_PORT)


def refuse_second(formation: Formation) -> None:
    if formation.staged_at is not None and now() - formation.staged_at < STAGED_AT_MOST:
        raise UpdateRunning


def is_up(formation: Formation) -> bool:
    return formation.status == FormationStatus.RUNNING and formation.started_at is not None


def name_of(version: FormationVersion) -> str:
    config = version.document["config"]
    return str(config.get("name") or config["id"])[:LONGEST_NAME]


def shown_version(version: FormationVersion) -> dict[str, object]:
    return {
        "version": version.version,
        "number": version.number,
        "bundle_hash": version.bundle_hash,
    }


def outcome_of(
    formation: Formation,
    port: int,
    keys: dict[str, str],
    version: FormationVersion,
    was: FormationVersion | None = None,
) -> Outcome:
    return Outcome(
        formation=formation,
        port=port,
        keys=keys,
        number=version.number,
        version=version.version,
        previous_number=was.number if was else 0,
        previous_version=was.version if was else "",
    )
