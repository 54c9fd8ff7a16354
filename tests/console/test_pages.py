"""Every list and every page of the console."""

from __future__ import annotations

import re

import pytest
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.urls import reverse

from apps.accounts.models import User
from apps.console.csp import HEADER
from apps.console.readonly import ReadOnlyAdmin
from apps.core.ids import session_wire_id, wire_id
from apps.workspaces.models import Workspace

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
READ_ONLY = [model for model in MODELS if isinstance(admin.site._registry[model], ReadOnlyAdmin)]
EDITABLE = {
    "PeriodicTask",
    "IntervalSchedule",
    "CrontabSchedule",
    "SolarSchedule",
    "ClockedSchedule",
    "Group",
}
EXTERNAL = re.compile(r"""(?:src|href|action)=["'](?:https?:)?//""")
INLINE_SCRIPT = re.compile(
    r"<script(?![^>]*\bsrc=)|\son[a-z]+=|href=[\"']javascript:", re.IGNORECASE
)


def named(model, page):
    return f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}"


@pytest.fixture
def full_world(world):
    world.one_of_everything()
    Group.objects.create(name="Watchers")
    return world


def test_settings_carry_the_console():
    assert settings.UNFOLD["DASHBOARD_CALLBACK"] == "apps.console.dashboard.add_dashboard"
    assert "apps.console.csp.ContentSecurityPolicy" in settings.MIDDLEWARE


def test_only_the_platforms_own_settings_are_editable():
    assert {model.__name__ for model in MODELS} - {
        model.__name__ for model in READ_ONLY
    } == EDITABLE


def test_every_list_and_page_opens(console, full_world):
    for model in MODELS:
        row = model._default_manager.first()
        urls = reverse(named(model, "changelist")), reverse(named(model, "change"), args=[row.pk])
        for answer in map(console.get, urls):
            assert answer.status_code == 200, model
            assert not EXTERNAL.search(answer.text), model
            assert not INLINE_SCRIPT.search(answer.text), model
            assert "'unsafe-inline'" not in _directive(answer, "script-src"), model


def test_read_only_pages_refuse_every_change(console, full_world):
    for model in READ_ONLY:
        row = model._default_manager.first()
        page = reverse(named(model, "change"), args=[row.pk])
        delete = reverse(named(model, "delete"), args=[row.pk])
        assert console.post(page, {}).status_code == 403, model
        assert console.get(reverse(named(model, "add"))).status_code == 403, model
        assert console.post(delete, {"post": "yes"}).status_code == 403, model
        assert model._default_manager.filter(pk=row.pk).exists(), model


def test_every_list_can_be_searched(console, full_world):
    for model in READ_ONLY:
        for term in ("nothing like it", "run_" + "a" * 21, "01a201ab-6e26-7321-962a-d9046b02e543"):
            answer = console.get(reverse(named(model, "changelist")), {"q": term})
            assert answer.status_code == 200, (model, term)


def test_a_row_is_found_by_both_spellings_of_its_id(console, world):
    session = world.session(title="The one")
    world.session(title="Another")
    for spelling in (str(session.pk), session_wire_id(session.workspace_id, session.pk)):
        page = console.get(reverse("admin:conversations_session_changelist"), {"q": spelling}).text
        assert "The one" in page
        assert "Another" not in page


def test_a_workspace_is_found_by_wire_id_and_slug(console, world):
    Workspace.objects.create(name="Elsewhere", slug="elsewhere")
    for term in (wire_id("ws", world.workspace.pk), world.workspace.slug):
        page = console.get(reverse("admin:workspaces_workspace_changelist"), {"q": term}).text
        assert "Aurora" in page
        assert "Elsewhere" not in page


def test_the_palette_finds_a_session_by_its_case_sensitive_id(console, world):
    session = world.session(title="The one")
    term = session_wire_id(session.workspace_id, session.pk)
    page = console.get(reverse("admin:search"), {"s": term, "extended": "1"}).text
    assert "The one" in page


