"""The live session page: an operator watches tokens arrive and types.

The page is rendered with the transcript so far; `static/console/live.js` then speaks the session's
WebSocket (contract/polymux.md §11) with a session token it asks for here. The token travels in the
subprotocol list, never in a URL.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Max
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from apps.accounts.services import record_change
from apps.console.find import id_in
from apps.console.operator import operator_actor
from apps.console.show import session_name
from apps.conversations.models import Message, Session
from apps.core.errors import DomainError
from apps.events.frames import wire_seq
from apps.events.models import Event
from apps.formations.models import Agent
from apps.formations.services import ensure_default_agent
from apps.workspaces.models import Member, Workspace
from apps.workspaces.services import issue_session_token

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

TRANSCRIPT = 200
CHOICES = 200
# Short: the page asks for another when the socket refuses this one, and nobody has to revoke it.
TICKET_LIFE = timedelta(minutes=10)
MAY_WATCH = "conversations.view_session"
MAY_ACT = "conversations.change_session"


def live_urls() -> list[URLPattern]:
    """Joined to the admin's own URLs: `/admin/live/…`."""

    def inside(view: Callable[..., HttpResponse]) -> Any:
        return admin.site.admin_view(view)

    return [
        path("live/new/", inside(new_session), name="live_new"),
        path("live/<str:session_id>/", inside(live_session), name="live_session"),
        path("live/<str:session_id>/ticket/", inside(give_ticket), name="live_ticket"),
        path("live/<str:session_id>/decide/", inside(decide), name="live_decide"),
    ]


@require_GET
def live_session(request: HttpRequest, session_id: str) -> HttpResponse:
    """The page. Watching live needs the right to change sessions: its token can write."""
    session = _session(request, session_id)
    # The number before the transcript: what is said in between comes twice and is recognised by
    # its message id; the other way round it would be lost.
    since = _last_seq(session)
    context = {
        **admin.site.each_context(request),
        "title": session.title,
        "subtitle": "Live session",
        "session": session,
        "transcript": _transcript(session),
        "transcript_cap": TRANSCRIPT,
        "wire_id": session_name(session.workspace_id, session.pk),
        "since": wire_seq(since, 0) if since else "",
        "may_act": request.user.has_perm(MAY_ACT),
    }
    return TemplateResponse(request, "console/live.html", context)


@require_POST
def give_ticket(request: HttpRequest, session_id: str) -> HttpResponse:
    """`{"token"}`: opens this session's socket and nothing else. Issued by name, so audited."""
    if not request.user.has_perm(MAY_ACT):
        raise PermissionDenied
    session = _session(request, session_id)
    try:
        token = _issue_ticket(request, session)
    except DomainError as error:
        return JsonResponse({"error": error.message, "code": error.code}, status=409)
    return JsonResponse({"token": token})  # `admin_view` forbids to store it


@require_POST
def decide(request: HttpRequest, session_id: str) -> HttpResponse:
    """Approve or reject what a turn waits for. Not over the socket, so that it bears a name."""
    if not request.user.has_perm(MAY_ACT):
        raise PermissionDenied
    from apps.conversations.services import decide_pending

    session = _session(request, session_id)
    approval_id = id_in(request.POST.get("approval", ""))
    approved = request.POST.get("approved") == "1"
    if approval_id is None:
        raise Http404
    try:
        actor = operator_actor(request, session.workspace_id)
        decide_pending(actor, session.pk, approval_id, approved=approved)
    except DomainError as error:
        return JsonResponse({"error": error.message, "code": error.code}, status=409)
    return JsonResponse({"approved": approved})


@transaction.atomic
def _issue_ticket(request: HttpRequest, session: Session) -> str:
    """A session token, and an audit entry with the operator's name.

    A person's token works only where they have a seat; an operator without one gets a token that
    is nobody's, as the workspace's keys are. The audit entry says who asked for it.
    """
    actor = operator_actor(request, session.workspace_id)
    seats = Member.objects.in_workspace(session.workspace_id).filter(user_id=actor.user_id)
    holder = actor if seats.exists() else replace(actor, user_id=None)
    record_change(actor, "session.attached", "session", session.pk)
    return issue_session_token(holder, session.pk, life=TICKET_LIFE)


class NewSessionForm(forms.Form):
    """Where to talk, and to whom. No agent: the workspace's default."""

    workspace = forms.ModelChoiceField(
        Workspace.objects.none(), widget=UnfoldAdminSelectWidget, empty_label=None
    )
    agent = forms.ModelChoiceField(
        Agent.unscoped.none(),
        required=False,
        widget=UnfoldAdminSelectWidget,
        empty_label="the workspace's default agent",
    )
    title = forms.CharField(
        max_length=200, initial="Operator's session", widget=UnfoldAdminTextInputWidget
    )

    def __init__(self, *args: Any, workspace: Workspace | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = Workspace.objects.filter(status="active").order_by("-pk")
        self.fields["workspace"].queryset = known  # type: ignore[attr-defined]
        self.fields["workspace"].choices = [(row.pk, row.name) for row in known[:CHOICES]]  # type: ignore[attr-defined]
        if workspace is None:
            return
        self.fields["workspace"].choices = [(workspace.pk, workspace.name)]  # type: ignore[attr-defined]
        agents = Agent.objects.in_workspace(workspace.pk).order_by("-is_default", "name")
        self.fields["agent"].queryset = agents  # type: ignore[attr-defined]


@require_http_methods(["GET", "POST"])
def new_session(request: HttpRequest) -> HttpResponse:
    """Choose a workspace, then an agent; POST makes the session and goes to its page."""
    if not request.user.has_perm(MAY_ACT):
        raise PermissionDenied
    workspace = _workspace(request.POST.get("workspace") or request.GET.get("workspace", ""))
    form = NewSessionForm(request.POST or None, workspace=workspace)
    if workspace and form.is_valid():
        try:
            session_id = _create(request, form.cleaned_data)
            return HttpResponseRedirect(reverse("admin:live_session", args=[session_id]))
        except DomainError as error:
            form.add_error(None, error.message)
    context = {
        **admin.site.each_context(request),
        "title": "New session",
        "form": form,
        "workspace": workspace,
    }
    return TemplateResponse(request, "console/new_session.html", context)


@transaction.atomic
def _create(request: HttpRequest, chosen: dict[str, Any]) -> UUID:
    from apps.conversations.services import create_session

    actor = operator_actor(request, chosen["workspace"].pk)
    agent = chosen["agent"] or ensure_default_agent(actor)
    session, _ = create_session(actor, title=chosen["title"], agent_id=agent.pk, source="console")
    session_id: UUID = session.pk
    return session_id


def _workspace(text: str) -> Workspace | None:
    value = id_in(text)
    return Workspace.objects.filter(pk=value, status="active").first() if value else None


def _session(request: HttpRequest, text: str) -> Session:
    if not request.user.has_perm(MAY_WATCH):
        raise PermissionDenied
    rows = Session.unscoped.select_related("workspace", "agent", "user")
    session_id = id_in(text)
    if session_id is None:
        raise Http404
    session = rows.filter(pk=session_id, deleted_at__isnull=True).first()
    if session is None:
        raise Http404
    return session


def _transcript(session: Session) -> list[Message]:
    rows = Message.objects.in_workspace(session.workspace_id).filter(session_id=session.pk)
    return list(rows.order_by("-created_at", "-id")[:TRANSCRIPT])[::-1]


def _last_seq(session: Session) -> int:
    rows = Event.objects.filter(workspace_id=session.workspace_id, session_id=session.pk)
    last: int | None = rows.aggregate(last=Max("seq"))["last"]
    return last or 0
