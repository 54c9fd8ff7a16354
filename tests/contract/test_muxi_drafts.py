"""Drafts and dev mode of the muxi-server surface against golden files (contract/muxi.md §3.8-3.9)."""

from __future__ import annotations

import base64

import pytest

from apps.formations import registry
from apps.formations.models import Agent, DraftFile, FormationDraft
from apps.workspaces.models import Workspace
from tests.contract.golden import assert_golden
from tests.support.management import FORMATION, bundle, events, operator_of, sealed

pytestmark = pytest.mark.django_db

DRAFT = "/rpc/formations/my-team/draft/files"
NOTE = {"agents/note.md": "Hello"}


def gold(response, name):
    return assert_golden(response, f"muxi-server/{name}.json")


@pytest.fixture
def sign(aurora):
    return operator_of(aurora)


@pytest.fixture
def team(sign):
    """`my-team`, deployed with one file more."""
    assert sign.deploy(bundle(files=NOTE)).status_code == 201
    return sign


def formation(version, says="Say less."):
    return FORMATION.format(id="my-team", name="My team", version=version, says=says)


def write(sign, path, content, **more):
    return sign("POST", DRAFT, {"action": "write", "path": path, "content": content, **more})


def test_a_draft_is_cloned_read_changed_and_discarded(team):
    gold(team("POST", DRAFT, {"action": "list"}), "error_draft_absent")
    gold(team("POST", DRAFT, {"action": "init", "mode": "clone"}), "draft_init")
    gold(team("POST", DRAFT, {"action": "list", "path": "agents"}), "draft_list")
    gold(team("POST", DRAFT, {"action": "read", "path": "agents/note.md"}), "draft_read")
    gold(write(team, "agents/note.md", "World"), "draft_write")
    gold(team("POST", DRAFT, {"action": "read", "path": "../../etc/passwd"}), "error_draft_path")
    gold(team("POST", DRAFT, {"action": "delete", "path": "agents/note.md"}), "draft_delete")
    gold(team("POST", DRAFT, {"action": "discard"}), "draft_discard")
    assert not DraftFile.unscoped.exists()


def test_a_draft_is_deployed_as_the_next_version(team):
    team("POST", DRAFT, {"action": "init", "mode": "clone"})
    write(team, "formation.afs", formation("1.1.0"))
    gold(team("POST", DRAFT, {"action": "deploy"}), "draft_deploy")
    assert Agent.unscoped.get(name="helper").system_prompt == "Say less."


def test_a_clone_keeps_the_secrets_it_cannot_show(sign):
    more = '\na2a: {token: "${{ secrets.TOKEN }}"}\n'
    sign.deploy(bundle(more=more, files=sealed({"TOKEN": "t0ken"})))
    sign("POST", DRAFT, {"action": "init", "mode": "clone"})
    assert not DraftFile.unscoped.filter(path=".key").exists()
    write(sign, "formation.afs", formation("1.1.0") + more)
    answer = sign("POST", DRAFT, {"action": "deploy"}, Accept="text/event-stream")
    assert events(answer)[-1][0] == "complete"


def test_a_draft_of_an_older_version_is_not_deployed_over_a_newer_one(team):
    team("POST", DRAFT, {"action": "init", "mode": "clone"})
    team("PUT", "/rpc/formations/my-team", bundle(version="2.0.0"))
    answer = team("POST", DRAFT, {"action": "deploy"})
    assert (answer.status_code, answer.json()["error"]) == (409, "DeployConflict")


REFUSED = [
    ({"action": "zip"}, 400, "InvalidAction"),
    ({"action": "init", "mode": "magic"}, 400, "InvalidMode"),
    ({"action": "init"}, 409, "DraftAlreadyExists"),
    ({"action": "read", "path": "nothing.md"}, 404, "FileNotFound"),
    ({"action": "delete", "path": "nothing"}, 404, "FileNotFound"),
    ({"action": "write", "path": "a", "content": "%", "encoding": "base64"}, 400, "DecodeError"),
    ({"action": "write", "path": "a\u0001"}, 400, "InvalidPath"),
    ({"action": "write", "path": "agents", "content": "x"}, 400, "InvalidPath"),
    (["list"], 400, "InvalidJSON"),
]


@pytest.mark.parametrize(("body", "status", "error"), REFUSED)
def test_what_cannot_be_done_with_a_draft_has_upstreams_name(team, body, status, error):
    team("POST", DRAFT, {"action": "init", "mode": "clone"})
    before = DraftFile.unscoped.count()
    answer = team("POST", DRAFT, body)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json()["draft"]["exists"] is True
    assert DraftFile.unscoped.count() == before


def test_a_new_draft_begins_with_a_file_and_takes_any_bytes(sign):
    answer = sign("POST", DRAFT, {"action": "init", "mode": "new"}).json()
    assert [entry["name"] for entry in answer["data"]["files"]] == ["formation.afs"]
    raw = base64.b64encode(b"\x00\xff").decode()
    write(sign, "blob.bin", raw, encoding="base64")
    read = sign("POST", DRAFT, {"action": "read", "path": "blob.bin"}).json()["data"]
    assert (read["content"], read["encoding"]) == (raw, "base64")
    absent = sign("POST", "/rpc/formations/a-team/draft/files", {"action": "init", "mode": "clone"})
    assert (absent.status_code, absent.json()["error"]) == (404, "LiveNotFound")


def test_a_draft_runs_beside_what_is_deployed(team):
    team("POST", DRAFT, {"action": "init", "mode": "clone"})
    gold(team("POST", "/rpc/dev/run", {"formation_id": "my-team"}), "dev_run")
    gold(team("POST", "/rpc/dev/run", {"formation_id": "my-team"}), "error_dev_running")
    address, live = registry.look_up("my-team", draft=True), registry.look_up("my-team")
    assert address.home_id != live.home_id
    assert registry.running(address.home_id).document["config"]["id"] == "my-team"
    assert team("POST", DRAFT, {"action": "discard"}).status_code == 409
    gold(team("POST", "/rpc/dev/stop", {"formation_id": "my-team"}), "dev_stop")
    assert Workspace.objects.get(pk=address.home_id).status == "removed"
    assert team("POST", "/rpc/dev/stop", {"formation_id": "my-team"}).status_code == 404


def test_a_folder_runs_only_where_the_operator_opened_it(sign, settings, tmp_path):
    folder = tmp_path / "my-team"
    folder.mkdir()
    (folder / "formation.afs").write_text(formation("1.0.0"))
    refused = sign("POST", "/rpc/dev/run", {"path": str(folder)})
    assert (refused.status_code, refused.json()["error"]) == (400, "InvalidPath")
    settings.FORMATION_DEV_FOLDERS = [str(tmp_path)]
    for outside in ("/etc", str(tmp_path / ".."), "my-team"):
        assert sign("POST", "/rpc/dev/run", {"path": outside}).status_code == 400
    assert sign("POST", "/rpc/dev/run", {"path": str(folder)}).json()["status"] == "running"
    sign("POST", "/rpc/dev/stop", {"formation_id": "my-team"})
    assert not FormationDraft.unscoped.exists()
