from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import AppConfig

if TYPE_CHECKING:
    from apps.approvals.events import ApprovalDecided, ApprovalExpired
    from apps.core.actor import Actor
    from apps.formations.events import IdentifierLinked


class ConversationsConfig(AppConfig):
    name = "apps.conversations"
    label = "conversations"

    def ready(self) -> None:
        from apps.approvals.events import ApprovalDecided, ApprovalExpired
        from apps.conversations import snapshot
        from apps.conversations.chat import ChatRuns
        from apps.conversations.selectors import active_sessions
        from apps.conversations.tools import register_tools
        from apps.conversations.words import register_words
        from apps.core import gauges
        from apps.events.selectors import complete_with
        from apps.events.services import subscribe
        from apps.formations.events import IdentifierLinked
        from apps.runs import kinds

        register_tools()
        kinds.register("chat", ChatRuns())
        register_words()
        complete_with("message.posted", snapshot.complete_messages)
        complete_with("approval.requested", snapshot.complete_approvals)
        for changed in ("session.changed", "run.started"):
            complete_with(changed, snapshot.complete_states)
        gauges.register("active_sessions", active_sessions)
        subscribe(ApprovalDecided, _decided)
        subscribe(ApprovalExpired, _expired)
        subscribe(IdentifierLinked, _linked)


def _decided(actor: Actor, fact: ApprovalDecided) -> None:
    from apps.conversations.services.turns import go_on_after

    go_on_after(actor, fact)


def _expired(actor: Actor, fact: ApprovalExpired) -> None:
    from apps.conversations.services.turns import give_up_after

    give_up_after(actor, fact)


def _linked(actor: Actor, fact: IdentifierLinked) -> None:
    from apps.conversations.services.buffers import adopt_sessions

    adopt_sessions(actor, fact.identifier, fact.muxi_user_id)
