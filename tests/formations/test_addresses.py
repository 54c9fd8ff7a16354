"""A formation's address: whom the router finds there, whose keys open it, and what a view sees."""

from __future__ import annotations

import json

import httpx
import pytest
from django.urls import path

from apps.core.errors import InvalidInput, NotFound
from apps.formations import registry
from apps.formations.api.formation_view import FormationView
from apps.formations.end_users import end_user_of
from apps.formations.models import Formation
from apps.workspaces.models import TokenKind
from apps.workspaces.services import adopt_key, revoke_key
from polymux.gateway import addresses
from tests.support.formations import document_of, make_formation
from tests.support.serving import serving

pytestmark = pytest.mark.django_db


class Mirror(FormationView):
    """Answers with what it sees."""

    def get(self, request, **_):
        running = self.running
        seen = {"slug": running.slug, "user": self.whose(), "admin": self.is_admin}
        return self.enveloped("mirror", "mirror.seen", seen)


urlpatterns = [path("v1/mirror", Mirror.as_view())]
handler404 = "apps.surfaces.fallback.handler404"


@pytest.fixture
def mirrored(settings):
    settings.FORMATION_URLCONF = __name__


def told(response):
    return response.status_code, json.loads(response.content)


def test_a_view_sees_the_formation_and_its_user(team, mirrored):
    status, body = told(team.get("/v1/mirror", user="Kim@Example.org"))
    assert (status, body["object"], body["type"]) == (200, "mirror", "mirror.seen")
    assert body["data"] == {"slug": "team", "user": "kim@example.org", "admin": False}
    assert told(team.get("/v1/mirror", key="admin"))[1]["data"]["user"] is None
    status, body = told(team.get("/v1/mirror"))
    assert (status, body["error"]["code"]) == (400, "INVALID_REQUEST")


def test_a_key_opens_its_own_formation_only(team, borealis, mirrored):
    other = make_formation(borealis.mallory, "other")
    assert told(other.get("/v1/mirror", key="admin"))[1]["data"]["slug"] == "other"
    wrong = [f"admin:{other.admin_key}", f"client:{other.client_key}", "client:x", "nobody"]
    answers = {(told(team.get("/v1/mirror", key=key))[0]) for key in wrong}
    assert answers == {401}


def test_the_same_key_opens_two_formations_each_in_its_own_home(team, borealis, mirrored):
    """Bundles bring their keys: two teams may have copied them from the same page."""
    other = make_formation(borealis.mallory, "other")
    for made in (team, other):
        adopt_key(made.home_owner, kind=TokenKind.ADMIN_KEY, name="brought", raw="fma_copied")
        answer = told(made.get("/v1/mirror", key="admin:fma_copied"))[1]
        assert answer["data"]["slug"] == made.slug


def test_a_brought_key_may_come_again_and_after_it_was_revoked(team, mirrored):
    def adopt(kind=TokenKind.CLIENT_KEY):
        return adopt_key(team.home_owner, kind=kind, name="brought", raw="fmc_brought_key")

    first = adopt()
    assert adopt().pk == first.pk
    assert first.prefix == "fmc"  # a quarter at most: a short key is not shown whole
    revoke_key(team.home_owner, first.pk)
    key = "client:fmc_brought_key"
    assert team.get("/v1/mirror", key=key, user="kim").status_code == 401
    adopt()
    assert team.get("/v1/mirror", key=key, user="kim").status_code == 200
    with pytest.raises(InvalidInput):
        adopt(TokenKind.ADMIN_KEY)


@pytest.mark.parametrize("raw", ["short", "with blank inside", "ключ-ключ", "x" * 513])
def test_text_that_is_no_key_is_not_adopted(team, raw):
    with pytest.raises(InvalidInput):
        adopt_key(team.home_owner, kind=TokenKind.ADMIN_KEY, name="brought", raw=raw)


