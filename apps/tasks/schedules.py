"""What is done when a schedule is due: each app above registers its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from apps.core.actor import Actor
    from apps.core.facts import Fact
    from apps.tasks.models import Schedule


class Due(Protocol):
    """Does what `schedule` is for; the facts are the caller's to publish.

    `fire` runs in the transaction in which the schedule's row is locked and moved on: what it does
    happens once, or not at all. A DomainError is written down as why it did not happen. `expired` is
    called instead when the schedule's end has come. `lock` takes the subject's row before the
    schedule's, as everybody does who changes both.
    """

    def lock(self, actor: Actor, schedule: Schedule) -> None: ...

    def fire(self, actor: Actor, schedule: Schedule) -> list[Fact]: ...

    def expired(self, actor: Actor, schedule: Schedule) -> list[Fact]: ...


_due: dict[str, Due] = {}


def on_due(subject_type: str, due: Due) -> None:
    _due[subject_type] = due


def due_of(subject_type: str) -> Due:
    return _due[subject_type]
