"""Deploys and updates at the same moment: one wins, the others hear that they came second."""

from __future__ import annotations

import io

import pytest

from apps.formations import services
from apps.formations.claiming import finished
from apps.formations.errors import FormationExists, NothingChanged, UpdateRunning
from apps.formations.models import Formation, FormationPort, FormationVersion
from apps.formations.services import updating
from apps.workspaces.models import Workspace
from tests.support.management import bundle, operator_of, prepared

pytestmark = pytest.mark.django_db(transaction=True)

RUNNERS = 4


@pytest.fixture
def actor(aurora):
    return operator_of(aurora).actor


def deploy(actor, version="1.0.0"):
    return finished(services.deploy(actor, io.BytesIO(bundle(version=version)), slug="my-team"))


def test_of_those_who_deploy_one_id_one_does(race, actor):
    outcome = race(deploy, actor, runners=RUNNERS)
    assert outcome.winners == 1
    assert set(outcome.errors) == {FormationExists}
    assert Formation.unscoped.count() == FormationPort.unscoped.count() == 1
    assert Workspace.objects.filter(parent=actor.workspace_id).count() == 1


def test_different_ids_are_all_deployed_each_on_its_port(race, actor):
    slugs = iter([f"team-{number}" for number in range(RUNNERS)])

    def next_one():
        slug = next(slugs)
        return finished(services.deploy(actor, io.BytesIO(bundle(slug)), slug=slug))

    assert race(next_one, runners=RUNNERS).winners == RUNNERS
    assert len(set(FormationPort.unscoped.values_list("port", flat=True))) == RUNNERS


def test_of_those_who_stage_an_update_one_does(race, actor):
    deploy(actor)
    ready = iter([prepared(actor, bundle(version=f"1.{n}.0")) for n in range(1, RUNNERS + 1)])

    def stage():
        return updating.stage(actor, "my-team", next(ready))

    outcome = race(stage, runners=RUNNERS)
    assert outcome.winners == 1
    assert set(outcome.errors) == {UpdateRunning}
    assert FormationVersion.unscoped.count() == 2


def test_the_race_is_real(race, actor, monkeypatch):
    """Control: without the claim every runner stages, the last one over the others."""
    deploy(actor)
    ready = iter([prepared(actor, bundle(version=f"1.{n}.0")) for n in range(1, RUNNERS + 1)])
    monkeypatch.setattr(updating, "refuse_second", lambda _formation: None)

    def stage():
        return updating.stage(actor, "my-team", next(ready))

    assert race(stage, runners=RUNNERS).winners == RUNNERS


def test_the_same_bundle_twice_at_once_is_one_update(race, actor):
    deploy(actor)

    def update():
        given = io.BytesIO(bundle(version="1.1.0"))
        return finished(services.update(actor, given, slug="my-team"))

    outcome = race(update, runners=RUNNERS)
    assert outcome.winners == 1
    assert set(outcome.errors) <= {UpdateRunning, NothingChanged}
    assert Formation.unscoped.get().deployments == 2
