"""Where async code of this process runs, and how it calls the database.

One process has one *home loop*: the web server's loop (`adopt_loop`, at ASGI start-up), else a daemon
thread's. Engine turns and nudges run there. Database work never does: `db_call` runs it on a bounded
executor of its own, and the connection goes back to the pool when the call ends (asgiref's default
executor is one shared thread for the whole process).
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from django.conf import settings
from django.db import connections

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

P = ParamSpec("P")
T = TypeVar("T")

_lock = threading.Lock()
_home: asyncio.AbstractEventLoop | None = None
_executor: ThreadPoolExecutor | None = None


def adopt_loop(loop: asyncio.AbstractEventLoop | None) -> None:
    """Make `loop` this process's home (None: give it up at shutdown)."""
    global _home  # noqa: PLW0603
    with _lock:
        _home = loop


def home_loop() -> asyncio.AbstractEventLoop:
    """The home loop; starts a daemon thread with one when no server has adopted its own."""
    global _home  # noqa: PLW0603
    with _lock:
        if _home is None or _home.is_closed():
            _home = asyncio.new_event_loop()
            threading.Thread(target=_home.run_forever, name="home-loop", daemon=True).start()
        return _home


def spawn(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Run `work` on the home loop from any thread."""
    return asyncio.run_coroutine_threadsafe(work, home_loop())


def db_executor() -> ThreadPoolExecutor:
    global _executor  # noqa: PLW0603
    with _lock:
        if _executor is None:
            _executor = ThreadPoolExecutor(settings.DB_THREADS, thread_name_prefix="db")
        return _executor


def _returning_connections(call: Callable[[], T]) -> T:
    try:
        return call()
    finally:
        for connection in connections.all(initialized_only=True):
            connection.close_if_unusable_or_obsolete()


async def db_call(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run sync database code on the bounded executor; queues when all its threads are busy."""
    context = copy_context()
    return await asyncio.get_running_loop().run_in_executor(
        db_executor(),
        _returning_connections,
        lambda: context.run(function, *args, **kwargs),
    )
