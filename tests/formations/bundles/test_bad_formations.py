"""What is wrong with a formation is said with file and line, all of it at once."""

from __future__ import annotations

from contextlib import suppress

import pytest

from apps.formations.bundles import BundleError, checked_id, read, seal_secrets
from tests.formations.bundles.conftest import SMALLEST

HEAD = 'schema: "1.0.0"\nid: help-desk\ndescription: d\n'  # three lines
AGENT = SMALLEST["agents/scout.afs"]  # four lines
SERVER = 'schema: "1.0.0"\nid: web\ndescription: d\n'  # three lines


@pytest.mark.parametrize(
    ("below", "problem"),
    [
        ("version: 1.0\n", "4: version must be text (in quotes, if it looks like a number)."),
        ("version: ' '\n", '4: version must be text such as "1.0.0", in quotes.'),
        ("runtime: newest\n", '4: runtime must be "latest" or a version'),
        ("llm: openai\n", "4: llm must be a mapping."),
        (
            "llm:\n  settings:\n    temperature: 2\n",
            "6: llm.settings.temperature must be at most 1.",
        ),
        (
            "llm:\n  settings: {max_tokens: 0}\n",
            "5: llm.settings.max_tokens must be greater than 0",
        ),
        (
            "llm:\n  models:\n    - text: gpt\n",
            "6: text must be provider/model or one of llm.alias",
        ),
        ("llm:\n  models:\n    - {text: a/b, vision: a/b}\n", "6: A model has one of text, vision"),
        ("llm:\n  models:\n    - {settings: {}}\n", "6: A model has one of text, vision"),
        ("agents: scout\n", "4: agents must be a list."),
        ("agents:\n  - scout\n  - 7\n", "6: agents[1] must be an id or a mapping."),
        ("agents:\n  - nobody\n", "5: There is no agent with the id `nobody`: agents/ has scout."),
        ("agents: [{id: x, name: X}]\n", "4: needs `description`."),
        ("agents: [{id: a b, name: X, description: d}]\n", "4: id must be letters, digits, dots"),
        ("agents: [{id: team, name: X, description: d}]\n", "4: No agent may be called `team`."),
        ("agents:\n  - $include: ../x.afs\n", "5: An $include stands alone and names a file"),
        ("agents:\n  - $include: /etc/x.afs\n", "5: An $include stands alone and names a file"),
        ("agents:\n  - $include: agents/none.afs\n", "5: An $include stands alone and names"),
        (
            "mcp:\n  servers:\n    - web\n",
            "6: There is no MCP server with the id `web`: mcp/ is empty",
        ),
        ("mcp: {max_tool_calls: 0}\n", "4: mcp.max_tool_calls must be at least 1."),
        ("memory: {persistent: 7}\n", "4: memory.persistent must be a mapping, true or false."),
        ("memory: {buffer: {size: many}}\n", "4: memory.buffer.size must be a whole number."),
        (
            "memory: {persistent: {connection_string: x}}\n",
            "4: memory.persistent must be a mapping",
        ),
        ("overlord: {workflow: {complexity_threshold: 11}}\n", "threshold must be at most 10."),
        ("overlord: {response: {retry_async: {max_attempts: 11}}}\n", "must be at most 10."),
        ("server: {port: 70000}\n", "4: server.port must be at most 65535."),
        ("server: {api_keys: {admin_key: short}}\n", "admin_key must be at least 8 characters."),
        ("async: {webhook_url: 'ftp://x'}\n", "4: async.webhook_url must be an http or https addr"),
        ("scheduler: {enabled: maybe}\n", "4: scheduler.enabled must be true or false."),
        (
            "user_credentials: {mode: magic}\n",
            "4: user_credentials.mode must be redirect or dynamic",
        ),
        ("rce: {url: https://x.org}\n", "4: rce needs `token`."),
    ],
)
def test_what_is_wrong_in_the_formations_file_is_named_by_line(problems_of, below, problem):
    found = problems_of({"formation.afs": HEAD + below})
    assert len(found) == 1
    assert found[0].startswith("formation.afs:")
    assert problem in found[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "formation.afs:1: must be a mapping."),
        ("- a\n", "formation.afs:1: must be a mapping."),
        ("id: help-desk\n", "formation.afs:1: needs `schema`, `description`."),
        (
            'schema: "2.0"\nid: help-desk\ndescription: d\n',
            ':1: schema must be "1.0.0", in quotes.',
        ),
        ('schema: "1.0.0"\n\nid: Help\ndescription: d\n', ":3: A formation's id must be 3 to 50"),
        ('schema: "1.0.0"\nid: api\ndescription: d\n', ":2: No formation may be called `api`"),
        ('schema: "1.0.0"\nid: help-desk\ndescription: " "\n', ":3: description must be text."),
    ],
)
def test_what_every_formation_needs_is_asked_for(problems_of, text, problem):
    assert [problem in found for found in problems_of({"formation.afs": text})] == [True]


