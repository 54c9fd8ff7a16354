"""kill -9 in the middle of an update: one version serves afterwards, whole, and the next update works."""

from __future__ import annotations

import io
import tarfile
import threading

import httpx
from muxi.auth import build_auth_header

from tests.support.stack import wait_until

PORTS = "23100-23199"
FILE = """\
schema: "1.0.0"
id: my-team
name: My team
description: Answers short questions.
version: "{version}"
agents:
  - id: {agent}
    name: Helper
    description: Answers short questions.
    system_message: Answer in one sentence.
"""


def bundle(version, agent="helper"):
    text = FILE.format(version=version, agent=agent).encode()
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        info = tarfile.TarInfo("my-team/formation.afs")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text))
    return made.getvalue()


class Signed:
    """The management API of whichever server is up, with the key that the first start showed."""

    def __init__(self, out):
        shown = dict(line.split("=") for line in out.split() if line.startswith("POLYMUX_KEY_"))
        self.key = shown["POLYMUX_KEY_ID"], shown["POLYMUX_KEY_SECRET"]
        self.url = ""

    def headers(self, method, path, **more):
        signed = {"Authorization": build_auth_header(*self.key, method, path)}
        return signed | {"Content-Type": "application/gzip"} | more

    def __call__(self, method, path, body=b"", **more):
        headers = self.headers(method, path, **more)
        answer = httpx.request(method, self.url + path, content=body, headers=headers, timeout=40)
        return answer.json()

    def update_until(self, stage, body, reached):
        """An update whose progress is read up to `stage`, and on until the server is gone."""
        path = "/rpc/formations/my-team"
        headers = self.headers("PUT", path, Accept="text/event-stream")
        with httpx.stream("PUT", self.url + path, content=body, headers=headers) as answer:
            for line in answer.iter_lines():
                if stage in line:
                    reached.set()


def killed_while_updating(server, signed, stage, body):
    """The server, killed as soon as the update says that it has come to `stage`."""
    reached = threading.Event()

    def update():
        try:
            signed.update_until(stage, body, reached)
        except httpx.TransportError:
            return

    thread = threading.Thread(target=update)
    thread.start()
    assert reached.wait(30)
    server.kill()
    thread.join(10)


def test_one_version_serves_after_the_server_died_in_an_update(serve):
    server = serve(POLYMUX_FORMATION_PORTS=PORTS)
    signed = Signed(server.out)
    signed.url = server.url
    made = signed("POST", "/rpc/formations", bundle("1.0.0"), **{"X-Formation-ID": "my-team"})
    health = f"http://127.0.0.1:{made['data']['port']}/v1/health"
    assert httpx.get(health).json()["version"] == "1.0.0"

    for stage, version in (("validating", "2.0.0"), ("spawning_staging", "3.0.0")):
        killed_while_updating(server, signed, stage, bundle(version, "another"))
        server = serve(POLYMUX_FORMATION_PORTS=PORTS)
        signed.url = server.url
        served = wait_until(lambda: httpx.get(health).json(), 20)["version"]
        shown = signed("GET", "/rpc/formations/my-team")["data"]
        assert shown["status"] == "running"
        assert shown["version"]["semantic"] == served
        assert served in {"1.0.0", "2.0.0", "3.0.0"}
    signed("POST", "/rpc/formations/my-team/cancel-update")  # 400 where nothing was staged
    again = signed("PUT", "/rpc/formations/my-team", bundle("4.0.0"))
    assert again["success"], again
    assert httpx.get(health).json()["version"] == "4.0.0"
