"""An operator, and a world with at least one row of every kind the console shows."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)

from apps.accounts.models import AuditEntry, User
from apps.approvals.models import Approval
from apps.console import dashboard
from apps.conversations.models import (
    Attachment,
    Message,
    Session,
    TurnRequest,
    WebhookDelivery,
)
from apps.core.actor import Actor
from apps.core.ids import uuid7
from apps.events.models import Event
from apps.formations.models import (
    Agent,
    DraftFile,
    EndUser,
    EndUserIdentifier,
    FormationDraft,
    McpServer,
    ServerCall,
    Team,
    ToolSetting,
    UserCredential,
)
from apps.knowledge.models import Memory, UserMemory
from apps.missions.models import Barrier, Mission
from apps.runs.models import Budget, Run, Step
from apps.tasks.models import Assessment, Schedule, ScheduledPrompt, Task
from apps.workspaces.models import ApiToken, Secret, Workspace
from tests.support.formations import Made, document_of, make_formation

# Whitenoise warns of a folder that only `collectstatic` makes.
settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _fresh_figures():
    dashboard.forget_figures()


@pytest.fixture
def operator(db):
    return User.objects.create_superuser("olga@example.org", PASSWORD)


@pytest.fixture
def console(operator):
    """Olga's browser: a logged-in superuser."""
    client = Client()
    client.force_login(operator)
    return client


