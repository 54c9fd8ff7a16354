"""Rows for the measurements, made inside the server's own installation (its POLYMUX_DATA_DIR).

python -m tests.bench.seed agents NAME=MODEL… | sessions COUNT
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "polymux.settings")

import django

django.setup()

from django.db import connection  # noqa: E402

from apps.core.actor import Actor  # noqa: E402
from apps.formations.services import create_agent  # noqa: E402
from apps.workspaces.models import Workspace  # noqa: E402

SESSIONS = """
INSERT INTO conversations_session (id, workspace_id, user_id, source, external_key, title, status,
    end_reason, browser_mode, humanize, cloaked, tokens_used, metadata, position, created_at,
    updated_at, last_active_at)
SELECT gen_random_uuid(), %s, NULL, 'polymux', '', 'Session ' || n, 'ended', 'completed', 'server',
    true, true, 0, '{}', n, now() - make_interval(secs => n), now(), now()
FROM generate_series(1, %s) n
"""


def main() -> None:
    what, *rest = sys.argv[1:]
    workspace = Workspace.objects.get(slug="default")
    if what == "agents":
        for pair in rest:
            name, model = pair.split("=")
            create_agent(Actor.for_system(workspace.pk), name=name, model=model)
    else:
        with connection.cursor() as cursor:
            cursor.execute(SESSIONS, [workspace.pk, int(rest[0])])
            cursor.execute("ANALYZE conversations_session")


main()
