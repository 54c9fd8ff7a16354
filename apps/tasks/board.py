"""A project at a glance, as the polpo surface writes it (contract/polpo.md §3.1, §5.1 and §18)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.formations.profile import team_config
from apps.formations.selectors import list_teams_with_agents
from apps.runs.selectors import list_work
from apps.runs.wire import work_json
from apps.tasks.selectors import assessments_of, counts_of, list_tasks
from apps.tasks.wire import task_json
from apps.workspaces.preferences import read_preferences
from apps.workspaces.selectors import get_workspace, list_workspaces

if TYPE_CHECKING:
    from apps.core.actor import Actor, Caller
    from apps.workspaces.preferences import Preferences

MOST_PROJECTS = 200
WORK_DIR = "."  # an agent's folder is a root of its own: no path of the host is told


def projects_json(caller: Caller) -> list[dict[str, Any]]:
    """What the key may see, newest first."""
    rows = list(list_workspaces(caller)[:MOST_PROJECTS])
    counts = counts_of(caller, [row.pk for row in rows])
    return [
        {
            "id": row.slug,
            "name": row.name,
            "workDir": WORK_DIR,
            "status": "running" if counts[row.pk].working else "idle",
            "taskCount": counts[row.pk].tasks,
            "agentCount": counts[row.pk].agents,
        }
        for row in rows
    ]


def state_json(actor: Actor) -> dict[str, Any]:
    """PolpoState under the names of all of upstream's eras."""
    workspace = get_workspace(actor)
    teams = [team_config(team, agents) for team, agents in list_teams_with_agents(actor)]
    tasks = list_tasks(actor)
    judged = assessments_of(actor, [task.pk for task in tasks if task.result])
    return {
        "org": workspace.name,
        "project": workspace.slug,
        "teams": teams,
        "team": teams[0] if teams else None,
        "tasks": [task_json(task, judged.get(task.pk, ())) for task in tasks],
        "processes": [work_json(work) for work in list_work(actor)],
    }


def config_json(actor: Actor) -> dict[str, Any]:
    """PolpoConfig. There are no secrets in it: credentials are in the vault."""
    workspace = get_workspace(actor)
    prefs = read_preferences(workspace.settings)
    teams = [team_config(team, agents) for team, agents in list_teams_with_agents(actor)]
    return {
        "version": "1",
        "org": workspace.name,
        "project": workspace.slug,
        "teams": teams,
        "tasks": [],
        "settings": _settings(prefs),
    }


def _settings(prefs: Preferences) -> dict[str, Any]:
    """Defaults filled in; what nobody has chosen and has no default is left out."""
    chosen = {
        "orchestratorModel": prefs.default_model,
        "judgeModel": prefs.judge_model,
        "maxConcurrency": prefs.max_concurrency,
        "defaultQualityThreshold": prefs.quality_threshold,
    }
    return {
        "workDir": WORK_DIR,
        "storage": "postgres",
        "logLevel": "normal",
        "maxRetries": prefs.max_retries,
        "taskTimeout": prefs.task_timeout,
        "staleThreshold": prefs.stale_threshold,
        "maxFixAttempts": prefs.max_fix_attempts,
        "maxQuestionRounds": prefs.max_question_rounds,
        "maxResolutionAttempts": prefs.max_resolution_attempts,
        "maxAssessmentRetries": 1,
        "autoCorrectExpectations": prefs.auto_correct_expectations,
        "enableVolatileTeams": True,
        "volatileCleanup": prefs.volatile_cleanup,
        "enableScheduler": True,
    } | {name: value for name, value in chosen.items() if value}
