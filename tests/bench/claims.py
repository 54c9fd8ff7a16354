"""Milliseconds to start the next task, with few and with many waiting; run inside an installation.

python -m tests.bench.claims COUNT…   prints one number a count; nothing of it is kept.
"""

from __future__ import annotations

import os
import sys
import time
from statistics import median

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "polymux.settings")

import django

django.setup()

from django.db import connection, transaction  # noqa: E402

from apps.core.actor import Actor  # noqa: E402
from apps.formations.services import create_agent  # noqa: E402
from apps.tasks.services import dispatching  # noqa: E402
from apps.workspaces.models import Workspace  # noqa: E402

STARTED = 60
TASKS = """INSERT INTO tasks_task (id, workspace_id, title, description, original_description, assign_to,
    "group", depends_on, status, phase, held_by, ready, priority, expectations, metrics,
    expected_outcomes, outcomes, side_effects, retries, max_retries, fix_attempts, question_rounds,
    resolution_attempts, revision_count, sla, attempts, model, created_at, updated_at)
SELECT gen_random_uuid(), %s, 'Task ' || n, '', '', 'bench', '', '{}', 'pending', '', '{}', true,
    n %% 7, '[]', '[]', '[]', '[]', false, 0, 3, 0, 0, 0, 0, '', 0, '', now() + n * interval '1 ms', now()
FROM generate_series(1, %s) n"""


class Undone(Exception):
    """Nothing of the measurement is kept."""


def milliseconds(count: int) -> float:
    taken: list[float] = []
    try:
        with transaction.atomic():
            workspace = Workspace.objects.get(slug="default")
            actor = Actor.for_engine(workspace.pk)
            create_agent(Actor.for_system(workspace.pk), name="bench", model="scripted/echo")
            with connection.cursor() as cursor:
                cursor.execute(TASKS, [workspace.pk, count])
                cursor.execute("ANALYZE tasks_task")
            for _ in range(STARTED):
                began = time.perf_counter()
                assert dispatching._dispatch_batch(actor) == 1
                taken.append((time.perf_counter() - began) * 1000)
            raise Undone
    except Undone:
        return median(taken)


def main() -> None:
    dispatching.BATCH = 1
    for count in map(int, sys.argv[1:]):
        print(f"{milliseconds(count):.3f}")


main()
