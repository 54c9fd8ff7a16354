"""uvicorn's WebSocket protocol with our word for a peer that is gone (contract/polymux.md §11.7)."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

HEARTBEAT_LOST = 4408
LINGER_SECONDS = 5.0


class LivenessProtocol(WebSocketsSansIOProtocol):
    """Pings by `ws_ping_interval`; no pong within `ws_ping_timeout` closes with 4408, not 1011."""

    async def send(self, message: Any) -> None:
        """A handshake refused by a whole HTTP answer is complete: uvicorn would log it as an error."""
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True

    def keepalive_timeout(self) -> None:
        self.pong_timer = None
        self.pending_ping_payload = None
        if self.close_sent or self.transport.is_closing():
            return
        self.conn.fail(HEARTBEAT_LOST, "heartbeat lost")
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()
        # What the peer never takes must not keep the connection: a closing transport waits for it.
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)
