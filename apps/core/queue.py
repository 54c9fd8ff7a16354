"""Waking workers. The row is the record (and the outbox); the message is only a nudge."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from django.db import connection, transaction

log = logging.getLogger(__name__)


def enqueue(job: str, /, **ids: Any) -> None:
    """Send Celery job `job` with `ids` after the commit. Best effort: a poller finds what is lost.

    Asked for twice in one transaction it is sent once: the change is one, however many rows it has.
    """
    nudge = partial(send_now, job, **{key: _plain(value) for key, value in ids.items()})
    if not _is_on_its_way(nudge):
        transaction.on_commit(nudge)


def _is_on_its_way(nudge: partial[None]) -> bool:
    """Asked for already, under the savepoints of now: what one of them takes back is not sent."""
    here = set(connection.savepoint_ids)
    # (savepoints, hook, robust): django-stubs knows two of them.
    waiting: list[Any] = connection.run_on_commit
    return any(
        isinstance(hook, partial)
        and (hook.func, hook.args, hook.keywords) == (nudge.func, nudge.args, nudge.keywords)
        and savepoints <= here
        for savepoints, hook, *_ in waiting
    )


def send_now(job: str, /, **ids: Any) -> None:
    from polymux.celery import app  # late: the app imports settings

    try:
        app.send_task(job, kwargs=ids, ignore_result=True, retry=False)
    except Exception:
        log.warning("could not wake a worker for %s; the sweep will", job, exc_info=True)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (int, str, bool)) else str(value)
