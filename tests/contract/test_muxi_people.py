"""Memories, users, credentials and documents of a formation against their golden files."""

from __future__ import annotations

import pytest

from tests.contract.golden import assert_golden
from tests.support.formations import document_of, make_formation

pytestmark = pytest.mark.django_db

KIM, LEE = "kim@example.org", "lee@example.org"
FORGE = {
    "id": "forge",
    "description": "Code",
    "type": "http",
    "endpoint": "https://forge.example.org/mcp",
    "auth": {"type": "bearer", "token": "${{ user.credentials.GITHUB }}"},
}
SOP = {
    "name": "Refunds",
    "title": "Refunds",
    "type": "sop",
    "description": "Give money back",
    "mode": "guide",
    "tags": ["money"],
    "bypass_approval": False,
    "synthesis": True,
    "content": "1. Ask [agent:helper]",
    "steps": [{"number": 1, "text": "Ask [agent:helper]"}],
    "agents_used": ["helper"],
    "references": ["policy.md"],
}
DOCUMENT = document_of(
    config={
        "id": "team",
        "memory": {"buffer": {"size": 20, "multiplier": 2}, "persistent": {"multi_user": True}},
    },
    mcp=[FORGE, {"id": "clock", "type": "http", "endpoint": "https://clock.example.org"}],
    triggers={
        "plain": {"content": "Report.", "meta": {}, "fields": []},
        "greet": {"content": "Say hello to ${{ data.name }}", "fields": ["data.name"]},
    },
    sops={"refund": SOP},
    skills={"charts": {"description": "Draws", "content": "Use axes."}},
)
OWN = {"type": "preference", "detail": "likes tea", "metadata": {"by": "chat"}, "user_id": "x"}
SHOPS = {"content": "closed in August", "scope": "formation"}
GITHUB = {
    "service": "GitHub",
    "name": "work",
    "credential": {"access_token": "ghp_0123456789abcdef"},
}
NAMES = {
    "muxi_user_id": None,
    "identifiers": [
        ["Kim@example.org", "email"],
        {"identifier": "telegram:7", "type": "telegram"},
        "crm-9",
    ],
}


@pytest.fixture
def team(aurora):
    return make_formation(aurora.ada, document=DOCUMENT)


# --- Memories -------------------------------------------------------------------------------------
def test_a_user_has_something_remembered_listed_and_forgotten(team):
    made = team.post("/v1/memories", OWN, user=KIM)
    assert_golden(made, "muxi_formation/memories_create.json")
    assert team.post("/v1/memories", SHOPS, user=KIM).status_code == 200
    assert_golden(team.get("/v1/memories", user=KIM), "muxi_formation/memories_list.json")
    path = f"/v1/memories/{made.json()['data']['id']}"
    gone = team.ask("DELETE", path, user=LEE)
    assert_golden(gone, "muxi_formation/error_memory_not_found.json")
    assert_golden(team.delete(path, user=KIM), "muxi_formation/memories_delete.json")
    assert_golden(team.delete(path, user=KIM), "muxi_formation/error_memory_not_found.json")


def test_another_user_reads_the_formations_memories_only(team):
    for body in (OWN, SHOPS):
        team.post("/v1/memories", body, user=KIM)
    for key in ("client", "admin"):
        listed = team.get("/v1/memories", user=LEE, key=key).json()["data"]["memories"]
        assert [item["content"]["detail"] for item in listed] == ["closed in August"]
    assert team.get("/v1/memories?scopes=user", user=LEE).json()["data"]["count"] == 0


def test_a_list_of_memories_is_paged(team):
    for number in range(12):
        team.post("/v1/memories", {"content": f"fact {number}"}, user=KIM)

    def page(query):
        data = team.get(f"/v1/memories{query}", user=KIM).json()["data"]
        return [item["content"]["detail"] for item in data["memories"]]

    assert page("") == [f"fact {number}" for number in range(11, 1, -1)]
    assert page("?limit=3&offset=10") == ["fact 1", "fact 0"]


def test_memories_always_need_a_user(team):
    for key in ("client", "admin"):
        assert_golden(team.get("/v1/memories", key=key), "muxi_formation/error_no_user.json")
    assert team.post("/v1/memories", OWN, key="admin").status_code == 400


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "offset=-1", "offset=x", "scopes=user,x"]
)
def test_a_query_that_asks_for_nonsense_is_refused(team, query):
    assert team.get(f"/v1/memories?{query}", user=KIM).status_code == 422


def test_what_is_no_memory_is_refused(team):
    empty = team.post("/v1/memories", {"type": "preference"}, user=KIM)
    assert_golden(empty, "muxi_formation/error_memory_empty.json")
    wrong = team.get("/v1/memories?scopes=world", user=KIM)
    assert_golden(wrong, "muxi_formation/error_memory_scopes.json")
    for body in (
        {"content": 7 * ["x"]},
        {"content": "x", "scope": "world"},
        {"content": "x" * 10_001},
    ):
        assert team.post("/v1/memories", body, user=KIM).status_code == 422


def test_a_formation_without_memory_keeps_nothing(aurora):
    off = document_of(config={"id": "team", "memory": {"persistent": False}})
    team = make_formation(aurora.ada, document=off)
    refused = team.post("/v1/memories", OWN, user=KIM)
    assert_golden(refused, "muxi_formation/error_memory_off.json")
    assert team.get("/v1/memories", user=KIM).json()["data"] == {"memories": [], "count": 0}


