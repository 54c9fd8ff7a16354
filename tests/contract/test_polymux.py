"""The polymux surface against its golden files: the calls a client makes, the answers it gets."""

from __future__ import annotations

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from apps.core.ids import session_wire_id, uuid7, wire_id
from tests.contract.golden import assert_golden

pytestmark = pytest.mark.django_db


class Api:
    """A client with one token; JSON in, JSON out."""

    def __init__(self, token: str) -> None:
        self.client = Client(raise_request_exception=False)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def __call__(self, method, path, body=None, **headers):
        content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        return self.client.generic(
            method,
            path,
            content if body is not None else b"",
            "application/json",
            headers=self.headers | headers,
        )


@pytest.fixture
def api(aurora, recording_queue):
    """As Ada, in Aurora."""
    return Api(aurora.ada_token)


@pytest.fixture
def star(aurora, recording_queue):
    """As Ada, everywhere."""
    return Api(aurora.ada_star_token)


@pytest.fixture
def session(api):
    return api("POST", "/sessions", {}).json()


@pytest.mark.parametrize("path", ["/sessions", "/workspaces/{}/sessions"])
def test_a_page_of_sessions_costs_two_queries_at_any_depth(api, aurora, count_queries, path):
    """The credential with its place, then the rows; a figure of the README depends on it."""
    for _ in range(3):
        assert api("POST", "/sessions", {}).status_code == 201
    page = f"{path.format(wire_id('ws', aurora.id))}?limit=1"
    cursor = api("GET", page).json()["next_cursor"]
    for asked in [page, f"{page}&cursor={cursor}", f"{page}&status=idle"]:
        with count_queries(2):
            assert len(api("GET", asked).json()["data"]) == 1


def test_a_person_sees_themselves_and_their_workspaces(star):
    assert_golden(star("GET", "/me"), "polymux/me.json")


def test_a_token_is_made_and_shown_once(star, aurora):
    body = {"name": "laptop", "scope": "write", "purpose": "a nightly report"}
    made = star("POST", "/tokens", body | {"workspace": wire_id("ws", aurora.id)})
    assert_golden(made, "polymux/tokens_create.json")


def test_tokens_are_listed_without_their_secret(star):
    listed = star("GET", "/tokens")
    assert_golden(listed, "polymux/tokens_list.json")


def test_a_token_shows_its_live_usage(star, aurora):
    path = f"/tokens/{wire_id('tok', aurora.ada_token_id)}/usage"
    assert_golden(star("GET", path), "polymux/tokens_usage.json")


def test_a_revoked_token_may_be_revoked_again(star, aurora):
    path = f"/tokens/{wire_id('tok', aurora.ada_token_id)}"
    assert_golden(star("DELETE", path), "polymux/tokens_delete.json")
    assert_golden(star("DELETE", path), "polymux/tokens_delete.json")


def test_workspaces_are_listed(star):
    assert_golden(star("GET", "/workspaces"), "polymux/workspaces_list.json")


def test_a_workspace_is_opened(star):
    made = star("POST", "/workspaces", {"name": "Dawn", "slug": "dawn"})
    assert_golden(made, "polymux/workspaces_create.json")


def test_a_workspace_is_read(api, aurora):
    path = f"/workspaces/{wire_id('ws', aurora.id)}"
    assert_golden(api("GET", path), "polymux/workspaces_get.json")


def test_a_workspace_is_renamed(api, aurora):
    path = f"/workspaces/{wire_id('ws', aurora.id)}"
    assert_golden(api("PATCH", path, {"name": "Aurora Two"}), "polymux/workspaces_patch.json")


def test_a_workspace_is_deleted_by_its_owner(star, aurora):
    star("POST", "/workspaces", {"name": "Dawn", "slug": "dawn"})  # the last one may not go
    path = f"/workspaces/{wire_id('ws', aurora.id)}"
    assert_golden(star("DELETE", path), "polymux/workspaces_delete.json")


def test_a_session_is_opened(api):
    assert_golden(api("POST", "/sessions", {}), "polymux/sessions_create.json")


def test_a_session_is_opened_in_a_named_workspace(star, aurora):
    path = f"/workspaces/{wire_id('ws', aurora.id)}/sessions"
    body = {"title": "Digest", "token_budget": 1000, "metadata": {"team": "blue"}}
    made = star("POST", path, body)
    assert_golden(made, "polymux/sessions_create_in_workspace.json")


def test_sessions_are_listed_newest_first(api):
    for title in ("First", "Second"):
        api("POST", "/sessions", {"title": title})
    assert_golden(api("GET", "/sessions"), "polymux/sessions_list.json")


def test_sessions_are_listed_in_pages(api, aurora):
    for title in ("First", "Second"):
        api("POST", "/sessions", {"title": title})
    path = f"/workspaces/{wire_id('ws', aurora.id)}/sessions"
    page = api("GET", f"{path}?limit=1")
    assert_golden(page, "polymux/sessions_list_in_workspace.json")
    rest = api("GET", f"{path}?limit=1&cursor={page.json()['next_cursor']}").json()
    assert [row["title"] for row in rest["data"]] == ["First"]
    assert rest["next_cursor"] is None


def test_a_page_of_sessions_takes_four_queries_at_most(api, count_queries):
    for number in range(5):
        api("POST", "/sessions", {"title": f"Session {number}"})
    with count_queries(4, at_most=True):
        api("GET", "/sessions?limit=50")


def test_a_session_is_read(api, session):
    assert_golden(api("GET", f"/sessions/{session['id']}"), "polymux/sessions_get.json")


