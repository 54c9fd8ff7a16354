"""A running server, asked over HTTP with signed calls (contract/muxi.md §2-3).

Where it is and which key signs: `--server`, `--key`, else `POLYMUX_SERVER`, `POLYMUX_KEY_ID`; the secret only
from `POLYMUX_KEY_SECRET` or the file that `POLYMUX_KEY_SECRET_FILE` names: a command line is seen by all.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from django.core.management.base import CommandError

from apps.core.checks import wrong
from apps.core.errors import Conflict, DomainError, NotFound, UpstreamFailed
from apps.surfaces import muxi_server

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator

USUAL_SERVER = "http://127.0.0.1:7890"
SECONDS = 60.0  # until a whole answer, or between two events
EVENTS = {"Accept": "text/event-stream"}
Event = tuple[str, dict[str, Any]]


def add_server(parser: ArgumentParser) -> None:
    """The options that say which server."""
    parser.add_argument("--server", metavar="URL", help=f"default {USUAL_SERVER}")
    parser.add_argument("--key", metavar="ID", help="the signing key, as MUXI_…")


def server_of(options: dict[str, Any]) -> Server:
    """The server that the options and the environment name. InvalidInput when a key is missing."""
    url = options["server"] or os.environ.get("POLYMUX_SERVER") or USUAL_SERVER
    key_id = options["key"] or os.environ.get("POLYMUX_KEY_ID", "")
    secret = _secret()
    if not key_id or not secret:
        raise wrong(
            "key", "Set POLYMUX_KEY_ID and POLYMUX_KEY_SECRET: `manage.py signing_key new`."
        )
    return Server(url.rstrip("/"), key_id, secret)


def _secret() -> str:
    path = os.environ.get("POLYMUX_KEY_SECRET_FILE")
    if not path:
        return os.environ.get("POLYMUX_KEY_SECRET", "")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise wrong("POLYMUX_KEY_SECRET_FILE", f"{path}: {error.strerror}.") from None


@dataclass(frozen=True, slots=True)
class Server:
    """`data(…)` gives what a call answers, `events(…)` what it streams."""

    url: str
    key_id: str
    secret: str

    def data(
        self, method: str, path: str, *, query: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """The `data` of the answer. Raises DomainError in the server's words."""
        with self._asked(method, path, query=query) as response:
            response.read()
            body = _json(response)
        found: dict[str, Any] = body.get("data") or {}
        return found

    def events(
        self,
        method: str,
        path: str,
        *,
        content: bytes = b"",
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
    ) -> Iterator[Event]:
        """The events of a streamed answer. Raises as `data`, also for an `error` event."""
        said = {**EVENTS, **(headers or {})}
        with self._asked(method, path, content=content, headers=said, query=query) as response:
            for name, told in _events(response.iter_lines()):
                if name == "error":
                    raise UpstreamFailed(f"{told.get('stage', '')}: {told.get('message', '')}")
                yield name, told

    def exists(self, slug: str) -> bool:
        """Whether a formation of this id is deployed there."""
        try:
            self.data("GET", f"/rpc/formations/{slug}")
        except NotFound:
            return False
        return True

    @contextmanager
    def _asked(
        self,
        method: str,
        path: str,
        *,
        content: bytes = b"",
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
    ) -> Iterator[httpx.Response]:
        moment = str(int(time.time()))
        signature = muxi_server.sign(self.secret.encode(), moment, method, path)
        proof = f"MUXI-HMAC key={self.key_id}, timestamp={moment}, signature={signature}"
        said = {"Authorization": proof, **(headers or {})}
        try:
            with (
                httpx.Client(base_url=self.url, timeout=SECONDS, trust_env=False) as client,
                client.stream(method, path, content=content, headers=said, params=query) as answer,
            ):
                if answer.is_error:
                    answer.read()
                    raise _refusal(answer)
                yield answer
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise CommandError(f"{self.url} does not answer: {error}") from None


def _events(lines: Iterator[str]) -> Iterator[Event]:
    name, data = "message", ""
    for line in lines:
        field, _, value = line.partition(":")
        if field == "event":
            name = value.strip()
        elif field == "data":
            data += value.strip()
        elif not line and data:
            yield name, json.loads(data)
            name, data = "message", ""


def _refusal(answer: httpx.Response) -> DomainError:
    """What the server said no with, as one line."""
    body = _json(answer)
    words = f"{body.get('error', answer.reason_phrase)}: {body.get('message', '')}"
    kinds: dict[int, type[DomainError]] = {404: NotFound, 409: Conflict}
    return kinds.get(answer.status_code, UpstreamFailed)(words)


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise CommandError(f"{answer.url} answers, but is no server of formations.")
    return found
