"""What the stub provider says, as bytes: scripted replies in OpenAI's forms."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What the stub answers. `text`: one string is cut into words; a sequence is sent as it is.

    `calls`: (name, arguments) with arguments as JSON text or data; each is sent in pieces.
    `rate`: tokens a second, one write each; None: as fast as the client reads.
    The `*_after` faults count chunks of text: `die` closes mid-chunk, `broken` sends JSON that is
    none, `stall` goes silent with the connection open, `cut` ends the stream properly but too early.
    """

    text: str | tuple[str, ...] = ""
    calls: tuple[tuple[str, Any], ...] = ()
    reason: str = ""
    rate: float | None = None
    delay: float = 0.0
    status: int = 200
    retry_after: float | str | None = None
    error: str = ""
    hang: bool = False
    die_after: int | None = None
    broken_after: int | None = None
    stall_after: int | None = None
    cut_after: int | None = None
    content_type: str = "text/event-stream"
    raw: bytes | None = None  # sent as the body in place of everything else
    usage: dict[str, Any] | None = None
    with_usage: bool = True

    def pieces(self) -> tuple[str, ...]:
        if not isinstance(self.text, str):
            return tuple(self.text)
        return tuple(re.findall(r"\S+\s*|\s+", self.text))


def reply_for(model: str, body: dict[str, Any]) -> Reply:
    """The built-in behaviour that a model's name asks for (see the module's docstring)."""
    messages = body.get("messages") or []
    if match := re.fullmatch(r"tokens-(\d+)(?:@([\d.]+))?", model):
        rate = float(match[2]) if match[2] else None
        return Reply(("tok ",) * int(match[1]), rate=rate)
    if match := re.fullmatch(r"status-(\d+)", model):
        return Reply(status=int(match[1]), retry_after=1 if match[1] == "429" else None)
    if match := re.fullmatch(r"tool-(.+)", model):
        answered = any(message.get("role") == "tool" for message in messages)
        return Reply("done") if answered else Reply(calls=((match[1], {}),))
    if model == "echo":
        content = messages[-1].get("content") if messages else ""
        return Reply(content if isinstance(content, str) else json.dumps(content))
    return {
        "hang": Reply(hang=True),
        "broken": Reply("one two three four", broken_after=2),
        "die": Reply("one two three four", die_after=2),
        "stall": Reply("one two three four", stall_after=2),
        "html": Reply(content_type="text/html", raw=b"<html>not an API</html>"),
        "huge": Reply(("x" * 60_000,) * 400),
    }.get(model) or Reply("Hello from the stub.")


def chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def event(model: str, delta: dict[str, Any], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    data = {
        "id": "chatcmpl-stub",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": [choice],
    }
    return chunk(b"data: " + json.dumps(data).encode() + b"\n\n")


def call_events(model: str, calls: tuple[tuple[str, Any], ...]) -> list[bytes]:
    events = []
    for index, (name, arguments) in enumerate(calls):
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        head = {"index": index, "id": f"call_{index}", "type": "function"}
        head["function"] = {"name": name, "arguments": ""}
        events.append(event(model, {"tool_calls": [head]}))
        half = max(1, len(text) // 2)
        for part in (text[:half], text[half:]):
            piece = {"index": index, "function": {"arguments": part}}
            events.append(event(model, {"tool_calls": [piece]}))
    return events


def usage(reply: Reply, body: dict[str, Any]) -> dict[str, Any]:
    if reply.usage is not None:
        return reply.usage
    prompt = max(1, len(json.dumps(body.get("messages", []))) // 4)
    made = len(reply.pieces()) + 8 * len(reply.calls)
    return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}


def fault_chunks(reply: Reply, chunks: list[bytes]) -> tuple[list[bytes], str]:
    """The chunks up to the fault, and how the connection goes on: end, cut, die or stall."""
    if reply.die_after is not None:
        head = chunks[: reply.die_after]
        return [*head, b"ff\r\ndata: {"], "die"
    if reply.broken_after is not None:
        return [*chunks[: reply.broken_after], chunk(b'data: {"choices": [{"del\n\n')], "end"
    if reply.stall_after is not None:
        return chunks[: reply.stall_after], "stall"
    if reply.cut_after is not None:
        return chunks[: reply.cut_after], "cut"
    return chunks, "end"


def completion(reply: Reply, body: dict[str, Any]) -> dict[str, Any]:
    calls = [
        {
            "id": f"call_{index}",
            "type": "function",
            "function": {
                "name": name,
                "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments),
            },
        }
        for index, (name, arguments) in enumerate(reply.calls)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": "".join(reply.pieces())}
    if calls:
        message["tool_calls"] = calls
    reason = reply.reason or ("tool_calls" if calls else "stop")
    return {
        "id": "chatcmpl-stub",
        "object": "chat.completion",
        "created": 1,
        "model": body.get("model"),
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": usage(reply, body),
    }


def embeddings(body: dict[str, Any]) -> dict[str, Any]:
    """A bag of hashed words: texts that share words lie near each other. 64 dimensions."""
    texts = body.get("input")
    texts = [texts] if isinstance(texts, str) else texts or []
    size = int(body.get("dimensions") or 64)
    data = []
    for index, text in enumerate(texts):
        vector = [0.0] * size
        for word in re.findall(r"\w+", str(text).lower()):
            digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
            vector[int.from_bytes(digest, "big") % size] += 1.0
        norm = math.sqrt(sum(value * value for value in vector)) or 1.0
        embedding = [value / norm for value in vector]
        data.append({"object": "embedding", "index": index, "embedding": embedding})
    tokens = sum(len(str(text)) // 4 for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body.get("model"), "usage": usage}
