"""Query counts that say what they found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db import connection
from django.test.utils import CaptureQueriesContext

if TYPE_CHECKING:
    from types import TracebackType


class QueryCount:
    """`with count_queries(3):` fails and prints the queries unless exactly 3 ran.

    `at_most=True` takes fewer, too. Only its use with `with` checks anything, so an instance that
    was never entered fails its test (`verify_all_entered`, called when the fixture ends).
    """

    def __init__(self, expected: int, *, at_most: bool) -> None:
        self.expected = expected
        self.at_most = at_most
        self.entered = False
        self._captured = CaptureQueriesContext(connection)

    def __enter__(self) -> Self:
        self.entered = True
        self._captured.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._captured.__exit__(kind, error, trace)
        if error is None:
            self._compare()

    @property
    def statements(self) -> list[str]:
        return [query["sql"] for query in self._captured.captured_queries]

    def _compare(self) -> None:
        found = len(self.statements)
        right = found <= self.expected if self.at_most else found == self.expected
        listed = "\n".join(f"  {n}. {sql}" for n, sql in enumerate(self.statements, 1))
        assert right, f"expected {self.expected} queries, {found} ran:\n{listed}"


class QueryCounter:
    """What the `count_queries` fixture gives."""

    def __init__(self) -> None:
        self._made: list[QueryCount] = []

    def __call__(self, expected: int, *, at_most: bool = False) -> QueryCount:
        made = QueryCount(expected, at_most=at_most)
        self._made.append(made)
        return made

    def verify_all_entered(self) -> None:
        idle = [made for made in self._made if not made.entered]
        assert not idle, "count_queries(...) without `with` checks nothing"
