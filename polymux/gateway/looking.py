"""Does a gateway answer on a formation's port? For deploys and starts, which wait until one does."""

from __future__ import annotations

import http.client
import json
from datetime import timedelta
from typing import TYPE_CHECKING

from apps.core.rows import execute
from apps.formations.errors import NotHealthy
from polymux.embedded.watch import gateway_name, is_fresh

if TYPE_CHECKING:
    from apps.formations.models import Formation
    from polymux.gateway.watch import Gateway

ALIVE = timedelta(seconds=15)
ANSWER_SECONDS = 1.0
_PORT = """SELECT p.port FROM formations_formationport p
 WHERE p.workspace_id = %s AND p.formation_id = %s AND p.purpose = 'live'"""

here: set[Gateway] = set()


def look(formation: Formation) -> bool | None:
    """True when a gateway listens on its port, False while none does yet, None where no gateway of this
    machine is alive, so that nobody will. Any thread. Raises NotHealthy for
    a port that another program has.
    """
    rows = execute(_PORT, [formation.workspace_id, formation.pk])
    if not rows:
        return None
    port: int = rows[0][0]
    if here:
        return _in_this_process(port)
    if not is_fresh(gateway_name(), ALIVE):
        return None
    return _answers(port)


def _in_this_process(port: int) -> bool:
    for gateway in list(here):
        if port in gateway.bound:
            return True
        if (taken := gateway.taken.get(port)) is not None:
            raise NotHealthy(f"Port {port}: {taken.reason}")
    return False


def _answers(port: int) -> bool:
    """Whether it is a formation that answers there, and not somebody else."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/v1/health")
        said = json.loads(connection.getresponse().read(1024))
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return isinstance(said, dict) and said.get("status") == "healthy"
