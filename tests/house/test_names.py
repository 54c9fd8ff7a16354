"""Names say what a thing does: no drawers, no `process_data`."""

from __future__ import annotations

import re

from tests.house.source import ROOT, modules, modules_of_tests

DRAWERS = {"utils", "util", "helpers", "helper", "manager", "managers", "misc", "common"}
VAGUE = re.compile(r"^_?(process|do|perform)_(data|it|stuff|request|item|thing)s?$|^_?handle_data$")
VERBLESS = re.compile(r"^_?(process|handle)(_|$)")
# Names given to us by a base class or protocol.
GIVEN = {"process_request", "process_response", "process_view", "process_exception"}
GIVEN |= {"process_exited", "handle", "handle_exception", "handle_async_request", "_handle"}
GIVEN |= {"handle_starttag", "handle_endtag", "handle_data"}

MIGRATION = re.compile(r"^\d{4}_[a-z][a-z0-9_]+\.py$")


def test_no_module_is_a_drawer():
    drawers = [
        str(m.path) for m in modules() if m.path.stem in DRAWERS or m.path.parent.name in DRAWERS
    ]
    assert not drawers


def test_functions_are_named_by_what_they_do():
    vague = [
        f"{module.at(node)} {node.name}"
        for module in modules()
        for node in module.functions()
        if (VERBLESS.match(node.name) or VAGUE.match(node.name)) and node.name not in GIVEN
    ]
    assert not vague, "\n".join(vague)


def test_tests_are_sentences():
    """`test_success` and `test_task_1` say nothing when they fail."""
    mute = [
        f"{module.at(node)} {node.name}"
        for module in modules_of_tests()
        for node in module.functions()
        if node.name.startswith("test_")
        and (len(node.name.split("_")) < 3 or node.name[-1].isdigit())
        and not re.search(r"_[a-z]*\d+$", node.name.replace("test_", "", 1))
    ]
    assert not mute, "\n".join(mute)


def test_migrations_are_named_by_what_they_do():
    names = [path for path in (ROOT / "apps").glob("*/migrations/*.py") if path.stem != "__init__"]
    bad = [str(path) for path in names if not MIGRATION.match(path.name) or "_auto_" in path.name]
    assert names
    assert not bad


def test_migrations_import_no_models():
    """A migration that imports today's models breaks when they change."""
    bad = [
        str(path)
        for path in (ROOT / "apps").glob("*/migrations/*.py")
        if re.search(
            r"^from apps\.\w+\.models import|^import apps\.\w+\.models",
            path.read_text(),
            re.MULTILINE,
        )
    ]
    assert not bad
