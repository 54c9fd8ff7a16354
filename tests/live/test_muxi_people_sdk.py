"""The `muxi` package's formation clients on memories, buffers, users, credentials, jobs and documents."""

from __future__ import annotations

import asyncio

import pytest
from muxi import AsyncFormationClient, FormationClient
from muxi.errors import ConflictError, NotFoundError, ValidationError

from apps.tasks.models import Schedule
from tests.contract.test_muxi_jobs import talk
from tests.contract.test_muxi_people import DOCUMENT, GITHUB
from tests.support.formations import make_formation

pytestmark = pytest.mark.django_db(transaction=True)

KIM, LEE = "kim@example.org", "lee@example.org"


class Later:
    """The async client, its coroutines run to their end."""

    def __init__(self, **where):
        self._loop = asyncio.Runner()
        self._client = AsyncFormationClient(**where)

    def __getattr__(self, name):
        return lambda *args, **kwargs: self._loop.run(getattr(self._client, name)(*args, **kwargs))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._loop.run(self._client.__aexit__(None, None, None))
        self._loop.close()


@pytest.fixture
def team(aurora):
    return make_formation(aurora.ada, document=DOCUMENT)


@pytest.fixture(params=[FormationClient, Later], ids=["sync", "async"])
def sdk(request, stack, team):
    keys = {"admin_key": team.admin_key, "client_key": team.client_key}
    where = {"server_url": stack.url, "formation_id": team.slug}
    with request.param(**where, **keys) as client:
        yield client


def test_the_package_remembers_and_forgets(sdk):
    made = sdk.add_memory(KIM, "preference", "likes tea")
    assert made["content"] == {"type": "preference", "detail": "likes tea"}
    assert [item["id"] for item in sdk.get_memories(KIM)["memories"]] == [made["id"]]
    assert sdk.get_memories(KIM, limit=1)["count"] == 1
    assert sdk.get_memories(LEE)["memories"] == []
    with pytest.raises(NotFoundError):
        sdk.delete_memory(LEE, made["id"])
    sdk.delete_memory(KIM, made["id"])
    assert sdk.get_memories(KIM)["memories"] == []
    with pytest.raises(ValidationError):
        sdk.add_memory(KIM, "preference", "")
    assert sdk.get_memory_config()["buffer"] == {"size": 20, "multiplier": 2}


def test_the_package_clears_what_turns_read(sdk, team):
    for user, key in ((KIM, "a"), (KIM, "b"), (LEE, "a")):
        talk(team, user, key, "Hello", "Hi.")
    assert sdk.get_user_buffer(KIM)["total_messages"] == 4
    assert sdk.get_buffer_stats()["total_entries"] == 6
    assert sdk.clear_session_buffer(KIM, "a")["messages_cleared"] == 2
    assert sdk.clear_user_buffer(KIM)["messages_cleared"] == 2
    assert sdk.get_user_buffer(LEE)["total_messages"] == 2
    assert sdk.clear_all_buffers()["sessions_cleared"] == 1
    assert sdk.get_buffer_stats()["total_entries"] == 0
    with pytest.raises(NotFoundError):
        sdk.clear_session_buffer(LEE, "b")


def test_the_package_schedules_jobs(sdk):
    made = sdk.create_scheduler_job("recurring", "0 9 * * 1", "Report the week", KIM)
    assert (made["user_id"], made["cron_expression"]) == (KIM, "0 9 * * 1")
    assert [job["id"] for job in sdk.get_scheduler_jobs(KIM)["jobs"]] == [made["id"]]
    assert sdk.get_scheduler_jobs(LEE)["jobs"] == []
    assert sdk.get_scheduler_job(made["id"])["status"] == "ACTIVE"
    changed = sdk.update_scheduler_job(made["id"], title="Mondays", schedule="0 8 * * 1", x=1)
    assert (changed["id"], changed["title"]) == (made["id"], "Mondays")
    assert Schedule.unscoped.get().expression == "0 8 * * 1"
    assert sdk.pause_scheduler_job(made["id"])["status"] == "PAUSED"
    assert sdk.resume_scheduler_job(made["id"])["status"] == "ACTIVE"
    sdk.delete_scheduler_job(made["id"])
    with pytest.raises(NotFoundError):
        sdk.get_scheduler_job(made["id"])
    with pytest.raises(ValidationError):
        sdk.create_scheduler_job("one_time", "yesterday", "Report", KIM)


def test_the_package_keeps_credentials(sdk):
    assert [one["service"] for one in sdk.list_credential_services()["services"]] == ["github"]
    made = sdk.create_credential(KIM, GITHUB)
    assert made["credential_preview"] == "ghp_012*****def"
    assert sdk.get_credential(made["credential_id"], KIM)["name"] == "work"
    assert sdk.list_credentials(KIM)["count"] == 1
    assert sdk.list_credentials(LEE)["count"] == 0
    with pytest.raises(NotFoundError):
        sdk.get_credential(made["credential_id"], LEE)
    assert sdk.delete_credential(made["credential_id"], KIM)["deleted"] is True
    assert sdk.list_credentials(KIM)["credentials"] == []


def test_the_package_links_the_names_of_users(sdk):
    sdk.add_memory("telegram:7", "fact", "sails")
    user = sdk.resolve_user(KIM)["muxi_user_id"]
    assert sdk.resolve_user(KIM, create_user=True)["muxi_user_id"] == user
    linked = sdk.link_user_identifier(user, ["telegram:7", ["crm-9", "crm"]])
    assert [name["identifier"] for name in linked["identifiers"]] == [KIM, "telegram:7", "crm-9"]
    assert sdk.get_user_identifiers_for_user("crm-9")["muxi_user_id"] == user
    for name in (KIM, "telegram:7", "crm-9", user):
        assert [item["content"]["detail"] for item in sdk.get_memories(name)["memories"]] == [
            "sails"
        ]
    with pytest.raises(ConflictError):
        sdk.link_user_identifier("somebody", ["crm-9"])
    sdk.unlink_user_identifier("crm-9")
    with pytest.raises(NotFoundError):
        sdk.get_user_identifiers_for_user("crm-9")
    assert sdk.get_memories("crm-9")["memories"] == []


def test_the_package_reads_triggers_and_sops(sdk):
    assert sdk.get_triggers()["triggers"] == ["greet", "plain"]
    assert sdk.get_trigger("greet")["data_fields"] == ["data.name"]
    assert [sop["name"] for sop in sdk.get_sops()["sops"]] == ["refund"]
    assert sdk.get_sop("refund")["content"] == "1. Ask [agent:helper]"
    for method in (sdk.get_trigger, sdk.get_sop):
        with pytest.raises(NotFoundError):
            method("nothing")
