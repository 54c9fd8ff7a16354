"""Whose request is it? Users of the applications in front of a formation (contract/muxi.md §5.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.core.errors import InvalidInput
from apps.formations.people import SINGLE, folded, known_as

if TYPE_CHECKING:
    from apps.formations.registry import Running

__all__ = ["SINGLE", "end_user_of"]

LONGEST = 255


def end_user_of(running: Running, raw: str | None, *, admin: bool, required: bool) -> str | None:
    """The `end_user` that rows of this request carry. None: an admin key, for all users.

    `raw` is what the header (or body, or query) said. `admin`: the route takes the admin key and this
    request showed it. `required`: the route asks client keys for a user; elsewhere nobody is `"0"`.
    A single-user formation folds everybody to `"0"`. Where users are told apart, one query finds whose
    further name was said: not for the loop. Raises InvalidInput.
    """
    said = _cleaned(raw)
    if not said and admin:
        return None
    if not said and required:
        raise InvalidInput("X-Muxi-User-ID header is required.")
    if not said or not running.multi_user:
        return SINGLE
    return known_as(running.home_id, said)


def _cleaned(raw: str | None) -> str:
    said = folded(raw or "")
    if len(said) > LONGEST or "\x00" in said:
        raise InvalidInput(f"X-Muxi-User-ID takes at most {LONGEST} characters.")
    return said
