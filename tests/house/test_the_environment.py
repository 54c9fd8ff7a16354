"""What of a shell's environment reaches the tests."""

from __future__ import annotations

import os

from tests.support import environment


def test_a_developers_keys_are_forgotten_and_the_demand_for_services_is_kept(monkeypatch):
    shell = {"POLYMUX_REQUIRE_SERVICES": "1", "POLYMUX_MODEL": "x", "OPENAI_API_KEY": "sk"}
    monkeypatch.setattr(os, "environ", dict(shell))
    environment._forget_the_shell()
    assert os.environ == {"POLYMUX_REQUIRE_SERVICES": "1"}
