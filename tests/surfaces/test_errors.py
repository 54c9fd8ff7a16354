"""Every domain error, on every surface, has a status, words and a body of the right shape."""

from __future__ import annotations

import importlib
import json
import pkgutil

import pytest

import apps
from apps.core.errors import DomainError, Kind
from apps.surfaces import molecule, muxi_formation, muxi_server, openai, polpo, polyant, polymux

SURFACES = [
    module.SURFACE
    for module in (polymux, muxi_server, muxi_formation, polpo, molecule, polyant, openai)
]
SHAPES = {
    "polymux": {"error", "code", "request_id"},
    "muxi-server": {"success", "error", "message", "code"},
    "muxi-formation": {"object", "timestamp", "type", "request", "success", "error", "data"},
    "polpo": {"ok", "error", "code"},
    "molecule": {"error"},
    "polyant": {"statusCode", "message"},
    "openai": {"error"},
}


def load_every_error() -> None:
    for found in pkgutil.walk_packages(apps.__path__, "apps."):
        if found.name.endswith((".errors", ".net", ".paths")):
            importlib.import_module(found.name)


def every_error() -> list[type[DomainError]]:
    load_every_error()
    waiting, found = [DomainError], []
    while waiting:
        waiting += (here := waiting.pop()).__subclasses__()
        if here.__module__.startswith("apps."):
            found.append(here)
    return sorted(set(found), key=lambda error: (error.__module__, error.__name__))


def told(surface, error):
    return surface.answer_error(error, request_id="req_1", path="/x", method="GET")


@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: surface.name)
def test_every_domain_error_has_a_translation(surface):
    errors = every_error()
    assert len(errors) > 25
    for kind_of in errors:
        reply = told(surface, kind_of())
        assert 400 <= reply.status <= 599, kind_of
        if reply.headers["Content-Type"] != "application/json":
            assert surface.name == "molecule"
            continue
        assert set(json.loads(reply.body)) >= SHAPES[surface.name], kind_of


@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: surface.name)
def test_every_kind_is_in_the_surfaces_table(surface):
    assert set(surface.statuses) == set(Kind)


@pytest.mark.parametrize(
    "table", [muxi_server.TYPES, muxi_formation.CODES, polpo.CODES, openai.TYPES], ids=range(4)
)
def test_every_kind_has_its_name(table):
    assert set(table) == set(Kind)


@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: surface.name)
def test_an_unexpected_exception_says_nothing(surface, caplog):
    seen = surface_credentials()
    reply = surface.answer(ValueError("SELECT secret FROM vault"), seen)
    assert reply.status == 500
    assert b"secret" not in reply.body
    assert "SELECT secret FROM vault" in caplog.text


def surface_credentials():
    from apps.surfaces.kit import from_scope

    return from_scope({"type": "http", "method": "GET", "path": "/x", "headers": []})


def test_a_database_out_of_reach_is_unavailable():
    from django.db import OperationalError

    reply = polymux.SURFACE.answer(OperationalError("no route"), surface_credentials())
    assert reply.status == 503
    assert reply.headers["Retry-After"] == "2"


def test_polymux_lifts_the_keys_that_clients_look_for():
    from apps.core.errors import Conflict

    body = json.loads(told(polymux.SURFACE, Conflict(current_version=7)).body)
    assert body["current_version"] == 7
    assert body["details"] == {"current_version": 7}


def test_a_formations_validation_error_lists_its_fields():
    from rest_framework import serializers

    from apps.surfaces.parsing import StrictSerializer, refused

    class Body(StrictSerializer):
        message = serializers.CharField()

    form = Body(data={})
    assert not form.is_valid()
    reply = told(muxi_formation.SURFACE, refused(form.errors))
    error = json.loads(reply.body)["error"]
    assert reply.status == 422
    assert error["code"] == "VALIDATION_ERROR"
    assert error["data"]["validation_errors"] == [
        {"field": "message", "msg": "This field is required.", "type": "string", "error": "missing"}
    ]
