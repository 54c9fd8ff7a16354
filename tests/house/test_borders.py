"""Who may know whom: the import contracts, and the doors between apps (design §3)."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys

import pytest

from tests.house.source import ROOT, Module, modules

OPEN_TO_ALL = {"core", "engine"}  # no tables: everything in them is for everybody above
DOORS = {"services", "selectors", "events", "errors"}
# Rooms that may hold another app's model: a foreign key, a typed read, an operator's page, a test.
MAY_READ_MODELS = {"models", "services", "selectors", "admin"}
# Rooms that the kit and the live feed open to every app's doors.
KITS = {"surfaces", "events"}
FOR_EVERYBODY = {("accounts", "models"), ("workspaces", "models")}  # the cast of every foreign key


def foreign_imports(module: Module) -> list[tuple[ast.stmt, str, str]]:
    """(node, app, room) for each import of another app's module."""
    found = []
    for node in ast.walk(module.tree):
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
    if app in OPEN_TO_ALL or room in DOORS:
        return True
    if room == "models":
        return module.room in MAY_READ_MODELS or module.app == "console"
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
