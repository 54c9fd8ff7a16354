"""What a model costs and holds: list prices, context window, longest reply.

Prices come from `genai-prices` (the list inside the package, never the network), with a table of our
own before it. An unknown model costs nothing and says so: `known` is False. Tiered prices count at
their base.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

DEFAULT_WINDOW = 128_000
DEFAULT_OUTPUT = 4_096
REASONING_OUTPUT = 16_384  # a model that thinks spends most of its reply on it

# Our prefix -> the name in genai-prices, where they differ.
NAMES = {"xai": "x-ai", "bedrock": "aws"}
REASONING = ("gpt-5", "o1", "o3", "o4", "grok-4", "deepseek-reasoner", "gemini-2.5", "gemini-3")


@dataclass(frozen=True, slots=True)
class Price:
    """Micro-USD per million tokens; tokens."""

    price_in: int = 0
    price_out: int = 0
    window: int = DEFAULT_WINDOW
    max_output: int = DEFAULT_OUTPUT
    known: bool = False


# ref -> price. These come before the list.
OWN: dict[str, Price] = {
    "local/smollm2": Price(window=4_096, max_output=512, known=True),
}
# prefix -> for every model of a provider that costs nothing.
FREE: dict[str, Price] = {
    "ollama": Price(window=4_096, max_output=2_048, known=True),
    "scripted": Price(known=True),
}


@lru_cache(maxsize=512)
def price_of(ref: str) -> Price:
    """The price of `provider/model`. Loads the list on first use (about 0.2 s)."""
    prefix, _, model = ref.partition("/")
    if ref in OWN:
        return OWN[ref]
    if prefix in FREE:
        return FREE[prefix]
    most = REASONING_OUTPUT if model.rpartition("/")[2].startswith(REASONING) else DEFAULT_OUTPUT
    found = _listed(NAMES.get(prefix, prefix), model)
    if found is None:
        return Price(max_output=most)
    prices = found.get_prices(datetime.now(UTC))
    return Price(
        _micros(prices.input_mtok),
        _micros(prices.output_mtok),
        found.context_window or DEFAULT_WINDOW,
        most,
        known=True,
    )


def _listed(provider: str, model: str) -> Any:
    """The list's entry; None when it has none."""
    from genai_prices.data_snapshot import get_snapshot

    try:
        return get_snapshot().find_provider_model(model, None, provider, None)[1]
    except LookupError:
        return None


def _micros(price: Any) -> int:
    """USD per million tokens, perhaps tiered, as micro-USD."""
    base = getattr(price, "base", price)
    return int(base * 1_000_000) if base else 0
