"""Memories: appended without loss, bounded, and each agent's own."""

from __future__ import annotations

import asyncio

import pytest
from django.db import IntegrityError, connection

from apps.core.actor import Actor
from apps.core.errors import InvalidInput, NotFound, ScopeInsufficient
from apps.core.ids import uuid7
from apps.core.tools import ToolContext, ToolFailed
from apps.formations.services import create_agent
from apps.knowledge import selectors, services
from apps.knowledge.errors import MemoryFull, TooManyMemories
from apps.knowledge.models import Memory
from apps.knowledge.tools import memory_append, memory_read


@pytest.fixture
def scribe(aurora):
    return create_agent(aurora.ada, name="Scribe")


def test_what_is_appended_is_read(aurora):
    assert selectors.read_memory(aurora.ada) is None
    services.append_memory(aurora.ada, "first")
    assert services.append_memory(aurora.ben, "second") == len("first\nsecond")
    assert selectors.read_memory(aurora.cleo) == "first\nsecond"


def test_writing_replaces(aurora):
    services.append_memory(aurora.ada, "old")
    services.write_memory(aurora.ada, "new")
    assert selectors.read_memory(aurora.ada) == "new"


def test_an_agents_notes_are_its_own(aurora, scribe):
    services.append_memory(aurora.ada, "mine", agent_id=scribe.id)
    assert selectors.read_memory(aurora.ada) is None
    assert selectors.read_memory(aurora.ada, agent_id=scribe.id) == "mine"


def test_a_memory_is_capped(aurora):
    services.append_memory(aurora.ada, "é" * (services.MAX_BYTES // 2))
    with pytest.raises(MemoryFull):
        services.append_memory(aurora.ada, "x")
    with pytest.raises(MemoryFull):
        services.write_memory(aurora.ada, "x" * (services.MAX_BYTES + 1))


def test_the_number_of_keys_is_capped(aurora, monkeypatch):
    monkeypatch.setattr(services, "MAX_KEYS", 2)
    services.append_memory(aurora.ada, "x", key="a")
    services.append_memory(aurora.ada, "x", key="b")
    with pytest.raises(TooManyMemories):
        services.append_memory(aurora.ada, "x", key="c")
    services.append_memory(aurora.ada, "x", key="b")


def test_a_viewer_may_read_but_not_write(aurora):
    with pytest.raises(ScopeInsufficient):
        services.append_memory(aurora.cleo, "x")
    assert selectors.read_memory(aurora.cleo) is None


@pytest.mark.parametrize("key", ["", "../x\x00", "-x", "x" * 121, "ключ"])
def test_odd_keys_are_refused(aurora, key):
    with pytest.raises(InvalidInput):
        services.append_memory(aurora.ada, "x", key=key)


def test_a_deleted_memory_is_gone(aurora):
    services.append_memory(aurora.ada, "x")
    assert services.delete_memory(aurora.ada, "notes")
    assert not services.delete_memory(aurora.ada, "notes")


def test_a_stranger_finds_nothing(aurora, borealis, scribe):
    services.append_memory(aurora.ada, "secret", agent_id=scribe.id)
    services.append_memory(aurora.ada, "secret")
    assert selectors.read_memory(borealis.mallory) is None
    with pytest.raises(NotFound):
        selectors.read_memory(borealis.mallory, agent_id=scribe.id)
    with pytest.raises(NotFound):
        services.append_memory(borealis.mallory, "x", agent_id=scribe.id)


def test_the_database_refuses_a_memory_for_a_foreign_agent(aurora, borealis, scribe):
    row = Memory(workspace_id=borealis.id, agent_id=scribe.id, key="x")
    row.save()  # the constraint is deferred to the end of the transaction
    with pytest.raises(IntegrityError, match="knowledge_memory_agent_id_tenant_fk"):
        connection.check_constraints()


@pytest.mark.django_db(transaction=True)
def test_twelve_appends_at_once_lose_nothing(race, aurora):
    assert race(services.append_memory, aurora.ada, "line", runners=12).winners == 12
    assert selectors.read_memory(aurora.ada).split("\n") == ["line"] * 12


@pytest.mark.django_db(transaction=True)
def test_read_then_write_would_lose_lines(race, aurora):
    """The control: the same race with a read and a write."""
    services.write_memory(aurora.ada, "")

    def append_naively():
        memory = Memory.unscoped.get()
        content = memory.content + "line\n"
        connection.cursor().execute("SELECT pg_sleep(0.05)")
        memory.content = content
        memory.save()

    race(append_naively, runners=12)
    assert selectors.read_memory(aurora.ada).count("line") < 12


@pytest.mark.django_db(transaction=True)
def test_agents_remember_through_their_tools(aurora):
    scribe = create_agent(aurora.ada, name="Scribe")
    context = ToolContext(Actor.for_engine(aurora.id), uuid7(), None, scribe.id, "k")

    async def remember():
        await memory_append(context, {"text": "mine"})
        await memory_append(context, {"text": "ours", "shared": True, "key": "team"})
        return (
            await memory_read(context, {"key": "notes"}),
            await memory_read(context, {"shared": True}),
        )

    own, shared = asyncio.run(remember())
    assert own == {"key": "notes", "exists": True, "content": "mine"}
    assert shared == {"keys": ["team"]}
    with pytest.raises(ToolFailed, match="full"):
        asyncio.run(memory_append(context, {"text": "x" * services.MAX_BYTES}))
