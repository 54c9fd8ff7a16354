"""OpenTelemetry spans by the GenAI conventions, without any content.

Off, at the price of one comparison, unless OTEL_EXPORTER_OTLP_ENDPOINT is set and the `otel` extra
is installed. Spans: `invoke_agent`, `chat {model}`, `execute_tool {tool}`.
"""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

log = logging.getLogger(__name__)


class NoSpan:
    """What `span` gives when tracing is off."""

    def set_attribute(self, name: str, value: Any) -> None:
        pass


_OFF: AbstractContextManager[Any] = nullcontext(NoSpan())


@cache
def _tracer() -> Any:
    """The tracer, or None when tracing is off. Set up once per process."""
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return None
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("OTEL_EXPORTER_OTLP_ENDPOINT is set, but the otel extra is not installed")
        return None
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        name = os.environ.get("OTEL_SERVICE_NAME", "polymux")
        provider = TracerProvider(resource=Resource.create({"service.name": name}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
    return trace.get_tracer("polymux.engine")


def span(name: str, **attributes: Any) -> AbstractContextManager[Any]:
    """A span around a step. Attribute names have `__` for `.`: gen_ai__request__model."""
    tracer = _tracer()
    if tracer is None:
        return _OFF
    named = {key.replace("__", "."): value for key, value in attributes.items()}
    return tracer.start_as_current_span(name, attributes=named)  # type: ignore[no-any-return]
