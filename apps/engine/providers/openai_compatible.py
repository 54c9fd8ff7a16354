"""Any server that speaks OpenAI's chat completions, streamed: the hot path of the product.

OpenAI, Ollama, vLLM, llama.cpp, OpenRouter, Groq, Mistral, DeepSeek, xAI and any base URL. Base
URLs are the operator's settings, so they may be private addresses. Several tokens that arrive in one
packet leave as one `TextDelta`.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import httpx

from apps.engine.ports import Fault, ProviderFailed, TextDelta
from apps.engine.providers.openai_reply import Reply, fault_of, retry_after
from apps.engine.providers.wire import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from apps.engine.ports import ChatMessage, ModelEvent, ModelRequest

MAX_ERROR = 16 * 1024
CONNECT = 10.0
FIRST_TOKEN = 180.0  # a local server may be loading its model
STALL = 60.0  # between two packets

_SECRETS = re.compile(r"(?i)\b(?:bearer\s+\S+|(?:sk|gsk|xai|key|pk)-[\w*.-]{4,})")
_transports: WeakKeyDictionary[asyncio.AbstractEventLoop, Transport] = WeakKeyDictionary()


def transport() -> Transport:
    """The running loop's connections. No `httpx.Client` around them: it merges headers, looks for
    cookies, proxies and redirects, and that costs more than the request itself.
    """
    loop = asyncio.get_running_loop()
    found = _transports.get(loop)
    if found is None:
        found = _transports[loop] = Transport()
    return found


async def close_transport() -> None:
    """Close the running loop's connections, before a short-lived loop ends."""
    if found := _transports.pop(asyncio.get_running_loop(), None):
        await found.aclose()


@lru_cache(maxsize=256)
def _url(text: str) -> httpx.URL:
    return httpx.URL(text)


