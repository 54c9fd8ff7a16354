"""How much of a conversation is sent to a model: a cheap estimate of tokens, and `trim`.

The rule of `trim`: system messages and the newest messages stay; whole turns are dropped from the
oldest on (a turn begins with a user's message, so a tool call never loses its result); one system
note says how many earlier messages were left out; and if the newest turn alone is too long, its
longest message is cut in the middle, with a marker at the cut.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from apps.engine.ports import ChatMessage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from apps.engine.ports import ToolSpec

BYTES_A_TOKEN = 3  # English is about 4; 3 keeps the estimate an upper bound for most text
MESSAGE_TOKENS = 8  # role, separators
IMAGE_TOKENS = 1_500
NOTE = "[{count} earlier messages of this conversation were left out to fit the model's window.]"
CUT = "\n[… {count} characters left out …]\n"
NOTE_TOKENS = 50
SMALLEST = 16  # tokens of text that a cut leaves at least


def text_tokens(text: str) -> int:
    """An upper estimate: a third of the UTF-8 bytes, rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_A_TOKEN)


def message_tokens(message: ChatMessage) -> int:
    tokens = MESSAGE_TOKENS + text_tokens(message.content) + IMAGE_TOKENS * len(message.images)
    for call in message.tool_calls:
        tokens += MESSAGE_TOKENS + text_tokens(call.name + json.dumps(call.arguments))
    return tokens


def estimate(messages: Iterable[ChatMessage], tools: Iterable[ToolSpec] = ()) -> int:
    """Tokens of a prompt, never below the real number by much."""
    return sum(map(message_tokens, messages)) + sum(map(tool_tokens, tools))


def tool_tokens(tool: ToolSpec) -> int:
    """An upper estimate; a tool's JSON is made once, so this costs nothing."""
    return MESSAGE_TOKENS + -(-len(tool.function) // BYTES_A_TOKEN)


def trim(messages: Sequence[ChatMessage], *, window: int, reserve: int) -> tuple[ChatMessage, ...]:
    """`messages` within `window` tokens less `reserve` for the reply and the tools (see above).

    What cannot fit at all (the system messages alone fill the window) is returned with the newest
    message cut as far as it goes: the provider has the last word.
    """
    room = window - reserve
    if estimate(messages) <= room:
        return tuple(messages)
    system = [message for message in messages if message.role == "system"]
    turns = _turns([message for message in messages if message.role != "system"])
    room -= estimate(system) + NOTE_TOKENS
    kept: list[list[ChatMessage]] = []
    for turn in reversed(turns):
        cost = estimate(turn)
        if kept and cost > room:
            break
        kept.insert(0, _shorten(turn, room) if cost > room else turn)
        room -= cost
    dropped = sum(map(len, turns[: len(turns) - len(kept)]))
    note = [ChatMessage("system", NOTE.format(count=dropped))] if dropped else []
    return (*system, *note, *(message for turn in kept for message in turn))


def _turns(messages: list[ChatMessage]) -> list[list[ChatMessage]]:
    """Groups that begin with a user's message. What comes before the first one is a group."""
    turns: list[list[ChatMessage]] = []
    for message in messages:
        if message.role == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns


def _shorten(turn: list[ChatMessage], room: int) -> list[ChatMessage]:
    """The newest turn, its longest texts cut in the middle until it fits."""
    result = list(turn)
    for _ in range(len(turn)):
        excess = estimate(result) - max(room, 0)
        if excess <= 0:
            break
        longest = max(range(len(result)), key=lambda place: len(result[place].content))
        result[longest] = _cut(result[longest], excess)
    return result


def _cut(message: ChatMessage, excess: int) -> ChatMessage:
    text = message.content
    raw = text.encode("utf-8", "replace")
    marker = CUT.format(count=len(text))
    keep = len(raw) - (excess + 1) * BYTES_A_TOKEN - len(marker.encode())
    keep = max(keep, SMALLEST * BYTES_A_TOKEN)
    if keep + len(marker.encode()) >= len(raw):
        return message
    head = raw[: keep // 2].decode("utf-8", "ignore")
    tail = raw[len(raw) - keep // 2 :].decode("utf-8", "ignore")
    marker = CUT.format(count=len(text) - len(head) - len(tail))
    return replace(message, content=head + marker + tail)
