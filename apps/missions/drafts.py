"""A mission's row and its document: reading the one into the other, and telling of both.

Pure: whoever calls has the row in hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.core.reading import as_json
from apps.missions.document import DocumentInvalid, MissionDocument, parse_document
from apps.missions.errors import MissionInvalid
from apps.missions.events import MissionSaved
from apps.missions.models import BarrierKind

if TYPE_CHECKING:
    from apps.missions.models import Mission


def read_document(data: Any) -> MissionDocument:
    """MissionInvalid names every place that is wrong."""
    if not isinstance(data, (str, dict)):
        raise MissionInvalid("data: Must be a mission document.", fields={"data": ["Required."]})
    try:
        return parse_document(data)
    except DocumentInvalid as error:
        raise MissionInvalid(str(error), fields=error.fields) from None


def put_document(mission: Mission, document: MissionDocument) -> None:
    """What the document says of the mission itself goes into its columns.

    An end and notifications it is silent about stay: they may have been set beside it.
    """
    mission.document = as_json(document, sparse=True)  # as it was written
    mission.deadline = document.deadline
    mission.quality_threshold = document.quality_threshold
    mission.end_date = document.end_date or mission.end_date
    if document.notifications is not None:
        mission.notifications = dict(document.notifications)


def saved(mission: Mission) -> MissionSaved:
    return MissionSaved(mission_id=mission.pk, mission_name=mission.name, status=mission.status)


def shown(mission: Mission) -> dict[str, Any]:
    """For the audit."""
    return {"name": mission.name, "status": mission.status, "group": mission.group}


def barrier_entries(document: MissionDocument) -> list[tuple[str, Any]]:
    """(kind, entry) of everything that stands in the way."""
    return [
        *((BarrierKind.GATE, gate) for gate in document.quality_gates),
        *((BarrierKind.CHECKPOINT, checkpoint) for checkpoint in document.checkpoints),
        *((BarrierKind.DELAY, delay) for delay in document.delays),
    ]
