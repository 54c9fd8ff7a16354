from __future__ import annotations

from apps.core.errors import Conflict, InvalidInput, NotFound, Unprocessable


class TaskNotFound(NotFound):
    code = "task_not_found"
    message = "Task not found."


class TaskTitleTaken(Conflict):
    code = "task_title_taken"
    message = "An open task of this group has that title already."


class TaskStateForbids(Conflict):
    """The task is not where this can be done."""

    code = "task_state"
    message = "The task's status does not allow this."


class NothingToAssess(InvalidInput):
    code = "nothing_to_assess"
    message = "The task has no expectations and no metrics."


class NoFilter(InvalidInput):
    code = "no_filter"
    message = "Say which tasks: a status, a group, or all=true."


class TooManyTasks(Conflict):
    code = "too_many_tasks"
    message = "This workspace has as many open tasks as it may have."


class TooManyOutcomes(Conflict):
    code = "too_many_outcomes"
    message = "This attempt has registered as many outcomes as it may."


class ScheduleNotFound(NotFound):
    code = "schedule_not_found"
    message = "Schedule not found."


class ScheduleRefused(Unprocessable):
    """`details`: field, value, expected, error."""

    code = "schedule_refused"
    message = "This schedule cannot be kept."


class JobNotFound(NotFound):
    code = "job_not_found"
    message = "No such job."


class TooManyJobs(Conflict):
    code = "too_many_jobs"
    message = "There are as many scheduled jobs as there may be."


class JobUnderWay(Conflict):
    code = "job_under_way"
    message = "The last turn of this job is still under way."


class SchedulerOff(Conflict):
    code = "scheduler_off"
    message = "The scheduler of this formation is switched off."
