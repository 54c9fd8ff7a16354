"""After the commit: tell this process's hub, and the other processes over the channel layer.

A nudge says only "workspace W is at seq N"; readers fetch the rows themselves, so the channel layer
never carries a tenant's data and a lost nudge costs one heartbeat (contract: design §8).

- `committed` may be called by any thread, never raises and never waits: it merges into one pending
  entry a workspace and wakes the home loop once (channel layers are not safe across loops).
- While Redis is gone the newest number of each workspace is kept and sent when it is back.
- Revocations and "this session has new tokens" travel the same way.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Protocol

from apps.core import aio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

log = logging.getLogger(__name__)

REVOKED_GROUP = "pmx.revoked"
MOST_PENDING = 10_000
MOST_STAMPS = 20_000
SEND_SECONDS = 2.0
RETRY_SECONDS = 0.5


class Listener(Protocol):
    """The process's hub. Called on the home loop only."""

    def poke(self, workspace_id: UUID, seq: int) -> None: ...

    def close_revoked(self, target: Mapping[str, UUID | None]) -> None: ...


def workspace_group(workspace_id: UUID) -> str:
    return f"pmx.w.{workspace_id.hex}"


def tokens_group(session_id: UUID) -> str:
    return f"pmx.t.{session_id.hex}"


def remote_layer() -> Any | None:
    """The channel layer, when it reaches other processes."""
    from channels.layers import InMemoryChannelLayer, get_channel_layer

    layer = get_channel_layer()
    return None if layer is None or isinstance(layer, InMemoryChannelLayer) else layer


class _Pending:
    """What waits for the home loop. Guarded by `lock`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.heads: dict[UUID, int] = {}
        self.revoked: list[dict[str, UUID | None]] = []
        self.woken: asyncio.AbstractEventLoop | None = None
        self.stamps: OrderedDict[UUID, int] = OrderedDict()


_pending = _Pending()
_listeners: list[Listener] = []
before_heads: list[Callable[[], None]] = []
_outgoing: OrderedDict[str, dict[str, Any]] = OrderedDict()
_sender: asyncio.Task[None] | None = None
_last_complaint = 0.0


def listen(listener: Listener) -> None:
    if listener not in _listeners:
        _listeners.append(listener)


def unlisten(listener: Listener) -> None:
    if listener in _listeners:
        _listeners.remove(listener)


def stamp_of(session_id: UUID) -> int:
    """The last number this process has committed for the session; 0 when it has none."""
    return _pending.stamps.get(session_id, 0)


def committed(workspace_id: UUID, seq: int, sessions: Mapping[UUID, int] | None = None) -> None:
    """Facts up to `seq` are in the log. Any thread; never raises."""
    with _pending.lock:
        for session_id, stamp in (sessions or {}).items():
            _note_stamp(session_id, stamp)
        if len(_pending.heads) < MOST_PENDING and seq > _pending.heads.get(workspace_id, 0):
            _pending.heads[workspace_id] = seq
    _wake()


def revoked(
    *, token_id: UUID | None = None, user_id: UUID | None = None, workspace_id: UUID | None = None
) -> None:
    """Live streams of that token, or of that user (in that workspace), must end. Never raises."""
    target = {"token_id": token_id, "user_id": user_id, "workspace_id": workspace_id}
    with _pending.lock:
        if len(_pending.revoked) < MOST_PENDING:
            _pending.revoked.append(target)
    _wake()


def send_later(group: str, message: dict[str, Any]) -> None:
    """Send to a group of other processes; the newest message of a group wins. Home loop only."""
    global _sender  # noqa: PLW0603
    while len(_outgoing) >= MOST_PENDING:
        _outgoing.popitem(last=False)
    _outgoing[group] = message
    loop = asyncio.get_running_loop()
    if _sender is None or _sender.done() or _sender.get_loop() is not loop:
        _sender = loop.create_task(_send_outgoing())


def _note_stamp(session_id: UUID, stamp: int) -> None:
    stamps = _pending.stamps
    stamps[session_id] = max(stamp, stamps.get(session_id, 0))
    stamps.move_to_end(session_id)
    while len(stamps) > MOST_STAMPS:
        stamps.popitem(last=False)


def _wake() -> None:
    if not _listeners and remote_layer() is None:
        with _pending.lock:  # nobody listens anywhere: do not start a loop for it
            _pending.heads.clear()
            _pending.revoked.clear()
        return
    try:
        loop = aio.home_loop()
        with _pending.lock:
            if _pending.woken is loop and not loop.is_closed():
                return
            _pending.woken = loop
        loop.call_soon_threadsafe(_flush)
    except Exception:
        _pending.woken = None
        log.warning("a nudge was not sent; readers will find the rows by heartbeat", exc_info=True)


def _flush() -> None:
    """On the home loop: hand everything pending to the local hub and to the sender."""
    with _pending.lock:
        heads, _pending.heads = _pending.heads, {}
        targets, _pending.revoked = _pending.revoked, []
        _pending.woken = None
    for prepare in before_heads:
        prepare()
    for listener in _listeners:
        for workspace_id, seq in heads.items():
            listener.poke(workspace_id, seq)
        for target in targets:
            listener.close_revoked(target)
    if remote_layer() is None:
        return
    for workspace_id, seq in heads.items():
        send_later(workspace_group(workspace_id), {"type": "head", "w": workspace_id.hex, "s": seq})
    if targets:
        send_later(REVOKED_GROUP, {"type": "revoked", "targets": _merge_revoked(targets)})


def _merge_revoked(targets: list[dict[str, UUID | None]]) -> list[dict[str, str | None]]:
    """Unlike heads, revocations do not supersede each other: keep what has not been sent yet."""
    waiting = _outgoing.get(REVOKED_GROUP, {}).get("targets", [])
    fresh = [{key: value.hex if value else None for key, value in t.items()} for t in targets]
    return [*waiting, *fresh][-1000:]


async def _send_outgoing() -> None:
    from apps.events import relay  # late: it stands on this module

    layer = remote_layer()
    await relay.drained()
    while _outgoing and layer is not None:
        group, message = _outgoing.popitem(last=False)
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await layer.group_send(group, message)
        except Exception as error:  # noqa: BLE001 - the heartbeat covers it
            _complain(error)
            _outgoing.setdefault(group, message)
            _outgoing.move_to_end(group, last=False)
            await asyncio.sleep(RETRY_SECONDS)


def _complain(error: Exception) -> None:
    global _last_complaint  # noqa: PLW0603
    if time.monotonic() - _last_complaint > 30:
        _last_complaint = time.monotonic()
        log.warning(
            "the channel layer does not answer (%r); live streams fall back to polling", error
        )
