"""Celery's beat in a thread: sends the platform's periodic jobs on time."""

from __future__ import annotations

import logging
import threading

from django.db import connections

log = logging.getLogger(__name__)

LONGEST_SLEEP = 5.0
REST = 5.0  # seconds after a failure


class Beat:
    """Celery's own `Service` sleeps without an ear for `stop`; this loop is the same with one."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Send nothing more. Returns at once."""
        self._stop.set()

    def join(self, seconds: float = 5.0) -> bool:
        if self._thread.ident is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._tick_until_stopped()
            except Exception:
                log.exception("beat stumbled; it goes on in %g s", REST)
                self._stop.wait(REST)
            finally:
                connections.close_all()

    def _tick_until_stopped(self) -> None:
        from celery.beat import Service

        from polymux.celery import app
        from polymux.embedded.periodic import sync_periodic
        from polymux.embedded.worker import known_jobs

        sync_periodic(known_jobs())  # here: a database that restarts must not end the process
        app.conf.result_expires = None  # no results are kept, so none are cleaned up
        scheduler = Service(app, scheduler_cls=app.conf.beat_scheduler).scheduler
        try:
            while not self._stop.is_set():
                self._stop.wait(min(scheduler.tick() or 0.0, LONGEST_SLEEP))
                if scheduler.should_sync():
                    scheduler._do_sync()  # noqa: SLF001  (as Celery's Service does)
        finally:
            scheduler.close()
