"""Wall 5 inside formations: each route of a formation's address, walked by those who may not.

Routes are found, not listed. For each that asks for a key:

- nobody, a made-up key, a revoked key and the other formation's keys hear 401;
- for each route with an id: another end user of the same formation hears exactly what they hear about
  ids that nobody has, with ids of things that exist.

A route with a new kind of id fails until its kind is in `tests/walls/formation_treasure.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from django.conf import settings
from django.db import transaction

from apps.workspaces.models import TokenKind
from apps.workspaces.services import issue_key, revoke_key
from polymux import asgi
from tests.support.cast import raise_aurora, raise_borealis
from tests.support.formations import Made, make_formation
from tests.walls.formation_treasure import BODIES, KINDS, PUBLIC, SHARED, Treasure, bury, nowhere
from tests.walls.routes import Route, routes

pytestmark = pytest.mark.django_db

STREAMED = {(method, path) for method, path, _ in asgi.FORMATION_STREAMS}
USER, OTHER = "kim@example.org", "lee@example.org"


def _is_streamed(route: Route, method: str) -> bool:
    return any(verb == method and re.fullmatch(path, route.path) for verb, path in STREAMED)


EVERY_DOOR = [r for r in routes(settings.FORMATION_URLCONF) if not PUBLIC.fullmatch(r.path)]
OWN = [route for route in EVERY_DOOR if set(route.ids) - SHARED]


@dataclass(frozen=True)
class World:
    team: Made
    treasure: Treasure
    absent: Treasure
    strangers: tuple[str, ...]


@pytest.fixture(scope="module")
def world(django_db_setup, django_db_blocker):
    """A formation of Aurora's with one user's treasure: made once, never committed."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield _made()
        transaction.set_rollback(True)


def _made() -> World:
    team = make_formation(raise_aurora().ada)
    foreign = make_formation(raise_borealis().mallory, "other")
    row, revoked = issue_key(team.home_owner, kind=TokenKind.ADMIN_KEY, name="old")
    revoke_key(team.home_owner, row.pk)
    treasure = bury(team, USER)
    strangers = (
        "nobody",
        "admin:fma_made_up",
        f"admin:{revoked}",
        f"admin:{foreign.admin_key}",
        f"client:{foreign.client_key}",
    )
    return World(team, treasure, nowhere(treasure), strangers)


def _filled(path: str, treasure: Treasure) -> str:
    for name in re.findall(r"{(\w+)}", path):
        path = path.replace("{" + name + "}", KINDS[name](treasure))
    return path


def _ask(world: World, method: str, route: Route, treasure: Treasure, **who: str):
    body = BODIES.get(f"{method} {route.path}", {})
    return world.team.ask(method, _filled(route.path, treasure), body, **who)


def _heard(response, treasure: Treasure) -> tuple[int, str]:
    body = response.content.decode()
    for kind in KINDS.values():
        body = body.replace(kind(treasure), "<id>")
    return response.status_code, re.sub(r"req_\w+|\d{13}|[0-9a-f-]{36}", "<>", body)


def test_every_kind_of_id_has_a_sample():
    unknown = {kind: route.path for route in EVERY_DOOR for kind in route.ids if kind not in KINDS}
    assert not unknown, "add a sample to tests/walls/formation_treasure.py: bury() and KINDS"


@pytest.mark.parametrize("route", EVERY_DOOR, ids=str)
def test_no_strangers_key_opens_a_formation(route, world):
    for method in route.methods:
        if _is_streamed(route, method):
            continue  # tests/walls/test_formation_streams.py
        answers = {
            _heard(_ask(world, method, route, world.treasure, key=key), world.treasure)
            for key in world.strangers
        }
        statuses = {status for status, _ in answers}
        assert statuses <= {401, 405}, (method, answers)
        assert len(answers) <= 3, (method, answers)  # none, revoked, and all the others alike


@pytest.mark.parametrize("route", OWN, ids=str)
def test_another_user_cannot_tell_whether_it_exists(route, world):
    for method in route.methods:
        if _is_streamed(route, method):
            continue
        foreign = _ask(world, method, route, world.treasure, user=OTHER)
        absent = _ask(world, method, route, world.absent, user=OTHER)
        assert foreign.status_code in {400, 401, 403, 404, 405, 422}, (method, foreign.content)
        assert _heard(foreign, world.treasure) == _heard(absent, world.absent), method


@pytest.mark.parametrize("route", [r for r in OWN if "GET" in r.methods], ids=str)
def test_the_user_comes_in(route, world):
    """Control: the same ids open the same door to their own user, or to the admin key."""
    if _is_streamed(route, "GET"):
        pytest.skip("asked on the loop, by its own tests")
    answers = [
        _ask(world, "GET", route, world.treasure, key=key, user=USER) for key in ("client", "admin")
    ]
    assert 200 in {answer.status_code for answer in answers}, answers[0].content


def test_the_walk_tells_two_treasures_apart(world):
    """Control: every sample differs from the made-up one, so the answers above could have differed."""
    same = [name for name, kind in KINDS.items() if kind(world.treasure) == kind(world.absent)]
    assert set(same) <= SHARED
