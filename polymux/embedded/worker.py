"""The Celery worker inside this process: a thread that consumes, and a pool of threads that work."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any

from django.conf import settings

from apps.core.queue import send_now
from polymux.embedded.say import CannotServe

if TYPE_CHECKING:
    from celery.worker import WorkController

READY_SECONDS = 30.0
STOP_SECONDS = 10.0


class Worker:
    """`start()` returns when messages are consumed; `close()` ends that, `join()` waits for jobs."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._controller: WorkController | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        from celery.worker import state

        state.should_stop = None  # what an earlier worker of this process was told
        os.environ.setdefault("CELERY_SKIP_CHECKS", "1")  # manage.py has just made them
        if not settings.REDIS_URL:  # "no hostname was supplied": memory:// has none
            logging.getLogger("kombu.connection").setLevel(logging.ERROR)
        self._controller = self._build()
        self._thread = threading.Thread(target=self._controller.start, name="worker", daemon=True)
        self._thread.start()
        if not self._ready.wait(READY_SECONDS):
            raise CannotServe(f"the worker cannot reach its broker ({broker()})")

    def _build(self) -> WorkController:
        from celery.worker import WorkController

        from polymux.celery import app

        app.finalize()
        app.set_default()
        return WorkController(
            app=app,
            pool=settings.CELERY_WORKER_POOL,
            concurrency=settings.WORKER_THREADS,
            without_heartbeat=True,
            without_mingle=True,
            without_gossip=True,
            send_events=False,
            ready_callback=self._on_ready,
        )

    def _on_ready(self, _consumer: Any) -> None:
        self._ready.set()

    def close(self) -> None:
        """Take no more messages. Returns at once."""
        from celery.worker import state

        if self._controller is None or state.should_stop is not None:
            return
        state.should_stop = 0
        if not settings.REDIS_URL:
            # Without messages it looks up every two seconds; when it has, it waits once more.
            send_now("platform.wake")
            send_now("platform.wake")

    def join(self, seconds: float = STOP_SECONDS) -> bool:
        """Wait until running jobs have ended; False when they have not within `seconds`."""
        if self._thread is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def restart(self) -> None:
        """A new consumer on a new connection, for one that has gone deaf."""
        self.close()
        self.join()
        self._ready.clear()
        self.start()


def broker() -> str:
    """The broker's address without its password."""
    from kombu.utils.url import maybe_sanitize_url

    return str(maybe_sanitize_url(settings.CELERY_BROKER_URL))


def known_jobs() -> set[str]:
    """The names of the jobs this version has."""
    from polymux.celery import app

    app.loader.import_default_modules()
    return {name for name in app.tasks if not name.startswith("celery.")}
