"""The official Python package against a running server: every method of `ServerClient` and its twin."""

from __future__ import annotations

import asyncio
import base64
import inspect
import io
import json
import os
import socket
import threading

import httpx
import pytest
from django.core.management import CommandError, call_command
from muxi.errors import AuthenticationError, ConflictError, NotFoundError, ServerError
from muxi.server import AsyncServerClient, ServerClient

from apps.formations import archive, services
from apps.formations.services.updating import stage
from tests.support.management import bundle, operator_of, prepared

pytestmark = pytest.mark.django_db(transaction=True)


def payload(**parts):
    return {"bundle": base64.b64encode(bundle(**parts)).decode()}


FIRST, NEXT, THIRD = (payload(version=version) for version in ("1.0.0", "1.1.0", "1.2.0"))
COVERED = {
    *("ping", "health", "status", "list_formations", "get_formation", "stop_formation"),
    *("start_formation", "restart_formation", "rollback_formation", "delete_formation"),
    *("cancel_update", "deploy_formation", "update_formation", "get_formation_logs"),
    *("get_server_logs", "deploy_formation_stream", "update_formation_stream"),
    *("start_formation_stream", "restart_formation_stream", "rollback_formation_stream"),
    *("stream_formation_logs",),
}


@pytest.fixture
def sign(stack, aurora):
    return operator_of(aurora)


@pytest.fixture
def sdk(stack, sign):
    client = ServerClient(url=stack.url, key_id=sign.key_id, secret_key=sign.secret)
    yield client
    client.transport.close()  # its own `with` does not


def test_every_method_is_driven_here():
    for client in (ServerClient, AsyncServerClient):
        methods = {name for name, _ in inspect.getmembers(client, inspect.isfunction)}
        assert {name for name in methods if not name.startswith("_")} == COVERED


def ended(events):
    """The stages of a streamed operation, and its last event's data."""
    heard = [(event["event"], json.loads(event["data"])) for event in events]
    assert heard[-1][0] == "complete"
    return [data["stage"] for name, data in heard if name == "progress"], heard[-1][1]


# --- The sync client --------------------------------------------------------------------------------


def test_a_formations_life_through_the_sdk(sdk):
    assert sdk.ping() == 4
    assert sdk.health()["status"] == "ok"
    deployed = sdk.deploy_formation("my-team", FIRST)
    assert deployed["status"] == "running"
    assert sdk.get_formation("my-team")["port"] == deployed["port"]
    assert sdk.update_formation("my-team", NEXT)["version"] == 2
    assert sdk.rollback_formation("my-team")["version"] == 1
    assert sdk.stop_formation("my-team")["status"] == "stopped"
    assert sdk.list_formations()["formations"][0]["status"] == "stopped"
    assert sdk.start_formation("my-team")["port"] == deployed["port"]
    assert sdk.restart_formation("my-team")["restart_count"] == 1
    assert sdk.status()["formations"]["running"] == 1
    assert sdk.delete_formation("my-team")["id"] == "my-team"
    with pytest.raises(NotFoundError, match="No such formation"):
        sdk.get_formation("my-team")


def test_progress_through_the_sdk(sdk):
    stages, data = ended(sdk.deploy_formation_stream("my-team", FIRST))
    assert (stages[0], stages[-1], data["status"]) == ("extracting", "health_check", "running")
    stages, data = ended(sdk.update_formation_stream("my-team", NEXT))
    assert "swapping" in stages
    assert data["new_version"] == "1.1.0"
    assert ended(sdk.rollback_formation_stream("my-team"))[1]["new_version"] == "1.0.0"
    assert ended(sdk.restart_formation_stream("my-team"))[1]["restart_count"] == 1
    sdk.stop_formation("my-team")
    assert ended(sdk.start_formation_stream("my-team"))[0][-1] == "health_check"


