"""Memories of a formation's end users (contract/muxi.md §5.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.urls import path
from rest_framework import serializers

from apps.core.clock import rfc3339
from apps.core.errors import InvalidInput
from apps.core.ids import parse_id, wire_id
from apps.core.paging import read_limit
from apps.formations.api.formation_view import FormationView
from apps.formations.api.muxi_shapes import answer_of
from apps.knowledge.errors import MemoryOff
from apps.knowledge.models import MemoryScope
from apps.knowledge.selectors import list_user_memories
from apps.knowledge.services import LONGEST_DETAIL, forget, remember
from apps.surfaces.muxi_formation import ADMIN
from apps.surfaces.parsing import StrictSerializer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rest_framework.request import Request
    from rest_framework.response import Response

    from apps.knowledge.models import UserMemory

USUAL, MOST = 10, 100  # of a list
FURTHEST = 100_000


class Remembering(StrictSerializer):
    """`content`, or `type` and `detail`."""

    refuses_unknown = False
    content = serializers.CharField(required=False, max_length=LONGEST_DETAIL)
    type = serializers.CharField(max_length=100, default="general")
    detail = serializers.CharField(required=False, max_length=LONGEST_DETAIL)
    metadata = serializers.DictField(required=False, allow_null=True)
    scope = serializers.ChoiceField(choices=MemoryScope.values, default=MemoryScope.USER)
    scope_id = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, max_length=255
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not (attrs.get("content") or attrs.get("detail")):
            words = "Send content, or type and detail."
            raise serializers.ValidationError(
                {"content": serializers.ErrorDetail(words, "required")}
            )
        return attrs


class MemoryContent(serializers.Serializer[Any]):
    type = serializers.CharField()
    detail = serializers.CharField()


class UserMemoryShown(serializers.Serializer[Any]):
    id = serializers.CharField()
    content = MemoryContent()
    created_at = serializers.DateTimeField()
    metadata = serializers.DictField()
    scope = serializers.CharField()
    scope_id = serializers.CharField()


class UserMemories(serializers.Serializer[Any]):
    memories = UserMemoryShown(many=True)
    count = serializers.IntegerField()


class MemoryForgotten(serializers.Serializer[Any]):
    id = serializers.CharField()
    deleted = serializers.BooleanField()
    user_id = serializers.CharField()


class MemoryConfigView(FormationView):
    """The `memory` block of the formation's file."""

    realm = ADMIN

    def get(self, request: Request, **_: Any) -> Response:
        block = self.running.config.get("memory") or {}
        return self.enveloped("memory_config", "memory.config.retrieved", block)


class MemoriesView(FormationView):
    """Either key, and always a user (contract §5.1)."""

    takes = {"POST": Remembering}
    gives = {"GET": answer_of(UserMemories), "POST": answer_of(UserMemoryShown)}

    def get(self, request: Request, **_: Any) -> Response:
        scopes, limit, offset = _page(self.admission.credentials.query)
        user, found = self.named_user(), []
        if self.keeps_memories:
            rows = list_user_memories(self.actor, user, scopes=scopes)
            found = [_memory(row) for row in rows[offset : offset + limit]]
        data = {"memories": found, "count": len(found)}
        return self.enveloped("memory_list", "memory.list", data)

    def post(self, request: Request, **_: Any) -> Response:
        body = Remembering.read(request.data)
        user = self.named_user()
        if not self.keeps_memories:
            raise MemoryOff
        row = remember(self.actor, user, **_asked(body, self.running.slug))
        return self.enveloped("memory", "memory.created", _memory(row))

    @property
    def keeps_memories(self) -> bool:
        """`memory.persistent: false` switches them off."""
        block = self.running.config.get("memory")
        return not (isinstance(block, dict) and block.get("persistent") is False)


class MemoryView(FormationView):
    gives = answer_of(MemoryForgotten)

    def delete(self, request: Request, memory_id: str, **_: Any) -> Response:
        user = self.named_user()
        forget(self.actor, user, parse_id("mem", memory_id))
        data = {"id": memory_id, "deleted": True, "user_id": user}
        return self.enveloped("memory", "memory.deleted", data)


def _page(query: Mapping[str, str]) -> tuple[list[str], int, int]:
    """(scopes, limit, offset) as the query asks for; InvalidInput."""
    asked = [word.strip() for word in query.get("scopes", "").split(",") if word.strip()]
    if unknown := set(asked) - set(MemoryScope.values):
        words = f"Use user, group, formation; not {min(unknown)[:50]!r}."
        raise InvalidInput(f"scopes: {words}", fields={"scopes": [words]})
    limit = read_limit(query.get("limit"), default=USUAL, most=MOST)
    offset = query.get("offset", "") or "0"
    if not (offset.isascii() and offset.isdigit() and len(offset) < 7 and int(offset) <= FURTHEST):
        words = f"Must be a whole number from 0 to {FURTHEST}."
        raise InvalidInput(f"offset: {words}", fields={"offset": [words]})
    return asked or list(MemoryScope.values), limit, int(offset)


def _asked(body: dict[str, Any], slug: str) -> dict[str, Any]:
    """What `remember` takes. A whole formation is called by its id."""
    whole = body["scope"] == MemoryScope.FORMATION
    return {
        "detail": body.get("detail") or body["content"],
        "type_name": body["type"],
        "metadata": body.get("metadata"),
        "scope": body["scope"],
        "scope_id": slug if whole else body.get("scope_id") or "",
    }


def _memory(row: UserMemory) -> dict[str, Any]:
    return {
        "id": wire_id("mem", row.pk),
        "content": {"type": row.type, "detail": row.detail},
        "created_at": rfc3339(row.created_at),
        "metadata": row.metadata,
        "scope": row.scope,
        "scope_id": row.scope_id,
    }


urlpatterns = [
    path("v1/memory", MemoryConfigView.as_view()),
    path("v1/memories", MemoriesView.as_view()),
    path("v1/memories/<str:memory_id>", MemoryView.as_view()),
]
