"""Whole answers of every surface, byte by byte, for what can go wrong at the door."""

from __future__ import annotations

import json
import re

import pytest

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.surfaces.probe")]

NAMES = ("polymux", "muxi-server", "muxi-formation", "polpo", "molecule", "polyant", "openai")


def polymux(code, words, **more):
    return {"error": words, "code": code, "request_id": "req_X", **more}


def rpc(code, name, words):
    return {"success": False, "error": name, "message": words, "code": code}


def formation(family, code, words):
    return {
        "object": "error",
        "timestamp": 0,
        "type": f"error.{family}",
        "request": {"id": "req_X", "idempotency_key": None},
        "success": False,
        "error": {"code": code, "message": words, "data": {}},
        "data": {},
    }


def polpo(code, words):
    return {"ok": False, "error": words, "code": code}


def nest(status, phrase, words):
    return {"message": words, "error": phrase, "statusCode": status}


def openai(code, words, family="invalid_request_error"):
    return {"error": {"message": words, "type": family, "param": None, "code": code}}


BAD_TIME = "Send Authorization: MUXI-HMAC key=…, timestamp=…, signature=…"
BAD_KEY = {
    "polymux": (401, polymux("token_invalid", "The credential is not valid.")),
    "muxi-server": (401, rpc(401, "Unauthorized", BAD_TIME)),
    "muxi-formation": (
        401,
        formation("authentication", "UNAUTHORIZED", "The credential is not valid."),
    ),
    "polpo": (401, polpo("AUTH_REQUIRED", "Invalid API key")),
    "molecule": (401, {"error": "invalid workspace auth token"}),
    "polyant": (401, nest(401, "Unauthorized", "Invalid or expired session")),
    "openai": (401, openai("invalid_api_key", "Incorrect API key provided.")),
}
NO_KEY = {
    "polymux": (401, polymux("token_missing", "Send a credential.")),
    "muxi-server": (401, rpc(401, "Unauthorized", "Missing Authorization header.")),
    "muxi-formation": (
        401,
        formation(
            "authentication",
            "UNAUTHORIZED",
            "Missing or invalid X-MUXI-ADMIN-KEY or X-MUXI-CLIENT-KEY.",
        ),
    ),
    "polpo": (401, polpo("AUTH_REQUIRED", "Missing API key")),
    "molecule": (401, {"error": "missing workspace auth token"}),
    "polyant": (401, nest(401, "Unauthorized", "Missing authentication")),
    "openai": (
        401,
        openai(
            "invalid_api_key",
            "You didn't provide an API key. Send Authorization: Bearer YOUR_KEY.",
        ),
    ),
}
MALFORMED_WORDS = "The body is not valid JSON at line 1 column 10."
MALFORMED = {
    "polymux": (400, polymux("invalid_request", MALFORMED_WORDS)),
    "muxi-server": (400, rpc(400, "ValidationError", MALFORMED_WORDS)),
    "muxi-formation": (400, formation("validation", "INVALID_REQUEST", MALFORMED_WORDS)),
    "polpo": (400, polpo("VALIDATION_ERROR", MALFORMED_WORDS)),
    "molecule": (400, {"error": MALFORMED_WORDS}),
    "polyant": (400, nest(400, "Bad Request", MALFORMED_WORDS)),
    "openai": (400, openai(None, MALFORMED_WORDS)),
}
CRASH = {
    "polymux": (500, polymux("internal", "Something went wrong.")),
    "muxi-server": (500, rpc(500, "InternalError", "Something went wrong.")),
    "muxi-formation": (500, formation("internal", "INTERNAL_ERROR", "Something went wrong.")),
    "polpo": (500, polpo("INTERNAL_ERROR", "Something went wrong.")),
    "molecule": (500, {"error": "internal server error"}),
    "polyant": (500, {"statusCode": 500, "message": "Internal server error"}),
    "openai": (500, openai("internal_error", "Something went wrong.", "server_error")),
}
WRONG_METHOD = {
    "polymux": (405, polymux("method_not_allowed", "This method is not allowed here.")),
    "muxi-server": (405, rpc(405, "MethodNotAllowed", "This method is not allowed here.")),
    "muxi-formation": (
        405,
        formation("validation", "METHOD_NOT_ALLOWED", "This method is not allowed here."),
    ),
    "polpo": (404, polpo("NOT_FOUND", "This method is not allowed here.")),
    "molecule": (404, "404 page not found"),
    "polyant": (404, nest(404, "Not Found", "Cannot DELETE /api/instances/aurora/probes")),
    "openai": (405, openai("method_not_supported", "This method is not allowed here.")),
}
CONFLICT = {
    "polymux": (409, polymux("conflict", "This name is taken.")),
    "muxi-server": (409, rpc(409, "ValidationError", "This name is taken.")),
    "muxi-formation": (409, formation("validation", "DUPLICATE_RESOURCE", "This name is taken.")),
    "polpo": (409, polpo("CONFLICT", "This name is taken.")),
    "molecule": (409, {"error": "This name is taken."}),
    "polyant": (409, nest(409, "Conflict", "This name is taken.")),
    "openai": (409, openai("conflict", "This name is taken.")),
}