def test_logs_through_the_sdk(sdk):
    sdk.deploy_formation("my-team", FIRST)
    found = sdk.get_formation_logs("my-team", limit=1)
    assert found["total_lines"]["stdout"] == 1
    assert "formation.deployed" in found["lines"][0]
    written = [json.loads(line) for line in sdk.get_server_logs(limit=2).splitlines()]
    assert [line["path"] for line in written] == [
        "/rpc/formations/my-team/deploy",
        "/rpc/formations/my-team/logs",
    ]


def test_followed_logs_through_the_sdk(sdk, sign):
    sdk.deploy_formation("my-team", FIRST)
    stream = sdk.stream_formation_logs("my-team")
    assert next(stream)["event"] == "connected"
    services.stop(sign.actor, "my-team")
    line = next(stream)
    assert line["event"] == "log"
    assert "formation.stopped" in json.loads(line["data"])["line"]
    stream.close()


def test_an_update_is_cancelled_through_the_sdk(sdk, sign):
    sdk.deploy_formation("my-team", FIRST)
    stage(sign.actor, "my-team", prepared(sign.actor, bundle(version="1.1.0")))
    with pytest.raises(ConflictError, match="under way"):
        sdk.update_formation("my-team", THIRD)
    assert sdk.cancel_update("my-team")["message"] == "Update cancelled"
    assert sdk.update_formation("my-team", THIRD)["version"] == 2


def test_the_sdk_hears_why_it_is_refused(stack, sdk, settings):
    stranger = ServerClient(url=stack.url, key_id="MUXI_0000000000000000", secret_key="sk_x")
    with pytest.raises(AuthenticationError, match="signature"):
        stranger.list_formations()
    stranger.transport.close()
    settings.FORMATION_PORTS = (8000, 8000)
    sdk.deploy_formation("my-team", FIRST)
    with pytest.raises(ServerError, match="No port is free") as full:
        sdk.deploy_formation("your-team", payload(id="your-team"))
    assert full.value.status_code == 507


# --- The async client -------------------------------------------------------------------------------


def test_the_async_client_does_the_same(stack, sign):
    asyncio.run(_drive(stack.url, sign))


async def _drive(url, sign):
    sdk = AsyncServerClient(url=url, key_id=sign.key_id, secret_key=sign.secret)
    try:
        assert await sdk.ping() == 4
        assert (await sdk.health())["status"] == "ok"
        await _operate(sdk)
        await _stream(sdk)
        assert (await sdk.delete_formation("my-team"))["id"] == "my-team"
        assert (await sdk.list_formations())["formations"] == []
    finally:
        await sdk._transport.aclose()


async def _operate(sdk):
    assert (await sdk.deploy_formation("my-team", FIRST))["status"] == "running"
    assert (await sdk.update_formation("my-team", NEXT))["version"] == 2
    assert (await sdk.rollback_formation("my-team"))["version"] == 1
    assert (await sdk.stop_formation("my-team"))["status"] == "stopped"
    assert (await sdk.start_formation("my-team"))["status"] == "running"
    assert (await sdk.restart_formation("my-team"))["restart_count"] == 1
    assert (await sdk.get_formation("my-team"))["version"]["semantic"] == "1.0.0"
    assert (await sdk.status())["formations"]["total"] == 1
    assert (await sdk.get_formation_logs("my-team", limit=5))["formation_id"] == "my-team"
    assert "/rpc/formations" in str(await sdk.get_server_logs(limit=5))
    with pytest.raises(Exception, match="No update"):
        await sdk.cancel_update("my-team")


async def _stream(sdk):
    await sdk.delete_formation("my-team")
    for begin, last in (
        (sdk.deploy_formation_stream("my-team", FIRST), "health_check"),
        (sdk.update_formation_stream("my-team", NEXT), "stopping_old"),
        (sdk.rollback_formation_stream("my-team"), "swapping"),
        (sdk.restart_formation_stream("my-team"), "health_check"),
    ):
        assert ended([event async for event in await begin])[0][-1] == last
    await sdk.stop_formation("my-team")
    events = [event async for event in await sdk.start_formation_stream("my-team")]
    assert ended(events)[1]["status"] == "running"
    logs = await sdk.stream_formation_logs("my-team")
    assert (await anext(logs))["event"] == "connected"
    await logs.aclose()


