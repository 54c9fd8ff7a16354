from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import AppConfig

if TYPE_CHECKING:
    from apps.approvals.events import ApprovalDecided, ApprovalFact
    from apps.core.actor import Actor
    from apps.formations.events import IdentifierLinked
    from apps.runs.events import RunEnded, RunHandedOn, ToolCalled


class TasksConfig(AppConfig):
    name = "apps.tasks"
    label = "tasks"

    def ready(self) -> None:
        from apps.approvals.events import ApprovalDecided, ApprovalExpired, ApprovalWithdrawn
        from apps.approvals.services import lock_with
        from apps.events.selectors import complete_with
        from apps.events.services import subscribe
        from apps.formations.events import IdentifierLinked
        from apps.runs import kinds
        from apps.runs.events import RunEnded, RunHandedOn, ToolCalled
        from apps.tasks import orchestrator, words
        from apps.tasks.prompted import ScheduledPrompts
        from apps.tasks.reviewing import ReviewRuns
        from apps.tasks.running import TaskRuns
        from apps.tasks.schedules import on_due
        from apps.tasks.selectors import SUBJECT
        from apps.tasks.services.blocking import lock_subject
        from apps.tasks.services.judging import open_assessment
        from apps.tasks.services.reviewing import on_review
        from apps.tasks.tools import register_tools

        kinds.register("task", TaskRuns())
        kinds.register("review", ReviewRuns())
        on_review(open_assessment)
        on_due(SUBJECT, ScheduledPrompts())
        register_tools()
        orchestrator.register_tools()
        words.register_words()
        for fact in words.WHOLE:
            complete_with(fact, words.complete_tasks)
        lock_with(lock_subject)
        for settled in (ApprovalDecided, ApprovalExpired, ApprovalWithdrawn):
            subscribe(settled, _settled)
        subscribe(ApprovalDecided, _decided)
        subscribe(RunHandedOn, _handed_on)
        subscribe(ToolCalled, _tool_called)
        subscribe(RunEnded, _run_ended)
        subscribe(IdentifierLinked, _linked)


def _settled(actor: Actor, fact: ApprovalFact) -> None:
    from apps.tasks.services.blocking import go_on_after

    go_on_after(actor, fact)


def _decided(actor: Actor, fact: ApprovalDecided) -> None:
    from apps.tasks.services.blocking import keep_feedback

    keep_feedback(actor, fact)


def _handed_on(actor: Actor, fact: RunHandedOn) -> None:
    from apps.tasks.services.watching import say_recovered

    if fact.kind == "task":
        say_recovered(actor, fact.run_id)


def _tool_called(actor: Actor, fact: ToolCalled) -> None:
    from apps.tasks.running import AGENT_KEY
    from apps.tasks.services.attempts import say_active

    if fact.agent_key == AGENT_KEY:
        say_active(actor, fact)


def _run_ended(actor: Actor, fact: RunEnded) -> None:
    from apps.tasks.prompted import settle_turn

    settle_turn(actor, fact)


def _linked(actor: Actor, fact: IdentifierLinked) -> None:
    from apps.tasks.prompted import adopt_jobs

    adopt_jobs(actor, fact.identifier, fact.muxi_user_id)
