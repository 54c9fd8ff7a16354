"""Which formations there are, where they live and whether they run (decision 0029).

TLDR: `running(home_id)` for whoever answers in a formation's home; `remembered` and `look_up` for the
router, which finds one by its address. The rows are the record: an address is believed for a second, or
until `forget`; documents are kept by their version, which never changes.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apps.core.errors import NotFound
from apps.core.rows import execute
from apps.formations.models import FormationStatus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

BELIEVED = 1.0  # seconds; what another process changed is known after that at the latest
MOST_ADDRESSES = 5_000
MOST_DOCUMENTS = 128
RUNNING = FormationStatus.RUNNING.value


@dataclass(frozen=True, slots=True)
class Address:
    """What the way to a formation needs to know. A draft with a home is `running`."""

    slug: str
    home_id: UUID
    status: str
    draft: bool
    generation: int


@dataclass(frozen=True, slots=True)
class Running:
    """A formation as its own API sees it. `document` is shared: nobody changes it.

    `port` is None while it has none. Drafts have no deployed version: theirs is the file's.
    """

    slug: str
    name: str
    home_id: UUID
    version: str
    status: str
    port: int | None
    generation: int
    started_at: datetime | None
    document: Mapping[str, Any]
    multi_user: bool
    draft: bool = False

    @property
    def config(self) -> Mapping[str, Any]:
        """The formation file as it was parsed, with placeholders for secrets."""
        config: Mapping[str, Any] = self.document.get("config") or {}
        return config


_ADDRESS = """SELECT slug, home_id, status, generation FROM formations_formation WHERE slug = %s"""
_DRAFT_ADDRESS = """SELECT slug, home_id, 'running', generation FROM formations_formationdraft
 WHERE slug = %s AND home_id IS NOT NULL"""

_RUNNING = """
SELECT f.slug, f.name, f.status, p.port, f.generation, f.started_at, v.id, v.version
  FROM formations_formation f
  LEFT JOIN formations_formationversion v
    ON v.workspace_id = f.workspace_id AND v.id = f.current_id
  LEFT JOIN formations_formationport p
    ON p.workspace_id = f.workspace_id AND p.formation_id = f.id AND p.purpose = 'live'
 WHERE f.home_id = %s"""
_DOCUMENT = "SELECT document::text FROM formations_formationversion WHERE id = %s"

_DRAFT = """SELECT slug, port, generation, updated_at, id FROM formations_formationdraft
 WHERE home_id = %s"""
_DRAFT_DOCUMENT = """SELECT coalesce(document, '{}'::jsonb)::text FROM formations_formationdraft
 WHERE id = %s AND generation = %s"""

_lock = threading.Lock()
_addresses: dict[tuple[str, bool], tuple[float, Address]] = {}
_documents: OrderedDict[tuple[UUID, int], Mapping[str, Any]] = OrderedDict()


# --- Addresses: for the router --------------------------------------------------------------------


def remembered(slug: str, *, draft: bool = False) -> Address | None:
    """The address, if it was looked up a moment ago. No query: for the loop."""
    known = _addresses.get((slug, draft))
    if known is None or known[0] < time.monotonic():
        return None
    return known[1]


def look_up(slug: str, *, draft: bool = False) -> Address | None:
    """The address as it is now. One query; unknown ones are not remembered."""
    rows = execute(_DRAFT_ADDRESS if draft else _ADDRESS, [slug])
    if not rows:
        forget(slug)
        return None
    name, home_id, status, generation = rows[0]
    found = Address(name, home_id, status, draft, generation)
    with _lock:
        if len(_addresses) >= MOST_ADDRESSES:
            _addresses.clear()
        _addresses[slug, draft] = (time.monotonic() + BELIEVED, found)
    return found


def forget(slug: str | None = None) -> None:
    """Look this formation up anew (None: every one). After the commit of whatever changed it."""
    with _lock:
        if slug is None:
            _addresses.clear()
            return
        for draft in (False, True):
            _addresses.pop((slug, draft), None)


# --- What runs: for whoever answers there ---------------------------------------------------------


def running(home_id: UUID) -> Running:
    """The formation, or else the draft, whose home this is; NotFound. One query, and another for a
    document that this process has not read yet. Whatever its status is.
    """
    rows = execute(_RUNNING, [home_id])
    if not rows:
        return _running_draft(home_id)
    slug, name, status, port, generation, started_at, version_id, version = rows[0]
    document = _document((version_id, 0), _DOCUMENT, [version_id]) if version_id else {}
    return Running(
        slug=slug,
        name=name,
        home_id=home_id,
        version=version or "",
        status=status,
        port=port,
        generation=generation,
        started_at=started_at,
        document=document,
        multi_user=is_multi_user(document),
    )


def _running_draft(home_id: UUID) -> Running:
    rows = execute(_DRAFT, [home_id])
    if not rows:
        raise NotFound("There is no formation here.")
    slug, port, generation, updated_at, draft_id = rows[0]
    document = _document((draft_id, generation), _DRAFT_DOCUMENT, [draft_id, generation])
    config = document.get("config") or {}
    return Running(
        slug=slug,
        name=str(config.get("name") or slug),
        home_id=home_id,
        version=str(config.get("version") or "1.0.0"),
        status=RUNNING,
        port=port,
        generation=generation,
        started_at=updated_at,
        document=document,
        multi_user=is_multi_user(document),
        draft=True,
    )


def _document(key: tuple[UUID, int], statement: str, values: list[Any]) -> Mapping[str, Any]:
    with _lock:
        if key in _documents:
            _documents.move_to_end(key)
            return _documents[key]
    rows = execute(statement, values)
    if not rows:
        raise NotFound("The formation changed in this very moment.")
    document: Mapping[str, Any] = json.loads(rows[0][0])
    with _lock:
        _documents[key] = document
        if len(_documents) > MOST_DOCUMENTS:
            _documents.popitem(last=False)
    return document


def is_multi_user(document: Mapping[str, Any]) -> bool:
    """Whether `X-Muxi-User-ID` tells users apart here (contract/muxi.md §5.1): when the file says so,
    or keeps its memory in PostgreSQL. A connection string out of a secret counts as PostgreSQL's:
    telling users apart is the safe mistake.
    """
    memory = (document.get("config") or {}).get("memory")
    persistent = memory.get("persistent") if isinstance(memory, dict) else None
    if not isinstance(persistent, dict):
        return False
    if isinstance(persistent.get("multi_user"), bool):
        return bool(persistent["multi_user"])
    target = str(persistent.get("connection_string") or "").strip().lower()
    return target.startswith(("postgres", "${{"))
