"""Fast inserts say what the ORM would have said."""

from __future__ import annotations

import json

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.conversations.models import Message, Session
from apps.core.clock import now
from apps.core.ids import uuid7
from apps.core.rows import _table, insert
from apps.runs.models import Run

pytestmark = pytest.mark.django_db


def stored(row):
    """The row as the database has it."""
    return type(row).unscoped.filter(pk=row.pk).values().get()


def twins(model, **fields):
    """Two rows alike: one for us, one for the ORM."""
    return model(**fields), model(**fields)


SESSIONS = [
    {},
    {"title": 'It\'s "quoted" %s \\ 🦉', "metadata": {"a": [1, None, "'"]}, "position": 1.5},
    {"title": "", "metadata": [], "humanize": False, "token_budget": 0, "external_key": "k"},
]


@pytest.mark.parametrize("fields", SESSIONS)
def test_a_row_reads_as_one_the_orm_wrote(aurora, fields):
    ours, theirs = twins(Session, workspace_id=aurora.id, **fields)
    theirs.external_key = theirs.external_key and "another"
    insert(ours)
    theirs.save(force_insert=True)
    told = {"id", "created_at", "updated_at", "last_active_at", "external_key"}
    assert {k: v for k, v in stored(ours).items() if k not in told} == {
        k: v for k, v in stored(theirs).items() if k not in told
    }
    assert ours.created_at is not None


def test_rows_of_several_tables_go_in_one_round_trip_and_in_order(aurora):
    session = Session(workspace_id=aurora.id, title="both")
    messages = [
        Message(
            workspace_id=aurora.id,
            session=session,
            wire_id=uuid7(),
            role="user",
            content=text,
            parts=parts,
            created_at=now(),
        )
        for text, parts in (("", None), ("hello", [{"type": "text"}]), ("", {}))
    ]
    with CaptureQueriesContext(connection) as seen:
        insert(session, *messages)
    assert len(seen) == 1
    assert [stored(m)["parts"] for m in messages] == [None, [{"type": "text"}], {}]
    assert not session._state.adding


def test_what_a_row_mostly_says_is_written_and_not_bound(aurora):
    run = Run(workspace_id=aurora.id, kind="chat", subject_type="session", subject_id=uuid7())
    with CaptureQueriesContext(connection) as seen:
        insert(run)
    assert seen[0]["sql"].count("NULL") > 5
    assert stored(run)["tokens_in"] == 0


def test_every_usual_value_is_one_its_column_understands(db):
    spelled = [
        (column, f"CAST({column.literal} AS {column.field.db_type(connection)})")
        for model in apps.get_models()
        if model.__module__.startswith("apps.")
        for column in _table(model)[1]
        if column.literal
    ]
    with connection.cursor() as cursor:
        cursor.execute("SELECT " + ", ".join(cast for _, cast in spelled))
        read = cursor.fetchone()
    wrong = [
        column.field
        for (column, _), value in zip(spelled, read, strict=True)
        if (json.loads(value) if column.wraps and value else value) != column.usual
    ]
    assert len(spelled) > 250
    assert wrong == []
