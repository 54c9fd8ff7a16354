"""Short looks at what is there: Ollama, other servers' model lists, the local model, a key's proof.

Each answer is remembered for half a minute, and none raises: what cannot be asked is not there.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from apps.engine.ports import ChatMessage, ModelRequest, ProviderFailed, Sampling

if TYPE_CHECKING:
    from apps.engine.ports import ModelChoice

ASK_SECONDS = 0.5
PROOF_SECONDS = 30.0
REMEMBER = 30.0
MAX_MODELS = 100
MAX_ANSWER = 1024 * 1024
OLLAMA_WINDOW = 4_096  # its own default

_remembered: dict[str, tuple[float, list[str]]] = {}
_lock = threading.Lock()


def ollama_url() -> str:
    """Where Ollama is: OLLAMA_HOST in any form that Ollama takes, else this host."""
    host = os.environ.get("OLLAMA_HOST", "").strip() or "127.0.0.1"
    parts = urlsplit(host if "://" in host else f"http://{host}")
    name = parts.hostname or "127.0.0.1"
    if name in {"0.0.0.0", "::"}:  # noqa: S104 - what a server listens on, not where a client goes
        name = "127.0.0.1"
    name = f"[{name}]" if ":" in name else name
    try:
        port = parts.port
    except ValueError:
        port = None
    return f"{parts.scheme}://{name}:{port or 11434}"


def ollama_window() -> int:
    """OLLAMA_CONTEXT_LENGTH, else Ollama's default: it cuts longer prompts without a word."""
    value = os.environ.get("OLLAMA_CONTEXT_LENGTH", "")
    return max(512, int(value)) if value.isascii() and value.isdigit() else OLLAMA_WINDOW


def ollama_models() -> list[str]:
    """The models that Ollama has; [] when it does not run. Embedding models are left out."""
    names = _listed(f"{ollama_url()}/api/tags", "", "models", "name")
    return [name for name in names if "embed" not in name]


def ollama_default() -> str:
    models = ollama_models()
    return models[0] if models else ""


def endpoint_models(base_url: str, api_key: str) -> list[str]:
    """What an OpenAI-compatible server lists; [] when it does not."""
    return _listed(f"{base_url.rstrip('/')}/models", api_key, "data", "id")


def local_installed() -> bool:
    from apps.engine.providers import local

    return local.installed()


def _listed(url: str, api_key: str, outer: str, inner: str) -> list[str]:
    now = time.monotonic()
    with _lock:
        when, names = _remembered.get(url, (0.0, []))
        if url in _remembered and now - when < REMEMBER:
            return names
    names = _names(_get(url, api_key), outer, inner)
    with _lock:
        _remembered[url] = (now, names)
    return names


def _get(url: str, api_key: str) -> Any:
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        with (
            httpx.Client(trust_env=False, timeout=ASK_SECONDS) as http,
            http.stream("GET", url, headers=headers) as response,
        ):
            body = b""
            for part in response.iter_bytes():
                body += part
                if len(body) > MAX_ANSWER:
                    return None
            return json.loads(body) if response.status_code == 200 else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError):
        return None


def _names(answer: Any, outer: str, inner: str) -> list[str]:
    entries = answer.get(outer) if isinstance(answer, dict) else None
    names = [
        entry[inner]
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and isinstance(entry.get(inner), str)
    ]
    return names[:MAX_MODELS]


def prove(choice: ModelChoice) -> str:
    """One tiny call to `choice`, in a loop of its own. "" when it answers, else why not."""
    request = ModelRequest(
        choice.model,
        [ChatMessage("user", "Say OK.")],
        sampling=Sampling(max_tokens=16),
        timeout=PROOF_SECONDS,
    )
    return asyncio.run(_prove(choice, request))


async def _prove(choice: ModelChoice, request: ModelRequest) -> str:
    from apps.engine.providers.openai_compatible import close_transport

    try:
        async with aclosing(choice.provider.stream(request)) as events:  # type: ignore[type-var]
            async for _ in events:
                pass
    except ProviderFailed as failure:
        return failure.message
    finally:
        await close_transport()
    return ""


def forget() -> None:
    with _lock:
        _remembered.clear()
