from __future__ import annotations

from apps.core.errors import Conflict, InvalidInput, NotFound


class MissionNotFound(NotFound):
    code = "mission_not_found"
    message = "Mission not found."


class EntryNotFound(NotFound):
    code = "mission_entry_not_found"
    message = "The mission's document has no entry of that name."


class CheckpointNotFound(NotFound):
    code = "checkpoint_not_found"
    message = "No such checkpoint is waiting."


class MissionStateForbids(Conflict):
    code = "mission_state"
    message = "The mission's status does not allow this."


class MissionInvalid(InvalidInput):
    """`details["fields"]`: place in the document -> what is wrong there."""

    code = "mission_invalid"
    message = "The mission's document is not valid."
