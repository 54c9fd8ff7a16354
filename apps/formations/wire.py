"""Formations as the muxi-server surface writes them (contract/muxi.md §3.3-3.7)."""

from __future__ import annotations

import os
import platform
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from django.conf import settings

from apps.core.clock import now, rfc3339, uptime
from apps.formations.models import FormationStatus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from apps.formations.models import Formation, FormationDraft, ServerCall
    from apps.formations.selectors import Ports
    from apps.formations.services import Outcome, Stage

UNHEALTHY = frozenset({FormationStatus.CRASHED, FormationStatus.STOPPED})


# --- Reading ----------------------------------------------------------------------------------------


def shown(formation: Formation) -> dict[str, Any]:
    """An item of the list. `pid` is the process that answers: a formation has none of its own."""
    current, previous = formation.current, formation.previous
    running = formation.status == FormationStatus.RUNNING
    started = formation.started_at
    return {
        "id": formation.slug,
        "name": formation.name,
        "port": getattr(formation, "live_port", None) or 0,
        "status": formation.status,
        "pid": os.getpid() if running else 0,
        "uptime": int((now() - started).total_seconds()) if running and started else 0,
        "restart_count": formation.restarts,
        "healthy": None if formation.status == FormationStatus.STARTING else running,
        "version": {
            "current": current.bundle_hash if current else "",
            "previous": previous.bundle_hash if previous else "",
            "semantic": current.version if current else "",
        },
    }


def shown_whole(formation: Formation) -> dict[str, Any]:
    """One formation, with its times."""
    return shown(formation) | {
        "created_at": rfc3339(formation.created_at),
        "deployed_at": rfc3339(formation.deployed_at),
        "updated_at": rfc3339(formation.updated_at),
    }


def shown_log(slug: str, log: Mapping[str, list[str]], stream: str) -> dict[str, Any]:
    """`logs` and `total_lines` by stream; `lines` and `stream` as the command line client reads them."""
    kept = {name: lines if stream in {"all", name} else [] for name, lines in log.items()}
    return {
        "formation_id": slug,
        "logs": kept,
        "total_lines": {name: len(lines) for name, lines in kept.items()},
        "lines": sorted(line for lines in kept.values() for line in lines),
        "stream": stream,
    }


def shown_call(call: ServerCall) -> dict[str, Any]:
    """A line of `/rpc/server/logs`."""
    return {
        "time": rfc3339(call.at),
        "level": "error" if call.status >= 500 else "warn" if call.status >= 400 else "info",
        "message": f"{call.method} {call.path}",
        "method": call.method,
        "path": call.path,
        "remote_addr": call.ip,
        "status": call.status,
        "duration_ms": call.milliseconds,
    }


def server_status(
    counts: Mapping[str, int], ports: Ports, *, home: UUID, port: int
) -> dict[str, Any]:
    """What `/rpc/server/status` tells, with the names of the command line client beside upstream's."""
    running = counts.get(FormationStatus.RUNNING, 0)
    free = ports.total - ports.allocated
    return {
        "server": {
            "id": server_id(home),
            "server_id": server_id(home),
            "version": settings.VERSION,
            "uptime": uptime(),
            "port": port,
        },
        "formations": {
            "total": sum(counts.values()),
            "running": running,
            "healthy": running,
            "stopped": counts.get(FormationStatus.STOPPED, 0),
            "crashed": counts.get(FormationStatus.CRASHED, 0),
        },
        "port_pool": {"total": ports.total, "available": free, "allocated": ports.allocated},
        "ports": {
            "allocated": ports.allocated,
            "available": free,
            "range": f"{ports.low}-{ports.high}",
        },
        "runtime": {
            "goroutines": threading.active_count(),
            "go_version": f"python{platform.python_version()}",
            "type": "built-in",
            "platform": f"{platform.system().lower()}/{platform.machine()}",
            "versions": [settings.VERSION],
        },
    }


