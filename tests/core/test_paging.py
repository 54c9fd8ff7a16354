"""Pages that neither repeat nor lose a row, and cursors that cannot be forged or carried over."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest

from apps.core.errors import CursorInvalid, InvalidInput
from apps.core.ids import uuid7
from apps.core.paging import paginate, read_limit
from apps.workspaces.models import Workspace

pytestmark = pytest.mark.django_db
START = datetime(2026, 5, 1, tzinfo=UTC)
WS = uuid7()


@pytest.fixture
def rows(db):
    """Ten rows, two of them at each moment."""
    made = [Workspace.objects.create(name=f"n{n}", slug=f"s{n}") for n in range(10)]
    for number, row in enumerate(made):
        Workspace.objects.filter(pk=row.pk).update(created_at=START + timedelta(days=number // 2))
    return made


def page(cursor=None, *, query="list", workspace_id=WS, limit=3, **more):
    return paginate(
        Workspace.objects.all(),
        workspace_id=workspace_id,
        query=query,
        limit=limit,
        cursor=cursor,
        **more,
    )


def walk(between=lambda number: None, **more):
    names, cursor, number = [], None, 0
    while True:
        found = page(cursor, **more)
        names += [row.name for row in found.items]
        cursor = found.next_cursor
        if cursor is None:
            return names
        number += 1
        between(number)


def test_pages_hold_every_row_once_newest_first(rows):
    assert walk() == [f"n{number}" for number in reversed(range(10))]


def test_other_orders_page_as_well(rows):
    assert walk(order=("name", "id")) == sorted(f"n{number}" for number in range(10))
    assert walk(order=("created_at", "-id"))[:4] == ["n1", "n0", "n3", "n2"]


def test_rows_that_come_and_go_shift_nothing(rows):
    def disturb(number):
        Workspace.objects.create(name=f"new{number}", slug=f"new{number}")
        Workspace.objects.filter(name="n8").delete()

    assert walk(disturb) == [f"n{number}" for number in reversed(range(10))]


def test_a_cursor_looks_like_the_documented_one(rows):
    cursor = page().next_cursor
    assert cursor.startswith("eyJpZCI6")
    assert set(cursor) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def test_the_last_page_has_no_cursor(rows):
    assert page(limit=10).next_cursor is None
    assert page(limit=9).next_cursor is not None


def test_a_page_is_one_query(rows, count_queries):
    with count_queries(1):
        page()


def test_a_cursor_of_another_list_or_workspace_is_refused(rows):
    cursor = page().next_cursor
    for more in ({"query": "other"}, {"workspace_id": uuid7()}, {"workspace_id": None}):
        with pytest.raises(CursorInvalid):
            page(cursor, **more)
    with pytest.raises(CursorInvalid):
        page(cursor, order=("name", "id"))


def test_no_changed_character_goes_unnoticed(rows):
    cursor = page().next_cursor
    for place in range(len(cursor)):
        other = "A" if cursor[place] != "A" else "B"
        changed = cursor[:place] + other + cursor[place + 1 :]
        try:
            found = page(changed)
        except CursorInvalid:
            continue
        # The last character of unpadded base64 has bits that mean nothing.
        assert place == len(cursor) - 1 or cursor[place + 1] == "."
        assert [row.name for row in found.items] == ["n6", "n5", "n4"]


@pytest.mark.parametrize(
    "cursor",
    ["x", ".", "..", "eyJpZCI6MX0", "eyJpZCI6MX0.AAAA", "é", "a" * 5000, "\x00"],
)
def test_a_made_up_cursor_is_refused(rows, cursor):
    with pytest.raises(CursorInvalid):
        page(cursor)


def test_a_cursor_signed_by_hand_is_refused(rows):
    body = base64.urlsafe_b64encode(b'{"id":"1","k":[1,2],"ws":"*","q":"x","v":1}').decode()
    with pytest.raises(CursorInvalid):
        page(f"{body}.{'A' * 22}")


@pytest.mark.parametrize("limit", ["0", "201", "-1", "1.5", "x", "٣", "1e2", "9" * 99])
def test_a_limit_out_of_range_is_refused(limit):
    with pytest.raises(InvalidInput) as raised:
        read_limit(limit)
    assert "limit" in raised.value.details["fields"]


def test_limits_in_range_are_taken():
    assert [read_limit(limit) for limit in (None, "", "1", 200)] == [50, 50, 1, 200]
