"""Tools without a home of their own: the time, and reading a page of the web."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from apps.core import tools
from apps.core.clock import now as current_time
from apps.core.tools import Tool, ToolContext, ToolFailed

if TYPE_CHECKING:
    from datetime import datetime

LONGEST_PAGE = 2 * 1024 * 1024  # bytes read
LONGEST_TEXT = 20_000  # characters given
TEXTUAL = ("text/", "application/json", "application/xml", "application/xhtml", "+json", "+xml")
SKIPPED = frozenset({"script", "style", "noscript", "template", "svg", "head"})
BLOCKS = frozenset(
    {"p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article", "pre"}
)


class PageText(HTMLParser):
    """The readable text of a page; the title comes first."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self._parts: list[str] = []
        self._skipping: list[str] = []
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag == "title":
            self._in_title = True
        elif tag in SKIPPED:
            self._skipping.append(tag)
        elif tag == "body":
            self._skipping.clear()  # a head that was never closed
        elif tag in BLOCKS:
            self._parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif tag in self._skipping:
            while self._skipping.pop() != tag:
                pass
        elif tag in BLOCKS:
            self._parts.append("\n")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif not self._skipping:
            self._parts.append(data)

    def text(self) -> str:
        lines = (" ".join(line.split()) for line in "".join(self._parts).splitlines())
        body = "\n".join(line for line in lines if line)
        title = " ".join(self.title.split())
        return f"{title}\n\n{body}" if title else body


def page_text(html: str) -> str:
    parser = PageText()
    parser.feed(html)
    parser.close()
    return parser.text()


async def now(context: ToolContext, arguments: dict[str, Any]) -> Any:
    del context
    zone = arguments.get("timezone", "UTC")
    try:
        moment: datetime = current_time().astimezone(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ToolFailed(f"Unknown time zone {zone[:60]!r}.") from None
    return {"time": moment.isoformat(timespec="seconds"), "weekday": moment.strftime("%A")}


async def http_fetch(context: ToolContext, arguments: dict[str, Any]) -> Any:
    from apps.core import net  # late: an HTTP client is no part of starting up

    del context
    method = arguments.get("method", "GET")
    answer = await net.fetch(method, arguments["url"], max_bytes=LONGEST_PAGE, redirects=3)
    kind = answer.headers.get("content-type", "").lower()
    found: dict[str, Any] = {"status": answer.status, "url": answer.url, "content_type": kind}
    if method == "HEAD":
        return found
    if kind and not any(word in kind for word in TEXTUAL):
        raise ToolFailed(f"This is not text but {kind[:100]}.")
    text = decoded(answer.body, kind)
    if "html" in kind:
        text = page_text(text)
    if len(text) > LONGEST_TEXT:
        found["cut"] = f"{LONGEST_TEXT} of {len(text)} characters shown"
    return found | {"text": text[:LONGEST_TEXT]}


def decoded(body: bytes, content_type: str) -> str:
    """The text of a body in the charset its type names, else UTF-8; what does not fit is replaced."""
    _, _, charset = content_type.partition("charset=")
    try:
        return body.decode(charset.split(";")[0].strip(" \"'") or "utf-8", "replace")
    except LookupError:
        return body.decode("utf-8", "replace")


def register_tools() -> None:
    tools.register(NOW)
    tools.register(HTTP_FETCH)


NOW = Tool(
    name="now",
    description="The current date and time.",
    parameters={
        "type": "object",
        "properties": {
            "timezone": {
                "type": "string",
                "maxLength": 60,
                "description": "An IANA name such as Europe/Paris. Default: UTC.",
            }
        },
        "additionalProperties": False,
    },
    call=now,
    timeout=5,
)
HTTP_FETCH = Tool(
    name="http_fetch",
    description="Read a public web address as text. Pages are reduced to their readable text.",
    parameters={
        "type": "object",
        "properties": {
            "url": {"type": "string", "minLength": 8, "maxLength": 2_000},
            "method": {"enum": ["GET", "HEAD"]},
        },
        "required": ["url"],
        "additionalProperties": False,
    },
    call=http_fetch,
    timeout=30,
    max_output=25_000,
    # An address is a way out for what the agent knows: a workspace opens it, or an agent names it.
    enabled_by_default=False,
)
