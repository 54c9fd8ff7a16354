from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0002_session_by_change"),
    ]

    operations = [
        migrations.AddField(
            model_name="session",
            name="buffer_cleared_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
