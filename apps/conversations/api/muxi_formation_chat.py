"""The turns of the muxi-formation surface: chat, audiochat, triggers (contract/muxi.md §5.4-5.5, §5.8).

They take as long as a model does, so they are ASGI applications on the loop. A stream's head is sent at
once, with a comment each second of silence; a failure after that is `event: error`, one before it has
its own status and, where a stream was asked for, the same frame as its body: the official package reads
frames and no status.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any

from django.conf import settings

from apps.conversations.muxi import admission, answers, turns
from apps.conversations.muxi.admission import Replayed, wants_stream
from apps.conversations.muxi.asks import MAX_BODY
from apps.conversations.outcomes import answered, failure_of
from apps.core.aio import db_call
from apps.core.errors import DomainError
from apps.engine.ports import Ending
from apps.events.http import Exchange, StreamingApp, declared_length
from apps.surfaces import muxi_formation
from apps.surfaces.idempotency import REPLAY_HEADER
from apps.surfaces.kit import JSON_TYPE, Reply, domain_error

if TYPE_CHECKING:
    from apps.conversations.carried import CarriedTurn
    from apps.conversations.muxi.admission import AdmittedTurn
    from apps.engine.ports import Outcome
    from apps.surfaces.kit import Credentials

SURFACE = muxi_formation.SURFACE
SILENCE = 1.0  # seconds until a stream says that it is alive
STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


class FormationApp(StreamingApp):
    """A route that carries a turn."""

    surface = SURFACE
    object_name, done_type = "chat_response", "chat.completed"

    async def before_body(self, exchange: Exchange) -> None:
        """A body with a file in it is taken from whom we know only."""
        if (declared_length(exchange.scope) or 0) > settings.MAX_BODY_BYTES:
            await db_call(admission.enter, exchange.seen, muxi_formation.CLIENT)
            exchange.allow(MAX_BODY)

    async def respond(self, exchange: Exchange, body: bytes) -> None:
        try:
            await self.answer(exchange, await self.admit(exchange.seen, body))
        except Replayed as known:
            await exchange.reply(_replayed(known))
        except Exception as error:
            if exchange.started or not _asked_to_stream(exchange.seen, body):
                raise
            reply = SURFACE.answer(error, exchange.seen)
            told = answers.error_frame(domain_error(error))
            await exchange.reply(Reply(reply.status, reply.headers | STREAM_HEADERS, told))

    async def admit(self, seen: Credentials, body: bytes) -> AdmittedTurn:
        raise NotImplementedError

    async def answer(self, exchange: Exchange, admitted: AdmittedTurn) -> None:
        """In the manner that was asked for. The idempotency key is settled whatever comes of it."""
        reply: Reply | None = None
        try:
            if admitted.wish.streams:
                await self._stream(exchange, admitted)
            else:
                later = admitted.wish.later
                reply = await (self._later(admitted) if later else self._whole(exchange, admitted))
        finally:
            await asyncio.shield(turns.settle(admitted, reply))
        if reply is not None:
            await exchange.reply(reply)

    # --- Later ---------------------------------------------------------------------------------

    async def _later(self, admitted: AdmittedTurn) -> Reply:
        await turns.accept(admitted)
        return self._accepted(admitted)

    def _accepted(self, admitted: AdmittedTurn) -> Reply:
        webhook = admitted.wish.webhook
        told = answers.accepted_json(admitted.wish.name, webhook["url"] if webhook else "")
        return _enveloped(admitted, self.object_name, "chat.async_accepted", told, status=202)

    # --- Whole ---------------------------------------------------------------------------------

    async def _whole(self, exchange: Exchange, admitted: AdmittedTurn) -> Reply:
        turn = self._begun(exchange, admitted)
        try:
            done, _ = await asyncio.wait([turn.task], timeout=admitted.wish.patience)
        finally:
            admitted.begun = _has_begun(turn)
        if not done:
            admitted.goes_alone = True
            return self._accepted(admitted)
        outcome = answered(turn.task.result())
        told = self._told(outcome, admitted)
        return _enveloped(admitted, self.object_name, self.done_type, told)

    def _told(self, outcome: Outcome, admitted: AdmittedTurn) -> dict[str, Any]:
        return answers.chat_json(outcome, admitted.about)

    def _begun(self, exchange: Exchange, admitted: AdmittedTurn) -> CarriedTurn:
        turn = turns.begin(admitted)

        def stop() -> None:
            if not admitted.goes_alone:
                turn.live.cancel.set()

        exchange.on_disconnect(stop)
        return turn

    # --- Streamed ------------------------------------------------------------------------------

    async def _stream(self, exchange: Exchange, admitted: AdmittedTurn) -> None:
        turn, about = self._begun(exchange, admitted), admitted.about
        frames = answers.ObjectFrames(about) if admitted.wish.as_objects else answers.TextFrames()
        where = {"X-Request-Id": about.request_id, "X-Session-Id": about.session_id}
        try:
            safe = {name: value for name, value in where.items() if value.isascii()}
            await exchange.start(200, admitted.asker.headers | STREAM_HEADERS | safe)
            await exchange.write(frames.opening())
            await _relay(exchange, turn, frames)
            await exchange.finish(_closing(turn, frames))
        finally:
            admitted.begun = _has_begun(turn)

    def in_band(self, exchange: Exchange, error: BaseException) -> bytes:
        return answers.error_frame(domain_error(error))


def _has_begun(turn: CarriedTurn) -> bool:
    """Its rows are there; one whose client has gone may be about to write them."""
    return bool(turn.live.hold.attempt) or not turn.task.done()


async def _relay(exchange: Exchange, turn: CarriedTurn, frames: answers.TextFrames) -> None:
    """What the turn says, as it says it."""
    while not turn.task.done() or turn.untold:
        turn.news.clear()
        if told := b"".join(map(frames.piece, turn.take())):
            await exchange.write(told)
        elif not turn.task.done():
            try:
                async with asyncio.timeout(SILENCE):
                    await turn.news.wait()
            except TimeoutError:
                await exchange.write(answers.KEEP_ALIVE)


def _closing(turn: CarriedTurn, frames: answers.TextFrames) -> bytes:
    try:
        outcome = turn.task.result()
    except DomainError as error:
        return answers.error_frame(error)
    if failure := failure_of(outcome):
        return answers.error_frame(failure)
    whole = answered(outcome)
    note = whole.text.removeprefix(outcome.text) if outcome.ending is Ending.WAITING else ""
    return (frames.piece(note) if note else b"") + frames.closing(whole)


def _enveloped(
    admitted: AdmittedTurn, object_name: str, type_name: str, data: Any, status: int = 200
) -> Reply:
    body = muxi_formation.envelope(object_name, type_name, admitted.seen, data=data)
    headers = SURFACE.plain_headers(admitted.seen) | admitted.asker.headers
    return Reply(status, headers | {"Content-Type": JSON_TYPE}, SURFACE.dumps(body))


def _replayed(known: Replayed) -> Reply:
    """The first answer, byte for byte."""
    kept = known.kept
    return Reply(kept.status, dict(kept.headers) | {REPLAY_HEADER: "true"}, bytes(kept.body))


def _asked_to_stream(seen: Credentials, body: bytes) -> bool:
    try:
        said = json.loads(body).get("stream")
    except (ValueError, AttributeError, RecursionError):
        said = None
    return wants_stream(seen, said=said if isinstance(said, bool) else None)


class ChatApp(FormationApp):
    """`POST /v1/chat`."""

    async def admit(self, seen: Credentials, body: bytes) -> AdmittedTurn:
        return await turns.admitted_once(partial(admission.admit_chat, seen, body))


class AudioChatApp(FormationApp):
    """`POST /v1/audiochat`: what is said in the recordings, then as chat; no idempotency (§5.5)."""

    async def admit(self, seen: Credentials, body: bytes) -> AdmittedTurn:
        recording = await db_call(admission.admit_recording, seen, body)
        said = await turns.listen(recording)
        return await db_call(admission.admit_heard, recording, said)


class TriggerApp(FormationApp):
    """`POST /v1/triggers/{name}`: later unless it is asked not to (§5.8)."""

    object_name, done_type = "request", "request.completed"

    async def admit(self, seen: Credentials, body: bytes) -> AdmittedTurn:
        return await turns.admitted_once(partial(admission.admit_trigger, seen, body))

    def _accepted(self, admitted: AdmittedTurn) -> Reply:
        told = {"status": "processing", "request_id": admitted.wish.name}
        return _enveloped(admitted, "request", "request.processing", told)

    def _told(self, outcome: Outcome, admitted: AdmittedTurn) -> dict[str, Any]:
        """`content` as upstream's code has it, `response` as its documents do."""
        about = admitted.about
        where = {"request_id": about.request_id, "session_id": about.session_id}
        return {
            "status": "completed",
            "content": outcome.text,
            "response": outcome.text,
            **where,
        }


chat_app, audio_chat_app, trigger_app = ChatApp(), AudioChatApp(), TriggerApp()
