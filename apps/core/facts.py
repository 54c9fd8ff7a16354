"""The base of every domain event: a frozen dataclass in the past tense (`events.py` in each app)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from apps.core.clock import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One fact. `name` is dotted past tense (`session.created`); the fields are its payload.

    `session_id` and `run_id`, where a fact has them, route it to that conversation's stream.
    `subject` (type, id field) links it in the console.
    """

    name: ClassVar[str]
    subject: ClassVar[tuple[str, str]] = ("", "")

    def payload(self) -> Mapping[str, Any]:
        """JSON-ready fields."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
