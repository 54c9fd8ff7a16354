"""Prompts on a schedule: when they are said, what becomes of their turns, and when they are paused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.accounts.models import AuditEntry
from apps.conversations.models import Message, Session, TurnRequest
from apps.core.actor import Actor
from apps.core.aio import spawn
from apps.core.errors import InvalidInput
from apps.engine.ports import Ending, Outcome
from apps.engine.providers.scripted import Line, add_script
from apps.formations.models import FormationStatus
from apps.formations.services import ensure_default_agent, link_identifiers, update_agent
from apps.runs import runner
from apps.runs.journal import RunJournal
from apps.runs.models import Run
from apps.runs.services import cancel_run, claim_run
from apps.tasks.errors import JobNotFound, ScheduleRefused, TooManyJobs
from apps.tasks.models import Schedule, ScheduledPrompt
from apps.tasks.selectors import get_job, list_jobs
from apps.tasks.services import prompts
from apps.tasks.services.prompts import change_job, create_job, remove_job, switch_job
from apps.tasks.services.scheduling import fire_due

pytestmark = pytest.mark.django_db(transaction=True)


class Clock:
    """A formation with one job of Kim's."""

    def __init__(self, team):
        self.team, self.actor = team, team.home_owner
        self.job_id = self.make().prompt.pk

    def make(self, user="kim", **fields):
        told = {"kind": "recurring", "schedule": "0 9 * * 1", "message": "Report"} | fields
        return create_job(self.actor, user, **told)

    @property
    def job(self):
        return get_job(self.actor, self.job_id)

    def due(self):
        """Its time has come: how many fired."""
        past = timezone.now() - timedelta(minutes=1)
        Schedule.unscoped.filter(subject_id=self.job_id).update(next_run_at=past)
        return fire_due()

    def end(self, ending=Ending.DONE, **told):
        """The turn of the last firing, claimed and ended."""
        hold, _, _ = claim_run(self.team.home_id, self.job.prompt.last_run_id)
        journal = RunJournal(Actor.for_engine(self.team.home_id), hold)
        journal._close(Outcome(ending, **({"text": "Done."} | told)))

    def counts(self):
        row = self.job.prompt
        return row.total_runs, row.total_failures, row.consecutive_failures


@pytest.fixture
def clock(team, recording_queue):
    return Clock(team)


def test_a_firing_is_a_turn_of_its_user(clock):
    assert clock.due() == 1
    assert fire_due() == 0
    row = clock.job.prompt
    asked = TurnRequest.unscoped.get(run_id=row.last_run_id)
    assert (asked.end_user, asked.session.end_user) == ("kim", "kim")
    assert Message.unscoped.get(session=asked.session).content == "Report"
    assert (row.total_runs, row.last_run_status) == (1, "running")
    assert clock.job.schedule.next_run_at > timezone.now()


def test_a_turn_is_answered_by_the_formations_agent(clock):
    add_script("jobs", [Line("The week was good.")])
    agent = ensure_default_agent(clock.actor)
    update_agent(clock.actor, agent.pk, model="scripted/jobs")
    clock.due()
    spawn(runner.advance(clock.team.home_id, clock.job.prompt.last_run_id)).result(20)
    assert Message.unscoped.get(role="assistant").content == "The week was good."
    assert clock.job.prompt.last_run_status == "succeeded"


def test_all_turns_of_a_job_are_in_one_conversation(clock):
    for _ in range(2):
        clock.due()
        clock.end()
    assert Session.unscoped.count() == 1
    assert clock.counts() == (2, 0, 0)
    assert clock.job.prompt.last_run_status == "succeeded"


def test_a_firing_during_the_last_turn_is_left_out(clock):
    clock.due()
    assert clock.due() == 1
    assert clock.counts()[0] == 1
    assert "still under way" in clock.job.schedule.last_error
    clock.end()
    clock.due()
    assert (clock.counts()[0], clock.job.schedule.last_error) == (2, "")


def test_a_job_that_fails_again_and_again_is_paused(clock):
    for number in range(1, 4):
        assert clock.job.status == "ACTIVE"
        clock.due()
        clock.end(Ending.FAILED, text="", code="auth", message="No key.")
        assert clock.counts() == (number, number, number)
    assert clock.job.status == "PAUSED"
    assert clock.job.prompt.last_failure == "No key."
    paused = AuditEntry.objects.filter(action="schedule.switched").get()
    assert paused.reason == "3 turns failed in a row"
    assert switch_job(clock.actor, clock.job_id, on=True).status == "ACTIVE"
    assert clock.counts() == (3, 3, 0)


