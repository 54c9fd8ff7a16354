"""`secrets.enc` and `.key`: a Fernet token over a JSON object, and its key (contract/muxi.md §6)."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet, InvalidToken

from apps.formations.bundles.errors import BundleError
from apps.formations.bundles.placeholders import secret_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from apps.formations.bundles.source import Source

SEALED, KEY = "secrets.enc", ".key"
MOST = 500
LONGEST = 20_000  # characters of one secret


def open_secrets(source: Source) -> dict[str, str]:
    """The secrets of a bundle by their stored names; none when it has no `secrets.enc`.

    Raises BundleError ("SecretsError"), never with a value in its words.
    """
    if not source.has(SEALED):
        return {}
    if not source.has(KEY):
        raise _wrong(f"Cannot be opened: the bundle has no {KEY} file.")
    try:
        opened = Fernet(source.data(KEY).strip()).decrypt(source.data(SEALED).strip())
    except InvalidToken:
        raise _wrong(
            f"Cannot be opened: the key in {KEY} is another one, or it is damaged."
        ) from None
    except ValueError:
        raise _wrong("Is no Fernet key.", file=KEY) from None
    return _checked(opened)


def seal_secrets(root: Path, values: Mapping[str, str]) -> None:
    """Write `secrets.enc` below `root`, under the key in `.key`, which is made if it is missing."""
    key_file = root / KEY
    if not key_file.exists():
        with os.fdopen(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
            new.write(Fernet.generate_key())
    named = {secret_name(name): value for name, value in values.items()}
    sealed = Fernet(key_file.read_bytes().strip()).encrypt(json.dumps(named).encode())
    (root / SEALED).write_bytes(sealed)


def _checked(opened: bytes) -> dict[str, str]:
    try:
        values = json.loads(opened)
    except ValueError:
        values = None
    if not isinstance(values, dict) or len(values) > MOST:
        raise _wrong(f"Must hold one JSON object with at most {MOST} secrets.")
    return {secret_name(name): _text(name, value) for name, value in values.items()}


def _text(name: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _wrong(f"The secret {secret_name(name)} must be text.")
    text = str(value)
    if len(text) > LONGEST or "\0" in text:
        raise _wrong(f"The secret {secret_name(name)} is too long or holds what is no text.")
    return text


def _wrong(words: str, file: str = SEALED) -> BundleError:
    return BundleError("SecretsError", words, file=file)
