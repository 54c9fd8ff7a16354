"""What a surface's streams call a fact: `task.moved` in the log is `task:transition` on polpo's.

TLDR: the app that publishes a fact says in `ready()` how it sounds:

    speak("polpo", "task.removed", "task:removed")                  # its payload in camelCase
    speak("polpo", "task.created", "task:created", _whole_task)     # a shape of its own
    speak("polpo", "approval.decided", "approval:resolved", _resolved)
    speak("polpo", "approval.decided", "approval:rejected", _rejected)   # a second event

A shape is given the fact's payload, completed as `selectors.complete_with` says, and answers the event's
data, or None: not this time. Several registrations of one fact are several events, in that order. A fact
without a word is not told on that surface's streams.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from apps.core.ids import base62

if TYPE_CHECKING:
    from apps.events.log import EventRow

logger = logging.getLogger(__name__)

Shape = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]
Word = tuple[str, Mapping[str, Any]]  # (event, JSON-ready data)

_words: dict[str, dict[str, dict[str, Shape]]] = {}  # surface -> fact -> event -> shape


def speak(surface: str, fact: str, event: str, shape: Shape | None = None) -> None:
    """Tell facts called `fact` as `event` on that surface's streams. Saying it again replaces it."""
    _words.setdefault(surface, {}).setdefault(fact, {})[event] = shape or in_camel_case


def hush(surface: str, fact: str) -> None:
    """Tell that fact no more."""
    _words.get(surface, {}).pop(fact, None)


def spoken(surface: str) -> frozenset[str]:
    """The facts that have a word there."""
    return frozenset(_words.get(surface, ()))


def told(surface: str, row: EventRow) -> tuple[Word, ...]:
    """The events of one fact, made once a row. A shape that fails is logged and left out."""
    key = ("words", surface)
    found: tuple[Word, ...] | None = row.wire.get(key)
    if found is None:
        shapes = _words.get(surface, {}).get(row.name, {})
        made = ((event, _shaped(row, event, shape)) for event, shape in shapes.items())
        found = row.wire[key] = tuple((event, data) for event, data in made if data is not None)
    return found


def _shaped(row: EventRow, event: str, shape: Shape) -> Mapping[str, Any] | None:
    try:
        return shape(row.payload)
    except Exception:
        logger.exception("fact %s %d cannot be told as %s", row.name, row.seq, event)
        return None


# --- Shapes ----------------------------------------------------------------------------------------
def in_camel_case(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The usual shape: top-level names in camelCase, ids bare, what is absent left out."""
    return {
        camel(name): bare(value) if name.endswith("_id") else value
        for name, value in payload.items()
        if value is not None
    }


def bare(value: Any) -> Any:
    """A fact's UUID as the bare `<base62>` (contract/polpo.md §2.1); anything else unchanged."""
    try:
        return base62(value if isinstance(value, UUID) else UUID(value))
    except (ValueError, TypeError, AttributeError):
        return value


@lru_cache(maxsize=1_024)
def camel(name: str) -> str:
    """`max_retries` -> `maxRetries`."""
    return re.sub(r"_+([a-z0-9])", lambda hit: hit[1].upper(), name)


def present(**fields: Any) -> dict[str, Any]:
    """What has a value: absent optional fields are omitted, not null (contract/polpo.md §2.1)."""
    return {name: value for name, value in fields.items() if value not in (None, "")}
