"""The socket behind pages that change under the reader's eyes: who may open it, and what it tells."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission
from django.test import Client
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from apps.accounts.models import User
from apps.console.live import WATCHED, _frame
from apps.formations.services import create_agent
from apps.missions.services import create_mission, execute_mission
from apps.tasks.services import create_task, kill_task
from tests.support.serving import serving

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 10


@pytest.fixture
def port(transactional_db, recording_queue):
    with serving() as number:
        yield number


@pytest.fixture
def operator(aurora):
    return User.objects.create_superuser("olga@example.org", "correct horse battery")


def cookie_of(user):
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    return client, f"{name}={client.cookies[name].value}"


@contextmanager
def watching(port, workspace_id, cookie="", origin=None):
    headers = {"Cookie": cookie} if cookie else {}
    with connect(
        f"ws://127.0.0.1:{port}/admin/watch/{workspace_id}/",
        additional_headers=headers,
        origin=origin,
        open_timeout=PATIENCE,
    ) as socket:
        yield socket


def heard(socket):
    frame = json.loads(socket.recv(timeout=PATIENCE))
    return frame["type"], frame["payload"]


def refusal(*where, **how):
    with pytest.raises(InvalidStatus) as refused, watching(*where, **how):
        raise AssertionError("the socket opened")
    return refused.value.response.status_code


def test_an_operator_hears_what_happens_to_a_task(port, aurora, operator):
    create_agent(aurora.ada, name="Scout")
    with watching(port, aurora.id, cookie_of(operator)[1]) as socket:
        task = create_task(aurora.ada, title="Dig", description="-", assign_to="Scout")
        assert heard(socket) == ("task", {"id": str(task.pk), "mission_id": None})
        kill_task(aurora.ada, task.pk)
        told = {"id": str(task.pk), "mission_id": None, "state": "failed"}
        assert heard(socket) == ("task", told)


def test_an_operator_hears_of_a_missions_execution(port, aurora, operator):
    create_agent(aurora.ada, name="Scout")
    document = {"tasks": [{"title": "Dig", "description": "-", "assignTo": "Scout"}]}
    mission = create_mission(aurora.ada, data=document, name="Hole")
    with watching(port, aurora.id, cookie_of(operator)[1]) as socket:
        execute_mission(aurora.ada, mission.pk)
        assert heard(socket) == ("mission", {"id": str(mission.pk)})


def test_nothing_is_heard_of_another_workspace(port, aurora, borealis, operator):
    create_agent(aurora.ada, name="Scout")
    create_agent(borealis.mallory, name="Spy")
    with watching(port, aurora.id, cookie_of(operator)[1]) as socket:
        create_task(borealis.mallory, title="Spy", description="-", assign_to="Spy")
        task = create_task(aurora.ada, title="Dig", description="-", assign_to="Scout")
        assert heard(socket)[1]["id"] == str(task.pk)


def test_only_operators_with_the_right_may_listen(port, aurora, operator):
    watcher = User.objects.create_user("wanda@example.org", "x" * 12, is_staff=True)
    asked = (port, aurora.id)
    assert refusal(*asked) == 401
    assert refusal(*asked, cookie="sessionid=made-up") == 401
    assert refusal(*asked, cookie=cookie_of(aurora.ada_user)[1]) == 401
    cookie = cookie_of(watcher)[1]
    assert refusal(*asked, cookie=cookie) == 403
    rights = Permission.objects.filter(codename__in=["view_task", "view_mission"])
    watcher.user_permissions.add(*rights)
    with watching(*asked, cookie=cookie) as socket:
        socket.send('{"type":"ping","payload":{}}')
        assert heard(socket)[0] == "pong"


def test_a_page_elsewhere_may_not_use_the_operators_cookie(port, aurora, operator, settings):
    """Not even one that CORS lists: a token must be given away, a cookie comes along."""
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.org"]
    cookie = cookie_of(operator)[1]
    for origin in ("https://evil.example", "https://app.example.org"):
        assert refusal(port, aurora.id, cookie=cookie, origin=origin) == 403
    with watching(port, aurora.id, cookie, origin=f"http://127.0.0.1:{port}"):
        pass


@pytest.mark.parametrize("name", ["nobody", "01a201ab-6e26-7321-962a-d9046b02e543"])
def test_a_workspace_that_is_not_there_is_not_found(port, operator, name):
    assert refusal(port, name, cookie=cookie_of(operator)[1]) == 404


def test_who_logs_out_hears_no_more(port, aurora, operator):
    client, cookie = cookie_of(operator)
    with watching(port, aurora.id, cookie) as socket:
        client.logout()
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=20)
    assert closed.value.rcvd.code == 4401


def test_every_fact_that_is_watched_can_be_told():
    ids = {"task_id": "t", "mission_id": "m"}
    assert {_frame(name, ids)[0] for name in WATCHED} == {"task", "work", "mission"}
