from __future__ import annotations

from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    name = "apps.approvals"
    label = "approvals"

    def ready(self) -> None:
        from apps.approvals.tools import register_tools
        from apps.approvals.words import register_words

        register_tools()
        register_words()
