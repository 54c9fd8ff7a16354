"""Who still needs a secret. What refers to one (a formation's file, an agent) stands above workspaces:
those apps register a question in `ready()`, and a secret that one of them needs is not deleted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from apps.core.rows import execute

if TYPE_CHECKING:
    from collections.abc import Callable

    from apps.core.actor import Actor

    Question = Callable[[Actor, str], bool]

_UNFIT = re.compile(r"[^A-Z0-9_]")
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('secrets:' || %s, 0))"
_questions: dict[str, Question] = {}


def keep_secret_while(what: str, needs: Question) -> None:
    """`needs(actor, secret's name)` is asked before a secret goes; the last registration holds."""
    _questions[what] = needs


def is_needed(actor: Actor, name: str) -> bool:
    return any(needs(actor, name) for needs in _questions.values())


def lock_secrets(actor: Actor) -> None:
    """Until the transaction ends nobody else looks whether a secret is there, or needed, to change that."""
    execute(_LOCK, [str(actor.workspace_id)])


def as_in_a_file(name: str) -> str:
    """How a formation's file spells a secret's name: upper case, `_` for all but A-Z, 0-9
    (contract/muxi.md §6).
    """
    return _UNFIT.sub("_", name.upper())