@pytest.mark.parametrize(
    ("below", "problem"),
    [
        ("mcp_servers: [7]\n", "5: mcp_servers[0] must be an id or a mapping."),
        ("mcp_servers:\n  - none\n", "6: There is no MCP server with the id `none`"),
        (
            "mcp_servers:\n  - {id: x, description: d, type: ftp}\n",
            "6: type must be http or command",
        ),
        ("mcp_servers: [{id: x, description: d, type: http}]\n", "5: needs `endpoint`."),
        ("llm_models:\n  - text: b\n", "6: text must be provider/model"),
        ("llm:\n  models:\n    - text: b\n", "7: text must be provider/model"),
        ("knowledge:\n  sources:\n    - path: /etc\n", "7: Must be a relative path that stays"),
        ("knowledge:\n  sources:\n    - path: knowledge/../../x\n", "7: Must be a relative path"),
        ("knowledge:\n  sources:\n    - path: knowledge/none.md\n", "7: Is not in the bundle"),
        ("knowledge:\n  sources:\n    - url: file:///etc/passwd\n", "7: Must be an address that"),
        (
            "knowledge:\n  sources:\n    - {path: a, url: b}\n",
            "7: knowledge.sources[0] must have e",
        ),
        (
            "knowledge:\n  sources:\n    - description: d\n",
            "7: knowledge.sources[0] must have eith",
        ),
        ("active: perhaps\n", "5: active must be true or false."),
        ("specialization: {keywords: a}\n", "5: specialization.keywords must be a list."),
    ],
)
def test_what_is_wrong_with_an_agent_is_named_in_its_own_file(problems_of, below, problem):
    found = problems_of({"agents/scout.afs": AGENT + below})
    assert len(found) == 1
    assert found[0].startswith("agents/scout.afs:")
    assert problem in found[0]


@pytest.mark.parametrize(
    ("below", "problem"),
    [
        ("", "1: needs `type`."),
        ("type: command\n", "1: needs `command`."),
        ("type: command\ncommand: x\nargs: {}\n", "6: args must be a list."),
        ("type: http\nendpoint: x.org\n", "5: endpoint must be an http or https address."),
        (
            "type: http\nendpoint: https://a:b@x.org\n",
            "5: endpoint must be an address without a user",
        ),
        ("type: http\nendpoint: https://[x.org\n", "5: endpoint must be an address without"),
        ("type: http\nendpoint: https://x.org\nauth: {type: bearer}\n", "6: auth needs `token`."),
        (
            "type: http\nendpoint: https://x.org\nauth: {type: magic}\n",
            "6: auth.type must be env or",
        ),
        (
            "type: command\ncommand: x\ntools: {only: [a]}\n",
            "6: tools does not know `only`; it kno",
        ),
        ("type: command\ncommand: x\ntimeout_seconds: -1\n", "6: timeout_seconds must be greater"),
    ],
)
def test_what_is_wrong_with_a_server_is_named_in_its_own_file(problems_of, below, problem):
    config = HEAD + "mcp: {servers: [web]}\n"
    found = problems_of({"formation.afs": config, "mcp/web.afs": SERVER + below})
    assert len(found) == 1
    assert found[0].startswith("mcp/web.afs:")
    assert problem in found[0]


def test_an_id_stands_once_whatever_its_case(problems_of):
    twin = "agents:\n  - scout\n  - {id: SCOUT, name: S, description: d}\n"
    (found,) = problems_of({"formation.afs": HEAD + twin})
    assert found == (
        "formation.afs:6: The agent id `SCOUT` is there twice, also at agents/scout.afs:2."
    )


def test_two_servers_that_would_be_called_alike_are_refused(problems_of):
    server = "{id: %s, description: d, type: http, endpoint: 'https://%s.org'}"
    config = (
        f"{HEAD}mcp:\n  servers:\n    - {server % ('a_b', 'x')}\n    - {server % ('A-b', 'y')}\n"
    )
    (found,) = problems_of({"formation.afs": config})
    assert found.startswith("formation.afs:7: The MCP server id `A-b` is there twice")


def test_a_file_needs_its_schema(problems_of):
    (found,) = problems_of({"agents/scout.afs": AGENT.partition("\n")[2]})
    assert found == 'agents/scout.afs:1: Needs `schema: "1.0.0"`.'


def test_everything_that_is_wrong_is_told_at_once(problems_of):
    found = problems_of(
        {
            "formation.afs": f"{HEAD}agents: [scout, nobody]\nmemory: {{persistent: false}}\n",
            "agents/scout.afs": AGENT + "active: 1\n",
            "triggers/a b.md": "x",
            "skills/x/SKILL.md": "x",
        }
    )
    assert [line.split(":")[0] for line in found] == [
        *("formation.afs", "agents/scout.afs", "skills/x/SKILL.md", "triggers/a b.md")
    ]


