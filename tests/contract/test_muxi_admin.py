"""A formation's admin routes against their golden files (contract/muxi.md §5.9)."""

from __future__ import annotations

import pytest

from apps.accounts.models import AuditEntry
from apps.conversations.services.messages import post_message
from apps.conversations.services.sessions import create_session
from apps.formations.means import record_contact
from apps.formations.selectors import list_mcp_servers
from apps.formations.services import add_mcp_server, create_agent
from apps.workspaces.services import set_secret
from tests.contract.golden import assert_golden, operations
from tests.support.formations import document_of, make_formation

pytestmark = pytest.mark.django_db

OPENAI = "sk-proj-abcdefghijklmnop"
HELPER = {
    "id": "helper",
    "name": "Helper",
    "description": "Answers short questions",
    "llm_models": [{"text": "openai/gpt-4o", "api_key": "${{ secrets.OPENAI_API_KEY }}"}],
    "system_message": "Answer in one sentence.",
    "mcp_servers": ["maps"],
    "active": True,
    "source": "formation",
}
MAPS = {
    "id": "maps",
    "slug": "maps",
    "description": "Finds places",
    "type": "http",
    "endpoint": "https://maps.example.org/mcp",
    "auth": {"type": "bearer", "token": "${{ secrets.MAPS }}"},
}
STREAMS = [
    {"transport": "file", "destination": "/var/log/team.jsonl", "level": "warning"},
    {"id": "live", "transport": "stream", "format": "text", "enabled": False},
]
CONFIG = {
    "llm": {
        "api_keys": {
            "openai": "${{ secrets.OPENAI_API_KEY }}",
            "anthropic": "sk-ant-abcdefghijklm123456",
        },
        "settings": {"temperature": 0.2},
        "models": [{"text": "openai/gpt-4o"}],
    },
    "mcp": {"default_timeout_seconds": 45, "servers": ["maps"]},
    "memory": {"persistent": {"multi_user": True, "connection_string": "postgres://a:b@c/d"}},
    "overlord": {"soul": "A calm host.", "workflow": {"complexity_threshold": 5}},
    "async": {"threshold_seconds": 20, "webhook_url": "https://hooks.example.org/done"},
    "a2a": {
        "enabled": True,
        "outbound": {"services": [{"id": "bank", "auth": {"type": "bearer", "token": "t"}}]},
    },
    "scheduler": {"timezone": "Europe/Berlin"},
    "logging": {"system": {"level": "debug"}, "conversation": {"streams": STREAMS}},
    "server": {"api_keys": {"admin_key": "${{ secrets.ADMIN_KEY }}", "client_key": "fmc_x"}},
}
SCOUT = {
    "schema": "1.0.0",
    "id": "scout",
    "name": "Scout",
    "description": "Looks things up",
    "system_message": "Look twice.",
}
REQUIRED = [
    *(f"{verb} /v1/agents" for verb in ("GET", "POST")),
    *(f"{verb} /v1/agents/{{agent_id}}" for verb in ("GET", "PUT", "DELETE")),
    *(f"{verb} /v1/secrets" for verb in ("GET", "POST")),
    *(f"{verb} /v1/secrets/{{key}}" for verb in ("GET", "PUT", "DELETE")),
    *(f"{verb} /v1/audit" for verb in ("GET", "DELETE")),
]
# Path -> golden file: what is read and takes no parameter.
READ = {
    "/v1/status": "status",
    "/v1/config": "config",
    "/v1/formation": "formation",
    "/v1/llm/settings": "llm_settings",
    "/v1/async": "async",
    "/v1/a2a": "a2a",
    "/v1/logging": "logging",
    "/v1/logging/destinations": "logging_destinations",
    "/v1/overlord": "overlord",
    "/v1/overlord/soul": "overlord_soul",
    "/v1/scheduler": "scheduler",
    "/v1/mcp": "mcp",
    "/v1/mcp/servers": "mcp_servers",
    "/v1/mcp/servers/maps": "mcp_server",
    "/v1/mcp/tools": "mcp_tools",
    "/v1/agents": "agents_list",
    "/v1/agents/helper": "agents_get",
}