class World:
    """One workspace's rows; every call adds one more of each kind that grows."""

    def __init__(self, workspace: Workspace, user: User, owner: Actor) -> None:
        self.workspace, self.user, self.owner = workspace, user, owner
        self.agent = Agent.unscoped.create(
            workspace=workspace,
            team=Team.unscoped.get(workspace=workspace),
            name="Scout",
            model="openai/gpt-4.1",
            system_prompt="Look around.",
        )

    def session(self, **fields) -> Session:
        fields = {"title": "Talk", "user": self.user} | fields
        return Session.unscoped.create(workspace=self.workspace, agent=self.agent, **fields)

    def message(self, session: Session, content: str = "Hello") -> Message:
        return Message.unscoped.create(
            workspace=self.workspace,
            session=session,
            wire_id=uuid7(),
            role="user",
            content=content,
            created_at=timezone.now(),
        )

    def run(self, session: Session | None = None, **fields) -> Run:
        now = timezone.now()
        fields = {
            "status": "succeeded",
            "cost_micros": 1_500,
            "tokens_in": 10,
            "started_at": now,
        } | fields
        return Run.unscoped.create(
            workspace=self.workspace,
            agent=self.agent,
            session_id=session.pk if session else None,
            model="openai/gpt-4.1",
            finished_at=now + timedelta(seconds=2),
            **fields,
        )

    def run_in(self, workspace_id, **fields) -> Run:
        return Run.unscoped.create(workspace_id=workspace_id, status="succeeded", **fields)

    def step(self, run: Run, index: int = 1) -> Step:
        now = timezone.now()
        return Step.unscoped.create(
            workspace=self.workspace,
            run=run,
            index=index,
            kind="model",
            name="openai/gpt-4.1",
            started_at=now,
            finished_at=now,
            output={"text": "<script>alert(1)</script>"},
        )

    def event(self, seq: int, run: Run | None = None) -> Event:
        return Event.objects.create(
            workspace=self.workspace,
            seq=1_000 + seq,  # after what raising the cast published
            name="run.ended",
            run_id=run.pk if run else None,
            session_id=run.session_id if run else None,
        )

    def token(self, **fields) -> ApiToken:
        digest = hashlib.sha256(uuid7().bytes).digest()
        fields = {"user": self.user, "workspace": self.workspace} | fields
        return ApiToken.objects.create(name="CI", prefix="pmx_1234", digest=digest, **fields)

    def approval(self, **fields) -> Approval:
        fields = {"action": "Send 400 e-mails", "subject_type": "run"} | fields
        return Approval.unscoped.create(workspace=self.workspace, **fields)

    def task(self, **fields) -> Task:
        fields = {"title": f"Dig {uuid7()}", "description": "Deep.", "assign_to": "Scout"} | fields
        return Task.unscoped.create(workspace=self.workspace, **fields)

    def assessment(self, task: Task, **fields) -> Assessment:
        return Assessment.unscoped.create(
            workspace=self.workspace, task=task, **({"number": 1, "passed": True} | fields)
        )

    def mission(self, **fields) -> Mission:
        document = {"tasks": [{"title": "Dig", "description": "Deep."}]}
        fields = {"name": "Hole", "document": document} | fields
        return Mission.unscoped.create(workspace=self.workspace, **fields)

    def barrier(self, mission: Mission, **fields) -> Barrier:
        spec = {"name": "look", "afterTasks": ["Dig"], "blocksTasks": ["Fill"]}
        fields = {"kind": "checkpoint", "name": "look", "spec": spec} | fields
        return Barrier.unscoped.create(
            workspace=self.workspace, mission=mission, group=mission.group, **fields
        )

    def schedule(self, mission: Mission, **fields) -> Schedule:
        fields = {
            "expression": "0 7 * * *",
            "recurring": True,
            "next_run_at": timezone.now(),
        } | fields
        return Schedule.unscoped.create(
            workspace=self.workspace, subject_type="mission", subject_id=mission.pk, **fields
        )

    def formation(self, slug: str = "team", port: int = 8000) -> Made:
        files = [{"path": "formation.afs", "size": 1234}]
        config = {"id": slug, "llm": {"api_keys": {"openai": "sk-proj-hunter2hunter2"}}}
        document = document_of(config=config, files=files)
        return make_formation(self.owner, slug, document=document, port=port)

    def around_a_formation(self) -> None:
        """Its draft, calls of the server, and a user with a credential."""
        home = {"workspace_id": self.formation().home_id}
        here = {"workspace": self.workspace}
        draft = FormationDraft.unscoped.create(**here, slug="team", base_version="1.0.0")
        DraftFile.unscoped.create(**here, draft=draft, path="formation.afs", content=b"id: team")
        call = {"method": "GET", "path": "/rpc/formations", "status": 200, "milliseconds": 1.5}
        ServerCall.unscoped.create(**here, **call, at=timezone.now())
        user = EndUser.unscoped.create(**home, muxi_user_id="usr_kim")
        EndUserIdentifier.unscoped.create(**home, end_user=user, identifier="kim@example.org")
        sealed = {"sealed": b"sealed-bytes", "preview": "ghp_abc*****xyz"}
        UserCredential.unscoped.create(**home, **sealed, end_user="usr_kim", service="github")

    def one_of_everything(self) -> None:
        self.around_a_formation()
        self.assessment(self.task())
        mission = self.mission(group="Hole")
        self.barrier(mission)
        self.schedule(mission)
        session = self.session()
        self.message(session)
        run = self.run(session, status="failed", error_code="auth")
        self.step(run)
        self.event(1, run)
        self.token()
        self.approval(session_id=session.pk, subject_id=run.pk)
        here = {"workspace": self.workspace}
        Attachment.unscoped.create(
            **here, session=session, name="a.txt", mime_type="text/plain", size=3, storage_key="k"
        )
        asked = TurnRequest.unscoped.create(
            **here, name="r", end_user="kim", session=session, run=run, created_at=timezone.now()
        )
        WebhookDelivery.unscoped.create(
            **here, request=asked, url="https://app.example/hook", body="{}", next_at=timezone.now()
        )
        Secret.unscoped.create(
            **here, name="STRIPE_KEY", sealed=b"sealed-bytes", created_by=self.user
        )
        Memory.unscoped.create(**here, key="notes", content="remember")
        UserMemory.unscoped.create(**here, end_user="kim", scope_id="kim", detail="likes tea")
        ScheduledPrompt.unscoped.create(**here, end_user="kim", title="Weekly", prompt="Report")
        McpServer.unscoped.create(
            **here, name="files", transport="stdio", command=["npx", "--key", "hunter2"]
        )
        ToolSetting.unscoped.create(**here, tool="web_fetch", enabled=False)
        Budget.unscoped.create(**here, subject_type="workspace", subject_id=self.workspace.pk)
        AuditEntry.objects.create(
            workspace_id=self.workspace.pk,
            actor_kind="operator",
            action="token.revoked",
            subject_type="token",
            before={"scope": "read"},
        )
        _beat_rows()


def _beat_rows() -> None:
    interval = IntervalSchedule.objects.create(every=5, period="minutes")
    PeriodicTask.objects.create(name="console.test", task="runs.sweep_leases", interval=interval)
    CrontabSchedule.objects.create(minute="7")
    SolarSchedule.objects.create(event="sunrise", latitude=52, longitude=13)
    ClockedSchedule.objects.create(clocked_time=timezone.now())


@pytest.fixture
def world(aurora):
    return World(aurora.workspace, aurora.ada_user, aurora.ada)
