"""The dashboard: cards and charts from at most 14 queries, kept 5 seconds per process."""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.urls import reverse

from apps.console import counts, show

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.http import HttpRequest

KEEP_SECONDS = 5.0
MODELS = 12
PULSE_SECONDS = 90.0
log = logging.getLogger(__name__)
_lock = threading.Lock()
_kept: tuple[float, dict[str, Any]] | None = None

STATUS_COLOURS = {
    "succeeded": "#16a34a",
    "failed": "#dc2626",
    "running": "#2563eb",
    "waiting": "#d97706",
    "queued": "#64748b",
    "cancelled": "#94a3b8",
}
_AXES = {
    "animation": False,
    "maintainAspectRatio": False,
    "interaction": {"mode": "index", "intersect": False},
    "plugins": {
        "legend": {
            "display": True,
            "position": "bottom",
            "labels": {"boxWidth": 10, "color": "#94a3b8"},
        }
    },
}


@dataclass(frozen=True, slots=True)
class Card:
    """One figure. `tone` colours it: good, warn, bad or nothing."""

    title: str
    value: str
    note: str
    url: str
    icon: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """What unfold's Chart.js loader reads; `words` say the same to who cannot see it."""

    title: str
    kind: str
    data: str
    options: str
    words: str


def add_dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The DASHBOARD_CALLBACK of unfold. Figures span workspaces: they need the right to see runs."""
    context |= {"version": settings.VERSION, "title": "Dashboard"}
    if request.user.has_perm("runs.view_run"):
        context |= figures()
    return context


def environment(_request: HttpRequest) -> list[str]:
    return [f"v{settings.VERSION}", "info"]


def figures() -> dict[str, Any]:
    """The dashboard's data, at most 5 seconds old."""
    global _kept  # noqa: PLW0603
    with _lock:  # one thread counts, the others wait for its answer
        if _kept is None or time.monotonic() - _kept[0] > KEEP_SECONDS:
            _kept = (time.monotonic(), _count())
        return _kept[1]


def forget_figures() -> None:
    """Count anew at the next request."""
    global _kept  # noqa: PLW0603
    with _lock:
        _kept = None


def _count() -> dict[str, Any]:
    now = counts.now()
    by_status, latest_sessions = counts.live_sessions()
    hours = counts.runs_per_hour(now)
    days = counts.spending_per_day(now)
    queue = counts.queue_now(now)
    beat = counts.last_heartbeat()
    return {
        "cards": [
            _sessions_card(by_status),
            _tasks_card(counts.tasks_by_status(now)),
            _missions_card(counts.running_missions()),
            _runs_card(hours, queue),
            _errors_card(hours),
            _cost_card(days, now),
            _queue_card(queue),
            _approvals_card(counts.pending_approvals()),
        ],
        "charts": [_runs_chart(hours, now), _tokens_chart(days, now), _cost_chart(days, now)],
        "latest_sessions": latest_sessions,
        "latest_errors": counts.latest_errors(now),
        "dearest": _dearest(now),
        "workers": _workers(queue, beat, now),
        "model": describe_model(),
        "counted_at": now,
    }


def _sessions_card(by_status: dict[str, int]) -> Card:
    words = ", ".join(f"{count} {status}" for status, count in sorted(by_status.items()))
    url = show.list_url("conversations_session")
    return Card(
        "Active sessions", f"{sum(by_status.values()):,}", words or "none open", url, "forum"
    )


def _tasks_card(states: dict[str, int]) -> Card:
    """What is at work; in words what waits, and how today's have ended."""
    at_work = sum(states.get(status, 0) for status in ("assigned", "in_progress", "review"))
    waits = f"{states.get('ready', 0):,} ready, {states.get('blocked', 0):,} waiting"
    ended = f"24 h: {states.get('done', 0):,} done, {states.get('failed', 0):,} failed"
    url = reverse("admin:board_choice")
    return Card("Tasks at work", f"{at_work:,}", f"{waits}; {ended}", url, "task_alt")


def _missions_card(states: dict[str, int]) -> Card:
    paused = states.get("paused", 0)
    note = f"{states.get('active', 0):,} active, {paused:,} paused"
    url = show.list_url("missions_mission", o="-7")
    tone = "warn" if paused else ""
    return Card("Missions", f"{sum(states.values()):,}", note, url, "account_tree", tone)


def _runs_card(hours: list[tuple[datetime, str, int]], queue: counts.Queue) -> Card:
    total = sum(count for _, _, count in hours)
    note = f"{queue.running} running, {queue.waiting} waiting"
    return Card(
        "Runs, 24 h", f"{total:,}", note, show.list_url("runs_run", age="24h"), "play_circle"
    )


def _errors_card(hours: list[tuple[datetime, str, int]]) -> Card:
    failed = sum(count for _, status, count in hours if status == "failed")
    ended = sum(
        count for _, status, count in hours if status in {"failed", "succeeded", "cancelled"}
    )
    rate = failed / ended if ended else 0.0
    tone = "bad" if rate > 0.1 else "warn" if failed else "good"
    url = show.list_url("runs_run", status__exact="failed", age="24h")
    return Card(
        "Error rate, 24 h", f"{rate:.1%}", f"{failed:,} of {ended:,} failed", url, "error", tone
    )


