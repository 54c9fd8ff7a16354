"""Rate limits: exactly N, whoever counts; and what each surface says about them."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from django.db import connection

from apps.surfaces import doors, ratewindow
from apps.surfaces.models import RateWindow
from apps.workspaces.models import ApiToken

LIMIT, RUNNERS = 10, 50


def rush(store, key):
    """50 threads at once; how many were let in."""
    barrier = threading.Barrier(RUNNERS, timeout=20)

    def run(_):
        barrier.wait()
        try:
            return store.add(key, 600, 60, 1) <= LIMIT
        finally:
            connection.close()

    with ThreadPoolExecutor(RUNNERS) as pool:
        return sum(pool.map(run, range(RUNNERS)))


class Careless:
    """The control: read, think, write."""

    def __init__(self):
        self.used = 0

    def add(self, key, start, window, amount):
        used = self.used + amount
        time.sleep(0.01)
        self.used = used
        return used


def test_memory_lets_in_exactly_the_limit():
    assert rush(ratewindow.MemoryStore(), "k") == LIMIT


@pytest.mark.django_db(transaction=True)
def test_postgres_lets_in_exactly_the_limit():
    assert rush(ratewindow.PostgresStore(), "k") == LIMIT


def test_redis_lets_in_exactly_the_limit(redis_url):
    store = ratewindow.RedisStore(redis_url, ratewindow.MemoryStore())
    store._away_until = 0
    assert rush(store, "k") == LIMIT


def test_the_race_is_real():
    """Control: counting carelessly lets more in. If this fails, the tests above prove nothing."""
    assert rush(Careless(), "k") > LIMIT


@pytest.mark.django_db
def test_a_new_window_starts_at_nothing():
    for store in (ratewindow.MemoryStore(), ratewindow.PostgresStore()):
        assert [store.add("k", start, 60, 1) for start in (0, 0, 60)] == [1, 2, 1]


def test_memory_is_bounded():
    store = ratewindow.MemoryStore(max_keys=100)
    for number in range(1000):
        store.add(f"k{number}", 0, 60, 1)
    assert len(store) <= 100


def test_a_redis_that_is_away_costs_one_warning_and_no_request(caplog):
    store = ratewindow.RedisStore("redis://127.0.0.1:1/0", ratewindow.MemoryStore())
    begun = time.monotonic()
    assert [store.add("k", 0, 60, 1) for _ in range(20)] == list(range(1, 21))
    assert time.monotonic() - begun < 2
    assert caplog.text.count("Redis does not answer") == 1


def test_redis_is_used_again_when_it_is_back(redis_url, caplog):
    store = ratewindow.RedisStore(redis_url, ratewindow.MemoryStore())
    store._note_outage(ConnectionError())
    assert store.add("back", 0, 60, 1) == 1
    store._away_until = 0.0
    assert [store.add("back", 0, 60, 1) for _ in range(2)] == [1, 2]
    assert "Redis is back" in caplog.text


def test_looking_counts_nothing():
    for _ in range(3):
        assert ratewindow.peek("looked", 5).remaining == 5
    assert ratewindow.hit("looked", 5).remaining == 4


@pytest.mark.django_db
def test_ended_windows_are_forgotten():
    now = int(time.time())
    RateWindow.objects.create(key="old", window_start=now - 9000, used=1)
    RateWindow.objects.create(key="new", window_start=now, used=1)
    assert ratewindow.forget_expired(10) == 1
    assert [row.key for row in RateWindow.objects.all()] == ["new"]


# --- On the surfaces ------------------------------------------------------------------------------

at_the_door = [pytest.mark.django_db, pytest.mark.urls("tests.surfaces.probe")]


@pytest.fixture
def still_clock(monkeypatch):
    """A minute that does not end in the middle of a test."""
    clock = SimpleNamespace(time=lambda: 1_800_000_010.0, monotonic=time.monotonic)
    monkeypatch.setattr(ratewindow, "time", clock)


def pytestmark_of(function):
    for mark in at_the_door:
        function = mark(function)
    return function


@pytestmark_of
def test_polymux_counts_reads_and_writes_apart(knock, sides, settings, still_clock):
    settings.RATE_READ_PER_MIN, settings.RATE_WRITE_PER_MIN = 2, 1
    side = sides["polymux"]
    good = side.good("GET")
    first = knock.get(side.path, headers=good)
    assert first["X-RateLimit-Limit"] == "2"
    assert first["X-RateLimit-Remaining"] == "1"
    assert first["X-RateLimit-Reset"] == "1800000060"
    assert knock.post(side.path, {"name": "a"}, "application/json", headers=good).status_code == 201
    assert knock.get(side.path, headers=good).status_code == 200
    refused = knock.get(side.path, headers=good)
    assert refused.status_code == 429
    assert refused["X-RateLimit-Remaining"] == "0"
    assert refused["Retry-After"] == "50"
    body = json.loads(refused.content)
    assert (body["code"], body["details"]) == ("rate_limited", {"bucket": "read"})


@pytestmark_of
def test_staff_may_raise_one_tokens_limit(knock, sides, aurora, settings, still_clock):
    settings.RATE_READ_PER_MIN = 1
    ApiToken.objects.filter(id=aurora.ada_token_id).update(read_per_min=99)
    doors.forget_limits()
    side = sides["polymux"]
    assert knock.get(side.path, headers=side.good("GET"))["X-RateLimit-Limit"] == "99"


@pytestmark_of
def test_a_post_that_reads_counts_as_a_read(knock, sides, settings, still_clock):
    settings.RATE_READ_PER_MIN, settings.RATE_WRITE_PER_MIN = 7, 1
    path = sides["polymux"].path.replace("probes", "lookups")
    good = sides["polymux"].good("POST")
    response = knock.post(path, {"name": "a"}, "application/json", headers=good)
    assert response["X-RateLimit-Limit"] == "7"


SPENT = {
    "polpo": (200, {"ok": False, "error": "Too many requests.", "code": "RATE_LIMITED"}),
    "molecule": (600, {"error": "rate limit exceeded", "retry_after": 50}),
    "polyant": (30, {"statusCode": 429, "message": "ThrottlerException: Too Many Requests"}),
    "openai": (
        600,
        {
            "error": {
                "message": "Too many requests.",
                "type": "rate_limit_error",
                "param": None,
                "code": "rate_limit_exceeded",
            }
        },
    ),
}


@pytestmark_of
@pytest.mark.parametrize("name", SPENT)
def test_a_full_window_is_told_in_the_surfaces_words(knock, sides, name, still_clock, monkeypatch):
    limit, words = SPENT[name]
    seen = []
    real = ratewindow.store().add

    def nearly_full(key, start, window, amount):
        seen.append(key)
        return real(key, start, window, amount) + limit - 1

    monkeypatch.setattr(ratewindow.store(), "add", nearly_full)
    side = sides[name]
    assert knock.get(side.path, headers=side.good("GET")).status_code == 200
    refused = knock.get(side.path, headers=side.good("GET"))
    assert refused.status_code == 429
    assert json.loads(refused.content) == words
    assert refused["Retry-After"] == "50"
    assert len(set(seen)) == 1


@pytestmark_of
def test_polyant_counts_before_it_asks_who(knock, still_clock):
    answers = [knock.get("/api/instances/a/probes").status_code for _ in range(31)]
    assert answers == [401] * 30 + [429]


@pytestmark_of
def test_wrong_keys_use_up_the_guessers_address(knock, sides, still_clock):
    wrong = {"X-API-Key": "guess"}
    path = sides["polpo"].path
    answers = [knock.get(path, headers=wrong).status_code for _ in range(201)]
    assert answers == [401] * 200 + [429]


@pytestmark_of
def test_forwarded_for_does_not_move_a_stranger(knock, still_clock, settings):
    settings.TRUSTED_PROXIES = 0
    for number in range(30):
        knock.get("/api/instances/a/probes", headers={"X-Forwarded-For": f"10.0.0.{number}"})
    moved = knock.get("/api/instances/a/probes", headers={"X-Forwarded-For": "10.9.9.9"})
    assert moved.status_code == 429


def test_only_what_our_proxies_wrote_counts(settings):
    from apps.surfaces.kit import client_ip

    settings.TRUSTED_PROXIES = 0
    assert client_ip("9.9.9.9", "1.1.1.1") == "9.9.9.9"
    settings.TRUSTED_PROXIES = 1
    assert client_ip("9.9.9.9", "1.1.1.1, 2.2.2.2") == "2.2.2.2"
    settings.TRUSTED_PROXIES = 2
    assert client_ip("9.9.9.9", "6.6.6.6, 1.1.1.1, 2.2.2.2") == "1.1.1.1"
    assert client_ip("9.9.9.9", "not an address, x") == "9.9.9.9"
    assert client_ip("9.9.9.9", "") == "9.9.9.9"