def test_only_a_home_adopts_keys(aurora):
    with pytest.raises(InvalidInput):
        adopt_key(aurora.ada, kind=TokenKind.ADMIN_KEY, name="brought", raw="fma_brought")


def test_a_view_costs_three_queries_before_its_own(team, mirrored, count_queries):
    team.get("/v1/mirror", user="kim")  # its document is read once
    with count_queries(3):  # the key with its home; the formation; who that name is
        team.get("/v1/mirror", user="kim")


def test_what_runs_follows_the_rows(team, aurora):
    assert registry.running(team.home_id).version == "1.0.0"
    Formation.objects.in_workspace(aurora.id).update(status="stopped", generation=2)
    after = registry.running(team.home_id)
    assert (after.status, after.generation) == ("stopped", 2)
    with pytest.raises(NotFound):
        registry.running(aurora.id)


@pytest.mark.parametrize(
    ("memory", "many"),
    [
        (None, False),
        (False, False),
        ({"persistent": False}, False),
        ({"persistent": {"connection_string": "sqlite:///memory.db"}}, False),
        ({"persistent": {"connection_string": "sqlite:///m.db", "multi_user": True}}, True),
        ({"persistent": {"connection_string": "postgresql://db/x"}}, True),
        ({"persistent": {"connection_string": "${{ secrets.DB }}"}}, True),
    ],
)
def test_which_formations_tell_their_users_apart(memory, many):
    assert registry.is_multi_user(document_of(config={"memory": memory})) is many


def test_a_single_user_formation_folds_everybody(aurora):
    made = make_formation(aurora.ada, document=document_of())
    running = registry.running(made.home_id)
    assert end_user_of(running, "kim", admin=False, required=True) == "0"
    assert end_user_of(running, "", admin=True, required=True) is None
    assert end_user_of(running, None, admin=False, required=False) == "0"
    with pytest.raises(InvalidInput):
        end_user_of(running, " ", admin=False, required=True)
    with pytest.raises(InvalidInput):
        end_user_of(running, "k" * 256, admin=False, required=True)


@pytest.mark.parametrize(
    ("sent", "raw", "found"),
    [
        ("/api/team/v1/x", b"/api/team/v1/x", ("team", False, "/v1/x", b"/v1/x")),
        ("/api/team/a b", b"/api/team/a%20b?q=1", ("team", False, "/a b", b"/a%20b")),
        ("/api/team", b"/api/team", ("team", False, "/", b"/")),
        ("/draft/team/v1", b"/draft/team/v1", ("team", True, "/v1", b"/v1")),
        ("/mcp/team", b"/mcp/team", ("team", False, "/mcp", b"/mcp")),
        ("/mcp/team/x", b"/mcp/team/x", ("team", False, "/mcp/x", b"/mcp/x")),
        ("/api/v1/tasks", b"/api/v1/tasks", None),
        ("/api/instances/x", b"/api/instances/x", None),
        ("/api", b"/api", None),
        ("/api/", b"/api/", None),
        ("/apis/team/x", b"/apis/team/x", None),
    ],
)
def test_an_address_is_taken_apart(sent, raw, found):
    assert addresses.way_of({"path": sent, "raw_path": raw}) == found


@pytest.mark.django_db(transaction=True)
def test_the_main_port_leads_to_each_formation(team):
    with serving() as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        inside = client.get("/api/team/v1/nothing", headers=team.headers())
        assert (inside.status_code, inside.json()["error"]["code"]) == (404, "RESOURCE_NOT_FOUND")
        absent = client.get("/api/nobody/v1/nothing")
        assert absent.status_code == absent.json()["code"] == 404
        assert set(absent.json()) == {"error", "message", "code"}
        assert client.get("/draft/team/v1/nothing").json()["code"] == 404
        Formation.unscoped.update(status="stopped")
        registry.forget()
        assert client.get("/api/team/v1/nothing").json()["code"] == 503
