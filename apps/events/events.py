"""Facts of the log itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from apps.core.facts import Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class LogWritten(Fact):
    """A line for whoever watches: `level` debug, info, warn or error. No secrets, no user's text."""

    name: ClassVar[str] = "log.written"
    level: str
    message: str
