"""What a `model` names on the openai surface: a workspace, or one of its agents.

`<workspace slug>` is its default agent, `<slug>/<agent>` one of its agents, `<agent>` alone one of the
agents of the token's own workspace. Empty, `polymux`, `polpo` and `default` mean the caller's home.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apps.conversations.errors import ModelNotFound, ProjectNotFound
from apps.core.actor import Scope
from apps.core.errors import NotFound, WorkspaceMismatch
from apps.formations.selectors import default_agent, find_agent, list_agents
from apps.formations.services import ensure_default_agent
from apps.surfaces import openai
from apps.workspaces.credentials import actor_in
from apps.workspaces.preferences import Preferences, read_preferences
from apps.workspaces.selectors import find_workspace_id, get_workspace, list_workspaces

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from apps.core.actor import Actor, Caller
    from apps.formations.models import Agent

HOME_NAMES = frozenset({"", "polymux", "polpo", "default", "orchestrator"})
FRESH = 2.0  # seconds a change of an agent may take to reach the next turn
MOST = 5_000
MAX_MODELS = 1_000


@dataclass(frozen=True, slots=True)
class Setup:
    """Who answers, and what the workspace chose. `label` is how the model is called back."""

    agent: Agent
    preferences: Preferences
    label: str


_known: dict[tuple[UUID, str], tuple[float, Setup]] = {}
_lock = threading.Lock()


def resolve_wish(
    caller: Caller, home: Actor, *, model: str, project: str, agent: str
) -> tuple[Actor, Setup]:
    """As `resolve_target`, for requests that name a project (slug or id) or an agent.

    A project comes before the model, which is then no more than a word; an agent is one of the
    project's, else of the workspace the model names, else of the caller's home. Raises
    ProjectNotFound, AgentNotFound, ModelNotFound.
    """
    if not (project or agent):
        return resolve_target(caller, home, model)
    if project:
        actor = _project(caller, home, project)
        return actor, setup_of(actor, agent)
    try:
        actor, _ = resolve_target(caller, home, model)
    except ModelNotFound:
        actor = home
    return actor, setup_of(actor, agent)


def _project(caller: Caller, home: Actor, project: str) -> Actor:
    try:
        if setup_of(home, "").label == project:
            return home
        return actor_in(caller, openai.SURFACE.workspace_id(caller, project))
    except (NotFound, WorkspaceMismatch):
        raise ProjectNotFound(param="project") from None


def resolve_target(caller: Caller, home: Actor, model: str) -> tuple[Actor, Setup]:
    """The actor in the named workspace and the agent that answers; ModelNotFound."""
    try:
        return _resolve(caller, home, model)
    except (NotFound, WorkspaceMismatch):
        raise ModelNotFound(
            f"The model `{model[:100]}` does not exist or you do not have access to it.",
            param="model",
        ) from None


def _resolve(caller: Caller, home: Actor, model: str) -> tuple[Actor, Setup]:
    if model in HOME_NAMES:
        return home, setup_of(home, "")
    first, slash, rest = model.partition("/")
    if not slash and caller.workspace_id is not None:
        own = setup_of(home, "")
        return home, own if own.label == model else setup_of(home, model)
    actor = _enter(caller, home, first)
    return actor, setup_of(actor, rest)


def _enter(caller: Caller, home: Actor, slug: str) -> Actor:
    if setup_of(home, "").label == slug:
        return home
    return actor_in(caller, find_workspace_id(caller, slug))


def setup_of(actor: Actor, agent_name: str) -> Setup:
    """Agent and preferences by the agent's name ("": the default one); remembered two seconds."""
    actor.need(Scope.READ)
    key = (actor.workspace_id, agent_name.lower())
    known = _known.get(key)
    if known and time.monotonic() - known[0] < FRESH:
        return known[1]
    workspace = get_workspace(actor)
    agent = find_agent(actor, agent_name) if agent_name else _default(actor)
    label = workspace.slug if agent.is_default else f"{workspace.slug}/{agent.name}"
    made = Setup(agent, read_preferences(workspace.settings), label)
    with _lock:
        if len(_known) >= MOST:
            _known.clear()
        _known[key] = (time.monotonic(), made)
    return made


def forget_setups() -> None:
    """Read everything anew (tests; a service that changed an agent in this process)."""
    with _lock:
        _known.clear()


def _default(actor: Actor) -> Agent:
    try:
        return default_agent(actor)
    except NotFound:
        return ensure_default_agent(actor)


def list_targets(caller: Caller) -> list[dict[str, Any]]:
    """`GET /v1/models`: every workspace the caller may enter and its agents, at most 1,000."""
    found: list[dict[str, Any]] = []
    for workspace in list_workspaces(caller)[:200]:
        found.append(_model(workspace.slug, workspace.created_at, "polymux"))
        actor = actor_in(caller, workspace.pk)
        agents = list_agents(actor).filter(is_default=False)[:100]
        found += [
            _model(f"{workspace.slug}/{a.name}", a.created_at, workspace.slug) for a in agents
        ]
    return found[:MAX_MODELS]


def _model(name: str, made: datetime, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": int(made.timestamp()), "owned_by": owner}
