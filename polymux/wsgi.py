"""Django's own handler: everything that is neither a WebSocket nor a stream."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "polymux.settings")
application = get_wsgi_application()
