"""The openai surface, spoken by the `openai` package and by hand (contract/polyant.md B22)."""

from __future__ import annotations

import json
import time

import httpx
import openai
import pytest

from apps.conversations.models import Message, Session
from apps.formations.services import create_agent
from apps.runs.budgets import set_budget
from apps.runs.models import Run, Step
from tests.support.stack import wait_until
from tests.support.stub_provider import Reply

pytestmark = pytest.mark.django_db(transaction=True)

HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture
def sdk(stack, aurora):
    with openai.OpenAI(
        base_url=f"{stack.url}/v1", api_key=aurora.ada_token, max_retries=0, timeout=20
    ) as client:
        yield client


def test_the_sdk_gets_an_answer(sdk):
    answer = sdk.chat.completions.create(model="aurora", messages=HELLO)
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == "aurora"
    choice = answer.choices[0]
    assert (choice.message.role, choice.message.content) == ("assistant", "Hello from the stub.")
    assert choice.finish_reason == "stop"
    assert (
        answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    )


def test_the_sdk_streams_an_answer(sdk, stack):
    stack.stub.script("default", Reply(("Good ", "morning", "!"), rate=50))
    with sdk.chat.completions.create(
        model="aurora", messages=HELLO, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    text = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert "".join(text) == "Good morning!"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage.completion_tokens > 0
    assert chunks[-1].choices == []
    assert len({c.id for c in chunks}) == 1


async def test_the_async_sdk_does_both(stack, aurora):
    async with openai.AsyncOpenAI(
        base_url=f"{stack.url}/v1", api_key=aurora.ada_token, max_retries=0
    ) as client:
        whole = await client.chat.completions.create(model="aurora", messages=HELLO)
        stream = await client.chat.completions.create(model="aurora", messages=HELLO, stream=True)
        text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
    assert whole.choices[0].message.content == text == "Hello from the stub."


def test_the_wire_is_what_the_sdks_expect(stack, aurora):
    body = {"model": "aurora", "messages": HELLO, "stream": True}
    with httpx.stream(
        "POST", f"{stack.url}/v1/chat/completions", json=body, headers=aurora.ada_headers
    ) as answer:
        lines = [line for line in answer.iter_lines() if line]
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-session-id"].startswith("ses_")
    assert lines[-1] == "data: [DONE]"
    first = json.loads(lines[0].removeprefix("data: "))
    assert first["choices"] == [
        {
            "index": 0,
            "delta": {"role": "assistant", "content": ""},
            "logprobs": None,
            "finish_reason": None,
        }
    ]
    assert "usage" not in first


def test_models_are_workspaces_and_agents(sdk, aurora):
    create_agent(aurora.ada, name="poet", system_prompt="You rhyme.")
    assert [model.id for model in sdk.models.list()] == ["aurora", "aurora/poet"]


def test_an_agent_answers_with_its_own_prompt(sdk, stack, aurora):
    create_agent(aurora.ada, name="poet", system_prompt="You rhyme.", temperature=0.3)
    for model in ("aurora/poet", "poet"):
        answer = sdk.chat.completions.create(model=model, messages=HELLO)
        assert answer.model == "aurora/poet"
    sent = stack.stub.requests[-1].body
    assert "You rhyme." in sent["messages"][0]["content"]
    assert sent["temperature"] == 0.3


def test_an_unknown_model_is_not_found_and_a_foreign_one_looks_the_same(sdk, borealis):
    said = []
    for model in ("nowhere", "borealis"):
        with pytest.raises(openai.NotFoundError) as refused:
            sdk.chat.completions.create(model=model, messages=HELLO)
        assert refused.value.code == "model_not_found"
        said.append(refused.value.body["message"].replace(model, "…"))
    assert said[0] == said[1]


def test_sampling_and_images_reach_the_provider(sdk, stack):
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    sdk.chat.completions.create(
        model="aurora",
        messages=[{"role": "user", "content": parts}],
        temperature=0.5,
        max_tokens=77,
        response_format={"type": "json_object"},
    )
    sent = stack.stub.requests[-1].body
    assert (sent["temperature"], sent["max_tokens"]) == (0.5, 77)
    assert sent["response_format"] == {"type": "json_object"}
    image = sent["messages"][-1]["content"][1]["image_url"]["url"]
    assert image == "data:image/png;base64,AAAA"


def test_client_tools_are_handed_out_and_their_results_taken_in(sdk, stack):
    stack.stub.script(
        "default", Reply(calls=(("weather", {"city": "Oslo"}),)), Reply("Snow in Oslo.")
    )
    first = sdk.chat.completions.create(model="aurora", messages=HELLO, tools=[WEATHER])
    assert first.choices[0].finish_reason == "tool_calls"
    call = first.choices[0].message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == (
        "weather",
        {"city": "Oslo"},
    )
    told = [
        *HELLO,
        first.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "snow"},
    ]
    second = sdk.chat.completions.create(model="aurora", messages=told, tools=[WEATHER])
    assert second.choices[0].message.content == "Snow in Oslo."
    sent = stack.stub.requests[-1].body["messages"]
    assert [m["role"] for m in sent] == ["system", "user", "assistant", "tool"]


