"""The providers by the prefix of a model's reference. Each module is loaded on first use."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apps.engine.ports import ModelProvider


@dataclass(frozen=True, slots=True)
class Vendor:
    """A provider that an API key sets up. `keys`: environment names, the first that is set counts.

    `base_url`: it speaks OpenAI's dialect there; empty: it is served through pydantic-ai.
    """

    prefix: str
    label: str
    keys: tuple[str, ...]
    default_model: str
    base_url: str = ""
    options: dict[str, Any] = field(default_factory=dict)


# In the order in which the default model is looked for.
VENDORS = {
    vendor.prefix: vendor
    for vendor in (
        Vendor(
            "openai",
            "OpenAI",
            ("OPENAI_API_KEY",),
            "gpt-4.1",
            "https://api.openai.com/v1",
            {"max_tokens_field": "max_completion_tokens"},
        ),
        Vendor("anthropic", "Anthropic", ("ANTHROPIC_API_KEY",), "claude-sonnet-4-5"),
        Vendor("google", "Google", ("GEMINI_API_KEY", "GOOGLE_API_KEY"), "gemini-2.5-flash"),
        Vendor(
            "mistral",
            "Mistral",
            ("MISTRAL_API_KEY",),
            "mistral-medium-latest",
            "https://api.mistral.ai/v1",
            {"seed_field": "random_seed", "ask_usage": False},
        ),
        Vendor(
            "groq",
            "Groq",
            ("GROQ_API_KEY",),
            "llama-3.3-70b-versatile",
            "https://api.groq.com/openai/v1",
        ),
        Vendor(
            "deepseek",
            "DeepSeek",
            ("DEEPSEEK_API_KEY",),
            "deepseek-chat",
            "https://api.deepseek.com/v1",
        ),
        Vendor("xai", "xAI", ("XAI_API_KEY",), "grok-4", "https://api.x.ai/v1"),
        Vendor(
            "openrouter",
            "OpenRouter",
            ("OPENROUTER_API_KEY",),
            "openai/gpt-4.1",
            "https://openrouter.ai/api/v1",
        ),
        # Named only: its credentials are AWS's own, so a key does not say that it is meant.
        Vendor(
            "bedrock",
            "Amazon Bedrock",
            ("AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"),
            "",
        ),
    )
}


def vendor_provider(vendor: Vendor, api_key: str, base_url: str = "") -> ModelProvider:
    """The adapter of `vendor`. `base_url` replaces its own (a gateway, a test)."""
    if vendor.base_url:
        return endpoint_provider(
            vendor.prefix, base_url or vendor.base_url, api_key, vendor.options
        )
    return _pydantic_ai(vendor.prefix, api_key, base_url)


@lru_cache(maxsize=16)
def _pydantic_ai(kind: str, api_key: str, base_url: str) -> ModelProvider:
    """One adapter per key: it keeps the connections."""
    from apps.engine.providers.pydantic_ai import PydanticAI

    return PydanticAI(kind, api_key, base_url)


def endpoint_provider(
    name: str, base_url: str, api_key: str, options: dict[str, Any] | None = None
) -> ModelProvider:
    """Any OpenAI-compatible server."""
    from apps.engine.providers.openai_compatible import OpenAICompatible

    return OpenAICompatible(name, base_url.rstrip("/"), api_key, **(options or {}))


def local_provider() -> ModelProvider:
    from apps.engine.providers.local import Local

    return Local()


def scripted_provider(name: str) -> ModelProvider | None:
    from apps.engine.providers import scripted

    return scripted.provider(name)
