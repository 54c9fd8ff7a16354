"""The workspace's folder on the polpo surface (contract/polpo.md §3.6, §4 and §10)."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from django.conf import settings
from django.http import FileResponse, HttpResponse
from django.utils.http import content_disposition_header, http_date
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.response import Response

from apps.core.clock import rfc3339
from apps.core.confinement import INSIDE
from apps.core.errors import InvalidInput
from apps.surfaces.parsing import StrictSerializer
from apps.surfaces.polpo import on_projects
from apps.surfaces.views import PolpoView
from apps.workspaces import files, services

if TYPE_CHECKING:
    from django.http.response import HttpResponseBase
    from rest_framework.request import Request

    from apps.core.paths import Listed
    from apps.workspaces.files import OpenFile, Preview

LINES, MOST_LINES = 500, 100_000
FOUND, MOST_FOUND = 200, 500
PIECE = 256 * 1024  # bytes in memory at once
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.IGNORECASE)
# What an agent wrote is no page of ours: it runs nothing, loads nothing and knows no login.
LOCKED = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; media-src 'self'"
)
HELD = "private, max-age=60"

_PATH = OpenApiParameter("path", str, required=True, description="Relative to the project's folder")
_BELOW = OpenApiParameter("path", str, description="Folder; default the top")


class FolderView(PolpoView):
    @extend_schema(parameters=[_BELOW])
    def get(self, request: Request, **_: str) -> Response:
        path = self.admission.credentials.query.get("path") or "."
        shown = [entry_json(entry) for entry in files.list_folder(self.actor, path)]
        return self.ok({"path": _spelled(path), "entries": shown})


class RootsView(PolpoView):
    def get(self, request: Request, **_: str) -> Response:
        used = files.room_used(self.actor)
        about = {"name": "Workspace", "description": "Agent workspace", "icon": "folder-open"}
        figures = {"totalFiles": used.names, "totalSize": used.size}
        place = {"id": "workspace", "path": ".", "absolutePath": INSIDE}
        return self.ok({"roots": [place | about | figures]})


class ContentView(PolpoView):
    @extend_schema(
        parameters=[
            _PATH,
            OpenApiParameter("download", str, description="Any text: as attachment"),
        ],
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY},
    )
    def get(self, request: Request, **_: str) -> HttpResponseBase:
        seen = self.admission.credentials
        found = files.open_file(self.actor, _asked_path(seen.query))
        return _content(found, seen.headers, download=bool(seen.query.get("download")))


class PreviewView(PolpoView):
    @extend_schema(parameters=[_PATH, OpenApiParameter("maxLines", int, description="Default 500")])
    def get(self, request: Request, **_: str) -> Response:
        query = self.admission.credentials.query
        lines = _number(query, "maxLines", LINES, MOST_LINES)
        found = files.preview_file(self.actor, _asked_path(query), lines=lines)
        return self.ok(preview_json(found, f"{request.path.removesuffix('preview')}read"))


class SearchView(PolpoView):
    @extend_schema(
        parameters=[
            OpenApiParameter("q", str),
            OpenApiParameter("root", str),
            OpenApiParameter("limit", int, description="1-500, default 200"),
        ]
    )
    def get(self, request: Request, **_: str) -> Response:
        query = self.admission.credentials.query
        most = _number(query, "limit", FOUND, MOST_FOUND)
        below = query.get("root") or "."
        found = files.search_files(self.actor, query.get("q") or "", below=below, most=most)
        shown = [{"name": path.rpartition("/")[2], "path": path} for path in found]
        return self.ok({"files": shown, "total": len(shown)})


class FolderBody(StrictSerializer):
    path = serializers.CharField(max_length=1024, trim_whitespace=False)


class RenameBody(FolderBody):
    newName = serializers.CharField(max_length=255, trim_whitespace=False)


class MakeFolderView(PolpoView):
    takes: ClassVar[Any] = FolderBody

    def post(self, request: Request, **_: str) -> Response:
        return self.ok({"path": services.make_folder(self.actor, **FolderBody.read(request.data))})


class RenameView(PolpoView):
    takes: ClassVar[Any] = RenameBody

    def post(self, request: Request, **_: str) -> Response:
        body = RenameBody.read(request.data)
        path = services.rename_file(self.actor, body["path"], body["newName"])
        return self.ok({"oldPath": path, "newName": body["newName"]})


class DeleteView(PolpoView):
    takes: ClassVar[Any] = FolderBody

    def post(self, request: Request, **_: str) -> Response:
        return self.ok({"path": services.delete_file(self.actor, **FolderBody.read(request.data))})


class UploadView(PolpoView):
    """Multipart: `path` (the folder, default the top) and one or several `file`."""

    parser_classes = (MultiPartParser,)

    max_body = settings.MAX_UPLOAD_BYTES + 64 * 1024

    def post(self, request: Request, **_: str) -> Response:
        sent = request.FILES.getlist("file")
        folder = request.POST.get("path") or "."
        stored = services.store_files(self.actor, folder, sent)
        shown = [{"name": name, "size": size} for name, size in stored]
        return self.ok({"uploaded": shown, "count": len(shown)})


def entry_json(entry: Listed) -> dict[str, Any]:
    """One name of a listing (contract §10)."""
    shown: dict[str, Any] = {"name": entry.name, "type": "directory" if entry.folder else "file"}
    if not entry.folder:
        shown |= {"size": entry.size, "mimeType": files.mime_of(entry.name)}
    return shown | {"modifiedAt": rfc3339(datetime.fromtimestamp(entry.modified, UTC))}


def preview_json(found: Preview, reading: str) -> dict[str, Any]:
    """A preview (contract §10); `reading` is the path of files/read in the layout that was asked."""
    shown: dict[str, Any] = {
        "path": found.path,
        "name": found.name,
        "mimeType": found.mime,
        "size": found.size,
        "previewable": found.kind != "binary",
        "type": found.kind,
        "url": f"{reading}?path={quote(found.path, safe='')}",
    }
    if found.content is not None:
        shown |= {"content": found.content, "truncated": found.truncated}
    return shown


# --- Bytes ------------------------------------------------------------------------------------


class _Window:
    """A part of a file as Django streams it: read in pieces, closed with the answer."""

    def __init__(self, handle: int, start: int, length: int) -> None:
        self._handle, self._at, self._end = handle, start, start + length

    def read(self, size: int = PIECE) -> bytes:
        data = os.pread(self._handle, min(size, self._end - self._at), self._at)
        self._at += len(data)
        return data

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _content(found: OpenFile, asked: Any, *, download: bool) -> HttpResponseBase:
    """The file, or the one range of it that was asked for (RFC 9110 §14)."""
    tag = f'"{found.modified:x}-{found.size:x}"'
    headers = {
        "ETag": tag,
        "Last-Modified": http_date(found.modified // 10**9),
        "Cache-Control": HELD,
        "Accept-Ranges": "bytes",
        "Content-Security-Policy": LOCKED,
        "X-Content-Type-Options": "nosniff",
    }
    if tag in asked.get("if-none-match", ""):
        os.close(found.handle)
        return HttpResponse(status=304, headers=headers)
    whole = asked.get("if-range", tag) not in {tag, headers["Last-Modified"]}
    part = None if whole else _range_of(asked.get("range", ""), found.size)
    if part is not None and part[0] >= found.size:
        os.close(found.handle)
        return _out_of_range(found.size)
    return _streamed(found, part, headers, download=download)


def _streamed(
    found: OpenFile, part: tuple[int, int] | None, headers: dict[str, str], *, download: bool
) -> HttpResponseBase:
    start, end = part or (0, found.size)
    mime = files.mime_of(found.name)
    attached = download or files.kind_of(mime) == "binary"
    headers |= {
        "Content-Length": str(end - start),
        "Content-Disposition": content_disposition_header(attached, found.name) or "inline",
    }
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.size}"
    window: Any = _Window(found.handle, start, end - start)
    response = FileResponse(window, status=206 if part else 200, content_type=mime, headers=headers)
    response.block_size = PIECE
    return response


def _range_of(text: str, size: int) -> tuple[int, int] | None:
    """(start, end) of a single range; None for the whole: no range, several, or not understood.

    A start at or beyond `size` is one that cannot be satisfied.
    """
    asked = _RANGE.fullmatch(text.strip())
    if asked is None or asked.groups() == ("", ""):
        return None
    first, last = asked.groups()
    if not first:
        return (size - min(int(last), size), size) if int(last) else (size, size)
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size


def _out_of_range(size: int) -> Response:
    body = {"ok": False, "error": "The range lies beyond the file.", "code": "VALIDATION_ERROR"}
    return Response(body, status=416, headers={"Content-Range": f"bytes */{size}"})


# --- Queries ----------------------------------------------------------------------------------


def _asked(query: Any, name: str) -> str:
    value = query.get(name) or ""
    if not value:
        raise InvalidInput(f"{name} is required", fields={name: ["Required."]})
    return str(value)


def _asked_path(query: Any) -> str:
    return _asked(query, "path")


def _number(query: Any, name: str, usual: int, most: int) -> int:
    text = query.get(name) or str(usual)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= most:
        words = f"Must be a whole number from 1 to {most}."
        raise InvalidInput(f"{name}: {words}", fields={name: [words]})
    return int(text)


def _spelled(path: str) -> str:
    """A path from the top of the folder; `.` for the top itself."""
    return "/".join(part for part in path.split("/") if part not in {"", "."}) or "."


urlpatterns = [
    *on_projects("files/list", FolderView.as_view()),
    *on_projects("files/read", ContentView.as_view()),
    *on_projects("files/preview", PreviewView.as_view()),
    *on_projects("files/roots", RootsView.as_view()),
    *on_projects("files/search", SearchView.as_view()),
    *on_projects("files/mkdir", MakeFolderView.as_view()),
    *on_projects("files/rename", RenameView.as_view()),
    *on_projects("files/delete", DeleteView.as_view()),
    *on_projects("files/upload", UploadView.as_view()),
]
