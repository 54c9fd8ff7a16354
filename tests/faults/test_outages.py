"""PostgreSQL restarted under requests; Redis gone for ten seconds."""

from __future__ import annotations

import os
import shutil
import time

import pytest

from polymux.embedded.postgres import PostgresServer
from tests.faults.conftest import Traffic
from tests.platform.conftest import free_port
from tests.support.redis import Redis
from tests.support.stack import wait_until
from tests.support.stub_provider import Reply


@pytest.fixture
def postgres(folder):
    server = PostgresServer(folder / "pg", fsync=False)
    server.start()
    server.ensure_database("polymux")
    yield server
    server.stop()


def test_a_restart_of_the_database_costs_503s_at_most(serve, talk_to, postgres):
    server = serve(DATABASE_URL=postgres.url())
    talk = talk_to(server)
    body = {"messages": [{"role": "user", "content": "Hello"}]}

    def chat() -> int:
        return talk.http.post("/v1/chat/completions", json=body).status_code

    def read() -> int:
        return talk.http.get("/workspaces").status_code

    assert (chat(), read()) == (200, 200)
    chats, reads = Traffic(chat, 2), Traffic(read, 2)
    time.sleep(0.5)
    postgres.stop()
    time.sleep(1)
    postgres.start()
    wait_until(lambda: chat() == 200 and read() == 200, 30)
    seen = chats.stop() + reads.stop()
    assert set(seen) <= {200, 503}
    assert seen.count(200) > 4
    wait_until(lambda: server.status("/readyz") == 200, 30)


@pytest.fixture
def redis(folder):
    """A running redis-server; skipped without a server unless required."""
    if shutil.which("redis-server") is None:
        if os.environ.get("POLYMUX_REQUIRE_SERVICES"):
            pytest.fail("redis-server is missing")
        pytest.skip("redis-server is missing")
    one = Redis(folder)
    one.start()
    yield one
    one.kill()


def test_ten_seconds_without_redis_fail_no_request_and_lose_no_turn(serve, talk_to, stub, redis):
    stub.script("default", Reply("Here."))
    server = serve(REDIS_URL=redis.url)
    talk = talk_to(server)
    session = talk.new_session()
    post = f"/sessions/{session['id']}/messages"

    def status() -> str:
        return talk.http.get(f"/sessions/{session['id']}").json()["status"]

    talk.http.post(post, json={"content": "Before"})
    wait_until(lambda: status() == "idle", 20)
    redis.kill()
    gone = time.monotonic()
    answers = []
    body = {"messages": [{"role": "user", "content": "Hello"}]}
    answers.append(talk.http.post(post, json={"content": "While it is gone"}).status_code)
    while time.monotonic() - gone < 10:
        answers.append(talk.http.get("/workspaces").status_code)
        answers.append(talk.http.post("/v1/chat/completions", json=body).status_code)
        time.sleep(0.5)
    assert set(answers) == {200, 202}
    redis.start()
    wait_until(lambda: status() == "idle" and len(talk.messages(session)) == 4, 40)
    talk.http.post(post, json={"content": "After"})
    wait_until(lambda: len(talk.messages(session)) == 6, 40)
    assert server.stop() == 0


def test_an_unreachable_provider_is_a_clear_error(serve, talk_to):
    server = serve(POLYMUX_MODEL_ENDPOINTS=f"stub=http://127.0.0.1:{free_port()}/v1")
    talk = talk_to(server)
    body = {"messages": [{"role": "user", "content": "Hello"}]}
    answer = talk.http.post("/v1/chat/completions", json=body, timeout=60)
    assert answer.status_code in {502, 504}
    assert answer.json()["error"]["type"] == "upstream_error"
