"""`manage.py formations deploy PATH`: a folder or an archive becomes a running formation."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.core.checks import wrong
from apps.formations.bundles import Bundle, pack, read, unpack
from apps.formations.management.formations.progress import progress
from apps.formations.management.formations.remote import add_server, server_of

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from apps.accounts.operating import OperatorCommand, Row

NAME = "deploy"
WORDS = "deploy a folder or an archive: a new formation, or the next version of one"
EXAMPLE = "deploy examples/hello-local"
GZIP = "application/gzip"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="a folder, or a .tar.gz made of one")
    add_server(parser)


def run(command: OperatorCommand, options: dict[str, Any]) -> Row:
    """What the server says when it is done. BundleError when it would refuse the bundle anyway."""
    server, path = server_of(options), Path(options["path"])
    bundle, archive = _bundle(command, path)
    headers = {"Content-Type": GZIP, "X-Formation-Version": bundle.version}
    method, where = "PUT", f"/rpc/formations/{bundle.id}"
    if not server.exists(bundle.id):
        method, where = "POST", "/rpc/formations"
        headers["X-Formation-ID"] = bundle.id
    done: Row = {}
    with progress(command.stderr, "Deploying") as told:
        for name, data in server.events(method, where, content=archive, headers=headers):
            told(100 if name == "complete" else int(data.get("progress") or 0), 100)
            done = data if name == "complete" else done
    return done


def _bundle(command: OperatorCommand, path: Path) -> tuple[Bundle, bytes]:
    """The bundle, read here first, and its archive."""
    if path.is_dir():
        bundle = read(path)
        with progress(command.stderr, "Packing") as told:
            return bundle, pack(path, name=bundle.id, told=told)
    try:
        archive = path.read_bytes()
    except OSError as error:
        raise wrong("PATH", f"{path} cannot be read: {error.strerror}.") from None
    with path.open("rb") as file, tempfile.TemporaryDirectory() as into:
        return read(unpack(file, Path(into))), archive
