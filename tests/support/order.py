"""Which files come first: what takes minutes must not be begun last.

Workers take whole files in this order. Files that mostly wait stand between files that only compute, so
that two who start servers and kill them seldom meet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
