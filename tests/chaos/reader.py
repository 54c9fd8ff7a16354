"""Follows a project's server-sent events over every reconnect, as an EventSource would: by the last id."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

AGAIN_AFTER = 0.1  # seconds; EventSource waits longer, which the rules of replay allow for less


@dataclass(frozen=True, slots=True)
class Heard:
    """One event of the stream. `id` as it came; `data` the payload."""

    id: str
    event: str
    data: dict[str, Any]


@dataclass
class Reader:
    """`urls`: tried in turn. `last_id`: where it begins; told gaps are kept in `gaps`."""

    urls: list[str]
    token: str
    workspace: str
    last_id: str = "0"
    heard: list[Heard] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    connects: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _client: httpx.Client | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def reach(self, seq: int, seconds: float) -> bool:
        """Wait until the event with this number has been heard."""
        deadline = time.monotonic() + seconds
        while int(self.last_id.split(".")[0]) < seq:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def stop(self) -> None:
        self._stop.set()
        if self._client is not None:
            self._client.close()
        self._thread.join(10)

    def _run(self) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            with suppress(
                httpx.HTTPError, RuntimeError, OSError
            ):  # killed, refused, closed by `stop`
                self._follow(self.urls[turn % len(self.urls)])
            self._stop.wait(AGAIN_AFTER)

    def _follow(self, url: str) -> None:
        headers = {"Authorization": f"Bearer {self.token}", "Last-Event-ID": self.last_id}
        path = f"{url}/api/v1/projects/{self.workspace}/events"
        with httpx.Client(headers=headers, timeout=httpx.Timeout(5, read=40)) as client:
            self._client = client
            with client.stream("GET", path) as answer:
                answer.raise_for_status()
                self.connects += 1
                self._read(answer)

    def _read(self, answer: httpx.Response) -> None:
        buffer = b""
        for piece in answer.iter_raw():
            buffer += piece
            *blocks, buffer = buffer.split(b"\n\n")
            for block in blocks:
                self._take(block.decode())

    def _take(self, block: str) -> None:
        """A block is whole or not there: what a dying server sent half is asked for again."""
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            if not name and value.startswith(" gap"):
                self.gaps.append(value.strip())
            fields[name] = fields.get(name, "") + value.removeprefix(" ")
        if "data" not in fields:
            return
        told = json.loads(fields["data"])
        self.heard.append(Heard(fields["id"], told["event"], told["data"]))
        self.last_id = fields["id"]
