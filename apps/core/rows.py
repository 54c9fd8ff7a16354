"""Fast inserts for the hot path: the ORM's columns and conversions without its query compiler.

A chat turn writes about ten rows; compiling each insert anew costs more than the rest of the turn.
Signals and `auto_now` are honoured by `pre_save`; constraints and defaults are the model's own.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

from django.db import connection, connections

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.db import models


@lru_cache(maxsize=64)
def _columns(model: type[models.Model]) -> tuple[str, tuple[Any, ...]]:
    fields = tuple(field for field in model._meta.concrete_fields if not field.generated)
    names = ", ".join(f'"{field.column}"' for field in fields)
    # Names come from our own models, values from parameters.
    return f'INSERT INTO "{model._meta.db_table}" ({names}) VALUES ', fields  # noqa: S608


def insert(*rows: models.Model, eventual: bool = False) -> None:
    """Insert `rows`, in order, in one round trip; raises IntegrityError as `save` would.

    `eventual`: this transaction's commit does not wait for the disk. For what nobody has been told of
    yet, and what a later, waiting commit makes durable with it (the log is written in order).
    """
    here = connections[connection.alias]  # the proxy would be asked for each of a hundred columns
    statements = ["SET LOCAL synchronous_commit = off"] if eventual else []
    values: list[Any] = []
    for model, group in groupby(rows, key=type):
        head, fields = _columns(model)
        marks = "(" + ", ".join(["%s"] * len(fields)) + ")"
        same = list(group)
        for row in same:
            values.extend(
                field.get_db_prep_save(field.pre_save(row, True), here) for field in fields
            )
            row._state.adding, row._state.db = False, here.alias
        statements.append(head + ", ".join([marks] * len(same)))
    # Several statements in one: our cursors bind on the client's side (`server_side_binding` is off).
    with here.cursor() as cursor:
        cursor.execute("; ".join(statements), values)


def execute(statement: str, values: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows (empty when it returns none)."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []
