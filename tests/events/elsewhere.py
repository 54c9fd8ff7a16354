"""Another process of the same installation: publishes and speaks what it is told on stdin."""

from __future__ import annotations

import sys
from uuid import UUID

import django

django.setup()

from django.db import connections  # noqa: E402

from apps.core import aio  # noqa: E402
from apps.core.actor import Actor  # noqa: E402
from apps.events import frames, services  # noqa: E402
from tests.events.conftest import tell  # noqa: E402


def main() -> None:
    workspace, session, run = (UUID(word) for word in sys.argv[1:4])
    actor = Actor.for_engine(workspace)
    print("ready", flush=True)
    for line in sys.stdin:
        verb, _, text = line.rstrip("\n").partition(" ")
        if verb == "tell":
            tell(actor, text, session_id=session)
        elif verb == "say":
            aio.home_loop().call_soon_threadsafe(frames.append, session, run, text)
        elif verb == "finish":
            aio.home_loop().call_soon_threadsafe(frames.finish, run)
        elif verb == "revoke":
            services.revoke(token_id=UUID(text))
        print("done", flush=True)
    connections.close_all()


main()
