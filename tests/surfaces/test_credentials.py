"""How each surface finds out who is there."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

import pytest

from apps.core.actor import Scope
from apps.core.errors import Unauthenticated
from apps.core.ids import session_wire_id, uuid7, wire_id
from apps.surfaces import jwe, muxi_server
from apps.surfaces.kit import from_scope
from tests.surfaces.conftest import (
    ADMIN_TOKEN,
    HMAC_ID,
    HMAC_SECRET,
    INTERNAL,
    make_hmac_key,
    make_key,
)

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.surfaces.probe")]


def bearer(raw):
    return {"Authorization": f"Bearer {raw}"}


# --- MUXI server: HMAC ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "signature"),
    [
        ("POST", "/rpc/formations", "WEwIso1GQyQ7RgZAksPfySYigIkpjn9UbrYKD3KnJZI="),
        ("GET", "/rpc/formations/my-team/logs", "8sdSgUr+74ynIyPb5qouqPcXoeudZwa/D+SsTQrfCGs="),
    ],
)
def test_signatures_are_those_of_the_contract(method, path, signature):
    assert muxi_server.sign(b"sk_test_secret", "1700000000", method, path) == signature


def signed(method, path, *, at=None, secret=HMAC_SECRET, key=HMAC_ID):
    stamp = str(int(time.time()) if at is None else at)
    made = muxi_server.sign(secret.encode(), stamp, method, path)
    return {"Authorization": f"MUXI-HMAC key={key}, timestamp={stamp}, signature={made}"}


@pytest.fixture
def hmac_key(aurora):
    return make_hmac_key(aurora.id)


def test_the_python_sdk_gets_in(knock, hmac_key):
    from muxi.auth import build_auth_header

    header = build_auth_header(HMAC_ID, HMAC_SECRET, "GET", "/rpc/probes?lines=5")
    assert knock.get("/rpc/probes?lines=5", headers={"Authorization": header}).status_code == 200


def test_a_signature_over_the_query_is_taken_too(knock, hmac_key):
    header = signed("GET", "/rpc/probes?lines=5")
    assert knock.get("/rpc/probes?lines=5", headers=header).status_code == 200
    assert knock.get("/rpc/probes?lines=6", headers=header).status_code == 401


@pytest.mark.parametrize(("skew", "status"), [(-299, 200), (299, 200), (-305, 401), (305, 401)])
def test_the_clock_may_differ_by_five_minutes(knock, hmac_key, skew, status):
    header = signed("GET", "/rpc/probes", at=int(time.time()) + skew)
    assert knock.get("/rpc/probes", headers=header).status_code == status


@pytest.mark.parametrize(
    "header",
    [
        signed("POST", "/rpc/probes"),
        signed("GET", "/rpc/other"),
        signed("GET", "/rpc/probes", secret="sk_wrong"),
        signed("GET", "/rpc/probes", key="MUXI_unknown"),
        {"Authorization": "MUXI-HMAC key=, timestamp=1, signature=x"},
        {"Authorization": "MUXI-HMAC-SHA256 key=a, timestamp=1, signature=x"},
        {"Authorization": "MUXI-HMAC key=a, timestamp=١٢, signature=x".encode().decode("latin-1")},
    ],
)
def test_a_wrong_signature_is_refused(knock, hmac_key, header):
    assert knock.get("/rpc/probes", headers=header).status_code == 401


# --- MUXI formation -------------------------------------------------------------------------------


def test_each_route_of_a_formation_takes_its_own_key(knock, aurora):
    _, admin = make_key("admin_key", aurora.id)
    _, client = make_key("client_key", aurora.id, scope="write")
    as_admin, as_client = {"X-MUXI-ADMIN-KEY": admin}, {"X-MUXI-CLIENT-KEY": client}
    body = {"name": "a"}
    assert knock.get("/v1/probes", headers=as_client).status_code == 200
    assert knock.post("/v1/probes", body, "application/json", headers=as_client).status_code == 401
    assert knock.post("/v1/probes", body, "application/json", headers=as_admin).status_code == 201
    assert knock.get("/v1/probes", headers={"X-MUXI-ADMIN-KEY": client}).status_code == 401


def test_a_formations_error_echoes_the_idempotency_key(knock):
    response = knock.get("/v1/probes", headers={"X-Muxi-Idempotency-Key": "k-1"})
    assert json.loads(response.content)["request"]["idempotency_key"] == "k-1"


# --- Polpo ----------------------------------------------------------------------------------------


def test_polpo_takes_its_key_in_three_places(knock, aurora):
    path, key = "/api/v1/projects/aurora/probes", aurora.ada_token
    assert knock.get(path, headers={"X-API-Key": key}).status_code == 200
    assert knock.get(f"{path}?apiKey={quote(key)}").status_code == 200
    assert knock.get(path, headers=bearer(key)).status_code == 200


def test_polpo_without_a_project_means_the_keys_own(knock, aurora):
    assert knock.get("/api/v1/probes", headers=bearer(aurora.ada_token)).status_code == 200


def test_a_foreign_project_is_not_found(knock, aurora, borealis):
    star = bearer(aurora.ada_star_token)
    absent = knock.get("/api/v1/projects/nothing/probes", headers=star)
    foreign = knock.get("/api/v1/projects/borealis/probes", headers=star)
    assert absent.status_code == foreign.status_code == 404
    assert absent.content == foreign.content


# --- Molecule -------------------------------------------------------------------------------------


def test_the_admin_token_opens_every_workspace(knock, aurora):
    path = f"/workspaces/{aurora.id}/schedules"
    assert knock.get(path, headers=bearer(ADMIN_TOKEN)).status_code == 200
    assert (
        knock.get(f"/workspaces/{uuid7()}/schedules", headers=bearer(ADMIN_TOKEN)).status_code
        == 404
    )


def test_a_token_of_another_workspace_is_a_bad_token(knock, aurora, borealis):
    path = f"/workspaces/{aurora.id}/schedules"
    foreign = knock.get(path, headers=bearer(borealis.mallory_token))
    absent = knock.get(f"/workspaces/{uuid7()}/schedules", headers=bearer(borealis.mallory_token))
    assert foreign.status_code == absent.status_code == 401
    assert foreign.content == absent.content == b'{"error":"invalid workspace auth token"}'


def test_admin_routes_take_only_the_admin_token(knock, aurora, settings):
    def words(headers):
        response = knock.get("/bundles/probes", headers=headers)
        return response.status_code, response.content

    assert words({}) == (401, b'{"error":"admin auth required"}')
    refused = (401, b'{"error":"invalid admin auth token"}')
    assert words(bearer(aurora.ada_token)) == refused
    assert words(bearer(ADMIN_TOKEN))[0] == 200
    settings.ADMIN_TOKEN = ""
    assert words(bearer(ADMIN_TOKEN)) == refused
    assert words({"Authorization": "Bearer "})[0] == 401


def test_the_first_of_two_joined_headers_counts(knock, aurora):
    joined = {"Authorization": f"Bearer {ADMIN_TOKEN}, Bearer {aurora.ada_token}"}
    assert knock.get("/bundles/probes", headers=joined).status_code == 200


def test_molecules_bearer_is_spelled_exactly(knock, aurora):
    response = knock.get("/bundles/probes", headers={"Authorization": f"bearer {ADMIN_TOKEN}"})
    assert response.content == b'{"error":"admin auth required"}'


# --- Polyant --------------------------------------------------------------------------------------


def panel(user, **claims):
    enc, salt = claims.pop("enc", "A256CBC-HS512"), claims.pop("salt", jwe.COOKIES[0])
    return jwe.seal_token({"sub": str(user.pk), "email": user.email} | claims, enc=enc, salt=salt)


PROBE = "/api/instances/aurora/probes"


@pytest.mark.parametrize("enc", ["A256CBC-HS512", "A256GCM"])
@pytest.mark.parametrize("salt", jwe.COOKIES)
def test_a_panel_session_opens_by_header_and_by_cookie(knock, aurora, enc, salt):
    token = panel(aurora.ada_user, enc=enc, salt=salt)
    assert knock.get(PROBE, headers=bearer(token)).status_code == 200
    knock.cookies[salt] = token
    assert knock.get(PROBE).status_code == 200


def test_a_session_is_found_by_email_when_its_id_is_foreign(knock, aurora):
    token = panel(aurora.ada_user, sub="42", email="ADA@example.org")
    assert knock.get(PROBE, headers=bearer(token)).status_code == 200


def test_a_bad_bearer_is_not_rescued_by_a_good_cookie(knock, aurora):
    knock.cookies[jwe.COOKIES[0]] = panel(aurora.ada_user)
    assert knock.get(PROBE, headers=bearer("nonsense")).status_code == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": int(time.time()) - 16},
        {"exp": None},
        {"exp": "tomorrow"},
        {"iat": int(time.time()) + 3600},
        {"nbf": int(time.time()) + 3600},
        {"email": ""},
        {"sub": ""},
        {"email": "nobody@example.org", "sub": "nobody"},
    ],
)
def test_a_session_out_of_time_or_of_nobody_is_refused(knock, aurora, claims):
    response = knock.get(PROBE, headers=bearer(panel(aurora.ada_user, **claims)))
    assert response.status_code == 401
    assert json.loads(response.content)["message"] == "Invalid or expired session"


def test_other_algorithms_are_refused(aurora, settings):
    from joserfc import jwe as jose
    from joserfc.jwk import OctKey

    claims = json.dumps({"sub": "1", "email": "a@b.c", "exp": 9_999_999_999}).encode()
    key = OctKey.import_key(b"0" * 16)
    wrapped = jose.encrypt_compact(
        {"alg": "A128KW", "enc": "A128GCM"}, claims, key, algorithms=["A128KW", "A128GCM"]
    )
    for raw in (wrapped, "a.b.c.d.e", "....", "eyJhbGciOiJub25lIn0.e30."):
        with pytest.raises(Unauthenticated):
            jwe.open_token(raw, jwe.COOKIES)


def test_a_session_of_another_secret_is_refused(knock, aurora, settings):
    token = panel(aurora.ada_user)
    settings.AUTH_SECRET = "another secret of another panel"
    assert knock.get(PROBE, headers=bearer(token)).status_code == 401
    settings.AUTH_SECRET = ""
    assert knock.get(PROBE, headers=bearer(token)).status_code == 401


def test_only_superadmins_reach_the_users(knock, aurora):
    token = panel(aurora.ada_user, role="superadmin")
    refused = knock.get("/api/users/probes", headers=bearer(token))
    assert refused.status_code == 403
    assert json.loads(refused.content)["message"] == "Insufficient role"
    aurora.ada_user.role = "superadmin"
    aurora.ada_user.save()
    assert knock.get("/api/users/probes", headers=bearer(token)).status_code == 200


def test_a_strangers_instance_is_not_found(knock, aurora, borealis):
    response = knock.get("/api/instances/borealis/probes", headers=bearer(panel(aurora.ada_user)))
    assert json.loads(response.content) == {
        "message": 'Instance "borealis" not found',
        "error": "Not Found",
        "statusCode": 404,
    }


def test_a_foreign_page_cannot_use_the_cookie_to_change_things(knock, aurora):
    knock.cookies[jwe.COOKIES[0]] = panel(aurora.ada_user)

    def post(origin):
        headers = {"Origin": origin, "Host": "testserver"}
        return knock.post(PROBE, {"name": "a"}, "application/json", headers=headers).status_code

    assert post("https://evil.example") == 403
    assert post("http://testserver") == 201
    assert post("http://localhost:3000") == 201


def test_the_internal_route_asks_for_the_internal_secret(knock, settings):
    path = "/api/auth/credentials/verify"

    def words(**headers):
        return json.loads(knock.get(path, headers=headers).content).get("message")

    assert words() == "Missing internal auth header"
    assert words(**{"x-internal-auth": "wrong"}) == "Invalid internal auth header"
    assert words(**{"x-internal-auth": INTERNAL}) is None
    settings.AUTH_INTERNAL_SECRET = "short"
    assert words(**{"x-internal-auth": "short"}) == "Internal credentials endpoint disabled"


# --- OpenAI and Polymux ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["admin_key", "client_key", "instance_key"])
def test_every_kind_of_key_talks_to_the_openai_surface(knock, aurora, kind):
    _, raw = make_key(kind, aurora.id, scope="write")
    assert knock.get("/v1/models/probes", headers=bearer(raw)).status_code == 200


def test_keys_of_other_surfaces_do_not_open_polymux(knock, aurora):
    for kind in ("admin_key", "client_key", "instance_key"):
        _, raw = make_key(kind, aurora.id)
        path = f"/workspaces/{wire_id('ws', aurora.id)}/probes"
        assert knock.get(path, headers=bearer(raw)).status_code == 401


def session_token(aurora, session_id):
    _, raw = make_key(
        "session", aurora.id, scope="write", session_id=session_id, user=aurora.ada_user
    )
    return bearer(raw)


def test_a_session_token_opens_its_own_session_and_nothing_else(knock, aurora):
    mine, other = uuid7(), uuid7()
    headers = session_token(aurora, mine)
    own = f"/sessions/{session_wire_id(aurora.id, mine)}"
    assert knock.get(f"{own}/probes", headers=headers).status_code == 200
    assert knock.get(f"/sessions/{mine}/probes", headers=headers).status_code == 200
    for path in (
        f"/sessions/{session_wire_id(aurora.id, other)}/probes",
        f"/workspaces/{wire_id('ws', aurora.id)}/probes",
        "/me/probes",
    ):
        response = knock.get(path, headers=headers)
        assert (response.status_code, response.json()["code"]) == (403, "scope_insufficient"), path
    assert knock.delete(own, headers=headers).status_code == 403


def test_the_order_of_checks_is_workspace_then_scope_then_body(knock, aurora, borealis):
    here, there = (f"/workspaces/{wire_id('ws', one.id)}/probes" for one in (aurora, borealis))

    def told(path, raw):
        response = knock.post(path, b"{", "application/json", headers=bearer(raw))
        return response.status_code, response.json()["code"]

    assert told(there, aurora.cleo_token) == (403, "workspace_mismatch")
    assert told(here, aurora.cleo_token) == (403, "scope_insufficient")
    assert told(here, aurora.ada_token) == (400, "invalid_request")
    assert told(there, aurora.ada_star_token) == (404, "not_found")


def test_account_wide_routes_refuse_a_workspaces_token(knock, aurora):
    narrow = knock.get("/me/probes", headers=bearer(aurora.ada_token))
    assert (narrow.status_code, narrow.json()["code"]) == (403, "workspace_mismatch")
    assert knock.get("/me/probes", headers=bearer(aurora.ada_star_token)).status_code == 200


def test_a_public_method_needs_nothing_and_the_other_does(knock):
    assert knock.get("/invitations/abc").status_code == 200
    assert knock.post("/invitations/abc", {"name": "a"}, "application/json").status_code == 401


def test_every_answer_carries_its_request_id_twice(knock, aurora):
    path = f"/workspaces/{wire_id('ws', aurora.id)}/probes"
    for headers in ({}, bearer(aurora.ada_token)):
        response = knock.get(path, headers=headers)
        assert response["request_id"] == response["X-Request-Id"]
        assert response["request_id"].startswith("req_")


def test_a_refusal_says_how_to_authenticate(knock):
    response = knock.get("/me/probes")
    assert response["WWW-Authenticate"] == 'Bearer error="token_missing"'


# --- Sockets --------------------------------------------------------------------------------------


def socket(path, *, query=b"", headers=(), subprotocols=()):
    return from_scope(
        {
            "type": "websocket",
            "path": path,
            "query_string": query,
            "headers": list(headers),
            "subprotocols": list(subprotocols),
            "client": ("203.0.113.9", 5),
        }
    )


def test_a_socket_takes_its_token_in_three_places(aurora):
    from apps.surfaces.polymux import SURFACE

    path = f"/session/{session_wire_id(aurora.id, uuid7())}/"
    raw = aurora.ada_token
    for seen in (
        socket(path, headers=[(b"authorization", b"Bearer " + raw.encode())]),
        socket(path, query=b"token=" + raw.encode()),
        socket(path, subprotocols=["polymux.v1", f"bearer.{raw}"]),
    ):
        assert SURFACE.prove(seen).user_id == aurora.ada_user.pk
        assert SURFACE.authenticate(seen, workspace=aurora.id).scope is Scope.ADMIN


def test_plain_requests_do_not_take_a_token_from_the_url(aurora):
    from apps.surfaces.polymux import SURFACE

    seen = socket("/me", query=b"token=" + aurora.ada_token.encode())
    with pytest.raises(Unauthenticated):
        SURFACE.prove(seen)


def test_a_scope_is_read_once():
    scope = {"type": "http", "path": "/a b", "raw_path": b"/a%20b", "method": "GET", "headers": []}
    assert from_scope(scope) is from_scope(scope)
    assert (from_scope(scope).path, from_scope(scope).raw_path) == ("/a b", "/a%20b")
