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
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import httpx

from apps.engine.history import estimate, text_tokens
from apps.engine.ports import (
    CallReady,
    Fault,
    Finished,
    ProviderFailed,
    TextDelta,
    ToolCall,
    Usage,
)
from apps.engine.providers.wire import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from apps.engine.ports import ChatMessage, ModelEvent, ModelRequest

MAX_LINE = 1024 * 1024
MAX_REPLY = 8 * 1024 * 1024
MAX_CALLS = 128
MAX_ERROR = 16 * 1024
CONNECT = 10.0
FIRST_TOKEN = 180.0  # a local server may be loading its model
STALL = 60.0  # between two packets
REASONS = {"stop", "length", "tool_calls", "content_filter"}

_SECRETS = re.compile(r"(?i)\b(?:bearer\s+\S+|(?:sk|gsk|xai|key|pk)-[\w*.-]{4,})")
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()


def client() -> httpx.AsyncClient:
    """The pooled client of the running loop."""
    loop = asyncio.get_running_loop()
    found = _clients.get(loop)
    if found is None:
        found = _clients[loop] = httpx.AsyncClient(transport=Transport(), trust_env=False)
    return found


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

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
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
        http = client()
        message = http.build_request(
            "POST",
            f"{self.base_url}/chat/completions",
            content=json.dumps(self.payload(request)),
            headers=headers,
            timeout=httpx.Timeout(min(FIRST_TOKEN, request.timeout), connect=CONNECT),
        )
        response = await http.send(message, stream=True)
        if response.status_code != 200:
            try:
                raise await self._refusal(response)
            finally:
                await response.aclose()
        if "text/event-stream" not in response.headers.get("content-type", ""):
            await response.aclose()
            raise ProviderFailed(Fault.BROKEN, f"{self.name} did not answer with a stream")
        return response

    async def _read(
        self, response: httpx.Response, request: ModelRequest, reply: Reply
    ) -> AsyncIterator[str]:
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

    async def _refusal(self, response: httpx.Response) -> ProviderFailed:
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

    def payload(self, request: ModelRequest) -> dict[str, Any]:
        """The request's body."""
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
        if request.tools and self.offer_tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": tool.parameters,
                    },
                }
                for tool in request.tools
            ]
            if sampling.tool_choice is not None:
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


def fault_of(status: int) -> Fault:
    if status in {401, 403}:
        return Fault.AUTH
    if status == 404:
        return Fault.UNKNOWN_MODEL
    if status in {408, 504}:
        return Fault.TIMEOUT
    if status == 429:
        return Fault.RATE_LIMITED
    return Fault.SERVER if status >= 500 else Fault.REJECTED


def retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header: a number or a date; None when it is neither."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), 86_400.0) if seconds == seconds else None  # noqa: PLR0124 - NaN


class Reply:
    """Puts one streamed reply together. `done` after `[DONE]`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rest = b""
        self.size = 0
        self.done = False
        self.failure: ProviderFailed | None = None
        self.reason = ""
        self.usage: Usage | None = None
        self.letters = 0
        self.calls: dict[int, dict[str, Any]] = {}

    def broken(self, words: str) -> ProviderFailed:
        return ProviderFailed(Fault.BROKEN, f"{self.name} {words}")

    def feed(self, data: bytes) -> str:
        """The text in `data`; everything else is kept. Nonsense sets `failure`, after the text."""
        self.size += len(data)
        if self.size > MAX_REPLY:
            self.failure = self.broken("sent more than is allowed")
            return ""
        if self.rest:
            data = self.rest + data
        lines = data.split(b"\n")
        self.rest = lines.pop()
        if len(self.rest) > MAX_LINE:
            self.failure = self.broken("sent an endless line")
        text = ""
        try:
            for line in lines:
                if line.startswith(b"data:"):
                    text += self._event(line[5:])
                    if self.done:
                        break
        except ProviderFailed as failure:
            self.failure = failure
        self.letters += len(text)
        return text

    def _event(self, raw: bytes) -> str:
        try:
            event = json.loads(raw)
        except (ValueError, RecursionError):
            if raw.strip() == b"[DONE]":
                self.done = True
                return ""
            raise self.broken("sent JSON that is none") from None
        try:
            choices = event.get("choices")
            if choices:
                choice = choices[0]
                delta = choice.get("delta") or {}
                if choice.get("finish_reason"):
                    self.reason = str(choice["finish_reason"])
                if delta.get("tool_calls"):
                    self._calls(delta["tool_calls"])
                text = delta.get("content")
                if event.get("usage"):
                    self.usage = read_usage(event["usage"])
                return text if isinstance(text, str) else ""
            if event.get("usage"):
                self.usage = read_usage(event["usage"])
        except (AttributeError, TypeError, KeyError, IndexError, ValueError):
            raise self.broken("sent an event of an unknown form") from None
        if event.get("error"):
            raise self._error(event["error"])
        return ""

    def _error(self, error: Any) -> ProviderFailed:
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
        return ProviderFailed(fault_of(status), f"{self.name} reported an error in its reply")

    def _calls(self, deltas: list[dict[str, Any]]) -> None:
        for delta in deltas:
            index = delta.get("index")
            index = len(self.calls) if index is None else int(index)
            if index not in self.calls:
                if len(self.calls) >= MAX_CALLS:
                    raise self.broken("asked for too many tool calls")
                self.calls[index] = {"id": "", "name": "", "arguments": []}
            call, function = self.calls[index], delta.get("function") or {}
            call["id"] = call["id"] or str(delta.get("id") or "")
            call["name"] = call["name"] or str(function.get("name") or "")
            arguments = function.get("arguments")
            if isinstance(arguments, dict):  # some servers send them whole, as an object
                arguments = json.dumps(arguments)
            call["arguments"].append(arguments or "")

    def ending(self, request: ModelRequest) -> list[ModelEvent]:
        """The calls and the end. Raises `ProviderFailed` when the reply was cut off."""
        if not self.done and not self.reason:
            raise self.broken("ended its reply too early")
        calls = [made_call(self.calls[index]) for index in sorted(self.calls)]
        reason = "tool_calls" if calls else self.reason
        usage = self.usage or self._estimated(request, calls)
        events: list[ModelEvent] = [CallReady(call) for call in calls]
        return [*events, Finished(reason if reason in REASONS else "stop", usage)]

    def _estimated(self, request: ModelRequest, calls: list[ToolCall]) -> Usage:
        made = -(-self.letters // 4)
        made += sum(text_tokens(call.name + json.dumps(call.arguments)) for call in calls)
        return Usage(estimate(request.messages, request.tools), made)


def made_call(parts: dict[str, Any]) -> ToolCall:
    """A call whose arguments came in pieces; `error` is set when they are no JSON object."""
    text = "".join(parts["arguments"]).strip() or "{}"
    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError):
        return ToolCall(parts["id"], parts["name"], {}, "The arguments are not valid JSON.")
    if not isinstance(arguments, dict):
        return ToolCall(parts["id"], parts["name"], {}, "The arguments must be a JSON object.")
    return ToolCall(parts["id"], parts["name"], arguments)


def read_usage(usage: dict[str, Any]) -> Usage:
    """What the server says it counted; never negative."""
    details = usage.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or 0
    return Usage(
        max(0, int(usage.get("prompt_tokens") or 0)),
        max(0, int(usage.get("completion_tokens") or 0)),
        max(0, int(cached)),
    )
