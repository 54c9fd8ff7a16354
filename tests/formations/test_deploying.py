"""What a deploy makes of a bundle, and what is left when it fails."""

from __future__ import annotations

import gzip
import io
import socket
from pathlib import Path

import pytest
from django.core.files.storage import default_storage

from apps.accounts.models import AuditEntry
from apps.core.actor import Actor, Role, Scope
from apps.core.errors import Conflict, NotFound, ScopeInsufficient, Unauthenticated
from apps.events.models import Event
from apps.formations import health, registry, selectors, services, wire
from apps.formations.claiming import finished
from apps.formations.errors import (
    AlreadyRunning,
    FormationNotFound,
    NotHealthy,
    StdioForOperators,
    UpdateCancelled,
    UpdateRunning,
)
from apps.formations.means import opened_secrets as opened_headers
from apps.formations.models import Agent, Formation, FormationPort, McpServer, ToolSetting
from apps.formations.placing import placed
from apps.formations.services import deploying, updating
from apps.workspaces.credentials import caller_of_home_key
from apps.workspaces.models import Secret, Workspace
from apps.workspaces.selectors import actor_in, get_workspace
from apps.workspaces.services import add_member, change_member, remove_member
from apps.workspaces.vault import opened_secrets
from tests.support.management import bundle, operator_of, prepared, sealed

pytestmark = pytest.mark.django_db

KEYS = "\nserver:\n  api_keys: {admin_key: fma_of_theirs, client_key: fmc_of_theirs}\n"
HTTP = """\
schema: "1.0.0"
id: search
description: Searches.
type: http
endpoint: https://mcp.example.org/mcp
auth: {type: bearer, token: "${{ secrets.SEARCH }}"}
tools: {allow: [find], deny: [forget]}
"""
PROGRAM = """\
schema: "1.0.0"
id: shop
description: The shop.
type: command
command: python3
args: ["tools/shop.py"]
"""
WITH_HTTP = {"more": "\nmcp: {servers: [search]}\n", "files": {"mcp/search.afs": HTTP}}
WITH_PROGRAM = {
    "more": "\nmcp: {servers: [shop]}\n",
    "files": {"mcp/shop.afs": PROGRAM, "tools/shop.py": "print()"},
}


@pytest.fixture
def actor(aurora):
    return operator_of(aurora).actor


def deploy(actor, slug="my-team", **parts):
    given = io.BytesIO(bundle(slug, **parts))
    return finished(services.deploy(actor, given, slug=slug))


def update(actor, version="1.1.0", slug="my-team", **parts):
    given = io.BytesIO(bundle(slug, version=version, **parts))
    return finished(services.update(actor, given, slug=slug))


def home_of(outcome):
    return Actor.for_system(outcome.formation.home_id)


def rows(model, outcome):
    return model.objects.in_workspace(outcome.formation.home_id)


# --- What is made -----------------------------------------------------------------------------------


def test_agents_are_rows_of_the_formations_home(actor):
    made = deploy(actor)
    helper = rows(Agent, made).get(name="helper")
    assert (helper.model, helper.system_prompt) == ("scripted/echo", "Answer in one sentence.")
    assert helper.metadata["muxi"]["source"] == "formation"
    assert helper.tools == ["now"]
    assert rows(Agent, made).get(is_default=True).name == "orchestrator"
    home = get_workspace(home_of(made))
    assert (home.parent_id, home.settings["default_model"]) == (
        actor.workspace_id,
        "scripted/echo",
    )


def test_the_people_of_the_workspace_have_the_same_seats_in_the_home(actor, aurora):
    home_id = deploy(actor).formation.home_id
    assert actor_in(aurora.ada_login, home_id).scope == Scope.ADMIN
    assert actor_in(aurora.cleo_login, home_id).scope == Scope.READ


def test_a_seat_in_the_home_follows_the_one_in_the_workspace(actor, aurora):
    home_id = deploy(actor).formation.home_id
    change_member(aurora.ada, aurora.ben_user.pk, Role.VIEWER)
    assert actor_in(aurora.ben_login, home_id).scope == Scope.READ
    remove_member(aurora.ada, aurora.ben_user.pk)
    with pytest.raises(NotFound):
        actor_in(aurora.ben_login, home_id)
    add_member(aurora.ada, aurora.ben_user.pk, Role.MEMBER)
    assert actor_in(aurora.ben_login, home_id).scope == Scope.WRITE


def test_secrets_lie_sealed_in_the_homes_vault_and_nowhere_else(actor):
    more = (
        '\nllm:\n  models: [{text: openai/gpt-4.1}]\n  api_keys: {openai: "${{ secrets.PAID }}"}\n'
    )
    files = {"formation.afs": _with_llm(more), **sealed({"PAID": "sk-paid-for"})}
    made = deploy(actor, files=files)
    assert opened_secrets(made.formation.home_id) == {
        "OPENAI_API_KEY": "sk-paid-for",
        "PAID": "sk-paid-for",
    }
    version = made.formation.current
    assert "sk-paid-for" not in str(version.document)
    with default_storage.open(version.storage_key) as stored:
        raw = stored.read()
    assert b".key" not in gzip.decompress(raw)


