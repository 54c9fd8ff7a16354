"""The database `serve` works on: our own PostgreSQL, or the one `DATABASE_URL` names."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

from polymux.embedded.locks import LockBusy
from polymux.embedded.postgres import PostgresFailed, PostgresServer
from polymux.embedded.say import CannotServe, step

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

WAIT_SECONDS = 10.0
MIGRATION_LOCK = 7890_0001


def start_own_postgres() -> PostgresServer | None:
    """Start PostgreSQL below DATA_DIR and make the settings name it; None when one is configured."""
    if settings.DATABASE_URL:
        return None
    server = PostgresServer(settings.DATA_DIR / "postgres")
    try:
        server.start(step)
        server.ensure_database()
    except (PostgresFailed, LockBusy, OSError) as error:
        raise CannotServe(str(error)) from None
    settings.DATABASES["default"]["HOST"] = str(server.sockets)
    connection.settings_dict["HOST"] = str(server.sockets)
    os.environ["DATABASE_URL"] = server.url()  # for the processes we start
    return server


def wait_for_database(seconds: float = WAIT_SECONDS) -> None:
    """Return when the database answers; one clear line when it does not within `seconds`."""
    import psycopg

    deadline = time.monotonic() + seconds
    told = False
    while True:
        try:
            with direct_connection(connect_timeout=5):
                return
        except (psycopg.Error, ImproperlyConfigured) as error:
            if time.monotonic() > deadline or not _may_pass(error):
                raise CannotServe(f"the database cannot be used: {_first_line(error)}") from None
        if not told:
            step(f"waiting for the database at {where()}")
            told = True
        time.sleep(0.5)


def _may_pass(error: Exception) -> bool:
    """A server that starts or is out of reach may come; one that refuses us will go on refusing."""
    text = str(error)
    return "FATAL" not in text or any(word in text for word in ("starting up", "shutting down"))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def where() -> str:
    """Host, port and name, without user or password."""
    found = settings.DATABASES["default"]
    port = f":{found['PORT']}" if found["PORT"] else ""
    return f"{found['HOST']}{port}/{found['NAME']}"


@contextmanager
def direct_connection(**more: Any) -> Iterator[psycopg.Connection[Any]]:
    """A connection beside the pool, without the pool's time limits."""
    import psycopg

    parameters = connection.get_connection_params()
    for name in ("pool", "options", "cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    with psycopg.connect(**{**parameters, "client_encoding": "UTF8", **more}) as link:
        yield link


def migrate() -> None:
    """Bring the tables up to date. Several parts of one installation may start at once: one does it."""
    with direct_connection() as link:
        link.execute("SELECT pg_advisory_xact_lock(%s)", [MIGRATION_LOCK])
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if not plan:
            return
        step(f"preparing the database ({len(plan)} migrations)")
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            cursor.execute("SET idle_in_transaction_session_timeout = 0")
        try:
            call_command("migrate", interactive=False, verbosity=0)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("RESET statement_timeout")
                cursor.execute("RESET idle_in_transaction_session_timeout")


def prepare() -> None:
    """Wait for the database and migrate it, or say why not."""
    wait_for_database()
    try:
        migrate()
    except OperationalError as error:
        raise CannotServe(f"the database could not be prepared: {_first_line(error)}") from None
    finally:
        connection.close()
