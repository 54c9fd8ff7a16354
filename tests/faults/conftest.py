"""The product as a user runs it, a provider it talks to, and the tools to break things with."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.platform.conftest import Serving
from tests.support.databases import fresh_database
from tests.support.stub_provider import StubProvider


@pytest.fixture
def stub() -> Iterator[StubProvider]:
    provider = StubProvider()
    provider.start()
    yield provider
    provider.stop()


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="pm-faults-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def database() -> Iterator[str]:
    with fresh_database() as url:
        yield url


@pytest.fixture
def serve(folder: Path, stub: StubProvider, database: str) -> Iterator[Callable[..., Serving]]:
    """Starts `manage.py serve` on the stub provider; several starts share one database and folder."""
    started: list[Serving] = []

    def start(**settings: str) -> Serving:
        mine = {
            "DATABASE_URL": database,
            "POLYMUX_MODEL_ENDPOINTS": f"stub={stub.base_url}",
            "POLYMUX_MODEL": "stub/default",
            "POLYMUX_RATE_READ": "100000",
            "POLYMUX_RATE_WRITE": "100000",
        }
        started.append(Serving(folder / "var", **(mine | settings)))
        return started[-1].wait_until_up()

    yield start
    for one in started:
        if one.process.poll() is None:
            one.kill()


class Talk:
    """A client with the first start's token, on whichever server is up."""

    def __init__(self, server: Serving, token: str) -> None:
        self.http = httpx.Client(
            base_url=server.url, headers={"Authorization": f"Bearer {token}"}, timeout=20
        )
        self.token = token

    def new_session(self) -> dict[str, Any]:
        workspace = self.http.get("/workspaces").json()["data"][0]["id"]
        made: dict[str, Any] = self.http.post("/sessions", json={"workspace_id": workspace}).json()
        return made

    def messages(self, session: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.http.get(f"/sessions/{session['id']}/messages").json()[
            "data"
        ]
        return found

    def listen(
        self, session: dict[str, Any], *, until: Callable[[dict[str, Any]], bool]
    ) -> list[Any]:
        """The frames of a new socket up to the one that `until` wants; at most 60 s."""
        return asyncio.run(self._listen(session, until))

    async def _listen(self, session: dict[str, Any], until: Callable[[Any], bool]) -> list[Any]:
        frames: list[Any] = []
        address = str(self.http.base_url).rstrip("/").replace("http", "ws")
        headers = {"Authorization": f"Bearer {self.token}"}
        async with (
            asyncio.timeout(60),
            connect(f"{address}/session/{session['id']}/", additional_headers=headers) as socket,
        ):
            while not frames or not until(frames[-1]):
                frames.append(json.loads(await socket.recv()))
        return frames


@pytest.fixture
def talk_to() -> Iterator[Callable[..., Talk]]:
    """`talk_to(server)` with the token of its first start, or one that is given."""
    made: list[Talk] = []

    def start(server: Serving, token: str = "") -> Talk:
        made.append(Talk(server, token or server.token))
        return made[-1]

    yield start
    for talk in made:
        talk.http.close()


class Traffic:
    """Requests one after the other in threads, until told to stop; every status is kept."""

    def __init__(self, ask: Callable[[], int], threads: int = 4) -> None:
        self.statuses: list[int] = []
        self._ask, self._stop = ask, threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.statuses.append(self._ask())

    def stop(self) -> list[int]:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        return self.statuses