def test_a_value_is_never_repeated_in_what_is_said(problems_of):
    text = HEAD + "server: {port: sk-very-secret, api_keys: {admin_key: [sk-very-secret]}}\n"
    assert "sk-very" not in str(problems_of({"formation.afs": text}))


@pytest.mark.parametrize(
    "name",
    [
        *("ab", "x" * 51, "Help", "a_b", "-ab", "ab-", "a b", "", None, "ä-ö"),
        *("health", "ping", "rpc", "server", "admin", "metrics", "api"),
        *("v1", "instances", "users", "auth", "me", "skills", "tools", "analytics"),
        *("conversations", "audit-logs", "activity-stream", "attachments"),
    ],
)
def test_a_formation_may_not_be_called_so(name):
    with pytest.raises(BundleError) as caught:
        checked_id(name, file="formation.afs", line=2)
    assert caught.value.type_name == "InvalidFormationID"
    assert caught.value.message.startswith("formation.afs:2: ")


@pytest.mark.parametrize("name", ["abc", "my-team", "a1b", "x" * 50, "api-v1"])
def test_a_formation_may_be_called_so(name):
    assert checked_id(name) == name


ASKING = HEAD + 'llm:\n  api_keys:\n    openai: "a ${{secrets.my.key}}"\n'


def test_a_secret_that_is_asked_for_must_be_there(write):
    root = write({"formation.afs": ASKING, "triggers/t.md": "x\n\n${{ secrets.other }}\n"})
    with pytest.raises(BundleError) as caught:
        read(root)
    assert [str(problem) for problem in caught.value.problems] == [
        "formation.afs:6: The secret MY_KEY is missing: no secrets.enc.",
        "triggers/t.md:3: The secret OTHER is missing: no secrets.enc.",
    ]
    assert caught.value.type_name == "SecretsError"
    seal_secrets(root, {"my-key": "v", "OTHER": "w"})
    assert read(root).secrets == {"MY_KEY": "v", "OTHER": "w"}


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda root: (root / ".key").unlink(), "secrets.enc: Cannot be opened: the bundle has no"),
        (lambda root: (root / ".key").write_text("no key"), ".key: Is no Fernet key."),
        (lambda root: (root / ".key").write_text("A" * 43 + "="), "the key in .key is another one"),
        (lambda root: (root / "secrets.enc").write_text("x"), "another one, or it is damaged"),
        (lambda root: seal_secrets(root, {"MY_KEY": None}), "The secret MY_KEY must be text."),
        (
            lambda root: seal_secrets(root, {"MY_KEY": "x" * 20_001}),
            "The secret MY_KEY is too long",
        ),
        (
            lambda root: seal_secrets(root, {"else": "x"}),
            "The secret MY_KEY is not in secrets.enc.",
        ),
    ],
)
def test_secrets_that_cannot_be_opened_are_an_error_of_their_own(write, spoil, problem):
    root = write({"formation.afs": ASKING})
    seal_secrets(root, {"MY_KEY": "value"})
    assert (root / ".key").stat().st_mode & 0o777 == 0o600
    assert read(root).secrets == {"MY_KEY": "value"}
    spoil(root)
    with pytest.raises(BundleError) as caught:
        read(root)
    assert caught.value.type_name == "SecretsError"
    assert problem in caught.value.message


def test_a_name_that_is_nearly_right_is_doubted(bundle_of):
    bundle = bundle_of({"formation.afs": HEAD + "memroy: {}\n"})
    assert [str(doubt) for doubt in bundle.warnings] == [
        "formation.afs:4: `memroy` says nothing: is `memory` meant?"
    ]


def test_one_broken_block_hides_nothing_that_is_wrong_elsewhere(problems_of):
    found = problems_of(
        {
            "formation.afs": 'schema: "1.0.0"\nid: API\nllm: 1\nagents: [nobody]\n',
            "triggers/t.md": "---\nmode: x\n---\n",
        }
    )
    assert [line.split(" ")[0] for line in found] == [
        *("formation.afs:1:", "formation.afs:2:", "formation.afs:3:"),
        *("formation.afs:4:", "triggers/t.md:2:"),
    ]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("formation.afs", HEAD + "name: '" + "a" * 500_000 + "\n\n'\n"),
        ("formation.afs", HEAD + "name: '" + " " * 900_000 + "'\n"),
        ("formation.afs", HEAD + "rce: {token: x, url: '${{" + "}}" * 400_000 + "\n\n'}\n"),
        ("sops/s.md", "---\ntype: sop\n---\n# " + " " * 500_000 + "\n1. " + " " * 500_000),
        ("triggers/t.md", "---\n" * 250_000),
        ("triggers/t.md", "${{ secrets." * 80_000 + "${{ data.a" * 8_000),
    ],
)
def test_no_text_keeps_the_reader_busy(write, path, text):
    """Patterns that try a place twice would take hours here: the suite's own limit would end it."""
    with suppress(BundleError):
        read(write({path: text}))
