"""What an end user's application asks for: bodies of chat, audiochat, triggers (contract/muxi.md §5.5, §5.8).

What is wrong with a body is told field by field, in the items of §5.3. Fields we do not know are ignored.
Our own switch beside upstream's fields: `stream_format` is `text` (the default: `{"token": "text"}`) or
`object` (`{"token": {"type": …, "content": …}}`).
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, ValidationError

from apps.conversations.errors import NotAudio
from apps.conversations.services.messages import MAX_CONTENT
from apps.core.errors import InvalidInput
from apps.surfaces.parsing import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_FILES = 20
MAX_FILE = 50 * 1024 * 1024  # bytes of one file, decoded
# One file of the largest size in base64, and room for what stands around it: a body is held in memory.
MAX_BODY = MAX_FILE * 4 // 3 + 2 * 1024 * 1024

LONGEST_NAME = 200
_NAME = r"^[^/\x00-\x1f\x7f]+$"  # an id that stands in a path
Text = Annotated[StrictStr, Field(max_length=255)]
Named = Annotated[StrictStr, Field(min_length=1, max_length=LONGEST_NAME, pattern=_NAME)]
Body = TypeVar("Body", bound=BaseModel)


class Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore")


class InFile(Lenient):
    filename: Text = "file"
    content: StrictStr
    content_type: Text = ""
    mime_type: Text = ""
    size: int | None = None

    @property
    def kind(self) -> str:
        """Its media type, without parameters; "" when it does not say."""
        return (self.content_type or self.mime_type).partition(";")[0].strip().lower()


class UiResponse(Lenient):
    id: Text
    value: Any = None


class Common(Lenient):
    """What chat and audiochat share."""

    user_id: Text | None = None
    agent_id: Text | None = None
    session_id: Named | None = None
    request_id: Annotated[StrictStr, Field(min_length=1, max_length=100, pattern=_NAME)] | None = (
        None
    )
    group_id: Text | None = None
    files: Annotated[list[InFile], Field(max_length=MAX_FILES)] | None = None
    stream: StrictBool | None = None
    stream_format: Literal["text", "object"] = "text"


class ChatAsk(Common):
    """Body of `POST /v1/chat`. A message may be empty when files or an answer to a widget come with it."""

    message: Annotated[StrictStr, Field(max_length=MAX_CONTENT)]
    mode: Literal["sync", "async"] = "sync"
    webhook_url: Annotated[StrictStr, Field(max_length=2000)] | None = None
    threshold_seconds: Annotated[float, Field(gt=0)] | None = None
    source_channel: Text | None = None
    ui_response: UiResponse | None = None

    @property
    def said(self) -> str:
        if self.message.strip() or self.ui_response is None:
            return self.message
        return str(self.ui_response.value)[:MAX_CONTENT]


class AudioAsk(Common):
    """Body of `POST /v1/audiochat`."""

    files: Annotated[list[InFile], Field(min_length=1, max_length=MAX_FILES)]


class TriggerAsk(Lenient):
    """Body of `POST /v1/triggers/{name}`; see `parse_trigger` for the bare form."""

    data: dict[str, Any]
    session_id: Named | None = None
    user_id: Text | None = None
    use_async: StrictBool | None = None


def parse_chat(raw: bytes) -> ChatAsk:
    """Raises `InvalidInput` with the items of §5.3, as the others do."""
    ask = _parsed(ChatAsk, read_body(raw))
    if not ask.said.strip() and not ask.files:
        raise invalid("message", "The message is empty.", "string", "too_short")
    return ask


def parse_audio(raw: bytes) -> AudioAsk:
    """Every file must be audio, else §5.5's error that names the odd one."""
    ask = _parsed(AudioAsk, read_body(raw))
    for place, file in enumerate(ask.files):
        if not file.kind.startswith("audio/"):
            field = f"files.{place}.content_type"
            raise NotAudio(
                f"{field}: an audio file is needed, this is {file.kind or 'of no type'}.",
                field=field,
                invalid_content_type=file.kind,
            )
    return ask


def parse_trigger(raw: bytes, query: Mapping[str, str]) -> TriggerAsk:
    """With `data`, or a bare object which is the data; `?async=` where the body does not say (C16)."""
    body = read_body(raw)
    named = isinstance(body, dict) and isinstance(body.get("data"), dict)
    ask = _parsed(TriggerAsk, body if named else {"data": body})
    if ask.use_async is None:
        ask.use_async = query.get("async", "true").strip().lower() not in {"false", "0", "no"}
    return ask


def decoded(file: InFile, place: int) -> bytes:
    """The file's bytes; `InvalidInput` for what is no base64, or too long."""
    field = f"files.{place}.content"
    if len(file.content) > MAX_FILE * 4 // 3 + 4:
        raise invalid(field, f"A file holds at most {MAX_FILE} bytes.", "string", "too_long")
    text = file.content
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(re.sub(r"\s+", "", text), validate=True)
    except (binascii.Error, ValueError):
        raise invalid(field, "This is not base64.", "string", "invalid_format") from None


def check_name(field: str, name: str) -> None:
    """Whether a conversation may be called so; `InvalidInput`."""
    if len(name) > LONGEST_NAME or not re.match(_NAME, name):
        raise invalid(field, f"At most {LONGEST_NAME} plain characters.", "string", "too_long")


def read_body(raw: bytes) -> Any:
    try:
        return read_json(raw) if raw.strip() else {}
    except InvalidInput as error:
        raise invalid("body", error.message, "object", "invalid_json") from None


def invalid(field: str, msg: str, kind: str, error: str) -> InvalidInput:
    return _refused([{"field": field, "msg": msg, "type": kind, "error": error}])


def _refused(problems: list[dict[str, str]]) -> InvalidInput:
    first = problems[0]
    refusal = InvalidInput(f"{first['field']}: {first['msg']}")
    refusal.problems = problems  # type: ignore[attr-defined]
    return refusal


def _parsed(form: type[Body], body: Any) -> Body:
    try:
        return form.model_validate(body)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        raise _refused([_item(problem) for problem in problems[:100]]) from None


_ERRORS = {
    "missing": "missing",
    "string_too_long": "too_long",
    "too_long": "too_long",
    "string_too_short": "too_short",
    "too_short": "too_short",
    "greater_than": "too_short",
    "string_pattern_mismatch": "invalid_format",
    "literal_error": "invalid",
}
_TYPES = (
    ("bool", "boolean"),
    ("int", "integer"),
    ("float", "number"),
    ("greater", "number"),
    ("list", "array"),
    ("too_", "array"),
    ("dict", "object"),
    ("model", "object"),
)
_FIELD_TYPES = {"files": "array", "stream": "boolean", "data": "object", "ui_response": "object"}


def _item(problem: Any) -> dict[str, str]:
    """Pydantic's finding as an item of §5.3."""
    kind, place = problem["type"], problem["loc"]
    usual = "wrong_type" if kind.endswith(("_type", "_parsing")) else "invalid"
    said = next((name for start, name in _TYPES if kind.startswith(start)), "string")
    if kind == "missing":
        said = _FIELD_TYPES.get(str(place[-1]), "string")
    return {
        "field": ".".join(str(part) for part in place) or "body",
        "msg": problem["msg"],
        "type": said,
        "error": _ERRORS.get(kind, usual),
    }
