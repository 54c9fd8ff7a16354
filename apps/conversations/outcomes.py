"""What the end of an inline turn means to the one who asked for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from apps.conversations.errors import TurnCancelled
from apps.core.errors import (
    BudgetExceeded,
    DomainError,
    Internal,
    InvalidInput,
    RateLimited,
    Unavailable,
    UpstreamFailed,
    UpstreamTimeout,
)
from apps.engine.loop import CODES
from apps.engine.ports import Ending

if TYPE_CHECKING:
    from apps.engine.ports import Outcome, ProviderFailed

# The engine's failure code -> the error of the surface. A provider's refusal of our own credential
# or model name is a fault of this installation, not of the caller.
FAILURES: dict[str, type[DomainError]] = {
    "upstream_rate_limited": RateLimited,
    "upstream_error": UpstreamFailed,
    "upstream_broken": UpstreamFailed,
    "upstream_timeout": UpstreamTimeout,
    "upstream_rejected": InvalidInput,
    "provider_auth": UpstreamFailed,
    "model_not_found": UpstreamFailed,
    "time_limit": UpstreamTimeout,
    "internal": Internal,
}
ANSWERS = frozenset({Ending.DONE, Ending.CLIENT_TOOLS, Ending.WAITING, Ending.HANDED_OVER})
WAITING_NOTE = "[Waiting for a human's decision: approval {approval_id}.]"


def failure_of_provider(error: ProviderFailed) -> DomainError:
    """A provider's failure outside a turn."""
    return FAILURES[CODES[error.fault]](error.message)


def failure_of(outcome: Outcome) -> DomainError | None:
    """The error an outcome stands for; None when there is an answer to give."""
    if outcome.ending in ANSWERS:
        return None
    if outcome.ending is Ending.CANCELLED:
        return TurnCancelled()
    if outcome.ending is Ending.BUDGET:
        return BudgetExceeded(outcome.message or None)
    if outcome.ending is Ending.LEASE_LOST:
        return Unavailable(retry_after=2)
    return FAILURES.get(outcome.code, UpstreamFailed)(outcome.message or None)


def answered(outcome: Outcome) -> Outcome:
    """The outcome as an answer; raises its error when it is none."""
    error = failure_of(outcome)
    if error is not None:
        raise error
    if outcome.ending is Ending.WAITING:
        note = WAITING_NOTE.format(approval_id=outcome.approval_id)
        return replace(outcome, text=f"{outcome.text}\n\n{note}".strip())
    return outcome
