"""The models of a run: the chosen one and its fallback, found off the loop and remembered."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from django.conf import settings

from apps.core.aio import db_call
from apps.engine.choice import NO_KEYS, default_choice, key_names, resolve
from apps.workspaces.vault import opened_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from apps.engine.ports import ModelChoice

MODELS_FRESH = 5.0  # seconds
MOST_REMEMBERED = 1_000

_models: dict[tuple[Any, ...], tuple[float, list[ModelChoice]]] = {}


async def models_for(
    ref: str, fallback: str, *, workspace_id: UUID | None = None
) -> list[ModelChoice]:
    """The chosen model, then its fallback; remembered for a few seconds. With the keys that the
    workspace keeps for them, else the installation's.

    Finding them may ask the host's providers, so it happens off the loop; going there and back costs
    a turn more than all the rest of its planning.
    """
    names = {*key_names(ref), *key_names(fallback)} if workspace_id is not None else set()
    place = workspace_id if names else None
    key = (place, ref, fallback, settings.DEFAULT_MODEL, *settings.MODEL_ENDPOINTS)
    known = _models.get(key)
    if known and time.monotonic() - known[0] < MODELS_FRESH:
        return known[1]
    own = await db_call(opened_secrets, place, names) if place is not None else NO_KEYS
    found = await asyncio.to_thread(_choose_models, ref, fallback, own)
    if len(_models) >= MOST_REMEMBERED:
        _models.clear()
    _models[key] = (time.monotonic(), found)
    return found


def _choose_models(ref: str, fallback: str, own: Mapping[str, str]) -> list[ModelChoice]:
    models = [resolve(ref, own) if ref else default_choice()]
    if fallback and fallback != models[0].ref:
        models.append(resolve(fallback, own))
    return models
