"""What only the kit can refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.core.errors import NotFound, RateLimited

if TYPE_CHECKING:
    from apps.surfaces.ratewindow import State


class WindowSpent(RateLimited):
    """The rate window is full; `headers` are what the surface says about it."""

    def __init__(
        self, state: State | None = None, headers: dict[str, str] | None = None, **details: Any
    ) -> None:
        if state is not None:
            details |= {"limit": state.limit, "remaining": 0, "reset": state.reset}
            details["retry_after"] = state.retry_after
        super().__init__(**details)
        self.headers = headers or {}


class UnknownRoute(NotFound):
    """A path, or a method of it, that the surface does not have."""

    message = "There is no such route."
