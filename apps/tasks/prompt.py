"""What an agent reads before it begins (contract/polpo.md §9): who it is, and the task.

The system prompt says who the agent is; the one user message holds what the workspace remembers in
tagged blocks, the task, what its result is held against, and the rules. Texts of others are put into
blocks whose closing tag they cannot say.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

from apps.engine.ports import ChatMessage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from apps.core.actor import Actor
    from apps.formations.models import Agent
    from apps.tasks.models import Task
    from apps.workspaces.preferences import Preferences

BASE = (
    "You are an agent of a Polymux workspace. You carry out one task by yourself, from beginning to "
    "end, with the tools you are given."
)
GUIDANCE = (
    "Use tools instead of guessing, and look at what a tool answered before you go on. Paths are "
    "relative to your working folder; nothing outside of it can be read or written. Put what you make "
    "there."
)
RULES = """<rules>
- Work on your own until the task is done. Nobody reads along, and nobody answers while you work.
- Decide by yourself what is reasonable and say what you assumed. Only if the task cannot be done
  without an answer, end with that one question.
- A command is stopped when its time is over: start nothing that does not end by itself.
- Call register_outcome for every result that is worth keeping: files, texts, addresses, data.
- End with a short account of what you did and where the result is.
</rules>"""
LONGEST_BLOCK = 16_000  # characters


class Narrator(Protocol):
    """Tells a task of the mission it belongs to: its purpose, its siblings and who has them."""

    def __call__(self, actor: Actor, task: Task) -> str: ...


_narrator: Narrator | None = None


def describe_missions_with(narrator: Narrator | None) -> None:
    """Called once, in `ready()`, by the app that knows missions."""
    global _narrator  # noqa: PLW0603
    _narrator = narrator


def mission_context(actor: Actor, task: Task) -> str:
    """The block about the task's mission; empty when it has none."""
    if _narrator is None or task.mission_id is None:
        return ""
    return block("mission_context", _narrator(actor, task))


def block(name: str, text: str) -> str:
    """`text` between tags of its own, which it cannot close itself; empty when there is none."""
    plain = re.sub(rf"<(/?){name}>", r"&lt;\1" + name + ">", text, flags=re.IGNORECASE).strip()
    if len(plain) > LONGEST_BLOCK:  # the newest lines stand at the end
        left_out = len(plain) - LONGEST_BLOCK
        plain = f"[the first {left_out} characters are left out]\n{plain[-LONGEST_BLOCK:]}"
    return f"<{name}>\n{plain}\n</{name}>" if plain else ""


def messages_for(
    agent: Agent, preferences: Preferences, task: Task, context: str
) -> list[ChatMessage]:
    """`context`: the tagged blocks that go before the task."""
    return [
        ChatMessage("system", system_prompt(agent, preferences)),
        ChatMessage("user", task_prompt(task, context)),
    ]


# --- Who you are ----------------------------------------------------------------------------------
def system_prompt(agent: Agent, preferences: Preferences) -> str:
    identity: Mapping[str, Any] = agent.identity or {}
    parts = [
        preferences.instructions,
        BASE,
        _who(agent, identity),
        _listed("You are responsible for:", map(_duty, identity.get("responsibilities") or ())),
        _said("Your tone", identity.get("tone")),
        _said("Your personality", identity.get("personality")),
        f"You report to {agent.reports_to}." if agent.reports_to else "",
        agent.system_prompt,
        _listed("Your skills:", map(str, agent.skills or ())),
        GUIDANCE,
    ]
    return "\n\n".join(part.strip() for part in parts if part and part.strip())


def _who(agent: Agent, identity: Mapping[str, Any]) -> str:
    name = str(identity.get("displayName") or agent.name)
    title, company = identity.get("title") or agent.role, identity.get("company")
    lines = [f"Your name is {name}." if not title else f"Your name is {name}: {title}."]
    lines += [f"You work for {company}."] if company else []
    lines += [str(identity["bio"])] if identity.get("bio") else []
    return " ".join(lines)


def _duty(duty: Any) -> str:
    if not isinstance(duty, dict):
        return str(duty)
    priority = f" (priority: {duty['priority']})" if duty.get("priority") else ""
    return f"{duty.get('area', '')}: {duty.get('description', '')}{priority}"


def _said(what: str, value: Any) -> str:
    return f"{what}: {value}" if value else ""


def _listed(head: str, lines: Iterable[str]) -> str:
    found = [f"- {line}" for line in lines if line.strip()]
    return "\n".join([head, *found]) if found else ""


# --- What you are to do ---------------------------------------------------------------------------
def task_prompt(task: Task, context: str) -> str:
    criteria = [*map(_criterion, task.expectations), *map(_measure, task.metrics)]
    parts = [
        context,
        f"# {task.title}",
        task.description,
        _listed("## Your result must meet", criteria),
        _listed("## Expected outcomes", map(_outcome, task.expected_outcomes)),
        RULES,
    ]
    return "\n\n".join(part.strip() for part in parts if part and part.strip())


def _criterion(expectation: Mapping[str, Any]) -> str:
    kind = expectation.get("type")
    if kind == "file_exists":
        return f"These files exist: {', '.join(map(str, expectation.get('paths') or ()))}"
    if kind in {"test", "script"}:
        return f"This ends with exit code 0: {expectation.get('command', '')}"
    names = [str(item.get("name", "")) for item in expectation.get("dimensions") or ()]
    judged = expectation.get("criteria") or f"quality in {', '.join(names)}"
    return f"Reviewers score it {_number(expectation.get('threshold', 3))} of 5 or better: {judged}"


def _measure(metric: Mapping[str, Any]) -> str:
    return (
        f"{metric.get('name', 'metric')}: the number printed by `{metric.get('command', '')}` is at "
        f"least {_number(metric.get('threshold', 0))}"
    )


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _outcome(wanted: Mapping[str, Any]) -> str:
    where = f" at {wanted['path']}" if wanted.get("path") else ""
    optional = "" if wanted.get("required", True) else " (optional)"
    about = f": {wanted['description']}" if wanted.get("description") else ""
    return f"{wanted.get('type', '')} “{wanted.get('label', '')}”{where}{optional}{about}"
