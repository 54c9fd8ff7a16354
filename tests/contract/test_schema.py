"""Our own OpenAPI documents against our own answers: random requests may be refused, never break."""

from __future__ import annotations

from unittest import mock

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import Client, override_settings
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from apps.surfaces import polpo
from tests.walls.treasure import bury, spelled

pytestmark = pytest.mark.django_db

ENVELOPE = {"error", "code", "request_id"}
# Served on the loop, or a body that is no JSON: not for this client.
STREAMED = "/(events|ws|files/upload|chat/completions)$"
PROJECT = "/projects/{project_id}"  # the routes below it stand without it, too: the same views


EXAMPLES = 5  # an operation; the long runs of a release use more

wsgi = get_wsgi_application()


def document(surface):
    return Client().get(f"/docs/{surface}/openapi.json").json()


schema = schemathesis.openapi.from_dict(document("polymux"))
schema.app = wsgi
boards = schemathesis.openapi.from_dict(document("polpo"))
boards = boards.include(path_regex="^/api/v1/(projects|health)").exclude(path_regex=STREAMED)
boards.app = wsgi


@pytest.fixture
def kept_connection():
    """The application gives its connection back after each request; here it is the test's own."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.fixture
def treasure(aurora, recording_queue):
    return bury(aurora)


def validate(case, response, envelope):
    """A success is as documented; a refusal is the surface's own; nothing is a crash."""
    case.validate_response(response, checks=[not_a_server_error])
    if response.status_code < 400:
        checks = [status_code_conformance, content_type_conformance, response_schema_conformance]
        case.validate_response(response, checks=checks)
    else:
        assert set(response.json()) >= envelope, response.text


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_no_request_breaks_the_polymux_surface(case, aurora, treasure, kept_connection):
    with override_settings(RATE_READ_PER_MIN=10**6, RATE_WRITE_PER_MIN=10**6):
        # Ids of things that are there: what made-up ones answer is the business of tests/walls.
        case.path_parameters = {kind: spelled(kind, treasure) for kind in case.path_parameters}
        case.headers["Authorization"] = f"Bearer {aurora.ada_star_token}"
        validate(case, case.call(), ENVELOPE)


@boards.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_no_request_breaks_the_polpo_surface(case, aurora, treasure, kept_connection):
    with mock.patch.object(polpo, "PER_MINUTE", 10**6):
        case.path_parameters = {kind: spelled(kind, treasure) for kind in case.path_parameters}
        case.headers["X-API-Key"] = aurora.ada_star_token
        validate(case, case.call(), {"ok", "error", "code"})


@pytest.mark.parametrize("surface", ["polymux", "polpo", "openai"])
def test_the_document_names_every_operation_once(surface):
    found = [
        operation["operationId"]
        for methods in document(surface)["paths"].values()
        for operation in methods.values()
        if isinstance(operation, dict)
    ]
    assert len(found) == len(set(found)) > 0


def told(operation, *, but):
    said = {key: value for key, value in operation.items() if key not in {"operationId", "summary"}}
    said["parameters"] = [p for p in said.get("parameters", []) if p["name"] != but]
    return said


def test_what_random_requests_leave_out_is_what_they_have_asked_under_another_path():
    """Why only one of the polpo surface's two layouts is walked above."""
    paths = document("polpo")["paths"]
    twins = {path: path.replace(PROJECT, "") for path in paths if PROJECT in path}
    assert set(twins.values()) | set(twins) | {"/api/v1/health", "/api/v1/projects"} == set(paths)
    for path, twin in twins.items():
        for method, operation in paths[path].items():
            scoped = told(operation, but="project_id")
            assert scoped == told(paths[twin][method], but=""), (method, path)
