"""What a formation's document means for the rows of its home: models, agents, MCP servers, keys.

Pure: a document and its secrets in, plain values out. `document` has the shape of `bundles.read`.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from apps.engine.providers import VENDORS
from apps.engine.refs import canonical_ref
from apps.formations.bundles import fill_secrets, secret_name, slug_of
from apps.formations.placing import marked

if TYPE_CHECKING:
    from collections.abc import Mapping

Document = dict[str, Any]

# What every agent of a formation may use beside its MCP servers: nothing that reaches this machine.
USUAL_TOOLS = ("now",)
LONGEST_ROLE = 500
KEYS = ("admin_key", "client_key")


def filled(value: Any, secrets: Mapping[str, str]) -> Any:
    """`value` (text, lists, objects) with its secrets in place."""
    if isinstance(value, str):
        return fill_secrets(value, secrets)
    if isinstance(value, list):
        return [filled(item, secrets) for item in value]
    if isinstance(value, dict):
        return {key: filled(item, secrets) for key, item in value.items()}
    return value


def default_model(document: Document, secrets: Mapping[str, str]) -> str:
    """The formation's text model as `provider/model`; empty when it names none."""
    return _text_model(_llm(document).get("models"), document, secrets)


def provider_keys(document: Document, secrets: Mapping[str, str]) -> dict[str, str]:
    """Name of a secret, as the engine looks for it, -> a provider's key."""
    llm = _llm(document)
    given = {name: key for name, key in (llm.get("api_keys") or {}).items() if key}
    for item in llm.get("models") or ():
        provider = canonical_ref(str(item.get("text", ""))).partition("/")[0]
        if item.get("api_key") and provider:
            given.setdefault(provider, item["api_key"])
    return {key_name(name): filled(str(key), secrets) for name, key in given.items()}


def vault_of(document: Document, secrets: Mapping[str, str]) -> dict[str, str]:
    """What the home's vault holds of a document: its secrets, and its providers' keys."""
    return {**secrets, **provider_keys(document, secrets)}


def key_name(provider: str) -> str:
    """The secret in which a workspace keeps its key of `provider`."""
    vendor = VENDORS.get(provider.lower())
    return vendor.keys[0] if vendor else secret_name(f"{provider}_API_KEY")


def server_keys(document: Document, secrets: Mapping[str, str]) -> dict[str, str]:
    """`admin_key` and `client_key`, as far as the file names them."""
    server = document["config"].get("server") or {}
    given = server.get("api_keys") or {}
    found = {name: filled(str(given[name]), secrets) for name in KEYS if given.get(name)}
    return {name: key for name, key in found.items() if key.strip()}


def agent_fields(
    item: Mapping[str, Any], document: Document, secrets: Mapping[str, str]
) -> dict[str, Any]:
    """One agent of the document as fields of `create_agent`."""
    usual = default_model(document, secrets)
    return {
        "name": item["id"],
        "role": str(item.get("role") or item.get("description") or "")[:LONGEST_ROLE],
        "model": _text_model(item.get("llm_models"), document, secrets) or usual,
        "system_prompt": prompt_of(item),
        "tools": _tools_of(item, document),
        "temperature": _temperature(item, document),
        "metadata": {"muxi": {**item, "source": "formation"}},
    }


def prompt_of(item: Mapping[str, Any]) -> str:
    """Its system message; without one, who it is."""
    said = str(item.get("system_message") or "").strip()
    return (
        said or f"You are {item.get('name') or item['id']}. {item.get('description', '')}".strip()
    )


def mcp_fields(
    item: Mapping[str, Any], secrets: Mapping[str, str], storage_key: str
) -> dict[str, Any]:
    """One MCP server of the document as arguments of `add_mcp_server`.

    `storage_key`: of the bundle's archive, for servers that are programs of it.
    """
    name = slug_of(item["id"])
    if item.get("type") == "command":
        command = [str(item["command"]), *map(str, item.get("args") or ())]
        env = {key: str(value) for key, value in (item.get("env") or {}).items()}
        return {
            "name": name,
            "enabled": bool(item.get("active", True)),
            "transport": "stdio",
            "command": marked(filled(command, secrets), item.get("files") or (), storage_key),
            "env": filled(env, secrets),
        }
    url = filled(str(item["endpoint"]), secrets)
    headers = auth_headers(filled(item.get("auth") or {}, secrets))
    enabled = bool(item.get("active", True))
    return {
        "name": name,
        "enabled": enabled,
        "transport": "http",
        "url": url,
        "headers": headers,
    }


def runs_programs(document: Document) -> bool:
    """True if the bundle has something executed on this machine."""
    return any(item.get("type") == "command" for item in document["mcp"])


def auth_headers(auth: Mapping[str, Any]) -> dict[str, str]:
    """What proves us to an HTTP server; nothing for what each end user brings along."""
    if any("${{" in str(value) for value in auth.values()):
        return {}
    kind = auth.get("type")
    if kind == "bearer":
        return {"Authorization": f"Bearer {auth['token']}"}
    if kind == "basic":
        pair = f"{auth['username']}:{auth['password']}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    if kind == "api_key":
        return {str(auth.get("header") or "X-API-Key"): str(auth["key"])}
    return {}


def _tools_of(item: Mapping[str, Any], document: Document) -> list[str]:
    """The formation's own servers are every agent's; those that another agent brings are not."""
    shared = [server["id"] for server in document["mcp"] if server.get("shared")]
    servers = dict.fromkeys(slug_of(each) for each in (*shared, *item["mcp_servers"]))
    allowed = {
        server["slug"]: (server.get("tools") or {}).get("allow") or ["*"]
        for server in document["mcp"]
    }
    named = [f"{name}__{tool}" for name in servers for tool in allowed.get(name, ["*"])]
    return [*USUAL_TOOLS, *named]


def denied_tools(document: Document) -> set[str]:
    """Names, or patterns with `*`, of tools that nobody here may use."""
    return {
        f"{server['slug']}__{tool}"
        for server in document["mcp"]
        for tool in (server.get("tools") or {}).get("deny") or ()
    }


def _llm(document: Document) -> dict[str, Any]:
    llm = document["config"].get("llm")
    return llm if isinstance(llm, dict) else {}


def _text_model(models: Any, document: Document, secrets: Mapping[str, str]) -> str:
    """The first text capability of a list of models, its alias resolved."""
    for item in models if isinstance(models, list) else ():
        named = item.get("text") if isinstance(item, dict) else None
        if named:
            found = (_llm(document).get("aliases") or {}).get(named, named)
            if isinstance(found, dict):  # an alias with settings of its own
                found = found.get("model") or found.get("text") or named
            return canonical_ref(filled(str(found), secrets))
    return ""


def _temperature(item: Mapping[str, Any], document: Document) -> float | None:
    for models in (item.get("llm_models"), _llm(document).get("models")):
        for each in models if isinstance(models, list) else ():
            said = (each.get("settings") or {}).get("temperature") if "text" in each else None
            if isinstance(said, int | float):
                return float(said)
    said = (_llm(document).get("settings") or {}).get("temperature")
    return float(said) if isinstance(said, int | float) else None
