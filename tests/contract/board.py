"""A board's client on the polpo surface."""

from __future__ import annotations

import json
from typing import Any

from django.test import Client

SCOPED, PLAIN = "/api/v1/projects/aurora", "/api/v1"
LAYOUTS = [SCOPED, PLAIN]  # contract/polpo.md §1.1: every route stands under both


class Board:
    """`board("POST", "/tasks", {...})` with one key, in one of the layouts."""

    def __init__(self, token: str, base: str = SCOPED) -> None:
        self.client = Client(raise_request_exception=False)
        self.headers, self.base = {"X-API-Key": token}, base

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        content = b"" if body is None else json.dumps(body).encode()
        return self.raw(method, path, content, **headers)

    def raw(
        self, method: str, path: str, content: bytes, kind: str = "application/json", **headers: str
    ) -> Any:
        return self.client.generic(
            method, self.base + path, content, kind, headers={**self.headers, **headers}
        )


def refusal(response: Any) -> tuple[int, str]:
    """(status, code) of an error in the surface's envelope (contract/polpo.md §2.3)."""
    body = response.json()
    assert body["ok"] is False
    assert body["error"]
    assert set(body) <= {"ok", "error", "code", "details"}
    return response.status_code, body["code"]
