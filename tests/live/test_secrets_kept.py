"""A secret that is shown once is nowhere to be read afterwards."""

from __future__ import annotations

import pytest

from apps.surfaces.models import IdempotentReply

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_kept_answer_does_not_tell_the_session_token(client):
    key = {"Idempotency-Key": "once"}
    made, again = (client.post("/sessions", json={}, headers=key) for _ in range(2))
    assert (again.headers["Idempotent-Replay"], again.content) == ("true", made.content)
    kept = bytes(IdempotentReply.objects.get().body)
    assert made.json()["session_token"].encode() not in kept
