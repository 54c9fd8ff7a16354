"""The log of one run, `run-<id>`, made from its journal (contract/polpo.md §14).

Header `{_run, runId, taskId?, agentName, startedAt, pid}`; lifecycle `{ts, event, data?}`; transcript
`{ts, type: "assistant" | "tool_use" | "tool_result", …}`. A run has no process of its own: `pid` is 0.
Inputs standing under a name that looks like a secret's are hidden.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from apps.core.clock import rfc3339
from apps.core.errors import NotFound
from apps.core.ids import base62, parse_bare
from apps.core.redact import is_secret, redacted
from apps.core.rows import execute
from apps.events.logs import LogSession, contribute
from apps.runs.models import Run, RunStatus, Step

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from apps.core.actor import Actor

PREFIX = "run-"
LONGEST_RESULT = 2_000  # characters of a tool's result
LONGEST_TEXT = 20_000  # of what the agent said, and of one input
MOST_ITEMS = 200  # of a list in an input
ENDINGS: dict[str, str] = {
    RunStatus.SUCCEEDED: "done",
    RunStatus.FAILED: "error",
    RunStatus.CANCELLED: "sigterm",
}
# Wider than the house's own rule, as §14 has it: what looks like pass, secret, token, key, auth, credential.
_SENSITIVE = re.compile(
    r"passw|passphrase|secret|token|credential"
    r"|(?:^|_)(?:pass|auth|authorization|authentication|\w*keys?)(?:_|$)"
)
_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")

# What `_transcript` tells of each step, counted without reading the steps.
_COUNTS = """
SELECT run_id, sum(CASE
    WHEN kind = 'tool' THEN 1
    ELSE (coalesce(output ->> 'text', '') <> '')::int
       + CASE WHEN jsonb_typeof(output -> 'calls') = 'array'
              THEN jsonb_array_length(output -> 'calls') ELSE 0 END
    END)::int
  FROM runs_step WHERE workspace_id = %s AND run_id = ANY(%s) GROUP BY run_id
"""


class RunLogs:
    """The runs of a workspace as logs. Registered with `events.logs`."""

    def sessions(self, actor: Actor, limit: int) -> list[LogSession]:
        runs = Run.objects.in_workspace(actor.workspace_id).order_by("-created_at")
        newest = list(runs.defer("input", "limits")[:limit])
        told = dict(execute(_COUNTS, [actor.workspace_id, [run.pk for run in newest]]))
        return [
            LogSession(
                PREFIX + base62(run.pk),
                run.created_at,
                1 + len(_begun(run)) + told.get(run.pk, 0) + len(_ended(run)),
            )
            for run in newest
        ]

    def entries(self, actor: Actor, session_id: str, limit: int) -> list[dict[str, Any]]:
        try:
            return run_log(actor, parse_bare(session_id.removeprefix(PREFIX)), limit=limit)
        except NotFound:
            return []


def register_logs() -> None:
    """From `ready()`."""
    contribute(PREFIX, RunLogs())


def run_log(actor: Actor, run_id: UUID, *, limit: int) -> list[dict[str, Any]]:
    """The header and the run's newest `limit` - 1 entries, oldest first; NotFound."""
    runs = Run.objects.in_workspace(actor.workspace_id).select_related("agent")
    run = runs.defer("input", "limits").filter(pk=run_id).first()
    if run is None:
        raise NotFound
    steps = Step.objects.in_workspace(actor.workspace_id).filter(run_id=run_id)
    newest = list(steps.defer("input").order_by("-index")[:limit])
    begun = _begun(run) if len(newest) < limit else []
    told = [entry for step in reversed(newest) for entry in _transcript(step)]
    entries = [*begun, *told, *_ended(run)]
    return [_header(run), *entries[max(0, len(entries) - limit + 1) :]]


def _header(run: Run) -> dict[str, Any]:
    header = {
        "_run": True,
        "runId": base62(run.pk),
        "agentName": run.agent.name if run.agent else "",
        "startedAt": rfc3339(run.started_at or run.created_at),
        "pid": 0,
    }
    if run.subject_type == "task" and run.subject_id is not None:
        header["taskId"] = base62(run.subject_id)
    return header


def _begun(run: Run) -> list[dict[str, Any]]:
    entries = [{"ts": rfc3339(run.created_at), "event": "spawning"}]
    if run.started_at is not None:
        entries.append({"ts": rfc3339(run.started_at), "event": "spawned"})
    return entries


def _ended(run: Run) -> list[dict[str, Any]]:
    if run.status not in ENDINGS:
        return []
    entry: dict[str, Any] = {"ts": rfc3339(run.finished_at), "event": ENDINGS[run.status]}
    if run.status == RunStatus.FAILED:
        entry["data"] = {"code": run.error_code, "message": run.error_message}
    elif run.status == RunStatus.CANCELLED and run.cancel_reason:
        entry["data"] = {"reason": run.cancel_reason}
    return [entry]


def _transcript(step: Step) -> Iterator[dict[str, Any]]:
    moment, output = rfc3339(step.finished_at), step.output
    if step.kind == "tool":
        yield {
            "ts": moment,
            "type": "tool_result",
            "toolId": step.call_id,
            "tool": step.name,
            "content": _shown(output),
            "isError": step.status != "ok",
        }
        return
    output = output if isinstance(output, dict) else {}
    if text := output.get("text"):
        yield {"ts": moment, "type": "assistant", "text": text[:LONGEST_TEXT]}
    for call in output.get("calls") or ():
        yield {
            "ts": moment,
            "type": "tool_use",
            "tool": call["name"],
            "toolId": call["id"],
            "input": _hidden(call.get("arguments")),
        }


def _shown(output: Any) -> str:
    content = output.get("content") if isinstance(output, dict) else output
    if content is None:
        return ""
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return text[:LONGEST_RESULT]


def _hidden(value: Any) -> Any:
    return redacted(value, longest=LONGEST_TEXT, most=MOST_ITEMS, secret=_looks_secret)


def _looks_secret(name: str, value: Any) -> bool:
    if is_secret(name, value):
        return True
    counts = value is None or isinstance(value, (bool, int, float))
    return not counts and _SENSITIVE.search(_WORD_STARTS.sub("_", name).lower()) is not None
