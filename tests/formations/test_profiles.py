"""What an agent is: its place among the others, its identity, and what may stand in its fields."""

from __future__ import annotations

import pytest

from apps.accounts.models import AuditEntry
from apps.core.errors import InvalidInput
from apps.events.models import Event
from apps.formations import profile, selectors, services
from apps.formations.errors import DefaultAgentStays


def refused_fields(call, *args, **fields):
    with pytest.raises(InvalidInput) as refused:
        call(*args, **fields)
    return set(refused.value.details["fields"])


@pytest.fixture
def boss(aurora):
    return services.create_agent(aurora.ada, name="Boss")


@pytest.fixture
def scribe(aurora, boss):
    return services.create_agent(aurora.ada, name="Scribe", reports_to="bOSS")


def fresh(aurora, agent):
    return selectors.get_agent(aurora.ada, agent.pk)


@pytest.mark.parametrize(
    "bad",
    [
        {"skills": "writing"},
        {"skills": [""]},
        {"skills": None},
        {"allowed_paths": ["src", "a/../.."]},
        {"allowed_paths": ["..\\x"]},
        {"reasoning": "extreme"},
        {"reasoning": None},
        {"max_turns": 201},
        {"max_concurrency": 0},
        {"max_concurrency": True},
        {"reports_to": 7},
        {"reports_to": "nobody"},
        {"team": 7},
        {"volatile": True},
        {"identity": []},
        {"extras": "x"},
        {"role": "half a pair \ud800"},
        {"name": "processes"},
        {"name": "Team"},
    ],
)
def test_odd_fields_are_refused(aurora, bad):
    fields = {"name": "Scribe"} | bad
    assert refused_fields(services.create_agent, aurora.ada, **fields) == set(bad)


@pytest.mark.parametrize(
    ("identity", "field"),
    [
        ({"shoe": "43"}, "identity.shoe"),
        ({"bio": 7}, "identity.bio"),
        ({"bio": "x" * 2_001}, "identity.bio"),
        ({"responsibilities": "all"}, "identity.responsibilities"),
        ({"responsibilities": [{"area": "law"}]}, "identity.responsibilities"),
        ({"responsibilities": [{"area": "a", "description": "b", "x": "c"}]}, None),
        ({"socials": {"mastodon": 7}}, "identity.socials"),
    ],
)
def test_an_identity_has_known_fields(aurora, identity, field):
    refused = refused_fields(services.create_agent, aurora.ada, name="Scribe", identity=identity)
    assert refused == {field or "identity.responsibilities"}


def test_an_identity_is_merged_and_a_null_takes_away(aurora, scribe):
    duties = ["mail", {"area": "law", "description": "reads contracts", "priority": "high"}]
    whole = {"displayName": "Ann", "responsibilities": duties, "socials": {"web": "x.example"}}
    services.update_agent(aurora.ada, scribe.pk, identity=whole)
    services.update_agent(aurora.ada, scribe.pk, identity={"tone": "dry", "socials": None})
    kept = {"displayName": "Ann", "responsibilities": duties, "tone": "dry"}
    assert fresh(aurora, scribe).identity == kept
    services.update_agent(aurora.ada, scribe.pk, identity=None)
    assert fresh(aurora, scribe).identity == {}


def test_extras_are_kept_and_checked(aurora, scribe):
    services.update_agent(aurora.ada, scribe.pk, extras={"version": "2", "tags": ["a"]})
    services.update_agent(aurora.ada, scribe.pk, extras={"tags": None})
    assert fresh(aurora, scribe).extras == {"version": "2"}
    for bad in ({"tags": "a"}, {"version": 2}, {"colour": "red"}):
        refused = refused_fields(services.update_agent, aurora.ada, scribe.pk, extras=bad)
        assert refused == {f"extras.{next(iter(bad))}"}


def test_a_superior_is_called_as_they_call_themselves(scribe):
    assert scribe.reports_to == "Boss"


def test_nobody_reports_in_a_circle(aurora, boss, scribe):
    services.create_agent(aurora.ada, name="Clerk", reports_to="Scribe")
    for superior in ("Boss", "Scribe", "cLERK"):
        refused = refused_fields(
            services.update_agent, aurora.ada, boss.pk, name="Chief", reports_to=superior
        )
        assert refused == {"reports_to"}
    assert fresh(aurora, boss).name == "Boss"


def test_a_stranger_is_nobodys_superior(aurora, borealis):
    services.create_agent(borealis.mallory, name="Queen")
    refused = refused_fields(services.create_agent, aurora.ada, name="Pawn", reports_to="Queen")
    assert refused == {"reports_to"}


def test_reports_follow_a_renamed_superior_and_are_told(aurora, boss, scribe):
    services.update_agent(aurora.ada, boss.pk, name="Chief")
    assert fresh(aurora, scribe).reports_to == "Chief"
    told = Event.objects.filter(workspace_id=aurora.id, name="agent.updated")
    assert [event.payload["changed"] for event in told] == [["name"], ["reports_to"]]
    entry = AuditEntry.objects.get(action="agent.updated", subject_id=str(scribe.pk))
    assert (entry.before, entry.after) == ({"reports_to": "Boss"}, {"reports_to": "Chief"})


def test_a_deleted_superior_leaves_nobody_hanging(aurora, boss, scribe):
    services.delete_agent(aurora.ada, boss.pk)
    assert fresh(aurora, scribe).reports_to == ""
    assert list(Event.objects.filter(workspace_id=aurora.id).values_list("name", flat=True))[
        -2:
    ] == ["agent.updated", "agent.deleted"]


def test_a_superior_may_be_taken_away(aurora, scribe):
    assert services.update_agent(aurora.ada, scribe.pk, reports_to="").reports_to == ""


def test_a_document_is_read_in_either_spelling():
    camel = {"systemPrompt": "p", "allowedTools": ["x"], "version": "2", "volatile": True}
    ours = {"system_prompt": "p", "tools": ["x"], "extras": {"version": "2"}}
    assert profile.fields_of(camel) == ours
    assert profile.fields_of({"system_prompt": "p", "reportsTo": None}) == {
        "system_prompt": "p",
        "reports_to": "",
    }


def test_the_default_agent_is_never_volatile(aurora):
    (guest,) = services.register_volatile(aurora.ada, "m", [{"name": "Guest"}])
    refused = refused_fields(services.update_agent, aurora.ada, guest.pk, is_default=True)
    assert refused == {"is_default"}
    with pytest.raises(DefaultAgentStays):
        services.delete_agent(aurora.ada, selectors.default_agent(aurora.ada).pk)
