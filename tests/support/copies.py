"""The cast as often as it is asked for: raised once a process by the services, then copied.

Raising Aurora takes the services 115 statements. A copy is the rows they left, with ids, tokens and
times of its own, written in one go (numbers from a sequence stay: it does not come to them again);
`tests/house/test_the_test_kit.py` holds the two against each other.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connection, models, transaction
from django.db.models.base import ModelState
from django.test.utils import CaptureQueriesContext

from apps.core import crypto
from apps.core.ids import uuid7
from apps.workspaces.services.tokens import _SHOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.support.cast import Aurora

INTO = re.compile(r'\bINSERT INTO "?(\w+)')
AN_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
A_MOMENT = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?\+00:00")


@dataclass(frozen=True)
class Mold:
    """`statements` write the `rows`; `ids`, `tokens` and `moments`: what differs in every copy."""

    aurora: Aurora
    statements: str
    made_at: datetime
    ids: tuple[str, ...]
    tokens: tuple[str, ...]
    moments: tuple[str, ...]
    own: re.Pattern[str]


@cache
def mold_of(raise_: Callable[[], Aurora]) -> Mold:
    """What `raise_` writes, whatever else is in the database. Nothing of it stays."""
    tables = _written_by(raise_)
    with transaction.atomic():
        before = {table: _rows(table) for table in tables}
        aurora = raise_()
        rows = {table: _rows(table) - before[table] for table in tables}
        transaction.set_rollback(True)
    return _mold(aurora, "".join(_insert(table, rows[table]) for table in tables))


def copied(raise_: Callable[[], Aurora]) -> Aurora:
    """As `raise_()`, at a tenth of the price."""
    names = Names(mold_of(raise_))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(names.in_text(names.mold.statements))
    aurora: Aurora = names.of(names.mold.aurora)
    return aurora


def _written_by(raise_: Callable[[], Aurora]) -> list[str]:
    """The tables in the order of their first rows: what refers comes after what it refers to."""
    with transaction.atomic(), CaptureQueriesContext(connection) as captured:
        raise_()
        transaction.set_rollback(True)
    found = [name for query in captured for name in INTO.findall(query["sql"])]
    return list(dict.fromkeys(found))


def _rows(table: str) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT to_jsonb(t)::text FROM {table} t")
        return {row for (row,) in cursor.fetchall()}


def _insert(table: str, rows: Iterable[str]) -> str:
    together = f"[{','.join(sorted(rows))}]".replace("'", "''")
    return (
        f"INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, '{together}');"
    )


def _mold(aurora: Aurora, statements: str) -> Mold:
    people = aurora.people.values()
    tokens = tuple(token for person in people for token in (person.token, person.star_token))
    ids = sorted(set(AN_ID.findall(statements)))  # in the order they were drawn
    moments = sorted(set(A_MOMENT.findall(statements)))
    own = [*ids, *moments, *(shown for token in tokens for shown in _shown(token))]
    return Mold(
        aurora,
        statements,
        datetime.now(UTC),
        tuple(ids),
        tokens,
        tuple(moments),
        re.compile("|".join(map(re.escape, own))),
    )


def _shown(token: str) -> tuple[str, str]:
    """What the row of a token has of it: its digest, and its beginning."""
    return crypto.digest(token).hex(), token[:_SHOWN]


class Names:
    """What the ids, tokens and moments of a mold are in one copy of it."""

    def __init__(self, mold: Mold) -> None:
        self.mold, self.later = mold, datetime.now(UTC) - mold.made_at
        self._new = {old: str(uuid7()) for old in mold.ids}
        self._new |= {old: self.of(datetime.fromisoformat(old)).isoformat() for old in mold.moments}
        for old in mold.tokens:
            new = self._new[old] = crypto.new_token("pmx_")
            self._new |= dict(zip(_shown(old), _shown(new), strict=True))

    def in_text(self, text: str) -> str:
        return self.mold.own.sub(lambda found: self._new[found[0]], text)

    def of(self, value: Any) -> Any:
        """The same in the copy, with everything in it."""
        if isinstance(value, UUID):
            return UUID(self._new[str(value)])
        if isinstance(value, datetime):
            return value + self.later
        if isinstance(value, str):
            return self._new.get(value, value)
        if isinstance(value, dict):
            return {key: self.of(inner) for key, inner in value.items()}
        if isinstance(value, models.Model):
            return self._of_row(value)
        if is_dataclass(value) and not isinstance(value, type):
            inner = {field.name: self.of(getattr(value, field.name)) for field in fields(value)}
            return replace(value, **inner)
        return value

    def _of_row(self, row: models.Model) -> models.Model:
        fresh = copy.copy(row)
        fresh._state = ModelState()
        fresh._state.adding, fresh._state.db = False, row._state.db
        for field in row._meta.concrete_fields:
            setattr(fresh, field.attname, self.of(getattr(row, field.attname)))
        return fresh
