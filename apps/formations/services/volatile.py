"""Volatile agents: made for a mission, gone with it (contract/polpo.md §7.2-7.4 and §8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.core.actor import Actor, Scope
from apps.core.checks import wrong
from apps.events.services import publish
from apps.formations import profile
from apps.formations.locks import lock_agents
from apps.formations.models import Agent
from apps.formations.selectors import list_agents
from apps.formations.services.agents import discard_agent, insert_agent, update_agent

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_AT_ONCE = 100
# The turns of an agent that comes from a document without saying how many (contract/polpo.md §8).
USUAL_TURNS = 150


@transaction.atomic
def register_volatile(actor: Actor, group: str, agents: Sequence[dict[str, Any]]) -> list[Agent]:
    """Make the agents of a mission's document for `group`, in the first team; those that were made.

    Each is an AgentConfig, in its own or in our spelling of the fields; one whose name is taken is
    left alone. They may report to one another in any order. Call it before the caller's transaction
    publishes: it takes the workspace's row, which stands above the stream's head. Raises InvalidInput (fields named
    `team.<index>.<field>`), TooMany; then nothing was made.
    """
    actor.need(Scope.WRITE)
    if not isinstance(agents, (list, tuple)) or len(agents) > MOST_AT_ONCE:
        raise wrong("team", f"Must be a list of at most {MOST_AT_ONCE} agents.")
    lock_agents(actor)
    taken = {name.lower() for name in list_agents(actor).values_list("name", flat=True)}
    made: list[tuple[int, Agent, str]] = []
    for index, document in enumerate(agents):
        with profile.complaining_of(f"team.{index}."):
            fields = _fields(document)
            if str(fields.get("name")).lower() in taken:
                continue
            superior = fields.pop("reports_to", "")
            agent = insert_agent(actor, fields, mission_group=group)
            taken.add(agent.name.lower())
            made.append((index, agent, superior))
    return [_subordinate(actor, *each) for each in made]


@transaction.atomic
def remove_volatile(actor: Actor, group: str) -> int:
    """Delete the volatile agents of `group`; how many there were. Their tasks stay.

    As `register_volatile`, before the caller publishes.
    """
    actor.need(Scope.WRITE)
    lock_agents(actor)
    rows = Agent.objects.in_workspace(actor.workspace_id).select_related("team")
    agents = list(rows.filter(volatile=True, mission_group=group).order_by("id"))
    facts = [fact for agent in agents for fact in discard_agent(actor, agent)]
    if facts:
        publish(actor, *facts)
    return len(agents)


def _fields(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise wrong("agent", "Must be an object.")
    fields = {"max_turns": USUAL_TURNS, **profile.fields_of(document)}
    fields.pop("team", None)  # they join the first one
    profile.check_names(fields)
    return {"name": "", **fields}


def _subordinate(actor: Actor, index: int, agent: Agent, superior: Any) -> Agent:
    """Known only now: whom it reports to may have been made after it."""
    if not superior:
        return agent
    with profile.complaining_of(f"team.{index}."):
        return update_agent(actor, agent.pk, reports_to=superior)
