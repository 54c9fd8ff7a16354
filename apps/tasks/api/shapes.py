"""Answers of the task operations, for the OpenAPI document. Output is built in `wire.py`."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.tasks.models import TaskStatus
from apps.tasks.wire import DECISIONS


class ProjectBody(serializers.Serializer[Any]):
    """Contract/polpo.md §3.1."""

    id = serializers.CharField()
    name = serializers.CharField()
    workDir = serializers.CharField()
    status = serializers.ChoiceField(["running", "stopped", "idle"])
    taskCount = serializers.IntegerField()
    agentCount = serializers.IntegerField()


class TaskShape(serializers.Serializer[Any]):
    """Contract/polpo.md §5.2; what is absent is left out."""

    id = serializers.CharField()
    title = serializers.CharField()
    description = serializers.CharField()
    assignTo = serializers.CharField()
    group = serializers.CharField(required=False)
    missionId = serializers.CharField(required=False)
    dependsOn = serializers.ListField(child=serializers.CharField())
    status = serializers.ChoiceField(TaskStatus.values)
    expectations = serializers.ListField(child=serializers.DictField())
    metrics = serializers.ListField(child=serializers.DictField())
    retries = serializers.IntegerField()
    maxRetries = serializers.IntegerField()
    maxDuration = serializers.IntegerField(required=False)
    retryPolicy = serializers.DictField(required=False)
    result = serializers.DictField(required=False)
    phase = serializers.CharField(required=False)
    fixAttempts = serializers.IntegerField(required=False)
    questionRounds = serializers.IntegerField(required=False)
    resolutionAttempts = serializers.IntegerField(required=False)
    revisionCount = serializers.IntegerField(required=False)
    originalDescription = serializers.CharField(required=False)
    sessionId = serializers.CharField(required=False)
    deadline = serializers.DateTimeField(required=False)
    priority = serializers.FloatField()
    expectedOutcomes = serializers.ListField(child=serializers.DictField(), required=False)
    outcomes = serializers.ListField(child=serializers.DictField(), required=False)
    notifications = serializers.DictField(required=False)
    sideEffects = serializers.BooleanField(required=False)
    createdAt = serializers.DateTimeField()
    updatedAt = serializers.DateTimeField()


class Enveloped(serializers.Serializer[Any]):
    ok = serializers.BooleanField()


class Projects(Enveloped):
    data = ProjectBody(many=True)  # type: ignore[assignment]  # a field, not DRF's property


class State(Enveloped):
    data = serializers.DictField()  # type: ignore[assignment]


class Config(Enveloped):
    data = serializers.DictField()  # type: ignore[assignment]


class Tasks(Enveloped):
    data = TaskShape(many=True)  # type: ignore[assignment]


class OneTask(Enveloped):
    data = TaskShape()  # type: ignore[assignment]


class ApprovalShape(serializers.Serializer[Any]):
    """Contract/polpo.md §18."""

    id = serializers.CharField()
    gateId = serializers.CharField()
    gateName = serializers.CharField()
    taskId = serializers.CharField(required=False)
    missionId = serializers.CharField(required=False)
    status = serializers.ChoiceField(list(DECISIONS))
    payload = serializers.DictField()
    requestedAt = serializers.DateTimeField()
    resolvedAt = serializers.DateTimeField(required=False)
    resolvedBy = serializers.CharField(required=False)
    note = serializers.CharField(required=False)


class Approvals(Enveloped):
    data = ApprovalShape(many=True)  # type: ignore[assignment]


class OneApproval(Enveloped):
    data = ApprovalShape()  # type: ignore[assignment]


class Flag(Enveloped):
    data = serializers.DictField(child=serializers.BooleanField())  # type: ignore[assignment]


class Deleted(Enveloped):
    data = serializers.DictField(child=serializers.IntegerField())  # type: ignore[assignment]
