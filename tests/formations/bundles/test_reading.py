"""A bundle's files become one document (contract/muxi.md §6)."""

from __future__ import annotations

import json

import pytest

from apps.formations.bundles import Bundle, BundleError, read, seal_secrets
from tests.formations.bundles.conftest import SMALLEST

FULL = {
    "formation.afs": """\
schema: "1.0.0"
id: help-desk
name: Help desk
description: Answers
version: 2.1.0-beta
llm:
  api_keys: {openai: "${{ secrets.openai-api-key }}"}
  aliases: {quick: openai/gpt-4o-mini}
  models:
    - text: openai/gpt-4.1
      settings: {temperature: 0.5, max_tokens: 100}
    - embedding: quick
agents:
  - scout
  - $include: agents/other.yaml
  - {id: third, name: Third, description: Inline, active: no}
mcp:
  servers:
    - everywhere
memory:
  persistent: false
server:
  api_keys: {admin_key: "${{ secrets.ADMIN_KEY }}"}
something_of_ours: {a: 1}
""",
    "agents/scout.afs": """\
schema: "1.0.0"
id: scout
name: Scout
description: Looks around
role: Eyes
system_message: Look.
llm_models:
  - text: anthropic/claude
mcp_servers:
  - everywhere
  - brave_search
  - id: inline
    description: Written out
    type: http
    endpoint: https://mcp.example.org/mcp
    auth: {type: bearer, token: "${{ secrets.TOKEN }}"}
knowledge:
  enabled: true
  sources:
    - path: ./knowledge/docs/
      description: The rules
    - url: https://example.org/faq
specialization: {domain: woods, keywords: [trees]}
""",
    "agents/other.yaml": """\
schema: "1.0.0"
id: second
name: Second
description: In a file of another name
llm: {models: [{text: quick}]}
knowledge: {enabled: false, sources: [{path: knowledge/docs/a.md}]}
""",
    "mcp/everywhere.afs": """\
schema: "1.0.0"
id: everywhere
description: For all
type: command
command: ./tools/run.sh
args: [tools/run.py, 8080, --loud]
env: {PORT: 8080, LOUD: true, EMPTY: }
tools: {allow: "find_*", deny: [drop]}
timeout_seconds: 20
""",
    "mcps/search.yml": """\
schema: "1.0.0"
id: brave_search
description: Named by one agent only
type: http
endpoint: https://example.org
""",
    "a2a/partner.afs": """\
schema: "1.0.0"
id: partner
name: Partner
description: Elsewhere
url: https://partner.example.org
""",
    "knowledge/docs/a.md": "a",
    "tools/run.sh": "run",
    "tools/run.py": "run",
}


@pytest.fixture
def full(write):
    root = write(FULL)
    seal_secrets(root, {"OPENAI_API_KEY": "k1", "admin-key": "k2", "token": "k3", "UNUSED": "k4"})
    return read(root)


def test_the_smallest_formation_is_read(bundle_of):
    bundle = bundle_of({})
    assert (bundle.id, bundle.version, bundle.name) == ("help-desk", "1.0.0", "help-desk")
    assert bundle.description == "Answers"
    assert bundle.secrets == {}
    assert bundle.document == {
        "config": {
            "schema": "1.0.0",
            "id": "help-desk",
            "description": "Answers",
            "agents": ["scout"],
        },
        "agents": [
            {
                "id": "scout",
                "name": "Scout",
                "description": "Looks around",
                "mcp_servers": [],
                "active": True,
                "source": "formation",
            }
        ],
        **{kind: [] for kind in ("mcp", "a2a", "knowledge", "secrets_used")},
        **{kind: {} for kind in ("triggers", "sops", "skills")},
        "files": [
            {"path": path, "size": len(SMALLEST[path])}
            for path in ("agents/scout.afs", "formation.afs")
        ],
    }


def test_agents_come_from_files_includes_and_the_formation_itself(full):
    agents = {agent["id"]: agent for agent in full.document["agents"]}
    assert list(agents) == ["scout", "second", "third"]
    assert [agent["active"] for agent in agents.values()] == [True, True, False]
    assert agents["scout"]["llm_models"] == [{"text": "anthropic/claude"}]
    assert agents["second"]["llm_models"] == [{"text": "quick"}]
    assert "llm" not in agents["second"]
    assert agents["scout"]["specialization"] == {"domain": "woods", "keywords": ["trees"]}


