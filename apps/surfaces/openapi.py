"""One OpenAPI document a surface: drf-spectacular for the views, a table for the streaming routes."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Book:
    """What a surface's document says about itself. `urls` is its table of contents."""

    slug: str
    title: str
    audience: str
    base: str
    credential: str
    envelope: str
    urls: str
    schemes: Mapping[str, Mapping[str, str]]


_BEARER = {"type": "http", "scheme": "bearer"}


def _header(name: str) -> dict[str, str]:
    return {"type": "apiKey", "in": "header", "name": name}


BOOKS: tuple[Book, ...] = (
    Book(
        "polymux",
        "Polymux",
        "Apps and dashboards",
        "/workspaces /sessions /me … ws /session/{id}/",
        "Bearer token with scope read, write or admin",
        "Bare objects; lists {data, next_cursor}; errors {error, code, request_id}",
        "polymux.urls.polymux",
        {"bearer": _BEARER},
    ),
    Book(
        "muxi-server",
        "MUXI server",
        "Platform engineers who deploy formations",
        "/rpc/…",
        "HMAC-SHA256 signature: Authorization: MUXI-HMAC key=…, timestamp=…, signature=…",
        "{success, data}",
        "polymux.urls.muxi_server",
        {"hmac": _header("Authorization")},
    ),
    Book(
        "muxi-formation",
        "MUXI formation",
        "Apps that use one formation",
        "/v1/… on the formation's port, and /api/{formation}/v1/…",
        "X-MUXI-ADMIN-KEY or X-MUXI-CLIENT-KEY, with X-Muxi-User-ID",
        "{object, type, request, success, error, data}",
        "polymux.urls.muxi_formation",
        {"admin": _header("X-MUXI-ADMIN-KEY"), "client": _header("X-MUXI-CLIENT-KEY")},
    ),
    Book(
        "polpo",
        "Polpo",
        "Task and mission boards",
        "/api/v1/projects/{id}/… (and /api/v1/… for the default project)",
        "API key: X-API-Key, ?apiKey= or a bearer",
        "{ok, data}",
        "polymux.urls.polpo",
        {"key": _header("X-API-Key"), "bearer": _BEARER},
    ),
    Book(
        "molecule",
        "Molecule",
        "Integrations",
        "/workspaces/{id}/schedules … /bundles",
        "Workspace bearer or admin bearer",
        "Bare bodies; errors {error}",
        "polymux.urls.molecule",
        {"bearer": _BEARER},
    ),
    Book(
        "polyant",
        "Polyant",
        "Admin panel of one agent",
        "/api/instances/{slug}/…",
        "Panel session (Auth.js JWE) as bearer or cookie",
        "Bare bodies; errors {statusCode, message, error}",
        "polymux.urls.polyant",
        {
            "bearer": _BEARER,
            "cookie": {"type": "apiKey", "in": "cookie", "name": "authjs.session-token"},
        },
    ),
    Book(
        "openai",
        "OpenAI",
        "Any OpenAI SDK",
        "/v1/chat/completions /v1/models",
        "Bearer: a workspace's token, API key or instance key",
        "OpenAI",
        "polymux.urls.openai",
        {"bearer": _BEARER},
    ),
)

_OK = {"description": "Done."}
_CHAT = {
    "operationId": "createChatCompletion",
    "summary": "Talk to an agent; streams when `stream` is true",
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["messages"],
                    "properties": {
                        "model": {"type": "string"},
                        "messages": {"type": "array", "minItems": 1, "items": {"type": "object"}},
                        "stream": {"type": "boolean", "default": False},
                    },
                }
            }
        },
    },
    "responses": {
        "200": {
            "description": "A completion, or its chunks as server-sent events.",
            "content": {
                "application/json": {"schema": {"type": "object"}},
                "text/event-stream": {"schema": {"type": "string"}},
            },
        }
    },
}


def _stream(operation_id: str, summary: str, *names: str) -> dict[str, Any]:
    """A route that upgrades to a WebSocket, or answers with server-sent events."""
    return {
        "operationId": operation_id,
        "summary": summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in names
        ],
        "responses": {
            "200": {
                "description": "Events as they happen.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            }
        },
    }


def _socket(operation_id: str, summary: str, *names: str) -> dict[str, Any]:
    described = _stream(operation_id, summary, *names)
    return described | {"responses": {"101": {"description": "The connection is a WebSocket now."}}}


