from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0003_end_users_and_requests"),
    ]

    operations = [
        migrations.AddField(
            model_name="session",
            name="buffer_cleared_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
