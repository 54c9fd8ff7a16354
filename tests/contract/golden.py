"""Golden files: what a client sees on the wire, written by hand from the contract.

A golden file names its `operation` (`POST /sessions`), the `status`, the `headers` that must be there
and the whole `body` (`text`, where it is no JSON). Values that differ from run to run are placeholders by kind: `<ses:1>` is a session
id, and the same one wherever `<ses:1>` stands in the file. There is no switch that rewrites the files.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "golden"

BASE62 = "[0-9A-Za-z]{1,22}"
KINDS = {
    "ses": f"ses_{BASE62}_{BASE62}",
    "uuid": "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
    "secret": r"[\w.~+/=-]{24,}",
    "prefix": r"[\w.…-]{4,24}",
    "cursor": r"[\w.=-]{16,}",
    "chatcmpl": r"chatcmpl-[0-9A-Za-z]{16,}",
    "digits": r"\d+",
    "b62": BASE62,
    "sha256": "[0-9a-f]{64}",
    "server_id": "server-[0-9a-z-]{1,16}-[0-9a-f]{8}",
    "float": r"\d+(?:\.\d+)?",
    "day": r"\d{4}-\d\d-\d\d",
    "text": r"(?s:.+)",
}
PREFIXED = {
    *("ws", "usr", "tok", "run", "file", "req", "agt", "step", "msg"),
    *("sess", "mem", "cred", "job"),
}
PLACEHOLDER = re.compile(r"<(\w+)(?::(\w+))?>")


class Mismatch(AssertionError):
    """The answer is not what the golden file says; the message names the place."""


class Matcher:
    """Compares a value with its golden form, remembering what each placeholder stood for."""

    def __init__(self) -> None:
        self.bound: dict[str, str] = {}

    def match(self, golden: Any, found: Any, where: str = "body") -> None:
        if golden == "<any>":
            return
        if isinstance(golden, str) and golden in {"<number>", "<epoch>"}:
            self._match_number(golden, found, where)
        elif isinstance(golden, dict):
            self._match_object(golden, found, where)
        elif isinstance(golden, list):
            self._match_list(golden, found, where)
        elif isinstance(golden, str) and PLACEHOLDER.search(golden):
            self._match_text(golden, found, where)
        elif golden != found or type(golden) is not type(found):
            raise Mismatch(f"{where}: {found!r}, golden {golden!r}")

    def _match_number(self, golden: str, found: Any, where: str) -> None:
        number = isinstance(found, int | float) and not isinstance(found, bool)
        if not number or (golden == "<epoch>" and found < 1_600_000_000):
            raise Mismatch(f"{where}: {found!r} is not {golden}")

    def _match_object(self, golden: dict[str, Any], found: Any, where: str) -> None:
        if not isinstance(found, dict):
            raise Mismatch(f"{where}: {found!r} is not an object")
        if missing := golden.keys() - found.keys():
            raise Mismatch(f"{where}: lacks {sorted(missing)}; it has {found}")
        if extra := found.keys() - golden.keys():
            raise Mismatch(f"{where}: has {sorted(extra)} beyond the golden file")
        for key, value in golden.items():
            self.match(value, found[key], f"{where}.{key}")

    def _match_list(self, golden: list[Any], found: Any, where: str) -> None:
        if not isinstance(found, list) or len(found) != len(golden):
            raise Mismatch(f"{where}: {found!r}, golden has {len(golden)} items")
        for index, value in enumerate(golden):
            self.match(value, found[index], f"{where}[{index}]")

    def _match_text(self, golden: str, found: Any, where: str) -> None:
        labels: list[str] = []
        pattern = PLACEHOLDER.sub(lambda hit: self._slot(hit, labels), _escaped(golden))
        hit = re.fullmatch(pattern, found) if isinstance(found, str) else None
        if hit is None:
            raise Mismatch(f"{where}: {found!r}, golden {golden!r}")
        for label, value in zip(labels, hit.groups(), strict=True):
            if label and self.bound.setdefault(label, value) != value:
                raise Mismatch(f"{where}: <{label}> was {self.bound[label]!r}, here {value!r}")

    def _slot(self, hit: re.Match[str], labels: list[str]) -> str:
        kind, number = hit.groups()
        pattern = f"{kind}_{BASE62}" if kind in PREFIXED else KINDS[kind]
        labels.append(f"{kind}:{number}" if number else "")
        return f"({pattern})"


def _escaped(golden: str) -> str:
    """The golden text as a pattern, its placeholders untouched."""
    parts, last = [], 0
    for hit in PLACEHOLDER.finditer(golden):
        parts += [re.escape(golden[last : hit.start()]), hit.group()]
        last = hit.end()
    return "".join([*parts, re.escape(golden[last:])])


def load(name: str) -> dict[str, Any]:
    return json.loads((HERE / name).read_text(encoding="utf-8"))


def assert_golden(response: Any, name: str) -> Matcher:
    """Compare a response (Django's test client's or httpx's) with `golden/<name>`."""
    golden, matcher = load(name), Matcher()
    content = response.getvalue() if getattr(response, "streaming", False) else response.content
    if response.status_code != golden["status"]:
        raise Mismatch(
            f"{name}: status {response.status_code}, golden {golden['status']}: {content[:600]!r}"
        )
    if "text" in golden:
        matcher.match(golden["text"], content.decode(errors="replace"))
    else:
        matcher.match(golden["body"], json.loads(content) if content else None)
    for header, value in golden.get("headers", {}).items():
        matcher.match(value, response.headers.get(header), f"header {header}")
    return matcher


def operations() -> dict[str, list[str]]:
    """operation -> the golden files that show it."""
    found: dict[str, list[str]] = {}
    for path in sorted(HERE.rglob("*.json")):
        name = str(path.relative_to(HERE))
        found.setdefault(load(name)["operation"], []).append(name)
    return found
