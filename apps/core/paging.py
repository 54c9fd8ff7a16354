"""Keyset pages: `(created_at, id)` or another total order, with cursors nobody can forge.

A cursor is base64url JSON `{"id", "k", "ws", "q", "v"}` and an HMAC (contract/polymux.md §1.4): the
last row seen, its keys, the workspace and the query it belongs to. No COUNT, one row more than asked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.conf import settings
from django.db.models import Q

from apps.core.errors import CursorInvalid, InvalidInput
from apps.core.prepared import Prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from django.db.models import Model, QuerySet

M = TypeVar("M", bound="Model")

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_CURSOR = 2048  # characters
VERSION = 1
NEWEST_FIRST = ("-created_at", "-id")


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """Some rows and the cursor of what follows; None at the end."""

    items: list[M]
    next_cursor: str | None


def paginate(
    rows: QuerySet[M] | Prepared,
    *,
    workspace_id: UUID | None,
    query: str,
    limit: int | str | None = None,
    cursor: str | None = None,
    order: Sequence[str] = NEWEST_FIRST,
) -> Page[M]:
    """One page of `rows` in `order`, after `cursor`.

    `query` names the list and its filters: a cursor of another list is `CursorInvalid`. `order` holds
    non-null columns and ends in a unique one; rows have them and `id` as attributes. `limit` 1..200, default 50, else `InvalidInput`.
    """
    size = read_limit(limit)
    mark = _mark(query, order)
    last = _keys(cursor, workspace_id, mark, order) if cursor else []
    keys = {f"key{index}": key for index, key in enumerate(last)}
    step = _ordered_by(tuple(order))
    if isinstance(rows, Prepared):
        found = rows.through(step, **keys).read(size + 1)
    else:
        found = list(step(rows, **keys)[: size + 1])
    items = found[:size]
    more = len(found) > size
    return Page(items, _cursor(items[-1], workspace_id, mark, order) if more else None)


def read_limit(
    limit: int | str | None, *, default: int = DEFAULT_LIMIT, most: int = MAX_LIMIT
) -> int:
    """The page size asked for; `InvalidInput` out of 1..`most`."""
    if limit is None or limit == "":
        return default
    text = str(limit)
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= most):
        words = f"Must be a whole number from 1 to {most}."
        raise InvalidInput(f"limit: {words}", fields={"limit": [words]})
    return int(text)


@lru_cache(maxsize=64)
def _ordered_by(order: tuple[str, ...]) -> Callable[..., QuerySet[Any, Any]]:
    """The step that orders rows and begins behind the keys: one function an order, see `prepared`."""

    def step(rows: QuerySet[Any, Any], **keys: Any) -> QuerySet[Any, Any]:
        ordered = rows.order_by(*order)
        return ordered.filter(_after(order, list(keys.values()))) if keys else ordered

    return step


def _after(order: Sequence[str], keys: list[Any]) -> Q:
    """Rows strictly behind `keys`: (a < x) or (a = x and b < y) or …, written so an index can start."""
    condition = Q()
    for index in reversed(range(len(order))):
        name, key = order[index].lstrip("-"), keys[index]
        beyond = Q(**{f"{name}__{'lt' if order[index].startswith('-') else 'gt'}": key})
        condition = beyond | (Q(**{name: key}) & condition) if condition else beyond
    first = order[0].lstrip("-")
    edge = Q(**{f"{first}__{'lte' if order[0].startswith('-') else 'gte'}": keys[0]})
    return edge & condition


def _mark(query: str, order: Sequence[str]) -> str:
    return hashlib.sha256(f"{query}\n{','.join(order)}".encode()).hexdigest()[:16]


def _cursor(row: Any, workspace_id: UUID | None, mark: str, order: Sequence[str]) -> str:
    keys = [_plain(getattr(row, name.lstrip("-"))) for name in order]
    body = {"id": str(row.id), "k": keys, "ws": _name(workspace_id), "q": mark, "v": VERSION}
    raw = json.dumps(body, separators=(",", ":")).encode()
    return f"{_encode(raw)}.{_encode(_mac(raw))}"


def _keys(cursor: str, workspace_id: UUID | None, mark: str, order: Sequence[str]) -> list[Any]:
    body = _opened(cursor)
    if body["ws"] != _name(workspace_id) or body["q"] != mark or len(body["k"]) != len(order):
        raise CursorInvalid
    return [datetime.fromisoformat(key["t"]) if isinstance(key, dict) else key for key in body["k"]]


def _opened(cursor: str) -> dict[str, Any]:
    text, _, mac = cursor.partition(".")
    if len(cursor) > MAX_CURSOR:
        raise CursorInvalid
    try:
        raw, given = _decode(text), _decode(mac)
    except (binascii.Error, ValueError):
        raise CursorInvalid from None
    if not hmac.compare_digest(_mac(raw), given):
        raise CursorInvalid
    body: dict[str, Any] = json.loads(raw)
    if body["v"] != VERSION:
        raise CursorInvalid
    return body


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"t": value.isoformat()}
    return value if isinstance(value, (int, str)) else str(value)


def _name(workspace_id: UUID | None) -> str:
    return str(workspace_id) if workspace_id else "*"


def _mac(raw: bytes) -> bytes:
    key = hashlib.sha256(b"polymux cursor" + settings.SECRET_KEY.encode()).digest()
    return hmac.digest(key, raw, hashlib.sha256)[:16]


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