def test_client_tools_stream_too(sdk, stack):
    stack.stub.script("default", Reply(calls=(("weather", {"city": "Oslo"}),)))
    with sdk.chat.completions.stream(model="aurora", messages=HELLO, tools=[WEATHER]) as stream:
        final = stream.get_final_completion()
    call = final.choices[0].message.tool_calls[0]
    assert json.loads(call.function.arguments) == {"city": "Oslo"}
    assert final.choices[0].finish_reason == "tool_calls"


def test_the_servers_own_tools_run_inside_the_turn(sdk, stack):
    stack.stub.script("default", Reply(calls=(("now", {}),)), Reply("It is late."))
    answer = sdk.chat.completions.create(model="aurora", messages=HELLO)
    assert answer.choices[0].message.content == "It is late."
    assert [s.kind for s in Step.unscoped.order_by("index")] == ["model", "tool", "model"]


def test_a_completion_is_found_again_as_a_session(sdk, stack, aurora):
    sdk.chat.completions.create(model="aurora", messages=HELLO)
    with httpx.Client(base_url=stack.url, headers=aurora.ada_headers) as rest:
        found = rest.get("/sessions").json()["data"]
        kept = rest.get(f"/sessions/{found[0]['id']}/messages").json()["data"]
    assert [(s["title"], s["status"], s["end_reason"]) for s in found] == [
        ("Hello", "ended", "completed")
    ]
    assert [m["content"] for m in kept] == ["Hello", "Hello from the stub."]
    run = Run.unscoped.get()
    assert (run.status, run.model, run.steps) == ("succeeded", "stub/default", 1)


def test_a_chat_id_goes_on_with_its_conversation(sdk, stack):
    for text in ("My name is Ada", "What is my name?"):
        sdk.chat.completions.create(
            model="aurora",
            messages=[{"role": "user", "content": text}],
            extra_body={"chat_id": "window-7"},
        )
    sent = stack.stub.requests[-1].body["messages"]
    assert [m["role"] for m in sent] == ["system", "user", "assistant", "user"]
    assert Session.unscoped.count() == 1
    assert Message.unscoped.count() == 4


def test_a_session_id_of_nobody_is_not_found(sdk):
    with pytest.raises(openai.NotFoundError):
        sdk.chat.completions.create(
            model="aurora",
            messages=HELLO,
            extra_headers={"x-session-id": "00000000-0000-4000-8000-000000000000"},
        )


