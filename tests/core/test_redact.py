from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from apps.core.redact import HIDDEN, redacted


@pytest.mark.parametrize(
    "key",
    [
        "token",
        "tokens",
        "auth_token",
        "accessToken",
        "bot_token",
        "token_hash",
        "api_key",
        "X-Api-Key",
        "apikey",
        "Password",
        "password_again",
        "client_secret",
        "secret",
        "sealed",
        "Authorization",
        "Set-Cookie",
        "credentials",
        "PRIVATE_KEY",
    ],
)
def test_what_stands_under_a_secrets_name_is_not_written(key):
    assert redacted({"deep": [{key: "hunter2"}]}) == {"deep": [{key: HIDDEN}]}


@pytest.mark.parametrize(
    "key",
    [
        "token_budget",
        "tokens_used",
        "tokens_in",
        "message_token_count",
        "key",
        "external_key",
        "agent_key",
        "secretary",
        "author",
    ],
)
def test_a_name_that_only_sounds_like_a_secrets_is_written(key):
    assert redacted({key: "4711"}) == {key: "4711"}


def test_what_tells_nothing_is_kept():
    seen = {"token_budget": 500, "has_secret": True, "key": None, "name": "Ada", "max_tokens": 9}
    assert redacted(seen) == seen


def test_a_number_may_be_a_password():
    assert redacted({"password": 1234}) == {"password": HIDDEN}


def test_ids_times_and_bytes_become_json():
    which = uuid4()
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    assert redacted({"id": which, "at": moment, "raw": b"x"}) == {
        "id": str(which),
        "at": "2026-05-01T00:00:00.000Z",
        "raw": HIDDEN,
    }


def test_long_texts_long_lists_and_deep_places_are_cut():
    deep = {"a": {"b": {"c": "d"}}}
    assert redacted({"t": "x" * 9, "l": [1] * 9}, longest=3, most=2) == {"t": "xxx", "l": [1, 1]}
    assert redacted(deep, depth=2) == {"a": {"b": HIDDEN}}
