"""Wall 5 for what streams: the routes that `polymux/asgi.py` keeps from Django."""

from __future__ import annotations

import json

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from apps.workspaces.services import revoke_token
from polymux import asgi
from tests.support.serving import serving
from tests.walls.treasure import bury, filled, nowhere

pytestmark = pytest.mark.django_db(transaction=True)

# Every entry of the tables, as a path with its ids; a new one belongs here.
SOCKETS = {r"/session/[^/]+/?": "/session/{session_id}/"}
STREAMS = {("POST", r"/v1/chat/completions"): "/v1/chat/completions"}


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
    real, made_up = (filled(path, ids, kinds=["session_id"]) for ids in (treasure, absent))
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
