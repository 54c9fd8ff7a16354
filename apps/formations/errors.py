"""What can go wrong with agents and their means."""

from __future__ import annotations

from apps.core.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    RateLimited,
    TooLarge,
    Unavailable,
)


class AgentNotFound(NotFound):
    code = "agent_not_found"
    message = "No such agent."


class AgentNameTaken(Conflict):
    code = "agent_name_taken"
    message = "An agent of this name exists already."


class DefaultAgentStays(Conflict):
    code = "default_agent_stays"
    message = "A workspace keeps its default agent. Make another one the default first."


class AgentOfFormation(Forbidden):
    code = "agent_of_formation"
    message = "This agent comes with the formation: deploy a version without it."


class TeamNotFound(NotFound):
    code = "team_not_found"
    message = "No such team."


class TeamNameTaken(Conflict):
    code = "team_name_taken"
    message = "A team of this name exists already."


class LastTeamStays(Conflict):
    code = "last_team_stays"
    message = "A workspace keeps its last team."


class TooMany(Conflict):
    code = "too_many"
    message = "The workspace has as many of these as it may."


class McpServerNotFound(NotFound):
    code = "mcp_server_not_found"
    message = "No such MCP server."


class McpServerNameTaken(Conflict):
    code = "mcp_server_name_taken"
    message = "An MCP server of this name exists already."


class StdioForOperators(Forbidden):
    """A stdio server is a program on this machine: whoever adds one runs code here."""

    code = "stdio_for_operators"
    message = "Only an operator of this installation may add a server that runs a command."


class FormationBusy(RateLimited):
    """One formation has as much under way as it may. `details["retry_after"]`: seconds."""

    code = "formation_busy"
    message = "This formation is busy. Try again shortly."


class FormationNotFound(NotFound):
    code = "formation_not_found"
    message = "No such formation."


class FormationExists(Conflict):
    code = "formation_exists"
    message = "A formation of this id exists already."


class HeaderMissing(InvalidInput):
    code = "header_missing"
    message = "A header is missing."


class IdsDiffer(InvalidInput):
    code = "ids_differ"
    message = "The bundle is another formation's."


class VersionsDiffer(InvalidInput):
    code = "versions_differ"
    message = "The version asked for is not the bundle's."


class UpdateRunning(Conflict):
    code = "update_running"
    message = "An update of this formation is under way."


class UpdateCancelled(Conflict):
    code = "update_cancelled"
    message = "The update was cancelled. The version before it goes on serving."


class NothingChanged(Conflict):
    code = "nothing_changed"
    message = "This very bundle is deployed already."


class NoUpdateRunning(InvalidInput):
    code = "no_update_running"
    message = "No update of this formation is under way."


class NoPreviousVersion(InvalidInput):
    code = "no_previous_version"
    message = "There is no version before this one."


class AlreadyRunning(Conflict):
    code = "already_running"
    message = "The formation is running."


class AlreadyStopped(Conflict):
    code = "already_stopped"
    message = "The formation is stopped."


class NoFreePort(Unavailable):
    code = "no_free_port"
    message = "No port is free. Delete a formation, or widen POLYMUX_FORMATION_PORTS."


class NotHealthy(InvalidInput):
    code = "not_healthy"
    message = "The formation did not become healthy."


class ArchiveRefused(Unavailable):
    """The file storage took no more, or does not answer. Nothing of the bundle was kept."""

    code = "archive_refused"
    message = "The bundle could not be stored."


class DraftNotFound(NotFound):
    code = "draft_not_found"
    message = "This formation has no draft."


class DraftExists(Conflict):
    code = "draft_exists"
    message = "This formation has a draft already."


class DraftRunning(Conflict):
    code = "draft_running"
    message = "A draft of this formation is running."


class LiveNotFound(NotFound):
    code = "live_not_found"
    message = "There is no deployed version to start from."


class DraftFileNotFound(NotFound):
    code = "draft_file_not_found"
    message = "The draft has no such file."


class DraftPathInvalid(InvalidInput):
    code = "draft_path_invalid"
    message = "This path cannot be used."


class DraftTooLarge(TooLarge):
    code = "draft_too_large"
    message = "The draft has as many files, or bytes, as it may."


class DeployConflict(Conflict):
    code = "deploy_conflict"
    message = "The draft was made from a version that is not the deployed one any more."


class DraftModeInvalid(InvalidInput):
    code = "draft_mode_invalid"
    message = "mode is new or clone."


class DraftActionInvalid(InvalidInput):
    code = "draft_action_invalid"
    message = "action is one of init, list, read, write, delete, deploy, discard."


class DraftContentInvalid(InvalidInput):
    code = "draft_content_invalid"
    message = "content is text, or base64 with encoding base64."


class DraftBodyInvalid(InvalidInput):
    code = "draft_body_invalid"
    message = "The body is a JSON object."


class EndUserNotFound(NotFound):
    code = "end_user_not_found"
    message = "No such user."


class IdentifierTaken(Conflict):
    code = "identifier_taken"
    message = "This identifier belongs to another user."


class CredentialNotFound(NotFound):
    code = "credential_not_found"
    message = "No such credential."


class TriggerNotFound(NotFound):
    code = "trigger_not_found"
    message = "There is no such trigger."


class SopNotFound(NotFound):
    code = "sop_not_found"
    message = "There is no such SOP."


class SkillNotFound(NotFound):
    code = "skill_not_found"
    message = "There is no such skill."
