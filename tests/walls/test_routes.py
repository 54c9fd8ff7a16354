"""Wall 5: every route of every surface, walked by those who may not.

Routes are found, not listed: a new one is walked without a word here. For each route with an id,
with ids of things that exist in Aurora:

- Mallory (another workspace's owner) hears exactly what she hears about ids that nobody has;
- nobody (no credential) and a revoked token hear 401;
- Cleo (a viewer with a `write` token) changes nothing;
- a session's token opens its own session only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from django.db import transaction
from django.test import Client, override_settings

from apps.accounts.models import AuditEntry
from apps.events.models import Event
from apps.surfaces import muxi_formation, polpo
from apps.surfaces.prefixes import surface_of
from apps.workspaces.services import revoke_token
from polymux import asgi
from tests.support.cast import raise_aurora, raise_borealis
from tests.support.management import operator_of
from tests.walls.routes import Route, routes, routes_with_ids
from tests.walls.treasure import KINDS, NOT_AN_ID, Treasure, bury, filled, nowhere, spelled

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpResponse

    from tests.support.management import Signer

pytestmark = pytest.mark.django_db

SHUT = {401, 403, 404, 405}
# Open to everybody by contract: health, documents.
PUBLIC = re.compile(
    r"^/(api/v1/health|health|ping|livez|readyz|metrics|docs|favicon|robots|\.well-known|)($|/|\.)"
)
# The management API takes signatures, not tokens: each workspace's owner signs with a key of it. There is
# none for a viewer. (A token there is as good as no credential.)
SIGNED = "/rpc/"
SIGNERS: dict[str, Signer] = {}  # a person's token -> the signing key of their workspace
# Ids are taken once on an installation: that one is taken is told to everybody who wants it.
FIRST_COME = re.compile(r"^/rpc/formations/{formation_id}/deploy(/stream)?$")
# POSTs that only read, so that a viewer may; named one by one.
READING_POSTS: set[str] = set()

# Django knows these by name only: the application in front of it keeps them (tests/walls/test_streams.py).
STREAMED = re.compile(
    "|".join(f"^{path}$" for _, path, _ in (*asgi.STREAMS, *asgi.FORMATION_STREAMS))
)

WALK = [
    route
    for route in routes_with_ids()
    if not PUBLIC.match(route.path)
    and not STREAMED.match(route.path)
    and surface_of(route.path) is not muxi_formation.SURFACE  # tests/walls/test_formations.py
    and set(route.ids) - NOT_AN_ID.keys()
]
# Routes to a thing inside a workspace (a session's id carries its own).
INNER = [
    route
    for route in WALK
    if "session_id" in route.ids
    or (len({"workspace_id", *route.ids}) > 1 and "workspace_id" in route.ids)
]
EVERY_DOOR = [
    route for route in routes() if not PUBLIC.match(route.path) and not STREAMED.match(route.path)
]


@dataclass(frozen=True)
class World:
    treasure: Treasure
    absent: Treasure
    borealis: UUID
    mallory: str
    mallory_star: str
    ada: str
    ada_star: str
    cleo: str
    cleo_star: str
    revoked: str


@pytest.fixture(scope="module")
def world(django_db_setup, django_db_blocker):
    """Aurora with its treasure, and Borealis: made once, in a transaction that is never committed."""
    generous = override_settings(RATE_READ_PER_MIN=100_000, RATE_WRITE_PER_MIN=100_000)
    to_polpo = mock.patch.object(polpo, "PER_MINUTE", 100_000)
    with django_db_blocker.unblock(), generous, to_polpo, transaction.atomic():
        yield _made()
        transaction.set_rollback(True)


def _made() -> World:
    aurora, borealis = raise_aurora(), raise_borealis()
    treasure = bury(aurora)
    revoke_token(aurora.ben_login, aurora.ben_token_id)
    ada, mallory = operator_of(aurora), operator_of(borealis)
    SIGNERS.update(dict.fromkeys((aurora.ada_token, aurora.ada_star_token), ada))
    SIGNERS.update(dict.fromkeys((borealis.mallory_token, borealis.mallory_star_token), mallory))
    return World(
        treasure,
        nowhere(treasure),
        borealis.id,
        borealis.mallory_token,
        borealis.mallory_star_token,
        aurora.ada_token,
        aurora.ada_star_token,
        aurora.cleo_token,
        aurora.cleo_star_token,
        aurora.ben_token,
    )


# A body that the route would take from its owner, so that a refusal is about who asks and not about
# what they send. Default: {}. An answer of 400 or 415 to a stranger fails the walk: give the body here.
JSON = "application/json"
BODIES: dict[str, tuple[str, bytes]] = {
    "POST /sessions/{session_id}/messages": (JSON, b'{"content": "hello"}'),
    "POST /sessions/{session_id}/files": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhello\r\n--x--\r\n',
    ),
    "PATCH /sessions/{session_id}": (JSON, b'{"title": "mine now"}'),
    "PATCH /workspaces/{workspace_id}": (JSON, b'{"name": "mine now"}'),
    "PUT /rpc/formations/{formation_id}": ("application/gzip", b"mine now"),
    "POST /rpc/formations/{formation_id}/draft/files": (JSON, b'{"action": "list"}'),
}
for _base in ("/api/v1", "/api/v1/projects/{project_id}"):
    BODIES[f"PATCH {_base}/chat/sessions/{{session_id}}"] = (JSON, b'{"title": "mine now"}')
    for _note in ("memory", "memory/system-context", "memory/agent/{agent_name}"):
        BODIES[f"PUT {_base}/{_note}"] = (JSON, b'{"content": "mine now"}')
    _mission = f"{_base}/missions/{{mission_id}}"
    BODIES[f"PUT {_mission}/tasks/reorder"] = (JSON, b'{"titles": ["Dig", "Fill"]}')
    BODIES[f"PUT {_mission}/notifications"] = (JSON, b'{"notifications": null}')
    BODIES[f"POST {_base}/chat/sessions/import"] = (
        JSON,
        b'{"messages": [{"role": "user", "content": "mine now"}]}',
    )

UPLOAD = BODIES["POST /sessions/{session_id}/files"]
for _files in ("/api/v1/files", "/api/v1/projects/{project_id}/files"):
    BODIES |= {
        f"POST {_files}/upload": UPLOAD,
        f"POST {_files}/mkdir": (JSON, b'{"path": "mine now"}'),
        f"POST {_files}/rename": (JSON, b'{"path": "map.txt", "newName": "mine now"}'),
        f"POST {_files}/delete": (JSON, b'{"path": "map.txt"}'),
    }
# What a GET must be asked with, for the same reason.
QUERIES = {
    f"/api/v1/projects/{{project_id}}/files/{what}": "?path=map.txt" for what in ("read", "preview")
}

CLIENT = Client(raise_request_exception=False)  # one for all: each builds the middleware anew


def ask(route: Route, method: str, treasure: Treasure, token: str = "") -> HttpResponse:
    kind, body = BODIES.get(f"{method} {route.path}", (JSON, b"{}"))
    path = filled(route.path, treasure, kinds=route.ids) + QUERIES.get(route.path, "")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if route.path.startswith(SIGNED) and token in SIGNERS:
        headers = SIGNERS[token].headers(method, path)
    return CLIENT.generic(method, path, body, kind, headers=headers)


def heard(response: HttpResponse, treasure: Treasure) -> tuple[int, str]:
    """What a client can tell from the answer, the ids they sent and the request's own id aside."""
    body = response.content.decode()
    for kind in KINDS:
        body = body.replace(spelled(kind, treasure), f"<{kind}>")
    names = sorted(set(response.headers) - {"Date", "Content-Length"})
    stable = re.sub(r"req_[0-9A-Za-z]+|[0-9a-f-]{36}|\d{4}-\d\d-\d\dT[\d:.]+Z", "<>", body)
    return response.status_code, f"{names} {stable}"


