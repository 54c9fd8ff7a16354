"""How long an attempt is orphaned: until another worker carries it on, as the tables tell.

Whoever is killed here is not waited for, so that its process id stays taken: the lease alone tells that it
is gone, as when it was on another machine.
"""

from __future__ import annotations

import shutil
import signal
import time

import psycopg
import pytest

from tests.chaos.cluster import needs_redis
from tests.chaos.driver import Driver
from tests.chaos.storm import installation

AFTER_A_KILL = 15.0  # seconds; the lease is 10
AFTER_A_STOP = 3.0
LONG = 20.0  # seconds of a task's last words: longer than what is measured takes

_HELD = """SELECT r.id::text, r.attempt, split_part(r.lease_owner, ':', 2)::int AS pid, r.lost_leases
  FROM runs_run r JOIN tasks_task t ON t.id = r.subject_id JOIN missions_mission m ON m.id = t.mission_id
 WHERE m.name = %s AND r.status = 'running' AND r.steps >= 2"""


class Watched:
    """An installation with two workers, and a long attempt in the hands of one of them."""

    def __init__(self, cluster, sink, driver):
        self.cluster, self.sink, self.driver = cluster, sink, driver

    def begin(self, name):
        """(run, attempt, the worker that has it) once its tool has answered and it speaks."""
        self.driver.start_mission(name, seconds=LONG)
        run, attempt, pid, _ = self.wait(name, lambda _: True, 40)
        worker = next(part for part in self.cluster.of("worker") if part.pid == pid)
        return run, attempt, worker

    def wait(self, name, holds, seconds):
        """The row of the attempt in good hands, once it is as `holds` wants it."""
        deadline = time.monotonic() + seconds
        with psycopg.connect(self.cluster.postgres.url(), autocommit=True) as link:
            while time.monotonic() < deadline:
                row = link.execute(_HELD, [name]).fetchone()
                if row is not None and holds(row):
                    return row
                time.sleep(0.05)
        raise AssertionError(f"{name} was not carried on within {seconds:g} s")

    def orphan(self, name, number, bound):
        """Send the signal to who holds the attempt; (seconds until another one holds it, its row)."""
        run, attempt, worker = self.begin(name)
        began = time.monotonic()
        worker.tell(number)
        row = self.wait(name, lambda row: row[1] > attempt, bound)
        assert row[0] == run
        assert row[2] != worker.pid
        return time.monotonic() - began, worker, row


@pytest.fixture(scope="module")
def watched():
    needs_redis()
    with installation(web=1, worker=2, beat=1) as (cluster, sink, workspace, tokens):
        driver = Driver([part.url for part in cluster.of("web")], tokens, workspace)
        yield Watched(cluster, sink, driver)
        driver.close()
    shutil.rmtree(cluster.folder, ignore_errors=True)


@pytest.fixture
def both(watched):
    """Both workers are up again when the next test begins."""
    yield watched
    for part in watched.cluster.of("worker"):
        part.tell(signal.SIGCONT)
        if part.process.poll() is not None or part.told_to_stop:
            part.process.wait(30)
            part.start()
    watched.cluster.wait_until_up()


def effects(watched, name):
    return {call.key for call in watched.sink.calls if call.effect.startswith(f"{name}.plan")}


def test_a_killed_workers_attempt_is_carried_on_in_time(both):
    seconds, _, _ = both.orphan("killed", signal.SIGKILL, AFTER_A_KILL)
    print(f"carried on {seconds:.1f} s after SIGKILL")
    assert len(effects(both, "killed")) == 1


def test_a_stopped_workers_attempt_is_handed_on_without_blame(both):
    seconds, _, row = both.orphan("stopped", signal.SIGTERM, AFTER_A_STOP)
    print(f"carried on {seconds:.1f} s after SIGTERM")
    assert row[3] == 0
    assert len(effects(both, "stopped")) == 1


def test_a_worker_that_froze_loses_its_attempt_with_its_lease_and_cannot_write_any_more(both):
    """Its process is there, so only the lease by the database's clock tells; then it wakes up."""
    seconds, frozen, row = both.orphan("frozen", signal.SIGSTOP, AFTER_A_KILL)
    print(f"carried on {seconds:.1f} s after SIGSTOP")
    frozen.tell(signal.SIGCONT)
    time.sleep(3)
    run, attempt, pid, _ = both.wait("frozen", lambda _: True, 5)
    assert (run, attempt, pid) == row[:3]
    assert len(effects(both, "frozen")) == 1
