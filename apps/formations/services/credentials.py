"""What end users brought for services their agents use: sealed, shown by a preview (contract/muxi.md §5.8)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.accounts.audit import record_change
from apps.core import crypto
from apps.core.actor import Scope
from apps.core.errors import InvalidInput
from apps.core.ids import uuid7
from apps.events.services import publish
from apps.formations.errors import TooMany
from apps.formations.events import CredentialAdded, CredentialRemoved
from apps.formations.models import UserCredential
from apps.formations.selectors import get_credential
from apps.formations.user_credentials import preview_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from apps.core.actor import Actor

MOST_CREDENTIALS = 100  # of one end user
MAX_BYTES = 16 * 1024  # of one, as JSON
LONGEST_SERVICE = 100
LONGEST_NAME = 200


@transaction.atomic
def add_credential(
    actor: Actor, end_user: str, service: str, credential: Mapping[str, Any], *, name: str = ""
) -> UserCredential:
    """Keep a credential of `end_user`. Raises InvalidInput, TooMany."""
    actor.need(Scope.WRITE)
    service = _service(service)
    _check(name, credential)
    mine = UserCredential.objects.in_workspace(actor.workspace_id).filter(end_user=end_user)
    if mine.count() >= MOST_CREDENTIALS:
        raise TooMany
    row = UserCredential(
        id=uuid7(),
        workspace_id=actor.workspace_id,
        end_user=end_user,
        service=service,
        name=name,
        preview=preview_of(credential),
    )
    row.sealed = crypto.seal(json.dumps(dict(credential)).encode(), context=_context(row))
    row.save(force_insert=True)
    record_change(actor, "credential.created", "credential", row.pk, after=_shown(row))
    publish(actor, CredentialAdded(credential_id=row.pk, end_user=end_user, service=service))
    return row


@transaction.atomic
def remove_credential(actor: Actor, end_user: str, credential_id: UUID) -> None:
    """Only whose it is may. Raises CredentialNotFound."""
    actor.need(Scope.WRITE)
    row = get_credential(actor, end_user, credential_id)
    UserCredential.objects.in_workspace(actor.workspace_id).filter(pk=row.pk).delete()
    record_change(actor, "credential.deleted", "credential", credential_id, before=_shown(row))
    fact = CredentialRemoved(credential_id=credential_id, end_user=end_user, service=row.service)
    publish(actor, fact)


def opened_credential(actor: Actor, end_user: str, service: str) -> dict[str, Any] | None:
    """The newest one `end_user` brought for `service`, in the clear: for a connection only."""
    actor.need(Scope.READ)
    rows = UserCredential.objects.in_workspace(actor.workspace_id)
    mine = rows.filter(end_user=end_user, service=service.lower())
    row = mine.order_by("-created_at", "-id").first()
    if row is None:
        return None
    opened: dict[str, Any] = json.loads(crypto.open_sealed(row.sealed, context=_context(row)))
    return opened


def _context(row: UserCredential) -> str:
    return crypto.context_of(row.workspace_id, "formations_usercredential", row.pk, "sealed")


def _service(service: str) -> str:
    service = service.strip().lower()
    if not 0 < len(service) <= LONGEST_SERVICE or any(char.isspace() for char in service):
        raise InvalidInput(f"service: 1 to {LONGEST_SERVICE} characters without blanks.")
    return service


def _check(name: str, credential: Mapping[str, Any]) -> None:
    if len(name) > LONGEST_NAME:
        raise InvalidInput(fields={"name": [f"At most {LONGEST_NAME} characters."]})
    if not credential or len(json.dumps(dict(credential))) > MAX_BYTES:
        raise InvalidInput(fields={"credential": [f"Not empty, at most {MAX_BYTES} bytes."]})


def _shown(row: UserCredential) -> dict[str, Any]:
    return {"end_user": row.end_user, "service": row.service, "name": row.name}
