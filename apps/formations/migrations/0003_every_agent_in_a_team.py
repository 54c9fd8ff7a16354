"""Every workspace gets its first team, and every agent a team. Batched and re-runnable."""

from __future__ import annotations

from typing import Any

import django.db.models.deletion
from django.db import migrations, models

BATCH = 500


def give_each_a_team(apps: Any, _editor: Any) -> None:
    workspaces = apps.get_model("workspaces", "Workspace").objects.order_by("pk")
    teams = apps.get_model("formations", "Team").unscoped
    agents = apps.get_model("formations", "Agent").unscoped
    without = workspaces.exclude(pk__in=teams.values("workspace_id")).values_list("pk", flat=True)
    while batch := list(without[:BATCH]):
        teams.bulk_create(teams.model(workspace_id=pk, name="default") for pk in batch)
    homeless = agents.filter(team=None).values_list("workspace_id", flat=True).distinct()
    while batch := list(homeless.order_by("workspace_id")[:BATCH]):
        for workspace_id in batch:
            first = teams.filter(workspace_id=workspace_id).order_by("id").first()
            agents.filter(workspace_id=workspace_id, team=None).update(team=first)


class Migration(migrations.Migration):
    dependencies = [
        ("formations", "0002_teams"),
        ("workspaces", "0001_initial"),
    ]

    operations = [
        migrations.RunPython(give_each_a_team, migrations.RunPython.noop),
        # The checks of the new rows are deferred; a table that waits for them cannot be altered.
        migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE", migrations.RunSQL.noop),
        migrations.AlterField(
            model_name="agent",
            name="team",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.RESTRICT,
                related_name="agents",
                to="formations.team",
            ),
        ),
    ]
