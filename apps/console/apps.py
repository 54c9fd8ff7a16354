from __future__ import annotations

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    name = "apps.console"
    label = "console"

    def ready(self) -> None:
        from django.contrib import admin

        from apps.console.board import board_urls
        from apps.console.live_page import live_urls
        from apps.console.own_password import own_password_urls

        admin.site.extra_urls = lambda: [  # type: ignore[attr-defined]  # unfold's door for views
            *live_urls(),
            *board_urls(),
            *own_password_urls(),
        ]
