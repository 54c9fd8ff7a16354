"""Everything is killed at random moments while missions run; at the end every one of them is right.

The seed is printed; `CHAOS_SEED=7 pytest tests/chaos/test_storm.py` draws the same blows again.
`python -m tests.bench --only chaos` is the long version.
"""

from __future__ import annotations

import os
import random
import shutil

import pytest

from tests.chaos.cluster import needs_redis
from tests.chaos.nemesis import draw_plan
from tests.chaos.storm import Storm, rage

# A third of the long version's, spread over the time in which the blows fall.
MISSIONS = 100
SECONDS = 25.0


@pytest.mark.slow
def test_every_mission_is_right_though_everything_was_killed():
    needs_redis()
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))
    result = rage(Storm(seed, MISSIONS, seconds=SECONDS, rest=0.8 * SECONDS * 4 / MISSIONS))
    print("\n".join(result.report))
    assert result.found == [], "\n".join(result.report + result.found[:40])
    shutil.rmtree(result.folder, ignore_errors=True)


def test_a_seed_draws_the_same_blows_again():
    blows = {"worker": 3, "web": 2}
    assert draw_plan(5, 30.0, blows=blows) == draw_plan(5, 30.0, blows=blows)
    assert draw_plan(5, 30.0, blows=blows) != draw_plan(6, 30.0, blows=blows)


def test_a_plan_holds_every_blow_within_its_time():
    plan = draw_plan(5, 30.0, blows={"worker": 3, "beat": 1}, pauses=1, restarts=2)
    assert sorted(blow.whom for blow in plan) == [
        "beat",
        *["postgres"] * 2,
        *["redis"] * 2,
        *["worker"] * 4,
    ]
    assert all(1.5 <= blow.at <= 28.5 for blow in plan)
    assert [blow.at for blow in plan] == sorted(blow.at for blow in plan)
