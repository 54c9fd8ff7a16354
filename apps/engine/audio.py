"""Speech to text, through the audio endpoint of an OpenAI-compatible provider.

Wire: `POST {base_url}/audio/transcriptions`, multipart form with `file`, `model` and
`response_format=json`; the answer is `{"text": "…"}` (OpenAI's published shape, spoken by its likes).
"""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass

import httpx

from apps.engine.choice import resolve
from apps.engine.errors import NoTranscription
from apps.engine.ports import Fault, ProviderFailed
from apps.engine.providers.openai_compatible import CONNECT, OpenAICompatible, transport

SECONDS = 120.0
MAX_ANSWER = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording. `kind`: its media type; the name's ending tells some servers the format."""

    name: str
    kind: str
    audio: bytes


async def transcribe(ref: str, clip: Clip) -> str:
    """What is said in it, by the model `provider/model`.

    Raises `NoTranscription` (the provider has no such endpoint), ModelUnknown, ProviderNotConfigured,
    `ProviderFailed`.
    """
    choice = await asyncio.to_thread(resolve, ref)
    if not isinstance(choice.provider, OpenAICompatible):
        raise NoTranscription(f"{choice.provider.name} does not transcribe.")
    try:
        async with asyncio.timeout(SECONDS):
            return await _asked(choice.provider, choice.model, clip)
    except (TimeoutError, httpx.TimeoutException):
        raise ProviderFailed(
            Fault.TIMEOUT, f"{choice.provider.name} did not answer in time"
        ) from None
    except httpx.HTTPError:
        raise ProviderFailed(Fault.SERVER, f"{choice.provider.name} cannot be reached") from None


async def _asked(provider: OpenAICompatible, model: str, clip: Clip) -> str:
    mark = f"polymux{secrets.token_hex(16)}"
    headers = {"Content-Type": f"multipart/form-data; boundary={mark}", "User-Agent": "polymux"}
    if provider.api_key:
        headers["Authorization"] = f"Bearer {provider.api_key}"
    message = httpx.Request(
        "POST",
        f"{provider.base_url}/audio/transcriptions",
        content=_form(mark, model, clip),
        headers=headers | {"Accept-Encoding": "identity"},
        extensions={"timeout": {"connect": CONNECT, "read": SECONDS}},
    )
    response = await transport().handle_async_request(message)
    try:
        if response.status_code == 404:
            raise NoTranscription(f"{provider.name} has no audio endpoint.")
        if response.status_code != 200:
            raise await provider.refusal(response)
        return _text(provider, await _read(response))
    finally:
        await response.aclose()


def _form(mark: str, model: str, clip: Clip) -> bytes:
    """`mark` is random: it does not occur in a recording."""
    name = "".join(
        char if char.isascii() and char.isalnum() else "_" for char in clip.name[-100:-5]
    )
    ending = "".join(
        char for char in clip.name[-5:] if char.isascii() and (char.isalnum() or char == ".")
    )
    fields = "".join(
        f'--{mark}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in (("model", model), ("response_format", "json"))
    )
    kind = clip.kind if clip.kind.isascii() and clip.kind.isprintable() else "audio/wav"
    head = (
        f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}{ending}"\r\n'
        f"Content-Type: {kind}\r\n\r\n"
    )
    return fields.encode() + head.encode() + clip.audio + f"\r\n--{mark}--\r\n".encode()


async def _read(response: httpx.Response) -> bytes:
    raw = b""
    async for part in response.stream:  # type: ignore[union-attr]
        raw += part
        if len(raw) > MAX_ANSWER:
            break
    return raw


def _text(provider: OpenAICompatible, raw: bytes) -> str:
    try:
        text = json.loads(raw)["text"]
    except (ValueError, KeyError, TypeError, RecursionError):
        text = None
    if not isinstance(text, str):
        raise ProviderFailed(Fault.BROKEN, f"{provider.name} sent no transcript")
    return text.replace("\x00", "")
