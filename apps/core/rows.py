"""Fast inserts for the hot path: the ORM's columns and conversions without its query compiler.

A chat turn writes about ten rows; compiling each insert anew costs more than the rest of the turn.
Signals and `auto_now` are honoured by `pre_save`; constraints and defaults are the model's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connection, connections
from django.db.models import NOT_PROVIDED, CharField, Field, JSONField, TextField

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.db import models

_ASIS = frozenset({str, int, float, bool, UUID, datetime})  # the driver takes them as they are
_UNWRITTEN = object()


@dataclass(frozen=True, slots=True)
class _Column:
    """One column of a table. `usual`: the plain default that is then written as `literal`."""

    field: Field[Any, Any]
    attname: str
    usual: Any
    literal: str
    stamps: bool  # `pre_save` has something to do (`auto_now`)
    wraps: bool  # JSON: a text is no text there


@lru_cache(maxsize=64)
def _table(model: type[models.Model]) -> tuple[str, tuple[_Column, ...]]:
    fields = [field for field in model._meta.concrete_fields if not field.generated]
    names = ", ".join(f'"{field.column}"' for field in fields)
    # Names come from our own models, values from parameters.
    head = f'INSERT INTO "{model._meta.db_table}" ({names}) VALUES '  # noqa: S608
    return head, tuple(map(_column, fields))


def _column(field: Field[Any, Any]) -> _Column:
    usual, literal = _usual(field)
    stamps = type(field).pre_save is not Field.pre_save
    return _Column(field, field.attname, usual, literal, stamps, isinstance(field, JSONField))


def _usual(field: Field[Any, Any]) -> tuple[Any, str]:
    """What a row mostly says here, and how SQL spells it: half of a wide row need not be bound."""
    if field.null:
        return None, "NULL"
    default = field.default
    if isinstance(field, JSONField) and default in {dict, list}:
        return default(), "'{}'" if default is dict else "'[]'"
    if isinstance(default, bool):
        return default, str(default).lower()
    if isinstance(field, (CharField, TextField)) and default in ("", NOT_PROVIDED):
        return "", "''"
    return (0, "0") if default == 0 else (_UNWRITTEN, "")


def _bind(row: models.Model, columns: tuple[_Column, ...], values: list[Any], here: Any) -> str:
    """`(%s, '', NULL, …)` for the row; what has to be bound is added to `values`."""
    marks = []
    for column in columns:
        value = getattr(row, column.attname)
        if column.stamps:
            value = column.field.pre_save(row, True)
        if value == column.usual and type(value) is type(column.usual):
            marks.append(column.literal)
            continue
        if column.wraps or type(value) not in _ASIS:
            value = column.field.get_db_prep_save(value, here)
        marks.append("%s")
        values.append(value)
    return f"({', '.join(marks)})"


def insert(*rows: models.Model, eventual: bool = False) -> None:
    """Insert `rows`, in order, in one round trip (none for none); raises IntegrityError as `save` would.

    `eventual`: this transaction's commit does not wait for the disk. For what nobody has been told of
    yet, and what a later, waiting commit makes durable with it (the log is written in order).
    """
    if not rows:
        return
    here = connections[connection.alias]  # the proxy would be asked for each of a hundred columns
    statements = ["SET LOCAL synchronous_commit = off"] if eventual else []
    values: list[Any] = []
    for model, group in groupby(rows, key=type):
        head, columns = _table(model)
        same = list(group)
        statements.append(head + ", ".join([_bind(row, columns, values, here) for row in same]))
        for row in same:
            row._state.adding, row._state.db = False, here.alias
    # Several statements in one: our cursors bind on the client's side (`server_side_binding` is off).
    with here.cursor() as cursor:
        cursor.execute("; ".join(statements), values)


def execute(statement: str, values: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows (empty when it returns none)."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []
