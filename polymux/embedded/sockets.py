"""Where PostgreSQL's socket is. Light: the settings ask it too."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

SOCKET = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH = 107


def socket_folder(root: Path) -> Path:
    """Where the socket of the server below `root` is: `root/run`, unless that path cannot be used.

    A unix socket's path has at most 107 bytes, and libpq reads a comma as the next host. The
    replacement is a private folder, always the same for one `root` and one user.
    """
    folder = root.absolute() / "run"
    if len(os.fsencode(folder / SOCKET)) <= LONGEST_SOCKET_PATH and "," not in str(folder):
        return folder
    name = hashlib.sha256(os.fsencode(root.absolute())).hexdigest()[:16]
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return Path(base) / f"polymux-{os.geteuid()}-{name}"
