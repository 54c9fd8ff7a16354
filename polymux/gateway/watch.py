"""The gateway: this process listens on every running formation's port (contract/muxi.md §3.10-3.12).

TLDR: a task compares the ports that the registry wants with those that are bound, each second and at once
when a formation changed, and binds and closes the difference. A formation is no process: binding its port
is all that starting it takes. Any number of gateways may watch one registry, one on a machine's address. A
port that a stranger holds is reported on its formation and tried again; the others are not kept waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apps.core.aio import db_call
from apps.formations import registry
from polymux.embedded.watch import record_gateway
from polymux.gateway import looking, nudges
from polymux.gateway.ports import Clock, Listener, PortTaken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import uvicorn

    from apps.formations.registry import Address

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
BATCH = 25  # ports bound before the loop serves others
TRY_AGAIN = 5.0  # seconds until a taken port is tried again
BEAT_SECONDS = 5.0
DRAIN_SECONDS = 10.0  # for requests on a port that closes


@dataclass(frozen=True, slots=True)
class Taken:
    """A port that could not be bound."""

    slug: str
    reason: str
    again_at: float


class Gateway:
    """Of one loop. `start`, and `close` at the end; all methods on the loop."""

    def __init__(self, config: uvicorn.Config, host: str) -> None:
        self.host = host
        self.bound: dict[int, Listener] = {}
        self.taken: dict[int, Taken] = {}
        self._config = config
        self._clock = Clock()
        self._mark: Any = None
        self._beaten_at = -BEAT_SECONDS
        self._woken = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._unlisten: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin to watch. Ports are bound a moment later; what fails is tried again."""
        if not self._config.loaded:
            self._config.load()
        allow_many_sockets()
        loop = asyncio.get_running_loop()
        looking.here.add(self)
        self._unlisten = nudges.listen(loop, self._woken.set)
        self._tasks = [
            loop.create_task(self._watch(), name="gateway"),
            loop.create_task(nudges.receive(self._woken.set), name="gateway nudges"),
        ]

    def stop_accepting(self) -> None:
        """No new connection on any port, and none is bound any more."""
        looking.here.discard(self)
        self._unlisten()
        for task in self._tasks:
            task.cancel()
        for listener in self.bound.values():
            listener.stop_accepting()

    async def close(self, seconds: float = DRAIN_SECONDS) -> None:
        """Stop; requests that are under way have `seconds` to finish."""
        self.stop_accepting()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        listeners, self.bound = list(self.bound.values()), {}
        await asyncio.gather(*(each.close(seconds) for each in listeners), *self._closing)

    # --- Wanted and bound ----------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            try:
                await self.compare()
                await self._beat()
            except Exception as error:  # noqa: BLE001 - the database is out of reach: ports stay as they are
                log.warning("the gateway could not read the registry: %r", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._woken.wait()
            self._woken.clear()

    async def _beat(self) -> None:
        """A sign of life: the loop runs and the registry answers."""
        if time.monotonic() - self._beaten_at >= BEAT_SECONDS:
            self._beaten_at = time.monotonic()
            await db_call(record_gateway)

    async def compare(self) -> None:
        """Bind and close what changed since the last time."""
        mark = await db_call(registry.ports_mark)
        if mark == self._mark and not self._is_retry_due():
            return
        wanted = await db_call(registry.wanted_ports)
        self._close_others(wanted)
        new = [port for port in wanted if port not in self.bound]
        for start in range(0, len(new), BATCH):
            batch = {port: wanted[port] for port in new[start : start + BATCH]}
            opened = [one.slug for port, one in batch.items() if await self._open(port, one)]
            if opened:
                await db_call(registry.report_bound, opened)
        self._mark = mark  # last: what was interrupted is compared again

    def _close_others(self, wanted: Mapping[int, Address]) -> None:
        for port, listener in list(self.bound.items()):
            if port in wanted:
                listener.address = wanted[port]
                continue
            del self.bound[port]
            listener.stop_accepting()
            task = asyncio.get_running_loop().create_task(listener.close(DRAIN_SECONDS))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        for port in self.taken.keys() - wanted.keys():
            del self.taken[port]

    async def _open(self, port: int, address: Address) -> bool:
        """Whether the port is bound now; False for one that somebody else has."""
        known = self.taken.get(port)
        if known is not None and known.again_at > time.monotonic():
            return False
        listener = Listener(port, address, self._config, self._clock)
        try:
            await listener.open(self.host)
        except PortTaken as refusal:
            if known is None:
                log.warning("port %d of formation %s: %s", port, address.slug, refusal)
            self.taken[port] = Taken(address.slug, str(refusal), time.monotonic() + TRY_AGAIN)
            await db_call(registry.report_taken, address.slug, port)
            return False
        self.bound[port] = listener
        self.taken.pop(port, None)
        return True

    def _is_retry_due(self) -> bool:
        moment = time.monotonic()
        return any(taken.again_at <= moment for taken in self.taken.values())


def allow_many_sockets() -> None:
    """As many open files as the system lets us have: a port is one, and each connection another."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 65_536
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
