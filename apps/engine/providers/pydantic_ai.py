"""Anthropic, Google and Bedrock through pydantic-ai's `direct` API (imported on the first call)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from contextlib import aclosing
from importlib import import_module
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from apps.engine.ports import (
    CallReady,
    Fault,
    Finished,
    ProviderFailed,
    TextDelta,
    ToolCall,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from apps.engine.ports import ChatMessage, Image, ModelEvent, ModelRequest

MODULES = {
    "anthropic": ("models.anthropic", "AnthropicModel", "providers.anthropic", "AnthropicProvider"),
    "google": ("models.google", "GoogleModel", "providers.google", "GoogleProvider"),
    "bedrock": ("models.bedrock", "BedrockConverseModel", "providers.bedrock", "BedrockProvider"),
}
REASONS = {"stop", "length", "content_filter"}
MAX_CHARACTERS = 8 * 1024 * 1024

# Exceptions of pydantic-ai by name, the narrower first.
FAULTS = {
    "ModelRateLimitError": Fault.RATE_LIMITED,
    "ModelAuthenticationError": Fault.AUTH,
    "ModelNotFoundError": Fault.UNKNOWN_MODEL,
    "ModelQuotaExceededError": Fault.REJECTED,
    "ModelRequestRejectedError": Fault.REJECTED,
    "ModelTimeoutError": Fault.TIMEOUT,
    "ModelRequestTimeout": Fault.TIMEOUT,
    "ModelAPIError": Fault.SERVER,
    "UserError": Fault.REJECTED,
    "UnexpectedModelBehavior": Fault.BROKEN,
}
WORDS = {
    Fault.RATE_LIMITED: "limits our rate",
    Fault.AUTH: "refused the API key",
    Fault.UNKNOWN_MODEL: "does not know this model",
    Fault.REJECTED: "rejected the request",
    Fault.TIMEOUT: "did not answer in time",
    Fault.SERVER: "failed",
    Fault.BROKEN: "sent a broken reply",
}


class PydanticAI:
    """One vendor. `kind`: a key of `MODULES`. Clients belong to an event loop, so they are kept so."""

    def __init__(self, kind: str, api_key: str, base_url: str = "") -> None:
        self.name = kind
        self._api_key, self._base_url = api_key, base_url
        self._providers: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """See `ports.ModelProvider`."""
        await asyncio.to_thread(import_module, "pydantic_ai.direct")  # seconds, the first time
        try:
            async with asyncio.timeout(request.timeout), aclosing(self._events(request)) as events:
                async for event in events:
                    yield event
        except TimeoutError:
            raise ProviderFailed(Fault.TIMEOUT, f"{self.name} did not answer in time") from None
        except ProviderFailed:
            raise
        except Exception as error:
            raise self._failure(error) from error

    async def _events(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        from pydantic_ai import direct, messages

        size = 0
        async with direct.model_request_stream(
            await self._model(request.model),
            to_messages(request.messages, urls=self.name == "anthropic"),
            model_settings=to_settings(request),
            model_request_parameters=to_parameters(request),
            instrument=False,
        ) as stream:
            async for event in stream:
                text = _text_of(event)
                size += len(text)
                if size > MAX_CHARACTERS:
                    raise ProviderFailed(Fault.BROKEN, f"{self.name} sent more than is allowed")
                if text:
                    yield TextDelta(text)
            response, usage = stream.get(), stream.usage
        calls = [p for p in response.parts if isinstance(p, messages.ToolCallPart)]
        for part in calls:
            yield CallReady(to_call(part))
        reason = response.finish_reason if response.finish_reason in REASONS else "stop"
        yield Finished(
            "tool_calls" if calls else reason,
            Usage(usage.input_tokens, usage.output_tokens, usage.cache_read_tokens),
        )

    async def _model(self, name: str) -> Any:
        model_module, model_class, provider_module, provider_class = MODULES[self.name]
        models = await asyncio.to_thread(import_module, f"pydantic_ai.{model_module}")
        loop = asyncio.get_running_loop()
        if loop not in self._providers:
            module = await asyncio.to_thread(import_module, f"pydantic_ai.{provider_module}")
            options = {"base_url": self._base_url} if self._base_url else {}
            if self.name != "bedrock":  # its credentials are AWS's own, from the environment
                options["api_key"] = self._api_key
            self._providers[loop] = getattr(module, provider_class)(**options)
        return getattr(models, model_class)(name, provider=self._providers[loop])

    def _failure(self, error: Exception) -> ProviderFailed:
        names = [base.__name__ for base in type(error).__mro__]
        fault = next((fault for name, fault in FAULTS.items() if name in names), Fault.SERVER)
        wait = getattr(error, "retry_after", None)
        return ProviderFailed(fault, f"{self.name} {WORDS[fault]}", retry_after=wait)


def _text_of(event: Any) -> str:
    """The text in a stream event of pydantic-ai; thinking and calls have none."""
    from pydantic_ai import messages

    if isinstance(event, messages.PartStartEvent) and isinstance(event.part, messages.TextPart):
        return event.part.content
    if isinstance(event, messages.PartDeltaEvent) and isinstance(
        event.delta, messages.TextPartDelta
    ):
        return event.delta.content_delta
    return ""


def to_messages(history: Any, *, urls: bool) -> list[Any]:
    """Our messages as pydantic-ai's. `urls`: the vendor fetches image URLs itself.

    Where it does not, the library would fetch them from here: only data URLs are taken then.
    """
    from pydantic_ai import messages

    result: list[Any] = []
    names: dict[str, str] = {}
    for message in history:
        names |= {call.id: call.name for call in message.tool_calls}
        if message.role == "assistant":
            parts: list[Any] = [messages.TextPart(message.content)] if message.content else []
            parts += [
                messages.ToolCallPart(call.name, call.arguments, call.id)
                for call in message.tool_calls
            ]
            result.append(messages.ModelResponse(parts))
            continue
        part = _request_part(message, names, urls=urls)
        if result and isinstance(result[-1], messages.ModelRequest):
            result[-1] = messages.ModelRequest([*result[-1].parts, part])
        else:
            result.append(messages.ModelRequest([part]))
    return result


def _request_part(message: ChatMessage, names: dict[str, str], *, urls: bool) -> Any:
    from pydantic_ai import messages

    if message.role == "system":
        return messages.SystemPromptPart(message.content)
    if message.role == "tool":
        name = names.get(message.tool_call_id, "tool")
        return messages.ToolReturnPart(name, message.content, message.tool_call_id)
    if not message.images:
        return messages.UserPromptPart(message.content)
    content: list[Any] = [message.content] if message.content else []
    return messages.UserPromptPart([*content, *(_image(i, urls=urls) for i in message.images)])


def _image(image: Image, *, urls: bool) -> Any:
    from pydantic_ai import messages

    if not image.url.startswith("data:"):
        if not urls:
            raise ProviderFailed(Fault.REJECTED, "This model takes images as data URLs only.")
        return messages.ImageUrl(image.url)
    head, _, data = image.url[5:].partition(",")
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise ProviderFailed(Fault.REJECTED, "An image's data URL is not base64.") from None
    return messages.BinaryContent(raw, media_type=head.partition(";")[0] or "image/png")


def to_settings(request: ModelRequest) -> Any:
    """Sampling as pydantic-ai's settings; what is not set is left to the vendor."""
    sampling = request.sampling
    choice = sampling.tool_choice
    if isinstance(choice, dict):
        choice = [choice.get("function", {}).get("name", "")]
    settings = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stop_sequences": list(sampling.stop) or None,
        "seed": sampling.seed,
        "tool_choice": choice if request.tools else None,
        "timeout": request.timeout,
        "max_retries": 0,  # the loop retries, and says so
    }
    return {name: value for name, value in settings.items() if value is not None}


def to_parameters(request: ModelRequest) -> Any:
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.output import OutputObjectDefinition
    from pydantic_ai.tools import ToolDefinition

    options: dict[str, Any] = {}
    wanted = request.sampling.response_format or {}
    if wanted.get("type") == "json_schema":
        schema = wanted.get("json_schema") or {}
        options["output_mode"] = "native"
        options["output_object"] = OutputObjectDefinition(
            schema.get("schema") or {"type": "object"}, schema.get("name"), strict=True
        )
    tools = [
        ToolDefinition(
            name=tool.name, parameters_json_schema=tool.parameters, description=tool.description
        )
        for tool in request.tools
    ]
    return ModelRequestParameters(function_tools=tools, **options)


def to_call(part: Any) -> ToolCall:
    """A tool call; `error` is set when its arguments are no JSON object."""
    arguments = part.args or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            arguments = None
    if not isinstance(arguments, dict):
        error = "The arguments are not a valid JSON object."
        return ToolCall(part.tool_call_id, part.tool_name, {}, error)
    return ToolCall(part.tool_call_id, part.tool_name, arguments)
