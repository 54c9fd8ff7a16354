"""`manage.py budget`: caps of a workspace, an agent, a session and a token."""

from __future__ import annotations

import pytest
from django.core.management import CommandError

from apps.accounts.models import AuditEntry
from apps.conversations.services import create_session
from apps.core.ids import session_wire_id
from apps.formations.services import create_agent
from apps.runs.models import Budget
from apps.workspaces.models import ApiToken

HERE = ("--workspace", "aurora")


def caps(kind):
    row = Budget.unscoped.get(subject_type=kind)
    return row.limit_tokens, row.limit_cost_micros, row.limit_tool_calls


def test_a_workspace_is_capped(manage, aurora, newest):
    manage("budget", "set", *HERE, "--tokens", "5000", "--cost-usd", "0.25", "--tool-calls", "7")
    assert caps("workspace") == (5000, 250_000, 7)
    entry = newest("budget.set")
    assert (entry.actor_kind, entry.workspace_id) == ("operator", aurora.id)
    assert entry.after["limit_cost_micros"] == 250_000


def test_a_cap_that_is_not_named_stays_and_none_lifts_one(manage, aurora):
    manage("budget", "set", *HERE, "--tokens", "5000", "--tool-calls", "7")
    manage("budget", "set", *HERE, "--cost-usd", "2")
    assert caps("workspace") == (5000, 2_000_000, 7)
    manage("budget", "set", *HERE, "--tokens", "none")
    assert caps("workspace") == (None, 2_000_000, 7)


def test_an_agent_a_session_and_a_token_are_capped(manage, ask, aurora):
    agent = create_agent(aurora.ada, name="Scout")
    session, _ = create_session(aurora.ben)
    token = ApiToken.objects.get(pk=aurora.ben_token_id)
    for option, value in (
        ("--agent", "scout"),
        ("--session", session_wire_id(aurora.id, session.pk)),
        ("--token", token.prefix),
    ):
        manage("budget", "set", *HERE, option, value, "--tokens", "9")
    found = {(row["subject"], row["id"]) for row in ask("budget", "list", *HERE)}
    assert found == {
        ("agent", str(agent.pk)),
        ("session", str(session.pk)),
        ("token", str(token.pk)),
    }


def test_a_members_account_wide_token_is_capped_too(manage, aurora):
    token = ApiToken.objects.get(user=aurora.ben_user, workspace=None)
    manage("budget", "set", *HERE, "--token", token.prefix, "--tokens", "9")
    assert caps("token") == (9, None, None)


def test_what_belongs_to_another_workspace_is_not_capped(manage, aurora, borealis):
    create_agent(borealis.mallory, name="Spy")
    session, _ = create_session(borealis.mallory)
    theirs = ApiToken.objects.get(pk=borealis.mallory_token_id)
    before = AuditEntry.objects.count()
    for option, value in (
        ("--agent", "Spy"),
        ("--session", str(session.pk)),
        ("--session", session_wire_id(borealis.id, session.pk)),
        ("--token", theirs.prefix),
    ):
        with pytest.raises(CommandError):
            manage("budget", "set", *HERE, option, value, "--tokens", "9")
    assert not Budget.unscoped.exists()
    assert AuditEntry.objects.count() == before


def test_budgets_of_another_workspace_are_not_listed(manage, aurora, borealis):
    manage("budget", "set", *HERE, "--tokens", "9")
    assert manage("budget", "list", "--workspace", "borealis").strip() == "none"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "Say which cap"),
        (("--tokens", "-1"), "tokens: Must be 0 or more"),
        (("--tokens", str(2**63)), "tokens: Must be 0 or more"),
        (("--tokens", "1.5"), "tokens: '1.5' is not a whole number"),
        (("--cost-usd", "ten"), "cost_usd: 'ten' is not an amount"),
        (("--cost-usd", "nan"), "cost_usd: 'nan' is not an amount"),
        (("--cost-usd", "inf"), "cost_usd: 'inf' is not an amount"),
        (("--agent", "Nobody", "--tokens", "1"), "No such agent"),
        (("--session", "x", "--tokens", "1"), "Not found"),
        (("--token", "pmx_", "--tokens", "1"), "Several tokens begin so"),
        (("--token", "", "--tokens", "1"), "no live token"),
    ],
)
def test_a_bad_cap_is_one_clear_line(manage, aurora, words, problem):
    with pytest.raises(CommandError, match=problem) as refused:
        manage("budget", "set", *HERE, *words)
    assert "\n" not in str(refused.value)
    assert not Budget.unscoped.exists()
