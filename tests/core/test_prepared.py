"""Lists compiled once: the same rows as the ORM's own, each for the values it was asked with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from apps.core.ids import uuid7
from apps.core.paging import NEWEST_FIRST, paginate
from apps.core.prepared import prepared
from apps.workspaces.models import Workspace, WorkspaceStatus

pytestmark = pytest.mark.django_db
START = datetime(2026, 5, 1, tzinfo=UTC)
built: list[str] = []


def everything():
    return Workspace.objects.exclude(status=WorkspaceStatus.REMOVED)


def named(name, slug=None):
    built.append("named")
    rows = Workspace.objects.filter(name=name, status=WorkspaceStatus.ACTIVE)
    return rows.filter(slug=slug) if slug else rows


def shouted(name):
    return Workspace.objects.filter(name=name.upper())


def columns(rows):
    return rows.values_list("id", "name", "slug", "created_at", named=True)


def raw_settings(rows):
    return rows.values_list("id", "settings", named=True)


@pytest.fixture
def rows(db):
    """Ten rows, two of them at each moment."""
    made = [Workspace.objects.create(name=f"n{n}", slug=f"s{n}") for n in range(10)]
    for number, row in enumerate(made):
        Workspace.objects.filter(pk=row.pk).update(created_at=START + timedelta(days=number // 2))
    return made


def walk(listed, order):
    """The ids of all pages, three rows each."""
    found, cursor, here = [], None, uuid7()
    while True:
        page = paginate(
            listed, workspace_id=here, query="list", limit=3, cursor=cursor, order=order
        )
        found += [row.id for row in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return found


@pytest.mark.parametrize("order", [NEWEST_FIRST, ("created_at", "id"), ("slug",), ("-name", "id")])
def test_a_prepared_list_pages_as_the_queryset_does(rows, order):
    assert walk(prepared(everything).through(columns), order) == walk(everything(), order)
    assert len(walk(prepared(everything).through(columns), order)) == 10


def test_it_is_built_once_and_reads_what_it_is_asked_each_time(rows, count_queries):
    prepared(named, name="n0").through(columns).read(5)
    built.clear()
    for name in ["n1", "n2", "100% 'quoted' %s", rows[0].slug]:
        with count_queries(1):
            found = prepared(named, name=name).through(columns).read(5)
        assert [row.name for row in found] == [row.name for row in rows if row.name == name]
    assert built == []


def test_a_value_that_is_not_asked_for_is_another_statement(rows):
    def slugs(**asked):
        return [row.slug for row in prepared(named, **asked).through(columns).read(5)]

    assert slugs(name="n1", slug=None) == ["s1"]
    assert slugs(name="n1", slug="s2") == []
    assert slugs(name="n2", slug="s2") == ["s2"]


def test_the_constants_of_the_query_stay(rows):
    Workspace.objects.filter(slug="s1").update(status=WorkspaceStatus.SUSPENDED)
    assert prepared(named, name="n1").through(columns).read(5) == []


def test_a_build_that_changes_its_values_is_refused():
    with pytest.raises(TypeError, match="do not reach the query"):
        prepared(shouted, name="n1").through(columns).read(5)


def test_a_column_that_django_would_convert_is_refused():
    with pytest.raises(TypeError, match="cast"):
        prepared(everything).through(raw_settings).read(5)
