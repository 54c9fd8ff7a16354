"""The cast, the race, the recording queue and the closed network: what every test may ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support import environment

environment.prepare()  # before anything reads Django's settings

import django  # noqa: E402
import pytest  # noqa: E402

django.setup()  # so that a conftest below may import models at its top

from apps.formations import registry  # noqa: E402
from apps.surfaces import ratewindow  # noqa: E402
from tests.support import (  # noqa: E402
    cast,
    copies,
    databases,
    flush,
    formations,
    network,
    order,
    queries,
    thrift,
)
from tests.support import race as racing  # noqa: E402

flush.flush_quickly()
thrift.be_thrifty()

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order.tell_apart(items)
    order.long_ones_first(items)


@pytest.fixture(autouse=True, scope="session")
def _closed_network() -> Iterator[None]:
    with network.closed_network():
        yield


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """pytest-django's own, asked before it makes the worker's database: a copy of the template."""
    from django.db import connection

    connection.settings_dict["TEST"]["TEMPLATE"] = databases.template()
    # A test is one transaction, and on a busy machine it may think for longer than a request may.
    connection.settings_dict["OPTIONS"]["options"] = "-c statement_timeout=60000"


@pytest.fixture
def aurora(db: None) -> cast.Aurora:
    """Ada's workspace: `aurora.ada` (Actor), `aurora.ada_token`, `aurora.ada_user`, `aurora.id`."""
    return copies.copied(cast.raise_aurora)


@pytest.fixture
def borealis(db: None) -> cast.Aurora:
    """The other workspace: `borealis.mallory`, `borealis.mallory_token`."""
    return copies.copied(cast.raise_borealis)


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> None:
    """Tests use the same names for formations that are not the same, and one address for all clients."""
    registry.forget()
    ratewindow.store.cache_clear()


@pytest.fixture
def team(aurora: cast.Aurora) -> formations.Made:
    """A running formation `team` of Aurora's, whose users are told apart; see `make_formation`."""
    return formations.make_formation(aurora.ada)


@pytest.fixture
def race(transactional_db: None) -> Callable[..., racing.Outcome]:
    """`race(fn, *args, runners=12)` -> `.winners`, `.errors`, `.results`."""
    return racing.race


@pytest.fixture
def recording_queue(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The jobs that would have woken a worker, as (name, ids); nothing is sent."""
    sent: list[tuple[str, dict[str, Any]]] = []

    def record(job: str, /, **ids: Any) -> None:
        sent.append((job, ids))

    monkeypatch.setattr("apps.core.queue.send_now", record)
    return sent


@pytest.fixture
def count_queries() -> Iterator[queries.QueryCounter]:
    """`with count_queries(3):` or `with count_queries(4, at_most=True):`."""
    counter = queries.QueryCounter()
    yield counter
    counter.verify_all_entered()