def golden(response, name):
    return assert_golden(response, f"muxi_formation/{name}.json")


@pytest.fixture
def formation(aurora, recording_queue):
    """A formation whose file says something in every block, and what of it are rows."""
    document = document_of(config=CONFIG, agents=[HELPER], mcp=[MAPS])
    document["secrets_used"] = ["OPENAI_API_KEY", "ADMIN_KEY", "MAPS"]
    made = make_formation(aurora.ada, document=document)
    owner = made.home_owner
    for name in ("maps", "wiki"):
        url = f"https://{name}.example.org/mcp"
        add_mcp_server(owner, name=name, transport="http", url=url)
    fields = {"role": HELPER["description"], "model": "openai/gpt-4o"}
    identity, prompt = {"displayName": "Helper"}, HELPER["system_message"]
    create_agent(
        owner,
        name="helper",
        identity=identity,
        system_prompt=prompt,
        metadata={"muxi": HELPER},
        **fields,
    )
    set_secret(owner, "OPENAI_API_KEY", OPENAI)
    return made


@pytest.mark.parametrize(("path", "name"), READ.items())
def test_what_the_formation_is_made_of_is_read(formation, path, name):
    golden(formation.get(path, key="admin"), name)


@pytest.mark.parametrize("operation", REQUIRED)
def test_the_operation_has_a_golden_file(operation):
    assert operations().get(operation)


def test_the_client_key_opens_none_of_it(formation):
    golden(formation.get("/v1/agents", key="client"), "error_admin_key")
    for path in [*READ, "/v1/secrets", "/v1/secrets/OPENAI_API_KEY", "/v1/audit"]:
        assert formation.get(path, key="client").status_code == 401, path
        assert formation.get(path, key="nobody").status_code == 401, path


def test_a_block_that_the_file_does_not_have_is_empty(team):
    for path in ("/v1/async", "/v1/a2a", "/v1/logging", "/v1/llm/settings"):
        assert team.get(path, key="admin").json()["data"] == {}
    listed = team.get("/v1/logging/destinations", key="admin").json()["data"]["conversation"]
    assert listed == {"destinations": [], "count": 0}


def test_the_status_counts_what_is_there(formation):
    owner = formation.home_owner
    maps = list_mcp_servers(owner).get(name="maps")
    record_contact(owner, maps.pk, status="ready")
    session, _ = create_session(owner, title="Talk")
    post_message(owner, session.pk, content="Hello")
    formation.put("/v1/agents/helper", {"active": False}, key="admin")
    shown = formation.get("/v1/status", key="admin").json()["data"]
    assert shown["agents"] == {"count": 2, "active": 1}
    assert shown["mcp_servers"] == {"count": 2, "active": 1}
    assert shown["stats"]["requests"] == {"total": 1, "active": 1}
    assert shown["stats"]["buffer_size"] == 1
    assert shown["stats"]["memory"]["memory_usage_mb"] > 1


def test_a_status_takes_a_bounded_number_of_queries(formation, count_queries):
    formation.get("/v1/status", key="admin")
    with count_queries(7, at_most=True):  # key; formation; agents, servers; runs twice, messages
        assert formation.get("/v1/status", key="admin").status_code == 200


def test_an_agent_is_made_changed_and_removed(formation):
    golden(formation.post("/v1/agents", SCOUT, key="admin"), "agents_create")
    changed = formation.put("/v1/agents/scout", {"active": False, "name": "Spy"}, key="admin")
    golden(changed, "agents_update")
    golden(formation.post("/v1/agents", SCOUT, key="admin"), "error_agent_exists")
    golden(formation.delete("/v1/agents/scout", key="admin"), "agents_delete")
    golden(formation.get("/v1/agents/scout", key="admin"), "error_agent_not_found")


def test_an_agent_is_refused_with_what_is_wrong_in_it(formation):
    body = {k: v for k, v in SCOUT.items() if k != "id"} | {"active": "no", "mcp_servers": "x"}
    golden(formation.post("/v1/agents", body, key="admin"), "error_agent_fields")
    golden(formation.delete("/v1/agents/helper", key="admin"), "error_agent_of_formation")
    golden(formation.get("/v1/mcp/servers/none", key="admin"), "error_mcp_server_not_found")


