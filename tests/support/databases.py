"""Databases that have their tables already: migrated once a session, then copied from a template.

Sixty migrations cost 4 s of CPU; a copy costs a tenth of a second. Every worker's test database is one,
and so is the database of a `manage.py serve` whose subject is not its first start.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = "TESTS_TEMPLATE"  # the variable that names it: `environment.prepare` sets it
LOCK = 7890_0002
_numbers = itertools.count(1)


def template() -> str:
    """Its name, once it is there. The first process of the session that asks makes it."""
    name = os.environ[TEMPLATE]
    with psycopg.connect(url("postgres"), autocommit=True) as link:
        link.execute("SELECT pg_advisory_lock(%s)", [LOCK])  # until the connection ends
        if not link.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            _make(name)
    return name


@contextmanager
def fresh_database() -> Iterator[str]:
    """The URL of a database with all tables and no rows, dropped at the end."""
    name = f"{template()}_{os.getpid()}_{next(_numbers)}"
    _tell("CREATE DATABASE {} TEMPLATE {}", name, template())
    try:
        yield url(name)
    finally:
        _tell("DROP DATABASE {} WITH (FORCE)", name)


def drop_template() -> None:
    _tell("DROP DATABASE IF EXISTS {}", os.environ[TEMPLATE])


def url(database: str) -> str:
    """The tests' server, another database."""
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{database}").geturl()


def _make(name: str) -> None:
    """Under another name until it is whole: whoever is killed meanwhile leaves no half template."""
    raw = f"{name}_raw"
    _tell("DROP DATABASE IF EXISTS {} WITH (FORCE)", raw)
    _tell("CREATE DATABASE {}", raw)
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url(raw)},
        check=True,
    )
    _tell("ALTER DATABASE {} RENAME TO {}", raw, name)


def _tell(statement: LiteralString, *names: str) -> None:
    with psycopg.connect(url("postgres"), autocommit=True) as link:
        link.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
