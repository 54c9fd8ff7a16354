"""Checking a call's arguments against a tool's JSON schema, with words the model can act on.

A schema may come from a stranger (an MCP server, a client of the API): it may not make us fetch a
`$ref` over the network, nor run its regular expressions (one can hold the loop for minutes).
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, Any

from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]  # untyped library
from jsonschema.validators import (  # type: ignore[import-untyped]  # untyped library
    Draft202012Validator,
    extend,
)
from referencing import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_ERRORS = 5
LONGEST_ERROR = 300  # characters
REMEMBERED = 1_000  # validators kept


def _ignored(_validator: Any, _value: Any, _instance: Any, _schema: Any) -> Iterator[Any]:
    return iter(())


Foreign = extend(Draft202012Validator, {"pattern": _ignored, "patternProperties": _ignored})
_validators: OrderedDict[str, Any] = OrderedDict()


def problems(
    digest: str, schema: dict[str, Any], arguments: Any, *, foreign: bool = True
) -> list[str]:
    """What is wrong with `arguments`, at most `MOST_ERRORS` lines; empty when they fit.

    `digest` names the schema in the cache of validators.
    """
    kind = Foreign if foreign else Draft202012Validator
    try:
        validator = _validators.get(digest) or _remember(digest, schema, kind)
        return [_line(error) for error in islice(validator.iter_errors(arguments), MOST_ERRORS)]
    except SchemaError:
        return ["The tool's own schema is not valid; it cannot be called."]
    except Exception as error:  # noqa: BLE001  (an unresolvable $ref, or one that turns in circles)
        return [f"The tool's schema cannot be applied ({type(error).__name__})."]


def _remember(digest: str, schema: dict[str, Any], kind: Any) -> Any:
    kind.check_schema(schema)
    validator = _validators[digest] = kind(schema, registry=Registry())
    while len(_validators) > REMEMBERED:
        _validators.popitem(last=False)
    return validator


def _line(error: Any) -> str:
    where = ".".join(str(step) for step in error.absolute_path) or "arguments"
    return f"{where}: {error.message}"[:LONGEST_ERROR]
