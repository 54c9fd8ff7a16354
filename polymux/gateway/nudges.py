"""A formation changed: tell this process's gateway at once, and the others over the channel layer.

A nudge says nothing but that; a lost one costs a second, when gateways compare anyway.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from apps.core import aio
from apps.events import nudge
from apps.formations import registry

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

GROUP = "pmx.formations"
LONGEST_WAIT = 5.0


def listen(loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> Callable[[], None]:
    """Call `wake` on `loop` when this process changes a formation, until the result is called."""

    def tell(_slug: str) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(wake)

    registry.on_change.append(tell)

    def unlisten() -> None:
        if tell in registry.on_change:
            registry.on_change.remove(tell)

    return unlisten


def tell_others(slug: str) -> None:
    """For `registry.on_change`, in every process: any thread; never waits, never raises."""
    if nudge.remote_layer() is None:
        return
    try:
        loop = aio.home_loop()
        loop.call_soon_threadsafe(nudge.send_later, GROUP, {"type": "formations"})
    except Exception:
        log.warning("a gateway was not told of %s; it will look", slug, exc_info=True)


async def receive(wake: Callable[[], None]) -> None:
    """Hear of other processes' changes for ever; returns at once where there is no other process."""
    layer: Any = nudge.remote_layer()
    wait = 0.5
    while layer is not None:
        try:
            channel = await layer.new_channel("gateway.")
            async with asyncio.timeout(nudge.SEND_SECONDS):
                await layer.group_add(GROUP, channel)
            wait = 0.5
            while True:
                await layer.receive(channel)
                registry.forget()
                wake()
        except Exception as error:  # noqa: BLE001 - the comparison each second covers it
            log.warning("no word of other processes' formations (%r); looking each second", error)
            await asyncio.sleep(wait)
            wait = min(LONGEST_WAIT, wait * 2)
