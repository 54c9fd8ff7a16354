"""Another process of the same installation: publishes and speaks what it is told on stdin."""

from __future__ import annotations

import sys
from collections.abc import Callable
from uuid import UUID

import django

django.setup()

from django.db import connections  # noqa: E402

from apps.core import aio  # noqa: E402
from apps.core.actor import Actor  # noqa: E402
from apps.events import frames, services  # noqa: E402
from tests.events.conftest import tell  # noqa: E402


def on_the_loop(call: Callable[..., object], *arguments: object) -> None:
    """Done when this returns: a delta is stamped with the last fact when it is said, not later."""

    async def now() -> None:
        call(*arguments)

    aio.spawn(now()).result(10)


def main() -> None:
    workspace, session, run = (UUID(word) for word in sys.argv[1:4])
    actor = Actor.for_engine(workspace)
    print("ready", flush=True)
    for line in sys.stdin:
        verb, _, text = line.rstrip("\n").partition(" ")
        if verb == "tell":
            tell(actor, text, session_id=session)
        elif verb == "say":
            on_the_loop(frames.append, session, run, text)
        elif verb == "finish":
            on_the_loop(frames.finish, run)
        elif verb == "revoke":
            services.revoke(token_id=UUID(text))
        print("done", flush=True)
    connections.close_all()


main()
