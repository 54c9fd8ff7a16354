"""The words an agent reads when its task comes back to it: what was wrong, asked or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apps.tasks.models import Task

LONGEST = 4_000  # characters of what an agent or a reviewer said
RULE = "\n\n---\n"


def original_of(task: Task) -> str:
    """The description as it was before any brief."""
    return task.original_description or task.description


def fix_brief(task: Task, message: str, score: float | None, *, attempt: int, most: int) -> str:
    """The task, and what its review found wanting."""
    lines = [
        f"Your last result was reviewed and did not pass. This is fix {attempt} of {most}.",
        "Keep what is right, mend what is wrong, do not start over.",
        "",
        "What did not pass:",
        cut(message) or "The reviewer gave no reason.",
    ]
    if score is not None:
        lines += ["", f"Score: {score:g} of 5."]
    return original_of(task) + RULE + "\n".join(lines)


def failure_digest(task: Task, message: str, *, attempt: int) -> str:
    """The task, and how the attempt before this one failed."""
    result: Mapping[str, Any] = task.result or {}
    lines = [f"An earlier attempt failed (this is retry {attempt}). Find out why, and avoid it."]
    lines.append(f"Exit code: {result.get('exitCode', 1)}")
    for title, text in (
        ("Why", message),
        ("Error output", result.get("stderr") or ""),
        ("Last words", result.get("stdout") or ""),
    ):
        if text.strip() and cut(text) not in lines:
            lines += ["", f"{title}:", cut(text)]
    return original_of(task) + RULE + "\n".join(lines)


def with_answer(text: str, question: str, answer: str) -> str:
    return f"{text}{RULE}You asked: {cut(question)}\nAnswer: {cut(answer)}"


def with_feedback(text: str, feedback: str, *, count: int) -> str:
    return f"{text}{RULE}Feedback {count} of a reviewer: {cut(feedback)}"


def cut(text: str) -> str:
    """At most `LONGEST` characters: beginning and end, where an error's reason usually stands."""
    text = text.strip()
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"
