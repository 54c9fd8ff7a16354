"""Sessions, messages and files on the polymux surface (contract/polymux.md §4.4)."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.response import Response

from apps.conversations import selectors, services
from apps.conversations.api import shapes
from apps.conversations.models import EndReason, SessionStatus
from apps.conversations.wire import (
    attachment_json,
    message_json,
    session_json,
    session_row_json,
    session_rows,
)
from apps.core.errors import InvalidInput
from apps.core.ids import parse_id, parse_session_id
from apps.core.paging import NEWEST_FIRST
from apps.surfaces.doors import first_workspace
from apps.surfaces.parsing import StrictSerializer
from apps.surfaces.polymux import page_of
from apps.surfaces.views import PolymuxView
from apps.workspaces.selectors import token_limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from django.db.models import QuerySet
    from rest_framework.request import Request

    from apps.conversations.models import Session
    from apps.core.actor import Actor, Caller
    from apps.core.prepared import Prepared
    from apps.surfaces.kit import Where

PAGING = [
    OpenApiParameter("limit", int, description="1-200, default 50"),
    OpenApiParameter("cursor", str),
]


# --- Bodies -----------------------------------------------------------------------------------
class WireId(serializers.CharField):
    """An id as `prefix_…` or a plain UUID; validated into a UUID."""

    def __init__(self, prefix: str, **kwargs: Any) -> None:
        self.prefix = prefix
        super().__init__(max_length=80, **kwargs)

    def to_internal_value(self, data: Any) -> UUID:  # type: ignore[override]  # text in, UUID out
        return parse_id(self.prefix, super().to_internal_value(data))


class Labels(serializers.DictField):
    """`metadata`: at most 16 keys, text to text."""

    child = serializers.CharField(max_length=512, allow_blank=True)

    def to_internal_value(self, data: Any) -> dict[str, str]:
        value: dict[str, str] = super().to_internal_value(data)
        if len(value) > 16 or any(len(key) > 64 for key in value):
            raise serializers.ValidationError("At most 16 keys of at most 64 characters.")
        return value


class AttachedFile(StrictSerializer):
    id = WireId("file")
    name = serializers.CharField(max_length=255, required=False)


class NewSession(StrictSerializer):
    workspace_id = serializers.CharField(max_length=80, required=False)
    title = serializers.CharField(max_length=200, default="New Workflow")
    workflow_id = WireId("wf", required=False, allow_null=True)
    prompt = serializers.CharField(max_length=100_000, required=False, trim_whitespace=False)
    attachments = AttachedFile(many=True, required=False)
    browser_mode = serializers.ChoiceField(["server", "extension"], default="server")
    token_budget = serializers.IntegerField(
        min_value=1, max_value=2**31 - 1, required=False, allow_null=True
    )
    metadata = Labels(required=False)


class SessionChanges(StrictSerializer):
    title = serializers.CharField(max_length=200, required=False)
    metadata = Labels(required=False)
    browser_mode = serializers.ChoiceField(["server", "extension"], required=False)
    humanize = serializers.BooleanField(required=False)
    cloaked = serializers.BooleanField(required=False)


class Ending(StrictSerializer):
    reason = serializers.ChoiceField(
        [EndReason.COMPLETED, EndReason.STOPPED], default=EndReason.STOPPED
    )


class NewMessage(StrictSerializer):
    content = serializers.CharField(max_length=100_000, trim_whitespace=False)
    message_id = serializers.UUIDField(required=False)
    attachments = AttachedFile(many=True, required=False)
    agent_id = serializers.CharField(max_length=120, required=False, allow_null=True)
    replaces_message_id = serializers.UUIDField(required=False, allow_null=True)


# --- Views ------------------------------------------------------------------------------------
class ConversationView(PolymuxView):
    """What the views below share."""

    @property
    def session_id(self) -> UUID:
        return parse_session_id(str(self.kwargs["session_id"]))[1]

    @cached_property
    def base(self) -> str:
        return f"{self.request.scheme}://{self.request.get_host()}"

    def page(
        self,
        rows: QuerySet[Any] | Prepared,
        shape: Callable[[Any], dict[str, Any]],
        query: str,
        order: tuple[str, ...] = NEWEST_FIRST,
    ) -> Response:
        """One page of `rows`; `query` says by what they are filtered."""
        name, workspace_id = f"{self.request.path}?{query}", self.actor.workspace_id
        asked = self.admission.credentials.query
        return Response(
            page_of(rows, shape, asked, name=name, workspace_id=workspace_id, order=order)
        )

    def session(self, session: Session, **extra: Any) -> dict[str, Any]:
        return session_json(session, base=self.base) | extra


class SessionsView(ConversationView):
    """`/sessions` and `/workspaces/{workspace_id}/sessions`."""

    def workspace_of(self, caller: Caller) -> Where:
        if "workspace_id" in self.kwargs:
            return str(self.kwargs["workspace_id"])
        if self.request.method == "GET" and (
            asked := self.request.query_params.get("workspace_id")
        ):
            return str(asked)
        if self.request.method == "POST" and caller.workspace_id is None:
            return None  # the body says it; looked at after scope, as every body
        return first_workspace(caller)

    @extend_schema(
        operation_id="list_sessions",
        parameters=[
            *PAGING,
            OpenApiParameter("status", str, enum=list(SessionStatus.values)),
            OpenApiParameter("workflow_id", str),
            OpenApiParameter("workspace_id", str),
        ],
        responses=shapes.SessionPage,
    )
    def get(self, request: Request, **_: Any) -> Response:
        asked = request.query_params
        status, workflow = asked.get("status"), asked.get("workflow_id")
        if status and status not in SessionStatus.values:
            raise InvalidInput(fields={"status": [f"One of {', '.join(SessionStatus.values)}."]})
        rows = selectors.list_sessions(
            self.actor, status=status, workflow_id=parse_id("wf", workflow) if workflow else None
        )
        shape = partial(session_row_json, base=self.base)
        return self.page(rows.through(session_rows), shape, f"{status}&{workflow}")

    @extend_schema(
        operation_id="create_session", request=NewSession, responses={201: shapes.CreatedSession}
    )
    def post(self, request: Request, **_: Any) -> Response:
        fields = NewSession.read(request.data)
        actor = self._actor_for(fields.pop("workspace_id", None))
        limit = token_limits(actor.token_id).max_sessions if actor.token_id else None
        session, raw = services.create_session(actor, max_active=limit, **fields)
        body = self.session(session, session_token=raw)
        return Response(body, status=201, headers={"Location": f"/sessions/{body['id']}"})

    def _actor_for(self, workspace: str | None) -> Actor:
        if self.admission.actor is None:
            if not workspace:
                raise InvalidInput(fields={"workspace_id": ["This field is required."]})
            self.admission.actor = self.surface.enter(self.caller, workspace)
        elif workspace and parse_id("ws", workspace) != self.actor.workspace_id:
            self.surface.enter(self.caller, workspace)  # raises: the token is for another workspace
            raise InvalidInput(fields={"workspace_id": ["This is not the workspace of the path."]})
        return self.actor


class SessionView(ConversationView):
    @extend_schema(operation_id="get_session", responses=shapes.SessionBody)
    def get(self, request: Request, **_: Any) -> Response:
        return Response(self.session(selectors.get_session(self.actor, self.session_id)))

    @extend_schema(
        operation_id="update_session", request=SessionChanges, responses=shapes.SessionBody
    )
    def patch(self, request: Request, **_: Any) -> Response:
        changes = SessionChanges.read(request.data, partial=True)
        return Response(
            self.session(services.update_session(self.actor, self.session_id, **changes))
        )

    @extend_schema(operation_id="delete_session", responses={204: None})
    def delete(self, request: Request, **_: Any) -> Response:
        services.delete_session(self.actor, self.session_id)
        return Response(status=204)


class EndView(ConversationView):
    @extend_schema(operation_id="end_session", request=Ending, responses=shapes.SessionBody)
    def post(self, request: Request, **_: Any) -> Response:
        reason = Ending.read(request.data)["reason"]
        return Response(
            self.session(services.end_session(self.actor, self.session_id, reason=reason))
        )


class PauseView(ConversationView):
    @extend_schema(operation_id="pause_session", request=None, responses=shapes.SessionBody)
    def post(self, request: Request, **_: Any) -> Response:
        return Response(self.session(services.pause_session(self.actor, self.session_id)))


class ResumeView(ConversationView):
    @extend_schema(operation_id="resume_session", request=None, responses=shapes.SessionBody)
    def post(self, request: Request, **_: Any) -> Response:
        return Response(self.session(services.resume_session(self.actor, self.session_id)))


class MessagesView(ConversationView):
    @extend_schema(
        operation_id="list_messages",
        parameters=[
            *PAGING,
            OpenApiParameter("agent_id", str),
            OpenApiParameter("order", str, enum=["asc", "desc"]),
        ],
        responses=shapes.MessagePage,
    )
    def get(self, request: Request, **_: Any) -> Response:
        asked = request.query_params
        agent, order = asked.get("agent_id"), asked.get("order", "asc")
        if order not in {"asc", "desc"}:
            raise InvalidInput(fields={"order": ["asc or desc."]})
        rows = selectors.list_messages(self.actor, self.session_id, agent_key=agent)
        keys = ("created_at", "id") if order == "asc" else ("-created_at", "-id")
        return self.page(rows, message_json, f"{agent}&{order}", keys)

    @extend_schema(
        operation_id="post_message", request=NewMessage, responses={202: shapes.MessageBody}
    )
    def post(self, request: Request, **_: Any) -> Response:
        fields = NewMessage.read(request.data)
        agent = fields.pop("agent_id", None) or "orchestrator"
        message = services.post_message(self.actor, self.session_id, agent_key=agent, **fields)
        return Response(message_json(message), status=202)


class FilesView(ConversationView):
    parser_classes = (MultiPartParser,)
    max_body = settings.MAX_UPLOAD_BYTES + 64 * 1024

    @extend_schema(operation_id="list_session_files", parameters=PAGING, responses=shapes.FilePage)
    def get(self, request: Request, **_: Any) -> Response:
        return self.page(
            selectors.list_attachments(self.actor, self.session_id), attachment_json, ""
        )

    @extend_schema(
        operation_id="upload_session_file",
        request={"multipart/form-data": shapes.FileUpload},
        responses={201: shapes.FileBody},
    )
    def post(self, request: Request, **_: Any) -> Response:
        upload = request.FILES.get("file")
        if upload is None:
            raise InvalidInput(fields={"file": ["Send one file in the part named file."]})
        row = services.attach_file(self.actor, self.session_id, upload)
        return Response(attachment_json(row), status=201)


class FileView(ConversationView):
    @extend_schema(operation_id="delete_session_file", responses={204: None})
    def delete(self, request: Request, file_id: str, **_: Any) -> Response:
        services.remove_file(self.actor, self.session_id, parse_id("file", file_id))
        return Response(status=204)


urlpatterns = [
    path("sessions", SessionsView.as_view()),
    path("workspaces/<str:workspace_id>/sessions", SessionsView.as_view()),
    path("sessions/<str:session_id>", SessionView.as_view()),
    path("sessions/<str:session_id>/end", EndView.as_view()),
    path("sessions/<str:session_id>/pause", PauseView.as_view()),
    path("sessions/<str:session_id>/resume", ResumeView.as_view()),
    path("sessions/<str:session_id>/messages", MessagesView.as_view()),
    path("sessions/<str:session_id>/files", FilesView.as_view()),
    path("sessions/<str:session_id>/files/<str:file_id>", FileView.as_view()),
]
