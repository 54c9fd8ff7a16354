"""The workspace's own folder: where it is, how much it may hold, and what of it clients are shown.

Agents' tools, commands and the file routes of the surfaces meet here. Everything is walked below
`files_root` by `core/paths`: no link is followed.
"""

from __future__ import annotations

import mimetypes
import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from django.conf import settings

from apps.core.actor import Scope
from apps.core.errors import InvalidInput, NotFound
from apps.core.folders import Use, measure, walk_inside
from apps.core.paths import (
    Listed,
    PathRefused,
    check_name,
    list_inside,
    open_folder_inside,
    open_inside,
    parts_of,
)
from apps.workspaces.errors import FolderFull

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.actor import Actor

MAX_FILES = 10_000  # names in one workspace, folders too
MAX_STORED = 256 * 1024 * 1024  # bytes in one workspace
MAX_PREVIEW = 512 * 1024  # bytes

# Never listed, read, found or written by a surface, whatever the letters' case; `.ssh` hides what is
# below it. The agent that made them still can use them.
SECRET_NAMES = (
    *(
        ".env",
        ".env.*",
        "*.env",
        ".envrc",
        "*.key",
        "*.pem",
        "*.p12",
        "*.pfx",
        "*.jks",
        "*.keystore",
    ),
    *(
        "*.kdbx",
        "*.gpg",
        "*.asc",
        "id_rsa*",
        "id_dsa*",
        "id_ecdsa*",
        "id_ed25519*",
        ".ssh",
        ".gnupg",
    ),
    *(".aws", ".azure", ".kube", ".docker", ".netrc", ".pgpass", ".npmrc", ".pypirc", ".htpasswd"),
    *(".git-credentials", "credentials", "credentials.json", "credentials.y*ml", "*.secret"),
    *("secrets", "secrets.json", "secrets.y*ml", "secrets.toml"),
)
NOT_SECRET = (".env.example", ".env.sample", ".env.template", "*.pub")
_FILLED_BY_TOOLS = frozenset({"node_modules", "dist", "__pycache__"})
SHOWN_DOT_NAMES = frozenset({".agent"})  # contract/polpo.md §10

# Python's own table (the machine's differ from one to the next), and what polpo's clients know.
_TYPES = {
    **mimetypes.MimeTypes().types_map[True],
    **dict.fromkeys((".md", ".markdown"), "text/markdown"),
    **dict.fromkeys((".yaml", ".yml"), "text/yaml"),
    **dict.fromkeys((".toml", ".ini", ".cfg", ".log", ".graphql"), "text/plain"),
    **dict.fromkeys((".js", ".mjs", ".jsx"), "text/javascript"),
    **dict.fromkeys((".ts", ".tsx"), "text/typescript"),
    **dict.fromkeys((".sh", ".bash"), "text/x-shellscript"),
    **dict.fromkeys((".jsonl", ".ndjson"), "application/x-ndjson"),
    **dict.fromkeys((".c", ".h", ".hpp"), "text/x-c"),
    **dict.fromkeys((".gz", ".tgz"), "application/gzip"),
    ".cpp": "text/x-c++",
    ".go": "text/x-go",
    ".rs": "text/x-rust",
    ".rb": "text/x-ruby",
    ".java": "text/x-java",
    ".sql": "text/x-sql",
    ".xml": "application/xml",
    ".ico": "image/x-icon",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".wav": "audio/wav",
    ".ogg": "audio/ogg",
    ".m4a": "audio/mp4",
    ".flac": "audio/flac",
    ".bz2": "application/x-bzip2",
}
UNKNOWN = "application/octet-stream"
_TEXT_TYPES = frozenset({"application/json", "application/xml", "application/x-ndjson"})


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A regular file; whoever asked closes `handle`. `modified`: nanoseconds since the epoch."""

    handle: int
    path: str
    name: str
    size: int
    modified: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What can be shown of a file. `content` and `truncated` for text only."""

    path: str
    name: str
    mime: str
    size: int
    kind: str
    content: str | None = None
    truncated: bool = False


def files_root(workspace_id: UUID) -> Path:
    """The workspace's folder, made when it is not there."""
    root = Path(settings.DATA_DIR) / "workspaces" / str(workspace_id) / "files"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return root


def check_room(root: Path, more: int) -> None:
    """`FolderFull` unless one more file of `more` bytes fits."""
    use = measure(root, most=MAX_FILES + 1)
    if not use.whole or use.names >= MAX_FILES or use.size + more > MAX_STORED:
        raise FolderFull


