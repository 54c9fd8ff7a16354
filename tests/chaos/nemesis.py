"""What goes wrong, and when: a plan drawn from a seed, and the hands that carry it out."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.cluster import Cluster

LEASE = 10.0


@dataclass(frozen=True, slots=True)
class Blow:
    """`at` seconds from the beginning; `what` happens to `whom` (a role, `postgres` or `redis`)."""

    at: float
    what: str
    whom: str


def draw_plan(
    seed: int, seconds: float, *, blows: dict[str, int], pauses: int = 0, restarts: int = 1
) -> list[Blow]:
    """`blows`: kills of each role; each of the two stores is restarted `restarts` times.

    Nothing happens in the first and the last twentieth of the time.
    """
    dice = random.Random(seed)
    planned = [("kill", role) for role, count in blows.items() for _ in range(count)]
    planned += [("pause", "worker")] * pauses
    planned += [(dice.choice(["stop", "crash"]), "postgres") for _ in range(restarts)]
    planned += [("kill", "redis")] * restarts
    dice.shuffle(planned)
    moments = sorted(dice.uniform(0.05, 0.95) * seconds for _ in planned)
    return [Blow(at, *what) for at, what in zip(moments, planned, strict=True)]


@dataclass
class Nemesis:
    """Carries a plan out in a thread of its own. `done`: what was really done, with its moment."""

    cluster: Cluster
    plan: Sequence[Blow]
    seed: int
    done: list[str] = field(default_factory=list)
    failed: BaseException | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self._began = time.monotonic()
        self._dice = random.Random(self.seed + 1)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def heal(self) -> None:
        """No blow after this; raises what went wrong in its own hands."""
        self._stop.set()
        self._thread.join(60)
        if self.failed is not None:
            raise self.failed

    def wait(self) -> None:
        self._thread.join()
        self.heal()

    def _run(self) -> None:
        try:
            for blow in self.plan:
                if self._stop.wait(max(0.0, self._began + blow.at - time.monotonic())):
                    return
                self._strike(blow)
        except BaseException as error:  # noqa: BLE001  (told by `heal`, in the test's own thread)
            self.failed = error

    def _strike(self, blow: Blow) -> None:
        victim = blow.whom
        if blow.whom == "postgres":
            self.cluster.restart_postgres(crash=blow.what == "crash")
        elif blow.whom == "redis":
            self.cluster.restart_redis()
        else:
            victim = self._strike_part(blow)
        moment = time.monotonic() - self._began
        self.done.append(f"{moment:5.1f} s  {blow.what} {victim}")

    def _strike_part(self, blow: Blow) -> str:
        """One that is up, if any is. A web process only while another one serves.

        What is promised of a stream is that another server carries it on, not that more than a thousand
        events wait while there is none (contract/polpo.md §16).
        """
        parts = self.cluster.of(blow.whom)
        if blow.whom == "web":
            self._wait_for_all(blow.whom)
        part = self._dice.choice([part for part in parts if part.is_up] or parts)
        with self.cluster.held:
            if blow.what == "pause":
                part.tell(signal.SIGSTOP)
                threading.Timer(1.5 * LEASE, part.tell, [signal.SIGCONT]).start()
            else:
                part.tell(signal.SIGKILL)
        return part.name

    def _wait_for_all(self, role: str) -> None:
        deadline = time.monotonic() + 30
        while not all(part.is_up for part in self.cluster.of(role)):
            if self._stop.is_set() or time.monotonic() > deadline:
                return
            time.sleep(0.05)