def _with_llm(more):
    return (
        'schema: "1.0.0"\nid: my-team\ndescription: Pays.\nversion: "1.0.0"\n'
        "agents:\n  - {id: helper, name: Helper, description: Helps}\n" + more
    )


def test_keys_of_the_file_open_this_formation_only(actor):
    one, two = (deploy(actor, slug, more=KEYS) for slug in ("one-team", "two-team"))
    for made in (one, two):
        caller, _ = caller_of_home_key(made.formation.home_id, "fma_of_theirs")
        assert (caller.workspace_id, caller.scope) == (made.formation.home_id, Scope.ADMIN)
        assert made.keys == {}


def test_keys_are_made_once_and_outlive_updates(actor):
    made = deploy(actor)
    assert sorted(made.keys) == ["admin_key", "client_key"]
    home_id = made.formation.home_id
    assert update(actor).keys == {}
    assert caller_of_home_key(home_id, made.keys["client_key"])[0].scope == Scope.WRITE


def test_a_key_named_later_takes_the_place_of_the_one_before(actor):
    made = deploy(actor)
    home_id = made.formation.home_id
    update(actor, more=KEYS)
    caller_of_home_key(home_id, "fma_of_theirs")
    with pytest.raises(Unauthenticated):
        caller_of_home_key(home_id, made.keys["admin_key"])
    finished(services.roll_back(actor, "my-team"))
    caller_of_home_key(home_id, "fma_of_theirs")  # the file before names none


def test_an_mcp_server_brings_its_rules_along(actor):
    made = deploy(
        actor, **{**WITH_HTTP, "files": {**WITH_HTTP["files"], **sealed({"SEARCH": "t0ken"})}}
    )
    server = rows(McpServer, made).get()
    assert (server.name, server.transport, server.url) == (
        "search",
        "http",
        "https://mcp.example.org/mcp",
    )
    assert opened_headers(server) == {"Authorization": "Bearer t0ken"}
    assert rows(Agent, made).get(name="helper").tools == ["now", "search__find"]
    denied = rows(ToolSetting, made).get()
    assert (denied.tool, denied.enabled) == ("search__forget", False)


def test_a_program_of_the_bundle_runs_from_the_bundle(actor):
    made = deploy(actor, **WITH_PROGRAM)
    command = rows(McpServer, made).get().command
    assert command[0] == "python3"
    script = Path(placed(command)[1])
    assert script.read_text() == "print()"
    services.delete_formation(actor, "my-team")


def test_programs_are_for_keys_that_an_operator_made(actor, aurora):
    with pytest.raises(StdioForOperators):
        deploy(aurora.ada, **WITH_PROGRAM)
    assert not Formation.unscoped.exists()
    deploy(actor, **WITH_PROGRAM)


def test_writers_and_readers_do_not_deploy(aurora):
    for who in (aurora.ben, aurora.cleo):
        with pytest.raises(ScopeInsufficient):
            deploy(who)


# --- What goes and what stays -----------------------------------------------------------------------


def test_what_the_next_version_lacks_goes_and_what_an_api_made_stays(actor):
    made = deploy(
        actor, **{**WITH_HTTP, "files": {**WITH_HTTP["files"], **sealed({"SEARCH": "t0ken"})}}
    )
    inside = home_of(made)
    services.create_agent(inside, name="by-hand")
    services.add_mcp_server(inside, name="by-hand", transport="http", url="https://example.org")
    updated = update(actor, says="Say less.")
    assert set(rows(Agent, updated).values_list("name", flat=True)) == {
        "by-hand",
        "helper",
        "orchestrator",
    }
    assert rows(Agent, updated).get(name="helper").system_prompt == "Say less."
    assert [server.name for server in rows(McpServer, updated)] == ["by-hand"]
    assert not rows(Secret, updated).exists()


def test_a_rollback_brings_everything_back(actor):
    files = {**WITH_HTTP["files"], **sealed({"SEARCH": "t0ken"})}
    made = deploy(actor, **{**WITH_HTTP, "files": files})
    update(actor, says="Say less.")
    back = finished(services.roll_back(actor, "my-team"))
    assert (back.number, back.previous_number) == (1, 2)
    assert rows(Agent, back).get(name="helper").system_prompt == "Answer in one sentence."
    assert opened_secrets(made.formation.home_id) == {"SEARCH": "t0ken"}
    assert rows(McpServer, back).get().name == "search"


def test_a_deleted_formation_leaves_its_name_and_port_and_no_key(actor):
    made = deploy(actor, more=KEYS)
    kept = made.formation.current.storage_key
    services.delete_formation(actor, "my-team")
    with pytest.raises(FormationNotFound):
        services.delete_formation(actor, "my-team")
    assert Workspace.objects.get(pk=made.formation.home_id).status == "removed"
    assert not FormationPort.unscoped.exists()
    again = deploy(actor, more=KEYS)
    assert (again.port, again.formation.home_id == made.formation.home_id) == (made.port, False)
    assert kept != again.formation.current.storage_key


