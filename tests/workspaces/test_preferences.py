from __future__ import annotations

import pytest

from apps.accounts.models import AuditEntry
from apps.core.errors import InvalidInput
from apps.workspaces import services
from apps.workspaces.preferences import Preferences, merged, read_preferences


def test_nothing_chosen_means_the_defaults():
    assert read_preferences({}) == Preferences()


def test_what_was_chosen_is_read_with_its_type():
    chosen = merged(
        {}, {"tools_need_approval": ["write_file"], "token_budget": 5, "history": "full"}
    )
    read = read_preferences(chosen)
    assert (read.tools_need_approval, read.token_budget, read.history) == (
        ("write_file",),
        5,
        "full",
    )


def test_none_returns_a_setting_to_its_default():
    assert merged({"history": "full"}, {"history": None}) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("unknown", 1),
        ("history", "all"),
        ("history", ["full"]),
        ("token_budget", -1),
        ("token_budget", True),
        ("token_budget", "5"),
        ("tools_enabled", 1),
        ("tools_need_approval", "write_file"),
        ("tools_need_approval", ["x"] * 101),
        ("tools_need_approval", [""]),
        ("instructions", "x" * 20_001),
        ("default_model", "a\x00b"),
        ("timezone", "Mars/Olympus"),
        ("timezone", "../../etc/passwd"),
        ("timezone", 5),
    ],
)
def test_a_wrong_value_is_named_and_changes_nothing(key, value):
    kept = {"history": "recent"}
    with pytest.raises(InvalidInput) as refused:
        merged(kept, {key: value, "max_turn_steps": 3})
    assert list(refused.value.details["fields"]) == [key]
    assert kept == {"history": "recent"}


def test_a_stored_value_that_is_no_longer_valid_counts_as_unset():
    assert (
        read_preferences({"history": "everything", "token_budget": "x", "old": 1}) == Preferences()
    )


@pytest.mark.django_db
def test_settings_are_changed_with_a_record(world):
    row = services.update_settings(world.actor("ada"), {"token_budget": 1000})
    assert read_preferences(row.settings).token_budget == 1000
    entry = AuditEntry.objects.get(action="workspace.changed")
    assert entry.after == {"settings": {"token_budget": 1000}}