@cache
def server_id(home: UUID) -> str:
    """`server-<host>-<8 hex>` (contract §3.12), the same for as long as the workspace is."""
    host = "".join(char for char in platform.node().lower() if char.isalnum() or char == "-")
    return f"server-{host[:16].strip('-') or 'host'}-{home.hex[-8:]}"


# --- What an operation answers ----------------------------------------------------------------------


def deployed(outcome: Outcome, base: str) -> dict[str, Any]:
    slug = outcome.formation.slug
    return {
        "formation_id": slug,
        "port": outcome.port,
        "status": outcome.formation.status,
        "url": f"{base}/api/{slug}",
        "health_url": f"http://localhost:{outcome.port}/v1/health",
        "pid": os.getpid(),
    } | keys_shown(outcome.keys)


def updated(outcome: Outcome, _base: str) -> dict[str, Any]:
    return _with_versions(outcome, "Formation updated") | {
        "port": outcome.port,
        "deployment_type": "blue-green",
    }


def rolled_back(outcome: Outcome, _base: str) -> dict[str, Any]:
    return _with_versions(outcome, "Formation rolled back")


def started(outcome: Outcome, _base: str) -> dict[str, Any]:
    return {
        "id": outcome.formation.slug,
        "status": outcome.formation.status,
        "message": "Formation started",
        "port": outcome.port,
    }


def restarted(outcome: Outcome, base: str) -> dict[str, Any]:
    return started(outcome, base) | {
        "message": "Formation restarted",
        "restart_count": outcome.formation.restarts,
    }


def stage_told(stage: Stage) -> dict[str, Any]:
    """The data of a `progress` event."""
    optional = {"progress": stage.progress, "staging_port": stage.staging_port}
    given = {name: value for name, value in optional.items() if value is not None}
    return {"stage": stage.stage, "message": stage.message, **given}


def completed(outcome: Outcome, base: str) -> dict[str, Any]:
    """The data of the `complete` event, of every operation."""
    told = deployed(outcome, base) | {
        "new_version": outcome.version,
        "restart_count": outcome.formation.restarts,
    }
    if outcome.previous_number:
        told["previous_version"] = outcome.previous_version
    return told


def keys_shown(keys: Mapping[str, str]) -> dict[str, Any]:
    """Keys that were made now, once; nothing where the bundle brought them."""
    return {"api_keys": dict(keys)} if keys else {}


def _with_versions(outcome: Outcome, message: str) -> dict[str, Any]:
    return {
        "id": outcome.formation.slug,
        "status": outcome.formation.status,
        "version": outcome.number,
        "previous_version": outcome.previous_number,
        "pid": os.getpid(),
        "message": message,
    } | keys_shown(outcome.keys)


# --- Drafts -----------------------------------------------------------------------------------------


def standing(draft: FormationDraft | None, live: Formation | None) -> dict[str, Any]:
    """`draft` and `live`, as every answer about drafts ends (contract §3.8)."""
    told: dict[str, Any] = {"exists": draft is not None}
    if draft is not None:
        told |= {"base_version": draft.base_version, "created_at": rfc3339(draft.created_at)}
    current = live.current if live else None
    served = {"version": current.version, "status": live.status} if live and current else {}
    return {"draft": told, "live": served}


def entries_below(files: list[tuple[str, int]], folder: str) -> list[dict[str, Any]]:
    """`{name, type, size?}` of what lies directly in a folder; folders first, their names end with `/`."""
    prefix = f"{folder}/" if folder else ""
    below = [(path.removeprefix(prefix), size) for path, size in files if path.startswith(prefix)]
    folders = sorted({path.split("/", 1)[0] for path, _ in below if "/" in path})
    return [
        *({"name": f"{name}/", "type": "dir"} for name in folders),
        *({"name": path, "type": "file", "size": size} for path, size in below if "/" not in path),
    ]