def test_a_client_that_goes_away_cancels_the_turn(stack, aurora):
    stack.stub.script("default", Reply(("word ",) * 1000, rate=50))
    body = {"model": "aurora", "messages": HELLO, "stream": True}
    with httpx.stream(
        "POST", f"{stack.url}/v1/chat/completions", json=body, headers=aurora.ada_headers
    ) as answer:
        next(answer.iter_bytes())
    assert stack.stub.requests[-1].wait_disconnected(5)
    run = wait_until(lambda: Run.unscoped.filter(status="cancelled").first())
    kept = Message.unscoped.get(role="assistant")
    assert (run.session_id, kept.state) == (kept.session_id, "interrupted")
    assert kept.content.startswith("word")


def test_a_client_that_goes_away_before_the_first_token_cancels_it_too(stack, aurora):
    stack.stub.script("default", Reply(hang=True))
    body = {"model": "aurora", "messages": HELLO}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{stack.url}/v1/chat/completions", json=body, headers=aurora.ada_headers, timeout=1
        )
    assert stack.stub.requests[-1].wait_disconnected(5)
    wait_until(lambda: Run.unscoped.filter(status="cancelled").exists())


# --- Errors, in OpenAI's shape --------------------------------------------------------------------
def ask(stack, token, content=None, **extra):
    body = content if content is not None else json.dumps({"messages": HELLO} | extra).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return httpx.post(f"{stack.url}/v1/chat/completions", content=body, headers=headers, timeout=20)


def error_of(answer):
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return answer.status_code, error["type"], error["code"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"\xff\xfe", None),
        (b"[]", None),
        (b"{}", "messages"),
        (b'{"messages": []}', "messages"),
        (b'{"messages": [{"role": "wizard", "content": "x"}]}', "messages.0.role"),
        (b'{"messages": [{"role": "user", "content": "a\\u0000b"}]}', "messages.0.content"),
        (b'{"messages": [{"role": "user", "content": "x"}], "temperature": 9}', "temperature"),
        (b'{"messages": [{"role": "user", "content": "x"}], "n": 3}', "n"),
        (b'{"messages": [{"role": "user", "content": "x"}], "stream": "maybe"}', "stream"),
        (
            json.dumps({"messages": [{"role": "user", "content": "x" * 100_001}]}).encode(),
            "messages.0.content",
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_input_is_named_and_changes_nothing(stack, aurora, body, param):
    answer = ask(stack, aurora.ada_token, body)
    assert error_of(answer)[:2] == (400, "invalid_request_error")
    assert answer.json()["error"]["param"] == param
    assert not Run.unscoped.exists()
    assert not Session.unscoped.exists()


def test_a_body_of_ten_megabytes_is_too_large(stack, aurora):
    answer = ask(stack, aurora.ada_token, b'{"messages": "' + b"x" * 10_000_000 + b'"}')
    assert error_of(answer)[0] == 413
    assert not Session.unscoped.exists()


def test_a_bad_key_is_refused_before_its_body_is_looked_at(stack):
    answer = ask(stack, "sk-nonsense", b"{")
    assert error_of(answer) == (401, "invalid_request_error", "invalid_api_key")


def test_a_viewer_may_not_start_a_turn(stack, aurora):
    assert error_of(ask(stack, aurora.cleo_token))[0] == 403


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("status-429", (429, "rate_limit_error", "rate_limit_exceeded")),
        ("status-500", (502, "upstream_error", "upstream_error")),
        ("status-401", (502, "upstream_error", "upstream_error")),
        ("status-400", (400, "invalid_request_error", None)),
        ("html", (502, "upstream_error", "upstream_error")),
    ],
)
def test_a_failing_provider_has_its_own_status(
    stack, aurora, settings, monkeypatch, model, expected
):
    monkeypatch.setattr("apps.engine.replies.pause_before_retry", lambda *_: 0.01)
    settings.DEFAULT_MODEL = f"stub/{model}"
    assert error_of(ask(stack, aurora.ada_token)) == expected
    run = Run.unscoped.get()
    assert run.status == "failed"
    assert run.error_message


