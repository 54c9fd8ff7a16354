"""A turn that the request itself carries, and what its writer has not sent yet.

The turn is a task of its own: a client that goes away cancels the model's work, never the bookkeeping.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from apps.conversations.inline import carry_out, live_run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from apps.conversations.inline import InlineTurn
    from apps.engine.ports import Outcome
    from apps.runs.runner import LiveRun

News = str | dict[str, Any]  # a text delta, or what becomes of a tool call (contract/polpo.md §11)

_under_way: set[asyncio.Task[Outcome]] = set()  # the loop itself keeps tasks only weakly


class CarriedTurn:
    """One turn under way: its task, and the tokens and notices its writer has not sent yet.

    `first` is done before it begins, in the same task.
    """

    def __init__(
        self, turn: InlineTurn, first: Callable[[LiveRun], Awaitable[None]] | None = None
    ) -> None:
        self.live = live_run(turn)
        self.untold: list[News] = []
        self.news = asyncio.Event()
        self.task = asyncio.create_task(self._carry(turn, first))
        self.task.add_done_callback(self._ended)
        _under_way.add(self.task)

    async def _carry(
        self, turn: InlineTurn, first: Callable[[LiveRun], Awaitable[None]] | None
    ) -> Outcome:
        if first is not None:
            await first(self.live)
        return await carry_out(turn, self.live, self._hear)

    def _hear(self, news: News) -> None:
        self.untold.append(news)
        self.news.set()

    def _ended(self, task: asyncio.Task[Outcome]) -> None:
        _under_way.discard(task)
        self.news.set()

    def take(self) -> list[News]:
        taken, self.untold = self.untold, []
        return taken
