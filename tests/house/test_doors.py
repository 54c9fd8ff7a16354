"""Name the actor first: every public service and selector says who asks (style §8.1)."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from importlib import import_module

import pytest
from django.conf import settings

from apps.core.errors import DomainError, Kind
from tests.house.source import Function, Module, dotted, in_room, modules

# Who may do without an actor, and why. Sweepers act for the platform on all workspaces.
WITHOUT_ACTOR = {
    "apps.accounts.selectors.find_user_by_email": "before anybody has logged in",
    "apps.accounts.selectors.login_caller": "makes the caller",
    "apps.accounts.selectors.operator_caller": "makes the caller",
    "apps.accounts.selectors.system_caller": "makes the caller",
    "apps.accounts.services.create_operator": "the first start: nobody exists who could call",
    "apps.approvals.services.lock_with": "registers at start what is locked before a request",
    "apps.conversations.selectors.active_sessions": "counts a credential's sessions everywhere",
    "apps.conversations.selectors.messages_by_id": "the live feed: whose, was asked at the door",
    "apps.conversations.selectors.recent_messages": "the engine's reading of a run it holds",
    "apps.conversations.services.requests.forget_requests": "sweeper",
    "apps.conversations.services.sessions.end_idle_sessions": "sweeper",
    "apps.formations.services.calls.forget_old_calls": "sweeper",
    "apps.conversations.services.webhooks.due_webhooks": "sweeper",
    "apps.missions.services.advancing.wake_due": "sweeper",
    "apps.tasks.services.scheduling.fire_due": "the tick: it fires in every workspace",
    "apps.runs.selectors.journal_of": "the engine's reading of a run it holds",
    "apps.runs.services.claim_run": "a worker: it gets the run's own actor by claiming",
    "apps.runs.services.keep_leases": "a worker, for the runs it holds",
    "apps.runs.services.lock_run": "its callers, the verbs on a run, ask the actor",
    "apps.runs.services.hold_of": "pure: a run's row as what a worker holds",
    "apps.runs.services.wake_next": "a worker, after a turn",
    "apps.runs.services.sweep_leases": "sweeper",
    "apps.runs.services.hand_back": "a worker, for the runs it holds",
    "apps.runs.services.left_queued": "sweeper",
    "apps.tasks.services.attempts.lock_attempt": "a worker, for the run it holds",
    "apps.tasks.services.attempts.result_of": "pure: a run's end as a task's result",
    "apps.tasks.services.blocking.lock_subject": "called before a request is decided, by who decides",
    "apps.tasks.services.reviewing.on_review": "registers at start who reviews results",
    "apps.tasks.services.steering.fresh_start": "pure: what a task begun anew forgets",
    "apps.workspaces.selectors.token_limits": "before the actor is known: the door counts first",
}
# The console's figures are about all workspaces; its pages stand behind the operators' login.
OPERATORS = {"apps.console.selectors"}

SHARED_CODES = {
    "model_not_found": "OpenAI's own code: unknown to us, or to the provider behind us",
}

FIRST = re.compile(r"^(Actor|Caller)(\s*\|\s*(Actor|Caller|None))?$")


def public_functions(module: Module) -> list[Function]:
    return [
        node
        for node in module.tree.body
        if isinstance(node, Function) and not node.name.startswith("_")
    ]


def first_annotation(node: Function) -> str:
    arguments = [*node.args.posonlyargs, *node.args.args]
    if not arguments or arguments[0].annotation is None:
        return ""
    return ast.unparse(arguments[0].annotation).strip("'\"")


def test_every_service_and_selector_takes_an_actor_first():
    anonymous = [
        f"{module.name}.{node.name}"
        for module in in_room("services", "selectors")
        if module.name not in OPERATORS
        for node in public_functions(module)
        if not FIRST.match(first_annotation(node))
        and f"{module.name}.{node.name}" not in WITHOUT_ACTOR
    ]
    assert not anonymous, "name the actor first, or name the exception and its reason here:\n" + (
        "\n".join(anonymous)
    )


def test_every_exception_still_exists():
    known = {
        f"{m.name}.{n.name}" for m in in_room("services", "selectors") for n in public_functions(m)
    }
    assert not set(WITHOUT_ACTOR) - known


def test_jobs_take_ids_by_keyword():
    """`*, workspace_id, run_id`: a job's arguments are read by people in a queue."""
    positional = [
        module.at(node)
        for module in in_room("jobs")
        for node in public_functions(module)
        if any("shared_task" in ast.unparse(item) for item in node.decorator_list)
        and [arg for arg in node.args.args if arg.arg != "self"]
    ]
    assert not positional, "\n".join(positional)