def test_a_formation_for_one_user_folds_everybody(aurora):
    team = make_formation(aurora.ada, document=document_of(config={"id": "team"}))
    assert team.post("/v1/memories", OWN, user=KIM).json()["data"]["scope_id"] == "0"
    assert team.get("/v1/memories", user=LEE).json()["data"]["count"] == 1


def test_the_memory_block_is_shown_to_the_admin_key(team):
    assert_golden(team.get("/v1/memory", key="admin"), "muxi_formation/memory_config.json")
    assert team.get("/v1/memory").status_code == 401


# --- Users ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("key", ["client", "admin"])
def test_a_user_is_resolved_and_found_again(team, key):
    asked = {"identifier": "Kim@Example.org", "identifier_type": "email", "create_user": False}
    made = team.post("/v1/users/resolve", asked, key=key)
    assert_golden(made, "muxi_formation/users_resolve.json")
    found = team.get(f"/v1/users/{KIM}", key=key)
    assert_golden(found, "muxi_formation/users_get.json")
    assert found.json()["data"] == made.json()["data"]
    assert team.get("/v1/users/lee", key=key).status_code == 404


@pytest.mark.parametrize("key", ["client", "admin"])
def test_names_are_linked_listed_and_taken_away(team, key):
    linked = team.post("/v1/users/identifiers", NAMES, key=key)
    assert_golden(linked, "muxi_formation/users_identifiers_link.json")
    listed = team.get("/v1/users/identifiers/telegram:7", key=key)
    assert_golden(listed, "muxi_formation/users_identifiers_list.json")
    gone = team.delete("/v1/users/identifiers/crm-9", key=key)
    assert_golden(gone, "muxi_formation/users_identifiers_unlink.json")
    unknown = team.get("/v1/users/identifiers/crm-9", key=key)
    assert_golden(unknown, "muxi_formation/error_user_not_found.json")


def test_a_name_of_another_user_is_not_given_away(team):
    team.post("/v1/users/identifiers", NAMES)
    theirs = {"muxi_user_id": "lee", "identifiers": ["fresh", "crm-9"]}
    refused = team.post("/v1/users/identifiers", theirs)
    assert_golden(refused, "muxi_formation/error_identifier_taken.json")
    assert team.get("/v1/users/identifiers/fresh").status_code == 404


@pytest.mark.parametrize("names", [[], [7], [["a", "b", "c"]], [{"type": "x"}], "kim", ["0"], [""]])
def test_what_is_no_list_of_names_is_refused(team, names):
    assert team.post("/v1/users/identifiers", {"identifiers": names}).status_code == 422


def test_a_linked_name_in_the_header_is_that_user(team):
    team.post("/v1/memories", OWN, user="telegram:7")
    linked = team.post("/v1/users/identifiers", NAMES).json()["data"]
    for name in (KIM, "crm-9", "telegram:7", linked["muxi_user_id"]):
        listed = team.get("/v1/memories", user=name).json()["data"]["memories"]
        assert [item["scope_id"] for item in listed] == [linked["muxi_user_id"]], name


# --- Credentials ----------------------------------------------------------------------------------
def test_services_are_those_the_servers_ask_users_for(team):
    for key in ("client", "admin"):
        found = team.get("/v1/credentials/services", key=key)
        assert_golden(found, "muxi_formation/credentials_services.json")


def test_a_credential_is_kept_shown_by_a_preview_and_removed(team):
    made = team.post("/v1/credentials", GITHUB, user=KIM)
    assert_golden(made, "muxi_formation/credentials_create.json")
    assert_golden(team.get("/v1/credentials", user=KIM), "muxi_formation/credentials_list.json")
    path = f"/v1/credentials/{made.json()['data']['credential_id']}"
    assert_golden(team.get(path, user=KIM), "muxi_formation/credentials_get.json")
    assert_golden(team.get(path, user=LEE), "muxi_formation/error_credential_not_found.json")
    assert team.get("/v1/credentials", user=LEE).json()["data"]["count"] == 0
    assert team.delete(path, user=LEE).status_code == 404
    assert_golden(team.delete(path, user=KIM), "muxi_formation/credentials_delete.json")
    assert_golden(team.get(path, user=KIM), "muxi_formation/error_credential_not_found.json")


def test_a_service_has_no_blanks_and_a_credential_is_an_object(team):
    refused = team.post("/v1/credentials", GITHUB | {"service": "git hub"}, user=KIM)
    assert_golden(refused, "muxi_formation/error_credential_service.json")
    for credential in ("ghp_x", {}, None):
        wrong = team.post("/v1/credentials", GITHUB | {"credential": credential}, user=KIM)
        assert wrong.status_code == 422
    assert team.post("/v1/credentials", GITHUB).status_code == 400  # whose?


# --- Triggers, SOPs, skills -----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "golden"),
    [
        ("triggers", "triggers_list"),
        ("triggers/greet", "triggers_get"),
        ("triggers/plain", "triggers_get_plain"),
        ("triggers/nothing", "error_trigger_not_found"),
        ("triggers/..", "error_name"),
        ("triggers/a b", "error_name"),
        ("sops", "sops_list"),
        ("sops/refund", "sops_get"),
        ("sops/nothing", "error_sop_not_found"),
        ("skills", "skills_list"),
        ("skills/charts", "skills_get"),
    ],
)
def test_documents_are_read_by_the_client_key(team, path, golden):
    assert_golden(team.get(f"/v1/{path}"), f"muxi_formation/{golden}.json")
    assert team.get(f"/v1/{path}", key="admin").status_code == 401


def test_documents_take_two_queries_behind_the_key(team, count_queries):
    team.get("/v1/sops")
    with count_queries(3, at_most=True):  # the key and its place; the formation
        team.get("/v1/sops")
