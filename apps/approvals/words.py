"""What the feeds of other surfaces call the facts of approvals (contract/polpo.md §15, §18).

A gate there is the kind of our request; its name says what is asked. A request about a run may be about a
task: the app that knows completes `task_id` and `mission_id` (`events.selectors.complete_with`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.events.words import bare, present, speak

if TYPE_CHECKING:
    from collections.abc import Mapping

REFUSED = "denied"


def register_words() -> None:
    """From `ready()`. A refusal is told twice: as every decision, and with what was wrong."""
    speak("polpo", "approval.requested", "approval:requested", _requested)
    speak("polpo", "approval.decided", "approval:resolved", _resolved)
    speak("polpo", "approval.decided", "approval:rejected", _rejected)
    speak("polpo", "approval.expired", "approval:timeout", _timeout)


def _about(said: Mapping[str, Any], kind: str) -> Any:
    """The id of the task (or mission) that the request is about, None for neither."""
    if found := said.get(f"{kind}_id"):
        return bare(found)
    return bare(said.get("subject_id")) if said.get("subject_type") == kind else None


def _requested(said: Mapping[str, Any]) -> dict[str, Any]:
    return present(
        requestId=bare(said["approval_id"]),
        gateId=said["kind"],
        gateName=said["action"],
        taskId=_about(said, "task"),
        missionId=_about(said, "mission"),
    )


def _resolved(said: Mapping[str, Any]) -> dict[str, Any]:
    return present(
        requestId=bare(said["approval_id"]),
        status="rejected" if said["status"] == REFUSED else "approved",
        resolvedBy=bare(said.get("decided_by")),
    )


def _rejected(said: Mapping[str, Any]) -> dict[str, Any] | None:
    """A request is decided once: a revised one is a new request."""
    if said["status"] != REFUSED:
        return None
    told = present(
        requestId=bare(said["approval_id"]),
        taskId=_about(said, "task"),
        resolvedBy=bare(said.get("decided_by")),
    )
    return told | {"feedback": said.get("note") or "", "rejectionCount": 1}


def _timeout(said: Mapping[str, Any]) -> dict[str, Any]:
    """Nobody decided in time: the permission is not given."""
    return {"requestId": bare(said["approval_id"]), "action": "reject"}
