"""Who hears of a fact inside the transaction that publishes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from apps.core.actor import Actor
    from apps.core.facts import Fact

F = TypeVar("F", bound="Fact")

_subscribers: dict[type[Fact], list[Callable[[Actor, Any], None]]] = {}


def subscribe(fact: type[F], handler: Callable[[Actor, F], None]) -> None:
    """Call `handler(actor, fact)` inside the publishing transaction, for `fact` and its subclasses.

    Registered in `AppConfig.ready()`; registering twice is the same as once.
    """
    handlers = _subscribers.setdefault(fact, [])
    if handler not in handlers:
        handlers.append(handler)


def unsubscribe(fact: type[F], handler: Callable[[Actor, F], None]) -> None:
    _subscribers.get(fact, []).remove(handler)


def tell_subscribers(actor: Actor, fact: Fact) -> None:
    """Call the fact's subscribers, most specific class first; what they raise goes through."""
    for kind in type(fact).__mro__:
        for handler in _subscribers.get(kind, ()):
            handler(actor, fact)
