"""The process's fan-out: one topic a workspace, one read a nudge, one encoding a dialect.

TLDR: on the home loop, `sub = await hub().subscribe(workspace_id, encoder, session_id=…, since=…)`, then
`await sub.next()` in a loop and `sub.close()` in a finally. A nudge makes the topic read the rows after
its cursor once; each row is encoded once for each dialect and the same object goes to every reader's
bounded queue. Every 5 seconds the heartbeat compares all heads (a lost nudge costs that much) and asks
each credential whether it still holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any
from uuid import UUID

from apps.core.aio import db_call
from apps.events import frames, log, nudge, relay
from apps.events.stream import Encoder, StreamClosed, Subscription
from apps.events.topic import Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Encoder", "Hub", "StreamClosed", "Subscription", "hub"]

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 5.0
CHECKS_A_CALL = 50
MOST_SUBSCRIPTIONS = 20_000


class Hub:
    """One for a loop: see `hub()`. All methods on that loop only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.topics: dict[UUID, Topic] = {}
        self.stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._channel: str | None = None
        self._joined: set[str] = set()

    def start(self) -> None:
        if not self._tasks:
            self.stopping = False
            nudge.listen(self)
            frames.on_flush.append(self._tokens_ready)
            self._tasks = [
                self.loop.create_task(self._beat()),
                self.loop.create_task(self._receive()),
            ]

    async def stop(self, code: int = 1001) -> None:
        """Close every stream with `code` and end the hub's own tasks."""
        self.stopping = True
        nudge.unlisten(self)
        if self._tokens_ready in frames.on_flush:
            frames.on_flush.remove(self._tokens_ready)
        for sub in self.subscriptions:
            sub.close(code)
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await relay.close()

    @property
    def subscriptions(self) -> list[Subscription]:
        return [sub for topic in self.topics.values() for sub in topic.subscriptions]

    async def subscribe(
        self,
        workspace_id: UUID,
        encoder: Encoder,
        *,
        session_id: UUID | None = None,
        since: int | None = None,
        replay_at_most: int | None = None,
        names: frozenset[str] | None = None,
        still_allowed: Callable[[], bool] | None = None,
        token_id: UUID | None = None,
        user_id: UUID | None = None,
    ) -> Subscription:
        """A reader from `since` (its `cursor`; None: from now on).

        With `session_id`: that conversation's facts and token deltas, numbered as `frames.py` says; else
        the whole workspace, numbered by `seq`. `gap` is set on the result when `since` cannot be served
        in full (more than `replay_at_most` facts behind, older than what is kept, or from the future);
        the reader then begins at the present (session) or at the oldest fact that may be replayed
        (workspace). `names`: what this reader tells; only these facts count, and are read, in a replay.
        `still_allowed` runs on a database thread every 5 seconds; False closes with 4401.
        """
        self.start()
        topic = await self._topic(workspace_id)
        try:
            seen, token, gap = await self._begin_at(topic, session_id, since, replay_at_most, names)
            if session_id is not None:
                await relay.follow(session_id)
            sub = Subscription(topic, session_id, encoder, seen=seen, token=token)
            sub.gap, sub.still_allowed = gap, still_allowed
            sub.token_id, sub.user_id, sub.names = token_id, user_id, names
            topic.join(sub)
        finally:
            topic.expected -= 1
            if topic.empty:
                self._forget(topic)
        if session_id is not None:
            self._join_later(nudge.tokens_group(session_id))
        if self.stopping:
            sub.close(1001)
        return sub

    async def rewind(self, sub: Subscription, since: int, *, replay_at_most: int) -> bool:
        """Have a reader of a workspace begin again after `since`; True when there is a gap."""
        seen, _, gap = await self._begin_at(sub.topic, None, since, replay_at_most, sub.names)
        sub.rewind(seen)
        return gap

    def poke(self, workspace_id: UUID, seq: int) -> None:
        topic = self.topics.get(workspace_id)
        if topic is not None:
            topic.poke(seq)

    def close_revoked(self, target: Mapping[str, UUID | None]) -> None:
        """Close, with 4401, the streams of that token, or of that user (in that workspace)."""
        for sub in self.subscriptions:
            if _is_target(sub, target):
                sub.close(4401)

    # --- Subscribing ---------------------------------------------------------------------------

    async def _topic(self, workspace_id: UUID) -> Topic:
        """The topic, knowing its cursor; counts the caller as expected."""
        topic = self.topics.get(workspace_id)
        if topic is not None:
            topic.expected += 1
            try:
                await asyncio.shield(topic.ready)
            except BaseException:
                topic.expected -= 1
                raise
            return topic
        topic = self.topics[workspace_id] = Topic(workspace_id, self._forget)
        topic.expected += 1
        self._join_later(nudge.workspace_group(workspace_id))
        try:
            found = await db_call(log.heads, [workspace_id])
        except BaseException as error:
            del self.topics[workspace_id]
            topic.ready.set_exception(
                error if isinstance(error, Exception) else StreamClosed(1011, 0)
            )
            topic.ready.exception()  # seen: nobody else may be waiting
            raise
        topic.cursor = found.get(workspace_id, 0)
        topic.ready.set_result(None)
        topic.poke(topic.known)
        return topic

    async def _begin_at(
        self,
        topic: Topic,
        session_id: UUID | None,
        since: int | None,
        most: int | None,
        names: frozenset[str] | None,
    ) -> tuple[int, int | None, bool]:
        """(seq, token, gap) to begin at."""
        if since is None:
            return topic.cursor, None, False
        seq, token = frames.split_seq(since) if session_id is not None else (since, 0)
        present = await self._head(topic)
        ahead = seq > present
        if ahead and (most is None or session_id is not None):
            return present, None, True
        if not ahead and (seq == present or topic.recent_after(seq) is not None):
            return seq, token, False
        if session_id is None and most is not None:
            begin = await db_call(
                log.replay_from, topic.workspace_id, seq, present, most=most, names=names
            )
            return begin, None, begin != seq
        oldest = await db_call(log.oldest_kept, topic.workspace_id)
        if session_id is None:
            return max(seq, oldest - 1), None, seq < oldest - 1
        too_many = most is not None and most < await db_call(
            log.later_than, topic.workspace_id, seq, session_id, most
        )
        if too_many or seq < oldest - 1:
            return topic.cursor, None, True
        return seq, token, False

    async def _head(self, topic: Topic) -> int:
        found = await db_call(log.heads, [topic.workspace_id])
        present = max(topic.cursor, found.get(topic.workspace_id, 0))
        topic.poke(present)
        return present

    def _forget(self, topic: Topic) -> None:
        if self.topics.get(topic.workspace_id) is topic:
            del self.topics[topic.workspace_id]

    # --- Nudges from elsewhere -----------------------------------------------------------------

    async def _receive(self) -> None:
        """The one receiver of this process. Its loop only pokes, so the layer's queue stays empty."""
        layer = nudge.remote_layer()
        wait = 0.5
        while layer is not None:
            try:
                channel = self._channel = await layer.new_channel("hub.")
                await self._join_groups(layer)
                wait = 0.5
                while True:
                    self._on_message(await layer.receive(channel))
            except Exception as error:  # noqa: BLE001 - the heartbeat covers it
                logger.warning(
                    "no nudges from other processes (%r); polling until it is back", error
                )
                _forget_channels(layer)
                self._channel = None
                self._joined.clear()
                await asyncio.sleep(wait)
                wait = min(5.0, wait * 2)

    def _on_message(self, message: Mapping[str, Any]) -> None:
        try:
            kind = message["type"]
            if kind == "head":
                self.poke(UUID(message["w"]), int(message["s"]))
            elif kind == "tokens":
                relay.arrived(UUID(message["s"]))
            elif kind == "revoked":
                for target in message["targets"]:
                    self.close_revoked({k: UUID(v) if v else None for k, v in target.items()})
        except (KeyError, ValueError, TypeError):
            logger.warning("a nudge could not be read: %r", message)

    def _join_later(self, group: str) -> None:
        if self._channel is not None and group not in self._joined:
            task = self.loop.create_task(self._join_groups(nudge.remote_layer()))
            task.add_done_callback(_note_failure)

    async def _join_groups(self, layer: Any) -> None:
        """Be in exactly the groups this process has readers for."""
        channel = self._channel
        if layer is None or channel is None:
            return
        wanted = {nudge.REVOKED_GROUP}
        wanted |= {nudge.workspace_group(workspace_id) for workspace_id in self.topics}
        wanted |= {nudge.tokens_group(s) for t in self.topics.values() for s in t.by_session}
        for group in wanted - self._joined:
            async with asyncio.timeout(nudge.SEND_SECONDS):
                await layer.group_add(group, channel)
            self._joined.add(group)
        for group in self._joined - wanted:
            async with asyncio.timeout(nudge.SEND_SECONDS):
                await layer.group_discard(group, channel)
            self._joined.discard(group)

    # --- Token deltas --------------------------------------------------------------------------

    def _tokens_ready(self, sessions: set[UUID]) -> None:
        for topic in self.topics.values():
            for session_id in sessions & topic.by_session.keys():
                for sub in topic.by_session[session_id]:
                    sub.wake()

    # --- Heartbeat -----------------------------------------------------------------------------

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            for step in (self._compare_heads, self._check_credentials, self._rejoin):
                try:
                    await step()
                except Exception:
                    logger.warning("heartbeat step %s failed", step.__name__, exc_info=True)
            frames.sweep()

    async def _compare_heads(self) -> None:
        if self.topics:
            for workspace_id, seq in (await db_call(log.heads, list(self.topics))).items():
                self.poke(workspace_id, seq)

    async def _check_credentials(self) -> None:
        """Ask each credential once, however many streams it has open."""
        by_key: dict[tuple[Any, ...], list[Subscription]] = {}
        for sub in self.subscriptions:
            if sub.still_allowed is not None:
                who = (sub.token_id, sub.user_id) if sub.token_id or sub.user_id else (id(sub),)
                by_key.setdefault((sub.workspace_id, sub.session_id, *who), []).append(sub)
        groups = list(by_key.values())
        for start in range(0, len(groups), CHECKS_A_CALL):
            batch = groups[start : start + CHECKS_A_CALL]
            answers = await db_call(_ask, [group[0].still_allowed for group in batch])
            for group, allowed in zip(batch, answers, strict=True):
                for sub in group if not allowed else ():
                    sub.close(4401)

    async def _rejoin(self) -> None:
        await self._join_groups(nudge.remote_layer())
        for topic in list(self.topics.values()):
            for session_id in list(topic.by_session):
                relay.arrived(session_id)


def _ask(checks: Iterable[Callable[[], bool] | None]) -> list[bool]:
    return [check is None or check() for check in checks]


def _is_target(sub: Subscription, target: Mapping[str, UUID | None]) -> bool:
    if (token_id := target.get("token_id")) is not None:
        return sub.token_id == token_id
    workspace_id, user_id = target.get("workspace_id"), target.get("user_id")
    if workspace_id is not None and sub.workspace_id != workspace_id:
        return False
    return sub.user_id == user_id if user_id is not None else workspace_id is not None


def _forget_channels(layer: Any) -> None:
    """A channel whose subscription failed stays behind in the layer with its queue."""
    with contextlib.suppress(Exception):
        for name in [name for name in layer.channels if "hub." in name]:
            del layer.channels[name]


def _note_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.info("joining a group failed; the next heartbeat tries again")


_hub: Hub | None = None


def hub() -> Hub:
    """The hub of the running loop, which must be the process's home loop."""
    global _hub  # noqa: PLW0603
    loop = asyncio.get_running_loop()
    if _hub is None or _hub.loop is not loop:
        if _hub is not None:
            nudge.unlisten(_hub)
        _hub = Hub(loop)
    return _hub
