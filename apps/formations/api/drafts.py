"""Drafts and dev mode, whose answers have no envelope: `{success, …, draft, live}` (contract §3.8-3.9)."""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rest_framework.response import Response

from apps.core.errors import DomainError, InvalidInput
from apps.formations import selectors, services, wire
from apps.formations.api.uploads import decoded, one_of
from apps.formations.archive import checked_path
from apps.formations.errors import (
    DraftActionInvalid,
    DraftBodyInvalid,
    DraftContentInvalid,
    DraftModeInvalid,
    DraftNotFound,
    FormationNotFound,
)
from apps.surfaces import muxi_server

if TYPE_CHECKING:
    from collections.abc import Callable

    from apps.core.actor import Actor

BASE64, UTF8 = "base64", "utf-8"


def act(actor: Actor, slug: str, body: Any) -> Any:
    """Carry one action out: the data of the answer, or the steps of a deploy. Raises DomainError."""
    if not isinstance(body, dict):
        raise DraftBodyInvalid
    action = ACTIONS.get(one_of(body, "action", ""))
    if action is None:
        raise DraftActionInvalid
    return action(actor, slug, body)


def _init(actor: Actor, slug: str, body: dict[str, Any]) -> Any:
    mode = one_of(body, "mode", "new")
    if mode not in {"new", "clone"}:
        raise DraftModeInvalid
    draft = services.init_draft(actor, slug, clone=mode == "clone")
    return {"files": wire.entries_below(selectors.list_draft_files(actor, draft), "")}


def _list(actor: Actor, slug: str, body: dict[str, Any]) -> Any:
    folder = one_of(body, "path", "").strip("/")
    folder = checked_path(folder) if folder not in {"", "."} else ""
    draft = selectors.find_draft(actor, slug)
    return {"files": wire.entries_below(selectors.list_draft_files(actor, draft), folder)}


def _read(actor: Actor, slug: str, body: dict[str, Any]) -> Any:
    where, encoding = checked_path(one_of(body, "path", "")), _encoding(body)
    content = selectors.read_draft_file(actor, selectors.find_draft(actor, slug), where)
    return {"path": where, "size": len(content), **_written(content, encoding)}


def _write(actor: Actor, slug: str, body: dict[str, Any]) -> Any:
    where, text = one_of(body, "path", ""), one_of(body, "content", "")
    if _encoding(body) == BASE64:
        try:
            content = decoded(text, "content")
        except InvalidInput:
            raise DraftContentInvalid from None
    else:
        content = text.encode()
    services.write_draft_file(actor, slug, where, content)
    return {"path": checked_path(where), "size": len(content)}


def _delete(actor: Actor, slug: str, body: dict[str, Any]) -> Any:
    where = one_of(body, "path", "")
    services.delete_draft_file(actor, slug, where)
    return {"path": checked_path(where)}


def _deploy(actor: Actor, slug: str, _body: dict[str, Any]) -> Any:
    return services.deploy_draft(actor, slug)


def _discard(actor: Actor, slug: str, _body: dict[str, Any]) -> Any:
    services.discard_draft(actor, slug)
    return {"discarded": True}


ACTIONS: dict[str, Callable[[Actor, str, dict[str, Any]], Any]] = {
    "init": _init,
    "list": _list,
    "read": _read,
    "write": _write,
    "delete": _delete,
    "deploy": _deploy,
    "discard": _discard,
}


def answered(
    actor: Actor, slug: str, data: Any = None, *, error: DomainError | None = None
) -> Response:
    """An answer about a draft, with where the draft and what is deployed stand."""
    standing = _standing(actor, slug)
    if error is None:
        return Response({"success": True, "data": data, **standing})
    status = muxi_server.SURFACE.status_of(error)
    return Response(_refused(error, status) | standing, status=status)


def dev_answer(actor: Actor, body: Any, *, run: bool) -> Response:
    """`success, formation_id, port, status`, or `error` and `message`."""
    try:
        return Response(_run(actor, body) if run else _stop(actor, body))
    except DomainError as error:
        status = muxi_server.SURFACE.status_of(error)
        return Response(_refused(error, status), status=status)


def _run(actor: Actor, body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise DraftBodyInvalid
    if "path" in body:
        draft, applied = services.run_folder(actor, one_of(body, "path", ""))
    else:
        draft, applied = services.run_draft(actor, one_of(body, "formation_id", ""))
    told = {"success": True, "formation_id": draft.slug, "port": draft.port, "status": "running"}
    return told | wire.keys_shown(applied.made)


def _stop(actor: Actor, body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise DraftBodyInvalid
    slug = services.stop_draft(actor, one_of(body, "formation_id", "")).slug
    return {"success": True, "formation_id": slug, "port": 0, "status": "stopped"}


def _standing(actor: Actor, slug: str) -> dict[str, Any]:
    draft = live = None
    with suppress(DraftNotFound):
        draft = selectors.find_draft(actor, slug)
    with suppress(FormationNotFound):
        live = selectors.find_formation(actor, slug)
    return wire.standing(draft, live)


def _refused(error: DomainError, status: int) -> dict[str, Any]:
    return {
        "success": False,
        "error": muxi_server.name_of(error),
        "message": muxi_server.words_of(error),
        "code": status,
    }


def _encoding(body: dict[str, Any]) -> str:
    encoding = one_of(body, "encoding", UTF8)
    if encoding not in {UTF8, BASE64}:
        raise DraftContentInvalid
    return encoding


def _written(content: bytes, encoding: str) -> dict[str, str]:
    """A file's content; as base64 when that was asked for, or when it is no text."""
    if encoding == UTF8:
        with suppress(UnicodeDecodeError):
            return {"content": content.decode(), "encoding": UTF8}
    return {"content": base64.b64encode(content).decode(), "encoding": BASE64}
