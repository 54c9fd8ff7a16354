"""Model references in other systems' spelling."""

from __future__ import annotations

import pytest

from apps.engine.refs import canonical_ref, colon_ref


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("openai:gpt-4.1", "openai/gpt-4.1"),
        ("openrouter:meta/llama-4:free", "openrouter/meta/llama-4:free"),
        ("ollama:llama3.2:3b", "ollama/llama3.2:3b"),
        ("ollama/llama3.2:3b", "ollama/llama3.2:3b"),
        ("house:big", "house/big"),
        ("qwen3:8b", "qwen3:8b"),
        ("claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
        ("gpt-oss:20b", "gpt-oss:20b"),
        (" gemini-2.5-flash ", "google/gemini-2.5-flash"),
        ("something", "something"),
        ("openai:", "openai:"),
        ("", ""),
    ],
)
def test_a_reference_is_understood(settings, theirs, ours):
    settings.MODEL_ENDPOINTS = ["house=http://127.0.0.1:1/v1"]
    assert canonical_ref(theirs) == ours


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("openai/gpt-4.1", "openai:gpt-4.1"), ("openrouter/a/b", "openrouter:a/b"), ("big", "big")],
)
def test_a_reference_is_given_back_and_understood_again(ours, theirs):
    assert colon_ref(ours) == theirs
    assert canonical_ref(theirs) == ours
