"""Who may know whom: the import contracts, and the doors between apps (design §3)."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from functools import cache

import pytest

from tests.house.source import ROOT, Module, modules

OPEN_TO_ALL = {"core", "engine"}  # no tables: everything in them is for everybody above
DOORS = {"services", "selectors", "events", "errors"}
# Further doors, each with its reason. A new one is a decision: prefer a verb in services.
ALSO_OPEN = {
    "accounts.audit": "the record of changes, written by every service",
    "accounts.backends": "Django names it in the settings; the console logs operators in with it",
    "accounts.operating": "the frame of the operator's commands",
    "workspaces.operating": "the same, for commands inside one workspace",
    "workspaces.credentials": "from a credential to an actor: what every surface proves with",
    "workspaces.vault": "secrets in the clear, for whoever uses them: providers' keys",
    "workspaces.preferences": "the typed reading of a workspace's settings",
    "workspaces.keeping": "what refers to secrets stands above, and holds them while it does",
    "workspaces.asking": "a tool that acts as the person who asked",
    "surfaces.kit": "the kit: for everybody who answers a client",
    "surfaces.muxi_server": "the command line's client signs as the surface checks",
    "surfaces.muxi_formation": "what that surface calls an error: a webhook says it, too",
    "surfaces.idempotency": "turns are carried on the loop, where no view claims their keys",
    "surfaces.parsing": "strict JSON, read before any view would",
    "formations.api": "the base of a formation's views",
    "formations.bundles": "plain Python: a trigger's template is filled in",
    "formations.end_users": "whose request it is, on the loop as in views",
    "surfaces.openai": "errors of the chat surface are decided before a stream begins",
    "conversations.chat": "which model and tools an agent has: every kind of run chooses alike",
    "events.frames": "token frames are ephemeral: the carrier of a turn writes them itself",
    "events.socket": "the base of every live room",
    "events.http": "the base of every streaming route",
    "events.logs": "an app contributes logs of its own to a surface's list",
    "events.words": "an app says itself how a surface's feeds call its facts",
    "formations.toolbox": "the ToolBox port over a workspace's tools",
    "conversations.tools": "a mission is checked before a person is shown it",
    "formations.limits": "plain values: what one formation may take",
    "formations.registry": "which formation is at an address, and what runs in a home",
    "formations.configured": "plain values: a formation's file, in the answers of apps above",
    "formations.described": "agents and MCP servers as a formation's file writes them",
    "formations.profile": "agents and teams as documents write them: a project's state holds them",
    "runs.wire": "what agents are doing, as a project's state holds it",
    "surfaces.polpo": "how that surface writes JSON: a list is kept as it was written",
    "tasks.fields": "one reading of moments for tasks and missions",
    "tasks.orchestrator": "a task as one line, for the orchestrator's tools on missions",
    "tasks.prompt": "missions say what a task is part of",
    "tasks.reviewing": "further work of a model on a task",
    "tasks.schedules": "what is done when a schedule is due",
    "tasks.api": "how tasks look in the documents of missions' answers",
    "tasks.wire": "tasks stand in the answers of missions",
    "tasks.spec": "plain values: what a task is measured by, read the same way in a mission's document",
    "formations.validation": "whether a value fits a JSON schema; knows no table",
    "formations.policy": "which tools may be used without asking: a review has nobody to ask",
    "workspaces.files": "where the workspace's folder is",
    "runs.budgets": "reserve and settle run inside the transaction of their caller",
    "runs.holding": "the lease in hand, passed from verb to verb",
    "runs.journal": "the Journal port over a held run",
    "runs.kinds": "each kind of run registers who carries it",
    "runs.runner": "a turn may be carried in the process that was asked for it",
}
# Another app's model may be read or linked below the edge; a view, a stream, a fact or a tool gets rows
# from a selector only.
NO_FOREIGN_MODELS = {"api", "live", "events", "errors", "tools", "jobs"}
KITS = {"surfaces", "events"}


@cache
def foreign_imports(module: Module) -> list[tuple[ast.stmt, str, str]]:
    """(node, app, room) for each import of another app's module."""
    found = []
    for node in module.at_runtime():
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module.count(".") == 1:  # from apps.runs import services
                names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = [*name.split("."), "", ""]
            if parts[0] == "apps" and parts[1] not in {"", module.app}:
                found.append((node, parts[1], parts[2]))
    return found


def may_pass(module: Module, app: str, room: str) -> bool:
    if app in OPEN_TO_ALL or room in DOORS or f"{app}.{room}" in ALSO_OPEN:
        return True
    if room == "models":
        return module.room not in NO_FOREIGN_MODELS
    if app == "console":
        return module.room == "admin"
    return app in KITS and module.room in {"api", "live", "apps", "jobs"}


def test_apps_meet_at_their_doors():
    through_the_wall = [
        f"{module.at(node)} imports apps.{app}.{room}"
        for module in modules()
        if module.app
        for node, app, room in foreign_imports(module)
        if not may_pass(module, app, room)
    ]
    assert not through_the_wall, "\n".join(through_the_wall)


def test_every_further_door_is_used():
    used = {f"{app}.{room}" for module in modules() for _, app, room in foreign_imports(module)}
    assert not set(ALSO_OPEN) - used


def test_views_import_no_models_of_others():
    guilty = [
        f"{module.at(node)} imports apps.{app}.models"
        for module in modules()
        if module.room in {"api", "live"}
        for node, app, room in foreign_imports(module)
        if room == "models"
    ]
    assert not guilty, "\n".join(guilty)


def test_the_import_contracts_hold():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from importlinter.cli import lint_imports_command as run; sys.exit(run())",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_every_app_stands_in_the_stack():
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    named = contracts["importlinter:contract:stack"]["layers"]
    missing = {f"apps.{m.app}" for m in modules() if m.app} - set(
        named.replace("|", " ").replace(":", " ").split()
    )
    assert not missing, "an app outside the stack may import anything"


HEAVY = [
    "twisted",
    "daphne",
    "openai",
    "pydantic_ai",
    "onnxruntime",
    "xllamacpp",
    "mcp",
    "anthropic",
    "google.genai",
    "boto3",
    "tokenizers",
]


@pytest.mark.parametrize("start", ["polymux.asgi", "polymux.wsgi", "polymux.celery"])
def test_starting_loads_nothing_heavy(start):
    code = (
        f"import importlib, sys; importlib.import_module({start!r});"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().splitlines()[-1] == "[]"
