"""The world outside the process, fixed before Django's settings are read.

Called at the top of `tests/conftest.py`: settings are read from the environment on first import, so
everything here must happen before that, and must not import Django.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

SECRET_KEY = "a fixed key for tests, long enough to please every check, never used elsewhere"
ENCRYPTION_KEYS = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

# What a developer's own shell may hold and a test must not depend on.
FOREIGN_PREFIXES = ("POLYMUX_", "OLLAMA_", "OTEL_", "AWS_")
FOREIGN_SUFFIXES = ("_API_KEY", "_PROXY", "_proxy")
FOREIGN_NAMES = ("REDIS_URL", "ADMIN_TOKEN", "AUTH_SECRET", "AUTH_INTERNAL_SECRET", "CORS_ORIGINS")
# Says that a missing service fails the tests instead of skipping them: it is about this run of theirs.
KEPT = "POLYMUX_REQUIRE_SERVICES"
# Every worker of pytest-xdist may fill a pool, and so may every `serve` it starts.
CONNECTIONS = 300


def prepare() -> None:
    """Fix the environment; start PostgreSQL unless `DATABASE_URL` names one.

    The workers of pytest-xdist inherit what the first process prepared.
    """
    if os.environ.get("PYTEST_XDIST_WORKER"):
        return
    if "DJANGO_SETTINGS_MODULE" in os.environ and "DATABASE_URL" not in os.environ:
        raise SystemExit(
            "unset DJANGO_SETTINGS_MODULE: with it, settings are read before the tests' database "
            "is known, and the tests would run in the database of `serve`"
        )
    _forget_the_shell()
    _keep_bytecode()
    folder = Path(tempfile.mkdtemp(prefix="polymux-tests-"))
    # Registered first, so that it runs last: after PostgreSQL has stopped.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "data" / "static").mkdir(parents=True)
    os.environ |= {
        "POLYMUX_DATA_DIR": str(folder / "data"),
        "POLYMUX_SECRET_KEY": SECRET_KEY,
        "POLYMUX_ENCRYPTION_KEYS": ENCRYPTION_KEYS,
        "POLYMUX_ALLOWED_HOSTS": "localhost,127.0.0.1,testserver",
    }
    os.environ["TESTS_TEMPLATE"] = f"polymux_template_{os.getpid()}"
    if os.environ.get("DATABASE_URL"):
        atexit.register(_drop_template)  # our own server goes with all it has
    else:
        os.environ["DATABASE_URL"] = _started_postgres(folder / "postgres")
    os.environ["DJANGO_SETTINGS_MODULE"] = "polymux.settings"


def _forget_the_shell() -> None:
    for name in list(os.environ):
        known = name.startswith(FOREIGN_PREFIXES) or name.endswith(FOREIGN_SUFFIXES)
        if (known or name in FOREIGN_NAMES) and name != KEPT:
            del os.environ[name]


def _keep_bytecode() -> None:
    """Tests start some eighty Pythons: compiling everything each time is a third of their start."""
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def _started_postgres(root: Path) -> str:
    """The URL of a PostgreSQL of this session's own, stopped when the process ends."""
    from polymux.embedded.postgres import PostgresServer

    server = PostgresServer(root, fsync=False, connections=CONNECTIONS)
    server.start()
    atexit.register(server.stop)
    return server.url("polymux")


def _drop_template() -> None:
    from tests.support import databases

    databases.drop_template()
