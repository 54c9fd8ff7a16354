"""What is sent of a long conversation."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from apps.engine.history import estimate, text_tokens, trim
from apps.engine.ports import ChatMessage, ToolCall


@st.composite
def conversations(draw):
    """System first, then turns: a user's message, perhaps tool calls with results, an answer."""
    words = st.text(max_size=200)
    messages = [ChatMessage("system", draw(words))] if draw(st.booleans()) else []
    for turn in range(draw(st.integers(1, 6))):
        messages.append(ChatMessage("user", draw(words)))
        calls = tuple(ToolCall(f"{turn}-{n}", "t", {}) for n in range(draw(st.integers(0, 3))))
        if calls:
            messages.append(ChatMessage("assistant", draw(words), tool_calls=calls))
            messages += [ChatMessage("tool", draw(words), tool_call_id=c.id) for c in calls]
        if draw(st.booleans()):
            messages.append(ChatMessage("assistant", draw(words)))
    return tuple(messages)


@given(conversations(), st.integers(100, 3000), st.integers(0, 90))
def test_trimming_keeps_its_promises(messages, window, reserve):
    kept = trim(messages, window=window, reserve=reserve)
    rest = [m for m in kept if m.role != "system"]
    whole = [m for m in messages if m.role != "system"]
    # The newest messages, in order, without a gap.
    assert [m.role for m in rest] == [m.role for m in whole[len(whole) - len(rest) :]]
    assert rest[0].role == "user"
    # Every system message stays.
    own = [m for m in messages if m.role == "system"]
    assert [m for m in kept if m.role == "system"][: len(own)] == own
    # No call without its result, no result without its call.
    calls = [call.id for m in kept for call in m.tool_calls]
    assert calls == [m.tool_call_id for m in kept if m.role == "tool"]
    # Exactly one note when something is left out, and it counts right.
    notes = [m for m in kept if m.role == "system"][len(own) :]
    dropped = len(whole) - len(rest)
    assert len(notes) == (1 if dropped else 0)
    assert not dropped or f"[{dropped} earlier" in notes[0].content


@given(conversations())
def test_what_fits_is_not_touched(messages):
    assert trim(messages, window=estimate(messages), reserve=0) == messages


@given(conversations(), st.integers(0, 500))
def test_the_result_fits_unless_the_newest_turn_cannot(messages, reserve):
    kept = trim(messages, window=1000 + reserve, reserve=reserve)
    newest = [m for m in kept if m.role != "system"]
    shortest = 64 * len(newest)
    if estimate(m for m in messages if m.role == "system") + shortest < 900:
        assert estimate(kept) <= 1000


def test_an_over_long_last_message_is_cut_in_the_middle_with_a_marker():
    text = "start " + "x" * 50_000 + " end"
    (kept,) = trim((ChatMessage("user", text),), window=1000, reserve=100)
    assert kept.content.startswith("start ")
    assert kept.content.endswith(" end")
    assert "characters left out" in kept.content
    assert estimate((kept,)) <= 900


@given(st.text())
def test_the_estimate_is_no_less_than_a_token_for_three_bytes(text):
    assert text_tokens(text) * 3 >= len(text.encode("utf-8", "replace"))
