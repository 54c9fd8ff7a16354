"""What the files of a formation may say (contract/muxi.md §6, AFS schema 1.0.0), as JSON schemas.

`words` says in a person's words what a part must be; `checking` shows them in place of the
validator's, which would repeat the value: it may be a key. Parts that are not named here are kept:
upstream lets people add what they like.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

CAPABILITIES = ("text", "vision", "audio", "video", "documents", "embedding", "streaming")
AGENT_ID = r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z"
SERVER_ID = r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,39}\Z"
# The patterns run over texts of up to a mebibyte from strangers: none may try a place twice.
_ADDRESS = r"\A(https?://[^\s/]|\$\{\{)[^\n]*\Z"
_NAMED = r"\A(?=[^\n]*\Z)\s*\S"


def _text(longest: int = 200_000, **more: Any) -> Schema:
    return {"type": "string", "maxLength": longest, **more}


def _line(longest: int = 500) -> Schema:
    words = f"must be one line of text, at most {longest} characters"
    return _text(longest, pattern=_NAMED, words=words)


def _number(**bounds: float) -> Schema:
    return {"type": "number", **bounds}


def _whole(**bounds: int) -> Schema:
    return {"type": "integer", **bounds}


def _list(items: Schema, most: int = 1_000) -> Schema:
    return {"type": "array", "items": items, "maxItems": most}


def _one_of(*names: str) -> Schema:
    return {"enum": list(names), "words": f"must be {' or '.join(names)}"}


def _map(properties: dict[str, Schema] | None = None, *required: str, **more: Any) -> Schema:
    return {"type": "object", "properties": properties or {}, "required": list(required), **more}


def _either(words: str, *schemas: Schema) -> Schema:
    return {"anyOf": list(schemas), "words": words}


_SWITCH: Schema = {"type": "boolean"}
_TEXTS = _map(additionalProperties=_text(20_000))
_URL = _text(2_000, pattern=_ADDRESS, words="must be an http or https address")
_PLAIN = _either(
    "must be text, a number, true or false", _text(), _number(), _SWITCH, {"type": "null"}
)
_SCHEMA = {"const": "1.0.0", "words": 'must be "1.0.0", in quotes'}
_PATTERNS = _either("must be a pattern or a list of patterns", _line(), _list(_line(), 500))

SETTINGS = _map(
    {
        "temperature": _number(minimum=0, maximum=1),
        "max_tokens": _whole(exclusiveMinimum=0),
        "timeout_seconds": _number(exclusiveMinimum=0),
    }
)
MODEL = _map(
    {
        **{capability: _line(200) for capability in CAPABILITIES},
        "api_key": _text(2_000),
        "settings": SETTINGS,
    }
)
LLM = _map(
    {
        "api_keys": _TEXTS,
        "settings": SETTINGS,
        "models": _list(MODEL, 100),
        "aliases": _map(
            additionalProperties=_either("must be a model or a mapping", _line(), _map())
        ),
    }
)

KNOWLEDGE_SOURCE = _map(
    {"path": _line(), "url": _line(2_000), "description": _text(2_000)},
    oneOf=[{"required": ["path"]}, {"required": ["url"]}],
    words="must have either a path or a url",
)
KNOWLEDGE = _map({"enabled": _SWITCH, "sources": _list(KNOWLEDGE_SOURCE)})

AGENT = _map(
    {
        "schema": _SCHEMA,
        "id": _text(
            100, pattern=AGENT_ID, words="must be letters, digits, dots, - and _, at most 100"
        ),
        "name": _line(200),
        "description": _text(4_000, pattern=r"\S", words="must be text"),
        "role": _text(500),
        "system_message": _text(100_000),
        "llm_models": _list(MODEL, 100),
        "llm": _either(
            "must be a mapping with models, or a list of models", LLM, _list(MODEL, 100)
        ),
        "mcp_servers": _list(_either("must be an id or a mapping", _line(), _map()), 100),
        "knowledge": KNOWLEDGE,
        "a2a": _map(),
        "active": _SWITCH,
        "specialization": _map(
            {
                "domain": _text(500),
                "keywords": _list(_line()),
                "subdomain": _text(500),
            }
        ),
        "specialties": _list(_line()),
    },
    *("id", "name", "description"),
)

_SECRET = _text(20_000, pattern=r"\S", words="must be text")
_AUTH = _map(
    {"type": _one_of("env", "bearer", "basic", "api_key")},
    "type",
    allOf=[
        {
            "if": {"properties": {"type": {"const": kind}}, "required": ["type"]},
            "then": _map(dict.fromkeys(needed, _SECRET), *needed),
        }
        for kind, needed in (
            ("bearer", ("token",)),
            ("basic", ("username", "password")),
            ("api_key", ("key",)),
        )
    ],
)
SERVER = _map(
    {
        "schema": _SCHEMA,
        "id": _text(40, pattern=SERVER_ID, words="must be letters, digits, - and _, at most 40"),
        "description": _text(4_000),
        "type": _one_of("http", "command"),
        "endpoint": _text(500, pattern=_ADDRESS, words="must be an http or https address"),
        "command": _line(1_000),
        "args": _list(_either("must be text or a number", _text(2_000), _number()), 49),
        "env": _map(additionalProperties=_PLAIN),
        "auth": _AUTH,
        "timeout_seconds": _number(exclusiveMinimum=0, maximum=3_600),
        "retry_attempts": _whole(minimum=0, maximum=10),
        "connection_ttl": _number(minimum=0),
        "parameters": _map(additionalProperties=_PLAIN),
        "tools": _map(
            {"allow": _PATTERNS, "deny": _PATTERNS},
            additionalProperties=False,
            words="must be a mapping with allow or deny",
        ),
        "active": _SWITCH,
    },
    *("id", "description", "type"),
    allOf=[
        {
            "if": {"properties": {"type": {"const": kind}}, "required": ["type"]},
            "then": {"required": [needed]},
        }
        for kind, needed in (("http", "endpoint"), ("command", "command"))
    ],
)

A2A_SERVICE = _map(
    {
        "schema": _SCHEMA,
        "id": _text(100, pattern=AGENT_ID, words="must be letters, digits, dots, - and _"),
        "name": _line(200),
        "description": _text(4_000),
        "url": _URL,
        "active": _SWITCH,
        "timeout_seconds": _number(exclusiveMinimum=0),
        "retry_attempts": _whole(minimum=0, maximum=10),
        "auth": _map(
            {
                "type": _one_of(
                    "none", "api_key", "bearer", "basic", "custom", "hmac", "oauth2", "openid"
                )
            }
        ),
    },
    *("id", "name", "description", "url"),
)

_MEMORY = _map(
    {
        "buffer": _map(
            {
                "size": _whole(minimum=1, maximum=10_000),
                "multiplier": _whole(minimum=1, maximum=1_000),
                "vector_search": _SWITCH,
            }
        ),
        "working": _map({"mode": _one_of("local", "remote")}),
        "persistent": _either(
            "must be a mapping, true or false",
            _SWITCH,
            _map(
                {
                    "connection_string": _text(
                        2_000,
                        pattern=r"\A(sqlite://|postgres(ql)?(\+\w+)?://|\$\{\{)",
                        words="must begin with sqlite:// or postgres://",
                    ),
                    "multi_user": _SWITCH,
                }
            ),
        ),
    }
)
_OVERLORD = _map(
    {
        "soul": _text(),
        "llm": _map({"model": _line(200), "settings": SETTINGS}),
        "workflow": _map(
            {
                "auto_decomposition": _SWITCH,
                "complexity_threshold": _number(minimum=0, maximum=10),
                "plan_approval_threshold": _number(minimum=0, maximum=10),
                "max_parallel_tasks": _whole(minimum=1, maximum=100),
            }
        ),
        "response": _map(
            {
                "format": _line(40),
                "streaming": _SWITCH,
                "stream_tokens": _SWITCH,
                "retry_async": _map(
                    {"enabled": _SWITCH, "max_attempts": _whole(minimum=1, maximum=10)}
                ),
            }
        ),
        "clarification": _map(),
    }
)
_MCP = _map(
    {
        "servers": _list(_either("must be an id or a mapping", _line(), _map()), 200),
        "connection_ttl": _number(minimum=0),
        "default_timeout_seconds": _number(exclusiveMinimum=0, maximum=3_600),
        "default_retry_attempts": _whole(minimum=0, maximum=10),
        "max_tool_iterations": _whole(minimum=1, maximum=1_000),
        "max_tool_calls": _whole(minimum=1, maximum=10_000),
    }
)
_ASYNC = _map(
    {
        "threshold_seconds": _number(minimum=0),
        "enable_estimation": _SWITCH,
        "webhook_url": _either("must be an http or https address", _URL, {"type": "null"}),
        "webhook_retries": _whole(minimum=0, maximum=10),
        "webhook_timeout": _number(exclusiveMinimum=0, maximum=300),
    }
)
_SCHEDULER = _map(
    {
        "enabled": _SWITCH,
        "timezone": _line(60),
        "check_interval_minutes": _whole(minimum=1, maximum=1_440),
        "max_concurrent_jobs": _whole(minimum=1, maximum=1_000),
        "max_failures_before_pause": _whole(minimum=1, maximum=1_000),
    }
)
_RUNTIME = {
    "anyOf": [{"type": "string", "pattern": r"\A(latest|\d+(\.\d+){0,2})(-?(cpu|gpu|cuda))?\Z"}],
    "words": 'must be "latest" or a version such as "1.2", in quotes',
}

FORMATION = _map(
    {
        "schema": _SCHEMA,
        "id": _text(words="must be text"),
        "description": _text(4_000, pattern=r"\S", words="must be text"),
        "name": _line(200),
        "version": _text(100, pattern=r"\A\S+\Z", words='must be text such as "1.0.0", in quotes'),
        "author": _text(500),
        "url": _text(2_000),
        "license": _text(200),
        "runtime": _RUNTIME,
        "muxi_runtime": _RUNTIME,
        "init": _text(20_000),
        "llm": LLM,
        "agents": _list(_either("must be an id or a mapping", _line(), _map()), 500),
        "mcp": _MCP,
        "memory": _MEMORY,
        "overlord": _OVERLORD,
        "server": _map(
            {
                "host": _line(200),
                "port": _whole(minimum=1, maximum=65_535),
                "api_keys": _map(
                    {
                        "admin_key": _text(500, minLength=8, words="must have 8 to 500 characters"),
                        "client_key": _text(
                            500, minLength=8, words="must have 8 to 500 characters"
                        ),
                    }
                ),
            }
        ),
        "async": _ASYNC,
        "scheduler": _SCHEDULER,
        "a2a": _map(
            {
                "outbound": _map(
                    {"services": _list(_either("must be an id or a mapping", _line(), _map()), 200)}
                )
            }
        ),
        "logging": _map(),
        "user_credentials": _map(
            {
                "mode": _one_of("redirect", "dynamic"),
                "redirect_message": _text(4_000, pattern=r"\S", words="must be text"),
                "encryption_key": _either(
                    "must be text or null", _text(2_000, pattern=r"\S"), {"type": "null"}
                ),
            }
        ),
        "links": _either("must be a mapping or a list", _map(), _list({})),
        "proactive": _map(),
        "commands": _map(),
        "rce": _map({"url": _URL, "token": _SECRET}, "url", "token"),
        "artifacts": _map(),
        "input_limits": _map(),
    },
    *("schema", "id", "description"),
)
TRIGGER = _map(
    {
        "webhook": _text(2_000),
        "transformer": _text(200),
        "parse": _either("must be text, true or false", _text(200), _SWITCH),
        "model": _line(200),
        "channel": _text(200),
    },
    additionalProperties=False,
)
SOP = _map(
    {
        "name": _line(200),
        "description": _text(4_000),
        "mode": _one_of("template", "guide"),
        "tags": _either("must be text or a list", _text(2_000), _list(_line())),
        "bypass_approval": _SWITCH,
        "synthesis": _SWITCH,
        "model": _line(200),
    }
)
SKILL = _map(
    {"name": _line(64), "description": _text(4_000, pattern=r"\S", words="must be text")},
    "description",
)
