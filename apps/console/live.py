"""`ws /admin/watch/{workspace_id}/`: what moves in a workspace, told to an operator's open page.

The browser proves itself with the login's cookie, as on every page of the console; so the page it comes
from must be ours. A frame only says what changed and by which id: the page asks for the rest over HTTP,
where the console's permissions are checked again.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest

from apps.core.actor import Caller, CallerKind, Scope
from apps.core.aio import db_call
from apps.core.errors import DomainError, Forbidden, NotFound, Unauthenticated
from apps.events.socket import Context, Frame, LiveSocket
from apps.missions import events as missions
from apps.surfaces import polymux
from apps.tasks import events as tasks
from apps.workspaces.selectors import operator_actor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from apps.accounts.models import User
    from apps.core.actor import Actor
    from apps.events.selectors import EventRow
    from apps.surfaces.kit import Credentials

MAY_WATCH = ("tasks.view_task", "missions.view_mission")

# Facts about a task that change what a board shows of it, and those that only its own page tells.
ON_THE_BOARD = {
    fact.name
    for fact in (
        tasks.TaskCreated,
        tasks.TaskMoved,
        tasks.TaskUpdated,
        tasks.TaskRemoved,
        tasks.AssessmentCompleted,
    )
}
AT_WORK = {
    fact.name
    for fact in (
        tasks.AgentSpawned,
        tasks.AgentActive,
        tasks.AgentFinished,
        tasks.AssessmentStarted,
        tasks.CheckCompleted,
        tasks.ExpectationsCorrected,
    )
}
OF_MISSIONS = {
    fact.name
    for fact in (
        missions.MissionSaved,
        missions.MissionExecuted,
        missions.MissionCompleted,
        missions.MissionResumed,
        missions.MissionAborted,
        missions.MissionDeleted,
        missions.CheckpointReached,
        missions.CheckpointResumed,
        missions.DelayStarted,
        missions.DelayExpired,
        missions.GatePassed,
        missions.GateFailed,
    )
}
WATCHED = frozenset(ON_THE_BOARD | AT_WORK | OF_MISSIONS)


class WatchSocket(LiveSocket):
    """One open page. It says nothing but `ping`."""

    surface = polymux.SURFACE

    async def authorize(self, credentials: Credentials) -> Context:
        actor = await db_call(_admit, credentials)
        return Context(actor, still_allowed=partial(_still_allowed, credentials))

    def dialect(self) -> str:
        return "console"

    def names(self) -> frozenset[str]:
        return WATCHED

    def since(self) -> None:
        """From now on: a page asks for all that it shows when its socket opens."""

    def translate(self, row: EventRow) -> Sequence[Frame] | None:
        return [_frame(row.name, row.payload)] if row.name in WATCHED else None


def _frame(name: str, payload: Mapping[str, Any]) -> Frame:
    """`task` {id, mission_id?, state?}, `work` {id} or `mission` {id}."""
    if name in OF_MISSIONS:
        return "mission", {"id": payload["mission_id"]}
    if name in AT_WORK:
        return "work", {"id": payload["task_id"]}
    told = {"id": payload["task_id"], "mission_id": payload.get("mission_id")}
    return "task", told | ({"state": payload["after"]} if "after" in payload else {})


def _admit(seen: Credentials) -> Actor:
    _refuse_other_sites(seen)
    user = _operator(seen)
    caller = Caller(
        CallerKind.OPERATOR,
        Scope.ADMIN,
        user_id=user.pk,
        platform=True,
        request_id=seen.request_id,
        ip=seen.ip,
    )
    return operator_actor(caller, _workspace_in(seen.path))


def _workspace_in(path: str) -> UUID:
    try:
        return UUID(path.split("/")[3])
    except ValueError:
        raise NotFound from None


def _refuse_other_sites(seen: Credentials) -> None:
    """A cookie comes along whoever opens the socket: unlike a token's, its page must be our own, even
    where CORS lists others.
    """
    origin = seen.headers.get("origin")
    if (
        origin is not None
        and urlsplit(origin).netloc.lower() != seen.headers.get("host", "").lower()
    ):
        raise Forbidden("This origin may not open a socket here.")


def _operator(seen: Credentials) -> User:
    """Who is logged in: as the admin site and its pages would have it."""
    engine = import_module(settings.SESSION_ENGINE)
    request = HttpRequest()
    request.session = engine.SessionStore(seen.cookies.get(settings.SESSION_COOKIE_NAME))
    user: Any = get_user(request)
    if not (user.is_active and user.is_staff):
        raise Unauthenticated
    if not user.has_perms(MAY_WATCH):
        raise Forbidden
    return user  # type: ignore[no-any-return]


def _still_allowed(seen: Credentials) -> bool:
    """Asked every few seconds: a page whose operator has logged out falls silent."""
    try:
        _operator(seen)
    except DomainError:
        return False
    return True


watch_socket = WatchSocket.as_app()
