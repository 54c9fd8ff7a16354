"""Last teams, circles of superiors, one name: what two want at once of a workspace's agents."""

from __future__ import annotations

import threading

import pytest

from apps.core.actor import Actor
from apps.core.errors import InvalidInput
from apps.formations import selectors, services
from apps.formations.errors import LastTeamStays
from apps.formations.models import Agent, Team
from tests.support.race import race_each

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def pair(aurora):
    return [services.create_agent(aurora.ada, name=name) for name in ("One", "Two")]


def superiors(workspace_id):
    return set(Agent.objects.in_workspace(workspace_id).values_list("reports_to", flat=True))


def test_two_never_report_to_one_another(aurora, pair):
    one, two = pair
    calls = [(one, "Two"), (two, "One")]
    outcome = race_each(
        [(services.update_agent, (aurora.ada, a.pk), {"reports_to": s}) for a, s in calls]
    )
    assert (outcome.winners, outcome.errors) == (1, [InvalidInput])
    assert len(superiors(aurora.id)) == 2


def report_without_guard(workspace_id, agent, superior, meeting):
    rows = Agent.objects.in_workspace(workspace_id)
    if rows.get(name=superior).reports_to == agent.name:
        raise InvalidInput
    meeting.wait()
    rows.filter(pk=agent.pk).update(reports_to=superior)


def test_the_race_of_the_superiors_is_real(aurora, pair):
    """Control: look-then-write closes the circle."""
    one, two = pair
    meeting = threading.Barrier(2, timeout=10)
    calls = [(one, "Two"), (two, "One")]
    race_each([(report_without_guard, (aurora.id, a, s, meeting), {}) for a, s in calls])
    assert superiors(aurora.id) >= {"One", "Two"}


def test_one_of_two_leaving_teams_stays(aurora):
    services.create_team(aurora.ada, "Writers")
    names = ("default", "Writers")
    outcome = race_each([(services.delete_team, (aurora.ada, name), {}) for name in names])
    assert (outcome.winners, outcome.errors) == (1, [LastTeamStays])
    assert Team.objects.in_workspace(aurora.id).count() == 1


def delete_without_guard(workspace_id, name, meeting):
    rows = Team.objects.in_workspace(workspace_id)
    if rows.count() < 2:
        raise LastTeamStays
    meeting.wait()
    Agent.objects.in_workspace(workspace_id).filter(team__name=name).delete()
    rows.filter(name=name).delete()


def test_the_race_of_the_teams_is_real(aurora):
    """Control: count-then-delete leaves Aurora without a team."""
    services.create_team(aurora.ada, "Writers")
    meeting = threading.Barrier(2, timeout=10)
    names = ("default", "Writers")
    race_each([(delete_without_guard, (aurora.id, name, meeting), {}) for name in names])
    assert Team.objects.in_workspace(aurora.id).count() == 0


def test_a_first_team_is_made_once(race, aurora):
    Agent.unscoped.all().delete()
    Team.unscoped.all().delete()
    outcome = race(services.ensure_default_agent, Actor.for_system(aurora.id), runners=8)
    assert outcome.errors == []
    assert [team.name for team in selectors.list_teams(aurora.ada)] == ["default"]


def test_two_missions_with_the_same_guests_make_them_once(race, aurora):
    guests = [{"name": f"Guest {number}"} for number in range(3)]
    outcome = race(services.register_volatile, aurora.ada, "Launch", guests, runners=4)
    assert outcome.errors == []
    assert sorted(len(made) for made in outcome.results) == [0, 0, 0, 3]
