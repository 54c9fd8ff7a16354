"""Rows for the measurements, made inside the server's own installation (its POLYMUX_DATA_DIR).

python -m tests.bench.seed agents NAME=MODEL… | sessions COUNT | formations COUNT | signing-key
"""

from __future__ import annotations

import json
import os
import socket
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "polymux.settings")

import django

django.setup()

from django.db import connection  # noqa: E402

from apps.core.actor import Actor, Caller, CallerKind, Scope  # noqa: E402
from apps.formations import registry  # noqa: E402
from apps.formations.models import Formation, FormationPort  # noqa: E402
from apps.formations.services import create_agent  # noqa: E402
from apps.workspaces.models import Workspace  # noqa: E402
from apps.workspaces.selectors import operator_actor  # noqa: E402
from apps.workspaces.services import issue_hmac_key  # noqa: E402
from tests.support.formations import document_of, running_rows  # noqa: E402

SESSIONS = """
INSERT INTO conversations_session (id, workspace_id, user_id, source, external_key, end_user, title, status,
    end_reason, browser_mode, humanize, cloaked, tokens_used, metadata, position, created_at,
    updated_at, last_active_at)
SELECT gen_random_uuid(), %s, NULL, 'polymux', '', '', 'Session ' || n, 'ended', 'completed', 'server',
    true, true, 0, '{}', n, now() - make_interval(secs => n), now(), now()
FROM generate_series(1, %s) n
"""


def make_formations(workspace: Workspace, count: int) -> list[int]:
    """The ports of that many running formations, as a deploy leaves their rows."""
    have = Formation.objects.in_workspace(workspace.pk).count()
    ports = free_ports(count)
    for number, port in enumerate(ports, start=have):
        slug = f"idle-{number}"
        home = Workspace(slug=f"home-of-{slug}", name=slug, parent=workspace)
        home.save()
        create_agent(Actor.for_system(home.pk), name="helper")
        formation = running_rows(workspace.pk, slug, home.pk, document_of(config={"id": slug}))
        FormationPort(workspace_id=workspace.pk, formation=formation, port=port).save()
        registry.forget(slug)
    return ports


def free_ports(count: int) -> list[int]:
    """Above those that deploys take, and taken by nobody."""
    taken = set(FormationPort.unscoped.values_list("port", flat=True))
    found: list[int] = []
    for port in range(20_000, 60_000):
        if port in taken:
            continue
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
        if len(found) == count:
            break
    return found


def main() -> None:
    what, *rest = sys.argv[1:]
    workspace = Workspace.objects.get(slug="default")
    if what == "agents":
        for pair in rest:
            name, model = pair.split("=")
            create_agent(Actor.for_system(workspace.pk), name=name, model=model)
    elif what == "formations":
        print(json.dumps(make_formations(workspace, int(rest[0]))))
    elif what == "signing-key":
        operator = Caller(CallerKind.OPERATOR, Scope.ADMIN, platform=True)
        key, secret = issue_hmac_key(operator_actor(operator, workspace.pk), name="bench")
        print(key.prefix, secret)
    else:
        with connection.cursor() as cursor:
            cursor.execute(SESSIONS, [workspace.pk, int(rest[0])])
            cursor.execute("ANALYZE conversations_session")


main()
