"""Ports: claimed as rows, so that of two who want one, one has it (contract/muxi.md §3.10)."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from django.conf import settings

from apps.core.rows import execute
from apps.formations.errors import NoFreePort
from apps.formations.models import FormationDraft, FormationPort

if TYPE_CHECKING:
    from apps.core.actor import Actor
    from apps.formations.models import Formation, PortPurpose

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('formations.ports', 0))"


def claim_port(actor: Actor, formation: Formation, purpose: PortPurpose) -> int:
    """The first free port, now the formation's for `purpose`; the same again for who has one.

    Inside a transaction, before its last locks: those who claim wait for one another. Raises NoFreePort.
    """
    mine = FormationPort.objects.in_workspace(actor.workspace_id).filter(formation=formation)
    known = mine.filter(purpose=purpose).first()
    if known is not None:
        return int(known.port)
    row = FormationPort(
        workspace_id=actor.workspace_id, formation=formation, purpose=purpose, port=free_port(actor)
    )
    row.save(force_insert=True)
    return row.port


def release_port(actor: Actor, formation: Formation, purpose: PortPurpose) -> None:
    """Give it back; nothing happens where there is none."""
    mine = FormationPort.objects.in_workspace(actor.workspace_id).filter(formation=formation)
    mine.filter(purpose=purpose).delete()


def free_port(actor: Actor) -> int:
    """The first that no row names and that binds on loopback: a stranger's port is passed over.

    Ports are the installation's: whoever asks sees nothing but that some are taken. Raises NoFreePort.
    """
    del actor
    execute(_LOCK, [])
    low, high = settings.FORMATION_PORTS
    taken: set[int | None] = set(FormationPort.unscoped.values_list("port", flat=True))
    taken |= set(FormationDraft.unscoped.exclude(port=None).values_list("port", flat=True))
    for port in range(low, high + 1):
        if port not in taken and _binds(port):
            return port
    raise NoFreePort


def _binds(port: int) -> bool:
    with socket.socket() as probe:
        # As a server binds: connections of yesterday that are still being closed do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
