from __future__ import annotations

from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "apps.events"
    label = "events"

    def ready(self) -> None:
        from apps.core import announce
        from apps.events import revocation, services, words
        from apps.events.tools import register_tools

        register_tools()
        announce.set_publisher(services.publish)
        announce.set_revoker(revocation.revoke)
        words.speak("polpo", "log.written", "log")
