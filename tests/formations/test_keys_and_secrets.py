"""Keys and secrets of a formation that was deployed, changed while it runs."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from apps.core.errors import ScopeInsufficient
from apps.events.models import Event
from apps.formations import services
from apps.formations.errors import FormationNotFound
from apps.surfaces.kit import FormationRef
from apps.workspaces.services import put_secret, remove_secret
from apps.workspaces.vault import opened_secrets
from tests.contract.golden import assert_golden
from tests.support.formations import Made
from tests.support.management import bundle, operator_of, sealed

pytestmark = pytest.mark.django_db

SECRETS = {"SEARCH_KEY": "s-one", "MAPS_KEY": "m-one"}
USES = 'links: {search: "${{ secrets.SEARCH_KEY }}", maps: "${{ secrets.MAPS_KEY }}"}\n'


@pytest.fixture
def deployed(aurora, recording_queue):
    """A formation with two secrets: `Made`, with the keys that its deploy made."""
    deployer = operator_of(aurora).actor
    archive = io.BytesIO(bundle("team", more=USES, files=sealed(SECRETS)))
    steps = services.deploy(deployer, archive, slug="team")
    while True:
        try:
            next(steps)
        except StopIteration as end:
            row, keys = end.value.formation, end.value.keys
            break
    ref = FormationRef("team", row.home_id)
    return Made(row, keys["admin_key"], keys["client_key"], deployer, ref)


def test_the_bundles_secrets_come_back_and_others_stay(deployed):
    inside = replace(deployed.home_owner, workspace_id=deployed.home_id)
    put_secret(inside, "SEARCH_KEY", "s-two")
    put_secret(inside, "MINE", "kept")
    remove_secret(inside, "MAPS_KEY")
    answer = deployed.post("/v1/secrets/reload", key="admin")
    assert_golden(answer, "muxi_formation/secrets_reload.json")
    assert opened_secrets(deployed.home_id) == SECRETS | {"MINE": "kept"}
    assert deployed.post("/v1/secrets/reload", key="client").status_code == 401


def test_new_keys_take_the_place_of_the_old_ones(deployed):
    made = services.rotate_keys(deployed.home_owner, "team", reason="Lost a laptop")
    for kind, old in (("admin", deployed.admin_key), ("client", deployed.client_key)):
        path = "/v1/agents" if kind == "admin" else "/v1/nothing"
        assert deployed.get(path, key=f"{kind}:{old}").status_code == 401
        new = deployed.get(path, key=f"{kind}:{made[f'{kind}_key']}")
        assert new.status_code == (200 if kind == "admin" else 404)
    told = Event.objects.filter(name="formation.keys_rotated")
    assert {event.workspace_id for event in told} == {
        deployed.home_id,
        deployed.home_owner.workspace_id,
    }
    assert not any(key in str([event.payload for event in told]) for key in made.values())


def test_only_who_deploys_rotates_keys(deployed, aurora, borealis):
    with pytest.raises(ScopeInsufficient):
        services.rotate_keys(aurora.ben, "team")
    with pytest.raises(FormationNotFound):
        services.rotate_keys(borealis.mallory, "team")
    assert deployed.get("/v1/agents", key="admin").status_code == 200
