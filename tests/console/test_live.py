"""The live page's server side: the transcript, the ticket, a new session."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import timezone

from apps.accounts.models import AuditEntry, User
from apps.conversations.models import Session
from apps.core.ids import session_wire_id
from apps.workspaces.models import ApiToken, Member
from apps.workspaces.selectors import actor_of_token


def ticket_url(session):
    return reverse("admin:live_ticket", args=[session.pk])


def test_the_page_shows_the_transcript_as_text(console, world):
    session = world.session()
    world.message(session, "<b>Hello</b>")
    page = console.get(reverse("admin:live_session", args=[session.pk])).text
    assert "&lt;b&gt;Hello&lt;/b&gt;" in page
    assert f"/session/{session_wire_id(session.workspace_id, session.pk)}/" in page


def test_the_page_opens_by_the_wire_id_too(console, world):
    session = world.session()
    name = session_wire_id(session.workspace_id, session.pk)
    assert console.get(reverse("admin:live_session", args=[name])).status_code == 200


def test_an_unknown_session_is_not_found(console, world):
    assert console.get(reverse("admin:live_session", args=["ses_nobody"])).status_code == 404


def test_the_transcript_is_the_last_two_hundred(console, world):
    session = world.session()
    for number in range(205):
        world.message(session, f"message {number}.")
    page = console.get(reverse("admin:live_session", args=[session.pk])).text
    assert "message 4." not in page
    assert "message 5." in page
    assert page.index("message 203.") < page.index("message 204.")


def test_a_ticket_opens_that_session_and_names_the_operator_in_the_audit(console, operator, world):
    session = world.session()
    answer = console.post(ticket_url(session))
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    caller, actor = actor_of_token(answer.json()["token"])
    assert (caller.session_id, actor.workspace_id) == (session.pk, session.workspace_id)
    assert AuditEntry.objects.filter(
        action="session.attached", user_id=operator.pk, subject_id=str(session.pk)
    ).exists()


def test_a_ticket_is_short_lived(console, world):
    session = world.session()
    console.post(ticket_url(session))
    left = ApiToken.objects.get(session_id=session.pk).expires_at - timezone.now()
    assert timedelta(minutes=9) < left <= timedelta(minutes=10)


def test_a_member_gets_a_ticket_in_their_own_name(console, operator, world):
    Member.unscoped.create(workspace=world.workspace, user=operator, role="member")
    token = console.post(ticket_url(world.session())).json()["token"]
    assert actor_of_token(token)[1].user_id == operator.pk


def test_a_ticket_is_given_by_post_only(console, world):
    session = world.session()
    assert console.get(ticket_url(session)).status_code == 405
    assert not ApiToken.objects.filter(session_id=session.pk).exists()


def test_who_may_only_read_gets_the_transcript_and_no_ticket(client, world):
    session = world.session()
    watcher = User.objects.create_user("wanda@example.org", "x" * 12, is_staff=True)
    watcher.user_permissions.add(
        Permission.objects.get(codename="view_session", content_type__app_label="conversations")
    )
    client.force_login(watcher)
    assert client.get(reverse("admin:live_session", args=[session.pk])).status_code == 200
    assert client.post(ticket_url(session)).status_code == 403
    assert client.get(reverse("admin:live_new")).status_code == 403


def test_an_operator_opens_a_session_with_the_default_agent(
    console, operator, world, recording_queue
):
    url = reverse("admin:live_new")
    assert world.workspace.name in console.get(url).text
    form = {"workspace": str(world.workspace.pk), "agent": "", "title": "Trying it"}
    answer = console.post(url, form)
    session = Session.unscoped.get(title="Trying it")
    assert answer["Location"] == reverse("admin:live_session", args=[session.pk])
    assert (session.workspace_id, session.user_id) == (world.workspace.pk, operator.pk)
    assert session.agent is not None


def test_an_agent_of_another_workspace_cannot_be_chosen(console, world, borealis):
    from tests.console.conftest import World

    foreign = World(borealis.workspace, borealis.mallory_user, borealis.mallory).agent
    form = {"workspace": str(world.workspace.pk), "agent": str(foreign.pk), "title": "Trying it"}
    assert console.post(reverse("admin:live_new"), form).status_code == 200
    assert not Session.unscoped.filter(title="Trying it").exists()


def test_a_decision_on_the_live_page_bears_the_operators_name(
    console, operator, world, recording_queue
):
    session = world.session(status="waiting")
    approval = world.approval(session_id=session.pk)
    run = world.run(session, status="waiting", waiting_for=approval.pk)
    approval.subject_id = run.pk
    approval.save()
    url = reverse("admin:live_decide", args=[session.pk])
    assert console.post(url, {"approval": str(approval.pk), "approved": "1"}).status_code == 200
    approval.refresh_from_db()
    assert (approval.status, approval.decided_by_id) == ("approved", operator.pk)
    again = console.post(url, {"approval": str(approval.pk), "approved": "0"})
    assert again.status_code == 409
    assert again.json()["error"]
