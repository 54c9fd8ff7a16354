"""Races for real: threads, each with its own connection and transaction, let go at once."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 30.0  # seconds until a stuck runner fails the test


@dataclass
class Outcome:
    """What the runners met. `errors` holds the class of each exception, `raised` the exceptions."""

    results: list[Any] = field(default_factory=list)
    raised: list[BaseException] = field(default_factory=list)

    @property
    def winners(self) -> int:
        """How many runners returned without an exception."""
        return len(self.results)

    @property
    def errors(self) -> list[type[BaseException]]:
        return [type(error) for error in self.raised]


def race(function: Callable[..., Any], /, *args: Any, runners: int, **kwargs: Any) -> Outcome:
    """Call `function(*args, **kwargs)` from `runners` threads at the same moment.

    A runner that returns wins, one that raises loses; the order means nothing. Needs real
    transactions: `pytest.mark.django_db(transaction=True)`.
    """
    return race_each([(function, args, kwargs)] * runners)


def race_each(calls: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]]) -> Outcome:
    """As `race`, with one call of its own for each runner."""
    outcome = Outcome()
    barrier = threading.Barrier(len(calls), timeout=PATIENCE)
    guard = threading.Lock()

    def run(call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]) -> None:
        function, args, kwargs = call
        try:
            connection.ensure_connection()  # opened before the barrier, so that only the work races
            barrier.wait()
            result = function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  (a loser may lose in any way)
            with guard:
                outcome.raised.append(error)
        else:
            with guard:
                outcome.results.append(result)
        finally:
            connection.close()

    _run_all([threading.Thread(target=run, args=(call,), daemon=True) for call in calls])
    return outcome


def _run_all(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads), "a runner is stuck (deadlock?)"