def test_a_list_of_formations_costs_one_query(actor, count_queries):
    for slug in ("one-team", "two-team"):
        deploy(actor, slug)
    with count_queries(1):
        found = [wire.shown(formation) for formation in selectors.list_formations(actor)]
    assert [item["id"] for item in found] == ["one-team", "two-team"]


def test_each_change_is_recorded_and_told_here_and_in_the_home(actor):
    made = deploy(actor)
    update(actor)
    services.stop(actor, "my-team")
    told = ["formation.deployed", "formation.updated", "formation.stopped"]
    for workspace_id in (actor.workspace_id, made.formation.home_id):
        facts = Event.objects.filter(workspace_id=workspace_id, name__startswith="formation.")
        assert list(facts.order_by("seq").values_list("name", flat=True)) == told
    entries = AuditEntry.objects.filter(subject_type="formation").order_by("created_at", "id")
    assert [entry.action for entry in entries] == told
    assert {entry.token_id for entry in entries} == {actor.token_id}


def test_what_a_gateway_must_notice_has_a_new_generation(actor):
    generations = [deploy(actor).formation.generation]
    generations.append(update(actor).formation.generation)
    generations.append(finished(services.roll_back(actor, "my-team")).formation.generation)
    generations.append(services.stop(actor, "my-team").generation)
    generations.append(finished(services.start(actor, "my-team")).formation.generation)
    generations.append(finished(services.restart(actor, "my-team")).formation.generation)
    assert generations == sorted(set(generations))
    assert registry.look_up("my-team").generation == generations[-1]


# --- What goes wrong --------------------------------------------------------------------------------


def test_a_document_that_cannot_be_applied_leaves_no_trace(actor, monkeypatch):
    def broken(*_args, **_more):
        raise Conflict("In the middle.")

    before = Workspace.objects.count()
    monkeypatch.setattr(deploying, "apply_document", broken)
    kept = []
    monkeypatch.setattr("apps.formations.archive.discard", lambda *keys: kept.extend(keys))
    with pytest.raises(Conflict, match=r"In the middle\."):
        deploy(actor)
    assert (Workspace.objects.count(), Formation.unscoped.count()) == (before, 0)
    assert len(kept) == 1


def test_a_failed_update_leaves_the_version_before_serving(actor, monkeypatch):
    deploy(actor)
    monkeypatch.setattr(updating, "apply_document", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        update(actor, says="Never said.")
    formation = Formation.unscoped.select_related("current").get()
    assert (formation.current.version, formation.staged, formation.status) == (
        "1.0.0",
        None,
        "running",
    )
    assert FormationPort.unscoped.count() == 1


def test_a_staged_version_that_somebody_left_is_taken_over(actor, monkeypatch):
    deploy(actor)
    updating.stage(actor, "my-team", prepared(actor, bundle(version="1.1.0")))
    with pytest.raises(UpdateRunning):
        update(actor, "1.2.0")
    Formation.unscoped.update(staged_at="2026-01-01T00:00:00Z")
    assert update(actor, "1.2.0").version == "1.2.0"
    assert FormationPort.unscoped.count() == 1


def test_a_cancelled_update_does_not_switch(actor):
    deploy(actor)
    steps = services.update(actor, io.BytesIO(bundle(version="1.1.0")), slug="my-team")
    while next(steps).stage != "health_check":
        pass
    services.cancel_update(actor, "my-team")
    with pytest.raises(UpdateCancelled):
        next(steps)
    assert Formation.unscoped.select_related("current").get().current.version == "1.0.0"


def test_a_client_that_leaves_during_an_update_leaves_nothing_staged(actor):
    deploy(actor)
    steps = services.update(actor, io.BytesIO(bundle(version="1.1.0")), slug="my-team")
    while next(steps).stage != "spawning_staging":
        pass
    steps.close()
    assert Formation.unscoped.get().staged_id is None
    assert update(actor, "1.2.0").version == "1.2.0"


def test_a_port_that_no_gateway_opens_takes_the_deploy_back(actor, monkeypatch):
    monkeypatch.setattr(health, "_look", lambda _formation: False)
    monkeypatch.setattr(health, "WAIT_SECONDS", 0.0)
    with pytest.raises(NotHealthy):
        deploy(actor)
    assert not Formation.unscoped.exists()


def test_a_strangers_port_is_passed_over(actor, settings):
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        settings.FORMATION_PORTS = (port, port + 20)
        assert deploy(actor).port > port


def test_anothers_formation_is_absent(actor, borealis):
    deploy(actor)
    mallory = operator_of(borealis).actor
    for act in (services.stop, services.delete_formation, services.cancel_update):
        with pytest.raises(NotFound):
            act(mallory, "my-team")
    with pytest.raises(NotFound):
        update(mallory)
    with pytest.raises(AlreadyRunning):
        finished(services.start(actor, "my-team"))
