"""Model references as other systems write them.

Ours is `provider/model`. Polpo writes `provider:model`, or the model alone (contract/polpo.md §8).
"""

from __future__ import annotations

from django.conf import settings

from apps.engine.providers import VENDORS

KEYLESS = frozenset({"ollama", "local", "scripted"})
# How the models of a vendor begin, where that says whose they are.
FAMILIES = (
    ("claude-", "anthropic"),
    ("gpt-", "openai"),
    ("chatgpt-", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4-", "openai"),
    ("gemini-", "google"),
    ("mistral-", "mistral"),
    ("codestral-", "mistral"),
    ("deepseek-", "deepseek"),
    ("grok-", "xai"),
)


def canonical_ref(text: str) -> str:
    """`text` as `provider/model` where it names a provider we know, or a family; else unchanged.

    A slash before the colon makes it ours already (`ollama/llama3.2:3b`), and a colon after no
    provider is a tag (`qwen3:8b`).
    """
    ref = text.strip()
    provider, colon, model = ref.partition(":")
    if colon and model and "/" not in provider:
        return f"{provider}/{model}" if _is_provider(provider) else ref
    if "/" in ref or colon:
        return ref
    owner = next((owner for start, owner in FAMILIES if ref.startswith(start)), "")
    return f"{owner}/{ref}" if owner else ref


def colon_ref(ref: str) -> str:
    """Our `provider/model` as `provider:model`; a model alone stays as it is."""
    provider, slash, model = ref.partition("/")
    return f"{provider}:{model}" if slash else ref


def _is_provider(name: str) -> bool:
    endpoints = {entry.partition("=")[0].strip() for entry in settings.MODEL_ENDPOINTS}
    return name in VENDORS or name in KEYLESS or name in endpoints
