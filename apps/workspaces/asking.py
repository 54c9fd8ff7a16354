"""Tools that act as the person who asked for the turn, never as the engine: the orchestrator's.

TLDR: write `def do_it(actor, arguments) -> str`, calling the same service as the REST operation, and
`register(orchestrator_tool("do_it", "What it does.", {...}, do_it))`. The actor holds
min(token scope, role) as they are when the tool is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.core.aio import db_call
from apps.core.errors import DomainError
from apps.core.tools import ORCHESTRATOR, Tool, ToolFailed
from apps.workspaces.credentials import actor_who_asked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from apps.core.actor import Actor
    from apps.core.tools import ToolContext

LONGEST_RESULT = 20_000  # characters


def orchestrator_tool(
    name: str,
    description: str,
    parameters: Mapping[str, Any],
    run: Callable[[Actor, dict[str, Any]], str],
    *,
    required: tuple[str, ...] = (),
    max_output: int = LONGEST_RESULT,
) -> Tool:
    """A tool for the workspace's orchestrator. `parameters`: name -> JSON schema.

    `run` is one transaction; the text it returns is what the model reads (a list: one line an item).
    What it raises as a domain error the model reads as words.
    """

    async def call(context: ToolContext, arguments: dict[str, Any]) -> str:
        return await as_asker(context, run, arguments)

    return Tool(
        name=name,
        description=description,
        parameters={
            "type": "object",
            "properties": dict(parameters),
            "required": list(required),
            "additionalProperties": False,
        },
        call=call,
        max_output=max_output,
        tags=frozenset({ORCHESTRATOR}),
    )


async def as_asker(
    context: ToolContext, run: Callable[[Actor, dict[str, Any]], str], arguments: dict[str, Any]
) -> str:
    """`run(actor, arguments)` as the one who asked; ToolFailed in words where they may not."""
    try:
        return await db_call(_as_asker, context, run, arguments)
    except DomainError as error:
        raise ToolFailed(_in_words(error)) from error


def _as_asker(
    context: ToolContext, run: Callable[[Actor, dict[str, Any]], str], arguments: dict[str, Any]
) -> str:
    with transaction.atomic():
        return run(asking_actor(context), arguments)


def asking_actor(context: ToolContext) -> Actor:
    """See `credentials.actor_who_asked`."""
    return actor_who_asked(
        context.actor.workspace_id, user_id=context.actor.user_id, token_id=context.token_id
    )


def _in_words(error: DomainError) -> str:
    """An error's message, and what is wrong with which argument."""
    fields = error.details.get("fields") or {}
    wrong = [f"{name}: {' '.join(map(str, said))}" for name, said in fields.items()]
    return "\n".join([error.message, *wrong])
