"""The shapes of OpenAI's chat completions: what comes in, what goes out.

In: `messages` with text and image parts, tool calls and tool results, `tools` the caller runs itself,
sampling, `stream`. Unknown fields are ignored, as every OpenAI-compatible server does. Out: the
completion, its chunks, errors. Sources: contract/polyant.md B22, contract/polpo.md §11, OpenAI's own
published shapes.
"""

from __future__ import annotations

import json
import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from apps.conversations.services.messages import MAX_CONTENT
from apps.core.errors import InvalidInput
from apps.engine.ports import ChatMessage, Image, Outcome, Sampling, ToolCall, ToolSpec, Usage

MAX_MESSAGES = 1_000
MAX_TOOLS = 128


class Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore")


class ImageUrl(Lenient):
    url: Annotated[str, Field(max_length=8 * 1024 * 1024, pattern=r"^(https?://|data:image/)")]
    detail: str = "auto"


class Part(Lenient):
    type: Literal["text", "image_url", "refusal"]
    text: str = ""
    refusal: str = ""
    image_url: ImageUrl | None = None


class Function(Lenient):
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: Annotated[str, Field(max_length=4096)] = ""
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})


class ClientTool(Lenient):
    type: Literal["function"]
    function: Function


class CalledFunction(Lenient):
    name: str
    arguments: str = "{}"


class MadeCall(Lenient):
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class InMessage(Lenient):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    tool_calls: Annotated[list[MadeCall], Field(max_length=MAX_TOOLS)] | None = None
    tool_call_id: str = ""


class StreamOptions(Lenient):
    include_usage: bool = False


