"""Run a command as a user that is not root, in a user namespace: `drop_root.py COMMAND ARG…`.

PostgreSQL refuses to run as uid 0. In a new user namespace our own uid is called 1000 instead: the
command keeps exactly the file access of this user (also below a 0700 /root), but none of root's
further powers. Exits 125 where the system allows no user namespace. Standard library only: it is run
as a script, `python -I -S drop_root.py …`.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
INSIDE = 1000
REFUSED = 125


def enter_namespace() -> None:
    """Move this process into a namespace where its uid and gid are `INSIDE`; `OSError` if refused."""
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    proc = Path("/proc/self")
    (proc / "setgroups").write_text("deny")  # the kernel wants this before gid_map
    (proc / "gid_map").write_text(f"{INSIDE} {gid} 1")
    (proc / "uid_map").write_text(f"{INSIDE} {uid} 1")


def main() -> None:
    command = sys.argv[1:]
    try:
        enter_namespace()
    except (OSError, AttributeError) as error:
        print(f"no user namespace: {error}", file=sys.stderr)
        sys.exit(REFUSED)
    os.execv(command[0], command)  # noqa: S606  (the point of this script)


if __name__ == "__main__":
    main()
