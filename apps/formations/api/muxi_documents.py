"""What a formation's file brings besides agents: triggers, SOPs, skills (contract/muxi.md §5.8)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django.urls import path
from rest_framework import serializers

from apps.core.errors import InvalidInput
from apps.formations.api.formation_view import FormationView
from apps.formations.api.muxi_shapes import answer_of
from apps.formations.errors import SkillNotFound, SopNotFound, TriggerNotFound
from apps.surfaces.muxi_formation import CLIENT

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.response import Response

    from apps.core.errors import NotFound

NAME = re.compile(r"[A-Za-z0-9_-]+")
LONGEST_NAME = 200


class TriggerNames(serializers.Serializer[Any]):
    formation_id = serializers.CharField()
    triggers = serializers.ListField(child=serializers.CharField())
    count = serializers.IntegerField()


class Trigger(serializers.Serializer[Any]):
    name = serializers.CharField()
    content = serializers.CharField(allow_blank=True)
    data_fields = serializers.ListField(child=serializers.CharField(), allow_null=True)


class SopLine(serializers.Serializer[Any]):
    name = serializers.CharField()
    title = serializers.CharField(allow_blank=True)
    type = serializers.CharField()
    steps = serializers.ListField()
    agents_used = serializers.ListField(child=serializers.CharField())


class Sops(serializers.Serializer[Any]):
    sops = SopLine(many=True)
    count = serializers.IntegerField()


class Sop(SopLine):
    content = serializers.CharField(allow_blank=True)
    metadata = serializers.DictField()
    references = serializers.ListField()


class SkillLine(serializers.Serializer[Any]):
    name = serializers.CharField()
    description = serializers.CharField(allow_blank=True)


class Skills(serializers.Serializer[Any]):
    skills = SkillLine(many=True)
    count = serializers.IntegerField()


class Skill(SkillLine):
    content = serializers.CharField(allow_blank=True)


class DocumentView(FormationView):
    """Of the version that is served now: a client key reads it, for whatever user."""

    realm = CLIENT

    def part(self, name: str) -> dict[str, dict[str, Any]]:
        return dict(sorted((self.running.document.get(name) or {}).items()))

    def item(self, part: str, name: str, absent: type[NotFound]) -> dict[str, Any]:
        """`absent` when there is none; 400 for what is no name."""
        if len(name) > LONGEST_NAME or not NAME.fullmatch(name):
            raise InvalidInput("A name holds letters, digits, hyphens and underscores.")
        found = self.part(part).get(name)
        if found is None:
            raise absent
        return found


class TriggersView(DocumentView):
    gives = answer_of(TriggerNames)

    def get(self, request: Request, **_: Any) -> Response:
        names = list(self.part("triggers"))
        data = {"formation_id": self.running.slug, "triggers": names, "count": len(names)}
        return self.enveloped("list", "list.retrieved", data)


class TriggerView(DocumentView):
    """`POST` on it is a turn, and stands in conversations."""

    gives = answer_of(Trigger)

    def get(self, request: Request, name: str, **_: Any) -> Response:
        found = self.item("triggers", name, TriggerNotFound)
        fields = found.get("fields") or None
        data = {"name": name, "content": found.get("content", ""), "data_fields": fields}
        return self.enveloped("trigger", "trigger.retrieved", data)


class SopsView(DocumentView):
    gives = answer_of(Sops)

    def get(self, request: Request, **_: Any) -> Response:
        lines = [_sop_line(stem, sop) for stem, sop in self.part("sops").items()]
        return self.enveloped("sop_list", "sop.list", {"sops": lines, "count": len(lines)})


class SopView(DocumentView):
    gives = answer_of(Sop)

    def get(self, request: Request, name: str, **_: Any) -> Response:
        sop = self.item("sops", name, SopNotFound)
        about = ("name", "description", "mode", "tags", "bypass_approval", "synthesis")
        data = _sop_line(name, sop) | {
            "content": sop.get("content", ""),
            "metadata": {key: sop[key] for key in about if sop.get(key) is not None},
            "references": sop.get("references") or [],
        }
        return self.enveloped("sop", "sop.retrieved", data)


class SkillsView(DocumentView):
    gives = answer_of(Skills)

    def get(self, request: Request, **_: Any) -> Response:
        lines = [_skill_line(name, skill) for name, skill in self.part("skills").items()]
        return self.enveloped("skill_list", "skill.list", {"skills": lines, "count": len(lines)})


class SkillView(DocumentView):
    gives = answer_of(Skill)

    def get(self, request: Request, name: str, **_: Any) -> Response:
        skill = self.item("skills", name, SkillNotFound)
        data = _skill_line(name, skill) | {"content": skill.get("content", "")}
        return self.enveloped("skill", "skill.retrieved", data)


def _sop_line(stem: str, sop: dict[str, Any]) -> dict[str, Any]:
    """A SOP is called by its file's stem (contract §6)."""
    return {
        "name": stem,
        "title": sop.get("title") or sop.get("name") or stem,
        "type": sop.get("type", "sop"),
        "steps": sop.get("steps") or [],
        "agents_used": sop.get("agents_used") or [],
    }


def _skill_line(name: str, skill: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "description": skill.get("description", "")}


urlpatterns = [
    path("v1/triggers", TriggersView.as_view()),
    path("v1/triggers/<str:name>", TriggerView.as_view()),
    path("v1/sops", SopsView.as_view()),
    path("v1/sops/<str:name>", SopView.as_view()),
    path("v1/skills", SkillsView.as_view()),
    path("v1/skills/<str:name>", SkillView.as_view()),
]
