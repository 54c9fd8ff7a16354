"""Operations with stages, answered whole or as server-sent events (contract/muxi.md §3.4).

`Accept: text/event-stream`, or a path that ends with `/stream`, selects the events: `progress` before
each stage, then exactly one `complete` or `error`. What can be refused before the first stage is
refused plainly, whatever was asked for.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

# Ends within seconds, and the bridge takes a thread a step: none waits between two of them.
from django.http import StreamingHttpResponse  # noqa: TID251

from apps.events import sse
from apps.formations import wire
from apps.surfaces import muxi_server
from apps.surfaces.kit import domain_error

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from apps.formations.services import Outcome, Stage
    from apps.surfaces.kit import Credentials

    Steps = Generator[Stage, None, Outcome]
    Shape = Callable[[Outcome, str], dict[str, Any]]


def wants_events(seen: Credentials) -> bool:
    accepted = seen.headers.get("accept", "")
    return "text/event-stream" in accepted or seen.path.endswith("/stream")


def holding(file: IO[bytes], steps: Steps) -> Steps:
    """`steps`, with the file they read closed at their end."""
    with file:
        outcome = yield from steps
    return outcome


def streamed(steps: Steps, base: str) -> StreamingHttpResponse:
    """The operation as events. Its first step is done before anything is sent: what that refuses is
    raised here.
    """
    first = next(steps)
    return StreamingHttpResponse(_events(first, steps, base), headers=dict(sse.HEADERS))


def _events(first: Stage, steps: Steps, base: str) -> Iterator[bytes]:
    stage = first
    while True:
        yield sse.block(wire.stage_told(stage), event="progress")
        try:
            stage = next(steps)
        except StopIteration as end:
            yield sse.block(wire.completed(end.value, base), event="complete")
            return
        except Exception as error:  # noqa: BLE001  (told in band: the stream has begun)
            yield sse.block(_error_told(error, stage), event="error")
            return


def _error_told(error: Exception, stage: Stage) -> dict[str, Any]:
    known = domain_error(error)
    if known is not error:
        muxi_server.log_failure(error, stage.stage)
    details = {name: value for name, value in known.details.items() if value and name != "type"}
    told = {
        "error": muxi_server.name_of(known),
        "message": muxi_server.words_of(known),
        "stage": stage.stage,
    }
    return told | ({"details": details} if details else {})