@dataclass(frozen=True)
class OpenAICompatible:
    """One endpoint. `base_url` without a trailing slash; `api_key` may be empty.

    `max_tokens_field` and `seed_field`: what this server calls them. `ask_usage`: whether it knows
    `stream_options` (those that do not send usage anyway, or it is estimated). `offer_tools`: False
    for models that cannot call tools.
    """

    name: str
    base_url: str
    api_key: str = field(default="", repr=False)
    max_tokens_field: str = "max_tokens"
    seed_field: str = "seed"
    ask_usage: bool = True
    offer_tools: bool = True

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        """See `ports.ModelProvider`. Closing it closes the connection."""
        reply = Reply(self.name)
        try:
            async with asyncio.timeout(request.timeout):
                response = await self._send(request)
        except TimeoutError:
            raise ProviderFailed(Fault.TIMEOUT, f"{self.name} did not answer in time") from None
        except httpx.TimeoutException:
            raise ProviderFailed(Fault.TIMEOUT, f"{self.name} did not answer in time") from None
        except httpx.RemoteProtocolError:
            raise ProviderFailed(Fault.BROKEN, f"{self.name} sent a broken reply") from None
        except (httpx.HTTPError, httpx.InvalidURL):
            raise ProviderFailed(Fault.SERVER, f"{self.name} cannot be reached") from None
        try:
            async with aclosing(self._read(response, request, reply)) as texts:
                async for text in texts:
                    yield TextDelta(text)
        finally:
            await response.aclose()
        for event in reply.ending(request):
            yield event

    async def _send(self, request: ModelRequest) -> httpx.Response:
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "User-Agent": "polymux",
        }
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        message = httpx.Request(
            "POST",
            _url(f"{self.base_url}/chat/completions"),
            content=self._body(request),
            headers=headers,
            extensions={"timeout": {"connect": CONNECT, "read": min(FIRST_TOKEN, request.timeout)}},
        )
        response = await transport().handle_async_request(message)
        if response.status_code != 200:
            try:
                raise await self.refusal(response)
            finally:
                await response.aclose()
        if "text/event-stream" not in response.headers.get("content-type", ""):
            await response.aclose()
            raise ProviderFailed(Fault.BROKEN, f"{self.name} did not answer with a stream")
        return response

    async def _read(
        self, response: httpx.Response, request: ModelRequest, reply: Reply
    ) -> AsyncGenerator[str]:
        """The text as it comes. A stall, a break and the time limit become `ProviderFailed`."""
        response.request.extensions["timeout"]["read"] = min(STALL, request.timeout)
        deadline = time.monotonic() + request.timeout
        late = ProviderFailed(Fault.TIMEOUT, f"{self.name} stopped in the middle of its reply")
        try:
            async for data in response.stream:  # type: ignore[union-attr]
                text = reply.feed(data)
                if text:
                    yield text
                if reply.failure:
                    raise reply.failure
                if reply.done:
                    return
                if time.monotonic() > deadline:
                    raise late
        except httpx.TimeoutException:
            raise late from None
        except httpx.HTTPError:
            raise ProviderFailed(Fault.BROKEN, f"{self.name} broke off its reply") from None

    async def refusal(self, response: httpx.Response) -> ProviderFailed:
        """What an answer that is not 200 means."""
        status = response.status_code
        fault = fault_of(status)
        if fault is Fault.AUTH:
            return ProviderFailed(fault, f"{self.name} refused the API key ({status})")
        words = ""
        if fault in {Fault.REJECTED, Fault.UNKNOWN_MODEL}:
            words = await self._error_text(response)
        text = f"{self.name} answered {status}" + (f": {words}" if words else "")
        wait = retry_after(response.headers.get("retry-after"))
        return ProviderFailed(fault, text, retry_after=wait)

    async def _error_text(self, response: httpx.Response) -> str:
        """The provider's own words about a bad request, without anything that looks like a key."""
        raw = b""
        try:
            async for part in response.stream:  # type: ignore[union-attr]
                raw += part
                if len(raw) > MAX_ERROR:
                    return ""
            error = json.loads(raw).get("error")
        except (httpx.HTTPError, ValueError, AttributeError, RecursionError):
            return ""
        message = error.get("message") if isinstance(error, dict) else error
        return self.redacted(message) if isinstance(message, str) else ""

    def redacted(self, text: str) -> str:
        if self.api_key:
            text = text.replace(self.api_key, "[key]")
        return _SECRETS.sub("[key]", text)[:300]

    def _body(self, request: ModelRequest) -> str:
        """The request's body. The tools' JSON is known already: it is most of the text."""
        body = json.dumps(self.payload(request))
        if not (request.tools and self.offer_tools):
            return body
        tools = ", ".join(tool.function for tool in request.tools)
        return f'{body[:-1]}, "tools": [{tools}]}}'

    def payload(self, request: ModelRequest) -> dict[str, Any]:
        """The request's body but for the tools."""
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": request.model,
            "messages": [wire_message(message) for message in request.messages],
            "stream": True,
        }
        if self.ask_usage:
            body["stream_options"] = {"include_usage": True}
        optional = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self.max_tokens_field: sampling.max_tokens,
            "stop": list(sampling.stop) or None,
            self.seed_field: sampling.seed,
            "response_format": sampling.response_format,
        }
        body |= {name: value for name, value in optional.items() if value is not None}
        if request.tools and self.offer_tools and sampling.tool_choice is not None:
            body["tool_choice"] = sampling.tool_choice
        return body


def wire_message(message: ChatMessage) -> dict[str, Any]:
    """A message as OpenAI writes it."""
    content: Any = message.content
    if message.images:
        content = [{"type": "text", "text": message.content}] if message.content else []
        content += [
            {"type": "image_url", "image_url": {"url": image.url, "detail": image.detail}}
            for image in message.images
        ]
    result: dict[str, Any] = {"role": message.role, "content": content}
    if message.tool_calls:
        result["content"] = message.content or None
        result["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for call in message.tool_calls
        ]
    if message.role == "tool":
        result["tool_call_id"] = message.tool_call_id
    return result
