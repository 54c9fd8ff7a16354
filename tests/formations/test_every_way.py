"""The official package reaches a formation in three ways: its port, the proxy, its draft. All answer alike."""

from __future__ import annotations

import asyncio
import base64

import muxi
import pytest
from muxi.errors import AuthenticationError, NotFoundError
from muxi.server import ServerClient

from apps.formations.services import run_draft
from apps.formations.services.drafts import init_draft
from tests.support.gateways import gateway_running
from tests.support.management import bundle, operator_of
from tests.support.stack import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

KEYS = """
server:
  api_keys: {admin_key: fma_of_my_team, client_key: fmc_of_my_team}
memory:
  persistent: {multi_user: true}
"""
HELD = {"admin_key": "fma_of_my_team", "client_key": "fmc_of_my_team"}
HELLO = {"message": "Hello", "session_id": "s"}


@pytest.fixture
def ways(aurora):
    """Way -> what the package's clients are made with: deployed by it, a draft running beside."""
    sign = operator_of(aurora)
    with gateway_running() as running:
        server = ServerClient(url=running.url, key_id=sign.key_id, secret_key=sign.secret)
        archive = base64.b64encode(bundle(more=KEYS)).decode()
        port = server.deploy_formation("my-team", {"bundle": archive})["port"]
        server.transport.close()
        init_draft(sign.actor, "my-team", clone=True)
        run_draft(sign.actor, "my-team")
        running.compare()
        yield {
            "port": {"url": f"http://127.0.0.1:{port}"},
            "proxy": {"server_url": running.url},
            "draft": {"server_url": running.url, "mode": "draft"},
        }


def drive(way):
    """One conversation of Kim's, and what the admin sees of it."""
    with muxi.FormationClient(formation_id="my-team", **HELD, **way) as client:
        wait_until(lambda: client.health()["status"] == "healthy")
        said = client.chat(HELLO, user_id="kim")["message"]["content"]
        streamed = [event["event"] for event in client.chat_stream(HELLO, user_id="kim")]
        told = client.get_session_messages("s", "kim")["count"]
        assert [s["session_id"] for s in client.get_sessions("kim")["sessions"]] == ["s"]
        assert client.get_sessions("lee")["count"] == 0
        with pytest.raises(NotFoundError):
            client.get_session("s", "lee")
        client.set_secret("API_TOKEN", "a-value-of-some-length")
        assert client.get_secrets()["count"] == 1
        agents = [agent["id"] for agent in client.get_agents()["agents"]]
        return said, streamed[-1], told, agents, client.get_status()["formation"]["version"]


def test_the_port_the_proxy_and_the_draft_answer_alike(ways):
    answers = {name: drive(way) for name, way in ways.items()}
    assert answers["proxy"][:2] == answers["draft"][:2] == answers["port"][:2]
    assert answers["port"][1] == "done"
    # The port and the proxy lead to one home, so the second of them finds the first one's messages.
    assert [answers[name][2] for name in ("port", "proxy", "draft")] == [4, 8, 4]
    assert "helper" in answers["draft"][3]
    assert {answer[4] for answer in answers.values()} == {"1.0.0"}


def test_the_asynchronous_client_goes_the_same_ways_and_a_wrong_key_none(ways):
    async def ask(way):
        async with muxi.AsyncFormationClient(formation_id="my-team", **HELD, **way) as client:
            said = await client.chat(HELLO, user_id="ann")
        wrong = HELD | {"client_key": "fmc_of_another"}
        async with muxi.AsyncFormationClient(formation_id="my-team", **wrong, **way) as client:
            with pytest.raises(AuthenticationError):
                await client.chat(HELLO, user_id="ann")
        return said["message"]["role"]

    assert [asyncio.run(ask(way)) for way in ways.values()] == ["assistant"] * 3
