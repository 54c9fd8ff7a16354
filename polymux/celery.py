"""The Celery application. A Celery unit is a *job* here: `jobs.py` in every app."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "polymux.settings")

app = Celery("polymux")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(related_name="jobs")
