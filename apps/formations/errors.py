"""What can go wrong with agents and their means."""

from __future__ import annotations

from apps.core.errors import Conflict, Forbidden, NotFound


class AgentNotFound(NotFound):
    code = "agent_not_found"
    message = "No such agent."


class AgentNameTaken(Conflict):
    code = "agent_name_taken"
    message = "An agent of this name exists already."


class DefaultAgentStays(Conflict):
    code = "default_agent_stays"
    message = "A workspace keeps its default agent. Make another one the default first."


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
