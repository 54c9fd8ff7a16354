from __future__ import annotations

from django.apps import AppConfig


class FormationsConfig(AppConfig):
    name = "apps.formations"
    label = "formations"

    def ready(self) -> None:
        from apps.events.services import subscribe
        from apps.formations.subscribers import welcome
        from apps.formations.tools import register_tools
        from apps.workspaces.events import WorkspaceCreated

        register_tools()
        subscribe(WorkspaceCreated, welcome)
