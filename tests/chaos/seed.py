"""Tables and first records of an installation under test; run in its own environment.

python -m tests.chaos.seed SINK_URL MODEL -> prints the workspace's id and the tokens of some clients
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "polymux.settings")

import django

django.setup()

from apps.accounts.models import User  # noqa: E402
from apps.core.actor import Actor, Caller, CallerKind, Scope  # noqa: E402
from apps.formations.means import add_mcp_server  # noqa: E402
from apps.formations.services import create_agent  # noqa: E402
from apps.workspaces.models import Workspace  # noqa: E402
from apps.workspaces.services import issue_token  # noqa: E402
from polymux.embedded import database, first_run  # noqa: E402

AGENT = "worker"
SERVER = "sink"
TOKENS = 10  # the surface takes 200 requests a minute of each


def main() -> None:
    sink, model = sys.argv[1:]
    database.prepare()
    welcome = first_run.set_up()
    assert welcome is not None, "the database was not empty"
    workspace = Workspace.objects.get(slug="default")
    actor = Actor.for_system(workspace.pk)
    add_mcp_server(actor, name=SERVER, transport="http", url=sink)
    create_agent(actor, name=AGENT, model=model, tools=[f"{SERVER}__count"])
    print(workspace.pk, *[_token(number) for number in range(TOKENS)])


def _token(number: int) -> str:
    operator = User.objects.get(email=first_run.EMAIL)
    caller = Caller(CallerKind.OPERATOR, Scope.ADMIN, user_id=operator.pk, platform=True)
    _, token = issue_token(caller, name=f"Client {number}", scope="admin", purpose="storm")
    return token


main()
