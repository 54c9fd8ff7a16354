"""`${{ secrets.NAME }}` in a formation's files, `${{ data.a.b }}` in a trigger's text (contract/muxi.md §6)."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from apps.formations.bundles.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from apps.formations.bundles.yamlfile import At

LONGEST = 100_000  # characters of a rendered text: a message may not be longer
_SECRET = re.compile(r"\$\{\{\s*secrets\.([^\s{}]+)\s*\}\}")
_DATA = re.compile(r"\$\{\{\s*data((?:\.[A-Za-z0-9_-]+)*)\s*\}\}")


def secret_name(written: str) -> str:
    """The name of a secret as it is stored: upper case, `_` for all but letters, digits and `_`."""
    return re.sub(r"[^A-Z0-9_]", "_", written.upper())


def secrets_in(text: str) -> list[str]:
    """The stored names of the secrets that `text` asks for, in order, each once."""
    return list(dict.fromkeys(secret_name(found) for found in _SECRET.findall(text)))


def fill_secrets(text: str, values: Mapping[str, str]) -> str:
    """`text` with the placeholders of known secrets filled in; unknown ones stay."""
    return _SECRET.sub(lambda found: values.get(secret_name(found[1]), found[0]), text)


def texts_of(value: Any, at: At = ()) -> Iterator[tuple[At, str]]:
    """Every text in a JSON value, and where it stands."""
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts_of(item, (*at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from texts_of(item, (*at, index))


def fields_of(template: str) -> list[str]:
    """The fields a trigger's text asks for (`data.user.name`), in order, each once."""
    return list(dict.fromkeys(f"data{path}" for path in _DATA.findall(template)))


def render(template: str, data: Mapping[str, Any]) -> str:
    """A trigger's text with the fields of `data` filled in, once: what they hold is not looked into.

    Text stands as it is, everything else as JSON. Raises BundleError ("RenderError") for a field
    that `data` does not have and for a text of more than `LONGEST` characters.
    """
    pieces, length, end = [], 0, 0
    for found in _DATA.finditer(template):
        pieces += [template[end : found.start()], _written(_field(data, found[1]))]
        end = found.end()
        length += len(pieces[-1]) + len(pieces[-2])
        if length > LONGEST:
            break
    pieces.append(template[end:])
    text = "".join(pieces)
    if len(text) > LONGEST:
        raise BundleError("RenderError", f"The text is longer than {LONGEST} characters.")
    return text


def _field(data: Mapping[str, Any], path: str) -> Any:
    value: Any = data
    for step in path.split(".")[1:]:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise BundleError("RenderError", f"The data has no field `data{path}`.")
    return value


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
