"""The openai surface (contract/polyant.md B22, contract/polpo.md §11).

`GET /v1/models` is an ordinary view. `POST /v1/chat/completions` streams: it is an ASGI application on
the loop, and the turn is carried by this process (`carried.py`).
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework.response import Response

from apps.conversations.admission import Admitted, admit_completion
from apps.conversations.api.shapes import ModelList
from apps.conversations.carried import CarriedTurn
from apps.conversations.completions import ChunkWriter, completion_json
from apps.conversations.outcomes import answered, failure_of
from apps.conversations.targets import list_targets
from apps.core.aio import db_call
from apps.core.ids import base62
from apps.events.http import Exchange, StreamingApp
from apps.surfaces import openai
from apps.surfaces.kit import Reply
from apps.surfaces.views import OpenAIView

if TYPE_CHECKING:
    from rest_framework.request import Request

    from apps.core.actor import Caller
    from apps.surfaces.kit import Where

STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


class ModelsView(OpenAIView):
    """The workspaces and agents a caller may talk to."""

    def workspace_of(self, caller: Caller) -> Where:
        return None

    @extend_schema(operation_id="list_models", responses=ModelList)
    def get(self, request: Request, **_: Any) -> Response:
        return Response({"object": "list", "data": list_targets(self.caller)})


class CompletionsApp(StreamingApp):
    """`POST /v1/chat/completions`."""

    surface = openai.SURFACE

    async def respond(self, exchange: Exchange, body: bytes) -> None:
        admitted = await db_call(admit_completion, exchange.seen, body)
        turn = CarriedTurn(admitted.turn)
        exchange.on_disconnect(turn.live.cancel.set)
        completion_id = f"chatcmpl-{base62(admitted.turn.run_id)}"
        if admitted.request.stream:
            await self._stream(exchange, turn, admitted, completion_id)
        else:
            await self._whole(exchange, turn, admitted, completion_id)

    async def _whole(
        self, exchange: Exchange, turn: CarriedTurn, admitted: Admitted, name: str
    ) -> None:
        outcome = answered(await asyncio.shield(turn.task))
        body = json.dumps(completion_json(name, admitted.label, outcome)).encode()
        headers = openai.SURFACE.plain_headers(exchange.seen) | admitted.headers
        await exchange.reply(Reply(200, headers | {"Content-Type": "application/json"}, body))

    async def _stream(
        self, exchange: Exchange, turn: CarriedTurn, admitted: Admitted, name: str
    ) -> None:
        """Nothing is sent before the first token, so that an early failure has its own status."""
        options = admitted.request.stream_options
        writer = ChunkWriter(
            name, admitted.label, with_usage=bool(options and options.include_usage)
        )
        await turn.news.wait()
        if turn.task.done() and not turn.untold:
            answered(turn.task.result())  # raises what went wrong
        headers = openai.SURFACE.plain_headers(exchange.seen) | admitted.headers
        await exchange.start(200, headers | STREAM_HEADERS)
        prefix = writer.opening()
        while not turn.task.done() or turn.untold:
            turn.news.clear()
            if untold := turn.take():
                await exchange.write(prefix + b"".join(map(writer.piece, untold)))
                prefix = b""
            elif not turn.task.done():
                await turn.news.wait()
        await exchange.finish(prefix + self._closing(exchange, turn, writer))

    def _closing(self, exchange: Exchange, turn: CarriedTurn, writer: ChunkWriter) -> bytes:
        outcome = turn.task.result()
        if (error := failure_of(outcome)) is None or (outcome.text and outcome.calls):
            return writer.closing(outcome)
        reply = self.surface.answer(error, exchange.seen)
        return writer.error(json.loads(reply.body))


completions_app = CompletionsApp()
urlpatterns = [path("v1/models", ModelsView.as_view())]
