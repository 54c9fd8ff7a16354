"""A parsed file against its schema, with the line of each problem and words that repeat no value."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from jsonschema.validators import (  # type: ignore[import-untyped]  # untyped library
    Draft202012Validator,
)

from apps.formations.bundles import schema as schemas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from apps.formations.bundles.report import Report
    from apps.formations.bundles.yamlfile import At, Document

_KINDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text (in quotes, if it looks like a number)",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
}
_WORDS: dict[str, Callable[[Any], str]] = {
    "type": lambda kind: f"must be {_KINDS[kind]}",
    "minimum": lambda least: f"must be at least {least}",
    "maximum": lambda most: f"must be at most {most}",
    "exclusiveMinimum": lambda least: f"must be greater than {least}",
    "maxLength": lambda most: f"must be at most {most} characters",
    "minLength": lambda least: f"must be at least {least} characters",
    "maxItems": lambda most: f"must have at most {most} items",
}


def fits(name: str, document: Document, report: Report) -> bool:
    """Whether `document` fits the schema of that name; what does not goes into the report."""
    return not broken_parts(name, document, report)


def broken_parts(name: str, document: Document, report: Report) -> set[str | int]:
    """As `fits`: the outermost parts with something wrong in them, an empty name for the whole."""
    broken: set[str | int] = set()
    for at, words in _problems(name, document.value):
        report.wrong(document, at, words)
        broken.add(at[0] if at else "")
    return broken


def _problems(name: str, value: Any) -> Iterator[tuple[At, str]]:
    for error in _validator(name).iter_errors(value):
        at = tuple(error.absolute_path)
        yield at, f"{_spelled(at)} {_said(error)}.".lstrip()


@cache
def _validator(name: str) -> Any:
    return Draft202012Validator(getattr(schemas, name))


def _said(error: Any) -> str:
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return f"needs {_listed(missing)}"
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        strange = [name for name in error.instance if name not in known]
        return f"does not know {_listed(strange)}; it knows {_listed(list(known))}"
    if error.validator in _WORDS:
        return _WORDS[error.validator](error.validator_value)
    return str(error.schema.get("words", "is not valid"))


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{re.sub(r'[^ -~]', '?', name[:60])}`" for name in names)


def _spelled(at: At) -> str:
    """`agents[0].id`; empty for the whole file."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in at)
    return text.lstrip(".")
