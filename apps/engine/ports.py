"""What the engine needs from the world. Imports neither Django nor Celery.

The loop (`loop.py`) is a pure step over these ports: scripted ports test it without a database, and
`apps.runs` implements them on the real one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


# --- What is said -----------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Image:
    """An image part: an https or data URL."""

    url: str
    detail: str = "auto"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model asks for. `error` is set when its arguments were not valid JSON."""

    id: str
    name: str
    arguments: dict[str, Any]
    error: str = ""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """role: system, user, assistant or tool (then `tool_call_id` names the call it answers)."""

    role: str
    content: str = ""
    images: tuple[Image, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True)
class ToolSpec:
    """`client`: the caller of the API runs it; the turn ends with the call handed out.

    `ends_turn`: it hands something over and ends the turn, before any other call of the same reply.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    client: bool = False
    ends_turn: bool = False

    @cached_property
    def function(self) -> str:
        """As OpenAI spells a function, in JSON. Made once: a chat offers forty of these each time."""
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
        }
        return json.dumps({"type": "function", "function": function})


@dataclass(frozen=True, slots=True)
class Sampling:
    """None means the provider's own default. `response_format` and `tool_choice` as OpenAI's."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    response_format: dict[str, Any] | None = None
    tool_choice: Any = None


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """`model` is the provider's own name for it (`gpt-4.1`), without our provider prefix."""

    model: str
    messages: Sequence[ChatMessage]
    tools: Sequence[ToolSpec] = ()
    sampling: Sampling = field(default_factory=Sampling)
    timeout: float = 120.0


# --- What comes back --------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Usage:
    tokens_in: int = 0
    tokens_out: int = 0
    cached_in: int = 0


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str


@dataclass(frozen=True, slots=True)
class CallReady:
    call: ToolCall


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of every stream. `reason`: stop, length, tool_calls or content_filter."""

    reason: str
    usage: Usage


ModelEvent = TextDelta | CallReady | Finished


class Fault(StrEnum):
    """How a provider failed. The first four are worth another try."""

    RATE_LIMITED = "rate_limited"
    SERVER = "server_error"
    TIMEOUT = "timeout"
    BROKEN = "broken_stream"
    AUTH = "auth"
    REJECTED = "rejected"
    UNKNOWN_MODEL = "unknown_model"


RETRYABLE = frozenset({Fault.RATE_LIMITED, Fault.SERVER, Fault.TIMEOUT, Fault.BROKEN})


class ProviderFailed(Exception):
    """A provider's failure, with words safe to show. `retry_after` seconds if it said so."""

    def __init__(self, fault: Fault, message: str, *, retry_after: float | None = None) -> None:
        self.fault, self.message, self.retry_after = fault, message, retry_after
        super().__init__(f"{fault}: {message}")


class ModelProvider(Protocol):
    """Adapter of one provider. `stream` raises `ProviderFailed`; closing it stops the provider."""

    @property
    def name(self) -> str: ...

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]: ...


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A provider with the model's own name, its window and price (micro-USD per million tokens)."""

    ref: str
    provider: ModelProvider
    model: str
    window: int = 128_000
    max_output: int = 4_096
    price_in: int = 0
    price_out: int = 0

    def cost_micros(self, usage: Usage) -> int:
        """Rounded up: a meter that rounds down can be emptied by small calls."""
        return -(
            -(usage.tokens_in * self.price_in + usage.tokens_out * self.price_out) // 1_000_000
        )


# --- Tools ------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ToolResult:
    """`content` is what the model reads; `data` the JSON for the journal and the live stream."""

    content: str
    is_error: bool = False
    data: Any = None


class ToolWaits(Exception):
    """The call rests until a human decides approval `approval_id` (a UUID as text)."""

    def __init__(self, approval_id: str) -> None:
        self.approval_id = approval_id
        super().__init__(approval_id)


class ToolEnds(Exception):
    """The call ends the turn: `payload` goes to the caller under the name `reason`.

    `words` say it in text, where the model has said nothing itself.
    """

    def __init__(self, reason: str, payload: dict[str, Any], words: str = "") -> None:
        self.reason, self.payload, self.words = reason, payload, words
        super().__init__(reason)


