"""The models of a run: the chosen one and its fallback, found off the loop and remembered."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from django.conf import settings

from apps.engine.choice import default_choice, resolve

if TYPE_CHECKING:
    from apps.engine.ports import ModelChoice

MODELS_FRESH = 5.0  # seconds
MOST_REMEMBERED = 1_000

_models: dict[tuple[Any, ...], tuple[float, list[ModelChoice]]] = {}


async def models_for(ref: str, fallback: str) -> list[ModelChoice]:
    """The chosen model, then its fallback; remembered for a few seconds.

    Finding them may ask the host's providers, so it happens off the loop; going there and back costs
    a turn more than all the rest of its planning.
    """
    key = (ref, fallback, settings.DEFAULT_MODEL, *settings.MODEL_ENDPOINTS)
    known = _models.get(key)
    if known and time.monotonic() - known[0] < MODELS_FRESH:
        return known[1]
    found = await asyncio.to_thread(_choose_models, ref, fallback)
    if len(_models) >= MOST_REMEMBERED:
        _models.clear()
    _models[key] = (time.monotonic(), found)
    return found


def _choose_models(ref: str, fallback: str) -> list[ModelChoice]:
    models = [resolve(ref) if ref else default_choice()]
    if fallback and fallback != models[0].ref:
        models.append(resolve(fallback))
    return models