def test_secrets_are_kept_masked_and_deleted(team):
    body = {"key": "openai-api-key", "value": OPENAI}
    golden(team.post("/v1/secrets", body, key="admin"), "secrets_create")
    golden(team.post("/v1/secrets", body, key="admin"), "error_secret_exists")
    golden(team.get("/v1/secrets/OPENAI_API_KEY", key="admin"), "secrets_get")
    other = {"value": "sk-proj-zyxwvutsrqponmlk"}
    golden(team.put("/v1/secrets/OPENAI_API_KEY", other, key="admin"), "secrets_put")
    golden(team.put("/v1/secrets/maps.key", {"value": "m"}, key="admin"), "secrets_put_new")
    golden(team.delete("/v1/secrets/OPENAI_API_KEY", key="admin"), "secrets_delete")
    golden(team.get("/v1/secrets/OPENAI_API_KEY", key="admin"), "error_secret_not_found")
    assert team.delete("/v1/secrets/OPENAI_API_KEY", key="admin").status_code == 404


def test_secrets_are_listed_masked(team):
    for name, value in [
        ("OPENAI_API_KEY", OPENAI),
        ("HOOK", "https://h.example.org"),
        ("PIN", "7"),
    ]:
        set_secret(team.home_owner, name, value)
    golden(team.get("/v1/secrets", key="admin"), "secrets_list")


def test_a_secret_that_the_file_names_is_not_deleted(formation):
    golden(formation.delete("/v1/secrets/OPENAI_API_KEY", key="admin"), "error_secret_in_use")
    assert formation.get("/v1/secrets/OPENAI_API_KEY", key="admin").status_code == 200


def test_the_audit_log_records_and_begins_anew_when_it_is_cleared(team):
    assert team.post("/v1/agents", SCOUT, key="admin").status_code == 201
    kept = AuditEntry.objects.filter(workspace_id=team.home_id).count()
    golden(team.delete("/v1/audit?confirm=clear-audit-log", key="admin"), "audit_clear")
    team.put("/v1/secrets/PIN", {"value": "7"}, key="admin")
    golden(team.get("/v1/audit", key="admin"), "audit")
    assert AuditEntry.objects.filter(workspace_id=team.home_id).count() == kept + 2


def test_the_audit_log_is_cleared_only_on_purpose(team):
    team.put("/v1/secrets/PIN", {"value": "7"}, key="admin")
    golden(team.delete("/v1/audit", key="admin"), "error_audit_unconfirmed")
    assert team.delete("/v1/audit?confirm=yes", key="admin").status_code == 400
    shown = team.get("/v1/audit?resource_type=secret", key="admin").json()["data"]
    assert shown["total_entries"] == 1


def test_the_audit_log_is_asked_in_parts(team):
    team.post("/v1/agents", SCOUT, key="admin")
    team.put("/v1/secrets/PIN", {"value": "7"}, key="admin")

    def asked(query):
        data = team.get(f"/v1/audit?{query}", key="admin").json()["data"]
        return [entry["action"] for entry in data["entries"]], data["total_entries"]

    assert asked("resource_type=secret") == (["secret.added"], 1)
    assert asked("action=agent.created&limit=1") == (["agent.created"], 2)
    assert asked("since=2999-01-01T00:00:00Z") == ([], 0)
    wrong = "limit=1001&resource_type=kettle&since=yesterday"
    golden(team.get(f"/v1/audit?{wrong}", key="admin"), "error_audit_query")


def test_one_formation_sees_nothing_of_another(formation, borealis):
    other = make_formation(borealis.mallory, "other")
    assert other.get("/v1/secrets", key="admin").json()["data"]["secrets"] == {}
    assert other.get("/v1/agents/helper", key="admin").status_code == 404
    assert other.get("/v1/mcp/servers/maps", key="admin").status_code == 404
    assert other.get("/v1/agents", key=f"admin:{formation.admin_key}").status_code == 401
    shown = other.get("/v1/audit?limit=1000", key="admin").json()["data"]["entries"]
    assert "OPENAI_API_KEY" not in str(shown)
