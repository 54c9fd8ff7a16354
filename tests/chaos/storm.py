"""The whole of it: missions made, a stream followed, processes killed; then heal, wait, read, check."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.bench.server import free_port
from tests.chaos.checker import violations
from tests.chaos.cluster import Cluster
from tests.chaos.driver import SHAPE, Driver
from tests.chaos.history import History, read_tables
from tests.chaos.nemesis import Nemesis, draw_plan
from tests.chaos.reader import Reader
from tests.chaos.stubs import Model, Sink

_OPEN = """SELECT (SELECT count(*) FROM missions_mission WHERE status IN ('draft', 'active', 'paused'))
 + (SELECT count(*) FROM runs_run WHERE status IN ('queued', 'running'))"""


@dataclass
class Storm:
    """How much of everything. `seconds`: in which the blows fall; `patience`: after they are over.

    `rest`: seconds of each of the four clients between two missions, so that some are under way at
    every blow.
    """

    seed: int
    missions: int = 300
    seconds: float = 30.0
    blows: dict[str, int] = field(default_factory=lambda: {"worker": 4, "web": 2, "beat": 2})
    pauses: int = 0
    restarts: int = 1
    patience: float = 300.0  # what a busy machine may need; the end is not waited for
    rest: float = 0.0


@dataclass
class Result:
    """`report`: lines to print."""

    history: History
    found: list[str]
    report: list[str]
    folder: Path


@contextmanager
def installation(**counts: int) -> Iterator[tuple[Cluster, Sink, str, list[str]]]:
    """(cluster, sink, workspace, tokens) of an installation that is up; `counts`: processes of each role.

    Its folder stays, for its logs.
    """
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="pm-chaos-"))
        model, sink = stack.enter_context(Model()), stack.enter_context(Sink())
        environ = {
            "POLYMUX_MODEL_ENDPOINTS": f"stub={model.base_url}",
            "POLYMUX_MODEL": "stub/model",
        }
        cluster = stack.enter_context(Cluster(folder, environ))
        workspace, *tokens = cluster.seed(sink.url, "stub/model").split()
        ports = {f"web{number}": free_port() for number in range(counts["web"])}
        cluster.start(ports, **counts)
        yield cluster, sink, workspace, tokens


def rage(storm: Storm) -> Result:
    """Run it. Raises AssertionError only when the installation cannot even be set up."""
    began = time.monotonic()
    with installation(web=2, worker=2, beat=2) as (cluster, sink, workspace, tokens):
        urls = [part.url for part in cluster.of("web")]
        raging = Raging(storm, cluster, Driver(urls, tokens, workspace), sink)
        raging.up = time.monotonic() - began
        return raging.run()


class Raging:
    """One storm over an installation that is up."""

    def __init__(self, storm: Storm, cluster: Cluster, driver: Driver, sink: Sink) -> None:
        self.storm, self.cluster, self.driver, self.sink = storm, cluster, driver, sink
        self.reader = Reader(driver.urls, driver.tokens[0], driver.workspace)
        plan = draw_plan(
            storm.seed,
            storm.seconds,
            blows=storm.blows,
            pauses=storm.pauses,
            restarts=storm.restarts,
        )
        self.nemesis = Nemesis(cluster, plan, storm.seed)
        self.up = self.made = self.ended = 0.0

    def run(self) -> Result:
        self.reader.start()
        self.cluster.keep_up()
        self.nemesis.start()
        began = time.monotonic()
        names = [f"m{number:04}" for number in range(self.storm.missions)]
        self.driver.make(names, pause=self.storm.rest)
        self.made = time.monotonic() - began
        self.nemesis.wait()
        self._wait_for_the_end()
        self.ended = time.monotonic() - began
        history = self._read()
        self.reader.stop()
        self.driver.close()
        found = violations(history)
        return Result(history, found, self._report(history), self.cluster.folder)

    def _wait_for_the_end(self) -> None:
        deadline = time.monotonic() + self.storm.patience
        while time.monotonic() < deadline:
            try:
                with psycopg.connect(self.cluster.postgres.url()) as link:
                    left = link.execute(_OPEN).fetchall()[0][0]
            except psycopg.OperationalError:
                left = 1
            if not left:
                return
            time.sleep(0.25)

    def _read(self) -> History:
        history = History(promised=self.driver.promised, shape=SHAPE, odd=self.driver.odd)
        read_tables(self.cluster.postgres.url(), self.driver.workspace, history)
        self.reader.reach(
            max((f.seq for f in history.log if f.name == "mission.completed"), default=0), 15
        )
        history.calls, history.heard = list(self.sink.calls), list(self.reader.heard)
        history.gaps = list(self.reader.gaps)
        return history

    def _report(self, history: History) -> list[str]:
        repeats = len(history.calls) - len({call.key for call in history.calls})
        resumed = sum(run.attempt > 1 for run in history.runs)
        surprises = {p.name: p.surprises for p in self.cluster.parts.values() if p.surprises}
        starts = {part.name: part.starts for part in self.cluster.parts.values()}
        return [
            f"seed {self.storm.seed}: {len(history.missions)} missions, {len(history.tasks)} tasks",
            f"up after {self.up:.1f} s, made after {self.made:.1f} s, ended after {self.ended:.1f} s",
            *self.nemesis.done,
            f"{resumed} runs resumed, most leases lost: {max((r.lost for r in history.runs), default=0)}",
            f"{repeats} calls repeated under their key; {self.driver.lost} answers lost",
            f"{len(history.log)} facts; {len(history.heard)} events over {self.reader.connects} connects",
            f"starts {starts}; ended by themselves {surprises}",
            f"logs in {self.cluster.folder}",
        ]
