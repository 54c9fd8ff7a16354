"""Bodies and their checks: JSON parsed strictly, fields the serializer does not know refused."""

from __future__ import annotations

import json
import math
import re
import threading
from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.conf import settings
from rest_framework import serializers
from rest_framework.parsers import BaseParser

from apps.core.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_DEPTH = 100
_SUSPECT = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_PROBLEMS = {
    "required": "missing",
    "null": "missing",
    "blank": "too_short",
    "empty": "too_short",
    "min_length": "too_short",
    "min_value": "too_short",
    "max_length": "too_long",
    "max_value": "too_long",
    "max_digits": "too_long",
    "invalid": "wrong_type",
    "not_a_list": "wrong_type",
    "not_a_dict": "wrong_type",
    "unknown": "extra_field",
}


def read_json(raw: bytes) -> Any:
    """The value of a JSON body. `InvalidInput` for anything PostgreSQL or JSON itself would refuse:
    malformed text, invalid UTF-8, NUL characters, lone surrogates, NaN, nesting without end.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput("The body is not valid UTF-8.") from None
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise InvalidInput("The body is nested too deeply.") from None
    except ValueError as error:
        where = (
            f" at line {error.lineno} column {error.colno}"
            if isinstance(error, json.JSONDecodeError)
            else ""
        )
        raise InvalidInput(f"The body is not valid JSON{where}.") from None
    check_depth(value)
    if _SUSPECT.search(text):
        check_text(value)
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _finite(text: str) -> float:
    """`1e999` is JSON, and is infinite: nothing could write it down again."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def check_depth(value: Any) -> None:
    """`InvalidInput` when lists and objects nest deeper than `MAX_DEPTH`."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for item in level for child in _children(item)]
        if not level:
            return
    raise InvalidInput("The body is nested too deeply.")


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        return (item for item in value.values() if isinstance(item, (dict, list)))
    if isinstance(value, list):
        return (item for item in value if isinstance(item, (dict, list)))
    return iter(())


def check_text(value: Any) -> None:
    """`InvalidInput` when a string somewhere holds NUL or half a surrogate pair."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str) and not is_clean(item):
            raise InvalidInput("Text may not hold NUL characters or lone surrogates.")


def is_clean(text: str) -> bool:
    return "\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


class StrictJSON(BaseParser):
    """`application/json`, at most `MAX_BODY_BYTES`."""

    media_type = "application/json"

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        limit = settings.MAX_BODY_BYTES
        raw = stream.read(limit + 1)
        if len(raw) > limit:
            raise TooLarge(max_upload_size=limit)
        return read_json(raw) if raw.strip() else {}


class AnyJSON(StrictJSON):
    """A body that is JSON whatever its content type says (molecule, polpo, polyant, MUXI)."""

    media_type = "*/*"


class _Forms(threading.local):
    def __init__(self) -> None:
        self.made: dict[type, Any] = {}


_forms = _Forms()


class Text(serializers.CharField):
    """Text as it was sent: a number is not text."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class Whole(serializers.IntegerField):
    """A whole number above zero as it was sent: neither text nor true."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=1, **kwargs)

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return int(super().to_internal_value(data))


class StrictSerializer(serializers.Serializer[Any]):
    """Input of one operation. Never a ModelSerializer: its relations look across tenants.

    `Body.read(request.data)` answers the checked fields or raises `InvalidInput` with
    `details["fields"]`. A field the serializer does not name is an error, unless
    `refuses_unknown` is False (surfaces whose contract says "ignored").
    """

    refuses_unknown: ClassVar[bool] = True

    @classmethod
    def read(cls, data: Any, *, partial: bool = False, **context: Any) -> dict[str, Any]:
        """The validated fields of `data`; `InvalidInput`."""
        form = cls(partial=partial, context=context) if partial or context else cls._kept()
        try:
            return dict(form.run_validation(data))
        except serializers.ValidationError as error:
            raise refused(error.detail, form) from None

    @classmethod
    def _kept(cls) -> Self:
        """This thread's own: a form copies all its fields when it is made, and checking leaves no trace."""
        if cls not in _forms.made:
            _forms.made[cls] = cls()
        kept: Self = _forms.made[cls]
        return kept

    def to_internal_value(self, data: Any) -> Any:
        if self.refuses_unknown and isinstance(data, dict):
            known = {name for name, made in self.fields.items() if not made.read_only}
            unknown = sorted(str(name) for name in data if name not in known)[:20]
            if unknown:
                raise serializers.ValidationError(
                    {
                        name: serializers.ErrorDetail("This field is not known.", "unknown")
                        for name in unknown
                    }
                )
        return super().to_internal_value(data)

    @classmethod
    def refusing_nothing(cls) -> type[Self]:
        """The same fields, for a surface that ignores what it does not know."""
        return type(cls.__name__, (cls,), {"refuses_unknown": False})


def refused(errors: Any, form: Any = None) -> InvalidInput:
    """DRF's error tree as `InvalidInput`: dotted field -> messages; codes in `.problems`.

    `form`: the serializer that refused, which knows what each field should have been.
    """
    problems = list(_flat(errors, ""))[:100]
    fields: dict[str, list[str]] = {}
    for name, message, _ in problems:
        fields.setdefault(name or "body", []).append(message)
    first = next(iter(fields.items()), ("body", ["is not valid"]))
    error = InvalidInput(f"{first[0]}: {first[1][0]}", fields=fields)
    error.problems = [  # type: ignore[attr-defined]
        {
            "field": name or "body",
            "msg": message,
            "type": _kind_of(form, name),
            "error": _PROBLEMS.get(code, "invalid"),
        }
        for name, message, code in problems
    ]
    return error


_KINDS: tuple[tuple[tuple[type, ...], str], ...] = (
    ((serializers.BooleanField,), "boolean"),
    ((serializers.IntegerField,), "integer"),
    ((serializers.FloatField, serializers.DecimalField), "number"),
    ((serializers.ListField, serializers.ListSerializer), "array"),
    ((serializers.DictField, serializers.BaseSerializer, serializers.JSONField), "object"),
)


def _kind_of(form: Any, name: str) -> str:
    """What the field with this dotted name takes, in JSON Schema's words."""
    field = form
    for step in name.split(".") if name else ():
        inside = getattr(field, "child", None)
        field = inside if inside and step.isdigit() else getattr(field, "fields", {}).get(step)
        if field is None:
            return "string"
    kinds = (word for types, word in _KINDS if isinstance(field, types))
    return next(kinds, "string")


def _flat(errors: Any, prefix: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(errors, dict):
        for name, below in errors.items():
            here = (
                prefix
                if name == "non_field_errors"
                else f"{prefix}.{name}"
                if prefix
                else str(name)
            )
            yield from _flat(below, here)
    elif isinstance(errors, list):
        for index, below in enumerate(errors):
            nested = isinstance(below, (dict, list))
            yield from _flat(below, f"{prefix}.{index}" if nested and prefix else prefix)
    else:
        yield prefix, str(errors), getattr(errors, "code", "invalid")
