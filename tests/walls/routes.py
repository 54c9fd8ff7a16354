"""Every route of the product, found in the URL configuration, not listed by hand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RegexPattern, RoutePattern

if TYPE_CHECKING:
    from collections.abc import Iterator

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# Not an API: Django's own pages behind the operators' login, tested in tests/console.
ELSEWHERE = ("/admin/", "/static/")

CONVERTED = re.compile(r"<(?:[^>:]+:)?([^>]+)>")
GROUP = re.compile(r"\(\?P<(\w+)>(?:[^()\\]|\\.|\([^()]*\))*\)")


@dataclass(frozen=True)
class Route:
    """A path with `{names}` for its ids, and the methods that somebody answers there."""

    path: str
    methods: tuple[str, ...]
    view: str

    @property
    def ids(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    def __str__(self) -> str:
        return f"{','.join(self.methods)} {self.path}"


def routes(urlconf: str | None = None) -> list[Route]:
    """All routes but the endings (a surface's own 404) and the operators' pages."""
    found = _walk(get_resolver(urlconf), "/")
    return [route for route in found if not route.path.startswith(ELSEWHERE)]


def routes_with_ids() -> list[Route]:
    return [route for route in routes() if route.ids]


def _walk(resolver: URLResolver, prefix: str) -> Iterator[Route]:
    for entry in resolver.url_patterns:
        path = _joined(prefix, _template(entry.pattern))
        if isinstance(entry, URLResolver):
            yield from _walk(entry, path)
        elif not _is_ending(entry):
            yield Route(path, _methods(entry.callback), _name(entry.callback))


def _joined(prefix: str, part: str) -> str:
    return prefix + part.removeprefix("/") if prefix.endswith("/") else prefix + part


def _template(pattern: Any) -> str:
    if isinstance(pattern, RoutePattern):
        return CONVERTED.sub(r"{\1}", str(pattern))
    return GROUP.sub(r"{\1}", str(pattern)).strip("^$").replace("\\", "")


def _is_ending(entry: URLPattern) -> bool:
    """A catch-all answers 404 in its surface's words; it has no ids and no rows."""
    text = str(entry.pattern)
    return (
        isinstance(entry.pattern, RegexPattern) and (not GROUP.search(text) or ".*" in text)
    ) or (getattr(entry.callback, "is_ending", False))


def _methods(callback: Any) -> tuple[str, ...]:
    if actions := getattr(callback, "actions", None):
        return tuple(name.upper() for name in actions if name.upper() in METHODS)
    view = getattr(callback, "cls", None) or getattr(callback, "view_class", None)
    if view is None:
        return METHODS
    return tuple(method for method in METHODS if hasattr(view, method.lower()))


def _name(callback: Any) -> str:
    view = getattr(callback, "cls", None) or getattr(callback, "view_class", None) or callback
    return f"{view.__module__}.{view.__qualname__}"
