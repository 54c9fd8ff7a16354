from __future__ import annotations

from apps.core.errors import Conflict, Kind, NotFound


class RunNotFound(NotFound):
    message = "Run not found."


class RunNotClaimable(Conflict):
    code = "run_not_claimable"
    message = "This run is not waiting to be claimed."


class RunFinishedAlready(Conflict):
    code = "run_finished"
    message = "This run has already ended."


class RunLimitReached(Conflict):
    kind = Kind.LIMITED
    code = "run_limit_reached"
    message = "Too many runs are in progress. Try again shortly."
