from __future__ import annotations

from django.apps import AppConfig


class EmbeddedConfig(AppConfig):
    name = "polymux.embedded"
    label = "embedded"

    def ready(self) -> None:
        from apps.formations import health, registry
        from polymux.gateway.looking import look
        from polymux.gateway.nudges import tell_others

        registry.on_change.append(tell_others)
        health.see_with(look)
