"""A review whose worker is gone goes on elsewhere, and does nothing twice (contract/polpo.md §23)."""

from __future__ import annotations

import time

import pytest

from apps.runs.models import Run, Step
from apps.runs.services import sweep_leases
from apps.tasks.models import Assessment
from apps.workspaces.files import files_root
from tests.support.stack import wait_until
from tests.tasks.judges import seat, submits

pytestmark = pytest.mark.django_db(transaction=True)
TWO = ("correctness", "completeness", "code_quality", "edge_cases")
WANTED = [
    {"type": "script", "command": "echo x >> once"},
    {"type": "script", "command": "echo x >> slow; test -e go || sleep 60"},
    {
        "type": "llm_review",
        "dimensions": [{"name": name, "description": "?", "weight": 0.25} for name in TWO],
    },
]


@pytest.fixture
def review(world, monkeypatch, tmp_path, settings):
    """A review of which two of three checks are journaled; the third hangs."""
    settings.DATA_DIR = tmp_path
    judge = seat(monkeypatch, world).on("submit_review", submits(4))
    _, run = world.started(expectations=WANTED)
    world.advance(run).result(20)
    review = Run.unscoped.get(kind="review")
    going = world.advance(review)
    journaled = Step.unscoped.filter(run=review, kind="work")
    wait_until(lambda: journaled.count() == 3)
    wait_until((files_root(world.aurora.id) / "slow").exists)
    yield review, judge
    going.cancel()


def test_what_was_checked_is_not_checked_again(world, review):
    run, judge = review
    root = files_root(world.aurora.id)
    (root / "go").touch()
    Run.unscoped.filter(pk=run.pk).update(lease_until="2020-01-01T00:00Z")
    assert sweep_leases() == 1
    world.advance(run).result(20)
    run.refresh_from_db()
    assert (run.status, run.attempt) == ("succeeded", 2)
    assert (root / "once").read_text() == "x\n"
    assert (root / "slow").read_text() == "x\nx\n"
    assert judge.asked == ["submit_review"] * 3
    [row] = Assessment.unscoped.all()
    assert (row.passed, len(row.checks)) == (True, 3)
    told = [fact["index"] for fact in world.told("assessment.check_completed")]
    assert sorted(told) == [0, 1, 2]
    assert len(world.told("assessment.started")) == 1


def test_a_review_is_cancelled_within_a_second(world, review):
    from apps.runs.services import cancel_run

    run, _ = review
    began = time.monotonic()
    cancel_run(world.aurora.ada, run.pk)
    wait_until(lambda: Run.unscoped.get(pk=run.pk).status == "cancelled", 1)
    assert time.monotonic() - began < 1
    [row] = Assessment.unscoped.all()
    assert row.passed is False
    assert world.moves()[-1] == ("review", "failed")


def test_a_review_that_loses_every_worker_fails_its_task(world, review):
    run, _ = review
    Run.unscoped.filter(pk=run.pk).update(
        lease_until="2020-01-01T00:00Z", lost_leases=2, in_step=True
    )
    assert sweep_leases() == 1
    run.refresh_from_db()
    assert (run.status, run.error_code) == ("failed", "worker_lost")
    [row] = Assessment.unscoped.all()
    assert "lost three times" in row.checks[0]["message"]
    assert world.moves()[-1] == ("review", "failed")