def list_folder(actor: Actor, path: str) -> list[Listed]:
    """What a client is shown of a folder. NotFound; InvalidInput for a file; `PathRefused`."""
    actor.need(Scope.READ)
    root = files_root(actor.workspace_id)
    _check_shown(path)
    try:
        found = list_inside(root, path)
    except NotFound:
        os.close(open_inside(root, path))  # NotFound again when it is no file either
        raise InvalidInput("The path is a file, not a folder.") from None
    return [entry for entry in found if _is_listed(entry.name)]


def open_file(actor: Actor, path: str) -> OpenFile:
    """A file a client may read. NotFound, also for secrets; InvalidInput for a folder; `PathRefused`."""
    actor.need(Scope.READ)
    root = files_root(actor.workspace_id)
    _check_shown(path)
    try:
        handle = open_inside(root, path)
    except NotFound:
        os.close(open_folder_inside(root, path))  # NotFound again when it is no folder either
        raise InvalidInput("The path is a folder, not a file.") from None
    about = os.fstat(handle)
    parts = parts_of(path)
    return OpenFile(handle, "/".join(parts), parts[-1], about.st_size, about.st_mtime_ns)


def preview_file(actor: Actor, path: str, *, lines: int) -> Preview:
    """What a client may see of a file: the first `lines` of a text of up to `MAX_PREVIEW` bytes, the
    first bytes of a longer one (contract/polpo.md §10).
    """
    opened = open_file(actor, path)
    try:
        data = os.pread(opened.handle, MAX_PREVIEW, 0)
    finally:
        os.close(opened.handle)
    mime = mime_of(opened.name)
    kind = kind_of(mime)
    about = (opened.path, opened.name, mime, opened.size, kind)
    if kind != "text":
        return Preview(*about)
    text = data.decode("utf-8", "replace")
    if opened.size > MAX_PREVIEW:
        return Preview(*about, text, truncated=True)
    found = text.split("\n")
    return Preview(*about, "\n".join(found[:lines]), truncated=len(found) > lines)


def search_files(actor: Actor, wanted: str, *, below: str = "", most: int) -> list[str]:
    """Files whose path from the folder `below` holds `wanted`, in any case of letters; at most `most`.

    Folders that tools fill (dependencies, caches, what was built) are left out, as upstream does.
    """
    actor.need(Scope.READ)
    _check_shown(below)
    words, found = wanted.lower(), []
    for entry in islice(walk_inside(files_root(actor.workspace_id), below), 2 * MAX_FILES):
        parts = entry.path.split("/")
        shown = all(_is_listed(part) and part not in _FILLED_BY_TOOLS for part in parts)
        if entry.is_file and shown and words in entry.path.lower():
            found.append(entry.path)
        if len(found) >= most:
            break
    return found


def room_used(actor: Actor) -> Use:
    """How many names are in the workspace's folder, and how many bytes."""
    actor.need(Scope.READ)
    return measure(files_root(actor.workspace_id), most=MAX_FILES)


def mime_of(name: str) -> str:
    """The media type a name's ending stands for."""
    return _TYPES.get(PurePosixPath(name).suffix.lower(), UNKNOWN)


def kind_of(mime: str) -> str:
    """`text`, `image`, `pdf`, `audio`, `video` or `binary` (contract/polpo.md §10)."""
    family = mime.partition("/")[0]
    if family in {"text", "image", "audio", "video"}:
        return family
    if mime in _TEXT_TYPES or mime.endswith(("+json", "+xml")):
        return "text"
    return "pdf" if mime == "application/pdf" else "binary"


def is_secret(name: str) -> bool:
    """Whether one name of a path stands for what no client is shown."""
    small = name.lower()
    if any(fnmatchcase(small, pattern) for pattern in NOT_SECRET):
        return False
    return any(fnmatchcase(small, pattern) for pattern in SECRET_NAMES)


def _is_listed(name: str) -> bool:
    try:
        check_name(name)
    except PathRefused:  # a command may give names that no path of ours can say
        return False
    hidden = name.startswith(".") and name not in SHOWN_DOT_NAMES
    return not hidden and not is_secret(name)


def check_writable(path: str) -> None:
    """`PathRefused` for what a client would never be shown."""
    if any(is_secret(part) for part in parts_of(path)):
        raise PathRefused


def _check_shown(path: str) -> None:
    if any(is_secret(part) for part in parts_of(path)):
        raise NotFound
