"""Fast inserts for the hot path: the ORM's columns and conversions without its query compiler.

A chat turn writes about ten rows; compiling each insert anew costs more than the rest of the turn.
Signals and `auto_now` are honoured by `pre_save`; constraints and defaults are the model's own.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.db import models


@lru_cache(maxsize=64)
def _columns(model: type[models.Model]) -> tuple[str, tuple[Any, ...]]:
    fields = tuple(field for field in model._meta.concrete_fields if not field.generated)
    names = ", ".join(f'"{field.column}"' for field in fields)
    # Names come from our own models, values from parameters.
    return f'INSERT INTO "{model._meta.db_table}" ({names}) VALUES ', fields  # noqa: S608


def insert(*rows: models.Model) -> None:
    """Insert `rows` of one model in one statement; raises IntegrityError as `save` would."""
    head, fields = _columns(type(rows[0]))
    marks = "(" + ", ".join(["%s"] * len(fields)) + ")"
    values: list[Any] = []
    for row in rows:
        values.extend(
            field.get_db_prep_save(field.pre_save(row, True), connection) for field in fields
        )
        row._state.adding, row._state.db = False, connection.alias
    with connection.cursor() as cursor:
        cursor.execute(head + ", ".join([marks] * len(rows)), values)


def execute(statement: str, values: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows (empty when it returns none)."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []
