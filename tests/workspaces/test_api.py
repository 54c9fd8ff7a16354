"""`/me`, `/tokens` and `/workspaces` over HTTP, whole answers (contract/polymux.md §2.3, §7.2)."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from apps.accounts.models import AuditEntry
from apps.core import gauges
from apps.core.actor import Actor, CallerKind, Role, Scope
from apps.core.ids import parse_id, wire_id
from apps.surfaces import ratewindow
from apps.workspaces import selectors, services
from apps.workspaces.models import ApiToken, TokenKind, Workspace
from tests.contract.golden import assert_golden

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_windows():
    ratewindow.store.cache_clear()


@pytest.fixture
def call(client):
    """`call(raw_token, "POST", "/tokens", {...})`: one request in JSON."""

    def send(raw, method, path, body=None, **headers):
        data = json.dumps(body) if isinstance(body, (dict, list)) else body or ""
        given = {"Authorization": f"Bearer {raw}"} if raw else {}
        return client.generic(
            method, path, data, content_type="application/json", headers={**given, **headers}
        )

    return send


@pytest.fixture
def star(world):
    return world.token("ada")


def ws(workspace):
    return wire_id("ws", workspace.pk)


def test_me_is_the_caller_across_workspaces(world, call, star):
    assert_golden(call(star, "GET", "/me"), "polymux/me.json")


def test_me_needs_an_account_wide_token(world, call):
    bound = world.token("ada", "admin", world.aurora)
    for method, path in [("GET", "/me"), ("GET", "/tokens"), ("POST", "/workspaces")]:
        refused = call(bound, method, path, {})
        assert (refused.status_code, refused.json()["code"]) == (403, "workspace_mismatch")


def test_no_token_and_a_bad_one_are_told_apart(world, call):
    for raw, code in [(None, "token_missing"), ("pmx_nobody", "token_invalid")]:
        refused = call(raw, "GET", "/me")
        assert (refused.status_code, refused.json()["code"]) == (401, code)
        assert_golden(refused, f"polymux/error_{code}.json")


def test_a_token_is_issued_shown_once_listed_and_revoked(world, call, star):
    body = {
        "name": "laptop",
        "scope": "write",
        "workspace": ws(world.aurora),
        "purpose": "a nightly report",
    }
    made = call(star, "POST", "/tokens", body)
    assert_golden(made, "polymux/tokens_create.json")
    raw, token_id = made.json()["token"], made.json()["id"]
    assert call(raw, "GET", f"/workspaces/{ws(world.aurora)}").status_code == 200

    assert raw not in call(star, "GET", "/tokens").content.decode()
    gone = call(star, "DELETE", f"/tokens/{token_id}")
    assert_golden(gone, "polymux/tokens_delete.json")
    assert call(star, "DELETE", f"/tokens/{token_id}").status_code == 204
    refused = call(raw, "GET", f"/workspaces/{ws(world.aurora)}")
    assert (refused.status_code, refused.json()["code"]) == (401, "token_revoked")


def test_the_list_of_tokens_is_a_page_of_rows(world, call):
    ada = world.login("ada")
    services.issue_token(ada, name="laptop", scope="admin", workspace_id=world.aurora.pk)
    _, star = services.issue_token(ada, name="everywhere", scope="admin")
    assert_golden(call(star, "GET", "/tokens"), "polymux/tokens_list.json")


def test_usage_shows_the_live_counters_of_that_token(world, call, star, request):
    row, raw = services.issue_token(
        world.login("ada"), name="t", scope="read", workspace_id=world.aurora.pk
    )
    path = f"/tokens/{wire_id('tok', row.pk)}/usage"
    assert_golden(call(star, "GET", path), "polymux/tokens_usage.json")

    kept = dict(gauges._gauges)
    request.addfinalizer(lambda: (gauges._gauges.clear(), gauges._gauges.update(kept)))
    gauges.register("active_sessions", lambda token_id: 3 if token_id == row.pk else 0)
    call(raw, "GET", "/workspaces")
    used = call(raw, "GET", path).json()  # this request counts, too
    assert used["read"] == {"limit": 60, "remaining": 58, "reset": used["read"]["reset"]}
    assert used["write"]["remaining"] == 30
    assert used["active_sessions"] == {"limit": 10, "used": 3}


def test_a_workspace_is_created_read_changed_and_removed(world, call, star):
    made = call(star, "POST", "/workspaces", {"name": "Dawn", "slug": "dawn"})
    assert_golden(made, "polymux/workspaces_create.json")
    there = made.headers["Location"]
    assert call(star, "GET", there).json() == made.json()

    path = f"/workspaces/{ws(world.aurora)}"
    assert_golden(call(star, "GET", path), "polymux/workspaces_get.json")
    changed = call(star, "PATCH", path, {"name": "Aurora Two"})
    assert_golden(changed, "polymux/workspaces_patch.json")
    assert_golden(call(star, "DELETE", path), "polymux/workspaces_delete.json")
    assert call(star, "GET", path).status_code == 404


def test_the_list_of_workspaces_holds_only_the_tokens_own(world, call, star):
    assert_golden(call(star, "GET", "/workspaces"), "polymux/workspaces_list.json")
    services.create_workspace(world.login("ada"), name="Dawn", slug="dawn")
    bound = world.token("ada", "read", world.aurora)
    assert [row["slug"] for row in call(bound, "GET", "/workspaces").json()["data"]] == ["aurora"]


def test_paging_neither_repeats_nor_loses_a_workspace(world, call, star):
    for number in range(4):
        services.create_workspace(world.login("ada"), name="W", slug=f"w{number}")
    seen, cursor = [], ""
    while cursor is not None:
        page = call(star, "GET", f"/workspaces?limit=2&cursor={cursor}").json()
        seen += [row["slug"] for row in page["data"]]
        cursor = page["next_cursor"]
        if len(seen) == 2:
            services.create_workspace(world.login("ada"), name="New", slug="new")
    assert seen == ["w3", "w2", "w1", "w0", "aurora"]


def test_a_cursor_is_good_for_one_list_of_one_person(world, call, star):
    services.create_workspace(world.login("ada"), name="Dawn", slug="dawn")
    cursor = call(star, "GET", "/workspaces?limit=1").json()["next_cursor"]
    for raw, path in [
        (star, f"/tokens?cursor={cursor}"),
        (star, f"/workspaces?cursor={cursor[:-2]}AA"),
        (world.token("ben"), f"/workspaces?cursor={cursor}"),
    ]:
        refused = call(raw, "GET", path)
        assert (refused.status_code, refused.json()["code"]) == (400, "cursor_invalid")


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1e1", "٣"])
def test_a_limit_out_of_bounds_is_refused(call, star, limit):
    refused = call(star, "GET", f"/workspaces?limit={limit}")
    assert (refused.status_code, list(refused.json()["details"]["fields"])) == (400, ["limit"])


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/workspaces", {"name": "Dawn"}, "slug"),
        ("/workspaces", {"name": "Dawn", "slug": "dawn", "plan": "max"}, "plan"),
        ("/workspaces", {"name": "Dawn", "slug": "UPPER"}, "slug"),
        ("/workspaces", {"name": "Dawn", "slug": "skills"}, "slug"),
        ("/workspaces", {"name": 5, "slug": "dawn"}, "name"),
        ("/workspaces", {"name": None, "slug": "dawn"}, "name"),
        ("/workspaces", {"name": "x" * 101, "slug": "dawn"}, "name"),
        ("/workspaces", {"name": ["Dawn"], "slug": "dawn"}, "name"),
        ("/tokens", {"name": "t", "scope": "root", "workspace": "*"}, "scope"),
        ("/tokens", {"name": "t", "scope": "read"}, "workspace"),
        ("/tokens", {"name": "", "scope": "read", "workspace": "*"}, "name"),
        ("/tokens", {"name": "t", "scope": "read", "workspace": "*", "kind": "hmac"}, "kind"),
        ("/tokens", {"name": "t", "scope": True, "workspace": "*"}, "scope"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_changes(call, star, path, body, field):
    before = Workspace.objects.count(), ApiToken.objects.count(), AuditEntry.objects.count()
    refused = call(star, "POST", path, body)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
    assert list(refused.json()["details"]["fields"]) == [field]
    after = Workspace.objects.count(), ApiToken.objects.count(), AuditEntry.objects.count()
    assert before == after


@pytest.mark.parametrize(
    "raw_body",
    [
        '{"name": "a\\u0000", "slug": "dawn"}',
        "{",
        "[]",
        '"text"',
        "null",
        '{"name": NaN}',
        "\udcff",
    ],
)
def test_a_hostile_body_is_refused_and_changes_nothing(call, star, raw_body):
    before = Workspace.objects.count()
    body = raw_body.encode("utf-8", "surrogateescape")
    assert call(star, "POST", "/workspaces", body).status_code == 400
    assert Workspace.objects.count() == before


def test_a_patch_takes_an_empty_picture_and_refuses_what_it_does_not_know(world, call, star):
    path = f"/workspaces/{ws(world.aurora)}"
    there = call(star, "PATCH", path, {"avatar_url": "https://example.org/a.png"})
    assert there.json()["avatar_url"] == "https://example.org/a.png"
    assert call(star, "PATCH", path, {"avatar_url": ""}).json()["avatar_url"] is None
    for body in ({"slug": "x"}, {"avatar_url": "javascript:x"}, {"avatar_url": None}):
        assert call(star, "PATCH", path, body).status_code == 400


def test_the_slug_of_another_is_a_conflict(call, star):
    refused = call(star, "POST", "/workspaces", {"name": "Mine", "slug": "borealis"})
    assert (refused.status_code, refused.json()["code"]) == (409, "slug_taken")


def test_the_last_workspace_stays(world, call, star):
    refused = call(star, "DELETE", f"/workspaces/{ws(world.aurora)}")
    assert (refused.status_code, refused.json()["code"]) == (409, "last_workspace")


def without_ids(response):
    body = response.json()
    body.pop("request_id", None)
    return response.status_code, body


def test_absent_and_foreign_answer_the_same(world, call, star):
    row, _ = services.issue_token(world.login("mallory"), name="t", scope="read")
    nobody = uuid4()
    pairs = [
        ("GET", "/workspaces/{}", "ws", world.borealis.pk, None),
        ("PATCH", "/workspaces/{}", "ws", world.borealis.pk, {"name": "Mine"}),
        ("DELETE", "/workspaces/{}", "ws", world.borealis.pk, None),
        ("DELETE", "/tokens/{}", "tok", row.pk, None),
        ("GET", "/tokens/{}/usage", "tok", row.pk, None),
    ]
    for method, path, prefix, foreign, body in pairs:
        theirs = call(star, method, path.format(wire_id(prefix, foreign)), body)
        absent = call(star, method, path.format(wire_id(prefix, nobody)), body)
        assert theirs.status_code == 404
        assert without_ids(theirs) == without_ids(absent)
    assert Workspace.objects.get(slug="borealis").name == "Borealis"
    row.refresh_from_db()
    assert row.revoked_at is None


@pytest.mark.parametrize(
    "token_id", ["tok_", "tok_!!", "ws_1", "x" * 300, "%00", "tok_" + "z" * 22]
)
def test_what_is_no_id_is_not_found(call, star, token_id):
    assert call(star, "DELETE", f"/tokens/{token_id}").status_code == 404


@pytest.mark.parametrize(
    ("who", "scope", "status"),
    [("ada", "admin", 200), ("ada", "write", 403), ("ben", "write", 403), ("cleo", "read", 403)],
)
def test_changing_a_workspace_takes_admin_scope_and_role(world, call, who, scope, status):
    raw = world.token(who, scope, world.aurora)
    done = call(raw, "PATCH", f"/workspaces/{ws(world.aurora)}", {"name": "Changed"})
    assert done.status_code == status
    if status == 403:
        assert done.json()["code"] == "scope_insufficient"
        assert Workspace.objects.get(pk=world.aurora.pk).name == "Aurora"


def test_a_writer_neither_lists_nor_issues_nor_revokes_tokens(world, call):
    raw = world.token("ada", "write")
    body = {"name": "t", "scope": "read", "workspace": "*"}
    for method, path in [("GET", "/tokens"), ("POST", "/tokens"), ("DELETE", "/tokens/tok_1")]:
        refused = call(raw, method, path, body)
        assert (refused.status_code, refused.json()["code"]) == (403, "scope_insufficient")


def test_a_session_token_and_a_key_do_not_get_in(world, call):
    session = services.issue_session_token(world.actor("ada"), uuid4())
    _, key = services.issue_key(world.actor("ada"), kind=TokenKind.ADMIN_KEY, name="k")
    for path in ("/me", "/tokens", "/workspaces", f"/workspaces/{ws(world.aurora)}"):
        assert call(session, "GET", path).status_code == 403
        assert call(key, "GET", path).status_code == 401


def test_a_suspended_workspace_is_read_but_not_changed(world, call, star):
    operator = Actor(world.aurora.pk, Scope.ADMIN, CallerKind.OPERATOR, platform=True)
    services.suspend_workspace(operator, reason="unpaid")
    path = f"/workspaces/{ws(world.aurora)}"
    assert call(star, "GET", path).status_code == 200
    refused = call(star, "PATCH", path, {"name": "Changed"})
    assert refused.status_code == 403
    assert Workspace.objects.get(pk=world.aurora.pk).name == "Aurora"


def test_a_removed_member_is_out_at_the_next_request(world, call):
    raw = world.token("ben", "write", world.aurora)
    path = f"/workspaces/{ws(world.aurora)}"
    assert call(raw, "GET", path).json()["role"] == "member"
    services.change_member(world.actor("ada"), world.users["ben"].pk, Role.VIEWER)
    assert call(raw, "GET", path).json()["role"] == "viewer"
    services.remove_member(world.actor("ada"), world.users["ben"].pk)
    assert call(raw, "GET", path).status_code == 404


def test_creating_the_same_token_twice_with_a_key_creates_it_once(call, star):
    body = {"name": "t", "scope": "read", "workspace": "*"}
    first = call(star, "POST", "/tokens", body, **{"Idempotency-Key": "once"})
    second = call(star, "POST", "/tokens", body, **{"Idempotency-Key": "once"})
    assert first.json() == second.json()
    assert ApiToken.objects.filter(name="t", scope="read").count() == 1


def test_what_an_api_call_changed_names_its_request(world, call, star):
    done = call(star, "PATCH", f"/workspaces/{ws(world.aurora)}", {"name": "Named"})
    entry = AuditEntry.objects.get(action="workspace.changed")
    assert entry.request_id == done.headers["X-Request-Id"]
    assert entry.token_id == selectors.caller_of_token(star).token_id
    assert entry.ip == "127.0.0.1"


def test_a_list_costs_the_same_however_long_it_is(world, call, star, count_queries):
    call(star, "GET", "/workspaces")  # the token's limits are remembered from here on
    with count_queries(2):
        call(star, "GET", "/workspaces")
    for number in range(5):
        services.create_workspace(world.login("ada"), name="W", slug=f"w{number}")
    with count_queries(2):
        assert len(call(star, "GET", "/workspaces").json()["data"]) == 6


def test_ids_on_the_wire_lead_back_to_the_row(world, call, star):
    row = call(star, "GET", "/workspaces").json()["data"][0]
    assert parse_id("ws", row["id"]) == world.aurora.pk
