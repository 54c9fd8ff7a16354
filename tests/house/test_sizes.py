"""Small functions, short files (style §7.8). An exception says why: `# house: reason` at the def."""

from __future__ import annotations

import ast

from tests.house.source import Function, Module, in_room, length, modules, modules_of_tests

FUNCTION, MODULE, TEST_MODULE, TEST, VIEW, JOB = 40, 400, 600, 30, 12, 10


def too_long(module: Module, functions: list[Function], limit: int) -> list[str]:
    return [
        f"{module.at(node)} {node.name}: {length(node)} lines, {limit} allowed"
        for node in functions
        if length(node) > limit and not module.is_excused(node)
    ]


def complaints(limit: int, found: list[tuple[Module, list[Function]]]) -> str:
    return "\n".join(line for module, nodes in found for line in too_long(module, nodes, limit))


def decorated_with(node: Function, word: str) -> bool:
    return any(word in ast.unparse(item) for item in node.decorator_list)


def view_methods(module: Module) -> list[Function]:
    return [
        node
        for holder in module.classes()
        for node in holder.body
        if isinstance(node, Function) and not node.name.startswith("_")
    ]


def test_functions_fit_a_screen():
    assert not complaints(FUNCTION, [(module, list(module.functions())) for module in modules()])


def modules_of_tests_stay_below_400_lines():
    long = [
        f"{module.path}: {len(module.lines)} lines"
        for module in (*modules(), *modules_of_tests())
        if len(module.lines) > MODULE and not any("# house:" in line for line in module.lines[:20])
    ]
    assert not long, "\n".join(long)


def test_tests_are_short():
    found = [
        (module, [node for node in module.functions() if node.name.startswith("test_")])
        for module in modules_of_tests()
    ]
    assert not complaints(TEST, found)


def test_view_methods_only_parse_call_and_wrap():
    assert not complaints(VIEW, [(module, view_methods(module)) for module in in_room("api")])


def test_jobs_are_doors():
    found = [
        (module, [node for node in module.functions() if decorated_with(node, "shared_task")])
        for module in in_room("jobs")
    ]
    assert not complaints(JOB, found)


def test_positional_arguments_are_few():
    """Options are keyword-only, so that a call says what it sets."""
    crowded = [
        f"{module.at(node)} {node.name}"
        for module in modules()
        for node in module.functions()
        if len(node.args.posonlyargs) + len(node.args.args) > 6 and not module.is_excused(node)
    ]
    assert not crowded, "\n".join(crowded)
