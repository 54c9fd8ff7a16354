"""Typed readers for settings. A secret may come from `NAME_FILE`; a bad value fails loudly."""

from __future__ import annotations

import os
from pathlib import Path


class BadSetting(SystemExit):
    """One clear line on stderr, exit code 1."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"polymux: setting {name}: {problem}")


def text(name: str, default: str = "") -> str:
    """The value of `name`, or the content of the file that `NAME_FILE` names."""
    path = os.environ.get(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise BadSetting(f"{name}_FILE", f"cannot read {path}: {error.strerror}") from None
    return os.environ.get(name, default)


def flag(name: str, *, default: bool = False) -> bool:
    value = text(name).strip().lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise BadSetting(name, f"{value!r} is neither true nor false")


def number(name: str, default: int, *, low: int = 0, high: int = 2**31) -> int:
    value = text(name).strip()
    if not value:
        return default
    try:
        result = int(value)
    except ValueError:
        raise BadSetting(name, f"{value!r} is not a whole number") from None
    if not low <= result <= high:
        raise BadSetting(name, f"{result} is not between {low} and {high}")
    return result


def choice(name: str, *known: str) -> str:
    """One of `known`; the first when nothing is said."""
    value = text(name).strip().lower() or known[0]
    if value not in known:
        raise BadSetting(name, f"{value!r} is none of {', '.join(known)}")
    return value


def words(name: str, default: str = "") -> list[str]:
    """A comma-separated list."""
    return [word for part in text(name, default).split(",") if (word := part.strip())]


def span(name: str, default: str, *, low: int, high: int) -> tuple[int, int]:
    """`8000-8999`: the first and the last number of a range, both in it."""
    value = text(name).strip() or default
    first, _, last = value.partition("-")
    if not (first.strip().isdecimal() and last.strip().isdecimal()):
        raise BadSetting(name, f"{value!r} is not of the form {default}")
    if not low <= int(first) <= int(last) <= high:
        raise BadSetting(name, f"{value!r} is not a range between {low} and {high}")
    return int(first), int(last)
