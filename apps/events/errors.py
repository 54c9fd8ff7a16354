from __future__ import annotations

from apps.core.errors import InvalidInput


class BadFrame(InvalidInput):
    """The client's frame is no JSON envelope, of an unknown type, or its payload is not valid."""

    code = "bad_frame"
    message = "This frame cannot be read."
