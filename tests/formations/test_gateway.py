"""The gateway: every running formation on its own port, and the same at its address on the main one."""

from __future__ import annotations

import asyncio
import socket
from datetime import timedelta

import httpx
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from apps.core.clock import now
from apps.events import nudge
from apps.formations import registry
from apps.formations.errors import NotHealthy
from apps.formations.models import Formation, FormationDraft, FormationPort
from polymux.embedded.models import Heartbeat
from polymux.embedded.watch import record_gateway
from polymux.gateway import addresses, cors, looking, nudges
from tests.bench.server import free_port
from tests.support.formations import document_of, make_formation
from tests.support.gateways import gateway_running
from tests.support.stack import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def port():
    return free_port()


def get(port, path="/v1/health", **options):
    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=10, **options)


def is_refused(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def change(slug, **fields):
    row = Formation.unscoped.get(slug=slug)
    row.generation += 1
    for name, value in fields.items():
        setattr(row, name, value)
    row.save()
    registry.forget(slug)


def test_a_formation_comes_and_goes_with_its_row(aurora, port):
    """Bound when it runs, closed when it stops, open again when it starts: without a restart."""
    with gateway_running():
        team = make_formation(aurora.ada, port=port)
        wait_until(lambda: get(port).status_code == 200)
        healthy = get(port)
        assert healthy.json()["status"] == "healthy"
        assert healthy.json()["version"] == "1.0.0"
        assert "date" in healthy.headers
        inside = get(port, "/v1/nothing", headers=team.headers())
        assert inside.json()["error"]["code"] == "RESOURCE_NOT_FOUND"
        assert get(port, "/health").status_code == 404  # a path of the main port's, not of this one
        change("team", status="stopped")
        wait_until(lambda: is_refused(port))
        change("team", status="running")
        wait_until(lambda: get(port).status_code == 200)
        FormationPort.unscoped.all().delete()
        registry.forget("team")
        wait_until(lambda: is_refused(port))


def test_two_formations_never_answer_for_each_other(aurora, borealis):
    ports = [free_port(), free_port()]
    mine = make_formation(aurora.ada, "mine", port=ports[0])
    other = make_formation(borealis.mallory, "other", port=ports[1])
    with gateway_running() as running:
        running.compare()

        def status(port, made):
            return get(port, "/v1/nothing", headers=made.headers()).status_code

        assert [status(ports[0], mine), status(ports[1], other)] == [404, 404]
        assert [status(ports[0], other), status(ports[1], mine)] == [401, 401]


def test_a_strangers_port_is_reported_and_taken_back(aurora, port):
    """The other formations are served; once the stranger goes, so is this one."""
    beside = free_port()
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        make_formation(aurora.ada, port=port)
        make_formation(aurora.ada, "beside", port=beside)
        with gateway_running() as running:
            assert get(beside).status_code == 200
            row = Formation.unscoped.get(slug="team")
            assert row.error == f"Port {port} is taken by another program on the gateway's machine."
            assert httpx.get(f"{running.url}/api/team/v1/health").status_code == 200
            stranger.close()
            running.gateway.taken.clear()  # as if the pause were over
            running.gateway._mark = None
            running.compare()
            assert get(port).status_code == 200
            assert Formation.unscoped.get(slug="team").error == ""


def test_whoever_deploys_hears_whether_the_port_answers(aurora, port):
    team = make_formation(aurora.ada, port=port).formation
    assert looking.look(team) is None  # no gateway lives that would open it
    with gateway_running() as running:
        running.compare()
        assert looking.look(team) is True
        looking.here.clear()  # as another process of this machine sees it, by the sign of life
        wait_until(lambda: looking.look(team))
        change("team", status="stopped")
        wait_until(lambda: is_refused(port))
        assert looking.look(team) is False
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        change("team", status="running")
        with gateway_running(), pytest.raises(NotHealthy):
            looking.look(team)


def test_what_is_under_way_ends_before_the_port_closes(aurora, port):
    make_formation(aurora.ada, port=port)
    with gateway_running() as running, socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(b"POST /v1/nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n")
        wait_until(lambda: running.gateway.bound[port]._state.tasks)
        change("team", status="stopped")
        wait_until(lambda: is_refused(port))
        slow.sendall(b"{}")
        answer = slow.recv(65536)
        assert answer.startswith(b"HTTP/1.1 404")
        assert b"connection: close" in answer.lower()


def test_the_main_port_speaks_as_the_formations_proxy(aurora):
    make_formation(aurora.ada)
    with gateway_running() as running:
        base = f"{running.url}/api/team"
        assert httpx.get(f"{base}/v1/health").json()["status"] == "healthy"
        assert "<h1>Up</h1>" in httpx.get(base).text
        assert "<h1>Up</h1>" in httpx.get(f"{base}/v1").text
        sdk = {"X-Muxi-SDK": "python/1.2.3"}
        assert httpx.get(f"{base}/v1/health", headers=sdk).headers["X-Muxi-SDK-Latest"] == "1.2.3"
        assert "X-Muxi-SDK-Latest" not in httpx.get(f"{base}/v1/health").headers
        assert httpx.post(f"{base}/v1/health").status_code == 405
        change("team", status="crashed")
        down = httpx.get(f"{base}/v1/health")
        assert (down.status_code, down.json()["error"]) == (503, "Service Unavailable")


def test_a_draft_runs_beside_its_formation(aurora, port):
    """The same id twice: each at its own address, with its own home and keys (contract §3.9)."""
    live = make_formation(aurora.ada)
    home = make_formation(aurora.ada, "spare").home_id
    Formation.unscoped.filter(slug="spare").delete()
    config = document_of(config={"id": "team", "version": "2.0.0"})
    FormationDraft(
        workspace_id=aurora.id, slug="team", home_id=home, port=port, document=config
    ).save()
    with gateway_running() as running:
        running.compare()
        assert get(port).json()["version"] == "2.0.0"
        draft = httpx.get(f"{running.url}/draft/team/v1/health")
        assert draft.json()["version"] == "2.0.0"
        assert httpx.get(f"{running.url}/api/team/v1/health").json()["version"] == "1.0.0"
        nothing = f"{running.url}/draft/team/v1/nothing"
        assert httpx.get(nothing, headers=live.headers()).status_code == 401


class Layer:
    """A channel layer with one message, then a broken connection, then silence."""

    def __init__(self):
        self.groups, self.receipts = [], 0
        self.silent = asyncio.Event()

    async def new_channel(self, prefix):
        return f"{prefix}1"

    async def group_add(self, group, channel):
        self.groups.append(group)

    async def receive(self, channel):
        self.receipts += 1
        if self.receipts == 1:
            return {"type": "formations"}
        if self.receipts == 2:
            raise ConnectionError("gone")
        self.silent.set()
        await asyncio.Event().wait()
        raise AssertionError


def test_word_of_another_process_wakes_the_gateway(aurora, monkeypatch):
    make_formation(aurora.ada)
    registry.look_up("team")
    layer, woken = Layer(), []
    monkeypatch.setattr(nudge, "remote_layer", lambda: layer)

    async def hear():
        task = asyncio.ensure_future(nudges.receive(lambda: woken.append(True)))
        await layer.silent.wait()
        task.cancel()

    asyncio.run(asyncio.wait_for(hear(), 20))
    assert woken == [True]
    assert registry.remembered("team") is None
    assert layer.groups == [nudges.GROUP] * 2  # joined anew after the break


def test_a_machines_gateway_shows_that_it_lives():
    with pytest.raises(CommandError, match="no gateway@"):
        call_command("alive", "--gateway")
    record_gateway()
    call_command("alive", "--gateway")
    Heartbeat.objects.update_or_create(name="gateway@old", defaults={"at": now() - timedelta(2)})
    record_gateway()
    assert not Heartbeat.objects.filter(name="gateway@old").exists()


def test_a_proxy_says_what_only_it_knows(settings):
    scope = {
        "type": "http",
        "scheme": "http",
        "client": ("10.0.0.9", 5),
        "headers": [
            (b"host", b"agents.example"),
            (b"x-formation-id", b"forged"),
            (b"x-muxi-server", b"forged"),
            (b"x-forwarded-for", b"192.0.2.7"),
            (b"x-other", b"kept"),
        ],
    }
    assert dict(addresses.forwarded(scope, "team")) == {
        b"host": b"agents.example",
        b"x-other": b"kept",
        b"x-forwarded-for": b"10.0.0.9",
        b"x-forwarded-proto": b"http",
        b"x-forwarded-host": b"agents.example",
        b"x-formation-id": b"team",
        b"x-muxi-server": settings.VERSION.encode(),
    }
    settings.TRUSTED_PROXIES = 1
    assert dict(addresses.forwarded(scope, "team"))[b"x-forwarded-for"] == b"192.0.2.7"


def test_any_page_may_call_a_formation(aurora):
    make_formation(aurora.ada)
    origin = {"Origin": "https://app.example"}
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-a, x-b"}
    with gateway_running() as running:
        url = f"{running.url}/api/team/v1/nothing"
        preflight = httpx.options(url, headers=origin | asked)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-headers"] == "x-a, x-b"
        assert preflight.headers["access-control-max-age"] == "600"
        assert "PUT" in preflight.headers["access-control-allow-methods"]
        for answer in (preflight, httpx.get(url, headers=origin)):
            assert answer.headers.get_list("access-control-allow-origin") == [origin["Origin"]]
            assert answer.headers["access-control-allow-credentials"] == "true"


def test_an_answer_keeps_one_set_of_cors_headers():
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"headers": [(b"origin", b"https://a.example")]}
    inner = [(b"Access-Control-Allow-Origin", b"*"), (b"content-type", b"text/plain")]
    coroutine = cors.answering(scope, send)({"type": "http.response.start", "headers": inner})
    with pytest.raises(StopIteration):
        coroutine.send(None)
    names = [name for name, _ in sent[0]["headers"]]
    assert names.count(b"access-control-allow-origin") == 1
    assert b"Access-Control-Allow-Origin" not in names
