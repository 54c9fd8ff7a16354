"""The long storm: 300 missions of 6 tasks and 60 blows a seed, frozen workers among them.

python -m tests.bench --only chaos [CHAOS_SEED=first seed in the environment]
"""

from __future__ import annotations

import os
import random
import shutil
import sys

from tests.bench.report import Row
from tests.chaos.storm import Storm, rage

SEEDS = 3
BLOWS = {"worker": 24, "web": 12, "beat": 12}


def storms() -> list[Row]:
    first = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))
    return [_storm(seed) for seed in range(first, first + SEEDS)]


def _storm(seed: int) -> Row:
    storm = Storm(
        seed, missions=300, seconds=180.0, blows=BLOWS, pauses=6, restarts=3, patience=300.0
    )
    result = rage(storm)
    print("\n".join([*result.report, *result.found]), file=sys.stderr, flush=True)
    if not result.found:
        shutil.rmtree(result.folder, ignore_errors=True)
    count = len(result.found)
    return Row(f"storm of seed {seed}", f"{count} violations", "0 violations", met=count == 0)
