"""Makes missions over the REST API of whichever web process answers, and knows what was promised.

An answer that was lost says nothing: the mission is looked up by its name, and made again only when it
is not there; an execution that was begun already is refused, which is as good as a yes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

# A small graph with a parallel part: title -> what it needs.
SHAPE: dict[str, tuple[str, ...]] = {
    "plan": (),
    "left": ("plan",),
    "middle": ("plan",),
    "right": ("plan",),
    "join": ("left", "middle", "right"),
    "close": ("join",),
}
SETTLES = 0.5  # seconds after which a request whose server was killed has committed or never will
PATIENCE = 60.0


def document(name: str, agent: str, seconds: float = 0.0) -> dict[str, Any]:
    """`seconds`: how long each task's last words take."""
    slowly = f" for={seconds:g}" if seconds else ""
    return {
        "tasks": [
            {
                "title": title,
                "description": f"effect={name}.{title}{slowly}",
                "assignTo": agent,
                "dependsOn": list(needs),
            }
            for title, needs in SHAPE.items()
        ]
    }


@dataclass
class Driver:
    """`urls`: web processes, `tokens`: clients; both in turn. `promised`: missions acknowledged, by name."""

    urls: list[str]
    tokens: list[str]
    workspace: str
    agent: str = "worker"
    promised: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)  # answers that no fault explains
    lost: int = 0
    _turn: int = 0
    _local: threading.local = field(default_factory=threading.local)
    _clients: list[httpx.Client] = field(default_factory=list)

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def make(self, names: list[str], *, threads: int = 4, pause: float = 0.0) -> None:
        """Create and execute them all; returns when each has been acknowledged."""

        def one(name: str) -> None:
            self.start_mission(name)
            time.sleep(pause)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, names))

    def start_mission(self, name: str, seconds: float = 0.0) -> str:
        """The mission's id, once it has been executed."""
        mission = self._insist(
            lambda: self._post(
                "missions", {"name": name, "data": document(name, self.agent, seconds)}
            ),
            lambda: self.find(name),
        )
        self._insist(
            lambda: self._post(f"missions/{mission['id']}/execute"),
            lambda: self._begun(mission["id"]),
        )
        self.promised.append(name)
        return str(mission["id"])

    def find(self, name: str) -> dict[str, Any] | None:
        missions: list[dict[str, Any]] = self._ask("GET", "missions")["data"]
        return next((found for found in missions if found["name"] == name), None)

    def statuses(self) -> dict[str, str]:
        return {found["name"]: found["status"] for found in self._ask("GET", "missions")["data"]}

    def _begun(self, mission_id: str) -> dict[str, Any] | None:
        found: dict[str, Any] = self._ask("GET", f"missions/{mission_id}")["data"]
        return None if found["status"] == "draft" else found

    def _insist(
        self, act: Callable[[], dict[str, Any]], look: Callable[[], dict[str, Any] | None]
    ) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return act()
            except Unknown:
                self.lost += 1
                if time.monotonic() > deadline:
                    raise
            time.sleep(SETTLES)
            while time.monotonic() < deadline:
                try:
                    found = look()
                except Unknown:
                    time.sleep(0.2)
                    continue
                if found is not None:
                    return found
                break

    def _post(self, path: str, body: Any = None) -> dict[str, Any]:
        found: dict[str, Any] = self._ask("POST", path, body)["data"]
        return found

    def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        self._turn += 1
        url = self.urls[self._turn % len(self.urls)]
        token = self.tokens[self._turn % len(self.tokens)]
        try:
            answer = self._client().request(
                method,
                f"{url}/api/v1/projects/{self.workspace}/{path}",
                json=body,
                headers={"Authorization": f"Bearer {token}"},
            )
        except httpx.TransportError as error:
            raise Unknown(str(error)) from error
        if answer.status_code == 503:  # the database is away, and it says so
            raise Unknown(answer.text[:200])
        if answer.status_code >= 500:
            self.odd.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
            raise Unknown(answer.text[:200])
        if answer.status_code >= 400:
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        found: dict[str, Any] = answer.json()
        return found

    def _client(self) -> httpx.Client:
        if not hasattr(self._local, "client"):
            self._local.client = httpx.Client(timeout=20)
            self._clients.append(self._local.client)
        client: httpx.Client = self._local.client
        return client


class Unknown(Exception):
    """Nobody answered, or could: it may have been done, or not."""
