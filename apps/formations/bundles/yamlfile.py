"""YAML with line numbers, and nothing that YAML can do to a reader.

Built from parser events and never from a graph: depth is bounded before Python recurses, an alias
costs what it stands for (no billion laughs) and cannot contain itself, a key stands once, no tag
makes an object. Values are those of JSON; dates and sexagesimals stay the text that was written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from apps.formations.bundles.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_VALUES = 20_000  # of one file, aliases counted with what they stand for
DEEPEST = 30
LARGEST_NUMBER = 2**53  # what JSON readers agree on
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_TRUE, _FALSE = {"yes", "true", "on"}, {"no", "false", "off"}

At = tuple[str | int, ...]


@dataclass(slots=True)
class Document:
    """A parsed file: its value, and the line of each part (`("agents", 0, "id")` -> 12)."""

    file: str
    value: Any = None
    lines: dict[At, int] = field(default_factory=dict)

    def line(self, at: At) -> int:
        """The line of the part, else of the nearest part that contains it."""
        while at and at not in self.lines:
            at = at[:-1]
        return self.lines.get(at, 1)

    def part(self, at: At, value: Any) -> Document:
        """One part as a document of its own, which still knows its lines."""
        depth = len(at)
        inside = {path[depth:]: line for path, line in self.lines.items() if path[:depth] == at}
        return Document(self.file, value, inside)


def parse(text: str, file: str, *, first_line: int = 1) -> Document:
    """The one YAML document in `text`. BundleError ("ParseError") names the line."""
    document = Document(file)
    try:
        document.value = _Builder(text, document, first_line).build()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = f"Is not YAML: {error.problem or error.context}."
        raise _wrong(document, (mark.line if mark else 0) + first_line, words) from None
    except (yaml.YAMLError, UnicodeError, ValueError):
        raise _wrong(document, first_line, "Is not YAML: it holds what is no text.") from None
    return document


class _Builder:
    def __init__(self, text: str, document: Document, first_line: int) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._resolver: Any = yaml.resolver.Resolver()
        self._document = document
        self._first = first_line
        self._values = 0
        # Anchor -> (value, lines below it, how many values it is).
        self._anchors: dict[str, tuple[Any, int]] = {}

    def build(self) -> Any:
        next(self._events)  # the stream begins
        event: Any = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return None
        value = self._value(next(self._events), ())
        next(self._events)  # the document ends
        if not isinstance(event := next(self._events), yaml.StreamEndEvent):
            raise self._wrong(event, "Is more than one YAML document.")
        return value

    def _value(self, event: Any, at: At) -> Any:
        self._document.lines[at] = self._line(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        before = self._values
        self._count(event, 1)
        if len(at) > DEEPEST:
            raise self._wrong(event, f"Is nested deeper than {DEEPEST} levels.")
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif event.tag is not None:
            raise self._wrong(event, f"The tag {event.tag} is not allowed.")
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._list(at)
        else:
            value = self._mapping(at)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._values - before)
        return value

    def _list(self, at: At) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.append(self._value(event, (*at, len(found))))
        return found

    def _mapping(self, at: At) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._wrong(event, "A key must be text.")
            key, line = event.value, self._line(event)
            self._check_text(event)
            if key in found:
                raise self._wrong(event, f"The key {key!r} is there twice.")
            value = self._value(next(self._events), (*at, key))
            if key == "<<" and event.implicit[0]:  # not in quotes
                merged |= self._merged(event, value)
                continue
            # The line of the key: where a person looks for `timeout`, not where its list begins.
            self._document.lines[(*at, key)] = line
            found[key] = value
        return {**merged, **found} if merged else found

    def _merged(self, event: Any, value: Any) -> dict[str, Any]:
        maps = value if isinstance(value, list) else [value]
        if not all(isinstance(item, dict) for item in maps):
            raise self._wrong(event, "What is merged by << must be a mapping.")
        return {key: item[key] for item in reversed(maps) for key in item}

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise self._wrong(event, f"The alias *{event.anchor} has no anchor before it.")
        value, weight = self._anchors[event.anchor]
        self._count(event, weight)
        return value

    def _scalar(self, event: Any) -> Any:
        self._check_text(event)
        tag = event.tag or self._resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
        kind = tag.removeprefix(_TAG)
        if event.tag is not None and kind not in {"str", "int", "float", "bool", "null"}:
            raise self._wrong(event, f"The tag {event.tag} is not allowed.")
        if kind == "null":
            return None
        if kind == "bool":
            return self._bool(event)
        if kind in {"int", "float"}:
            return self._number(event, kind)
        return event.value

    def _bool(self, event: Any) -> bool:
        word = event.value.lower()
        if word not in _TRUE | _FALSE:
            raise self._wrong(event, "Is neither true nor false.")
        return word in _TRUE

    def _number(self, event: Any, kind: str) -> int | float | str:
        written = event.value.replace("_", "")
        if ":" in written:  # YAML 1.1 reads 10:30 as 630
            return str(event.value)
        try:
            number = float(written) if kind == "float" else _whole(written)
        except ValueError:
            raise self._wrong(event, "Is no number that JSON knows.") from None
        if not math.isfinite(number) or abs(number) > LARGEST_NUMBER:
            raise self._wrong(event, "Is a number that is too large: put it in quotes.")
        return number

    def _check_text(self, event: Any) -> None:
        # PostgreSQL stores neither in JSON.
        if "\0" in event.value or any("\ud800" <= char <= "\udfff" for char in event.value):
            raise self._wrong(event, "Holds a character that is no text.")

    def _count(self, event: Any, more: int) -> None:
        self._values += more
        if self._values > MOST_VALUES:
            raise self._wrong(event, f"Holds more than {MOST_VALUES} values.")

    def _line(self, event: Any) -> int:
        return int(event.start_mark.line) + self._first

    def _wrong(self, event: Any, words: str) -> BundleError:
        return _wrong(self._document, self._line(event), words)


def _whole(written: str) -> int:
    if not 0 < len(written) <= 40:
        raise ValueError
    sign, digits = (-1, written[1:]) if written[0] == "-" else (1, written.lstrip("+"))
    if digits.startswith(("0b", "0x")):
        return sign * int(digits, 0)
    base = 8 if digits != "0" and digits.startswith("0") else 10
    return sign * int(digits, base)


def _wrong(document: Document, line: int, words: str) -> BundleError:
    return BundleError("ParseError", words, file=document.file, line=line)
