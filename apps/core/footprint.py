"""What this process takes of the machine: memory and processor."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

from apps.core.clock import uptime

_MB = 1_000_000


def resident_mb() -> float:
    """Megabytes of memory that are the process's own now; the most it ever had where nobody says more."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes; bytes on macOS
        return round(most * (1 if sys.platform == "darwin" else 1024) / _MB, 1)
    return round(pages * os.sysconf("SC_PAGE_SIZE") / _MB, 1)


def cpu_percent() -> float:
    """Of one processor, on average since the process started."""
    spent = os.times()
    return round(100 * (spent.user + spent.system) / max(1, uptime()), 1)
