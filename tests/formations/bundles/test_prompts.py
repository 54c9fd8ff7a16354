"""Triggers, procedures and skills: texts with front matter, and the fields in them."""

from __future__ import annotations

import pytest

from apps.formations.bundles import BundleError, fill_secrets, render, secret_name

SOP = """\
---
type: sop
name: Refund
description: d
mode: guide
tags: a, b
bypass_approval: false
---
# Refund an order

1. Find it. [agent:scout] [mcp:orders/find] [critical]
2) Compare. [agent:scout] [file:cases.md]
   3. Write. [agent:writer]

Not a step: 4. [agent:nobody][file:cases.md]
"""


def test_a_trigger_is_its_text_its_front_matter_and_its_fields(bundle_of):
    front = "---\nwebhook: https://x.org\nparse: true\n---\n\n"
    text = "Hello ${{ data.user.name }}, ${{data.n}} and ${{ data.user.name }} ${{ data }}\n"
    triggers = bundle_of({"triggers/greet.md": front + text, "triggers/a/b.md": "deeper"}).document
    assert triggers["triggers"] == {
        "greet": {
            "content": text.strip(),
            "meta": {"webhook": "https://x.org", "parse": True},
            "fields": ["data.user.name", "data.n", "data"],
        }
    }


@pytest.mark.parametrize(
    ("path", "text", "problem"),
    [
        ("triggers/t.md", "---\nwebhok: x\n---\n", "triggers/t.md:2: does not know `webhok`"),
        ("triggers/t.md", "---\n- a\n---\n", "triggers/t.md:2: must be a mapping."),
        ("triggers/t.md", "---\nmodel: x\na: [\n---\n", "triggers/t.md:4: Is not YAML"),
        ("triggers/a b.md", "x", "triggers/a b.md:1: The name `a b` must be letters"),
        ("triggers/t.md", b"ab\n\xff", "triggers/t.md:2: Is not UTF-8 text."),
        ("triggers/t.md", b"x" * 1_048_577, "triggers/t.md: Is too large."),
        ("sops/s.md", "---\ntype: sop\nmode: sing\n---\n", "sops/s.md:3: mode must be template or"),
        ("skills/s/SKILL.md", "no front matter", "skills/s/SKILL.md:1: needs `description`."),
        ("skills/s/SKILL.md", "---\ndescription: ''\n---\n", ":2: description must be text."),
    ],
)
def test_a_text_that_cannot_be_used_is_named_by_line(problems_of, path, text, problem):
    (found,) = problems_of({path: text})
    assert problem in found


def test_a_procedure_is_its_steps_and_who_does_them(bundle_of):
    bundle = bundle_of({"sops/refund.md": SOP, "sops/cases.md": "no front matter: no procedure"})
    (stem, sop), *others = bundle.document["sops"].items()
    assert (stem, others) == ("refund", [])
    assert (sop["name"], sop["title"], sop["mode"]) == ("Refund", "Refund an order", "guide")
    assert (sop["tags"], sop["bypass_approval"], sop["synthesis"]) == (["a", "b"], False, True)
    assert sop["agents_used"] == ["scout", "writer", "nobody"]
    assert sop["references"] == ["cases.md"]
    assert [step["number"] for step in sop["steps"]] == [1, 2, 3]
    assert sop["steps"][0] == {
        "number": 1,
        "text": "Find it. [agent:scout] [mcp:orders/find] [critical]",
        "agents": ["scout"],
        "tools": ["orders/find"],
        "files": [],
        "critical": True,
    }


def test_who_a_procedure_calls_for_in_vain_is_doubted(bundle_of):
    bundle = bundle_of({"sops/refund.md": SOP})
    assert [str(doubt) for doubt in bundle.warnings] == [
        "sops/refund.md:2: [file:cases.md] is not in the bundle.",
        "sops/refund.md:1: [agent:writer] is no agent of this formation.",
        "sops/refund.md:1: [agent:nobody] is no agent of this formation.",
    ]


def test_a_skill_is_a_folder(bundle_of):
    text = "---\r\nname: letters\r\ndescription: How we write\r\n---\r\nKindly.\r\n"
    files = {
        "skills/letters/SKILL.md": text,
        "skills/letters/more/SKILL.md": "x",
        "skills/n.md": "",
    }
    assert bundle_of(files).document["skills"] == {
        "letters": {"description": "How we write", "content": "Kindly."}
    }


DATA = {"user": {"name": "Ada", "first-name": "A"}, "list": [{"x": 1}], "n": 1.5, "no": None}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("no fields", "no fields"),
        ("${{ data.user.name }}${{data.user.first-name}}", "AdaA"),
        ("${{ data.list.0.x }} ${{ data.n }} ${{ data.no }}", "1 1.5 null"),
        ("${{ data.user }}", '{"name": "Ada", "first-name": "A"}'),
        (
            "${{ secrets.KEY }} ${{ user.x }} ${{ data.a b }}",
            "${{ secrets.KEY }} ${{ user.x }} ${{ data.a b }}",
        ),
    ],
)
def test_a_trigger_is_rendered_with_its_data(template, text):
    assert render(template, DATA) == text


def test_what_the_data_holds_is_not_looked_into():
    assert render("${{ data.a }}", {"a": "${{ data.b }} ${{ secrets.K }}", "b": "x"}) == (
        "${{ data.b }} ${{ secrets.K }}"
    )


@pytest.mark.parametrize(
    "field", ["data.x", "data.user.age", "data.user.name.x", "data.list.1", "data.list.x"]
)
def test_a_field_that_is_missing_is_named(field):
    with pytest.raises(BundleError, match=f"no field `{field}`") as caught:
        render(f"a ${{{{ {field} }}}}", DATA)
    assert caught.value.type_name == "RenderError"


@pytest.mark.parametrize("template", ["${{ data.a }}" * 40, "${{ data.a }}" + "x" * 98_000])
def test_a_text_that_grows_too_long_is_refused(template):
    with pytest.raises(BundleError, match="longer than 100000"):
        render(template, {"a": "y" * 3_000})


def test_secrets_are_filled_in_by_their_stored_name():
    text = "Bearer ${{ secrets.my-key }} ${{secrets.NONE}}"
    assert fill_secrets(text, {secret_name("My.Key"): "v"}) == "Bearer v ${{secrets.NONE}}"
