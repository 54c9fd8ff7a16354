"""What happened to teams, agents and their means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from apps.core.facts import Fact

if TYPE_CHECKING:
    from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFact(Fact):
    name: ClassVar[str] = "agent.changed"
    subject: ClassVar[tuple[str, str]] = ("agent", "agent_id")

    agent_id: UUID
    agent_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCreated(AgentFact):
    name: ClassVar[str] = "agent.created"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentUpdated(AgentFact):
    """`changed`: the fields that are different now."""

    name: ClassVar[str] = "agent.updated"

    changed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentDeleted(AgentFact):
    name: ClassVar[str] = "agent.deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamFact(Fact):
    name: ClassVar[str] = "team.changed"
    subject: ClassVar[tuple[str, str]] = ("team", "team_id")

    team_id: UUID
    team: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamCreated(TeamFact):
    name: ClassVar[str] = "team.created"


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamRenamed(TeamFact):
    """`was`: its name before."""

    name: ClassVar[str] = "team.renamed"

    was: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamDeleted(TeamFact):
    name: ClassVar[str] = "team.deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSettingChanged(Fact):
    name: ClassVar[str] = "tool.setting_changed"

    tool: str
    enabled: bool
    needs_approval: bool | None
    timeout: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServerFact(Fact):
    name: ClassVar[str] = "mcp_server.changed"
    subject: ClassVar[tuple[str, str]] = ("mcp_server", "server_id")

    server_id: UUID
    server: str


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServerAdded(McpServerFact):
    name: ClassVar[str] = "mcp_server.added"


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServerUpdated(McpServerFact):
    name: ClassVar[str] = "mcp_server.updated"


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServerRemoved(McpServerFact):
    name: ClassVar[str] = "mcp_server.removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServerContacted(McpServerFact):
    """The last contact changed what is known. `status`: ready, failed or changed."""

    name: ClassVar[str] = "mcp_server.contacted"

    status: str
    error: str = ""
    changed_tools: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class FormationFact(Fact):
    """Told twice: in the workspace that deployed it, and in its home."""

    name: ClassVar[str] = "formation.changed"
    subject: ClassVar[tuple[str, str]] = ("formation", "formation_id")

    formation_id: UUID
    formation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FormationDeployed(FormationFact):
    name: ClassVar[str] = "formation.deployed"

    version: str
    number: int
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FormationUpdated(FormationFact):
    """`was`: the version before."""

    name: ClassVar[str] = "formation.updated"

    version: str
    number: int
    was: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FormationUpdateFailed(FormationFact):
    """The version before goes on serving."""

    name: ClassVar[str] = "formation.update_failed"

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FormationUpdateCancelled(FormationFact):
    name: ClassVar[str] = "formation.update_cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class FormationRolledBack(FormationFact):
    name: ClassVar[str] = "formation.rolled_back"

    version: str
    number: int
    was: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FormationStarted(FormationFact):
    name: ClassVar[str] = "formation.started"


@dataclass(frozen=True, slots=True, kw_only=True)
class FormationStopped(FormationFact):
    name: ClassVar[str] = "formation.stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class FormationRestarted(FormationFact):
    name: ClassVar[str] = "formation.restarted"

    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FormationKeysRotated(FormationFact):
    name: ClassVar[str] = "formation.keys_rotated"


@dataclass(frozen=True, slots=True, kw_only=True)
class FormationDeleted(FormationFact):
    name: ClassVar[str] = "formation.deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftChanged(Fact):
    """`action`: init, write, delete, discard, run or stop."""

    name: ClassVar[str] = "formation_draft.changed"

    formation: str
    action: str
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndUserFact(Fact):
    name: ClassVar[str] = "end_user.changed"
    subject: ClassVar[tuple[str, str]] = ("end_user", "end_user_id")

    end_user_id: UUID
    muxi_user_id: str
    identifier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifierLinked(EndUserFact):
    """What was kept under `identifier` is the user's from now on: each app moves its own rows."""

    name: ClassVar[str] = "end_user.linked"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifierUnlinked(EndUserFact):
    name: ClassVar[str] = "end_user.unlinked"


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialFact(Fact):
    """Never what is sealed in it."""

    name: ClassVar[str] = "credential.changed"
    subject: ClassVar[tuple[str, str]] = ("credential", "credential_id")

    credential_id: UUID
    end_user: str
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialAdded(CredentialFact):
    name: ClassVar[str] = "credential.added"


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialRemoved(CredentialFact):
    name: ClassVar[str] = "credential.removed"
