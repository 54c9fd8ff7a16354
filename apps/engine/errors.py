"""What can go wrong before a model is called. Failures of a call are `ports.ProviderFailed`."""

from __future__ import annotations

from apps.core.errors import DomainError, Kind


class ModelUnknown(DomainError):
    """`details["model"]`: the reference that names nothing."""

    kind = Kind.NOT_FOUND
    code = "model_not_found"
    message = "There is no such model."


class ProviderNotConfigured(DomainError):
    """`details["provider"]`; the message says which setting or command sets it up."""

    kind = Kind.UNAVAILABLE
    code = "provider_not_configured"
    message = "No model provider is set up."


class NoTranscription(DomainError):
    """No model that turns speech into text is set up, or its provider has no audio endpoint."""

    kind = Kind.UNPROCESSABLE
    code = "audio_unavailable"
    message = (
        "No transcription model is set up. Name one as `audio` in the formation's llm.models, or in "
        "POLYMUX_AUDIO_MODEL."
    )
