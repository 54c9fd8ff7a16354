"""Whose path it is, and the documents under /docs/."""

from __future__ import annotations

import re

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command
from drf_spectacular.validation import validate_schema

from apps.surfaces import openapi
from apps.surfaces.parsing import StrictSerializer
from apps.surfaces.prefixes import surface_of
from apps.workspaces.services.workspaces import RESERVED_SLUGS

OWNERS = {
    "/me": "polymux",
    "/workspaces": "polymux",
    "/workspaces/ws_1/workflows": "polymux",
    "/workspaces/ws_1/tokens": "molecule",
    "/workspaces/ws_1/schedules/1/run": "molecule",
    "/workspaces/ws_1/channels": "molecule",
    "/workspaces/ws_1/plugins/available": "molecule",
    "/workspaces/ws_1/approvals": "molecule",
    "/workspaces/ws_1/tokensx": "polymux",
    "/session/ses_1_2/": "polymux",
    "/mcp": "polymux",
    "/mcp/team/x": "muxi-formation",
    "/rpc/formations": "muxi-server",
    "/ping": "muxi-server",
    "/health": "muxi-server",
    "/v1/chat": "muxi-formation",
    "/v1/chat/completions": "openai",
    "/v1/models": "openai",
    "/v1/modelsx": "muxi-formation",
    "/api": "muxi-server",
    "/api/my-team/v1/chat": "muxi-formation",
    "/draft/my-team/v1/chat": "muxi-formation",
    "/api/v1/tasks": "polpo",
    "/api/v1/projects/x/tasks": "polpo",
    "/api/instances/acme": "polyant",
    "/api/instancesx/v1/chat": "muxi-formation",
    "/memories": "polyant",
    "/webhooks/telegram": "molecule",
    "/webhooks/" + "ab" * 32: "polyant",
    "/webhooks/twilio/acme/whatsapp": "polyant",
    "/bundles/import": "molecule",
    "/admin/workspaces/1/tokens": "molecule",
    "/nothing": "polymux",
    "/": "polymux",
}


@pytest.mark.parametrize("path", OWNERS)
def test_every_path_has_one_owner(path):
    assert surface_of(path, "GET").name == OWNERS[path]


@pytest.mark.parametrize("segment", RESERVED_SLUGS)
def test_no_formation_takes_a_reserved_segment(segment):
    assert surface_of(f"/api/{segment}/x").name in {"polpo", "polyant"}


def test_the_index_names_every_surface(knock):
    response = knock.get("/docs/")
    assert response.status_code == 200
    for book in openapi.BOOKS:
        assert f"/docs/{book.slug}/" in response.content.decode()
    assert "'unsafe-inline'" not in response["Content-Security-Policy"]


def links_of(page):
    return re.findall(r'(?:src|href)="([^"]+)"', page)


@pytest.mark.parametrize("path", ["/docs/", "/docs/polymux/"])
def test_the_pages_ask_no_other_host_and_run_no_inline_script(knock, path):
    page = knock.get(path).content.decode()
    assert links_of(page)
    for link in links_of(page):
        assert link.startswith(("/", "data:,")), link
        if link.startswith("/static/"):
            assert finders.find(link.removeprefix("/static/")), link
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert "style=" not in page


@pytest.mark.django_db
@pytest.mark.parametrize("book", openapi.BOOKS, ids=lambda book: book.slug)
def test_every_surface_has_a_valid_document_and_a_reader(knock, book):
    document = knock.get(f"/docs/{book.slug}/openapi.json").json()
    validate_schema(document)
    assert document["info"]["title"].startswith(book.title)
    assert set(document["components"]["securitySchemes"]) == set(book.schemes)
    reader = knock.get(f"/docs/{book.slug}/")
    assert f"/docs/{book.slug}/openapi.json" in reader.content.decode()
    assert "script-src 'self';" in reader["Content-Security-Policy"]


def test_routes_served_on_the_loop_are_in_the_documents():
    for slug, paths in openapi.EXTRA_PATHS.items():
        assert set(paths) <= set(openapi.document(slug)["paths"])


def test_the_documents_are_made_without_warnings(capsys):
    call_command("openapi", check=True)
    assert "polymux: " in capsys.readouterr().err


def test_a_document_can_be_written_to_a_folder(tmp_path):
    call_command("openapi", surface="polymux", out=tmp_path)
    assert '"/me"' in (tmp_path / "polymux.json").read_text()


def test_an_unknown_document_is_not_found(knock):
    assert knock.get("/docs/nothing/").status_code == 404
    assert knock.get("/docs/nothing/openapi.json").json()["code"] == "not_found"


def test_the_root_leads_to_the_documents(knock):
    assert knock.get("/")["Location"] == "/docs/"


def test_a_lenient_serializer_ignores_what_it_does_not_know():
    from rest_framework import serializers

    class Body(StrictSerializer):
        name = serializers.CharField()

    lenient = Body.refusing_nothing()
    assert lenient.read({"name": "a", "more": 1}) == {"name": "a"}


def test_a_route_of_the_loop_tells_its_method(knock):
    response = knock.get("/v1/chat/completions")
    assert (response.status_code, response["Allow"]) == (405, "POST")
    assert response.json()["error"]["code"] == "method_not_supported"
    assert knock.post("/v1/chat/completions").status_code == 503