# surface -> path -> method -> operation: what consumers serve and drf-spectacular cannot see.
# An entry goes into the document when its consumer is routed in `polymux/asgi.py`.
EXTRA_PATHS: dict[str, dict[str, dict[str, Any]]] = {
    "polymux": {
        "/session/{session_id}/": {
            "get": _socket("watchSession", "Live frames of one session (WebSocket)", "session_id")
        }
    },
    "polpo": {
        "/api/v1/projects/{project_id}/events": {
            "get": _stream("watchProject", "Events as they happen (un-named)", "project_id")
        },
        "/api/v1/events": {"get": _stream("watchEvents", "Events as they happen (named)")},
        "/api/v1/projects/{project_id}/ws": {
            "get": _socket("attachProject", "Events as they happen (WebSocket)", "project_id")
        },
        "/api/v1/ws": {"get": _socket("attachEvents", "Events as they happen (WebSocket)")},
    },
    "openai": {"/v1/chat/completions": {"post": _CHAT}},
}


class SurfaceSchema(AutoSchema):
    """Describes a `SurfaceView` by its `takes` and `gives`; an object where it does not say."""

    def get_operation_id(self) -> str:
        """`get_workspaces_members_by_user_id`: unique because paths are."""
        words = []
        for part in self.path.strip("/").split("/"):
            name = part.strip("{}")
            words.append(f"by_{name}" if part.startswith("{") else name)
        cleaned = "_".join(words).replace("-", "_").replace(".", "_")
        return f"{self.method.lower()}_{cleaned or 'root'}"

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        """The operation; one view on two paths gets the second id from its path."""
        operation = super().get_operation(*args, **kwargs)
        if operation:
            taken = self.registry.__dict__.setdefault("operation_ids", set())
            if operation["operationId"] in taken:
                operation["operationId"] = SurfaceSchema.get_operation_id(self)
            taken.add(operation["operationId"])
        return operation

    def get_tags(self) -> list[str]:
        parts = [part for part in self.path.split("/") if part and not part.startswith("{")]
        known = {"api", "v1", "workspaces", "projects", "instances", "rpc"}
        return [next((part for part in parts if part not in known), parts[0] if parts else "root")]

    def get_auth(self) -> list[Any]:
        return []

    def get_request_serializer(self) -> Any:
        if self.method in {"GET", "HEAD", "DELETE"}:
            return None
        return self._said("takes") or OpenApiTypes.OBJECT

    def get_response_serializers(self) -> Any:
        """`gives` may name the status with it: `{201: Shape}`. Else 200; 204 for what answers nothing."""
        said = self._said("gives")
        answers = getattr(self.view, "surface", None)
        if self.method == "DELETE" and (said or getattr(answers, "answers_deletions", False)):
            return {200: said or OpenApiTypes.OBJECT}
        return said or OpenApiTypes.OBJECT

    def _said(self, name: str) -> Any:
        said = getattr(self.view, name, None)
        return said.get(self.method) if isinstance(said, dict) else said


_documents: dict[str, dict[str, Any]] = {}
_lock = threading.Lock()


def book(slug: str) -> Book | None:
    return next((found for found in BOOKS if found.slug == slug), None)


def document(slug: str) -> dict[str, Any]:
    """The surface's OpenAPI document, made once a process."""
    with _lock:
        if slug not in _documents:
            found = book(slug)
            assert found is not None
            _documents[slug] = build(found)
        return _documents[slug]


def build(about: Book) -> dict[str, Any]:
    """A fresh document. Not for concurrent use: drf-spectacular keeps its settings in one place."""
    from drf_spectacular.generators import SchemaGenerator
    from drf_spectacular.settings import patched_settings

    wanted = {
        "TITLE": f"{about.title} API",
        "VERSION": settings.VERSION,
        "DESCRIPTION": f"{about.audience}. {about.credential}. {about.envelope}.",
        "POSTPROCESSING_HOOKS": [],
        "ENUM_NAME_OVERRIDES": {},
        "COMPONENT_SPLIT_REQUEST": True,
        "OAS_VERSION": "3.1.0",
    }
    with patched_settings(wanted):
        generator: Any = SchemaGenerator(urlconf=about.urls)  # type: ignore[no-untyped-call]
        made: dict[str, Any] = generator.get_schema(request=None, public=True)
    return finished(made, about)


def finished(made: dict[str, Any], about: Book) -> dict[str, Any]:
    """The document with its credentials and its streaming routes."""
    made.setdefault("components", {})["securitySchemes"] = dict(about.schemes)
    made["security"] = [{name: []} for name in about.schemes]
    for path, operations in EXTRA_PATHS.get(about.slug, {}).items():
        made["paths"].setdefault(path, {}).update(operations)
    return made
