"""How the console looks and what its sidebar lists. Imported by settings: keep it light."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.templatetags.static import static
from django.urls import reverse_lazy

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest


def _static(path: str) -> Callable[[HttpRequest], str]:
    return lambda _request: static(path)


def _sees(model: str) -> Callable[[HttpRequest], bool]:
    app, name = model.split("_", 1)
    codename = f"{app}.view_{name}"
    return lambda request: request.user.has_perm(codename)


def _item(title: str, icon: str, model: str) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{model}_changelist"),
        "permission": _sees(model),
    }


NAVIGATION = [
    {
        "items": [
            {"title": "Dashboard", "icon": "space_dashboard", "link": reverse_lazy("admin:index")},
        ]
    },
    {
        "title": "Work",
        "separator": True,
        "items": [
            {
                "title": "Board",
                "icon": "view_kanban",
                "link": reverse_lazy("admin:board_choice"),
                "permission": _sees("tasks_task"),
            },
            _item("Missions", "account_tree", "missions_mission"),
            _item("Tasks", "task_alt", "tasks_task"),
            _item("Sessions", "forum", "conversations_session"),
            _item("Runs", "play_circle", "runs_run"),
            _item("Approvals", "how_to_reg", "approvals_approval"),
            _item("Judgements", "grade", "tasks_assessment"),
            _item("Barriers", "fence", "missions_barrier"),
            _item("Schedules", "calendar_clock", "tasks_schedule"),
            _item("Messages", "chat", "conversations_message"),
            _item("Steps", "footprint", "runs_step"),
            _item("Attachments", "attach_file", "conversations_attachment"),
            _item("Requests", "move_to_inbox", "conversations_turnrequest"),
            _item("Webhook deliveries", "webhook", "conversations_webhookdelivery"),
        ],
    },
    {
        "title": "Workspaces",
        "separator": True,
        "items": [
            _item("Workspaces", "workspaces", "workspaces_workspace"),
            _item("Members", "group", "workspaces_member"),
            _item("Tokens", "key", "workspaces_apitoken"),
            _item("Secrets", "lock", "workspaces_secret"),
            _item("Budgets", "savings", "runs_budget"),
        ],
    },
    {
        "title": "Means",
        "separator": True,
        "items": [
            _item("Agents", "smart_toy", "formations_agent"),
            _item("Teams", "groups", "formations_team"),
            _item("MCP servers", "hub", "formations_mcpserver"),
            _item("Tool settings", "build", "formations_toolsetting"),
            _item("Memories", "psychology", "knowledge_memory"),
        ],
    },
    {
        "title": "Platform",
        "separator": True,
        "items": [
            _item("Users", "person", "accounts_user"),
            _item("Groups", "shield_person", "auth_group"),
            _item("Audit log", "history", "accounts_auditentry"),
            _item("Events", "timeline", "events_event"),
            _item("Periodic jobs", "schedule", "django_celery_beat_periodictask"),
        ],
    },
]

# A calm blue instead of unfold's purple; the numbers are Tailwind's `blue`, in OKLCH.
PRIMARY = {
    "50": "oklch(97% .014 254.604)",
    "100": "oklch(93.2% .032 255.585)",
    "200": "oklch(88.2% .059 254.128)",
    "300": "oklch(80.9% .105 251.813)",
    "400": "oklch(70.7% .165 254.624)",
    "500": "oklch(62.3% .214 259.815)",
    "600": "oklch(54.6% .245 262.881)",
    "700": "oklch(48.8% .243 264.376)",
    "800": "oklch(42.4% .199 265.638)",
    "900": "oklch(37.9% .146 265.522)",
    "950": "oklch(28.2% .091 267.935)",
}

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Polymux",
    "SITE_HEADER": "Polymux",
    "SITE_SUBHEADER": "Operator console",
    "SITE_SYMBOL": "lan",
    "SITE_URL": None,
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": _static("console/polymux.svg")},
    ],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "ENVIRONMENT": "apps.console.dashboard.environment",
    "DASHBOARD_CALLBACK": "apps.console.dashboard.add_dashboard",
    "STYLES": [_static("console/console.css")],
    "COLORS": {"primary": PRIMARY},
    "COMMAND": {
        "search_models": False,  # unfold's own search reads every matching row
        "search_callback": "apps.console.find.find_rows",
        "show_history": True,
    },
    "SIDEBAR": {
        "show_search": True,
        "command_search": True,
        "show_all_applications": False,
        "navigation": NAVIGATION,
    },
}
