"""A running formation with its home, keys and document, and a client in front of it.

`make_formation(aurora.ada)` makes the rows without a deploy; `client.get("/v1/agents", key="admin")`
asks its own table of contents as `polymux/asgi.py` would. For streams and sockets use the address
`/api/{slug}` of a server (`tests/support/serving.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.test import Client

from apps.core.actor import Actor, Caller, CallerKind, Scope
from apps.core.clock import now
from apps.formations import registry
from apps.formations.models import Formation, FormationPort, FormationStatus, FormationVersion
from apps.surfaces.kit import FormationRef
from apps.workspaces.credentials import actor_in
from apps.workspaces.models import TokenKind
from apps.workspaces.services import create_workspace, issue_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from django.http import HttpResponse

MANY_USERS = {"memory": {"persistent": {"multi_user": True}}}
JSON = "application/json"


@dataclass(frozen=True)
class Made:
    """A formation: the row, its keys, its home and a client that speaks to it.

    `home_owner` is the deployer in the home: an Actor with all rights there.
    """

    formation: Formation
    admin_key: str
    client_key: str
    home_owner: Actor
    ref: FormationRef
    client: Client = field(default_factory=lambda: Client(raise_request_exception=False))

    @property
    def home_id(self) -> UUID:
        return self.ref.home_id

    @property
    def slug(self) -> str:
        return self.ref.slug

    def headers(self, key: str = "client", user: str = "", **more: str) -> dict[str, str]:
        """`key`: admin, client, nobody, or a header's whole text as `admin:fma_…`."""
        kind, _, raw = key.partition(":")
        raw = raw or {"admin": self.admin_key, "client": self.client_key}.get(kind, "")
        said = {f"X-MUXI-{kind.upper()}-KEY": raw} if raw else {}
        return said | ({"X-Muxi-User-ID": user} if user else {}) | more

    def ask(
        self, method: str, path: str, body: Any = None, *, key: str = "client", user: str = ""
    ) -> HttpResponse:
        """One request with what follows the formation's address as its path."""
        return self.client.generic(
            method,
            path,
            b"" if body is None else _dumped(body),
            JSON,
            headers=self.headers(key, user),
            **{"polymux.formation": self.ref},
        )

    def get(self, path: str, **who: str) -> HttpResponse:
        return self.ask("GET", path, **who)

    def post(self, path: str, body: Any = None, **who: str) -> HttpResponse:
        return self.ask("POST", path, body, **who)

    def put(self, path: str, body: Any = None, **who: str) -> HttpResponse:
        return self.ask("PUT", path, body, **who)

    def delete(self, path: str, **who: str) -> HttpResponse:
        return self.ask("DELETE", path, **who)


def _dumped(body: Any) -> bytes:
    import json

    return body if isinstance(body, bytes) else json.dumps(body).encode()


def document_of(**changes: Any) -> dict[str, Any]:
    """A document of one agent `helper`; `config` is laid over the formation file."""
    config = {
        "schema": "1.0.0",
        "id": "team",
        "name": "Team",
        "description": "Answers.",
        "version": "1.0.0",
    }
    config |= changes.pop("config", {})
    helper = {
        "id": "helper",
        "name": "Helper",
        "description": "Answers short questions",
        "system_message": "Answer in one sentence.",
        "mcp_servers": [],
        "active": True,
        "source": "formation",
    }
    empty: dict[str, Any] = {
        "config": config,
        "agents": [helper],
        "mcp": [],
        "a2a": [],
        "triggers": {},
        "sops": {},
        "skills": {},
        "knowledge": [],
        "secrets_used": [],
        "files": [],
    }
    return empty | changes


def make_formation(
    owner: Actor,
    slug: str = "team",
    *,
    document: Mapping[str, Any] | None = None,
    port: int | None = None,
    status: str = FormationStatus.RUNNING.value,
) -> Made:
    """A formation that `owner` (of the cast) has deployed, with its home and both keys.

    The agents of the document are no rows: make those you need with `create_agent(home_owner, …)`.
    """
    person = Caller(CallerKind.LOGIN, Scope.ADMIN, user_id=owner.user_id)
    home = create_workspace(
        person, name=slug.title(), slug=f"home-of-{slug}", parent_id=owner.workspace_id
    )
    document = dict(document or document_of(config={"id": slug, **MANY_USERS}))
    formation = _rows(owner, slug, home.pk, document, status)
    if port is not None:
        FormationPort(workspace_id=owner.workspace_id, formation=formation, port=port).save()
    home_owner = actor_in(person, home.pk)
    _, admin_key = issue_key(home_owner, kind=TokenKind.ADMIN_KEY, name="admin")
    _, client_key = issue_key(home_owner, kind=TokenKind.CLIENT_KEY, name="client")
    registry.forget(slug)
    return Made(formation, admin_key, client_key, home_owner, FormationRef(slug, home.pk))


def _rows(owner: Actor, slug: str, home_id: UUID, document: Any, status: str) -> Formation:
    moment = now()
    formation = Formation(
        workspace_id=owner.workspace_id,
        slug=slug,
        name=str(document["config"].get("name") or slug),
        home_id=home_id,
        status=status,
        deployments=1,
        generation=1,
        started_at=moment,
        deployed_at=moment,
    )
    formation.save()
    version = FormationVersion(
        workspace_id=owner.workspace_id,
        formation=formation,
        number=1,
        version=str(document["config"].get("version") or "1.0.0"),
        bundle_hash="0" * 64,
        document=document,
        storage_key=f"formations/{slug}/1.tar.gz",
        size=0,
    )
    version.save()
    formation.current = version
    formation.save(update_fields=["current"])
    return formation
