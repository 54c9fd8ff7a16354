from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runs", "0003_bench_work_and_subjects")]

    operations = [
        migrations.AddField("run", "in_step", models.BooleanField(default=False)),
    ]
