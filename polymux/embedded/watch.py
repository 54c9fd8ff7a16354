"""Signs of life, and the watch over the worker (reliability: a worker that looks alive may be deaf)."""

from __future__ import annotations

import logging
import socket
import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import connections
from django.db.models.functions import Now

from polymux.embedded.models import Heartbeat

if TYPE_CHECKING:
    from polymux.embedded.worker import Worker

log = logging.getLogger(__name__)

WORKER = "worker"
FRESH = timedelta(seconds=30)
DEAF = timedelta(seconds=60)
LOOK_EVERY = 15.0
KEPT = timedelta(days=1)  # of a gateway's sign of life: containers have new names at each start


def record_heartbeat(name: str = WORKER) -> None:
    """Called by a job, so that it proves the whole way: beat, broker, worker, database."""
    Heartbeat.objects.update_or_create(name=name, defaults={"at": Now()})


def is_fresh(name: str = WORKER, within: timedelta = FRESH) -> bool:
    """Whether `name` gave a sign of life lately, by the database's clock."""
    return Heartbeat.objects.filter(name=name, at__gt=Now() - within).exists()


def gateway_name() -> str:
    """What the gateway of this machine is called; the others have beats of their own."""
    return f"gateway@{socket.gethostname()}"[:40]


def record_gateway() -> None:
    """The gateway has compared its ports; and forget those of machines that are long gone."""
    record_heartbeat(gateway_name())
    gone = Heartbeat.objects.filter(name__startswith="gateway@", at__lt=Now() - KEPT)
    gone.delete()


def last_heartbeat(name: str = WORKER) -> datetime | None:
    return Heartbeat.objects.filter(name=name).values_list("at", flat=True).first()


class Watch:
    """Restarts a worker that consumes nothing although beat sends it a job every 5 seconds."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(DEAF.total_seconds()):
            while not self._stop.wait(LOOK_EVERY):
                if self._is_deaf():
                    log.warning("the worker has done nothing for %s: starting it anew", DEAF)
                    self._worker.restart()
                    break

    def _is_deaf(self) -> bool:
        try:
            return not is_fresh(within=DEAF)
        except Exception:
            log.warning("the watch could not ask the database", exc_info=True)
            return False  # then the database is what is wrong
        finally:
            connections.close_all()
