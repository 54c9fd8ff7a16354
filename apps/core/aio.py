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
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from django.conf import settings
from django.db import connections

from apps.core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

P = ParamSpec("P")
T = TypeVar("T")

# Calls that may be running or waiting at once: beyond it the database is hopelessly behind, and an
# honest 503 is better than an answer nobody waits for any more.
MOST_CALLS = 2_048

_lock = threading.Lock()
_home: asyncio.AbstractEventLoop | None = None
_executor: ThreadPoolExecutor | None = None
_calls = 0


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
    """The database threads of async code: `settings.DB_THREADS` of them."""
    global _executor  # noqa: PLW0603
    with _lock:
        if _executor is None:
            _executor = ThreadPoolExecutor(settings.DB_THREADS, thread_name_prefix="db")
        return _executor


def return_connections() -> None:
    """Give this thread's connections back to the pool (CONN_MAX_AGE is 0: closing returns)."""
    for connection in connections.all(initialized_only=True):
        connection.close_if_unusable_or_obsolete()


def _run(call: Callable[[], T]) -> T:
    try:
        return call()
    finally:
        return_connections()


async def db_call(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run sync database code on the bounded executor.

    Waits its turn when all threads are busy; `Unavailable` when 2,048 calls already run or wait. A
    cancelled caller stops waiting at once; a call that has begun runs to its end.
    """
    global _calls  # noqa: PLW0603
    with _lock:
        if _calls >= MOST_CALLS:
            raise Unavailable(retry_after=1)
        _calls += 1
    future = db_executor().submit(copy_context().run, _run, partial(function, *args, **kwargs))
    future.add_done_callback(_one_less)
    return await asyncio.wrap_future(future)


def _one_less(_: Future[Any]) -> None:
    global _calls  # noqa: PLW0603
    with _lock:
        _calls -= 1


async def together(*works: Awaitable[T]) -> list[T]:
    """Do all of them side by side. The first that raises ends the others, and is raised."""
    doing = [asyncio.ensure_future(work) for work in works]
    try:
        return list(await asyncio.gather(*doing))
    finally:
        for task in doing:
            task.cancel()
        await asyncio.gather(*doing, return_exceptions=True)
