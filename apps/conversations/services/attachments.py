"""Files of a session. Bytes go to the file storage before the row exists, never the other way."""

from __future__ import annotations

import mimetypes
import re
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import transaction

from apps.accounts.services import record_change
from apps.conversations.errors import SessionEnded
from apps.conversations.events import FileAttached, FileRemoved
from apps.conversations.models import Attachment, SessionStatus
from apps.conversations.selectors import get_attachment, get_session
from apps.core.actor import Scope
from apps.core.errors import Conflict, InvalidInput, TooLarge
from apps.core.ids import uuid7
from apps.events.services import publish

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from django.core.files.base import File

    from apps.core.actor import Actor

MAX_FILES = 200
_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\]")


def attach_file(actor: Actor, session_id: UUID, upload: File[bytes]) -> Attachment:
    """Store `upload` (name, size, chunks) in the session. Raises TooLarge, Conflict at 200 files."""
    actor.need(Scope.WRITE)
    session = get_session(actor, session_id)
    if session.status == SessionStatus.ENDED:
        raise SessionEnded
    if (upload.size or 0) > settings.MAX_UPLOAD_BYTES:
        raise TooLarge(max_upload_size=settings.MAX_UPLOAD_BYTES)
    row = store_file(actor, session_id, upload)
    try:
        _add_row(actor, row)
    except BaseException:
        default_storage.delete(row.storage_key)
        raise
    return row


def store_file(
    actor: Actor, session_id: UUID, upload: File[bytes], *, mime_type: str = ""
) -> Attachment:
    """The bytes, kept, and the row that is to name them. `mime_type`: else what the name says."""
    name = _clean_name(upload.name or "")
    row = Attachment(
        id=uuid7(),
        workspace_id=actor.workspace_id,
        session_id=session_id,
        name=name,
        mime_type=mime_type or mimetypes.guess_type(name)[0] or "application/octet-stream",
        size=upload.size or 0,
        user_id=actor.user_id,
    )
    place = f"sessions/{actor.workspace_id}/{session_id}/{row.pk}"
    row.storage_key = default_storage.save(place, upload)
    return row


def discard_files(actor: Actor, files: Iterable[Attachment]) -> None:
    """The bytes of rows that never came to be."""
    for row in files:
        if row.workspace_id == actor.workspace_id:
            default_storage.delete(row.storage_key)


@transaction.atomic
def _add_row(actor: Actor, row: Attachment) -> None:
    from apps.conversations.services.sessions import lock_session

    session = lock_session(actor, row.session_id)  # its files are counted under the lock
    if session.status == SessionStatus.ENDED:
        raise SessionEnded
    files = Attachment.objects.in_workspace(actor.workspace_id).filter(session_id=row.session_id)
    if files.count() >= MAX_FILES:
        raise Conflict(f"A session holds at most {MAX_FILES} files.")
    row.save(force_insert=True)
    record_change(
        actor, "file.attached", "file", row.pk, after={"name": row.name, "size": row.size}
    )
    publish(actor, FileAttached(session_id=row.session_id, file_id=row.pk, file_name=row.name))


def _clean_name(name: str) -> str:
    """The last path segment, without control characters; refused when nothing is left."""
    clean = _UNSAFE.sub("_", name.replace("\\", "/").rsplit("/", 1)[-1]).strip(". ")
    if not clean:
        raise InvalidInput(fields={"file": ["The file needs a name."]})
    return clean[-255:]


def remove_file(actor: Actor, session_id: UUID, file_id: UUID) -> None:
    """Forget the file; its bytes go after the commit."""
    actor.need(Scope.WRITE)
    with transaction.atomic():
        row = get_attachment(actor, session_id, file_id)
        key = row.storage_key
        row.delete()
        record_change(actor, "file.removed", "file", file_id, before={"name": row.name})
        publish(actor, FileRemoved(session_id=session_id, file_id=file_id))
        transaction.on_commit(lambda: default_storage.delete(key), robust=True)
