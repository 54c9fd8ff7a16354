"""`manage.py signing_key`: the key ring of the management API."""

from __future__ import annotations

import pytest
from django.core.management import CommandError

from apps.core.errors import Unauthenticated
from apps.workspaces.selectors import hmac_key

HERE = ("--workspace", "aurora")


def test_keys_are_made_listed_and_revoked_one_by_one(manage, ask, aurora, newest):
    first = ask("signing_key", "new", *HERE, "--name", "ci")
    second = ask("signing_key", "new", *HERE, "--name", "cd")
    assert hmac_key(first["key"])[1] == first["secret"].encode()
    rows = ask("signing_key", "list", *HERE)
    assert {row["key"] for row in rows} == {first["key"], second["key"]}
    assert "secret" not in rows[0]
    manage("signing_key", "revoke", *HERE, "--key", first["key"], "--reason", "rotated")
    with pytest.raises(Unauthenticated):
        hmac_key(first["key"])
    assert hmac_key(second["key"])[1] == second["secret"].encode()
    assert newest("token.revoked").reason == "rotated"


def test_another_workspaces_key_is_not_found(manage, ask, aurora, borealis):
    theirs = ask("signing_key", "new", "--workspace", "borealis", "--name", "ci")
    with pytest.raises(CommandError, match="no such live key"):
        manage("signing_key", "revoke", *HERE, "--key", theirs["key"])
    assert hmac_key(theirs["key"])[1] == theirs["secret"].encode()
