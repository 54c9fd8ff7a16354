"""The golden files: each operation has one, and the comparison can fail."""

from __future__ import annotations

import pytest

from tests.contract.golden import Matcher, Mismatch, operations

# The operations of this stage (contract/routes.tsv). A later stage adds its own.
REQUIRED = [
    "GET /me",
    "GET /tokens",
    "POST /tokens",
    "DELETE /tokens/{token_id}",
    "GET /tokens/{token_id}/usage",
    "GET /sessions",
    "POST /sessions",
    "GET /sessions/{session_id}",
    "PATCH /sessions/{session_id}",
    "DELETE /sessions/{session_id}",
    "POST /sessions/{session_id}/end",
    "POST /sessions/{session_id}/pause",
    "POST /sessions/{session_id}/resume",
    "GET /sessions/{session_id}/messages",
    "POST /sessions/{session_id}/messages",
    "POST /sessions/{session_id}/files",
    "GET /sessions/{session_id}/files",
    "DELETE /sessions/{session_id}/files/{file_id}",
    "GET /workspaces",
    "POST /workspaces",
    "GET /workspaces/{workspace_id}",
    "PATCH /workspaces/{workspace_id}",
    "DELETE /workspaces/{workspace_id}",
    "GET /workspaces/{workspace_id}/sessions",
    "POST /workspaces/{workspace_id}/sessions",
    "WS /session/{session_id}/",
    "GET /api/v1/projects/{project_id}/agents",
    "POST /api/v1/projects/{project_id}/agents",
    "DELETE /api/v1/projects/{project_id}/agents/{name}",
    "GET /api/v1/projects/{project_id}/agents/team",
    "PATCH /api/v1/projects/{project_id}/agents/team",
    "GET /api/v1/projects/{project_id}/agents/processes",
    "POST /v1/chat/completions",
    "GET /v1/models",
    "GET /api/v1/health",
    "GET /api/v1/projects/{project_id}/logs",
    "GET /api/v1/projects/{project_id}/logs/{log_id}",
    "GET /api/v1/projects/{project_id}/events",
    "WS /api/v1/projects/{project_id}/ws",
    "GET /api/v1/projects/{project_id}/files/list",
    "GET /api/v1/projects/{project_id}/files/read",
    "GET /api/v1/projects/{project_id}/files/preview",
    "GET /api/v1/files/roots",
    "GET /api/v1/files/search",
    "POST /api/v1/files/upload",
    "POST /api/v1/files/mkdir",
    "POST /api/v1/files/rename",
    "POST /api/v1/files/delete",
    "GET /chat/sessions",
    "GET /chat/sessions/{id}/messages",
    "PATCH /chat/sessions/{id}",
    "DELETE /chat/sessions/{id}",
    "POST /chat/sessions/import",
    "GET /memory",
    "PUT /memory",
    "GET /memory/agent/{name}",
    "PUT /memory/agent/{name}",
    "GET /api/v1/projects",
    "GET /api/v1/projects/{project_id}/state",
    "GET /api/v1/projects/{project_id}/config",
    "GET /api/v1/projects/{project_id}/tasks",
    "POST /api/v1/projects/{project_id}/tasks",
    "DELETE /api/v1/projects/{project_id}/tasks",
    "GET /api/v1/projects/{project_id}/tasks/{task_id}",
    "PATCH /api/v1/projects/{project_id}/tasks/{task_id}",
    "DELETE /api/v1/projects/{project_id}/tasks/{task_id}",
    "POST /api/v1/projects/{project_id}/tasks/{task_id}/retry",
    "POST /api/v1/projects/{project_id}/tasks/{task_id}/kill",
    "POST /api/v1/projects/{project_id}/tasks/{task_id}/reassess",
    "POST /api/v1/projects/{project_id}/tasks/{task_id}/queue",
    "POST /api/v1/projects/{project_id}/tasks/{task_id}/force-fail",
    "GET /api/v1/projects/{project_id}/missions",
    "POST /api/v1/projects/{project_id}/missions",
    "GET /api/v1/projects/{project_id}/missions/resumable",
    "GET /api/v1/projects/{project_id}/missions/checkpoints",
    "GET /api/v1/projects/{project_id}/missions/delays",
    "GET /api/v1/projects/{project_id}/missions/{mission_id}",
    "PATCH /api/v1/projects/{project_id}/missions/{mission_id}",
    "DELETE /api/v1/projects/{project_id}/missions/{mission_id}",
    "POST /api/v1/projects/{project_id}/missions/{mission_id}/execute",
    "POST /api/v1/projects/{project_id}/missions/{mission_id}/resume",
    "POST /api/v1/projects/{project_id}/missions/{mission_id}/abort",
    "POST /api/v1/projects/{project_id}/missions/{mission_id}/checkpoints/{name}/resume",
    "POST /api/v1/projects/{project_id}/missions/{mission_id}/tasks",
    "PATCH /api/v1/projects/{project_id}/missions/{mission_id}/tasks/{title}",
    "DELETE /api/v1/projects/{project_id}/missions/{mission_id}/tasks/{title}",
    "PUT /api/v1/projects/{project_id}/missions/{mission_id}/tasks/reorder",
    "PUT /api/v1/projects/{project_id}/missions/{mission_id}/notifications",
    "GET /api/v1/projects/{project_id}/schedules",
    "POST /api/v1/projects/{project_id}/schedules",
    "PATCH /api/v1/projects/{project_id}/schedules/{mission_id}",
    "DELETE /api/v1/projects/{project_id}/schedules/{mission_id}",
    "GET /api/v1/projects/{project_id}/approvals",
    "GET /api/v1/projects/{project_id}/approvals/{approval_id}",
    "POST /api/v1/projects/{project_id}/approvals/{approval_id}/approve",
    "POST /api/v1/projects/{project_id}/approvals/{approval_id}/reject",
    "POST /rpc/formations",
    "GET /rpc/formations",
    "GET /rpc/formations/{formation_id}",
    "PUT /rpc/formations/{formation_id}",
    "DELETE /rpc/formations/{formation_id}",
    "POST /rpc/formations/{formation_id}/start",
    "POST /rpc/formations/{formation_id}/stop",
    "POST /rpc/formations/{formation_id}/restart",
    "POST /rpc/formations/{formation_id}/rollback",
    "POST /rpc/formations/{formation_id}/cancel-update",
    "GET /rpc/formations/{formation_id}/logs",
    "GET /rpc/formations/{formation_id}/download",
    "POST /rpc/formations/{formation_id}/deploy",
    "POST /rpc/formations/{formation_id}/update",
    "GET /rpc/server/status",
    "GET /rpc/server/logs",
    "GET /ping",
    "GET /health",
]


@pytest.mark.parametrize("operation", REQUIRED)
def test_the_operation_has_a_golden_file(operation):
    assert operations().get(operation), (
        "write one by hand from the contract: tests/contract/golden/"
    )


@pytest.mark.parametrize(
    ("golden", "found"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, {}),
        ({"a": 1}, {"a": True}),
        ({"a": None}, {"a": ""}),
        ([1, 2], [2, 1]),
        ("<time>", "2026-05-21T10:00:00Z"),
        ("<ses:1>", "ses_only"),
        (["<ws:1>", "<ws:1>"], ["ws_A", "ws_B"]),
        ("<number>", "1"),
    ],
)
def test_a_difference_is_seen(golden, found):
    with pytest.raises(Mismatch):
        Matcher().match(golden, found)


def test_placeholders_match_their_kind_inside_text():
    golden = {"id": "<ses:1>", "url": "ws://h/session/<ses:1>/", "at": "<time>", "n": "<number>"}
    found = {
        "id": "ses_1a_2b",
        "url": "ws://h/session/ses_1a_2b/",
        "at": "2026-05-21T10:00:00.123Z",
        "n": 3,
    }
    Matcher().match(golden, found)
