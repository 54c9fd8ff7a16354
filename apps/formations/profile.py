"""What may stand in the fields of an agent and of a team, with words beside each field.

Documents (contract/polpo.md §7.2 and §8) spell the fields in camel case: `fields_of` and `config_of`
translate.
"""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from apps.core.clock import rfc3339
from apps.core.errors import InvalidInput
from apps.engine.refs import canonical_ref, colon_ref
from apps.formations.models import Reasoning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from apps.formations.models import Agent, Team

MAX_PROMPT = 100_000  # characters
MAX_TOOLS = 200
MAX_NAMES = 100  # skills, paths, domains, tags
MAX_TURNS = 200
MAX_CONCURRENCY = 1_000
MAX_IDENTITY = 50_000  # characters of its text
LONGEST_LINE = 2_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_. -]{0,99}")
# `/agents/{name}` is read as something else for these (contract/polpo.md §3.4).
RESERVED_NAMES = frozenset({"team", "teams", "processes"})
FIELDS = (
    "name",
    "team",
    "role",
    "model",
    "fallback_model",
    "system_prompt",
    "tools",
    "skills",
    "allowed_paths",
    "temperature",
    "reasoning",
    "max_turns",
    "max_concurrency",
    "is_default",
    "identity",
    "reports_to",
    "extras",
    "metadata",
)
LINES = frozenset(
    {
        "displayName",
        "title",
        "company",
        "email",
        "bio",
        "timezone",
        "avatar",
        "tone",
        "personality",
    }
)
EXTRA_LINES = frozenset({"browserProfile", "version", "author"})
EXTRA_LISTS = frozenset({"emailAllowedDomains", "tags"})
EXTRAS = EXTRA_LINES | EXTRA_LISTS
# AgentConfig's names that are not ours in another case.
CONFIG = {
    "systemPrompt": "system_prompt",
    "allowedTools": "tools",
    "allowedPaths": "allowed_paths",
    "maxTurns": "max_turns",
    "maxConcurrency": "max_concurrency",
    "reportsTo": "reports_to",
}
# What an AgentConfig says of itself and nobody may set.
SAID_BY_US = frozenset({"createdAt", "volatile", "missionGroup"})


# --- Documents ------------------------------------------------------------------------------------
def fields_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """An AgentConfig (or a part of one) as fields of `create_agent`; our own names pass as they are."""
    plain = {
        CONFIG.get(key, key): value
        for key, value in document.items()
        if key not in EXTRAS and key not in SAID_BY_US
    }
    extras = {key: value for key, value in document.items() if key in EXTRAS}
    if isinstance(plain.get("model"), str):
        plain["model"] = canonical_ref(plain["model"])
    if "reports_to" in plain:
        plain["reports_to"] = plain["reports_to"] or ""
    return plain | ({"extras": extras} if extras else {})


def config_name(field: str) -> str:
    """How an AgentConfig calls our `field`."""
    head, dot, rest = field.partition(".")
    if head == "extras" and dot:
        return rest
    return {ours: theirs for theirs, ours in CONFIG.items()}.get(head, head) + dot + rest


def config_of(agent: Agent) -> dict[str, Any]:
    """The agent as an AgentConfig (contract/polpo.md §8); optional fields without a value are absent."""
    optional = {
        "role": agent.role,
        "model": colon_ref(agent.model),
        "allowedPaths": agent.allowed_paths,
        "identity": agent.identity,
        "reportsTo": agent.reports_to,
        "systemPrompt": agent.system_prompt,
        "skills": agent.skills,
        "maxConcurrency": agent.max_concurrency,
        "reasoning": agent.reasoning,
        "volatile": agent.volatile,
        "missionGroup": agent.mission_group,
        **agent.extras,
    }
    shown = {"name": agent.name, "createdAt": rfc3339(agent.created_at)}
    shown |= {key: value for key, value in optional.items() if value}
    if agent.tools is not None:  # an empty list means no tools at all
        shown["allowedTools"] = agent.tools
    return shown | {"maxTurns": agent.max_turns}


def team_config(team: Team, agents: Iterable[Agent]) -> dict[str, Any]:
    """A team and its agents as a Team (contract/polpo.md §8)."""
    described = {"description": team.description} if team.description else {}
    return {"name": team.name, **described, "agents": [config_of(agent) for agent in agents]}


def merged(known: Mapping[str, Any], changes: Any) -> Any:
    """`known` with the keys of `changes`; a null takes a key away. Null for all empties it."""
    if changes is None:
        return {}
    if not isinstance(changes, dict):
        return changes
    return {key: value for key, value in {**known, **changes}.items() if value is not None}


# --- Checks ---------------------------------------------------------------------------------------
def check_names(given: Iterable[str]) -> None:
    """Raises InvalidInput that names each unknown field."""
    unknown = sorted(set(given) - set(FIELDS))
    if unknown:
        raise InvalidInput(fields={name: ["Unknown field."] for name in unknown})


def check_agent(agent: Any) -> None:
    """The agent before it is saved: its fields hold whatever the caller gave. Raises InvalidInput."""
    problems = {
        field: [words] for field, (fits, words) in _RULES.items() if not fits(getattr(agent, field))
    }
    problems |= _problems_of_identity(agent.identity) | _problems_of_extras(agent.extras)
    if agent.is_default is True and agent.volatile:
        problems["is_default"] = ["A volatile agent cannot be the default one."]
    refuse(problems)