def test_a_session_is_changed(api, session):
    body = {"title": "Renamed", "humanize": False, "metadata": {"a": "b"}}
    changed = api("PATCH", f"/sessions/{session['id']}", body)
    assert_golden(changed, "polymux/sessions_patch.json")


def test_a_session_is_ended_and_may_be_ended_again(api, session):
    for _ in range(2):
        ended = api("POST", f"/sessions/{session['id']}/end", {})
        assert_golden(ended, "polymux/sessions_end.json")


def test_a_session_is_paused_and_resumed(api, session):
    paused = api("POST", f"/sessions/{session['id']}/pause", {})
    assert_golden(paused, "polymux/sessions_pause.json")
    resumed = api("POST", f"/sessions/{session['id']}/resume", {})
    assert_golden(resumed, "polymux/sessions_resume.json")


def test_a_deleted_session_is_gone(api, session):
    assert_golden(api("DELETE", f"/sessions/{session['id']}"), "polymux/sessions_delete.json")
    gone = api("GET", f"/sessions/{session['id']}")
    assert_golden(gone, "polymux/error_not_found.json")


def test_a_message_is_accepted_and_stored_once(api, session):
    path = f"/sessions/{session['id']}/messages"
    body = {"content": "Good morning", "message_id": str(uuid7())}
    first, again = api("POST", path, body), api("POST", path, body)
    assert_golden(first, "polymux/messages_create.json")
    assert again.json() == first.json()
    assert_golden(api("GET", path), "polymux/messages_list.json")


def test_a_file_is_uploaded_listed_and_deleted(api, session):
    path = f"/sessions/{session['id']}/files"
    upload = SimpleUploadedFile("notes.txt", b"hello world", "text/plain")
    made = api.client.post(path, {"file": upload}, headers=api.headers)
    assert_golden(made, "polymux/files_create.json")
    assert_golden(api("GET", path), "polymux/files_list.json")
    assert_golden(api("DELETE", f"{path}/{made.json()['id']}"), "polymux/files_delete.json")


# --- Refusals ---------------------------------------------------------------------------------
def test_a_missing_token_is_told(aurora):
    assert_golden(Api("")("GET", "/sessions"), "polymux/error_token_missing.json")


def test_an_unknown_token_is_told(aurora):
    assert_golden(Api("pmx_nobody")("GET", "/sessions"), "polymux/error_token_invalid.json")


def test_a_viewer_may_not_open_a_session(aurora):
    refused = Api(aurora.cleo_token)("POST", "/sessions", {})
    assert_golden(refused, "polymux/error_scope_insufficient.json")


def test_a_token_of_another_workspace_is_told(aurora, borealis):
    refused = Api(borealis.mallory_token)("GET", f"/workspaces/{wire_id('ws', aurora.id)}")
    assert_golden(refused, "polymux/error_workspace_mismatch.json")


def test_an_absent_session_is_not_found(api, aurora):
    path = f"/sessions/{session_wire_id(aurora.id, uuid7())}"
    assert_golden(api("GET", path), "polymux/error_not_found.json")


def test_a_field_of_the_wrong_type_is_named(api):
    assert_golden(api("POST", "/sessions", {"title": ["no"]}), "polymux/error_invalid.json")


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b'{"title": NaN}', b"[]", b'"x"'])
def test_a_malformed_body_changes_nothing(api, body):
    refused = api("POST", "/sessions", body)
    assert refused.status_code == 400
    assert refused.json()["code"] == "invalid_request"
    assert api("GET", "/sessions").json()["data"] == []


def test_malformed_json_is_told(api):
    assert_golden(api("POST", "/sessions", b"{"), "polymux/error_malformed.json")


def test_a_wrong_method_is_told_with_the_right_ones(api):
    assert_golden(api("PUT", "/sessions", {}), "polymux/error_method.json")


def test_a_forged_cursor_is_refused(api):
    assert_golden(api("GET", "/sessions?cursor=eyJpZCI6MX0"), "polymux/error_cursor.json")


def test_too_many_reads_are_told_when_to_come_back(api, settings):
    settings.RATE_READ_PER_MIN = 1
    api("GET", "/sessions")
    assert_golden(api("GET", "/sessions"), "polymux/error_rate_limited.json")


def test_an_ended_session_takes_no_message(api, session):
    api("POST", f"/sessions/{session['id']}/end", {})
    refused = api("POST", f"/sessions/{session['id']}/messages", {"content": "Hello?"})
    assert_golden(refused, "polymux/error_session_ended.json")


def test_the_eleventh_session_is_refused(api):
    for _ in range(10):
        assert api("POST", "/sessions", {}).status_code == 201
    assert_golden(api("POST", "/sessions", {}), "polymux/error_session_limit.json")


@pytest.mark.parametrize("length", [100_001, 0])
def test_a_message_has_a_length(api, session, length):
    refused = api("POST", f"/sessions/{session['id']}/messages", {"content": "x" * length})
    assert refused.status_code == 400
    assert api("GET", f"/sessions/{session['id']}/messages").json()["data"] == []


def test_an_idempotency_key_makes_one_session(api):
    first = api("POST", "/sessions", {"title": "Once"}, **{"Idempotency-Key": "k1"})
    again = api("POST", "/sessions", {"title": "Once"}, **{"Idempotency-Key": "k1"})
    assert again.json() == first.json()
    assert again.headers["Idempotent-Replay"] == "true"
    other = api("POST", "/sessions", {"title": "Twice"}, **{"Idempotency-Key": "k1"})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert len(api("GET", "/sessions").json()["data"]) == 1
