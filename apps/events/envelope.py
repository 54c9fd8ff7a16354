"""The envelope of contract/polymux.md §11: `{type, payload, id, timestamp, session_id, seq}`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, UUID, uuid5

from apps.core.clock import now, rfc3339
from apps.core.ids import uuid7

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apps.events.frames import Chunk
    from apps.events.log import EventRow
    from apps.events.socket import LiveSocket


class SocketEncoder:
    """A socket's dialect for the hub: the envelope without its end, which `seal` adds with the `seq`."""

    __slots__ = ("_session", "_socket", "name")

    def __init__(self, socket: LiveSocket, wire_session_id: str) -> None:
        self.name = f"{socket.dialect()}:{wire_session_id}"
        self._socket = socket
        self._session = wire_session_id

    def event(self, row: EventRow) -> Sequence[str]:
        moment = rfc3339(row.created_at)
        return [
            open_envelope(kind, payload, _frame_id(row, place), moment, self._session)
            for place, (kind, payload) in enumerate(self._socket.translate(row) or ())
        ]

    def tokens(self, chunk: Chunk) -> Sequence[str]:
        moment = rfc3339(now())
        return [
            open_envelope(kind, payload, uuid7(), moment, self._session)
            for kind, payload in self._socket.translate_tokens(chunk)
        ]

    def seal(self, piece: str, seq: int | None) -> str:
        return piece + "}" if seq is None else f'{piece},"seq":{seq}}}'

    def ending(self, row: EventRow) -> int:
        return self._socket.ending(row)


def open_envelope(kind: str, payload: Any, id_: UUID, moment: str | None, session: str) -> str:
    """The envelope up to, and without, its closing brace."""
    body = {"type": kind, "payload": payload, "id": str(id_), "timestamp": moment}
    if session:
        body["session_id"] = session
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), default=str)[:-1]


def _frame_id(row: EventRow, place: int) -> UUID:
    """The same for every socket and every replay, so that clients can tell doubles."""
    return uuid5(row.session_id or NAMESPACE_OID, f"{row.seq}.{place}.{row.created_at}")
