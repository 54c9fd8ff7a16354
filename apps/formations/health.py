"""Is a formation there? Its document is applied and its agents are loaded before anybody asks: what is
left is its port, which gateways open once they have noticed.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from apps.formations.errors import NotHealthy

if TYPE_CHECKING:
    from collections.abc import Callable

    from apps.core.actor import Actor
    from apps.formations.models import Formation

    Look = Callable[[Formation], bool | None]

log = logging.getLogger(__name__)

WAIT_SECONDS = 10.0
LOOK_EVERY = 0.02  # seconds


def _nobody_looks(_formation: Formation) -> bool | None:
    return None


_look: Look = _nobody_looks


def see_with(look: Look) -> None:
    """Have `look(formation)` say whether a gateway answers on the formation's port: True, not yet
    (False), or None where no gateway is alive, so that nobody will. From `ready()`; one rules.

    What it raises says why no gateway can.
    """
    global _look  # noqa: PLW0603
    _look = look


def wait_until_healthy(actor: Actor, formation: Formation) -> None:
    """Return once its port answers, or when no gateway lives that would open it. Raises NotHealthy after
    `WAIT_SECONDS`. Outside of transactions.
    """
    del actor
    deadline = time.monotonic() + WAIT_SECONDS
    while _seen(formation) is False:
        if time.monotonic() > deadline:
            raise NotHealthy(f"No gateway opened the port within {WAIT_SECONDS:.0f} seconds.")
        time.sleep(LOOK_EVERY)


def _seen(formation: Formation) -> bool | None:
    try:
        return _look(formation)
    except Exception as error:
        log.warning("formation %s cannot be reached", formation.slug, exc_info=True)
        raise NotHealthy(str(error)[:300]) from None
