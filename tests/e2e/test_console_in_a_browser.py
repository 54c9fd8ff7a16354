"""The operator console as a person meets it: headless Chromium against `manage.py serve`."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import log_in

PAGES = (
    "/admin/",
    "/admin/board/",
    "/admin/missions/mission/",
    "/admin/tasks/task/",
    "/admin/tasks/schedule/",
    "/admin/runs/run/",
    "/admin/formations/formation/",
    "/admin/formations/formation/deploy/",
    "/admin/conversations/session/",
    "/admin/workspaces/workspace/",
    "/admin/workspaces/apitoken/",
    "/admin/accounts/auditentry/",
    "/admin/events/event/",
    "/admin/django_celery_beat/periodictask/",
    "/admin/django_celery_beat/periodictask/add/",
    "/admin/live/new/",
)
PHONE = {"width": 390, "height": 844}


def open_session(olga):
    """From the dashboard to a live session with the default agent, by clicking."""
    olga.go("/admin/")
    olga.page.get_by_role("link", name="New session").click()
    olga.page.click("#choose-workspace button[type=submit]")
    olga.page.click("#new-session button[type=submit]")
    olga.page.wait_for_selector("#live-connection[data-state=on]")


def is_dark(olga):
    return olga.page.evaluate("document.documentElement.classList.contains('dark')")


def say(olga, words):
    olga.page.fill("#live-input", words)
    olga.page.keyboard.press("Enter")


def test_the_login_page_takes_an_email(visitor, serve_process):
    log_in(visitor, serve_process)
    assert visitor.page.locator("h1, #header-inner").first.is_visible()
    assert visitor.is_clean()


def test_every_page_is_clean(olga):
    olga.theme("light")
    for path in PAGES:
        olga.go(path)
        assert not is_dark(olga), path
        assert olga.is_clean(), path


def test_every_page_is_clean_in_the_dark_and_a_phone_needs_no_sideways_scroll(olga):
    olga.theme("dark")
    olga.page.set_viewport_size(PHONE)
    for path in PAGES:
        olga.go(path)
        assert is_dark(olga), path
        assert olga.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
        assert olga.is_clean(), path


def test_the_policy_holds_without_unsafe_inline_scripts(olga):
    """Control: an inline script put into the page does not run, and the browser says so."""
    olga.page.evaluate(
        "const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        "document.body.append(s)"
    )
    assert olga.page.evaluate("window.ran") is None
    assert any("Content Security Policy" in error for error in olga.errors)


@pytest.mark.parametrize("permission", ["'unsafe-eval'", "'unsafe-inline'"])
def test_unfold_still_needs_what_the_policy_permits(olga, permission):
    """Control: without it the browser complains. When this fails, take the permission away."""

    def without(route):
        answer = route.fetch()
        policy = answer.headers["content-security-policy"].replace(permission, "")
        route.fulfill(response=answer, headers=answer.headers | {"content-security-policy": policy})

    olga.page.route("**/admin/", without)
    olga.go("/admin/")
    assert any("Content Security Policy" in error for error in olga.errors)


def test_the_charts_are_drawn(olga):
    olga.go("/admin/")
    assert olga.page.locator("canvas.chart").count() == 3
    assert olga.page.evaluate(
        "[...document.querySelectorAll('canvas.chart')].every(c => Chart.getChart(c))"
    )


def test_an_operator_watches_the_tokens_arrive(olga):
    open_session(olga)
    say(olga, "Tell me something long")
    growing = olga.page.locator(".live-message[data-partial] .live-text")
    growing.wait_for(timeout=15_000)
    early = len(growing.inner_text())
    olga.page.wait_for_function(
        "n => (document.querySelector('.live-message[data-partial] .live-text')?.innerText.length ?? 0) > n",
        arg=early,
    )
    whole = olga.page.locator('.live-message[data-role="assistant"]:not([data-partial]) .live-text')
    whole.wait_for(timeout=15_000)
    text = whole.inner_text()
    assert len(text) > early
    olga.page.wait_for_selector("#live-session[data-state=idle]")
    assert olga.page.locator(".live-message").count() == 2
    assert olga.page.locator("[data-waiting]").count() == 0
    assert olga.is_clean()

    olga.page.reload()
    olga.page.wait_for_selector("#live-connection[data-state=on]")
    assert olga.page.locator('.live-message[data-role="assistant"] .live-text').inner_text() == text
    assert olga.page.locator(".live-message").count() == 2


# A lost connection shows for a second before the page tries again: too short to look for by polling.
NOTE_STATES = """() => {
  const badge = document.getElementById("live-connection");
  window.connectionStates = [];
  new MutationObserver(() => window.connectionStates.push(badge.dataset.state))
    .observe(badge, { attributes: true, attributeFilter: ["data-state"] });
}"""


def test_a_dropped_connection_comes_back_and_misses_nothing(olga):
    open_session(olga)
    say(olga, "Tell me something long")
    olga.page.locator(".live-message[data-partial]").wait_for(timeout=15_000)
    olga.page.evaluate(NOTE_STATES)
    # Closed first, then offline: a closing handshake over a network that is cut waits for a minute.
    olga.page.evaluate("dispatchEvent(new Event('pagehide'))")  # closes the socket in the middle
    olga.page.wait_for_function("window.connectionStates.includes('retry')", timeout=60_000)
    olga.page.context.set_offline(True)
    olga.page.context.set_offline(False)
    olga.page.wait_for_selector("#live-connection[data-state=on]", timeout=60_000)
    whole = olga.page.locator('.live-message[data-role="assistant"]:not([data-partial]) .live-text')
    whole.wait_for(timeout=60_000)
    assert olga.page.locator(".live-message").count() == 2
    shown = whole.inner_text()
    olga.page.reload()
    assert (
        olga.page.locator('.live-message[data-role="assistant"] .live-text').inner_text() == shown
    )


def test_stop_ends_the_turn(olga):
    open_session(olga)
    say(olga, "Tell me something long")
    olga.page.locator(".live-message[data-partial]").wait_for(timeout=15_000)
    olga.page.click("#live-stop")
    olga.page.wait_for_selector("#live-session[data-state=idle]", timeout=15_000)


def test_the_live_page_fits_a_phone_and_the_dark(olga):
    olga.theme("dark")
    olga.page.set_viewport_size(PHONE)
    open_session(olga)
    say(olga, "x" * 400)
    olga.page.locator('.live-message[data-role="user"]').wait_for()
    assert olga.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert olga.page.locator("#live-send").is_visible()
