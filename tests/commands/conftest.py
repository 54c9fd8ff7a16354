"""Commands as an operator types them: through `call_command`, with what they print."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import call_command

from apps.accounts.models import AuditEntry
from apps.formations import policy


@pytest.fixture(autouse=True)
def _fresh_policies():
    policy._known.clear()


@pytest.fixture
def manage(db):
    """`manage("agent", "list", "--workspace", "aurora")` -> what it printed on stdout."""

    def run(*words):
        out = StringIO()
        call_command(*words, stdout=out, stderr=StringIO())
        return out.getvalue()

    return run


@pytest.fixture
def ask(manage):
    """As `manage`, with `--json`, read."""

    def run(*words):
        # After the verb: what follows `--command` belongs to the program.
        return json.loads(manage(*words[:2], "--json", *words[2:]))

    return run


@pytest.fixture
def newest():
    """`newest("agent.created")`: the latest audit entry of that action."""

    def find(action):
        return AuditEntry.objects.filter(action=action).order_by("-created_at", "-id").first()

    return find
