"""Missions and tasks as an operator sees them move: Chromium, `manage.py serve`, its own worker."""

from __future__ import annotations

import itertools

import httpx
import pytest

PATIENCE = 60_000  # ms
PHONE = {"width": 390, "height": 844}
_numbers = itertools.count(1)

# Every state a task passes, whether anybody looked in time or not.
NOTE_STATES = """() => {
  window.statesOf = {};
  const note = (element) => {
    const own = element.closest?.("[data-task]");
    if (!own) return;
    const seen = (window.statesOf[own.dataset.task] ??= []);
    if (seen.at(-1) !== own.dataset.state) seen.push(own.dataset.state);
  };
  document.querySelectorAll("[data-task]").forEach(note);
  new MutationObserver((changes) => changes.forEach((change) => note(change.target)))
    .observe(document.body, { attributes: true, attributeFilter: ["data-state"], subtree: true });
}"""


class Polpo:
    """The operator's own token on the surface of boards."""

    def __init__(self, serving) -> None:
        headers = {"Authorization": f"Bearer {serving.token}"}
        self.client = httpx.Client(
            base_url=f"{serving.url}/api/v1", headers=headers, timeout=30, trust_env=False
        )

    def ask(self, method, path, **body):
        answer = self.client.request(method, path, json=body or None)
        assert answer.is_success, answer.text
        return answer.json()["data"]

    def mission(self, **document):
        name = f"Hole {next(_numbers)}"
        team = [{"name": f"digger{next(_numbers)}", "role": "digs"}]
        return self.ask("POST", "/missions", name=name, data={"team": team, **document})


@pytest.fixture
def polpo(serve_process):
    surface = Polpo(serve_process.serving)
    yield surface
    surface.client.close()


def entry(title, *needs):
    return {"title": title, "description": f"Say that you {title}.", "dependsOn": list(needs)}


def with_checkpoint(polpo):
    """Dig, then wait for somebody who looks, then fill."""
    look = {"name": "look", "afterTasks": ["dig"], "blocksTasks": ["fill"]}
    return polpo.mission(tasks=[entry("dig"), entry("fill", "dig")], checkpoints=[look])


def open_mission(olga, name):
    olga.go("/admin/missions/mission/")
    olga.page.get_by_role("link", name=name, exact=True).click()
    olga.page.wait_for_selector("#watch-connection[data-state=on]")


def act(olga, action):
    """Press an action's button, say why, and come back to the mission's page, which is live."""
    olga.page.click(f'a[href$="/{action}/"]')
    olga.page.fill("textarea[name=reason]", "Because it is a test")
    olga.page.click("#reason-form button[type=submit]")
    olga.page.wait_for_selector("#watch-connection[data-state=on]")


def test_a_mission_runs_before_the_operators_eyes(olga, polpo):
    open_mission(olga, with_checkpoint(polpo)["name"])
    assert olga.page.locator('.graph-task[data-state="planned"]').count() == 2
    act(olga, "execute")
    reached = olga.page.locator('.graph-barrier[data-state="reached"]')
    reached.wait_for(state="attached", timeout=PATIENCE)
    assert olga.page.locator('.graph-task[data-state="done"]').count() == 1
    act(olga, "approve")
    olga.page.wait_for_selector('[data-mission-state][data-state="completed"]', timeout=PATIENCE)
    assert olga.page.locator('.graph-task[data-state="done"]').count() == 2
    assert olga.page.get_by_role("heading", name="Report").is_visible()
    assert olga.is_clean()


def test_states_change_on_the_page_without_reloading_it(olga, polpo):
    made = with_checkpoint(polpo)  # the second task stands still until somebody moves it
    execution = polpo.ask("POST", f"/missions/{made['id']}/execute")
    open_mission(olga, made["name"])
    olga.page.evaluate(NOTE_STATES)
    olga.page.evaluate("window.sameDocument = true")
    polpo.ask("POST", f"/tasks/{execution['tasks'][1]['id']}/kill")
    olga.page.wait_for_function(
        "Object.values(window.statesOf).some((states) => states.at(-1) === 'failed')",
        timeout=PATIENCE,
    )
    assert olga.page.evaluate("window.sameDocument")
    assert olga.is_clean()


def test_a_board_moves_its_cards(olga, polpo):
    olga.go("/admin/board/")
    olga.page.locator("#main .console-list a").first.click()
    olga.page.wait_for_selector("#watch-connection[data-state=on]")
    team = polpo.ask("GET", "/agents")
    title = f"Paint {next(_numbers)}"
    task = polpo.ask(
        "POST", "/tasks", title=title, description="-", assignTo=team[0]["name"], draft=True
    )
    card = olga.page.locator('[data-column="draft"] .board-card', has_text=title)
    card.wait_for(timeout=PATIENCE)
    polpo.ask("POST", f"/tasks/{task['id']}/kill")
    failed = olga.page.locator('[data-column="failed"] .board-card', has_text=title)
    failed.wait_for(timeout=PATIENCE)
    assert card.count() == 0
    assert olga.is_clean()


def test_a_lost_connection_is_told_and_what_was_missed_is_made_up_for(olga, polpo):
    made = polpo.mission(tasks=[entry("dig")])
    open_mission(olga, made["name"])
    olga.page.context.set_offline(True)
    olga.page.evaluate("dispatchEvent(new Event('pagehide'))")  # closes the socket
    olga.page.wait_for_selector("#watch-connection[data-state=retry]")
    polpo.ask("POST", f"/missions/{made['id']}/execute")
    olga.page.context.set_offline(False)
    olga.page.wait_for_selector(
        '.graph-task[data-state="done"]', state="attached", timeout=PATIENCE
    )
    assert olga.page.locator("#watch-connection[data-state=on]").count() == 1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pages_are_clean_and_fit_a_phone(olga, polpo, theme):
    tasks = [entry("dig"), *(entry(f"fill {n}", "dig") for n in range(8))]
    mission = polpo.mission(tasks=tasks)
    olga.theme(theme)
    olga.page.set_viewport_size(PHONE)
    open_mission(olga, mission["name"])
    pages = [olga.page.url.removeprefix(olga.url), "/admin/board/", "/admin/tasks/task/"]
    olga.go("/admin/board/")
    pages.append(olga.page.locator("#main .console-list a").first.get_attribute("href"))
    for path in pages:
        olga.go(path)
        width = olga.page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], path
        assert olga.is_clean(), path


def test_a_tasks_page_shows_its_transcript_as_it_grows(olga, polpo):
    made = polpo.mission(tasks=[entry("dig")])
    open_mission(olga, made["name"])
    act(olga, "execute")
    olga.page.locator('.graph-task[data-state="done"]').wait_for(state="attached", timeout=PATIENCE)
    olga.page.locator("svg.graph a").first.click()
    olga.page.wait_for_selector("#watch-connection[data-state=on]")
    assert olga.page.locator(".journal .live-message[data-role=assistant]").count() == 1
    assert olga.page.locator(".journal .live-text").first.inner_text().strip()
    assert olga.is_clean()


def test_what_may_be_done_changes_with_the_mission(olga, polpo):
    made = with_checkpoint(polpo)  # where it comes to rest
    open_mission(olga, made["name"])
    assert olga.page.locator('a[href$="/abort/"]').count() == 0
    polpo.ask("POST", f"/missions/{made['id']}/execute")
    olga.page.wait_for_selector('a[href$="/abort/"]', timeout=PATIENCE)
    assert olga.page.locator('a[href$="/execute/"]').count() == 0
