"""What the run of a task's attempt is: how it is planned, and what its rest means to the task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from apps.conversations.chat import allowed_tools, fallback_of, model_of
from apps.core.actor import Actor
from apps.core.aio import db_call
from apps.core.tools import ToolContext
from apps.engine.chosen import models_for
from apps.engine.ports import Ending, Limits, Outcome, Sampling
from apps.events.services import publish
from apps.formations.errors import AgentNotFound
from apps.formations.selectors import get_agent
from apps.formations.toolbox import WorkspaceToolBox
from apps.knowledge.selectors import prompt_context
from apps.runs.kinds import Plan, Quiet, Rest
from apps.runs.models import Run
from apps.tasks.errors import TaskNotFound
from apps.tasks.models import Task
from apps.tasks.prompt import messages_for, mission_context
from apps.tasks.services import attempts
from apps.tasks.services.outcomes import preferences_of
from apps.tasks.tools import REGISTER_OUTCOME

if TYPE_CHECKING:
    from apps.engine.ports import ChatMessage
    from apps.formations.models import Agent
    from apps.runs.holding import Hold
    from apps.workspaces.preferences import Preferences

AGENT_KEY = "agent"


@dataclass(slots=True)
class Loaded:
    """What the database says about an attempt."""

    agent: Agent
    preferences: Preferences
    messages: list[ChatMessage]


class TaskRuns:
    """Handler of `RunKind.TASK`."""

    agent_key = AGENT_KEY

    async def plan(self, hold: Hold, run_input: dict[str, Any]) -> Plan:
        """The agent's models and tools, and the prompt. The run's own limits come with it."""
        actor = Actor.for_engine(hold.workspace_id, user_id=hold.user_id)
        loaded = await db_call(_load, actor, hold)
        agent, preferences = loaded.agent, loaded.preferences
        model = run_input.get("model") or model_of(agent, preferences)
        models = await models_for(
            model, fallback_of(agent, preferences), workspace_id=hold.workspace_id
        )
        context = ToolContext(
            actor, hold.run_id, hold.session_id, hold.agent_id, key="", token_id=hold.token_id
        )
        toolbox = await WorkspaceToolBox.open(
            context, allowed_tools(agent, preferences), also=[REGISTER_OUTCOME.name]
        )
        return Plan(
            actor=actor,
            messages=loaded.messages,
            models=models,
            toolbox=toolbox,
            gate=toolbox.gate(),
            listener=Quiet(),  # calls and results are facts of the journal
            sampling=Sampling(temperature=agent.temperature),
            limits=Limits(),
        )

    def lock(self, hold: Hold) -> None:
        """The task stands above its runs."""
        attempts.lock_attempt(hold)

    def rested(self, actor: Actor, hold: Hold, outcome: Outcome) -> Rest:
        """The task waits with its run, or has a result to be judged."""
        if outcome.ending is Ending.WAITING:
            approval_id = UUID(outcome.approval_id)
            return Rest(attempts.wait_for_human(actor, hold.run_id, approval_id))
        return Rest(attempts.end_attempt(actor, hold.run_id, outcome))

    def woken(self, actor: Actor, hold: Hold) -> None:
        """The task goes on with its run."""
        facts = attempts.go_on(actor, hold.run_id)
        if facts:
            publish(actor, *facts)


def _load(actor: Actor, hold: Hold) -> Loaded:
    if hold.agent_id is None:
        raise AgentNotFound("The agent of this task has been removed.")
    runs = Run.objects.in_workspace(hold.workspace_id).filter(pk=hold.run_id)
    tasks = Task.objects.in_workspace(hold.workspace_id)
    task = tasks.filter(pk=runs.values_list("subject_id", flat=True).first()).first()
    if task is None:
        raise TaskNotFound
    agent, preferences = get_agent(actor, hold.agent_id), preferences_of(actor)
    blocks = [prompt_context(actor, agent_id=agent.pk), mission_context(actor, task)]
    context = "\n\n".join(part for part in blocks if part)
    return Loaded(agent, preferences, messages_for(agent, preferences, task, context))
