"""What is shown of a secret."""

from __future__ import annotations

import pytest

from apps.core.masking import masked, masked_block

DOTS = "••••••••"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", DOTS),
        ("short", DOTS),
        ("twelve-chars", DOTS),
        ("thirteen-char", f"thir{DOTS}char"),
        ("a-rather-long-value", f"a-ra{DOTS}alue"),
        ("sk-abcdefghijklmnop", f"sk-ab{DOTS}mnop"),
        ("sk-proj-abcdefghijklmnop", f"sk-proj-ab{DOTS}mnop"),
        ("sk-proj-abcde", f"sk-proj-{DOTS}"),
        ("ghp_0123456789abcdef", f"ghp_01{DOTS}cdef"),
        ("https://hooks.example.org/T0/B0", f"https://{DOTS}"),
        ("postgres://me:pw@db/app", f"postgres://{DOTS}"),
    ],
)
def test_a_secret_is_masked(value, shown):
    assert masked(value) == shown


@pytest.mark.parametrize("length", range(60))
@pytest.mark.parametrize("prefix", ["", "sk-", "sk-proj-", "github_pat_"])
def test_at_least_five_characters_or_all_of_a_value_stay_hidden(prefix, length):
    value = prefix + "".join(chr(ord("a") + n % 26) for n in range(length))
    shown = len(masked(value)) - len(DOTS)
    assert len(value) - shown >= min(5, length)


KEY = "sk-proj-abcdefghijklmnop"
SHOWN = f"sk-proj-ab{DOTS}mnop"


@pytest.mark.parametrize(
    ("block", "shown"),
    [
        ({"api_keys": {"openai": KEY}}, {"api_keys": {"openai": SHOWN}}),
        (
            {"api_keys": {"openai": "${{ secrets.OPENAI }}"}},
            {"api_keys": {"openai": "${{ secrets.OPENAI }}"}},
        ),
        (
            {"models": [{"text": "a/b", "api_key": KEY}]},
            {"models": [{"text": "a/b", "api_key": SHOWN}]},
        ),
        ({"env": {"HOME": "/tmp", "DEEP": [KEY]}}, {"env": {"HOME": DOTS, "DEEP": [SHOWN]}}),
        (
            {"auth": {"type": "basic", "username": "ada", "password": "hunter2"}},
            {"auth": {"type": "basic", "username": "ada", "password": DOTS}},
        ),
        (
            {"auth": {"type": "api_key", "header": "X-Key", "key": KEY}},
            {"auth": {"type": "api_key", "header": "X-Key", "key": SHOWN}},
        ),
        (
            {"persistent": {"connection_string": "postgres://a:b@c/d"}},
            {"persistent": {"connection_string": f"postgres://{DOTS}"}},
        ),
        ({"endpoint": "https://me:pw@mcp.example.org/"}, {"endpoint": f"https://{DOTS}"}),
        ({"endpoint": "https://mcp.example.org/"}, {"endpoint": "https://mcp.example.org/"}),
        (
            {"args": ["-y", "--token", KEY, f"--api-key={KEY}", "plain"]},
            {"args": ["-y", "--token", SHOWN, f"--api-key={SHOWN}", "plain"]},
        ),
        ({"max_tokens": 10, "enabled": True}, {"max_tokens": 10, "enabled": True}),
    ],
)
def test_a_block_hides_what_is_secret_in_it_and_nothing_else(block, shown):
    assert masked_block(block) == shown