def all_errors() -> list[type[DomainError]]:
    for module in modules():
        if module.path.stem == "errors":
            import_module(module.name)
    found: list[type[DomainError]] = []
    waiting = [DomainError]
    while waiting:
        for child in waiting.pop().__subclasses__():
            if child.__module__.startswith("apps."):
                found.append(child)
                waiting.append(child)
    return found


def test_every_domain_error_has_a_kind_and_a_code_of_its_own():
    seen: dict[tuple[Kind, str], type[DomainError]] = {}
    for error in all_errors():
        assert isinstance(error.kind, Kind), error
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]+", error.code), error
        other = seen.setdefault((error.kind, error.code), error)
        alike = other is error or inspect_shares(error, other) or error.code in SHARED_CODES
        assert alike, f"{error} and {other}: {error.code}"


def inspect_shares(error: type[DomainError], other: type[DomainError]) -> bool:
    """A subclass may keep its parent's code when it does not name one."""
    return "code" not in vars(error) or "code" not in vars(other)


def test_domain_errors_live_in_errors_modules():
    strays = [
        error
        for error in all_errors()
        if error.__module__.rpartition(".")[2] != "errors"
        and not error.__module__.startswith("apps.core.")
    ]
    assert not strays


def leaves(base: type) -> list[type]:
    children = base.__subclasses__()
    found = [leaf for child in children for leaf in leaves(child)] if children else [base]
    # `slots=True` makes the class anew: the first one lives on, but nobody can name it.
    return [leaf for leaf in found if getattr(sys.modules[leaf.__module__], leaf.__name__) is leaf]


def test_facts_are_past_tense_and_named_once():
    from apps.core.facts import Fact

    for module in modules():
        if module.room == "events":
            import_module(module.name)
    names: dict[str, type] = {}
    for fact in (leaf for leaf in leaves(Fact) if leaf.__module__.startswith("apps.")):
        name = getattr(fact, "name", None)
        assert isinstance(name, str), f"{fact} has no name"
        assert re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", name), fact
        assert names.setdefault(name, fact).__qualname__ == fact.__qualname__, name


def test_event_modules_do_not_know_django():
    guilty = [
        m.name for m in modules() if m.room == "events" and m.app != "events" and "django" in m.text
    ]
    assert not guilty


def test_every_app_is_installed():
    apps = {module.app for module in modules()} - {"", "core"}
    assert {f"apps.{app}" for app in apps} <= set(settings.INSTALLED_APPS)


@pytest.mark.parametrize("room", ["services", "selectors", "models", "errors"])
def test_the_domain_does_not_know_http(room):
    guilty = [
        module.at(node)
        for module in in_room(room)
        for node in module.nodes
        if isinstance(node, ast.ImportFrom | ast.Import)
        and re.search(
            r"rest_framework|channels\b|django\.http|django\.shortcuts", ast.unparse(node)
        )
        and module.app not in {"surfaces", "events"}
    ]
    assert not guilty


def test_selectors_do_not_write():
    verbs = {
        "save",
        "create",
        "update",
        "delete",
        "bulk_create",
        "bulk_update",
        "get_or_create",
        "update_or_create",
    }
    found = [
        module.at(node)
        for module in in_room("selectors")
        for node in module.nodes
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in verbs
        and not re.search(
            r"(sha256|hmac|digest|hash|mac|details|kwargs|dict)", dotted(node.func.value).lower()
        )
    ]
    assert not found, "\n".join(found)


def test_signatures_are_inspectable():
    """Control: the reader of signatures sees what Python sees."""
    from apps.core import queue

    module = next(module for module in modules() if module.name == "apps.core.queue")
    read = {node.name for node in public_functions(module)}
    assert read == {n for n, f in vars(queue).items() if inspect.isfunction(f) and n[0] != "_"}
