"""Bundles as they arrive (contract/muxi.md §3.3): the body itself, or base64 inside JSON."""

from __future__ import annotations

import base64
import binascii
import tempfile
from typing import IO, TYPE_CHECKING, Any

from django.conf import settings

from apps.core.errors import InvalidInput, TooLarge
from apps.formations.errors import ArchiveRefused, DraftPathInvalid, HeaderMissing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apps.surfaces.kit import Credentials

GZIP = ("application/gzip", "application/x-gzip", "application/octet-stream")
MEMORY_BYTES = 1024 * 1024  # a larger body waits on disk
CHUNK = 256 * 1024
SHAPE = 'Send {"bundle": "<base64 of a tar.gz>", "version": "…"}.'


def spooled(stream: Any) -> IO[bytes]:
    """A request's stream (None: no body) as a file at its start, on disk where it is large.

    Raises TooLarge, ArchiveRefused.
    """
    kept = tempfile.SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115  (closed with its request)
    size = 0
    try:
        while stream is not None and (piece := stream.read(CHUNK)):
            size += len(piece)
            if size > settings.MAX_UPLOAD_BYTES:
                raise TooLarge(max_upload_size=settings.MAX_UPLOAD_BYTES)
            kept.write(piece)
    except OSError as error:
        raise ArchiveRefused(f"The bundle could not be stored: {error.strerror}.") from None
    kept.seek(0)
    return kept


def check_type(seen: Credentials) -> None:
    """InvalidInput unless the content type is that of an archive."""
    kind = seen.headers.get("content-type", "").lower()
    if not any(good in kind for good in GZIP):
        raise InvalidInput(f"Content-Type must be one of {', '.join(GZIP)}.")


def formation_header(seen: Credentials) -> str:
    """`X-Formation-ID`; HeaderMissing."""
    given = seen.headers.get("x-formation-id", "").strip()
    if not given:
        raise HeaderMissing("X-Formation-ID is missing.")
    return given


def version_header(seen: Credentials) -> str | None:
    """`X-Formation-Version`; None when nothing is said: then any version is right."""
    return seen.headers.get("x-formation-version", "").strip() or None


def bundle_in(body: Any) -> tuple[IO[bytes], str | None]:
    """The archive and the version of a JSON body. Paths of this server are refused.

    Raises InvalidInput, DraftPathInvalid.
    """
    if not isinstance(body, dict):
        raise InvalidInput(SHAPE)
    if "bundle_path" in body:
        raise DraftPathInvalid("bundle_path names a file of this server: send the bundle itself.")
    raw, version = body.get("bundle"), body.get("version")
    if not isinstance(raw, str) or not (version is None or isinstance(version, str)):
        raise InvalidInput(SHAPE)
    kept = tempfile.SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115  (closed with its request)
    kept.write(decoded(raw, "bundle"))
    kept.seek(0)
    return kept, version or None


def decoded(text: str, name: str) -> bytes:
    """Base64, strictly. Raises InvalidInput."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput(f"{name} is not base64.") from None


def one_of(body: Mapping[str, Any], name: str, usual: str) -> str:
    """A text of a JSON body, `usual` when absent. Raises InvalidInput."""
    value = body.get(name, usual)
    if not isinstance(value, str):
        raise InvalidInput(f"{name} must be text.")
    return value
