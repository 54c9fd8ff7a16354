"""Secrets and the audit log of a formation (contract/muxi.md §5.9): admin key only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers

from apps.accounts.selectors import list_audit_view
from apps.accounts.services import MOST_COUNTED, clear_audit_view
from apps.core.clock import rfc3339
from apps.core.errors import InvalidInput
from apps.core.masking import masked
from apps.surfaces.muxi_formation import ADMIN
from apps.surfaces.parsing import StrictSerializer, Text
from apps.surfaces.views import MuxiFormationView
from apps.workspaces import selectors, services
from apps.workspaces.keeping import as_in_a_file
from apps.workspaces.vault import opened_secrets

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from rest_framework.request import Request
    from rest_framework.response import Response

    from apps.accounts.models import AuditEntry
    from apps.core.actor import Actor

LONGEST_VALUE = 64 * 1024  # characters
CONFIRMATION = "clear-audit-log"
# resource_type here -> how the record calls it.
SUBJECTS = {
    "agent": "agent",
    "secret": "secret",
    "mcp_server": "mcp_server",
    "scheduler_job": "schedule",
    "logging_destination": "logging_destination",
    "async": "async",
    "memory": "memory",
}
NAMED = frozenset({"agent", "secret", "mcp_server"})
RESOURCES = {subject: name for name, subject in SUBJECTS.items()}
_FILTERS = [
    OpenApiParameter("limit", int, description="1-1000, default 100"),
    OpenApiParameter("action", str, description="Such as agent.created"),
    OpenApiParameter("resource_type", str, enum=list(SUBJECTS)),
    OpenApiParameter("since", OpenApiTypes.DATETIME),
]


class SecretValue(StrictSerializer):
    value = Text(max_length=LONGEST_VALUE)


class SecretBody(SecretValue):
    key = Text(max_length=200)


class AuditQuery(StrictSerializer):
    refuses_unknown: ClassVar[bool] = False

    limit = serializers.IntegerField(min_value=1, max_value=1000, default=100)
    action = serializers.CharField(max_length=80, required=False)
    resource_type = serializers.ChoiceField(list(SUBJECTS), required=False)
    since = serializers.DateTimeField(required=False)


class SecretsView(MuxiFormationView):
    realm = ADMIN
    takes = {"POST": SecretBody}
    gives = {"POST": {201: OpenApiTypes.OBJECT}}

    def get(self, request: Request, **_: str) -> Response:
        shown = shown_values(self.actor)
        return self.enveloped("secret_list", "secret.list", {"secrets": shown, "count": len(shown)})

    def post(self, request: Request, **_: str) -> Response:
        body = SecretBody.read(request.data)
        secret = services.create_secret(self.actor, as_in_a_file(body["key"]), body["value"])
        shown = {"key": secret.name, "value": masked(body["value"])}
        return self.enveloped("secret", "secret.created", shown, 201)


class SecretView(MuxiFormationView):
    """A name in the path is read as one in the file: `openai-key` is `OPENAI_KEY`."""

    realm = ADMIN
    takes = {"PUT": SecretValue}

    def get(self, request: Request, key: str, **_: str) -> Response:
        name = selectors.get_secret(self.actor, as_in_a_file(key)).name
        shown = {"key": name, "value": shown_values(self.actor, name)[name]}
        return self.enveloped("secret", "secret.retrieved", shown)

    def put(self, request: Request, key: str, **_: str) -> Response:
        """Sets the secret, whether or not there is one (contract C13)."""
        value = SecretValue.read(request.data)["value"]
        secret, new = services.set_secret(self.actor, as_in_a_file(key), value)
        done = "secret.created" if new else "secret.updated"
        return self.enveloped("secret", done, {"key": secret.name, "value": masked(value)})

    def delete(self, request: Request, key: str, **_: str) -> Response:
        name = as_in_a_file(key)
        services.delete_secret(self.actor, name)
        return self.enveloped("secret", "secret.deleted", {"key": name, "deleted": True})


class AuditView(MuxiFormationView):
    realm = ADMIN

    @extend_schema(parameters=_FILTERS)
    def get(self, request: Request, **_: str) -> Response:
        asked = AuditQuery.read(dict(self.admission.credentials.query))
        rows = filtered(list_audit_view(self.actor), asked)
        shown = {
            "entries": [entry_json(row) for row in rows[: asked["limit"]]],
            "total_entries": rows[:MOST_COUNTED].count(),
            "limit": asked["limit"],
        }
        return self.enveloped("audit_log", "audit.retrieved", shown)

    @extend_schema(
        parameters=[OpenApiParameter("confirm", str, required=True, enum=[CONFIRMATION])],
        responses={200: OpenApiTypes.OBJECT},
    )
    def delete(self, request: Request, **_: str) -> Response:
        """What was shown so far is shown no more; the installation's record keeps it."""
        if self.admission.credentials.query.get("confirm") != CONFIRMATION:
            raise InvalidInput(f"Confirm with ?confirm={CONFIRMATION}.")
        shown = {
            "previous_entries_count": clear_audit_view(self.actor),
            "cleared_by": "admin",
            "message": "The audit log has been cleared.",
        }
        return self.enveloped("audit_log", "audit.cleared", shown)


def shown_values(actor: Actor, *names: str) -> dict[str, str]:
    """Name -> masked value, by name; of `names` only, when given. Dots alone where the key that sealed
    a value is gone. Two queries.
    """
    known = names or [secret.name for secret in selectors.list_secrets(actor)]
    values = opened_secrets(actor.workspace_id, known)
    return {name: masked(values.get(name, "")) for name in known}


def filtered(rows: QuerySet[AuditEntry], asked: dict[str, Any]) -> QuerySet[AuditEntry]:
    if action := asked.get("action"):
        rows = rows.filter(action=action)
    if resource := asked.get("resource_type"):
        rows = rows.filter(subject_type=SUBJECTS[resource])
    if since := asked.get("since"):
        rows = rows.filter(created_at__gte=since)
    return rows


def entry_json(row: AuditEntry) -> dict[str, Any]:
    """One entry (contract §5.9). Only what was done is recorded, so each is a success."""
    shown = {
        "timestamp": rfc3339(row.created_at),
        "request_id": row.request_id or None,
        "action": row.action,
        "resource_type": RESOURCES.get(row.subject_type, row.subject_type),
        "resource_id": resource_id(row),
        "user": str(row.user_id) if row.user_id else _WHO.get(row.actor_kind, row.actor_kind),
        "ip": row.ip,
        "result": "success",
        "status_code": 201 if row.action.endswith((".created", ".added")) else 200,
        "message": f"{row.subject_type} {resource_id(row)}: {row.action.rpartition('.')[2]}",
    }
    data = {name: value for name in ("before", "after") if (value := getattr(row, name))}
    return shown | ({"data": data} if data else {})


def resource_id(row: AuditEntry) -> str:
    """What this surface calls by name goes by its name here, too."""
    named = (row.after or row.before or {}).get("name") if row.subject_type in NAMED else None
    return str(named or row.subject_id)


_WHO = {"key": "admin"}  # a key is nobody's in particular


urlpatterns = [
    path("v1/secrets", SecretsView.as_view()),
    path("v1/secrets/<path:key>", SecretView.as_view()),
    path("v1/audit", AuditView.as_view()),
]
