"""Versions of a formation: a bundle's document and archive, staged before they are switched to."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from apps.core.crypto import SealBroken, context_of, open_sealed, seal
from apps.core.ids import uuid7
from apps.formations import archive, bundles, reading
from apps.formations.errors import ArchiveRefused, IdsDiffer, VersionsDiffer
from apps.formations.models import Formation, FormationVersion

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from apps.core.actor import Actor
    from apps.formations.bundles import Bundle

KEPT = 10  # versions of a formation, with their archives


@dataclass(frozen=True, slots=True)
class Prepared:
    """A bundle that was read and stored, and is nobody's yet. `storage_key`: where its archive lies."""

    id: UUID
    bundle: Bundle
    bundle_hash: str
    storage_key: str
    size: int


def prepare(actor: Actor, root: Path, *, bundle_hash: str, bundle: Bundle) -> Prepared:
    """Store the bundle's archive. No transaction is open: the bytes go first. Raises ArchiveRefused."""
    version_id = uuid7()
    place = f"formations/{actor.workspace_id}/{bundle.id}/{version_id}.tar.gz"
    key, size = archive.keep(root, bundle.id, place)
    return Prepared(version_id, bundle, bundle_hash, key, size)


def read_bundle(actor: Actor, root: Path, *, slug: str, version: str | None = None) -> Bundle:
    """The bundle, if it is the one that was announced. Raises BundleError, IdsDiffer, VersionsDiffer."""
    del actor  # reading a folder asks nobody; what may be done with it is asked later
    bundle = bundles.read(root)
    if bundle.id != slug:
        raise IdsDiffer(f"The bundle is {bundle.id!r}, not {slug!r}.")
    if version is not None and bundle.version != version:
        raise VersionsDiffer(f"The bundle's version is {bundle.version!r}, not {version!r}.")
    return bundle


def add_version(actor: Actor, formation: Formation, prepared: Prepared) -> FormationVersion:
    """The row of a prepared bundle, with the next number. Inside a transaction that holds the formation."""
    bundle = prepared.bundle
    sealed = _sealed(actor.workspace_id, prepared.id, bundle.secrets)
    names = sorted(reading.vault_of(bundle.document, bundle.secrets))
    row = FormationVersion(
        id=prepared.id,
        workspace_id=actor.workspace_id,
        formation=formation,
        number=formation.deployments + 1,
        version=bundle.version,
        bundle_hash=prepared.bundle_hash,
        document={**bundle.document, "secret_names": names, "sealed_secrets": sealed},
        storage_key=prepared.storage_key,
        size=prepared.size,
    )
    row.save(force_insert=True)
    return row


def secrets_of(actor: Actor, version: FormationVersion) -> dict[str, str]:
    """The secrets that came with a version, in the clear. Raises ArchiveRefused when they do not open."""
    sealed = base64.b64decode(version.document.get("sealed_secrets", ""))
    try:
        opened = open_sealed(sealed, context=_context(actor.workspace_id, version.pk))
    except SealBroken:
        raise ArchiveRefused("The secrets of this version do not open any more.") from None
    found: dict[str, str] = json.loads(opened)
    return found


def spare_versions(actor: Actor, formation: Formation) -> list[str]:
    """Delete what is neither in use nor among the newest `KEPT`; the storage keys to discard after."""
    rows = FormationVersion.objects.in_workspace(actor.workspace_id).filter(formation=formation)
    used = {formation.current_id, formation.previous_id, formation.staged_id} - {None}
    newest = list(rows.order_by("-number").values_list("id", flat=True)[:KEPT])
    spare = rows.exclude(id__in=[*used, *newest])
    keys = list(spare.values_list("storage_key", flat=True))
    spare.delete()
    return keys


def _sealed(workspace_id: UUID, version_id: UUID, secrets: dict[str, str]) -> str:
    plain = json.dumps(secrets).encode()
    return base64.b64encode(seal(plain, context=_context(workspace_id, version_id))).decode()


def _context(workspace_id: UUID, version_id: UUID) -> str:
    return context_of(workspace_id, "formations_formationversion", version_id, "secrets")


class kept_or_discarded:  # noqa: N801  (read as a verb, after `with`)
    """The stored archive goes when what follows fails, or its client left before it."""

    def __init__(self, prepared: Prepared) -> None:
        self._key = prepared.storage_key

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            archive.discard(self._key)
