"""The formation's envelope around what an operation gives, for the document (contract/muxi.md §5.2)."""

from __future__ import annotations

from functools import cache
from typing import Any

from rest_framework import serializers


class Asked(serializers.Serializer[Any]):
    id = serializers.CharField()
    idempotency_key = serializers.CharField(allow_null=True)


class Envelope(serializers.Serializer[Any]):
    object = serializers.CharField()
    timestamp = serializers.IntegerField()
    type = serializers.CharField()
    request = Asked()
    success = serializers.BooleanField()
    error = serializers.DictField(allow_null=True)


@cache
def answer_of(data: type[serializers.Serializer[Any]]) -> type[Envelope]:
    """`data` as an operation answers it."""
    return type(f"{data.__name__}Answer", (Envelope,), {"data": data()})
