from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runs", "0003_bench_work_and_subjects")]

    operations = [
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("session_id__isnull", True), ("subject_id__isnull", False)),
                fields=["workspace", "subject_id", "-created_at"],
                name="run_of_subject",
            ),
        ),
    ]
