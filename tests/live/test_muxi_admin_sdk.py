"""The admin methods of the `muxi` package's formation clients, against the real server."""

from __future__ import annotations

import asyncio

import pytest
from muxi import AsyncFormationClient, FormationClient
from muxi.errors import AuthenticationError, ConflictError, NotFoundError

from apps.formations.services import add_mcp_server
from tests.support.formations import document_of, make_formation
from tests.support.serving import serving

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = {
    "llm": {"settings": {"temperature": 0.2}},
    "async": {"threshold_seconds": 20},
    "a2a": {"enabled": False},
    "overlord": {"soul": "A calm host."},
    "logging": {"system": {"level": "debug"}},
}
MASKED = "sk-proj-ab••••••••mnop"


class Both:
    """One method of the sync client and of the async one, which must say the same.

    A client is made once: each builds two TLS contexts, though nothing here speaks TLS.
    """

    def __init__(self, **where):
        self._now, self._then = FormationClient(**where), AsyncFormationClient(**where)
        self._loop = asyncio.Runner()

    def __call__(self, method, *args):
        """The sync client's answer; of a read, the async client's is the same."""
        answer = getattr(self._now, method)(*args)
        if method.startswith("get_"):
            assert settled(self.later(method, *args)) == settled(answer)
        return answer

    def later(self, method, *args):
        """The async client's answer."""
        return self._loop.run(getattr(self._then, method)(*args))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._now.__exit__(None, None, None)
        self._loop.run(self._then.__aexit__(None, None, None))
        self._loop.close()


def settled(answer):
    """Without what differs from call to call."""
    return {k: v for k, v in answer.items() if k not in {"request_id", "timestamp", "stats"}} | {
        "idempotency_key": None
    }


@pytest.fixture
def team(aurora, recording_queue):
    document = document_of(config=CONFIG, mcp=[{"id": "maps", "slug": "maps", "type": "http"}])
    document["secrets_used"] = ["NEEDED"]
    made = make_formation(aurora.ada, document=document)
    add_mcp_server(made.home_owner, name="maps", transport="http", url="https://maps.example.org/")
    return made


@pytest.fixture
def port():
    with serving() as number:
        yield number


@pytest.fixture
def sdk(team, port):
    keys = {"admin_key": team.admin_key, "client_key": team.client_key}
    where = {"server_url": f"http://127.0.0.1:{port}", "formation_id": team.slug}
    with Both(**where, **keys) as both:
        yield both


def test_the_clients_read_what_a_formation_is(sdk):
    assert sdk("get_status")["formation"]["id"] == "team"
    assert sdk("get_status")["agents"] == {"count": 1, "active": 1}
    assert sdk("get_config")["mcp"]["servers"] == {"total": 1, "resource": "/v1/mcp/servers"}
    assert sdk("get_formation_info")["overlord"] == {"soul": "A calm host."}
    (agent,) = sdk("get_agents")["agents"]
    assert sdk("get_agent", agent["id"])["source"] == "formation"
    assert [server["id"] for server in sdk("get_mcp_servers")["servers"]] == ["maps"]
    assert sdk("get_mcp_server", "maps")["type"] == "http"
    assert sdk("get_mcp_tools")["count"] == 6
    assert sdk("get_async_config")["threshold_seconds"] == 20
    assert sdk("get_a2a_config")["enabled"] is False
    assert sdk("get_logging_config")["system"] == {"level": "debug"}
    assert sdk("get_logging_destinations")["system"]["level"] == "debug"
    assert sdk("get_overlord_config")["clarification"]["max_questions"] == 5
    assert sdk("get_overlord_soul")["soul"] == "A calm host."
    assert sdk("get_llm_settings")["settings"] == {"temperature": 0.2}
    assert sdk("get_scheduler_config")["default_time"] == "09:00"
    with pytest.raises(NotFoundError):
        sdk("get_agent", "nobody")


def test_the_clients_keep_secrets_and_read_the_audit(sdk, team):
    assert sdk("set_secret", "OPENAI", "sk-proj-abcdefghijklmnop") is None
    sdk.later("set_secret", "NEEDED", "7")
    assert sdk("get_secret", "OPENAI")["value"] == MASKED
    assert sdk("get_secrets")["secrets"] == {"NEEDED": "••••••••", "OPENAI": MASKED}
    sdk.later("delete_secret", "OPENAI")
    assert sdk("get_secrets")["count"] == 1
    for delete in (sdk, sdk.later):
        with pytest.raises(ConflictError):
            delete("delete_secret", "NEEDED")
    assert sdk("get_audit_log")["entries"][0]["action"] == "secret.removed"
    for clear in (sdk, sdk.later):
        clear("clear_audit_log")
        (entry,) = sdk("get_audit_log")["entries"]
        assert entry["action"] == "audit.cleared"


def test_the_clients_tell_a_wrong_key(team, port):
    where = {"server_url": f"http://127.0.0.1:{port}", "formation_id": "team"}
    keys = {"admin_key": team.client_key, "client_key": team.admin_key}
    with Both(**where, **keys) as wrong:
        for ask in (wrong, wrong.later):
            with pytest.raises(AuthenticationError):
                ask("get_status")