def settled(response):
    """(status, body) with what changes from call to call made the same."""
    text = re.sub(r"req_[0-9A-Za-z]+", "req_X", response.content.decode())
    text = re.sub(r'"timestamp":\d+', '"timestamp":0', text)
    if response["Content-Type"].startswith("application/json"):
        return response.status_code, json.loads(text)
    return response.status_code, text


@pytest.mark.parametrize("name", NAMES)
def test_a_request_without_a_credential_is_refused(knock, sides, name):
    assert settled(knock.get(sides[name].path)) == NO_KEY[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_credential_of_nobody_is_refused(knock, sides, name):
    assert settled(knock.get(sides[name].path, headers=sides[name].bad)) == BAD_KEY[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_good_credential_opens(knock, sides, name):
    side = sides[name]
    response = knock.get(side.path, headers=side.good("GET"))
    whole = "100" if name == "molecule" else "100.0"
    mark = r"\u003c\u0026\u003e" if name == "molecule" else "<&>"
    assert response.status_code == 200
    assert response.content.decode() == f'{{"name":"probe","share":{whole},"mark":"{mark}"}}'
    assert response["Cache-Control"] == "no-store"


def post(knock, side, body, **more):
    return knock.post(side.path, body, "application/json", headers=side.good("POST"), **more)


@pytest.mark.parametrize("name", NAMES)
def test_malformed_json_is_told_apart(knock, sides, name):
    assert settled(post(knock, sides[name], b'{"name": }')) == MALFORMED[name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "body",
    [
        b'{"name": "\xff\xfe"}',
        b'{"name": "a\\u0000b"}',
        b'{"a\\u0000b": 1}',
        b'{"name": "\\ud800"}',
        b'{"name": NaN}',
        b'{"name": ' + b"9" * 5000 + b"}",
        b"[" * 5000,
        b"[" * 150 + b"]" * 150,
        b'{"unknown": 1, "name": "x"}',
        b'["name"]',
    ],
)
def test_hostile_bodies_are_the_clients_fault(knock, sides, name, body):
    response = post(knock, sides[name], body)
    assert response.status_code in {400, 422}, response.content
    assert json.loads(response.content)


@pytest.mark.parametrize("name", NAMES)
def test_a_body_over_the_cap_is_refused(knock, sides, name, settings):
    settings.MAX_BODY_BYTES = settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 2048
    response = post(knock, sides[name], b'{"name": "' + b"x" * 4000 + b'"}')
    assert response.status_code == 413, response.content
    assert json.loads(response.content)


@pytest.mark.parametrize("name", NAMES)
def test_a_crash_is_internal_and_its_reason_stays_in_the_log(knock, sides, name, caplog):
    response = post(knock, sides[name], b'{"name": "crash"}')
    assert settled(response) == CRASH[name]
    assert "the secret reason" in caplog.text
    assert b"secret reason" not in response.content


@pytest.mark.parametrize("name", NAMES)
def test_a_domain_error_speaks_the_language_of_the_surface(knock, sides, name):
    assert settled(post(knock, sides[name], b'{"name": "taken"}')) == CONFLICT[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_method_is_told(knock, sides, name):
    side = sides[name]
    assert settled(knock.delete(side.path, headers=side.good("DELETE"))) == WRONG_METHOD[name]


@pytest.mark.parametrize("name", NAMES)
def test_nul_in_the_query_is_the_clients_fault(knock, sides, name):
    side = sides[name]
    headers = side.good("GET")
    assert knock.get(side.path + "?status=a%00b", headers=headers).status_code == 400


UNKNOWN = {
    "/nowhere": (404, polymux("not_found", "There is no such route.")),
    "/me/nowhere": (401, polymux("token_missing", "Send a credential.")),
    "/rpc/nowhere": (401, rpc(401, "Unauthorized", "Missing Authorization header.")),
    "/ping/nowhere": (404, rpc(404, "NotFound", "There is no such route.")),
    "/v1/nowhere": (404, formation("not_found", "RESOURCE_NOT_FOUND", "There is no such route.")),
    "/api/team/v1/nowhere": (
        404,
        formation("not_found", "RESOURCE_NOT_FOUND", "There is no such route."),
    ),
    "/api/v1/nowhere": (401, polpo("AUTH_REQUIRED", "Missing API key")),
    "/bundles/nowhere": (404, "404 page not found"),
    "/api/instances/a/nowhere": (
        404,
        nest(404, "Not Found", "Cannot GET /api/instances/a/nowhere"),
    ),
    "/v1/models/a/b": (404, openai("not_found", "Invalid URL (GET /v1/models/a/b)")),
}


@pytest.mark.parametrize("path", UNKNOWN)
def test_an_unknown_path_answers_in_its_surface(knock, path):
    assert settled(knock.get(path)) == UNKNOWN[path]


def test_a_refused_host_answers_in_its_surface(knock):
    response = knock.get("/v1/models", headers={"Host": "evil.example"})
    assert settled(response) == (400, openai(None, "Bad request."))
