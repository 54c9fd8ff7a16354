"""What an MCP server says about its tools, bounded and pinned; and what its answers say."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Any

LONGEST_DESCRIPTION = 4 * 1024  # characters
LONGEST_SCHEMA = 32 * 1024  # bytes of JSON
LONGEST_ANSWER = 20_000  # characters
MOST_PINS = 128  # definitions remembered for one server
_FIT = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Listed:
    """One tool as its server defines it. `digest` is the SHA-256 of the definition."""

    name: str
    description: str
    parameters: dict[str, Any]
    digest: str


def readable(raw: Any) -> Listed | None:
    """The SDK's tool within our bounds; None for one that exceeds them (too large, odd name, NUL)."""
    name, schema = raw.name, raw.input_schema
    if not _FIT.fullmatch(name) or schema.get("type") != "object":
        return None
    canonical = json.dumps([name, raw.description, schema], sort_keys=True)
    if len(canonical) > LONGEST_SCHEMA + LONGEST_DESCRIPTION * 4:
        return None
    if len(json.dumps(schema)) > LONGEST_SCHEMA or "\\u0000" in canonical:
        return None
    return Listed(
        name=name,
        description=(raw.description or "")[:LONGEST_DESCRIPTION],
        parameters=schema,
        digest=hashlib.sha256(canonical.encode()).hexdigest(),
    )


def pin(
    pinned: list[dict[str, Any]], found: list[Listed]
) -> tuple[tuple[Listed, ...], list[dict[str, Any]], list[str]]:
    """Compare with what was pinned: (tools to offer, pins to keep, names that changed).

    A new tool is pinned as it is seen first. A pin outlives its tool, so that leaving and coming
    back with another definition is a change too.
    """
    pins = {row["name"]: row for row in pinned}
    usable, changed = [], []
    for tool in found:
        known = pins.get(tool.name)
        if known is None:
            pins[tool.name] = {**asdict(tool), "changed": False}
            usable.append(tool)
        elif known["digest"] == tool.digest and not known.get("changed"):
            usable.append(tool)
        else:
            pins[tool.name] = {**known, "changed": True}
            changed.append(tool.name)
    seen = {tool.name for tool in found}
    kept = sorted(pins.values(), key=lambda row: (row["name"] not in seen, row["name"]))
    return tuple(usable), kept[:MOST_PINS], changed


def answer_text(result: Any) -> str:
    """The text of a tool's answer; other parts are named, not inlined."""
    parts: list[str] = []
    for block in result.content:
        if block.type == "text":
            parts.append(block.text)
        elif block.type == "resource" and getattr(block.resource, "text", None) is not None:
            parts.append(block.resource.text)
        else:
            parts.append(f"[{block.type}]")
    if not parts and result.structured_content is not None:
        parts.append(json.dumps(result.structured_content, ensure_ascii=False))
    return "\n".join(parts)[: LONGEST_ANSWER * 2]
