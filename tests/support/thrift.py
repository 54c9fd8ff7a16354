"""What costs time in every test and is the subject of hardly any: done cheaply, or once a process."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.hashers import Argon2PasswordHasher
from whitenoise.middleware import WhiteNoiseMiddleware

CHEAP = {"time_cost": 1, "memory_cost": 8 * Argon2PasswordHasher.parallelism}  # argon2's least


def be_thrifty() -> None:
    _hash_cheaply()
    _find_assets_once()


def _hash_cheaply() -> None:
    """The same algorithm in the same format, at a thousandth of the price."""
    for name, cost in CHEAP.items():
        setattr(Argon2PasswordHasher, name, cost)


def _find_assets_once() -> None:
    """Each `Client()` loads the middleware anew, and WhiteNoise then looks at every static file: 25 ms."""
    look = WhiteNoiseMiddleware.add_files_from_finders
    found: dict[str, Any] = {}  # by the prefix they were looked for with

    def look_once(self: Any) -> None:
        if self.static_prefix not in found:
            before = dict(self.files)
            look(self)
            found[self.static_prefix] = self.files
            self.files = before
        self.files = self.files | found[self.static_prefix]

    WhiteNoiseMiddleware.add_files_from_finders = look_once