class CompletionRequest(Lenient):
    """Body of `POST /v1/chat/completions`."""

    model: Annotated[str, Field(max_length=200)] = ""
    messages: Annotated[list[InMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    max_completion_tokens: Annotated[int, Field(gt=0)] | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    seed: int | None = None
    n: Literal[1] | None = None
    response_format: dict[str, Any] | None = None
    tools: Annotated[list[ClientTool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    chat_id: Annotated[str, Field(max_length=128)] = ""
    project: Annotated[str, Field(max_length=128)] = ""
    agent: Annotated[str, Field(max_length=128)] = ""

    @field_validator("model", "chat_id", "project", "agent")
    @classmethod
    def _storable(cls, value: str) -> str:
        if "\x00" in value:
            raise PydanticCustomError("nul", "NUL characters are not allowed.")
        return value


def parse_request(body: bytes) -> CompletionRequest:
    """The request, or InvalidInput naming the offending parameter (`details["param"]`)."""
    try:
        request = CompletionRequest.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(error) from None
    except UnicodeDecodeError:
        raise InvalidInput("The body is not valid UTF-8.") from None
    for place, message in enumerate(request.messages):
        if "\x00" in (text := text_of(message)):
            raise InvalidInput("NUL characters are not allowed.", param=f"messages.{place}.content")
        if len(text) > MAX_CONTENT:
            raise InvalidInput(
                f"A message holds at most {MAX_CONTENT} characters.",
                param=f"messages.{place}.content",
            )
    return request


def _invalid(error: ValidationError) -> InvalidInput:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    param = ".".join(str(part) for part in first["loc"])
    if first["type"] == "json_invalid":
        return InvalidInput("The body is not valid JSON.")
    return InvalidInput(f"{param}: {first['msg']}" if param else first["msg"], param=param or None)


def text_of(message: InMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    return "".join(part.text or part.refusal for part in message.content or ())


def as_chat(message: InMessage) -> ChatMessage:
    """One message of the request as the engine reads it."""
    parts = message.content if isinstance(message.content, list) else ()
    images = tuple(Image(p.image_url.url, p.image_url.detail) for p in parts if p.image_url)
    calls = tuple(_call(made) for made in message.tool_calls or ())
    role = "system" if message.role == "developer" else message.role
    return ChatMessage(role, text_of(message), images, calls, message.tool_call_id)


def _call(made: MadeCall) -> ToolCall:
    try:
        arguments = json.loads(made.function.arguments or "{}")
    except ValueError:
        return ToolCall(made.id, made.function.name, {}, error="arguments were not JSON")
    return ToolCall(made.id, made.function.name, arguments if isinstance(arguments, dict) else {})


def sampling_of(request: CompletionRequest) -> Sampling:
    stop = (request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ())
    return Sampling(
        temperature=request.temperature,
        top_p=request.top_p,
        max_tokens=request.max_completion_tokens or request.max_tokens,
        stop=stop,
        seed=request.seed,
        response_format=request.response_format,
        tool_choice=request.tool_choice,
    )


def client_tools_of(request: CompletionRequest) -> list[ToolSpec]:
    return [
        ToolSpec(
            tool.function.name, tool.function.description, tool.function.parameters, client=True
        )
        for tool in request.tools or ()
    ]


# --- Out --------------------------------------------------------------------------------------
def usage_json(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.tokens_in,
        "completion_tokens": usage.tokens_out,
        "total_tokens": usage.tokens_in + usage.tokens_out,
        "prompt_tokens_details": {"cached_tokens": usage.cached_in},
    }


def calls_json(outcome: Outcome) -> list[dict[str, Any]]:
    return [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
        }
        for call in outcome.calls
    ]


def finish_reason(outcome: Outcome) -> str:
    if outcome.handed:
        return outcome.handed[0]
    if outcome.calls:
        return "tool_calls"
    return outcome.reason if outcome.reason in {"length", "content_filter"} else "stop"


def handed_json(outcome: Outcome) -> dict[str, Any]:
    """What a tool hands to the caller, under its own name (contract/polpo.md §11)."""
    return dict([outcome.handed]) if outcome.handed else {}


def completion_json(completion_id: str, model: str, outcome: Outcome) -> dict[str, Any]:
    """A whole, unstreamed completion."""
    message: dict[str, Any] = {"role": "assistant", "content": outcome.text, "refusal": None}
    if outcome.calls:
        message |= {"content": outcome.text or None, "tool_calls": calls_json(outcome)}
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": finish_reason(outcome),
        **handed_json(outcome),
    }
    return {
        "id": completion_id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [choice],
        "usage": usage_json(outcome.usage),
    }


class ChunkWriter:
    """Formats `chat.completion.chunk` frames; the part that never changes is encoded once."""

    def __init__(self, completion_id: str, model: str, *, with_usage: bool) -> None:
        self._head = {
            "id": completion_id,
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }
        self._with_usage = with_usage
        null_usage = ',"usage":null' if with_usage else ""
        self._before = (
            b"data: "
            + json.dumps(self._head)[:-1].encode()
            + (b', "choices": [{"index": 0, "delta": {"content": ')
        )
        self._after = (
            '}, "logprobs": null, "finish_reason": null}]' + null_usage + "}\n\n"
        ).encode()

    def opening(self) -> bytes:
        return self._frame({"role": "assistant", "content": ""})

    def text(self, text: str) -> bytes:
        """One text delta: the hot path of streaming."""
        return self._before + json.dumps(text).encode() + self._after

    def piece(self, news: str | dict[str, Any]) -> bytes:
        """A text delta, or what has become of a tool call (contract/polpo.md §11)."""
        return self.text(news) if isinstance(news, str) else self._frame({}, tool_call=news)

    def closing(self, outcome: Outcome) -> bytes:
        """Tool calls if any, the finish, the usage if asked for, and `[DONE]`."""
        frames = []
        if outcome.calls:
            calls = [call | {"index": place} for place, call in enumerate(calls_json(outcome))]
            frames.append(self._frame({"tool_calls": calls}))
        frames.append(self._frame({}, finish=finish_reason(outcome), **handed_json(outcome)))
        if self._with_usage:
            frames.append(
                self._line(self._head | {"choices": [], "usage": usage_json(outcome.usage)})
            )
        return b"".join([*frames, b"data: [DONE]\n\n"])

    def error(self, body: dict[str, Any]) -> bytes:
        """A failure after the first byte: the SDKs raise on a chunk that has `error`."""
        return self._line(body) + b"data: [DONE]\n\n"

    def _frame(self, delta: dict[str, Any], *, finish: str | None = None, **beside: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish, **beside}
        tail = {"usage": None} if self._with_usage else {}
        return self._line(self._head | {"choices": [choice]} | tail)

    @staticmethod
    def _line(value: Any) -> bytes:
        return b"data: " + json.dumps(value).encode() + b"\n\n"
