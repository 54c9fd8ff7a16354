from __future__ import annotations

from django.apps import AppConfig


class FormationsConfig(AppConfig):
    name = "apps.formations"
    label = "formations"

    def ready(self) -> None:
        from apps.events.services import subscribe
        from apps.formations.secret_uses import refers_to_secret
        from apps.formations.subscribers import follow_seat, welcome
        from apps.formations.tools import register_tools
        from apps.workspaces.events import (
            MemberAdded,
            MemberChanged,
            MemberRemoved,
            WorkspaceCreated,
        )
        from apps.workspaces.keeping import keep_secret_while

        register_tools()
        keep_secret_while("formations", refers_to_secret)
        subscribe(WorkspaceCreated, welcome)
        subscribe(MemberAdded, follow_seat)
        subscribe(MemberChanged, follow_seat)
        subscribe(MemberRemoved, follow_seat)
