"""Wall 5 inside formations, for what the loop serves: each entry of `FORMATION_STREAMS` is walked."""

from __future__ import annotations

import json
import re

import httpx
import pytest

from apps.conversations.models import Message, Session
from apps.workspaces.models import TokenKind
from apps.workspaces.services import issue_key, revoke_key
from polymux import asgi
from tests.support.formations import make_formation
from tests.support.serving import serving
from tests.walls.formation_treasure import bury, nowhere

pytestmark = pytest.mark.django_db(transaction=True)

USER, OTHER = "kim@example.org", "lee@example.org"
# Every entry of the table, as a path with its ids; a new one belongs here.
WALKED = {
    ("POST", r"/v1/chat"): "/v1/chat",
    ("POST", r"/v1/audiochat"): "/v1/audiochat",
    ("POST", asgi.SHARED_PATH): "/v1/triggers/greet",
    ("GET", r"/v1/events"): "/v1/events",
    ("GET", r"/v1/events/[^/]+"): "/v1/events/{session_id}",
    ("GET", r"/v1/events/[^/]+/[^/]+"): "/v1/events/{session_id}/{request_id}",
    ("GET", r"/v1/logs"): "/v1/logs?level=info",
}


def test_every_stream_is_walked():
    table = {(method, path) for method, path, _ in asgi.FORMATION_STREAMS}
    assert table == set(WALKED), "add it to the table above, and its attack to this file"


@pytest.fixture
def walker(team, settings, recording_queue):
    """Ask `walker(method, path, key, user)` on a real socket."""
    settings.DEFAULT_MODEL = "scripted/echo"
    with serving() as port, httpx.Client(timeout=20) as http:

        def ask(method, path, key="client", user="", body=None):
            url = f"http://127.0.0.1:{port}/api/{team.slug}{path}"
            sent = json.dumps(body or {}).encode() if method == "POST" else None
            return http.request(method, url, content=sent, headers=team.headers(key, user))

        yield ask


def heard(answer):
    return answer.status_code, re.sub(r"req_\w+|\d{13}", "<>", answer.text)


def test_no_strangers_key_opens_a_stream(walker, team, borealis):
    foreign = make_formation(borealis.mallory, "other")
    row, revoked = issue_key(team.home_owner, kind=TokenKind.CLIENT_KEY, name="old")
    revoke_key(team.home_owner, row.pk)
    treasure = vars_of(bury(team, USER))
    strangers = ("nobody", f"client:{revoked}", f"client:{foreign.client_key}", "admin:fma_made_up")
    for (method, _), path in WALKED.items():
        real = path.format(**treasure)
        answers = {heard(walker(method, real, key, USER)) for key in strangers}
        assert {status for status, _ in answers} == {401}, (path, answers)


def test_another_user_cannot_tell_what_exists(walker, team):
    treasure = bury(team, USER)
    absent = nowhere(treasure)
    for path in ("/v1/events/{session_id}", "/v1/events/{session_id}/{request_id}"):
        foreign = heard(walker("GET", path.format(**vars_of(treasure)), user=OTHER))
        nothing = heard(walker("GET", path.format(**vars_of(absent)), user=OTHER))
        assert foreign == nothing
        assert foreign[0] in {200, 404}
    mine = walker("GET", "/v1/events/trip/req_treasure", user=USER)
    assert heard(mine) != foreign  # control: the same ids mean something to their own user


def test_another_users_conversation_is_not_gone_on_with(walker, team):
    bury(team, USER)
    told = walker("POST", "/v1/chat", "client", OTHER, {"message": "Mine?", "session_id": "trip"})
    assert told.json()["data"]["message"]["content"] == "Mine?"
    theirs = Session.unscoped.get(end_user=USER)
    assert not Message.unscoped.filter(session=theirs).exists()
    assert Session.unscoped.get(end_user=OTHER).external_key == "trip"


def vars_of(treasure):
    return {"session_id": treasure.session_id, "request_id": treasure.request_id}