def _cost_card(days: list[tuple[datetime, int, int]], now: datetime) -> Card:
    today = sum(cost or 0 for day, _, cost in days if day.date() == now.date())
    total = sum(cost or 0 for _, _, cost in days)
    note = f"{show.usd(total)} in {counts.DAYS} days"
    return Card("Cost today", show.usd(today), note, show.list_url("runs_run", o="-9"), "payments")


def _queue_card(queue: counts.Queue) -> Card:
    late = queue.oldest is not None and queue.oldest > 30
    note = f"oldest waits {show.duration(queue.oldest)}" if queue.queued else "nothing waits"
    url = show.list_url("runs_run", status__exact="queued")
    return Card("Queue", f"{queue.queued:,}", note, url, "inbox", "warn" if late else "good")


def _approvals_card(pending: int) -> Card:
    url = show.list_url("approvals_approval", status__exact="pending")
    note = "runs rest until somebody decides" if pending else "nobody waits for you"
    return Card("Approvals", f"{pending:,}", note, url, "how_to_reg", "warn" if pending else "good")


def _workers(queue: counts.Queue, beat: datetime | None, now: datetime) -> dict[str, Any]:
    silent = (now - beat).total_seconds() if beat else None
    return {
        "holders": queue.holders,
        "running": queue.running,
        "lapsed": queue.lapsed,
        "beat": show.duration(silent) if silent is not None else "",
        "healthy": silent is not None and silent < PULSE_SECONDS and not queue.lapsed,
    }


def _dearest(now: datetime) -> list[dict[str, Any]]:
    return [
        {
            "name": row["workspace__name"],
            "url": show.change_url("workspaces_workspace", row["workspace_id"]),
            "cost": show.usd(row["cost"]),
            "tokens": show.compact(row["tokens"]),
            "runs": show.compact(row["runs"]),
        }
        for row in counts.dearest_workspaces(now)
    ]


def describe_model() -> dict[str, Any]:
    """`lines`: the default model and why, then what is not set up; `ready`: what could be named."""
    try:
        from apps.engine import choice

        lines = choice.describe()
        ready = [entry["label"] for entry in choice.catalog() if entry["ready"]]
        return {"lines": lines, "ready": ready[:MODELS]}
    except Exception:  # a provider's probe may fail in any way; the dashboard says so and goes on
        log.exception("the engine could not describe its choice of model")
        return {}


def _runs_chart(hours: list[tuple[datetime, str, int]], now: datetime) -> Chart:
    first = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=counts.HOURS - 1)
    slots = [first + timedelta(hours=step) for step in range(counts.HOURS)]
    by_slot = {(hour, status): count for hour, status, count in hours}
    datasets = [
        {
            "label": status,
            "data": [by_slot.get((slot, status), 0) for slot in slots],
            "backgroundColor": colour,
            "borderRadius": 2,
        }
        for status, colour in STATUS_COLOURS.items()
        if any(known == status for _, known in by_slot)
    ]
    total = sum(by_slot.values())
    return _chart(
        "Runs per hour", "bar", [f"{slot:%H}:00" for slot in slots], datasets,
        f"{total} runs in the last 24 hours", stacked=True,
    )  # fmt: skip


def _tokens_chart(days: list[tuple[datetime, int, int]], now: datetime) -> Chart:
    labels, values = _by_day(((day, tokens) for day, tokens, _ in days), now)
    data = {"label": "tokens", "data": values, "backgroundColor": "#2563eb", "borderRadius": 2}
    words = f"{sum(values)} tokens in {counts.DAYS} days"
    return _chart("Tokens per day", "bar", labels, [data], words)


def _cost_chart(days: list[tuple[datetime, int, int]], now: datetime) -> Chart:
    labels, values = _by_day(((day, cost) for day, _, cost in days), now)
    data = {
        "label": "USD",
        "data": [round(value / 1_000_000, 6) for value in values],
        "borderColor": "#0d9488",
        "backgroundColor": "#0d9488",
        "tension": 0.2,
    }
    return _chart(
        "Cost per day", "line", labels, [data], f"{show.usd(sum(values))} in {counts.DAYS} days"
    )


def _by_day(
    pairs: Iterable[tuple[datetime, int | None]], now: datetime
) -> tuple[list[str], list[int]]:
    values = {day.date(): amount or 0 for day, amount in pairs}
    dates = [now.date() - timedelta(days=back) for back in reversed(range(counts.DAYS))]
    return [f"{date:%d %b}" for date in dates], [int(values.get(date, 0)) for date in dates]


def _chart(
    title: str,
    kind: str,
    labels: list[str],
    datasets: list[dict[str, Any]],
    words: str,
    *,
    stacked: bool = False,
) -> Chart:
    ticks = {"color": "#94a3b8", "maxTicksLimit": 8, "maxRotation": 0}
    scales = {
        "x": {"stacked": stacked, "grid": {"display": False}, "ticks": ticks},
        "y": {
            "stacked": stacked,
            "beginAtZero": True,
            "ticks": ticks | {"precision": 0 if stacked else None},
        },
    }
    options = _AXES | {"scales": scales}
    data = {"labels": labels, "datasets": datasets}
    return Chart(title, kind, json.dumps(data), json.dumps(options), words)
