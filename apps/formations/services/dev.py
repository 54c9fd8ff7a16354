"""Dev mode: a draft that runs beside what is deployed (contract/muxi.md §3.9)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import IntegrityError, transaction

from apps.accounts.audit import record_change
from apps.core.ids import uuid7
from apps.events.services import publish
from apps.formations import archive, bundles, reading
from apps.formations.claiming import forget_after_commit, need_deployer
from apps.formations.errors import DraftNotFound, DraftPathInvalid, DraftRunning
from apps.formations.events import DraftChanged
from apps.formations.models import DraftFile, FormationDraft
from apps.formations.selectors import find_draft
from apps.formations.services.applying import Applied, apply_document, check_may_apply
from apps.formations.services.drafts import written_draft
from apps.formations.services.ports import free_port
from apps.workspaces.services import create_home, remove_home

if TYPE_CHECKING:
    from apps.core.actor import Actor
    from apps.formations.bundles import Bundle


def run_draft(actor: Actor, slug: str) -> tuple[FormationDraft, Applied]:
    """Run the stored draft. Raises DraftNotFound, DraftRunning, BundleError, NoFreePort and what
    applying raises.
    """
    need_deployer(actor)
    draft = find_draft(actor, slug)
    with written_draft(actor, draft) as root:
        return _carry(actor, root)


def run_folder(actor: Actor, path: str) -> tuple[FormationDraft, Applied]:
    """Run what lies in a folder of this machine, below POLYMUX_FORMATION_DEV_FOLDERS. As `run_draft`,
    and DraftPathInvalid.
    """
    need_deployer(actor)
    return _carry(actor, _allowed(path))


def _carry(actor: Actor, root: Path) -> tuple[FormationDraft, Applied]:
    """Read the folder; its archive is kept only where programs of it will run."""
    bundle = bundles.read(root)
    if not reading.runs_programs(bundle.document):
        return _run(actor, bundle, "")
    check_may_apply(actor, bundle.document)
    place = f"formations/{actor.workspace_id}/{bundle.id}/draft-{uuid7()}.tar.gz"
    key, _ = archive.keep(root, bundle.id, place)
    try:
        return _run(actor, bundle, key)
    except BaseException:
        archive.discard(key)
        raise


@transaction.atomic
def stop_draft(actor: Actor, slug: str) -> FormationDraft:
    """Stop it: its home is absent from now on, its port free. Raises DraftNotFound."""
    need_deployer(actor)
    draft = _locked(actor, slug)
    if draft is None or draft.home_id is None:
        raise DraftNotFound("No draft of this formation is running.")
    home_id, key = draft.home_id, (draft.document or {}).get("storage_key")
    draft.home, draft.port, draft.document = None, None, None
    draft.generation += 1
    draft.save()
    remove_home(actor, home_id)
    _tell(actor, draft, "stop")
    if key:
        transaction.on_commit(partial(archive.discard, key), robust=True)
    files = DraftFile.objects.in_workspace(actor.workspace_id).filter(draft=draft)
    if not files.exists():  # it ran from a folder: nothing is left to edit
        FormationDraft.objects.in_workspace(actor.workspace_id).filter(pk=draft.pk).delete()
    return draft


@transaction.atomic
def _run(actor: Actor, bundle: Bundle, storage_key: str) -> tuple[FormationDraft, Applied]:
    draft = _locked(actor, bundle.id) or _made(actor, bundle.id)
    if draft.home_id is not None:
        raise DraftRunning
    home = create_home(actor, name=f"{bundle.name} (draft)", slug=f"draft-{bundle.id}")
    draft.home, draft.port = home, free_port(actor)
    draft.document = {**bundle.document, "storage_key": storage_key}
    draft.generation += 1
    draft.save()
    inside = replace(actor, workspace_id=home.pk, role=None)
    applied = apply_document(inside, bundle.document, bundle.secrets, storage_key=storage_key)
    _tell(actor, draft, "run")
    return draft, applied


def _made(actor: Actor, slug: str) -> FormationDraft:
    """For a run from a folder; DraftRunning when it is another workspace's."""
    draft = FormationDraft(workspace_id=actor.workspace_id, slug=slug)
    try:
        with transaction.atomic():
            draft.save(force_insert=True)
    except IntegrityError:
        raise DraftRunning from None
    return draft


def _locked(actor: Actor, slug: str) -> FormationDraft | None:
    rows = FormationDraft.objects.in_workspace(actor.workspace_id).filter(slug=slug)
    draft: FormationDraft | None = rows.select_for_update(no_key=True).first()
    return draft


def _allowed(path: str) -> Path:
    """The folder itself: what the operator has opened, and no link out of it."""
    if "\x00" in path or not Path(path).is_absolute():
        raise DraftPathInvalid
    folder = Path(path).resolve()
    opened = [Path(each).resolve() for each in settings.FORMATION_DEV_FOLDERS]
    if not any(folder.is_relative_to(each) for each in opened) or not folder.is_dir():
        raise DraftPathInvalid(
            "The operator has not opened this folder: POLYMUX_FORMATION_DEV_FOLDERS names those."
        )
    return folder


def _tell(actor: Actor, draft: FormationDraft, action: str) -> None:
    record_change(
        actor, f"formation_draft.{action}", "formation_draft", draft.pk, after={"port": draft.port}
    )
    publish(actor, DraftChanged(formation=draft.slug, action=action))
    forget_after_commit(draft.slug)
