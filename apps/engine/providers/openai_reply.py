"""Puts one streamed reply in OpenAI's form together, and says what a failure means."""

from __future__ import annotations

import json
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from apps.engine.history import estimate, text_tokens
from apps.engine.ports import CallReady, Fault, Finished, ProviderFailed, ToolCall, Usage

if TYPE_CHECKING:
    from apps.engine.ports import ModelEvent, ModelRequest

MAX_LINE = 1024 * 1024
MAX_REPLY = 8 * 1024 * 1024
MAX_CALLS = 128
REASONS = {"stop", "length", "tool_calls", "content_filter"}


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
