"""The tree as the house tests read it: every module of ours, parsed once."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
EXCUSE = "# house:"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One source file. `name` is dotted (`apps.runs.services`)."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def app(self) -> str:
        """`runs` for `apps.runs.services`; empty outside `apps`."""
        parts = self.name.split(".")
        return parts[1] if parts[0] == "apps" and len(parts) > 1 else ""

    @property
    def room(self) -> str:
        """`services` for `apps.runs.services` and for `apps.runs.services.leases`."""
        parts = self.name.split(".")
        return parts[2] if parts[0] == "apps" and len(parts) > 2 else ""

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All there is in it. Two dozen tests ask, and walking the tree is what takes their time."""
        return tuple(ast.walk(self.tree))

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    def at_runtime(self) -> Iterator[ast.stmt | ast.expr | ast.AST]:
        """Every node but those below `if TYPE_CHECKING`: a type costs no dependency."""
        waiting: list[ast.AST] = [self.tree]
        while waiting:
            node = waiting.pop()
            yield node
            only_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            if only_types:
                waiting.extend(node.orelse)  # type: ignore[attr-defined]
            else:
                waiting.extend(ast.iter_child_nodes(node))

    def at(self, node: ast.stmt | ast.expr) -> str:
        return f"{self.path.relative_to(ROOT)}:{node.lineno}"

    def functions(self) -> Iterator[Function]:
        for node in self.nodes:
            if isinstance(node, Function):
                yield node

    def classes(self) -> Iterator[ast.ClassDef]:
        for node in self.nodes:
            if isinstance(node, ast.ClassDef):
                yield node

    def is_excused(self, node: Function | ast.ClassDef) -> bool:
        """`# house: why` on the line that names it, or on the line above."""
        around = self.lines[max(node.lineno - 2, 0) : node.body[0].lineno]
        return any(EXCUSE in line for line in around)


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the product, migrations apart."""
    return tuple(_read(path) for path in _python_files("apps", "polymux"))


@cache
def modules_of_tests() -> tuple[Module, ...]:
    return tuple(_read(path) for path in _python_files("tests"))


def in_room(*rooms: str) -> Iterator[Module]:
    return (module for module in modules() if module.room in rooms)


def length(node: Function) -> int:
    """Lines from `def` to the end, docstring apart."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node, clean=False) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def dotted(node: ast.expr) -> str:
    """`connection.cursor` of an expression made of names and attributes, else an empty string."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else f"?.{node.attr}"
    return ""


def _python_files(*tops: str) -> Iterator[Path]:
    for top in tops:
        for path in sorted((ROOT / top).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path


def _read(path: Path) -> Module:
    return Module(path, path.read_text(encoding="utf-8"))
