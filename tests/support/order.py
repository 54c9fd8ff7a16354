"""Which files come first: what takes minutes must not be begun last.

Workers take whole files in this order. Files that mostly wait stand between files that only compute, so
that two who start servers and kill them seldom meet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from _pytest.nodeid import coerce_node_id

if TYPE_CHECKING:
    import pytest

FIRST = (
    "chaos/test_storm.py",
    "contract/test_schema.py",
    "faults/test_outages.py",
    "e2e/test_board_in_a_browser.py",
    "faults/test_crashes.py",
    "contract/test_polpo_missions.py",
    "platform/test_serve.py",
    "e2e/test_console_in_a_browser.py",
    "chaos/test_resuming.py",
    "contract/test_polpo_tasks.py",
    "faults/test_tasks.py",
    "formations/test_mcp.py",
    "platform/test_processes.py",
    "console/test_pages.py",
    "platform/test_postgres.py",
    "core/test_net.py",
)


def long_ones_first(items: list[pytest.Item]) -> None:
    rank = {f"tests/{name}": place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(rank)))


def tell_apart(items: list[pytest.Item]) -> None:
    """Give each test a name of its own: of several with one name, xdist runs a single one.

    Schemathesis names its tests by their operation, but pytest 9 asks the function for the name.
    """
    for item in items:
        label = getattr(item, "operation_label", None)
        if label and label not in item.nodeid:
            item._id = coerce_node_id(f"{item.nodeid}[{label}]")
    twice = len(items) - len({item.nodeid for item in items})
    assert not twice, f"{twice} tests have the name of another"