class ToolBox(Protocol):
    """The tools this run may use. `call` never raises for a tool's own failure: it is a result.

    `key` is an idempotency key: the same for a repeat of the same call after a crash.
    Raises `ToolWaits` for an interactive tool, `ToolEnds` for one that hands something over.
    """

    async def specs(self) -> Sequence[ToolSpec]: ...

    async def call(self, call: ToolCall, *, key: str) -> ToolResult: ...


# --- May I, and this happened -----------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Allowed:
    pass


@dataclass(frozen=True, slots=True)
class Denied:
    reason: str


@dataclass(frozen=True, slots=True)
class NeedsHuman:
    """Rest until approval `approval_id` is decided."""

    approval_id: str


Verdict = Allowed | Denied | NeedsHuman


class Gate(Protocol):
    """May this call be made? Asked before every tool call, and again after a decision."""

    async def may(self, call: ToolCall, *, key: str) -> Verdict: ...


@dataclass(frozen=True, slots=True)
class Spend:
    tokens: int = 0
    cost_micros: int = 0
    tool_calls: int = 0


class Go(StrEnum):
    """What the journal says before a step."""

    ON = "on"
    CANCEL = "cancel"
    LEASE_LOST = "lease_lost"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step as it is journaled. `index` counts from 1; `usage` is zero for tools."""

    index: int
    kind: str  # "model" | "tool"
    name: str
    status: str  # "ok" | "error" | "cancelled" | "interrupted": it handed something over
    call_id: str = ""
    input: Any = None
    output: Any = None
    usage: Usage = field(default_factory=Usage)
    cost_micros: int = 0
    seconds: float = 0.0


class Ending(StrEnum):
    DONE = "done"
    WAITING = "waiting"
    CLIENT_TOOLS = "client_tools"
    HANDED_OVER = "handed_over"
    CANCELLED = "cancelled"
    FAILED = "failed"
    LEASE_LOST = "lease_lost"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a turn came to rest. `text` is the whole reply, or what there is of it; `last` the text of
    the newest model reply that had any.

    WAITING: `approval_id`. CLIENT_TOOLS: `calls`. FAILED: `code` and `message`.
    HANDED_OVER: `handed` is (reason, payload).
    `reason` is the provider's finish reason; `model` the reference that answered (a fallback may).
    """

    ending: Ending
    text: str = ""
    last: str = ""
    reason: str = "stop"
    usage: Usage = field(default_factory=Usage)
    cost_micros: int = 0
    model: str = ""
    calls: tuple[ToolCall, ...] = ()
    approval_id: str = ""
    code: str = ""
    message: str = ""
    handed: tuple[str, dict[str, Any]] | None = None


class Journal(Protocol):
    """The record of a run. Every call is durable when it returns.

    `begin`: before a step: renew the lease, look for cancellation, reserve `worst` from every budget.
    `record`: the step happened; settle its reservation with the real figure. When the step ends
    the turn, `outcome` comes with it and is written in the same transaction. Raises `LeaseLost`.
    `close`: the turn came to rest without a further step (cancelled, failed, budget, waiting).
    """

    async def begin(self, index: int, worst: Spend) -> Go: ...

    async def record(self, step: StepRecord, outcome: Outcome | None = None) -> None: ...

    async def close(self, outcome: Outcome) -> None: ...


class LeaseLost(Exception):
    """Another worker holds this run: stop at once and write nothing more."""


class Listener(Protocol):
    """Hears the turn live. Cheap and synchronous: it must never wait."""

    def delta(self, text: str) -> None: ...

    def call_started(self, call: ToolCall) -> None: ...

    def call_ended(self, call: ToolCall, result: ToolResult, seconds: float) -> None: ...


class Cancel(Protocol):
    """Set from outside when the run must stop (an `asyncio.Event` will do)."""

    def is_set(self) -> bool: ...

    async def wait(self) -> Any: ...


class Clock(Protocol):
    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps of one run. Seconds for time; 0 or None: no cap of that kind."""

    steps: int = 50
    seconds: float | None = 600.0
    tokens: int | None = None
    cost_micros: int | None = None
    tool_calls: int | None = None
    retries: int = 3


@dataclass(slots=True)
class Ports:
    """Everything a turn touches. `models`: the chosen model first, then its fallbacks."""

    models: Sequence[ModelChoice]
    toolbox: ToolBox
    gate: Gate
    journal: Journal
    listener: Listener
    cancel: Cancel
    clock: Clock
