"""The walls between tenants that live in the model layer (design §4, walls 2 and 4).

`TenantModel.objects` answers only `in_workspace(...)`; `unscoped` is the honest name for the rest and
is banned (house test) outside core, events, admin, migrations, tests and the named sweepers.
`tenant_key` and `tenant_fk` are the migration operations that put the wall into the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import migrations, models

from apps.core.ids import uuid7

if TYPE_CHECKING:
    from uuid import UUID


class WorkspaceNotNamed(RuntimeError):
    """A query on a tenant's table did not say whose rows it wants."""


class DoorManager(models.Manager[Any]):
    """The only way in is to say whose."""

    def get_queryset(self) -> models.QuerySet[Any]:
        raise WorkspaceNotNamed(self.model.__name__)

    def in_workspace(self, workspace_id: UUID) -> models.QuerySet[Any]:
        return models.QuerySet(self.model, using=self._db).filter(workspace_id=workspace_id)


class TenantModel(models.Model):
    """A row of one workspace. Foreign keys between tenant rows are composite: see `tenant_fk`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(
        "workspaces.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False
    )

    # `unscoped` first: Django's own machinery (admin, cascade, dumpdata) uses the default manager.
    unscoped = models.Manager()
    objects = DoorManager()

    class Meta:
        abstract = True
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"


class TenantKey(models.ForeignKey[Any, Any]):
    """A foreign key whose constraint is the composite one of `tenant_fk`, made by the migration."""

    def __init__(self, to: Any, on_delete: Any, **kwargs: Any) -> None:
        kwargs["db_constraint"] = False
        super().__init__(to, on_delete, **kwargs)

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.ForeignKey", args, kwargs


def tenant_key(table: str) -> migrations.RunSQL:
    """`(workspace_id, id)` unique: what composite foreign keys point at."""
    name = f"{table}_tenant_key"
    return migrations.RunSQL(
        f'ALTER TABLE "{table}" ADD CONSTRAINT "{name}" UNIQUE (workspace_id, id)',
        f'ALTER TABLE "{table}" DROP CONSTRAINT "{name}"',
    )


def tenant_fk(table: str, column: str, parent: str) -> migrations.RunSQL:
    """`(workspace_id, column)` must name a row of `parent` in the same workspace."""
    name = f"{table}_{column}_tenant_fk"
    return migrations.RunSQL(
        f'ALTER TABLE "{table}" ADD CONSTRAINT "{name}" FOREIGN KEY (workspace_id, "{column}") '
        f'REFERENCES "{parent}" (workspace_id, id) DEFERRABLE INITIALLY DEFERRED',
        f'ALTER TABLE "{table}" DROP CONSTRAINT "{name}"',
    )