def test_the_walk_finds_the_routes():
    assert len(WALK) > 8, "the enumeration of routes is broken"


def test_every_kind_of_id_has_a_sample():
    unknown = {
        kind: route.path
        for route in WALK
        for kind in route.ids
        if kind not in KINDS and kind not in NOT_AN_ID
    }
    assert not unknown, "add a sample of each to tests/walls/treasure.py: bury() and KINDS"


@pytest.mark.parametrize("route", WALK, ids=str)
def test_a_stranger_cannot_tell_whether_it_exists(route, world):
    if FIRST_COME.match(route.path):
        pytest.skip("whoever wants an id hears that it is taken")
    for method in route.methods:
        for token in (world.mallory, world.mallory_star):
            foreign = ask(route, method, world.treasure, token)
            absent = ask(route, method, world.absent, token)
            assert foreign.status_code in SHUT, (method, foreign.status_code, foreign.content)
            assert heard(foreign, world.treasure) == heard(absent, world.absent), method


@pytest.mark.parametrize("route", INNER, ids=str)
def test_a_stranger_finds_nothing_below_their_own_workspace(route, world):
    """Aurora's things asked for in Mallory's own workspace: as absent as any."""
    mixed = replace(world.treasure, workspace=world.borealis)
    absent = replace(world.absent, workspace=world.borealis)
    for method in route.methods:
        foreign = ask(route, method, mixed, world.mallory)
        assert foreign.status_code in SHUT, (method, foreign.status_code, foreign.content)
        assert heard(foreign, mixed) == heard(ask(route, method, absent, world.mallory), absent)


@pytest.mark.parametrize("route", EVERY_DOOR, ids=str)
def test_nobody_comes_in(route, world):
    for method in route.methods:
        response = ask(route, method, world.treasure)
        assert response.status_code in {401, 405}, (method, response.status_code, response.content)


@pytest.mark.parametrize("route", EVERY_DOOR, ids=str)
def test_a_revoked_token_opens_nothing(route, world):
    for method in route.methods:
        response = ask(route, method, world.treasure, world.revoked)
        assert response.status_code in {401, 405}, (method, response.status_code, response.content)


@pytest.mark.parametrize("route", WALK, ids=str)
def test_a_viewer_changes_nothing(route, world):
    before = (Event.objects.count(), AuditEntry.objects.count())
    for method in sorted(set(route.methods) - {"GET"}):
        if f"{method} {route.path}" in READING_POSTS:
            continue
        for token in (world.cleo, world.cleo_star):
            response = ask(route, method, world.treasure, token)
            shut = {403, 404, 405} | ({401} if route.path.startswith(SIGNED) else set())
            assert response.status_code in shut, (method, response.content)
    assert (Event.objects.count(), AuditEntry.objects.count()) == before


@pytest.mark.parametrize("route", WALK, ids=str)
def test_a_session_token_opens_its_own_session_only(route, world):
    beside = replace(world.treasure, session=world.treasure.other_session)
    for method in route.methods:
        response = ask(route, method, beside, world.treasure.session_token)
        assert response.status_code in SHUT, (method, response.status_code, response.content)


@pytest.mark.parametrize("route", [r for r in WALK if "GET" in r.methods], ids=str)
def test_the_owner_comes_in(route, world):
    """Control: the same ids open the same door to Ada, so the refusals above are about who asks."""
    answers = [ask(route, "GET", world.treasure, token) for token in (world.ada, world.ada_star)]
    assert 200 in {answer.status_code for answer in answers}, answers[0].content
    for answer in answers:
        answer.getvalue()  # a file is closed when it was read
