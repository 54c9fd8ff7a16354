"""Formations in the console, as an operator meets them in Chromium."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.support.management import bundle

WHY = "Asked for by the customer"


def upload(olga, archive, **fields):
    """Fill in the form of a bundle and send it."""
    file = {"name": "team.tar.gz", "mimeType": "application/gzip", "buffer": archive}
    olga.page.set_input_files("input[name=bundle]", file)
    for name, value in {**fields, "reason": WHY}.items():
        olga.page.fill(f"[name={name}]", value)
    olga.page.click("#reason-form button[type=submit]")
    olga.page.wait_for_load_state("networkidle")


def give_a_reason(olga, button):
    olga.page.get_by_role("link", name=button).first.click()
    olga.page.fill("[name=reason]", WHY)
    olga.page.click("#reason-form button[type=submit]")
    olga.page.wait_for_load_state("networkidle")


def status(olga, key):
    """What the formation answers its admin."""
    answer = httpx.get(f"{olga.url}/api/team/v1/status", headers={"X-MUXI-ADMIN-KEY": key})
    return answer.status_code


@pytest.fixture
def admin_key(olga):
    """Of a formation that was deployed by hand just now."""
    olga.go("/admin/formations/formation/")
    olga.page.get_by_role("link", name="Deploy formation").first.click()
    upload(olga, bundle("team"), workspace="default", formation="team")
    return re.search(r"sk_muxi_admin_\w+", olga.page.content())[0]


def test_a_formation_is_deployed_updated_rotated_and_stopped_by_hand(olga, admin_key):
    assert status(olga, admin_key) == 200
    olga.page.get_by_role("link", name="Go to team").click()
    olga.page.get_by_role("link", name="Deploy version").first.click()
    upload(olga, bundle("team", version="2.0.0", says="Differently."))
    assert "2.0.0" in olga.page.content()
    olga.page.get_by_role("link", name="Rotate keys").first.click()
    olga.page.fill("[name=reason]", WHY)
    olga.page.click("#reason-form button[type=submit]")
    rotated = re.search(r"fma_[\w-]+", olga.page.content())[0]
    assert (status(olga, admin_key), status(olga, rotated)) == (401, 200)
    olga.page.get_by_role("link", name="Go to team").click()
    give_a_reason(olga, "Stop formation")
    assert status(olga, rotated) == 503
    olga.go("/admin/formations/formation/")
    assert "stopped" in olga.page.content()
    assert olga.is_clean()