def test_a_fault_that_passes_is_tried_again(stack, aurora, monkeypatch):
    monkeypatch.setattr("apps.engine.replies.pause_before_retry", lambda *_: 0.01)
    stack.stub.queue(Reply(status=500), Reply(status=429, retry_after=1), Reply("At last."))
    answer = ask(stack, aurora.ada_token)
    assert answer.json()["choices"][0]["message"]["content"] == "At last."
    assert len(stack.stub.requests) == 3


def test_a_fallback_answers_when_the_model_cannot(stack, aurora):
    create_agent(aurora.ada, name="brave", model="stub/status-401", fallback_model="stub/default")
    answer = ask(stack, aurora.ada_token, model="brave")
    assert answer.json()["choices"][0]["message"]["content"] == "Hello from the stub."
    assert Run.unscoped.get().model == "stub/default"


@pytest.mark.parametrize("model", ["die", "broken"])
def test_a_stream_that_breaks_says_so_in_band_and_keeps_its_text(stack, aurora, settings, model):
    settings.DEFAULT_MODEL = f"stub/{model}"
    answer = ask(stack, aurora.ada_token, stream=True)
    lines = [json.loads(x[6:]) for x in answer.text.splitlines() if x.startswith("data: {")]
    assert answer.status_code == 200
    assert lines[-1]["error"]["type"] == "upstream_error"
    kept = Message.unscoped.get(role="assistant")
    assert (kept.state, kept.content.split()[0]) == ("failed", "one")


def test_a_spent_budget_refuses_and_leaves_nothing(stack, aurora):
    set_budget(aurora.ada, "workspace", aurora.id, tokens=10)
    answer = ask(stack, aurora.ada_token)
    assert error_of(answer) == (429, "insufficient_quota", "insufficient_quota")
    assert len(stack.stub.requests) == 0
    assert not Run.unscoped.exists()


def test_a_hundred_calls_against_a_cap_for_ten_never_pass_it(stack, aurora):
    import concurrent.futures

    stack.stub.script("default", Reply("ok", usage={"prompt_tokens": 60, "completion_tokens": 40}))
    create_agent(aurora.ada, name="bare", tools=[])
    worst = 500  # 100 spent a call; each is promised at its worst before it is made
    set_budget(aurora.ada, "workspace", aurora.id, tokens=10 * worst)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        codes = list(
            pool.map(
                lambda _: ask(stack, aurora.ada_token, model="bare", max_tokens=300).status_code,
                range(100),
            )
        )
    from apps.runs.models import Budget

    budget = Budget.unscoped.get()
    assert set(codes) == {200, 429}
    assert codes.count(200) * 100 == budget.spent_tokens <= 10 * worst
    assert budget.reserved_tokens == 0


def test_a_revoked_token_is_refused_on_the_next_request(stack, aurora):
    from apps.workspaces.services import revoke_key

    assert ask(stack, aurora.ben_token).status_code == 200
    revoke_key(aurora.ada, aurora.ben_token_id, reason="lost")
    assert error_of(ask(stack, aurora.ben_token))[0] == 401


def test_a_wrong_method_and_an_unknown_path_answer_in_openais_shape(stack, aurora):
    for method, path, status in (("GET", "chat/completions", 405), ("GET", "models/a/b", 404)):
        answer = httpx.request(method, f"{stack.url}/v1/{path}", headers=aurora.ada_headers)
        assert error_of(answer)[0] == status


def test_a_turn_adds_little_before_its_first_token(stack, aurora):
    """Not a time: only that nothing is held back until the end."""
    stack.stub.script("default", Reply(("tick ",) * 20, rate=10))
    began = time.monotonic()
    body = {"model": "aurora", "messages": HELLO, "stream": True}
    with httpx.stream(
        "POST", f"{stack.url}/v1/chat/completions", json=body, headers=aurora.ada_headers
    ) as answer:
        next(answer.iter_bytes())
        assert time.monotonic() - began < 1.5
