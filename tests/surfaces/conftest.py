"""What every test of a surface needs: fresh rate windows, a door to knock on, keys for each door."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from django.conf import settings as django_settings
from django.test import Client

from apps.core import crypto
from apps.core.ids import uuid7, wire_id
from apps.surfaces import doors, jwe, ratewindow
from apps.workspaces.credentials import sealing_context
from apps.workspaces.models import ApiToken
from tests.surfaces import probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from tests.support.cast import Aurora

HMAC_ID, HMAC_SECRET = "MUXI_0123456789abcdef", "sk_" + "ab" * 32
ADMIN_TOKEN = "the-operators-own-token"
AUTH_SECRET = "the secret that the panel and the engine share"
INTERNAL = "an internal secret of the panel"


@pytest.fixture(autouse=True)
def _fresh_windows(settings: Any) -> Iterator[None]:
    Path(django_settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)  # WhiteNoise warns else
    settings.ADMIN_TOKEN = ADMIN_TOKEN
    settings.AUTH_SECRET = AUTH_SECRET
    settings.AUTH_INTERNAL_SECRET = INTERNAL
    probe.made.clear()
    ratewindow.store.cache_clear()
    doors.forget_limits()
    yield
    ratewindow.store.cache_clear()


@pytest.fixture
def knock() -> Client:
    """A client that sees a crash as the surface answers it."""
    return Client(raise_request_exception=False)


def make_key(
    kind: str, workspace_id: UUID, scope: str = "admin", **more: Any
) -> tuple[ApiToken, str]:
    """A credential of `kind`, and its plain text."""
    raw = crypto.new_token(f"{kind}_")
    row = ApiToken.objects.create(
        kind=kind,
        workspace_id=workspace_id,
        name=kind,
        scope=scope,
        prefix=raw[:20],
        digest=crypto.digest(raw),
        **more,
    )
    return row, raw


def make_hmac_key(workspace_id: UUID) -> ApiToken:
    """The signing key `HMAC_ID` with `HMAC_SECRET`."""
    token_id = uuid7()
    context = sealing_context(workspace_id, token_id)
    return ApiToken.objects.create(
        id=token_id,
        kind="hmac",
        workspace_id=workspace_id,
        name="deploy",
        scope="admin",
        prefix=HMAC_ID,
        digest=crypto.digest(HMAC_ID + HMAC_SECRET),
        sealed_secret=crypto.seal(HMAC_SECRET.encode(), context=context),
    )


@dataclass(frozen=True)
class Side:
    """One surface as a client of it sees the probe."""

    name: str
    path: str
    good: Callable[[str], dict[str, str]]  # method -> headers that open the door
    bad: dict[str, str]


def _signed(method: str, path: str) -> dict[str, str]:
    from muxi.auth import build_auth_header

    return {"Authorization": build_auth_header(HMAC_ID, HMAC_SECRET, method, path)}


@pytest.fixture
def sides(aurora: Aurora) -> dict[str, Side]:
    """Every surface, with credentials of Aurora that work and some that do not."""
    place = wire_id("ws", aurora.id)
    bearer = {"Authorization": f"Bearer {aurora.ada_token}"}
    nobody = {"Authorization": "Bearer pmx_nobody"}
    make_hmac_key(aurora.id)
    admin_key = {"X-MUXI-ADMIN-KEY": make_key("admin_key", aurora.id)[1]}
    panel = jwe.seal_token({"sub": str(aurora.ada_user.pk), "email": aurora.ada_user.email})
    rows = (
        Side("polymux", f"/workspaces/{place}/probes", lambda _: bearer, nobody),
        Side("muxi-server", "/rpc/probes", lambda m: _signed(m, "/rpc/probes"), nobody),
        Side("muxi-formation", "/v1/probes", lambda _: admin_key, {"X-MUXI-ADMIN-KEY": "fma_x"}),
        Side("polpo", "/api/v1/projects/aurora/probes", lambda _: bearer, {"X-API-Key": "nope"}),
        Side("molecule", f"/workspaces/{place}/schedules", lambda _: bearer, nobody),
        Side(
            "polyant",
            "/api/instances/aurora/probes",
            lambda _: {"Authorization": f"Bearer {panel}"},
            nobody,
        ),
        Side("openai", "/v1/models/probes", lambda _: bearer, nobody),
    )
    return {side.name: side for side in rows}


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis of this session's own on a free port; skipped where there is none."""
    program = shutil.which("redis-server")
    if program is None:
        if os.environ.get("POLYMUX_REQUIRE_SERVICES") == "1":
            pytest.fail("redis-server is not installed")
        pytest.skip("redis-server is not installed")
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        port = probe_socket.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    server = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    try:
        yield wait_for_redis(port)
    finally:
        server.terminate()
        server.wait(10)


def wait_for_redis(port: int) -> str:
    """The URL, once the server answers."""
    url = f"redis://127.0.0.1:{port}/0"
    client = redis.Redis.from_url(url)
    for _ in range(100):
        try:
            client.ping()
        except redis.ConnectionError:
            time.sleep(0.05)
        else:
            client.close()
            return url
    raise TimeoutError(url)
