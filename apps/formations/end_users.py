"""Whose request is it? Users of the applications in front of a formation (contract/muxi.md §5.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.core.errors import InvalidInput

if TYPE_CHECKING:
    from apps.formations.registry import Running

SINGLE = "0"  # everybody, in a formation that does not tell its users apart
LONGEST = 255


def end_user_of(running: Running, raw: str | None, *, admin: bool, required: bool) -> str | None:
    """The `end_user` that rows of this request carry. None: an admin key, for all users.

    `raw` is what the header (or body, or query) said. `admin`: the route takes the admin key and this
    request showed it. `required`: the route asks client keys for a user; elsewhere nobody is `"0"`.
    A single-user formation folds everybody to `"0"`. Raises InvalidInput.
    """
    said = _cleaned(raw)
    if not said and admin:
        return None
    if not said and required:
        raise InvalidInput("X-Muxi-User-ID header is required.")
    return (said or SINGLE) if running.multi_user else SINGLE


def _cleaned(raw: str | None) -> str:
    """Without blanks around it; an e-mail address in lower case."""
    said = (raw or "").strip()
    if len(said) > LONGEST or "\x00" in said:
        raise InvalidInput(f"X-Muxi-User-ID takes at most {LONGEST} characters.")
    return said.lower() if "@" in said else said
