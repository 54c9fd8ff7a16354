"""Texts with front matter: triggers, SOPs and skills (contract/muxi.md §6)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from apps.formations.bundles import checking, yamlfile
from apps.formations.bundles.placeholders import fields_of
from apps.formations.bundles.yamlfile import Document

if TYPE_CHECKING:
    from apps.formations.bundles.report import Report
    from apps.formations.bundles.source import Source

# Texts come from strangers: no pattern may try a place twice.
_FRONT = re.compile(r"---[ \t]*\r?\n((?:.*?\n)??)---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_STEP = re.compile(r"^ {0,3}(\d{1,4})[.)][ \t]+(\S.*)", re.MULTILINE)
_TITLE = re.compile(r"^#[ \t]+(\S.*)", re.MULTILINE)
_DIRECTIVE = re.compile(r"\[(agent|mcp|file):([^\]\n]{1,300})\]")


def read_triggers(source: Source, report: Report) -> dict[str, dict[str, Any]]:
    """`name -> {content, meta, fields}` of `triggers/*.md`."""
    found = {}
    for path in source.inside("triggers", ending=(".md",)):
        with report.noting():
            meta, content = _front(source.text(path), path)
            name = _stem(path)
            if _is_named(name, meta, report) and checking.fits("TRIGGER", meta, report):
                found[name] = {"content": content, "meta": meta.value, "fields": fields_of(content)}
    return found


def read_sops(source: Source, report: Report) -> dict[str, dict[str, Any]]:
    """`stem -> {…}` of `sops/*.md`; what does not say `type: sop` is passed over, as upstream does."""
    found = {}
    for path in source.inside("sops", ending=(".md",)):
        with report.noting():
            meta, content = _front(source.text(path), path)
            if not isinstance(meta.value, dict) or meta.value.get("type") != "sop":
                continue
            if _is_named(_stem(path), meta, report) and checking.fits("SOP", meta, report):
                found[_stem(path)] = _sop(_stem(path), meta.value, content)
                _doubt_references(found[_stem(path)], meta, source, report)
    return found


def read_skills(source: Source, report: Report) -> dict[str, dict[str, Any]]:
    """`name -> {description, content}` of `skills/<name>/SKILL.md`."""
    found = {}
    for path in sorted(source.sizes):
        parts = path.split("/")
        if len(parts) != 3 or parts[0] != "skills" or parts[2] != "SKILL.md":
            continue
        with report.noting():
            meta, content = _front(source.text(path), path)
            if _is_named(parts[1], meta, report) and checking.fits("SKILL", meta, report):
                description = meta.value["description"]
                found[parts[1]] = {"description": description, "content": content}
    return found


def _front(text: str, path: str) -> tuple[Document, str]:
    """The front matter, an empty mapping if there is none, and the text below it."""
    match = _FRONT.match(text)
    if match is None:
        return Document(path, {}), text.strip()
    meta = yamlfile.parse(match[1], path, first_line=2)
    if meta.value is None:
        meta.value = {}
    return meta, text[match.end() :].strip()


def _is_named(name: str, meta: Document, report: Report) -> bool:
    if _NAME.fullmatch(name):
        return True
    report.wrong(meta, (), f"The name `{name}` must be letters, digits, - and _, at most 100.")
    return False


def _sop(stem: str, meta: dict[str, Any], content: str) -> dict[str, Any]:
    title = _TITLE.search(content)
    tags = meta.get("tags") or []
    name = meta.get("name") or stem
    return {
        "name": name,
        "title": title[1].strip() if title else name,
        "type": "sop",
        "description": meta.get("description") or "",
        "mode": meta.get("mode") or "template",
        "tags": _split(tags) if isinstance(tags, str) else tags,
        "bypass_approval": meta.get("bypass_approval", True),
        "synthesis": meta.get("synthesis", True),
        "content": content,
        "steps": [_step(int(step[1]), step[2].strip()) for step in _STEP.finditer(content)],
        "agents_used": _named(content, "agent"),
        "references": _named(content, "file"),
    }


def _step(number: int, text: str) -> dict[str, Any]:
    return {
        "number": number,
        "text": text,
        "agents": _named(text, "agent"),
        "tools": _named(text, "mcp"),
        "files": _named(text, "file"),
        "critical": "[critical]" in text,
    }


def _named(text: str, kind: str) -> list[str]:
    """What the directives of one kind name, in order, each once."""
    names = (found[2].strip() for found in _DIRECTIVE.finditer(text) if found[1] == kind)
    return list(dict.fromkeys(names))


def _doubt_references(sop: dict[str, Any], meta: Document, source: Source, report: Report) -> None:
    for name in sop["references"]:
        if not source.has(f"sops/{name}") and not source.has(name):
            report.doubt(meta, (), f"[file:{name}] is not in the bundle.")


def _split(words: str) -> list[str]:
    return [word.strip() for word in words.split(",") if word.strip()]


def _stem(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".md")
