"""Checks of what people write into fields, with the words a form shows beside the field."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import URLValidator, validate_email

from apps.core.errors import InvalidInput


def checked_text(field: str, value: Any, longest: int, *, required: bool = True) -> str:
    """`value` trimmed, without control characters; InvalidInput names `field` otherwise."""
    if not isinstance(value, str):
        raise wrong(field, "Must be text.")
    text = value.strip()
    if any(_is_control(char) for char in text):
        raise wrong(field, "Must not contain control characters.")
    if required and not text:
        raise wrong(field, "Must not be empty.")
    if len(text) > longest:
        raise wrong(field, f"Must be at most {longest} characters.")
    return text


def checked_url(field: str, value: Any) -> str:
    """An http(s) URL of at most 500 characters, or empty."""
    text = checked_text(field, value, 500, required=False)
    try:
        if text:
            URLValidator(schemes=["http", "https"])(text)
    except ValidationError:
        raise wrong(field, "Must be an http or https URL.") from None
    return text


def checked_email(field: str, value: Any) -> str:
    """An e-mail address of at most 254 characters, in lower case."""
    text = checked_text(field, value, 254).lower()
    try:
        validate_email(text)
    except ValidationError:
        raise wrong(field, "Must be an e-mail address.") from None
    return text


def wrong(field: str, words: str) -> InvalidInput:
    """`InvalidInput` about one field."""
    return InvalidInput(f"{field}: {words}", fields={field: [words]})


def _is_control(char: str) -> bool:
    """C0, DEL, C1, and half a surrogate pair: nothing that belongs into one line of text."""
    return char < " " or "\x7f" <= char <= "\x9f" or "\ud800" <= char <= "\udfff"
