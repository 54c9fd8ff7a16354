"""Hot lists: a queryset that Django compiles once, and that is afterwards only filled in.

Building and compiling the query of a list costs more than PostgreSQL's work on it. `prepared(build,
…)` remembers the statement of `build(…)` for each combination of what is asked; the walls stay where
they are, in the querysets `build` makes of the same managers and filters as everywhere.

The statement is compiled with stand-ins for the values, so `build` may ask whether a value is there
(`if status:`), never what it is, and must hand each one to the query as it came.
"""

from __future__ import annotations

import secrets
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.db.models import QuerySet

Step = Callable[..., "QuerySet[Any, Any]"]

# How a stand-in is made: improbable as a constant of a query, and valid where the value is.
_STAND_INS: Mapping[type, Callable[[], Any]] = {
    UUID: uuid4,
    str: lambda: str(uuid4()),  # a column of ids takes it as well
    int: lambda: secrets.randbelow(2**30) + 2**30,
    float: lambda: secrets.randbelow(2**30) + 0.5,
    datetime: lambda: datetime.fromtimestamp(secrets.randbelow(2**31), UTC),
}


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows not read yet. `steps`: the building function, then what changes the queryset it made.

    Each step takes the queryset of the one before and, by name, the values it was added with.
    """

    steps: tuple[tuple[Step, tuple[str, ...]], ...]
    values: Mapping[str, Any]

    def through(self, step: Step, **values: Any) -> Prepared:
        """With `step(queryset, **values)` on top: columns, a filter, an order."""
        steps = (*self.steps, (step, tuple(values)))
        return replace(self, steps=steps, values={**self.values, **values})

    def read(self, limit: int) -> list[Any]:
        """At most `limit` rows, as named tuples. One query."""
        kinds = tuple(None if value is None else type(value) for value in self.values.values())
        compiled = _compiled(self.steps, tuple(self.values), kinds)
        values = [self.values[name] if name else given for name, given in compiled.slots]
        with connection.cursor() as cursor:
            cursor.execute(compiled.statement, [*values, limit])
            return [compiled.shape(row) for row in cursor.fetchall()]


def prepared(build: Step, **values: Any) -> Prepared:
    """The rows of `build(**values)`, a `.values_list(…, named=True)` once all steps are taken.

    Functions are the key of what is remembered: functions of a module, no lambdas. Values: UUID, str,
    int, float, datetime, or None where nothing is asked.
    """
    return Prepared(((build, tuple(values)),), values)


@dataclass(frozen=True, slots=True)
class _Compiled:
    """`slots`: what goes into each %s, as (name of the value, "") or ("", the constant)."""

    statement: str
    slots: tuple[tuple[str, Any], ...]
    shape: Callable[[Sequence[Any]], Any]


@lru_cache(maxsize=256)
def _compiled(
    steps: tuple[tuple[Step, tuple[str, ...]], ...],
    names: tuple[str, ...],
    kinds: tuple[type | None, ...],
) -> _Compiled:
    asked = {name: kind for name, kind in zip(names, kinds, strict=True) if kind is not None}
    stand_ins = {name: _STAND_INS[kind]() for name, kind in asked.items()}
    rows: Any = None
    for step, wanted in steps:
        given = {name: stand_ins.get(name) for name in wanted}
        rows = step(**given) if rows is None else step(rows, **given)
    compiler = rows.query.get_compiler(connection=connection)
    statement, values = compiler.as_sql()
    selected = [expression for expression, *_ in compiler.select]
    if compiler.get_converters(selected):
        raise TypeError("a prepared list reads columns as the database gives them: cast the others")
    slots = _slots(values, {str(given): name for name, given in stand_ins.items()})
    columns = namedtuple("columns", rows._fields)  # type: ignore[misc]  # noqa: PYI024
    return _Compiled(f"{statement} LIMIT %s", slots, columns._make)


def _slots(values: Sequence[Any], names: Mapping[str, str]) -> tuple[tuple[str, Any], ...]:
    """`values` of a compiled statement, with the stand-ins replaced by the names they stand for."""
    found = tuple((names.get(str(value), ""), value) for value in values)
    lost = set(names.values()) - {name for name, _ in found}
    if lost:
        raise TypeError(f"these values do not reach the query as they came: {sorted(lost)}")
    return found
