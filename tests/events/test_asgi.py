"""The router as a real process: what it imports, and how it stops."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from apps.core.actor import Actor

HEAVY = ("twisted", "daphne", "openai", "pydantic_ai", "onnxruntime", "xllamacpp", "mcp")


def environment() -> dict[str, str]:
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    return dict(os.environ)


@pytest.mark.slow
def test_importing_the_application_imports_nothing_heavy() -> None:
    code = f"import sys, polymux.asgi; print([m for m in {HEAVY!r} if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True
    )
    assert found.stdout.strip() == "[]"


SERVER = """
import sys
import uvicorn
from polymux.asgi import SERVER_OPTIONS, Router
from tests.events import rooms
rooms.ALLOWED.add("good")
uvicorn.run(Router(rooms.SOCKETS, rooms.STREAMS), port=int(sys.argv[1]), log_level="warning", **SERVER_OPTIONS)
"""


@pytest.mark.slow
async def test_a_server_told_to_stop_sends_its_clients_elsewhere_at_once(actor: Actor) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    database = connection.settings_dict
    url = f"postgresql://{database['USER']}@/{database['NAME']}?host={database['HOST']}"
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-W", "ignore", "-c", SERVER, str(port)],
        env={**environment(), "DATABASE_URL": url},
    )
    try:
        ws = await _connect(port, actor)
        await ws.recv()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            async with asyncio.timeout(5):
                await ws.recv()
        assert closed.value.rcvd.code == 1001
        assert await asyncio.to_thread(process.wait, 10) in {0, -signal.SIGTERM}
        assert time.monotonic() - began < 5
    finally:
        process.kill()
        process.wait()


async def _connect(port: int, actor: Actor) -> Any:
    address = f"ws://127.0.0.1:{port}/workspace/{actor.workspace_id}/?token=good"
    for _ in range(150):
        try:
            return await connect(address)
        except OSError:
            await asyncio.sleep(0.2)
    raise AssertionError("the server did not start")
