"""Answers of the mission operations, for the OpenAPI document. Output is built in `wire.py`."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.missions.models import MissionStatus
from apps.tasks.api.shapes import Enveloped, Flag, TaskShape

__all__ = ["Flag"]  # one component of the document, whoever answers with it


class MissionShape(serializers.Serializer[Any]):
    """Contract/polpo.md §7.1; what is absent is left out."""

    id = serializers.CharField()
    name = serializers.CharField()
    data = serializers.CharField(  # type: ignore[assignment]  # a field, not DRF's property
        help_text="The document as JSON text."
    )
    prompt = serializers.CharField(required=False)
    status = serializers.ChoiceField(MissionStatus.values)
    group = serializers.CharField(required=False)
    deadline = serializers.DateTimeField(required=False)
    schedule = serializers.CharField(required=False)
    endDate = serializers.DateTimeField(required=False)
    qualityThreshold = serializers.FloatField(required=False)
    notifications = serializers.DictField(required=False)
    executionCount = serializers.IntegerField(required=False)
    report = serializers.DictField(required=False)
    createdAt = serializers.DateTimeField()
    updatedAt = serializers.DateTimeField()


class Missions(Enveloped):
    data = MissionShape(many=True)  # type: ignore[assignment]  # a field, not DRF's property


class OneMission(Enveloped):
    data = MissionShape()  # type: ignore[assignment]


class ExecutionBody(serializers.Serializer[Any]):
    tasks = TaskShape(many=True)
    group = serializers.CharField()


class Execution(Enveloped):
    data = ExecutionBody()  # type: ignore[assignment]


class Entries(Enveloped):
    data = serializers.ListField(child=serializers.DictField())  # type: ignore[assignment]


class ScheduleShape(serializers.Serializer[Any]):
    """Contract/polpo.md §7.7."""

    id = serializers.CharField()
    missionId = serializers.CharField()
    expression = serializers.CharField()
    recurring = serializers.BooleanField()
    enabled = serializers.BooleanField()
    lastRunAt = serializers.DateTimeField(required=False)
    nextRunAt = serializers.DateTimeField(required=False)
    createdAt = serializers.DateTimeField()


class Schedules(Enveloped):
    data = ScheduleShape(many=True)  # type: ignore[assignment]


class OneSchedule(Enveloped):
    data = ScheduleShape()  # type: ignore[assignment]


class Counts(Enveloped):
    data = serializers.DictField(child=serializers.IntegerField())  # type: ignore[assignment]
