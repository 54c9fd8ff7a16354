"""A client of the muxi-server surface: signs every request, over Django's test client or a real socket.

`operator_of(aurora)` makes Aurora's signing key; `bundle(id=…)` the archive of a small formation.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.test import Client

from apps.core.actor import Actor, Caller, CallerKind, Scope
from apps.surfaces import muxi_server
from apps.workspaces.selectors import operator_actor
from apps.workspaces.services import issue_hmac_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

OPERATOR = Caller(CallerKind.OPERATOR, Scope.ADMIN, platform=True)
GZIP, JSON = "application/gzip", "application/json"
FORMATION = """\
schema: "1.0.0"
id: {id}
name: {name}
description: Answers short questions.
version: "{version}"
llm:
  models:
    - text: "scripted/echo"
agents:
  - id: helper
    name: Helper
    description: Answers short questions.
    system_message: {says}
"""


@dataclass(frozen=True)
class Signer:
    """`signer("POST", "/rpc/…", body)`; `signer.actor` is who acts behind the key."""

    key_id: str
    secret: str
    actor: Actor
    client: Client = field(default_factory=lambda: Client(raise_request_exception=False))

    def headers(self, method: str, path: str, at: float | None = None) -> dict[str, str]:
        moment = str(int(time.time() if at is None else at))
        signature = muxi_server.sign(self.secret.encode(), moment, method, path)
        said = f"MUXI-HMAC key={self.key_id}, timestamp={moment}, signature={signature}"
        return {"Authorization": said}

    def __call__(self, method: str, path: str, body: Any = b"", **headers: str) -> Any:
        raw = isinstance(body, bytes)
        content = body if raw else json.dumps(body).encode()
        kind = headers.pop("Content_Type", GZIP if raw and body else JSON)
        signed = self.headers(method, path.partition("?")[0])
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.generic(method, path, content, kind, headers={**signed, **said})

    def deploy(self, archive: bytes, slug: str = "my-team", **headers: str) -> Any:
        return self("POST", "/rpc/formations", archive, X_Formation_ID=slug, **headers)


def operator_of(world: Any) -> Signer:
    """A signing key of that workspace, made by an operator of the installation."""
    return signer_in(world.id)


def signer_in(workspace_id: UUID) -> Signer:
    row, secret = issue_hmac_key(operator_actor(OPERATOR, workspace_id), name="deploys")
    actor = Actor(workspace_id, Scope.ADMIN, CallerKind.KEY, token_id=row.pk)
    return Signer(row.prefix, secret, actor)


def bundle(
    id: str = "my-team",  # noqa: A002  (the file's own word)
    *,
    version: str = "1.0.0",
    name: str = "My team",
    says: str = "Answer in one sentence.",
    more: str = "",
    files: Mapping[str, str | bytes] | None = None,
) -> bytes:
    """The tar.gz of a formation with one agent. `more`: YAML put behind its file."""
    text = FORMATION.format(id=id, name=name, version=version, says=says) + more
    return packed({"formation.afs": text, **(files or {})}, root=id)


def packed(files: Mapping[str, str | bytes], root: str) -> bytes:
    """The same files give the same bytes."""
    made = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=made, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for path, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            info = tarfile.TarInfo(f"{root}/{path}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return made.getvalue()


def sealed(secrets: Mapping[str, str]) -> dict[str, bytes]:
    """`secrets.enc` and `.key`, as a bundle carries them."""
    from cryptography.fernet import Fernet

    key = Fernet.generate_key()
    return {".key": key, "secrets.enc": Fernet(key).encrypt(json.dumps(dict(secrets)).encode())}


def events(response: Any) -> list[tuple[str, dict[str, Any]]]:
    """(event, data) of a streamed answer."""
    text = b"".join(response.streaming_content).decode()
    blocks = [block.split("\n") for block in text.strip().split("\n\n")]
    return [
        (lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: ")))
        for lines in blocks
    ]


def prepared(actor: Actor, archive: bytes, slug: str = "my-team") -> Any:
    """A bundle that was read and stored, for `services.updating.stage`."""
    from apps.formations import archive as files
    from apps.formations.services.versions import prepare, read_bundle

    given = io.BytesIO(archive)
    bundle_hash = files.hash_of(given)
    with files.unpacked(given) as root:
        read = read_bundle(actor, root, slug=slug)
        return prepare(actor, root, bundle_hash=bundle_hash, bundle=read)
