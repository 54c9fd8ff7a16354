"""The muxi-server surface against its golden files (contract/muxi.md §2-3)."""

from __future__ import annotations

import base64
import io
import time
import zipfile

import pytest
from django.test import Client

from apps.formations.models import Formation, ServerCall
from apps.formations.services.updating import stage
from tests.contract.golden import assert_golden
from tests.support.management import bundle, events, operator_of, packed, prepared, sealed

pytestmark = pytest.mark.django_db

NEXT = bundle(version="1.1.0")
GOLD = "muxi-server"


@pytest.fixture
def sign(aurora):
    return operator_of(aurora)


@pytest.fixture
def team(sign):
    """`my-team`, deployed."""
    assert sign.deploy(bundle()).status_code == 201
    return sign


def gold(response, name):
    return assert_golden(response, f"{GOLD}/{name}.json")


ONE = "/rpc/formations/my-team"


# --- Deploying --------------------------------------------------------------------------------------


def test_an_archive_becomes_a_running_formation(sign):
    gold(sign("GET", "/rpc/formations"), "list_empty")
    gold(sign.deploy(bundle()), "deploy")
    gold(sign("GET", "/rpc/formations"), "list")
    gold(sign("GET", ONE), "get")
    gold(sign.deploy(bundle()), "error_exists")


def test_keys_that_the_bundle_names_are_not_shown(sign):
    own = '\nserver:\n  api_keys: {admin_key: fma_of_theirs, client_key: "${{ secrets.CLIENT }}"}\n'
    files = sealed({"CLIENT": "fmc_of_theirs"})
    gold(sign.deploy(bundle(more=own, files=files)), "deploy_own_keys")


def test_the_sdks_json_deploys_and_updates(sign):
    body = {"bundle": base64.b64encode(bundle()).decode(), "version": "1.0.0"}
    answer = sign("POST", f"{ONE}/deploy", body)
    assert answer.json()["data"].pop("api_keys")
    assert {"api_keys", *answer.json()["data"]} > {"formation_id", "port", "status", "url", "pid"}
    gold(sign("POST", f"{ONE}/deploy", {"bundle": 1}), "error_exists")
    gold(sign("POST", f"{ONE}/update", {"bundle": base64.b64encode(NEXT).decode()}), "update_json")


def test_the_sdks_json_with_the_bundles_own_keys(sign):
    more = "\nserver:\n  api_keys: {admin_key: fma_of_theirs, client_key: fmc_of_theirs}\n"
    body = {"bundle": base64.b64encode(bundle(more=more)).decode()}
    gold(sign("POST", f"{ONE}/deploy", body), "deploy_json")


@pytest.mark.parametrize(
    ("name", "body"),
    [("error_json_body", {"bundle": 7}), ("error_server_path", {"bundle_path": "/etc/passwd"})],
)
def test_json_that_is_no_bundle_is_refused(sign, name, body):
    gold(sign("POST", f"{ONE}/deploy", body), name)
    assert not Formation.unscoped.exists()


BROKEN = packed({"formation.afs": "schema: '1.0.0'\nid: [my-team\n"}, root="my-team")
ASKS = bundle(more='\na2a: {token: "${{ secrets.NOBODY }}"}\n')
REFUSED = [
    ("error_archive", bundle()[:200], {}),
    ("error_yaml", BROKEN, {}),
    ("error_secrets", ASKS, {}),
    ("error_version", bundle(), {"X_Formation_Version": "2.0.0"}),
    ("error_type", bundle(), {"Content_Type": "text/plain"}),
]


@pytest.mark.parametrize(("name", "archive", "headers"), REFUSED, ids=[r[0] for r in REFUSED])
def test_a_bundle_that_is_refused_leaves_nothing(sign, name, archive, headers):
    gold(sign.deploy(archive, **headers), name)
    assert not Formation.unscoped.exists()


def test_headers_are_asked_for_before_the_bundle_is_read(sign):
    gold(sign("POST", "/rpc/formations", b"no archive at all"), "error_header")
    gold(sign.deploy(b"no archive at all", "Rpc!"), "error_id")
    gold(sign.deploy(b"no archive at all", "admin"), "error_id")
    gold(sign.deploy(bundle(), "your-team"), "error_other_id")


def test_without_a_free_port_nothing_is_deployed(sign, settings):
    settings.FORMATION_PORTS = (8000, 8000)
    sign.deploy(bundle("first-team"), "first-team")
    gold(sign.deploy(bundle()), "error_port")
    assert list(Formation.unscoped.values_list("slug", flat=True)) == ["first-team"]


# --- Updating ---------------------------------------------------------------------------------------


def test_an_update_and_the_way_back(team):
    gold(team("PUT", ONE, bundle()), "error_no_change")
    gold(team("POST", f"{ONE}/rollback"), "error_no_previous")
    gold(team("PUT", ONE, NEXT), "update")
    gold(team("GET", ONE), "get_updated")
    gold(team("POST", f"{ONE}/rollback"), "rollback")
    again = team("POST", f"{ONE}/rollback").json()["data"]
    assert (again["version"], again["previous_version"]) == (2, 1)


def test_an_update_under_way_keeps_others_out_until_it_is_cancelled(team):
    gold(team("POST", f"{ONE}/cancel-update"), "error_no_update")
    stage(team.actor, "my-team", prepared(team.actor, NEXT))
    gold(team("PUT", ONE, NEXT), "error_update_running")
    gold(team("POST", f"{ONE}/cancel-update"), "cancel_update")
    gold(team("PUT", ONE, NEXT), "update")


