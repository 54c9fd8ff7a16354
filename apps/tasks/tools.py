"""The task's own tool: `register_outcome`, by which an attempt says what it has made."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from apps.core.aio import db_call
from apps.core.clock import now, rfc3339
from apps.core.tools import Tool, ToolContext, ToolFailed, register
from apps.tasks.services.registering import register_outcome_of

LONGEST_TEXT = 20_000  # characters
LONGEST_DATA = 64 * 1024  # bytes of JSON
NEEDED = {"file": "path", "media": "path", "text": "text", "url": "url", "json": "data"}


async def register_outcome(context: ToolContext, arguments: dict[str, Any]) -> Any:
    """Contract/polpo.md §5.2: TaskOutcome. The same call registers once."""
    kind = arguments["type"]
    if NEEDED[kind] not in arguments:
        raise ToolFailed(f"An outcome of type {kind} needs {NEEDED[kind]!r}.")
    if len(json.dumps(arguments.get("data"))) > LONGEST_DATA:
        raise ToolFailed(f"`data` may have at most {LONGEST_DATA} bytes; write a file instead.")
    outcome = {
        "id": hashlib.sha256(f"{context.run_id}:{context.key}".encode()).hexdigest()[:21],
        **arguments,
        "producedAt": rfc3339(now()),
    }
    count = await db_call(register_outcome_of, context.actor, context.run_id, outcome)
    return {"registered": outcome["id"], "outcomes": count}


def register_tools() -> None:
    register(REGISTER_OUTCOME)


_TEXT = {"type": "string", "minLength": 1}
REGISTER_OUTCOME = Tool(
    name="register_outcome",
    description=(
        "Register one result of your task: a file you made, a text, an address, data. Results that are "
        "not registered are easily overlooked."
    ),
    parameters={
        "type": "object",
        "properties": {
            "type": {"enum": sorted(NEEDED)},
            "label": _TEXT | {"maxLength": 200},
            "path": _TEXT | {"maxLength": 1_000, "description": "Relative to your folder."},
            "mimeType": _TEXT | {"maxLength": 200},
            "text": {"type": "string", "maxLength": LONGEST_TEXT},
            "url": _TEXT | {"maxLength": 2_000, "pattern": "^https?://"},
            "data": {"description": "Any JSON."},
            "tags": {"type": "array", "items": _TEXT | {"maxLength": 100}, "maxItems": 20},
        },
        "required": ["type", "label"],
        "additionalProperties": False,
    },
    call=register_outcome,
    enabled_by_default=False,  # only the attempt of a task has where to put it
)
