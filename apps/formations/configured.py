"""A formation's file as its admin sees it: defaults filled in, secrets masked (contract/muxi.md §5.9, §6).

Pure: the parsed file in, the data of an answer out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.core.masking import masked_block

if TYPE_CHECKING:
    from collections.abc import Mapping

    Document = Mapping[str, Any]

RETRIES, TIMEOUT = 3, 30  # of an MCP server; times and seconds
MCP_DEFAULTS: Mapping[str, Any] = {
    "default_retry_attempts": RETRIES,
    "default_timeout_seconds": TIMEOUT,
    "max_tool_iterations": 10,
    "max_tool_calls": 50,
    "max_repeated_errors": 3,
    "max_timeout_in_seconds": 300,
    "max_tool_timeout_in_seconds": 30,
    "enhance_user_prompts": True,
}
OVERLORD_DEFAULTS: Mapping[str, Any] = {
    "soul": "",
    "llm": {},
    "caching": {"enabled": True, "ttl": 3600},
    "response": {"format": "markdown", "widgets": False, "streaming": False},
    "workflow": {
        "auto_decomposition": True,
        "complexity_threshold": 7.0,
        "plan_approval_threshold": 7,
        "max_parallel_tasks": 5,
    },
    "clarification": {"max_questions": 5, "style": "conversational", "persist_learned_info": False},
}
SCHEDULER_DEFAULTS: Mapping[str, Any] = {
    "enabled": True,
    "timezone": "UTC",
    "check_interval_minutes": 1,
    "max_concurrent_jobs": 10,
    "max_failures_before_pause": 3,
    "default_time": "09:00",
}
# Blocks of which GET /config only says where they are to be read.
RESOURCES: Mapping[str, str] = {
    "overlord": "/v1/overlord",
    "llm": "/v1/llm/settings",
    "memory": "/v1/memory",
    "async": "/v1/async",
    "scheduler": "/v1/scheduler",
    "a2a": "/v1/a2a",
    "logging": "/v1/logging",
}
DESTINATION: Mapping[str, Any] = {
    "transport": "stdout",
    "level": "info",
    "format": "jsonl",
    "enabled": True,
}


def config_of(document: Document) -> dict[str, Any]:
    """The formation file as it was parsed; `{}` for a draft that has none yet."""
    return _block(document, "config")


def whole_file(document: Document) -> dict[str, Any]:
    """The file with its placeholders, and what was written out masked."""
    shown: dict[str, Any] = masked_block(config_of(document))
    return shown


def block(document: Document, name: str) -> dict[str, Any]:
    """One block verbatim but for secrets; empty when the file does not have it."""
    shown: dict[str, Any] = masked_block(_block(config_of(document), name))
    return shown


def with_defaults(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` over `defaults`, block by block; a block that is no mapping stands as it is."""
    merged = {**defaults, **given}
    for name, usual in defaults.items():
        if isinstance(usual, dict):
            chosen = given.get(name)
            merged[name] = (
                with_defaults(usual, chosen) if isinstance(chosen, dict) else merged[name]
            )
    return merged


def overview(document: Document, *, slug: str, version: str) -> dict[str, Any]:
    """What there is and where to read it, without the numbers of agents, servers and secrets."""
    config = config_of(document)
    mcp = _block(config, "mcp")
    return {
        "formation_id": slug,
        "version": version,
        "description": str(config.get("description") or ""),
        "schema_version": str(config.get("schema") or "1.0.0"),
        "mcp": {
            "default_retry_attempts": mcp.get("default_retry_attempts", RETRIES),
            "default_timeout_seconds": mcp.get("default_timeout_seconds", TIMEOUT),
        },
        **{name: {"resource": path} for name, path in RESOURCES.items()},
    }


def overlord(document: Document) -> dict[str, Any]:
    return with_defaults(OVERLORD_DEFAULTS, block(document, "overlord"))


def soul(document: Document) -> str:
    """Who the overlord is; empty when the file does not say. Older files call it `persona`."""
    given = _block(config_of(document), "overlord")
    return str(given.get("soul") or given.get("persona") or "")


def scheduler(document: Document) -> dict[str, Any]:
    return with_defaults(SCHEDULER_DEFAULTS, block(document, "scheduler"))


def mcp_defaults(document: Document) -> dict[str, Any]:
    """The limits of MCP calls; the servers are rows, and stand elsewhere."""
    given = {name: value for name, value in block(document, "mcp").items() if name in MCP_DEFAULTS}
    return with_defaults(MCP_DEFAULTS, given)


def destinations(document: Document) -> dict[str, Any]:
    """Where logs go: the system's, and the conversations' (`streams` in the file)."""
    logging = block(document, "logging")
    system = {"level": "info", "destination": "stdout"} | _block(logging, "system")
    conversation = _block(logging, "conversation")
    written = conversation.get("streams") or conversation.get("destinations")
    rows = [row for row in written if isinstance(row, dict)] if isinstance(written, list) else []
    listed = [{"id": f"destination-{at}", **DESTINATION, **row} for at, row in enumerate(rows, 1)]
    return {
        "system": {name: system[name] for name in ("level", "destination")},
        "conversation": {"destinations": listed, "count": len(listed)},
    }


def _block(document: Document, name: str) -> dict[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}
