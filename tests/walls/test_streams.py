"""Wall 5 for what streams: the routes that `polymux/asgi.py` keeps from Django."""

from __future__ import annotations

import json
from dataclasses import replace

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from apps.core.actor import CallerKind
from apps.workspaces.services import revoke_key, revoke_token
from polymux import asgi
from tests.support.management import operator_of
from tests.support.serving import serving
from tests.walls.treasure import bury, filled, nowhere

pytestmark = pytest.mark.django_db(transaction=True)

# Every entry of the tables, as a path with its ids; a new one belongs here.
SOCKETS = {
    r"/session/[^/]+/?": "/session/{session_id}/",
    r"/api/v1(?:/projects/[^/]+)?/ws": "/api/v1/projects/{project_id}/ws",
    r"/admin/watch/[^/]+/?": "/admin/watch/{workspace_id}/",  # operators only: tests/console
}
STREAMS = {
    ("POST", r"/v1/chat/completions"): "/v1/chat/completions",
    ("GET", r"/api/v1(?:/projects/[^/]+)?/events"): "/api/v1/projects/{project_id}/events",
    ("GET", r"/rpc/formations/[^/]+/logs/stream"): "/rpc/formations/{formation_id}/logs/stream",
}


def test_every_socket_and_stream_is_walked():
    instructions = "add it to the table above, and its attack to this file"
    assert {path for path, _ in asgi.SOCKETS} == set(SOCKETS), instructions
    assert {(method, path) for method, path, _ in asgi.STREAMS} == set(STREAMS), instructions


@pytest.fixture
def port(transactional_db, settings, recording_queue):
    settings.DEFAULT_MODEL = "scripted/echo"
    with serving() as number:
        yield number


def refusal(port, path, token):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(f"ws://127.0.0.1:{port}{path}", additional_headers=headers, open_timeout=10),
    ):
        raise AssertionError("the socket opened")
    answer = refused.value.response
    return answer.status_code, json.loads(answer.body)["code"]


@pytest.mark.parametrize("path", SOCKETS.values())
def test_a_socket_tells_strangers_nothing(port, aurora, borealis, path):
    treasure = bury(aurora)
    absent = nowhere(treasure)
    kinds = ["session_id", "project_id", "workspace_id"]
    real, made_up = (filled(path, ids, kinds=kinds) for ids in (treasure, absent))
    for token in (borealis.mallory_token, borealis.mallory_star_token, "nobody", ""):
        answers = {refusal(port, address, token) for address in (real, made_up)}
        assert len(answers) == 1
        assert answers.pop()[0] in {401, 403, 404}


def test_a_socket_opens_for_no_revoked_or_foreign_session_token(port, aurora):
    treasure = bury(aurora)
    revoke_token(aurora.ben_login, aurora.ben_token_id)
    address = filled("/session/{session_id}/", treasure, kinds=["session_id"])
    assert refusal(port, address, aurora.ben_token) == (401, "token_revoked")
    beside = filled("/session/{other_session_id}/", treasure, kinds=["other_session_id"])
    assert refusal(port, beside, treasure.session_token)[0] == 403


def completion(port, model, token):
    answer = httpx.post(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        headers={"Authorization": f"Bearer {token}"},
        json={"model": model, "messages": [{"role": "user", "content": "Hello"}]},
        timeout=20,
    )
    return answer.status_code, answer.text.replace(model, "<model>")


def test_a_strangers_workspace_is_as_unknown_as_any_model(port, aurora, borealis):
    for token in (borealis.mallory_token, borealis.mallory_star_token):
        foreign = completion(port, "aurora", token)
        assert foreign == completion(port, "nobody-has-this", token)
        assert foreign[0] == 404


def test_a_viewer_starts_no_turn(port, aurora):
    assert completion(port, "aurora", aurora.cleo_token)[0] == 403


def test_the_owner_is_answered(port, aurora):
    """Control: the same question, asked by Ada."""
    assert completion(port, "aurora", aurora.ada_token)[0] == 200


# --- polpo's feeds ---------------------------------------------------------------------------------
FEED, FEED_SOCKET = "/api/v1/projects/{project_id}/events", "/api/v1/projects/{project_id}/ws"


def feed(port, path, token):
    """(status, body) of a refusal; the body of one who is let in is not waited for."""
    headers = {"X-API-Key": token} if token else {}
    with httpx.stream("GET", f"http://127.0.0.1:{port}{path}", headers=headers, timeout=20) as said:
        return said.status_code, "" if said.status_code == 200 else said.read().decode()


def test_a_feed_tells_strangers_nothing(port, aurora, borealis):
    treasure = bury(aurora)
    real, made_up = (
        filled(FEED, ids, kinds=["project_id"]) for ids in (treasure, nowhere(treasure))
    )
    for token in (borealis.mallory_token, borealis.mallory_star_token, "nobody", ""):
        foreign = feed(port, real, token)
        assert foreign == feed(port, made_up, token)
        assert foreign[0] in {401, 404}
    by_id = real.replace(treasure.slug, str(aurora.id))
    assert feed(port, by_id, borealis.mallory_token)[0] in {403, 404}


def test_a_feed_opens_for_no_revoked_key_and_no_session_token(port, aurora):
    treasure = bury(aurora)
    revoke_token(aurora.ben_login, aurora.ben_token_id)
    path, socket = (filled(p, treasure, kinds=["project_id"]) for p in (FEED, FEED_SOCKET))
    for token in (aurora.ben_token, treasure.session_token):
        assert feed(port, path, token)[0] == 401
        assert refusal(port, socket, token) == (401, "AUTH_REQUIRED")


def test_a_viewer_may_watch(port, aurora):
    """Control: the same path, with the keys of those who may read."""
    path = filled(FEED, bury(aurora), kinds=["project_id"])
    assert [feed(port, path, key)[0] for key in (aurora.ada_token, aurora.cleo_token)] == [200, 200]


# --- Followed logs of formations -------------------------------------------------------------------
FOLLOWED = ("/rpc/formations/{formation_id}/logs/stream", "/rpc/formations/{formation_id}/logs")


def followed(port, path, signer):
    """(status, body) of a refusal, as `feed`; `?follow=1` streams on the second path, too."""
    headers = signer.headers("GET", path) if signer else {}
    url = f"http://127.0.0.1:{port}{path}?follow=1"
    with httpx.stream("GET", url, headers=headers, timeout=20) as said:
        return said.status_code, "" if said.status_code == 200 else said.read().decode()


@pytest.mark.parametrize("path", FOLLOWED)
def test_a_formations_log_opens_for_its_own_workspaces_key_only(port, aurora, borealis, path):
    treasure = bury(aurora)
    real, made_up = (
        filled(path, ids, kinds=["formation_id"]) for ids in (treasure, nowhere(treasure))
    )
    mallory, ada = operator_of(borealis), operator_of(aurora)
    assert followed(port, real, mallory) == followed(port, made_up, mallory)
    assert followed(port, real, mallory)[0] == 404
    assert followed(port, real, None)[0] == 401
    assert followed(port, real, ada)[0] == 200
    revoke_key(replace(ada.actor, kind=CallerKind.SYSTEM), ada.actor.token_id)
    assert followed(port, real, ada)[0] == 401
