"""Content-Security-Policy and its companions on every HTML page.

What was measured in Chromium with unfold 0.91 (`tests/e2e/test_console_in_a_browser.py` repeats it):

- No inline script anywhere in the console, so `script-src` has no 'unsafe-inline'. A page that needs
  one inline script asks for `request.csp_nonce`; the nonce is in the header only then.
- Pages of the console need 'unsafe-eval': unfold bundles Alpine's standard build, which compiles the
  `x-…` attributes with `AsyncFunction`. Other pages do not get it.
- `style-src` needs 'unsafe-inline': the theme's colours are a <style> element, progress bars and the
  action bar have `style` attributes, htmx and Chart.js write inline styles.
- 'self' in `connect-src` covers the WebSocket of the same host.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from django.utils.functional import SimpleLazyObject

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

HEADER = "Content-Security-Policy"
POLICY = {
    "default-src": "'self'",
    "script-src": "'self'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}


class ContentSecurityPolicy:
    """Adds the headers to HTML; a view that sets its own policy keeps it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given: list[str] = []

        def nonce() -> str:
            given.append(secrets.token_urlsafe(16))
            return given[0]

        request.csp_nonce = SimpleLazyObject(nonce)  # type: ignore[attr-defined]
        response = self.get_response(request)
        if response.get("Content-Type", "").startswith("text/html"):
            response.headers.setdefault(
                HEADER, policy(console=_is_console(request), nonce="".join(given))
            )
            response.headers.setdefault("X-Content-Type-Options", "nosniff")
            response.headers.setdefault("Referrer-Policy", "same-origin")
        return response


def policy(*, console: bool, nonce: str = "") -> str:
    """The header's value."""
    rules = dict(POLICY)
    if nonce:
        rules["script-src"] += f" 'nonce-{nonce}'"
    if console:
        rules["script-src"] += " 'unsafe-eval'"
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _is_console(request: HttpRequest) -> bool:
    match = request.resolver_match
    return match is not None and match.app_name == "admin"
