"""`manage.py formations new NAME`: the files of a formation that deploys as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.core.checks import checked_text, wrong
from apps.core.errors import Conflict
from apps.formations.bundles import checked_id

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator

    from apps.accounts.operating import OperatorCommand, Row

NAME = "new"
WORDS = "begin a formation: a folder of files that deploys as it is"
EXAMPLE = "new help-desk --model ollama/llama3.2"

_FORMATION = """\
# One formation: who is in it, what they think with, what they may use.
# `manage.py formations validate {id}` checks it, `manage.py formations deploy {id}` brings it up.
schema: "1.0.0"
id: {id}
name: {name}
description: {description}
version: "1.0.0"
{llm}
agents:
  - assistant        # agents/assistant.afs

memory:
  buffer:
    size: 50
"""
_MODEL = """
llm:
  models:
    - text: {model}
"""
_USUAL_MODEL = """
# Without an llm block the agents think with the installation's own model (POLYMUX_MODEL). To choose:
# llm:
#   models:
#     - text: "openai/gpt-4.1"
#   api_keys:
#     openai: "${{ secrets.OPENAI_API_KEY }}"
"""
_AGENT = """\
schema: "1.0.0"
id: assistant
name: Assistant
description: {description}

system_message: |
  You are a helpful assistant. Answer briefly, and say so when you do not know.
"""
_TRIGGER = "Write a short greeting for ${{ data.name }}.\n"
_IGNORED = "# Never share the key: it opens secrets.enc.\n.key\nsecrets\n.env*\n*.log\nmemory.db\n"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("id", metavar="NAME", help="its id: small letters, digits and hyphens")
    parser.add_argument("--in", dest="folder", default=".", metavar="DIR", help="where to make it")
    parser.add_argument("--title", help="its name in words")
    parser.add_argument("--description", help="what it is for, in one line")
    parser.add_argument("--model", metavar="REF", help="provider/model; else the installation's")


def run(_command: OperatorCommand, options: dict[str, Any]) -> Row:
    """Make the folder. Conflict when it is there, InvalidInput for what cannot be written."""
    root = Path(options["folder"]) / checked_id(options["id"])
    texts = dict(_files(options))
    try:
        root.mkdir(parents=True)
        for path, text in texts.items():
            (root / path).parent.mkdir(exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
    except FileExistsError:
        raise Conflict(f"There is a {root} already.") from None
    except OSError as error:
        raise wrong("NAME", f"{root} cannot be made: {error.strerror}.") from None
    return {
        "made": str(root),
        "files": list(texts),
        "next": f"manage.py formations validate {root}",
    }


def _files(options: dict[str, Any]) -> Iterator[tuple[str, str]]:
    title = checked_text("title", options["title"] or options["id"], 200)
    usual = f"The {title} formation."
    description = checked_text("description", options["description"] or usual, 500)
    llm = _USUAL_MODEL
    if options["model"]:
        llm = _MODEL.format(model=_quoted(_model(options["model"])))
    yield (
        "formation.afs",
        _FORMATION.format(
            id=options["id"], name=_quoted(title), description=_quoted(description), llm=llm
        ),
    )
    yield "agents/assistant.afs", _AGENT.format(description=_quoted("Answers questions."))
    yield "triggers/greet.md", _TRIGGER
    yield ".gitignore", _IGNORED


def _model(written: str) -> str:
    model = checked_text("model", written, 200)
    if "/" not in model.strip("/"):
        raise wrong("model", "Write provider/model.")
    return model


def _quoted(text: str) -> str:
    """As a YAML string: JSON's are."""
    return json.dumps(text, ensure_ascii=False)
