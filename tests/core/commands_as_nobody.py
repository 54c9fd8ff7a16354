"""Runs sandboxed commands as `nobody`, asked by lines of JSON: the way a normal user's server does it.

Root starts it with one capability, to read the interpreter wherever it is; what it starts has none.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import sys
from dataclasses import asdict
from pathlib import Path

PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4


def main() -> None:
    ctypes.CDLL(None).prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    sys.path.insert(0, sys.argv[1])
    from django.conf import settings

    settings.configure(COMMANDS="sandboxed", DATA_DIR="/var/tmp", BASE_DIR="/var/tmp")
    from apps.core import sandbox
    from apps.core.confinement import can_confine

    print(json.dumps(can_confine()), flush=True)
    for line in sys.stdin:
        root, command, bounds = json.loads(line)
        result = asyncio.run(sandbox.run_command(Path(root), command, **bounds))
        print(json.dumps(asdict(result)), flush=True)


if __name__ == "__main__":
    main()
