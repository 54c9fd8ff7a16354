"""The policy's header, page by page."""

from __future__ import annotations

from django.http import HttpResponse, JsonResponse
from django.test import RequestFactory

from apps.console.csp import HEADER, ContentSecurityPolicy


def answer(view):
    request = RequestFactory().get("/somewhere")
    request.resolver_match = None
    return ContentSecurityPolicy(view)(request)


def test_a_page_outside_the_console_may_not_evaluate_text():
    policy = answer(lambda request: HttpResponse("<p>hi"))[HEADER]
    assert "script-src 'self';" in policy
    assert "unsafe-eval" not in policy
    assert "nonce" not in policy


def test_a_nonce_is_in_the_header_when_the_page_asked_for_one():
    page = answer(lambda request: HttpResponse(f"<script nonce='{request.csp_nonce}'>"))
    nonce = page.text.split("'")[1]
    assert len(nonce) >= 20
    assert f"'nonce-{nonce}'" in page[HEADER]


def test_two_pages_have_two_nonces():
    pages = [answer(lambda request: HttpResponse(str(request.csp_nonce))).text for _ in range(2)]
    assert pages[0] != pages[1]


def test_a_views_own_policy_is_kept():
    page = answer(lambda request: HttpResponse("x", headers={HEADER: "default-src 'none'"}))
    assert page[HEADER] == "default-src 'none'"


def test_data_carries_no_policy():
    assert HEADER not in answer(lambda request: JsonResponse({}))