# --- On the wire ------------------------------------------------------------------------------------


def test_a_bundle_is_refused_before_a_byte_of_it_is_read(stack, sign):
    """The answer comes though the body never does."""
    path = "/rpc/formations"
    said = {
        **sign.headers("POST", path),
        "X-Formation-ID": "No!",
        "Content-Type": "application/gzip",
    }
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Length: 50000000"]
    head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in said.items())])
    host, port = stack.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(f"{head}\r\n\r\n".encode())
        assert b"400 Bad Request" in raw.recv(4096)


def test_a_large_bundle_is_streamed_to_its_place(stack, sign):
    path = "/rpc/formations"
    large = bundle(files={"knowledge/large.bin": os.urandom(3_000_000)})
    said = {**sign.headers("POST", path), "X-Formation-ID": "my-team"}
    pieces = (large[at : at + 65_536] for at in range(0, len(large), 65_536))
    said["Content-Type"] = "application/octet-stream"
    answer = httpx.post(stack.url + path, content=pieces, headers=said, timeout=20)
    assert answer.status_code == 201, answer.text


def test_each_stage_is_sent_when_it_begins(stack, sign, monkeypatch):
    """The second stage waits until the first was heard: buffered, neither would ever come."""
    heard = threading.Event()
    real = archive.hash_of

    def patient(given):
        assert heard.wait(10), "the first stage was not sent"
        return real(given)

    monkeypatch.setattr(archive, "hash_of", patient)
    path = "/rpc/formations"
    said = {**sign.headers("POST", path), "X-Formation-ID": "my-team"}
    said |= {"Content-Type": "application/gzip", "Accept": "text/event-stream"}
    url = stack.url + path
    with httpx.stream("POST", url, content=bundle(), headers=said, timeout=20) as answer:
        lines = []
        for line in answer.iter_lines():
            heard.set()
            lines.append(line)
    assert '"status":"running"' in lines[-2]


# --- The command line -------------------------------------------------------------------------------


@pytest.fixture
def manage(stack, sign, monkeypatch):
    monkeypatch.setenv("POLYMUX_SERVER", stack.url)
    monkeypatch.setenv("POLYMUX_KEY_ID", sign.key_id)
    monkeypatch.setenv("POLYMUX_KEY_SECRET", sign.secret)

    def run(verb, *words):
        out, err = io.StringIO(), io.StringIO()
        call_command("formations", verb, "--json", *words, stdout=out, stderr=err)
        return json.loads(out.getvalue())

    return run


def test_a_folder_is_deployed_updated_and_rolled_back_by_command(manage, tmp_path):
    folder = tmp_path / "my-team"
    folder.mkdir()
    file = folder / "formation.afs"
    text = 'schema: "1.0.0"\nid: my-team\ndescription: Answers.\nversion: "{}"\n'
    file.write_text(text.format("1.0.0"))
    assert manage("deploy", str(folder))["new_version"] == "1.0.0"
    file.write_text(text.format("1.1.0"))
    assert manage("deploy", str(folder))["previous_version"] == "1.0.0"
    assert manage("rollback", "my-team")["new_version"] == "1.0.0"
    listed = manage("list")
    assert [(row["id"], row["status"], row["version"]) for row in listed] == [
        ("my-team", "running", "1.0.0")
    ]
    lines = manage("logs", "my-team", "--lines", "1")
    assert "formation.rolled_back" in lines[0]["line"]


def test_a_command_that_is_refused_says_why(manage, monkeypatch, tmp_path):
    with pytest.raises(CommandError, match="No such formation"):
        manage("rollback", "nobody")
    with pytest.raises(CommandError, match="cannot be read"):
        manage("deploy", str(tmp_path / "nothing.tar.gz"))
    monkeypatch.setenv("POLYMUX_SERVER", "http://127.0.0.1:1")
    with pytest.raises(CommandError, match="does not answer"):
        manage("list")
    monkeypatch.delenv("POLYMUX_KEY_ID")
    with pytest.raises(CommandError, match="POLYMUX_KEY_ID"):
        manage("list")