def test_secrets_are_on_no_page(console, full_world):
    token = full_world.token()
    pages = [
        console.get(reverse(f"admin:{name}_changelist")).text
        for name in (
            "workspaces_apitoken",
            "workspaces_secret",
            "formations_mcpserver",
            "formations_usercredential",
        )
    ]
    pages.append(console.get(reverse("admin:workspaces_apitoken_change", args=[token.pk])).text)
    for name, model in (
        ("workspaces_secret", "Secret"),
        ("formations_mcpserver", "McpServer"),
        ("formations_formationversion", "FormationVersion"),
        ("formations_usercredential", "UserCredential"),
    ):
        row = next(m for m in MODELS if m.__name__ == model)._default_manager.first()
        pages.append(console.get(reverse(f"admin:{name}_change", args=[row.pk])).text)
    for page in pages:
        assert "hunter2" not in page
        assert "sealed-bytes" not in page
        assert bytes(token.digest).hex() not in page


def test_what_an_agent_wrote_is_shown_as_text(console, world):
    step = world.step(world.run())
    page = console.get(reverse("admin:runs_step_change", args=[step.pk])).text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert(1)" not in page


def test_a_workspace_leads_to_its_runs_and_a_run_to_its_events(console, world):
    run = world.run(world.session())
    world.event(1, run)
    page = console.get(reverse("admin:workspaces_workspace_change", args=[world.workspace.pk])).text
    runs = f"{reverse('admin:runs_run_changelist')}?workspace__id__exact={world.workspace.pk}"
    assert runs in page
    assert wire_id("run", run.pk) in console.get(runs).text
    detail = console.get(reverse("admin:runs_run_change", args=[run.pk])).text
    events = f"{reverse('admin:events_event_changelist')}?run_id__exact={run.pk}"
    assert events in detail
    assert "run.ended" in console.get(events).text


@pytest.mark.parametrize(
    "name",
    ["runs_run", "conversations_session", "runs_step", "events_event", "workspaces_apitoken"],
)
def test_a_list_asks_as_much_for_fifty_rows_as_for_one(
    console, world, name, django_assert_num_queries, django_assert_max_num_queries
):
    _add(world, 1, start=1)
    url = reverse(f"admin:{name}_changelist")
    console.get(url)
    with django_assert_max_num_queries(12) as few:
        console.get(url)
    _add(world, 49, start=2)
    with django_assert_num_queries(len(few.captured_queries)):
        console.get(url)


def test_a_workspaces_page_asks_each_count_once(console, world, django_assert_max_num_queries):
    url = reverse("admin:workspaces_workspace_change", args=[world.workspace.pk])
    console.get(url)
    with django_assert_max_num_queries(18):
        console.get(url)


def _add(world, count, *, start):
    for number in range(start, start + count):
        run = world.run(world.session())
        world.step(run)
        world.event(number, run)
        world.token()


def test_a_stranger_is_sent_to_the_login(client, db):
    answer = client.get(reverse("admin:index"))
    assert answer.status_code == 302
    assert answer["Location"].startswith(reverse("admin:login"))


def test_a_user_who_is_not_staff_is_refused(client, aurora):
    client.force_login(aurora.ada_user)
    assert client.get(reverse("admin:runs_run_changelist")).status_code == 302


def test_staff_see_only_what_they_were_granted(client, full_world):
    watcher = User.objects.create_user("wanda@example.org", "x" * 12, is_staff=True)
    watcher.user_permissions.add(Permission.objects.get(codename="view_run"))
    client.force_login(watcher)
    assert client.get(reverse("admin:runs_run_changelist")).status_code == 200
    assert client.get(reverse("admin:conversations_session_changelist")).status_code == 403
    page = client.get(reverse("admin:runs_run_changelist")).text
    assert reverse("admin:conversations_session_changelist") not in page
    run = full_world.run()
    assert client.get(reverse("admin:runs_run_cancel", args=[run.pk])).status_code == 403


@pytest.mark.parametrize("email", ["olga@example.org", "OLGA@example.org"])
def test_operators_log_in_with_their_email(client, operator, email):
    from tests.console.conftest import PASSWORD

    form = {"username": email, "password": PASSWORD, "next": "/admin/"}
    answer = client.post(reverse("admin:login"), form)
    assert answer.status_code == 302
    assert client.get(reverse("admin:index")).status_code == 200


def test_html_pages_carry_a_policy_and_nothing_else_does(console, world):
    page = console.get(reverse("admin:index"))
    assert "frame-ancestors 'none'" in page[HEADER]
    assert "'unsafe-inline'" not in _directive(page, "script-src")
    assert page["X-Content-Type-Options"] == "nosniff"
    script = console.get(reverse("admin:jsi18n"))
    assert HEADER not in script


def _directive(answer, name):
    rules = dict(rule.strip().split(" ", 1) for rule in answer[HEADER].split(";"))
    return rules[name]
