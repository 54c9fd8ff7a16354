"""What has leaked or hurt before, here or in a neighbour's house (style §5, §6)."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.house.source import Module, dotted, modules, modules_of_tests

# The honest name for "whoever's rows": core, events, admin, and the sweepers below, by name.
UNSCOPED_ROOMS = {"admin"}
UNSCOPED_APPS = {"core", "events", "console"}
UNSCOPED_SWEEPERS = {
    "apps.approvals.sweeper.expire_overdue": "asks all workspaces for overdue requests, acts in each",
    "apps.conversations.selectors.active_sessions": "a credential's sessions, in whatever workspace",
    "apps.conversations.services.requests.forget_requests": "old requests, in whatever workspace",
    "apps.conversations.services.sessions.end_idle_sessions": "looks for idle sessions everywhere",
    "apps.conversations.services.sessions._end_if_idle": "locks one that the sweep has found",
    "apps.formations.services.deploying.check_new": "ids are taken once on an installation",
    "apps.formations.services.ports.free_port": "ports are the installation's: whose, it does not say",
    "apps.formations.selectors.port_pool": "how full the installation's ports are, no more",
}
# SQL put together from constants and placeholders, never from input.
ASSEMBLED = {
    "apps.core.rows": "column names of our models, and as many %s as there are values",
    "apps.events.services": "as many rows of %s as there are facts",
}

TEXT_BANS = {
    r"\bget_object_or_404\b": "asks the default manager: use a selector, which takes an Actor",
    r"\bModelSerializer\b": "its relation and unique checks look into other tenants",
    r"\bdatetime\.utcnow\b": "naive: use apps.core.clock.now",
    r"\bverify\s*=\s*False\b": "TLS is verified everywhere",
    r"\bshell\s*=\s*True\b": "give the arguments as a list",
    r"\byaml\.load\(": "use yaml.safe_load",
    r"\bmark_safe\(": "use format_html",
    r"\.extra\(": "raw SQL by the back door",
    r"\b(eval|exec)\(": "runs text",
    r"\bos\.system\(": "give the arguments as a list to subprocess",
    r"\.delay\(|\.apply_async\(": "enqueue by name after the commit: apps.core.queue.enqueue",
    r"CERT_NONE": "TLS is verified everywhere",
    r"\bcsrf_exempt\b": "only the surfaces' kit decides that",
}
ALLOWED_TEXT = {("apps.surfaces", r"\bcsrf_exempt\b")}


@cache  # each of the bans below asks for every module
def code_without_strings(module: Module) -> str:
    """The source with comments and docstrings blanked, so that prose may name what is banned."""
    lines = list(module.lines)
    for node in module.nodes:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            for number in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[number] = ""
    return "\n".join(re.sub(r"\s#.*$", "", line) for line in lines)


@pytest.mark.parametrize("pattern", TEXT_BANS, ids=lambda p: p.strip("\\b"))
def test_nobody_uses_what_is_banned(pattern):
    found = [
        module.name
        for module in modules()
        if re.search(pattern, code_without_strings(module))
        and not any(module.name.startswith(a) and pattern == p for a, p in ALLOWED_TEXT)
    ]
    assert not found, f"{TEXT_BANS[pattern]}: {found}"


WAYS_AROUND = {"unscoped", "_base_manager"}


def has_unscoped(node: ast.AST) -> bool:
    return any(
        isinstance(part, ast.Attribute) and part.attr in WAYS_AROUND for part in ast.walk(node)
    )


@cache
def unscoped_places() -> frozenset[str]:
    """Dotted names of the functions (or modules) outside the open rooms that use `unscoped`."""
    found = set()
    for module in modules():
        if module.app in UNSCOPED_APPS or module.room in UNSCOPED_ROOMS:
            continue
        if not any(way in module.text for way in WAYS_AROUND):
            continue
        inside = [node for node in module.functions() if has_unscoped(node)]
        found |= {f"{module.name}.{node.name}" for node in inside}
        if not inside and has_unscoped(module.tree):
            found.add(module.name)
    return frozenset(found)


def test_unscoped_stays_where_it_is_allowed():
    strays = unscoped_places() - set(UNSCOPED_SWEEPERS)
    assert not strays, "ask in_workspace(...), or name the sweeper here with its reason"


def test_every_named_sweeper_still_needs_its_permission():
    assert not set(UNSCOPED_SWEEPERS) - unscoped_places()


def test_sql_is_never_put_together_from_text():
    found = [
        module.at(node)
        for module in modules()
        for node in module.nodes
        if isinstance(node, ast.Call)
        and dotted(node.func).split(".")[-1] in {"execute", "executemany", "raw", "RawSQL"}
        and node.args
        and is_assembled(node.args[0])
        and module.name not in ASSEMBLED
    ]
    assert not found, "pass parameters, or psycopg.sql for names:\n" + "\n".join(found)


def is_assembled(argument: ast.expr) -> bool:
    if isinstance(argument, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in argument.values)
    if isinstance(argument, ast.BinOp):
        return True
    text = ast.unparse(argument)
    return isinstance(argument, ast.Call) and ".format(" in text and not text.startswith("sql.SQL(")


def test_query_counts_are_asserted_with_with():
    """`assertNumQueries(9)` without `with` passes whatever happens."""
    found = [
        module.at(node)
        for module in modules_of_tests()
        for node in module.nodes
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and dotted(node.value.func).split(".")[-1]
        in {
            "assertNumQueries",
            "django_assert_num_queries",
            "django_assert_max_num_queries",
            "count_queries",
        }
        and len(node.value.args) == 1
    ]
    assert not found


def test_secrets_are_compared_in_constant_time():
    names = re.compile(r"(digest|signature|secret|mac|token|password)$")
    found = [
        module.at(node)
        for module in modules()
        for node in module.nodes
        if isinstance(node, ast.Compare)
        and isinstance(node.ops[0], ast.Eq | ast.NotEq)
        and all(names.search(dotted(side) or "-") for side in (node.left, node.comparators[0]))
    ]
    assert not found, "use hmac.compare_digest:\n" + "\n".join(found)
