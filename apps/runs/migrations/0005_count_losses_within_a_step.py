from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runs", "0004_runs_of_a_subject")]

    operations = [
        migrations.AddField("run", "in_step", models.BooleanField(default=False)),
    ]
