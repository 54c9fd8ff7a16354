"""Who answers in a formation, and what is spoken or triggered (contract/muxi.md §5.5, §5.8)."""

from __future__ import annotations

import base64

import pytest

from apps.conversations.overlord import forget_crews
from apps.formations.services import create_agent
from apps.runs.budgets import set_budget
from apps.runs.models import Budget
from tests.live.conftest import as_user
from tests.support.formations import document_of, make_formation
from tests.support.stack import wait_until
from tests.support.stub_provider import Reply

pytestmark = pytest.mark.django_db(transaction=True)

WAV = {"filename": "a.wav", "content": base64.b64encode(b"RIFF").decode()}
SPOKEN = {"files": [WAV | {"content_type": "audio/wav"}]}


def agent(team, name, **item):
    metadata = {"muxi": {"id": name, "source": "formation"} | item}
    return create_agent(
        team.home_owner, name=name, metadata=metadata, system_prompt=f"I am {name}."
    )


@pytest.fixture
def crew(team):
    agent(team, "chef", description="Cooks", specialization={"keywords": ["recipe", "soup"]})
    agent(team, "pilot", description="Flies", specialization={"domain": "aviation"})
    agent(team, "retired", active=False, specialization={"keywords": ["golf"]})


def who(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["message"]["metadata"]["agent_id"]


def test_words_choose_the_agent_without_a_model(kim, stack, crew):
    assert who(kim.post("/chat", json={"message": "A recipe for soup, please"})) == "chef"
    assert who(kim.post("/chat", json={"message": "What is new in aviation?"})) == "pilot"
    assert len(stack.stub.requests) == 2


def test_a_model_is_asked_once_where_words_leave_it_open(kim, stack, crew):
    stack.stub.queue(Reply(("pilot",)))
    assert who(kim.post("/chat", json={"message": "Good morning"})) == "pilot"
    question, turn = (request.body for request in stack.stub.requests)
    asked = question["messages"][0]["content"]
    assert "- chef: Cooks recipe, soup" in asked
    assert "retired" not in asked
    assert question["max_tokens"] <= 24
    assert "tools" not in question
    assert "I am pilot." in turn["messages"][0]["content"]


@pytest.mark.parametrize("reply", [Reply(("nobody",)), Reply(status=401)])
def test_the_generalist_answers_where_the_model_does_not_say(kim, stack, crew, reply):
    stack.stub.queue(reply)
    assert who(kim.post("/chat", json={"message": "Good morning"})) not in {"chef", "pilot"}


def test_a_restored_conversation_stays_with_who_answers_first(kim, stack, crew):
    kim.post("/sessions/s/restore", json={"messages": [{"role": "user", "content": "Hi"}]})
    assert who(kim.post("/chat", json={"message": "A soup, please", "session_id": "s"})) == "chef"
    assert who(kim.post("/chat", json={"message": "And aviation?", "session_id": "s"})) == "chef"


def test_the_question_to_the_model_counts(kim, stack, team, crew):
    set_budget(team.home_owner, "workspace", team.home_id, tokens=1_000_000)
    kim.post("/chat", json={"message": "soup"})
    alone = Budget.unscoped.get().spent_tokens
    kim.post("/chat", json={"message": "Good morning"})
    assert Budget.unscoped.get().spent_tokens > 2 * alone - 10
    assert Budget.unscoped.get().reserved_tokens == 0


def test_speech_is_transcribed_and_answered(kim, stack, settings):
    settings.AUDIO_MODEL = "stub/whisper"
    told = kim.post("/audiochat", json=SPOKEN | {"session_id": "s"}).json()
    assert (told["type"], told["data"]["session_id"]) == ("chat.completed", "s")
    listened, answered = stack.stub.requests
    assert listened.path == "/v1/audio/transcriptions"
    assert b"RIFF" in listened.body
    assert b'name="model"\r\n\r\nwhisper' in listened.body
    assert answered.body["messages"][-1]["content"] == "Hello by voice."
    streamed = kim.post("/audiochat", json=SPOKEN | {"stream": True})
    assert streamed.text.endswith('event: done\ndata: {"finished": true}\n\n')


def test_without_a_model_for_speech_that_is_said(kim, stack, settings):
    settings.AUDIO_MODEL = ""
    refused = kim.post("/audiochat", json=SPOKEN)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "UNPROCESSABLE_ENTITY")
    settings.AUDIO_MODEL = "scripted/echo"
    assert kim.post("/audiochat", json=SPOKEN).status_code == 422
    assert not stack.stub.requests


def test_what_is_not_audio_is_refused_by_name(kim, settings):
    settings.AUDIO_MODEL = "stub/whisper"
    error = kim.post("/audiochat", json={"files": [WAV | {"content_type": "text/plain"}]})
    told = error.json()["error"]
    assert (error.status_code, told["code"]) == (400, "VALIDATION_ERROR")
    assert told["data"]["invalid_content_type"] == "text/plain"
    missing = kim.post("/audiochat", json={})
    assert missing.json()["error"]["data"]["validation_errors"][0]["field"] == "files"


@pytest.fixture
def greeter(stack, aurora):
    document = document_of(
        config={"id": "greeter", "memory": {"persistent": {"multi_user": True}}},
        triggers={"greet": {"content": "Say hello to ${{ data.name }}.", "meta": {}, "fields": []}},
    )
    made = make_formation(aurora.ada, "greeter", document=document)
    forget_crews()
    with as_user(stack, made, "kim") as http:
        yield http


def test_a_trigger_is_fired_and_waited_for(greeter, stack):
    told = greeter.post("/triggers/greet?async=false", json={"name": "Ada"}).json()
    assert (told["object"], told["type"]) == ("request", "request.completed")
    assert told["data"]["content"] == told["data"]["response"] == "Hello from the stub."
    assert stack.stub.requests[-1].body["messages"][-1]["content"] == "Say hello to Ada."
    body = {"data": {"name": "Ben"}, "use_async": False}
    assert greeter.post("/triggers/greet", json=body).json()["type"] == "request.completed"
    assert stack.stub.requests[-1].body["messages"][-1]["content"] == "Say hello to Ben."


def test_a_trigger_is_done_later_unless_asked_not_to(greeter):
    answer = greeter.post("/triggers/greet", json={"data": {"name": "Ada"}})
    told = answer.json()
    assert (answer.status_code, told["type"]) == (200, "request.processing")
    assert told["data"]["status"] == "processing"
    name = told["request"]["id"]
    wait_until(lambda: greeter.get(f"/requests/{name}").json()["data"]["status"] == "completed")


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/triggers/none", {"name": "Ada"}, 404, "TRIGGER_NOT_FOUND"),
        ("/triggers/a.b", {"name": "Ada"}, 400, "INVALID_REQUEST"),
        ("/triggers/greet", {"other": 1}, 400, "INVALID_REQUEST"),
        ("/triggers/greet", [1], 422, "VALIDATION_ERROR"),
    ],
)
def test_a_trigger_that_cannot_be_fired_says_why(greeter, stack, path, body, status, code):
    answer = greeter.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert "/" not in answer.json()["error"]["message"]
    assert not stack.stub.requests