def check_new_name(name: Any) -> None:
    """Raises InvalidInput for a name that a path of the API needs."""
    if isinstance(name, str) and name.lower() in RESERVED_NAMES:
        raise InvalidInput(fields={"name": ["This name is reserved."]})


def refuse(problems: Mapping[str, list[str]]) -> None:
    """Raises InvalidInput when there are any."""
    if problems:
        field, words = next(iter(problems.items()))
        raise InvalidInput(f"{field}: {words[0]}", fields=dict(problems))


@contextmanager
def complaining_of(prefix: str = "") -> Iterator[None]:
    """Names the fields of an InvalidInput from inside as a document does, with `prefix` before them."""
    try:
        yield
    except InvalidInput as refused:
        named = refused.details.get("fields", {})
        refuse({prefix + config_name(field): words for field, words in named.items()})
        raise


def is_line(value: Any, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest and _is_storable(value)


def _is_storable(text: str) -> bool:
    return "\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _line_of(longest: int) -> tuple[Callable[[Any], bool], str]:
    return lambda value: is_line(value, longest), f"Must be text of at most {longest} characters."


def _is_number(value: Any, low: float, high: float) -> bool:
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return real and math.isfinite(value) and low <= value <= high


def _is_whole(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _are_names(value: Any, most: int, longest: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= most
        and all(is_line(item, longest) and item for item in value)
    )


def _are_paths(value: Any) -> bool:
    return _are_names(value, MAX_NAMES, 1_000) and not any(
        ".." in path.replace("\\", "/").split("/") for path in value
    )


def _is_metadata(value: Any) -> bool:
    return isinstance(value, dict) and len(str(value)) <= MAX_PROMPT


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (
        lambda value: isinstance(value, str) and NAME.fullmatch(value) is not None,
        "1 to 100 letters, digits, spaces and ._- beginning with a letter or digit.",
    ),
    "role": _line_of(500),
    "model": _line_of(200),
    "fallback_model": _line_of(200),
    "system_prompt": _line_of(MAX_PROMPT),
    "tools": (
        lambda value: value is None or _are_names(value, MAX_TOOLS, 120),
        f"Must be null or a list of at most {MAX_TOOLS} tool names.",
    ),
    "skills": (
        lambda value: _are_names(value, MAX_NAMES, 200),
        f"Must be a list of at most {MAX_NAMES} skill names.",
    ),
    "allowed_paths": (
        lambda value: value is None or _are_paths(value),
        f"Must be null or a list of at most {MAX_NAMES} paths without `..`.",
    ),
    "temperature": (
        lambda value: value is None or _is_number(value, 0, 2),
        "Must be between 0 and 2.",
    ),
    "reasoning": (
        lambda value: isinstance(value, str) and value in {"", *Reasoning.values},
        f"Must be one of {', '.join(Reasoning.values)}, or empty.",
    ),
    "max_turns": (
        lambda value: _is_whole(value, 1, MAX_TURNS),
        f"Must be between 1 and {MAX_TURNS}.",
    ),
    "max_concurrency": (
        lambda value: value is None or _is_whole(value, 1, MAX_CONCURRENCY),
        f"Must be null or between 1 and {MAX_CONCURRENCY}.",
    ),
    "is_default": (lambda value: isinstance(value, bool), "Must be true or false."),
    "reports_to": _line_of(100),
    "metadata": (_is_metadata, "Must be an object of moderate size."),
}


# --- Who it is (contract/polpo.md §8) -------------------------------------------------------------
def _problems_of_identity(identity: Any) -> dict[str, list[str]]:
    if not isinstance(identity, dict) or len(str(identity)) > MAX_IDENTITY:
        return {"identity": ["Must be an object of moderate size."]}
    problems: dict[str, list[str]] = {}
    for key, value in identity.items():
        if words := _problem_of(key, value):
            problems[f"identity.{key}"] = [words]
    return problems


def _problem_of(key: str, value: Any) -> str:
    if key in LINES:
        fits, words = _line_of(LONGEST_LINE)
        return "" if fits(value) else words
    if key == "responsibilities":
        bounded = isinstance(value, list) and len(value) <= MAX_NAMES
        good = bounded and all(_is_responsibility(item) for item in value)
        return "" if good else "Must be a list of texts, or of {area, description, priority?}."
    if key == "socials":
        good = isinstance(value, dict) and _are_names([*value, *value.values()], 100, 500)
        return "" if good else "Must be an object of name and address."
    return "Unknown field."


def _is_responsibility(item: Any) -> bool:
    if not isinstance(item, dict):
        return is_line(item, LONGEST_LINE)
    named = {"area", "description"} <= item.keys() <= {"area", "description", "priority"}
    return named and all(is_line(value, LONGEST_LINE) for value in item.values())


def _problems_of_extras(extras: Any) -> dict[str, list[str]]:
    if not isinstance(extras, dict):
        return {"extras": ["Must be an object."]}
    problems = {}
    for key, value in extras.items():
        if key not in EXTRAS:
            problems[f"extras.{key}"] = ["Unknown field."]
        elif key in EXTRA_LINES and not is_line(value, 200):
            problems[f"extras.{key}"] = ["Must be text of at most 200 characters."]
        elif key in EXTRA_LISTS and not _are_names(value, MAX_NAMES, 200):
            problems[f"extras.{key}"] = [f"Must be a list of at most {MAX_NAMES} names."]
    return problems