def test_servers_come_from_the_formation_and_from_its_agents(full):
    shared = {server["id"]: server["shared"] for server in full.document["mcp"]}
    assert shared == {"everywhere": True, "brave_search": False, "inline": False}
    assert [server["slug"] for server in full.document["mcp"]][1] == "brave-search"
    agents = {agent["id"]: agent["mcp_servers"] for agent in full.document["agents"]}
    assert agents == {"scout": ["everywhere", "brave_search", "inline"], "second": [], "third": []}


def test_a_command_is_words_and_names_the_files_of_the_bundle(full):
    server = full.document["mcp"][0]
    assert server["args"] == ["tools/run.py", "8080", "--loud"]
    assert server["env"] == {"PORT": "8080", "LOUD": "true", "EMPTY": ""}
    assert server["files"] == ["./tools/run.sh", "tools/run.py"]
    assert server["tools"] == {"allow": ["find_*"], "deny": ["drop"]}


def test_knowledge_is_a_list_of_places_by_agent(full):
    assert full.document["knowledge"] == [
        {"agent": "scout", "path": "knowledge/docs", "description": "The rules"},
        {"agent": "scout", "url": "https://example.org/faq", "description": ""},
    ]


def test_secrets_stay_out_of_the_document(full):
    assert full.document["secrets_used"] == ["ADMIN_KEY", "OPENAI_API_KEY", "TOKEN"]
    assert full.secrets["ADMIN_KEY"] == "k2"
    assert set(full.secrets) == {"OPENAI_API_KEY", "ADMIN_KEY", "TOKEN", "UNUSED"}
    text = json.dumps(full.document)
    assert "${{ secrets.openai-api-key }}" in text
    assert not any(f'"{value}"' in text for value in full.secrets.values())
    assert not any(value in repr(full) for value in ("k1", "k2", "k3"))


def test_what_we_do_not_know_is_kept(full):
    assert full.document["config"]["something_of_ours"] == {"a": 1}
    assert full.warnings == ()


def test_without_a_list_every_file_of_the_folder_counts(bundle_of):
    config = 'schema: "1.0.0"\nid: help-desk\ndescription: d\n'
    found = bundle_of({"formation.afs": config, "mcp/everywhere.afs": FULL["mcp/everywhere.afs"]})
    assert [agent["id"] for agent in found.document["agents"]] == ["scout"]
    assert [server["shared"] for server in found.document["mcp"]] == [True]


def test_a_server_that_an_agent_names_is_its_own_unless_the_formation_lists_it(bundle_of):
    config = 'schema: "1.0.0"\nid: help-desk\ndescription: d\n'
    agent = SMALLEST["agents/scout.afs"] + "mcp_servers: [everywhere]\n"
    files = {"formation.afs": config, "agents/scout.afs": agent}
    found = bundle_of(files | {"mcp/everywhere.afs": FULL["mcp/everywhere.afs"]})
    assert [server["shared"] for server in found.document["mcp"]] == [False]


def test_a_file_may_have_another_name_than_its_id(write):
    root = write({"agents/eyes.yml": SMALLEST["agents/scout.afs"]})
    (root / "agents/scout.afs").unlink()
    assert read(root).document["agents"][0]["id"] == "scout"


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (("formation.afs", "formation.yaml", "formation.yml"), "formation.afs"),
        (("formation.yml", "formation.yaml"), "formation.yaml"),
        (("formation.yml",), "formation.yml"),
    ],
)
def test_the_formations_file_is_looked_for_in_order(tmp_path, names, taken):
    for name in names:
        text = f'schema: "1.0.0"\nid: help-desk\ndescription: {name}\n'
        (tmp_path / name).write_text(text)
    assert read(tmp_path).description == taken


def test_without_a_formations_file_nothing_is_read(tmp_path):
    with pytest.raises(BundleError, match=r"no formation\.afs, formation\.yaml or formation\.yml"):
        read(tmp_path)


def test_a_bundle_that_links_out_reads_nothing_of_it(write, tmp_path):
    root = write({})
    (tmp_path / "secret.md").write_text("mine")
    (root / "triggers").mkdir()
    (root / "triggers/stolen.md").symlink_to(tmp_path / "secret.md")
    assert read(root).document["triggers"] == {}


def test_reading_twice_gives_the_same(write):
    root = write({})
    assert isinstance(read(root), Bundle)
    assert read(root) == read(root)
