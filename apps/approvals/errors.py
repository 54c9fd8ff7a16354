"""How a decision can fail."""

from __future__ import annotations

from apps.core.errors import Conflict, Forbidden, NotFound


class ApprovalNotFound(NotFound):
    code = "approval_not_found"
    message = "No such request."


class AlreadyDecided(Conflict):
    """`details["status"]`: what was decided."""

    code = "approval_already_decided"
    message = "This request has already been decided."


class ApprovalOverdue(Conflict):
    code = "approval_expired"
    message = "This request has expired."


class SelfApproval(Forbidden):
    code = "self_approval"
    message = "Who asks may not decide."


class NotTheRequester(Forbidden):
    code = "not_the_requester"
    message = "Only the requester may withdraw a request."