# --- Running ----------------------------------------------------------------------------------------


def test_stop_start_restart_and_delete(team):
    gold(team("POST", f"{ONE}/start"), "error_running")
    gold(team("POST", f"{ONE}/stop"), "stop")
    gold(team("POST", f"{ONE}/stop"), "error_stopped")
    gold(team("GET", ONE), "get_stopped")
    gold(team("POST", f"{ONE}/start"), "start")
    gold(team("POST", f"{ONE}/restart"), "restart")
    gold(team("DELETE", ONE), "delete")
    gold(team("GET", ONE), "error_not_found")
    gold(team.deploy(bundle()), "deploy")


def test_the_log_tells_what_happened_and_what_failed(team):
    gold(team("GET", f"{ONE}/logs?lines=1"), "logs")
    gold(team("GET", f"{ONE}/logs?limit=1&stream=all"), "logs")
    gold(team("GET", f"{ONE}/logs?lines=none"), "error_lines")
    twins = "\nserver:\n  api_keys: {admin_key: the-same-key, client_key: the-same-key}\n"
    assert team("PUT", ONE, bundle(version="1.1.0", more=twins)).status_code == 400
    gold(team("GET", f"{ONE}/logs?stream=stderr"), "logs_stderr")


def test_the_deployed_bundle_comes_back_as_a_zip(sign):
    files = {"note.md": "Hello", ".hidden": "x", "memory.db": "m", **sealed({"A": "secret"})}
    sign.deploy(bundle(files=files))
    answer = sign("GET", f"{ONE}/download")
    content = answer.getvalue()
    assert sorted(zipfile.ZipFile(io.BytesIO(content)).namelist()) == [
        "formation.afs",
        "note.md",
        "secrets.enc",
    ]
    with_memory = sign("GET", f"{ONE}/download?db=true").getvalue()
    assert "memory.db" in zipfile.ZipFile(io.BytesIO(with_memory)).namelist()
    gold(sign("GET", f"{ONE}/download"), "download")


# --- The server -------------------------------------------------------------------------------------


def test_the_server_tells_of_itself(team):
    team.deploy(bundle("other-team"), "other-team")
    team("POST", "/rpc/formations/other-team/stop")
    gold(team("GET", "/rpc/server/status"), "server_status")


def test_every_proven_call_is_in_the_servers_log(sign):
    gold(sign("GET", "/rpc/server/logs"), "server_logs_empty")
    ServerCall.unscoped.all().delete()
    sign("GET", "/rpc/formations/nobody")
    gold(sign("GET", "/rpc/server/logs"), "server_logs")
    gold(Client().get("/rpc/formations"), "error_unsigned")
    assert ServerCall.unscoped.count() == 2


def test_ping_and_health_ask_for_no_key(db):
    gold(Client().get("/ping"), "ping")
    gold(Client().get("/health"), "health")


def test_a_signature_is_checked(sign):
    path = "/rpc/formations"
    stale = sign.headers("GET", path, time.time() - 400)
    gold(sign.client.get(path, headers=stale), "error_stale")
    gold(sign.client.get(path, headers=sign.headers("POST", path)), "error_signature")
    gold(sign("GET", f"{ONE}/nothing"), "error_route")


# --- Progress ---------------------------------------------------------------------------------------
STAGES = {
    "deploy": ["extracting", "validating", "resolving_runtime", "spawning", "health_check"],
    "update": [
        *("extracting", "validating", "resolving_runtime", "spawning_staging"),
        *("health_check", "swapping", "stopping_old"),
    ],
    "rollback": [
        *("validating", "resolving_runtime", "spawning_previous", "health_check"),
        *("stopping_current", "swapping"),
    ],
    "restart": ["stopping", "validating", "resolving_runtime", "spawning", "health_check"],
    "start": ["validating", "resolving_runtime", "spawning", "health_check"],
}
SSE = {"Accept": "text/event-stream"}


def told(response):
    """The stages, and the terminal event."""
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert response.headers["X-Accel-Buffering"] == "no"
    heard = events(response)
    assert [name for name, _ in heard[:-1]] == ["progress"] * (len(heard) - 1)
    return [data["stage"] for _, data in heard[:-1]], heard[-1]


def test_progress_is_told_with_upstreams_stages(sign):
    stages, (name, data) = told(sign.deploy(bundle(), **SSE))
    assert (stages, name, data["new_version"]) == (STAGES["deploy"], "complete", "1.0.0")
    stages, (name, data) = told(sign("PUT", ONE, NEXT, **SSE))
    assert (stages, name) == (STAGES["update"], "complete")
    assert (data["previous_version"], data["new_version"]) == ("1.0.0", "1.1.0")
    for verb in ("rollback", "restart"):
        assert told(sign("POST", f"{ONE}/{verb}/stream"))[0] == STAGES[verb]
    sign("POST", f"{ONE}/stop")
    assert told(sign("POST", f"{ONE}/start", **SSE))[0] == STAGES["start"]


def test_what_goes_wrong_on_the_way_is_one_error_event(sign):
    stages, (name, data) = told(sign.deploy(BROKEN, **SSE))
    assert (name, data["error"], data["stage"]) == ("error", "ParseError", "validating")
    assert data["details"] == {"file": "formation.afs", "line": 3}
    assert stages == STAGES["deploy"][:2]


def test_what_the_headers_refuse_is_plain_json_whatever_was_asked(team):
    gold(team.deploy(bundle(), **SSE), "error_exists")
    gold(team("POST", f"{ONE}/start/stream"), "error_running")
