"""Models that come with Django and django-celery-beat, in the console's own style.

Periodic jobs and permission groups are the platform's own settings: they stay editable here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.models import Group
from django.db import transaction
from django_celery_beat.admin import PeriodicTaskForm, TaskSelectWidget
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from apps.accounts.services import record_change
from apps.console.operator import operator_caller
from apps.console.reasons import reason_action
from apps.core.queue import enqueue

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.forms import ModelForm
    from django.http import HttpRequest


class AuditedAdmin(ModelAdmin):
    """An editable page whose every save and delete is written to the audit log."""

    list_per_page = 50

    def has_act_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        allowed: bool = self.has_change_permission(request)
        return allowed

    def save_model(
        self,
        request: HttpRequest,
        obj: Any,
        form: ModelForm[Any],
        change: bool,  # noqa: FBT001  (Django's signature)
    ) -> None:
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            self._record(request, obj, "changed" if change else "created", form)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        with transaction.atomic():
            self._record(request, obj, "deleted")
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        with transaction.atomic():
            for row in queryset:
                self._record(request, row, "deleted")
            super().delete_queryset(request, queryset)

    def _record(
        self, request: HttpRequest, obj: Any, verb: str, form: ModelForm[Any] | None = None
    ) -> None:
        kind = str(self.opts.model_name)
        fields = form.changed_data if form else []
        record_change(
            operator_caller(request),
            f"{kind}.{verb}",
            kind,
            obj.pk,
            before={name: str(form.initial.get(name)) for name in fields} if form else None,
            after={name: str(form.cleaned_data.get(name)) for name in fields} if form else None,
        )


class JobSelectWidget(UnfoldAdminSelectWidget, TaskSelectWidget):
    """Beat's list of registered jobs, dressed like the other fields."""


class JobForm(PeriodicTaskForm):
    """Beat's own form: either a registered job or a name; arguments are JSON."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = JobSelectWidget()


for model in (
    PeriodicTask,
    IntervalSchedule,
    CrontabSchedule,
    SolarSchedule,
    ClockedSchedule,
    Group,
):
    admin.site.unregister(model)


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(AuditedAdmin):
    """Not beat's own admin: its change form carries an inline script."""

    form = JobForm
    list_display = ("name", "enabled", "scheduler", "last_run_at", "total_run_count", "one_off")
    list_select_related = ("interval", "crontab", "solar", "clocked")
    list_filter = ("enabled", "one_off")
    search_fields = ("name", "task")
    fieldsets = (
        (None, {"fields": ("name", "regtask", "task", "enabled", "description")}),
        (
            "Schedule",
            {
                "fields": (
                    "interval",
                    "crontab",
                    "solar",
                    "clocked",
                    "start_time",
                    "one_off",
                    "last_run_at",
                )
            },
        ),
        ("Arguments", {"fields": ("args", "kwargs")}),
        ("Execution", {"fields": ("expires", "expire_seconds", "queue", "priority", "headers")}),
    )
    readonly_fields = ("last_run_at",)
    actions = ("enable", "disable", "run_now")
    actions_detail = ("run_now",)

    @reason_action("Enable", past="enabled", icon="play_arrow")
    def enable(self, request: HttpRequest, row: PeriodicTask, reason: str) -> None:
        _switch(request, row, enabled=True, reason=reason)

    @reason_action("Disable", past="disabled", icon="pause", danger=True)
    def disable(self, request: HttpRequest, row: PeriodicTask, reason: str) -> None:
        _switch(request, row, enabled=False, reason=reason)

    @reason_action(
        "Run now", past="sent", icon="bolt", explain="A worker takes it once, besides its schedule."
    )
    def run_now(self, request: HttpRequest, row: PeriodicTask, reason: str) -> None:
        with transaction.atomic():
            record_change(
                operator_caller(request),
                "periodictask.run_now",
                "periodictask",
                row.pk,
                reason=reason,
            )
            enqueue(row.task, **json.loads(row.kwargs or "{}"))


def _switch(request: HttpRequest, row: PeriodicTask, *, enabled: bool, reason: str) -> None:
    with transaction.atomic():
        row.enabled = enabled
        row.save()  # not update(): beat's signal tells the scheduler to read its table again
        record_change(
            operator_caller(request),
            "periodictask.changed",
            "periodictask",
            row.pk,
            after={"enabled": enabled},
            reason=reason,
        )


@admin.register(IntervalSchedule)
class IntervalScheduleAdmin(AuditedAdmin):
    list_display = ("__str__", "every", "period")


@admin.register(CrontabSchedule)
class CrontabScheduleAdmin(AuditedAdmin):
    list_display = ("__str__", "human_readable")
    readonly_fields = ("human_readable",)


@admin.register(SolarSchedule)
class SolarScheduleAdmin(AuditedAdmin):
    list_display = ("__str__", "event", "latitude", "longitude")


@admin.register(ClockedSchedule)
class ClockedScheduleAdmin(AuditedAdmin):
    list_display = ("clocked_time",)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, AuditedAdmin):
    pass