def test_one_success_forgets_the_failures_and_a_cancelled_turn_is_none(clock):
    clock.due()
    clock.end(Ending.FAILED, text="", code="auth", message="No key.")
    clock.due()
    cancel_run(clock.actor, clock.job.prompt.last_run_id)
    assert clock.counts() == (2, 1, 1)
    clock.due()
    clock.end()
    assert clock.counts() == (3, 1, 0)
    assert clock.job.prompt.last_failure == ""


def test_the_formation_says_how_many_failures_are_too_many(clock):
    version = clock.team.formation.current
    version.document["config"]["scheduler"] = {"max_failures_before_pause": 1}
    version.pk, version.number = None, 2
    version.save(force_insert=True)
    clock.team.formation.current = version
    clock.team.formation.save()
    clock.due()
    clock.end(Ending.FAILED, text="", code="auth", message="No key.")
    assert clock.job.status == "PAUSED"


def test_a_formation_that_does_not_run_says_nothing(clock):
    clock.team.formation.status = FormationStatus.STOPPED
    clock.team.formation.save()
    clock.due()
    assert clock.counts()[0] == 0
    assert clock.job.schedule.last_error == "The formation is stopped."
    assert not Run.unscoped.exists()


def test_a_moment_fires_once(clock):
    later = (timezone.now() + timedelta(hours=1)).isoformat()
    job = clock.make(kind="one_time", schedule=later)
    clock.job_id = job.prompt.pk
    assert clock.due() == 1
    clock.end()
    assert clock.job.status == "COMPLETED"
    assert fire_due() == 0
    with pytest.raises(JobNotFound):
        switch_job(clock.actor, clock.job_id, on=True)
    assert change_job(clock.actor, clock.job_id, schedule="0 9 * * *").status == "ACTIVE"


def test_a_paused_job_rests_whatever_its_new_schedule(clock):
    switch_job(clock.actor, clock.job_id, on=False)
    with pytest.raises(JobNotFound):
        switch_job(clock.actor, clock.job_id, on=False)
    assert change_job(clock.actor, clock.job_id, schedule="0 8 * * *").status == "PAUSED"
    assert clock.due() == 0


def test_a_removed_job_has_no_schedule(clock):
    remove_job(clock.actor, clock.job_id)
    assert not Schedule.unscoped.exists()
    assert not ScheduledPrompt.unscoped.exists()
    with pytest.raises(JobNotFound):
        remove_job(clock.actor, clock.job_id)


def test_another_users_job_is_absent(clock, borealis):
    assert list_jobs(clock.actor, end_user="lee") == []
    assert list_jobs(borealis.mallory) == []
    for actor, user in ((clock.actor, "lee"), (borealis.mallory, None)):
        for verb in (get_job, remove_job, change_job):
            with pytest.raises(JobNotFound):
                verb(actor, clock.job_id, end_user=user)
        with pytest.raises(JobNotFound):
            switch_job(actor, clock.job_id, on=False, end_user=user)


def test_a_linked_users_jobs_and_conversations_are_theirs(clock):
    clock.due()
    clock.end()
    link_identifiers(clock.actor, "u1", [("kim", "custom")])
    assert [job.prompt.pk for job in list_jobs(clock.actor, end_user="u1")] == [clock.job_id]
    assert Session.unscoped.get().end_user == TurnRequest.unscoped.get().end_user == "u1"
    clock.due()
    assert Session.unscoped.count() == 1


@pytest.mark.parametrize(
    ("kind", "schedule"),
    [
        ("recurring", "0 25 * * *"),
        ("recurring", "2999-01-01T00:00:00Z"),
        ("recurring", "30 0 9 * * 1"),
        ("one_time", "0 9 * * 1"),
        ("one_time", "2001-01-01T00:00:00Z"),
        ("one_time", "tomorrow"),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused(clock, kind, schedule):
    with pytest.raises(ScheduleRefused) as refused:
        clock.make(kind=kind, schedule=schedule)
    assert refused.value.details["value"] == schedule
    with pytest.raises(InvalidInput):
        clock.make(kind="sometimes")
    assert ScheduledPrompt.unscoped.count() == 1


def test_there_are_only_so_many_jobs(clock, monkeypatch):
    monkeypatch.setattr(prompts, "MOST_OF_A_USER", 1)
    with pytest.raises(TooManyJobs):
        clock.make()
    monkeypatch.setattr(prompts, "MOST_JOBS", 1)
    with pytest.raises(TooManyJobs):
        clock.make(user="lee")
