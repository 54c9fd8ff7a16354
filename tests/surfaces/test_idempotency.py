"""`Idempotency-Key`: one operation a key and credential."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.core.clock import now
from apps.core.errors import IdempotencyConflict
from apps.core.ids import wire_id
from apps.surfaces import idempotency
from apps.surfaces.jobs import forget_expired
from apps.surfaces.models import IdempotentReply
from tests.surfaces import probe

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.surfaces.probe")]


@pytest.fixture
def post(knock, aurora):
    path = f"/workspaces/{wire_id('ws', aurora.id)}/probes"

    def send(name, key="k-1", raw=None):
        headers = {"Authorization": f"Bearer {raw or aurora.ada_token}", "Idempotency-Key": key}
        return knock.post(path, {"name": name}, "application/json", headers=headers)

    return send


def test_the_same_request_is_carried_out_once(post):
    first, second = post("a"), post("a")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert second["Idempotent-Replay"] == "true"
    assert "Idempotent-Replay" not in first
    assert probe.made == ["a"]


def test_another_body_under_the_same_key_is_a_conflict(post):
    post("a")
    response = post("b")
    assert (response.status_code, response.json()["code"]) == (409, "idempotency_conflict")
    assert probe.made == ["a"]


def test_a_key_belongs_to_its_credential(post, aurora):
    post("a")
    assert "Idempotent-Replay" not in post("a", raw=aurora.ben_token)
    assert probe.made == ["a", "a"]


def test_a_refusal_is_replayed_too(post):
    assert post("taken").status_code == post("taken").status_code == 409
    assert post("taken")["Idempotent-Replay"] == "true"


def test_a_crash_frees_the_key(post):
    assert post("crash").status_code == 500
    assert not IdempotentReply.objects.exists()


def test_a_request_in_progress_is_a_conflict(post):
    post("a")
    IdempotentReply.objects.update(status=idempotency.IN_PROGRESS)
    assert post("a").status_code == 409


def test_a_key_is_free_again_after_a_day(post):
    post("a")
    IdempotentReply.objects.update(created_at=now() - timedelta(hours=25))
    assert post("b").status_code == 201
    assert probe.made == ["a", "b"]


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\tkey"])
def test_a_key_has_a_shape(post, key):
    assert post("a", key=key).status_code == 400
    assert probe.made == []


def test_expired_replies_are_forgotten(post):
    post("a", key="old")
    IdempotentReply.objects.update(created_at=now() - timedelta(hours=25))
    post("b", key="new")
    forget_expired()
    assert [row.key for row in IdempotentReply.objects.all()] == ["new"]


def claim_or_fail():
    found = idempotency.claim("polymux:x", "k", "mark")
    if not isinstance(found, idempotency.Claim):
        raise TypeError(found)
    return found


def claim_without_guard():
    """The control: look, then insert."""
    import time

    if IdempotentReply.objects.filter(credential="c", fingerprint="f").exists():
        raise IdempotencyConflict
    time.sleep(0.05)
    return IdempotentReply.objects.create(credential="c", key=str(time.time_ns()), fingerprint="f")


@pytest.mark.django_db(transaction=True)
def test_only_one_of_many_claims_a_key(race):
    outcome = race(claim_or_fail, runners=12)
    assert outcome.winners == 1
    assert set(outcome.errors) == {IdempotencyConflict}


@pytest.mark.django_db(transaction=True)
def test_the_race_for_a_key_is_real(race):
    """Control: looking first lets two in. If this fails, the test above proves nothing."""
    assert race(claim_without_guard, runners=4).winners > 1
