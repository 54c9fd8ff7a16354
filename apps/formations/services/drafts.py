"""Drafts: files edited before they are deployed (contract/muxi.md §3.8). One draft a formation."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.db.models import Count, Q, Sum
from django.db.models.functions import Length

from apps.accounts.audit import record_change
from apps.core.paths import mkdirs_inside, open_inside
from apps.events.services import publish
from apps.formations import archive
from apps.formations.bundles import checked_id, seal_secrets
from apps.formations.claiming import need_deployer
from apps.formations.errors import (
    DeployConflict,
    DraftExists,
    DraftFileNotFound,
    DraftNotFound,
    DraftPathInvalid,
    DraftRunning,
    DraftTooLarge,
    LiveNotFound,
)
from apps.formations.events import DraftChanged
from apps.formations.models import DraftFile, Formation, FormationDraft, FormationVersion
from apps.formations.selectors import find_draft
from apps.formations.services.deploying import deploy
from apps.formations.services.updating import update
from apps.formations.services.versions import secrets_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.db.models import QuerySet

    from apps.core.actor import Actor
    from apps.formations.claiming import Steps

KEY = archive.KEY_FILE
MOST_FILES = 1_000
MOST_BYTES = 32 * 1024 * 1024  # of all files together
LARGEST_FILE = 4 * 1024 * 1024
FRESH = 'schema: "1.0.0"\nid: {slug}\ndescription: A new formation\n'
FORMATION_FILE = "formation.afs"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL


def init_draft(actor: Actor, slug: str, *, clone: bool) -> FormationDraft:
    """A draft with one small file, or (`clone`) with the files of what is deployed.

    Raises BundleError (the id), DraftExists, LiveNotFound, ArchiveRefused, DraftTooLarge.
    """
    need_deployer(actor)
    checked_id(slug)
    if clone:
        live = current_version(actor, slug)
        if live is None:
            raise LiveNotFound
        with archive.opened(live.storage_key) as root:
            return _make(actor, slug, archive.files_below(root), live.version)
    fresh = {FORMATION_FILE: FRESH.format(slug=slug).encode()}
    return _make(actor, slug, fresh, "")


@transaction.atomic
def _make(actor: Actor, slug: str, files: Mapping[str, bytes], base_version: str) -> FormationDraft:
    draft = FormationDraft(workspace_id=actor.workspace_id, slug=slug, base_version=base_version)
    try:
        with transaction.atomic():
            draft.save(force_insert=True)
    except IntegrityError:
        raise DraftExists from None
    if len(files) > MOST_FILES or sum(map(len, files.values())) > MOST_BYTES:
        raise DraftTooLarge
    DraftFile.objects.in_workspace(actor.workspace_id).bulk_create(
        DraftFile(workspace_id=actor.workspace_id, draft=draft, path=path, content=content)
        for path, content in files.items()
    )
    _tell(actor, draft, "init")
    return draft


@transaction.atomic
def write_draft_file(actor: Actor, slug: str, path: str, content: bytes) -> None:
    """Write one file, its folders with it. Raises DraftNotFound, DraftPathInvalid, DraftTooLarge."""
    need_deployer(actor)
    path = archive.checked_path(path)
    draft = _locked(actor, slug)
    if len(content) > LARGEST_FILE:
        raise DraftTooLarge(f"A file of a draft has at most {LARGEST_FILE} bytes.")
    files = DraftFile.objects.in_workspace(actor.workspace_id).filter(draft=draft)
    _refuse_folder_in_the_way(files, path)
    files.update_or_create(
        path=path,
        defaults={"content": content},
        create_defaults={
            "workspace_id": actor.workspace_id,
            "draft": draft,
            "content": content,
        },
    )
    whole = files.order_by().aggregate(files=Count("id"), size=Sum(Length("content")))
    if whole["files"] > MOST_FILES or whole["size"] > MOST_BYTES:
        raise DraftTooLarge
    _tell(actor, draft, "write", path)


@transaction.atomic
def delete_draft_file(actor: Actor, slug: str, path: str) -> None:
    """Delete a file, or a folder with all that is in it. Raises DraftNotFound, DraftFileNotFound."""
    need_deployer(actor)
    path = archive.checked_path(path)
    draft = _locked(actor, slug)
    files = DraftFile.objects.in_workspace(actor.workspace_id).filter(draft=draft)
    gone = files.filter(Q(path=path) | Q(path__startswith=f"{path}/"))
    if not gone.exists():
        raise DraftFileNotFound
    gone.delete()
    _tell(actor, draft, "delete", path)


@transaction.atomic
def discard_draft(actor: Actor, slug: str) -> None:
    """Forget the draft and its files. Raises DraftNotFound, DraftRunning."""
    need_deployer(actor)
    draft = _locked(actor, slug)
    if draft.home_id is not None:
        raise DraftRunning("The draft is running: stop it first.")
    _tell(actor, draft, "discard")
    draft.delete()


def deploy_draft(actor: Actor, slug: str) -> Steps:
    """Deploy the draft: as a new formation, or as an update of the one it was cloned from.

    The draft stays until it is discarded. Raises what `deploy` and `update` raise, and DeployConflict.
    """
    need_deployer(actor)
    live = current_version(actor, slug)
    draft = find_draft(actor, slug)
    if live is not None and draft.base_version and draft.base_version != live.version:
        raise DeployConflict
    with packed_draft(actor, draft) as bundle:
        verb = deploy if live is None else update
        outcome = yield from verb(actor, bundle, slug=slug)
    FormationDraft.objects.in_workspace(actor.workspace_id).filter(pk=draft.pk).update(
        base_version=outcome.version
    )
    return outcome


@contextmanager
def packed_draft(actor: Actor, draft: FormationDraft) -> Iterator[IO[bytes]]:
    """The draft as an archive."""
    with (
        written_draft(actor, draft) as root,
        archive.packed(root, draft.slug, with_key=True) as made,
    ):
        yield made


@contextmanager
def written_draft(actor: Actor, draft: FormationDraft) -> Iterator[Path]:
    """The files of a draft in a temporary folder.

    Without a `.key` of its own it has the secrets of the deployed version: a clone carries no key.
    """
    files = DraftFile.objects.in_workspace(actor.workspace_id).filter(draft=draft)
    with tempfile.TemporaryDirectory(prefix="polymux-draft-") as folder:
        root, names = Path(folder), set()
        for path, content in files.values_list("path", "content"):
            _write(root, path, bytes(content))
            names.add(path)
        live = current_version(actor, draft.slug)
        if KEY not in names and live is not None:
            seal_secrets(root, secrets_of(actor, live))
        yield root


def current_version(actor: Actor, slug: str) -> FormationVersion | None:
    """What is deployed under this id, by this workspace."""
    rows = Formation.objects.in_workspace(actor.workspace_id).filter(slug=slug)
    formation = rows.select_related("current").first()
    return formation.current if formation else None


def _refuse_folder_in_the_way(files: QuerySet[DraftFile], path: str) -> None:
    parts = path.split("/")
    above = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
    if files.filter(Q(path__in=above) | Q(path__startswith=f"{path}/")).exists():
        raise DraftPathInvalid("A file and a folder cannot have the same name.")


def _write(root: Path, path: str, content: bytes) -> None:
    folder, _, _ = path.rpartition("/")
    if folder:
        mkdirs_inside(root, folder)
    with os.fdopen(open_inside(root, path, _NEW), "wb") as file:
        file.write(content)


def _locked(actor: Actor, slug: str) -> FormationDraft:
    rows = FormationDraft.objects.in_workspace(actor.workspace_id).filter(slug=slug)
    draft = rows.select_for_update(no_key=True).first()
    if draft is None:
        raise DraftNotFound
    found: FormationDraft = draft
    return found


def _tell(actor: Actor, draft: FormationDraft, action: str, path: str = "") -> None:
    record_change(
        actor, f"formation_draft.{action}", "formation_draft", draft.pk, after={"path": path}
    )
    publish(actor, DraftChanged(formation=draft.slug, action=action, path=path))
