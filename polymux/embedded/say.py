"""Words for the person at the terminal: progress on stdout, one clear line on stderr to give up."""

from __future__ import annotations

import sys


class CannotServe(SystemExit):
    """One clear line on stderr, exit code 1, no traceback."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"polymux: {problem}")


def say(line: str = "") -> None:
    print(line, flush=True)


def step(line: str) -> None:
    """Something that may take longer than a second has begun."""
    print(f"polymux: {line} …", flush=True)


def warn(line: str) -> None:
    print(f"polymux: {line}", file=sys.stderr, flush=True)
