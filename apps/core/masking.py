"""What may be shown of a secret: enough to recognise it, too little to use it (contract/muxi.md §5.9)."""

from __future__ import annotations

import re
from typing import Any

from apps.core.redact import is_secret

DOTS = "\u2022" * 8
SHORT = 12  # characters: of these and fewer nothing is shown
TAIL = 4
HIDDEN_AT_LEAST = 5  # characters
# How providers mark their keys, the longer mark before the shorter one that begins it.
PREFIXES = (
    "sk_muxi_client_",
    "sk_muxi_admin_",
    "github_pat_",
    "sk-proj-",
    "sk_live_",
    "sk_test_",
    "pk_live_",
    "pk_test_",
    "sk-ant-",
    "glpat-",
    "whsec_",
    "sk-or-",
    "xoxb-",
    "xoxp-",
    "xapp-",
    "AKIA",
    "AIza",
    "fma_",
    "fmc_",
    "gho_",
    "ghp_",
    "ghs_",
    "ghu_",
    "gsk_",
    "pmx_",
    "hf_",
    "sk-",
    "sk_",
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_USER_IN_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#\s]*@")
_PLACEHOLDER = re.compile(r"\$\{\{.+?\}\}")
# Everything below these is a secret, whatever it is called there.
_SEALED_MAPS = frozenset({"env", "headers", "api_keys"})
_NAMES = frozenset({"key", "connection_string", "dsn", "pass"})
# What an `auth` block says without telling anything.
_PLAIN_AUTH = frozenset({"type", "header", "username"})
_FLAG = re.compile(
    r"(--?[\w-]*(?:key|token|secret|passw)[\w-]*)(=?)(.*)", re.IGNORECASE | re.DOTALL
)


def masked(value: str) -> str:
    """First and last four characters around eight dots; of up to twelve characters only the dots.

    A known prefix is kept with two characters more, of a URL only its scheme.
    """
    if scheme := _URL.match(value):
        return scheme.group() + DOTS
    if len(value) <= SHORT:
        return DOTS
    prefix = next((known for known in PREFIXES if value.startswith(known)), "")
    head = len(prefix) + 2 if prefix else 4
    if len(value) - head - TAIL < HIDDEN_AT_LEAST:
        return prefix + DOTS
    return f"{value[:head]}{DOTS}{value[-TAIL:]}"


def masked_block(value: Any, *, sealed: bool = False, auth: bool = False) -> Any:
    """A block of configuration as JSON, with what is secret in it masked; placeholders stay.

    `sealed`: all below is secret; `auth`: all but what names the kind of login.
    """
    if isinstance(value, dict):
        return {
            str(name): _entry(str(name), item, sealed=sealed, auth=auth)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return _words(value, hide=sealed or auth)
    if isinstance(value, str):
        return _text(value, hide=sealed or auth)
    return value


def _entry(name: str, value: Any, *, sealed: bool, auth: bool) -> Any:
    word = name.lower()
    if auth and word in _PLAIN_AUTH and isinstance(value, str):
        return value
    hide = sealed or word in _SEALED_MAPS
    if isinstance(value, str):
        return _text(value, hide=hide or auth or word in _NAMES or is_secret(name, value))
    return masked_block(value, sealed=hide, auth=auth or word == "auth")


def _words(items: list[Any], *, hide: bool) -> list[Any]:
    """A list, which may be a command's arguments: `--token=x`, and what follows `--token`."""
    shown, follows = [], False
    for item in items:
        flag = _FLAG.fullmatch(item) if isinstance(item, str) else None
        if flag and flag.group(2):
            shown.append(f"{flag.group(1)}={_text(flag.group(3), hide=True)}")
        else:
            shown.append(masked_block(item, sealed=hide or follows))
        follows = flag is not None and not flag.group(2) and not flag.group(3)
    return shown


def _text(value: str, *, hide: bool) -> str:
    if _PLACEHOLDER.search(value) or not value:
        return value
    return masked(value) if hide or _USER_IN_URL.match(value) else value
