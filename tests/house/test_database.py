"""The database keeps the promise: composite keys for tenancy, constraints with the models."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import IntegrityError, connection, models, transaction

from apps.core.ids import uuid7
from apps.core.tenancy import DoorManager, TenantModel, WorkspaceNotNamed

pytestmark = pytest.mark.django_db

# Models that belong to a workspace without being TenantModel, and why.
OTHERWISE_GUARDED = {
    "workspaces.Workspace": "it is the tenant",
    "workspaces.ApiToken": "workspace null means every workspace of its user",
    "accounts.AuditEntry": "outlives what it speaks of: no foreign keys at all",
    "events.Event": "append-only log, read by (workspace, seq) in apps.events only",
    "events.StreamHead": "one row a workspace, keyed by it",
}


def tenant_models() -> list[type[models.Model]]:
    return [model for model in apps.get_models() if issubclass(model, TenantModel)]


def tenant_links() -> list[tuple[str, str, str]]:
    """(table, column, parent table) of every foreign key from one tenant's row to another."""
    return [
        (model._meta.db_table, field.column, field.related_model._meta.db_table)
        for model in tenant_models()
        for field in model._meta.concrete_fields
        if isinstance(field, models.ForeignKey) and issubclass(field.related_model, TenantModel)
    ]


def constraints(kind: str) -> set[tuple[str, tuple[str, ...], str, tuple[str, ...]]]:
    """(table, columns, referenced table, referenced columns) of all constraints of `kind`."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.conrelid::regclass::text,
                   ARRAY(SELECT attname::text FROM unnest(c.conkey) WITH ORDINALITY k(num, pos)
                         JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.num
                         ORDER BY k.pos),
                   COALESCE(NULLIF(c.confrelid, 0)::regclass::text, ''),
                   ARRAY(SELECT attname::text FROM unnest(c.confkey) WITH ORDINALITY k(num, pos)
                         JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.num
                         ORDER BY k.pos)
            FROM pg_constraint c WHERE c.contype = %s AND c.connamespace = 'public'::regnamespace
            """,
            [kind],
        )
        return {
            (t, tuple(columns), r, tuple(others)) for t, columns, r, others in cursor.fetchall()
        }


def test_every_row_of_a_workspace_is_behind_the_door():
    open_to_all = [
        model._meta.label
        for model in apps.get_models()
        if model.__module__.startswith("apps.")
        and any(field.name == "workspace" for field in model._meta.get_fields())
        and not issubclass(model, TenantModel)
        and model._meta.label not in OTHERWISE_GUARDED
    ]
    assert not open_to_all


@pytest.mark.parametrize("model", tenant_models(), ids=lambda model: model._meta.label)
def test_a_query_that_names_no_workspace_is_refused(model):
    assert isinstance(model.objects, DoorManager)
    for question in (model.objects.all, model.objects.exists, model.objects.count):
        with pytest.raises(WorkspaceNotNamed):
            question()
    assert not model.objects.in_workspace(uuid7()).exists()


def test_links_between_tenants_rows_are_composite_in_the_database():
    kept = constraints("f")
    missing = [
        f"tenant_fk({table!r}, {column!r}, {parent!r})"
        for table, column, parent in tenant_links()
        if (table, ("workspace_id", column), parent, ("workspace_id", "id")) not in kept
    ]
    assert not missing, "add to the migration that makes the table:\n" + "\n".join(missing)


def test_every_referenced_table_has_its_tenant_key():
    unique = {(table, columns) for table, columns, _, _ in constraints("u")}
    parents = {parent for _, _, parent in tenant_links()}
    assert parents
    assert not [p for p in parents if (p, ("workspace_id", "id")) not in unique]


def test_no_plain_link_stands_beside_a_composite_one():
    """A second constraint on the column alone would let a foreign row in where the first is off."""
    plain = {(table, columns) for table, columns, _, _ in constraints("f") if len(columns) == 1}
    assert not [f"{t}.{c}" for t, c, _ in tenant_links() if (t, (c,)) in plain]


@transaction.atomic
def link(workspace_id, agent):
    from apps.conversations.models import Session

    Session.unscoped.create(workspace_id=workspace_id, agent=agent)
    connection.check_constraints()  # they are deferred: look now, not at the commit


def test_a_row_of_another_workspace_cannot_be_linked(aurora, borealis):
    from apps.formations.services import create_agent

    theirs = create_agent(aurora.ada, name="Auroras")
    link(aurora.id, theirs)
    with pytest.raises(IntegrityError):
        link(borealis.id, theirs)


def test_the_models_and_the_migrations_agree():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_the_project_passes_its_own_checks():
    call_command("check", fail_level="WARNING")
