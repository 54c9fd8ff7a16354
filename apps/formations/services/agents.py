"""Agents: make, change, remove. Every workspace has a default one.

Each verb holds the workspace's row while it looks and writes: how many there are, who reports to
whom and which team is the first are questions about more than one row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction

from apps.accounts.audit import record_change
from apps.core.actor import Actor, Scope
from apps.core.checks import wrong
from apps.core.clock import now
from apps.events.services import publish
from apps.formations import profile
from apps.formations.errors import AgentNameTaken, AgentNotFound, DefaultAgentStays, TooMany
from apps.formations.events import AgentCreated, AgentDeleted, AgentUpdated
from apps.formations.locks import lock_agents
from apps.formations.models import Agent
from apps.formations.selectors import default_agent, find_agent, list_agents
from apps.formations.services.teams import team_named

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from apps.core.facts import Fact

DEFAULT_NAME = "orchestrator"
MAX_AGENTS = 500  # a workspace
MERGED = ("identity", "extras")


@transaction.atomic
def create_agent(actor: Actor, *, name: str, **fields: Any) -> Agent:
    """`fields`: any of `profile.FIELDS`; what is not given has the model's default.

    `team` is a team's name, by default the first team's; `reports_to` another agent's.
    Raises InvalidInput (also for an unknown field), AgentNameTaken, TeamNotFound, TooMany.
    """
    actor.need(Scope.WRITE)
    profile.check_names(fields)
    lock_agents(actor)
    return insert_agent(actor, {**fields, "name": name})


@transaction.atomic
def update_agent(actor: Actor, agent_id: UUID, **changes: Any) -> Agent:
    """Change the fields of `profile.FIELDS` that are given.

    `identity` and `extras` are merged into what there is: a null takes a key away, null for all empties
    it. Who reported to a renamed agent reports to its new name.
    Raises AgentNotFound, InvalidInput (also for an unknown field), AgentNameTaken, TeamNotFound,
    DefaultAgentStays.
    """
    actor.need(Scope.WRITE)
    profile.check_names(changes)
    lock_agents(actor)
    agent = _locked(actor, agent_id)
    if agent.is_default and changes.get("is_default") is False:
        raise DefaultAgentStays
    before = _shown(agent)
    _change(actor, agent, changes)
    after = _shown(agent)
    changed = [field for field in profile.FIELDS if before[field] != after[field]]
    if not changed:
        return agent
    _save(actor, agent)
    followed = _redirect(actor, before["name"], agent.name) if "name" in changed else []
    record_change(actor, "agent.updated", "agent", agent.id, before=before, after=after)
    news = AgentUpdated(agent_id=agent.id, agent_name=agent.name, changed=changed)
    publish(actor, news, *followed)
    return agent


@transaction.atomic
def delete_agent(actor: Actor, agent_id: UUID) -> None:
    """Its tasks stay; who reported to it reports to nobody. Raises AgentNotFound, DefaultAgentStays."""
    actor.need(Scope.WRITE)
    lock_agents(actor)
    agent = _locked(actor, agent_id)
    if agent.is_default:
        raise DefaultAgentStays
    publish(actor, *discard_agent(actor, agent))


def ensure_default_agent(actor: Actor) -> Agent:
    """The default agent, made now if the workspace has none. Safe to race, and for readers too."""
    try:
        return default_agent(actor)
    except AgentNotFound:
        return _make_default(Actor.for_system(actor.workspace_id))


@transaction.atomic
def _make_default(system: Actor) -> Agent:
    lock_agents(system)
    try:
        return default_agent(system)  # another request made it a moment ago
    except AgentNotFound:
        pass
    try:
        named = find_agent(system, DEFAULT_NAME)
    except AgentNotFound:
        role = "Answers, plans and delegates"
        return create_agent(system, name=DEFAULT_NAME, role=role, is_default=True)
    return update_agent(system, named.id, is_default=True)


def insert_agent(
    actor: Actor, fields: Mapping[str, Any], *, mission_group: str | None = None
) -> Agent:
    """Write, record and tell of a new agent; with a `mission_group` a volatile one.

    Its caller is in a transaction and holds the workspace's row. Raises as `create_agent`.
    """
    agent = Agent(workspace_id=actor.workspace_id, team=team_named(actor, fields.get("team")))
    agent.volatile, agent.mission_group = mission_group is not None, mission_group or ""
    _change(actor, agent, {key: value for key, value in fields.items() if key != "team"})
    if Agent.objects.in_workspace(actor.workspace_id).count() >= MAX_AGENTS:
        raise TooMany
    _save(actor, agent, force_insert=True)
    record_change(actor, "agent.created", "agent", agent.id, before=None, after=_shown(agent))
    publish(actor, AgentCreated(agent_id=agent.id, agent_name=agent.name))
    return agent


def discard_agent(actor: Actor, agent: Agent) -> list[Fact]:
    """Delete and record; the facts to publish. As for `insert_agent`, its caller holds the row."""
    before, agent_id = _shown(agent), agent.id
    agent.delete()
    record_change(actor, "agent.deleted", "agent", agent_id, before=before, after=None)
    freed = _redirect(actor, before["name"], "")
    return [*freed, AgentDeleted(agent_id=agent_id, agent_name=before["name"])]


def _change(actor: Actor, agent: Agent, changes: Mapping[str, Any]) -> None:
    """Set and check what was given."""
    names = {agent.name.lower()} - {""}  # a new agent has none yet
    for field, value in changes.items():
        if field == "team":
            agent.team = team_named(actor, value)
        elif field in MERGED:
            setattr(agent, field, profile.merged(getattr(agent, field), value))
        else:
            setattr(agent, field, value)
    profile.check_agent(agent)
    if agent.name.lower() not in names:
        profile.check_new_name(agent.name)
    if changes.get("reports_to"):
        agent.reports_to = _superior(actor, agent, names | {agent.name.lower()})


def _superior(actor: Actor, agent: Agent, names: set[str]) -> str:
    """`agent.reports_to` as its holder spells it. InvalidInput when nobody or a circle.

    `names`: what the agent is, and was, called in lower case.
    """
    others = list_agents(actor).exclude(id=agent.id).values_list("name", "reports_to")
    above = {name.lower(): (name, superior.lower()) for name, superior in others}
    step = agent.reports_to.lower()
    if step not in above and step not in names:
        raise wrong("reports_to", "There is no agent of this name.")
    for _ in range(len(above) + 1):
        if step in names:
            raise wrong("reports_to", "Agents cannot report to one another in a circle.")
        step = above[step][1] if step in above else ""
    return above[agent.reports_to.lower()][0]


def _redirect(actor: Actor, old: str, new: str) -> list[Fact]:
    """Who reported to `old` reports to `new` now."""
    rows = Agent.objects.in_workspace(actor.workspace_id).filter(reports_to__iexact=old)
    before, after, facts = {"reports_to": old}, {"reports_to": new}, []
    for agent in list(rows.order_by("id")):
        record_change(actor, "agent.updated", "agent", agent.id, before=before, after=after)
        facts.append(AgentUpdated(agent_id=agent.id, agent_name=agent.name, changed=["reports_to"]))
    if facts:
        rows.update(reports_to=new, updated_at=now())
    return [*facts]


def _locked(actor: Actor, agent_id: UUID) -> Agent:
    """Without its key: a turn that names the agent is checked at its commit, when it holds the log's
    head; it may not wait there for somebody who wants the head.
    """
    rows = Agent.objects.in_workspace(actor.workspace_id).select_related("team")
    locked = rows.select_for_update(of=("self",), no_key=True)
    agent: Agent | None = locked.filter(id=agent_id).first()
    if agent is None:
        raise AgentNotFound
    return agent


def _save(actor: Actor, agent: Agent, *, force_insert: bool = False) -> None:
    try:
        with transaction.atomic():
            if agent.is_default:
                others = Agent.objects.in_workspace(actor.workspace_id).exclude(id=agent.id)
                others.filter(is_default=True).update(is_default=False)
            agent.save(force_insert=force_insert)
    except IntegrityError as error:
        if "agent_name_once" in str(error):
            raise AgentNameTaken from None
        raise


def _shown(agent: Agent) -> dict[str, Any]:
    """The fields as the record keeps them."""
    plain = {field: getattr(agent, field) for field in profile.FIELDS if field != "team"}
    return plain | {"team": agent.team.name}
