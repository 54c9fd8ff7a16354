"""Programs that a bundle brings along: its MCP servers may run a file of it.

The command names such a file by its archive (`bundle-file:<storage key>!<path>`), not by a path: whichever
host starts the server unpacks the archive there, once, under POLYMUX_DATA_DIR.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from apps.formations import archive

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MARK = "bundle-file:"


def marked(command: Sequence[str], files: Iterable[str], storage_key: str) -> list[str]:
    """`command` with the words that are `files` of that archive named by it."""
    known = set(files)
    return [
        f"{MARK}{storage_key}!{word.removeprefix('./')}" if word in known else word
        for word in command
    ]


def placed(command: Sequence[str]) -> list[str]:
    """`command` as it can be run here, the archive unpacked if need be. In a thread. Raises OSError."""
    return [_path_of(word) if word.startswith(MARK) else word for word in command]


def _path_of(word: str) -> str:
    key, _, path = word.removeprefix(MARK).partition("!")
    folder = archive.local_folder(key)
    if not folder.is_dir():
        _unpack(key, folder)
    return str(folder / path)


def _unpack(key: str, folder: Path) -> None:
    """Whole or not at all: it gets its name by one rename, and of two at once one keeps it."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with archive.opened(key) as root:
        beside = Path(tempfile.mkdtemp(prefix=".placing-", dir=folder.parent))
        try:
            shutil.copytree(root, beside, dirs_exist_ok=True)
            beside.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)
