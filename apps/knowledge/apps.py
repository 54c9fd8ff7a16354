from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import AppConfig

if TYPE_CHECKING:
    from apps.core.actor import Actor
    from apps.formations.events import IdentifierLinked


class KnowledgeConfig(AppConfig):
    name = "apps.knowledge"
    label = "knowledge"

    def ready(self) -> None:
        from apps.events.services import subscribe
        from apps.formations.events import IdentifierLinked
        from apps.knowledge.tools import register_tools

        register_tools()
        subscribe(IdentifierLinked, _linked)


def _linked(actor: Actor, fact: IdentifierLinked) -> None:
    from apps.knowledge.services import adopt_memories

    adopt_memories(actor, fact.identifier, fact.muxi_user_id)
