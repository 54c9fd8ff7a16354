"""The very first start: an operator, a workspace, a token, a signing key, and a command that tries them."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, NamedTuple

from django.db import transaction

from apps.accounts.models import User
from apps.accounts.services import create_operator
from apps.core.actor import Caller, CallerKind, Scope
from apps.core.errors import Conflict
from apps.workspaces.selectors import operator_actor
from apps.workspaces.services import create_workspace, issue_hmac_key, issue_token
from polymux.embedded.say import say

if TYPE_CHECKING:
    from collections.abc import Callable

EMAIL = "operator@localhost"


class Welcome(NamedTuple):
    """What is shown once and kept nowhere."""

    email: str
    password: str
    token: str
    key_id: str
    key_secret: str


def set_up() -> Welcome | None:
    """Make the first records, all or nothing; None when this installation has an operator."""
    if User.objects.filter(is_superuser=True).exists():
        return None
    password = secrets.token_urlsafe(15)
    try:
        with transaction.atomic():
            user = create_operator(EMAIL, password)
            caller = Caller(CallerKind.OPERATOR, Scope.ADMIN, user_id=user.pk, platform=True)
            place = create_workspace(caller, name="Default", slug="default")
            _, token = issue_token(caller, name="First token", scope="admin", purpose="first start")
            inside = operator_actor(caller, place.pk)
            key, secret = issue_hmac_key(inside, name="First signing key")
    except Conflict:  # another process of this installation was first
        return None
    return Welcome(EMAIL, password, token, key.prefix, secret)


def show(welcome: Welcome, address: str, write: Callable[[str], None] = say) -> None:
    """The operator's login, the token and a ready command. Shown once, never again."""
    body = json.dumps({"model": "default", "messages": [{"role": "user", "content": "Hello!"}]})
    write("")
    write("  This is shown once, keep it:")
    write("")
    write(f"  Console    {address}/admin/")
    write(f"  Operator   {welcome.email}")
    write(f"  Password   {welcome.password}")
    write(f"  API token  {welcome.token}")
    write(f"  Deploys    POLYMUX_KEY_ID={welcome.key_id}")
    write(f"             POLYMUX_KEY_SECRET={welcome.key_secret}")
    write("")
    write("  Try it:")
    write("")
    write(f"  curl {address}/v1/chat/completions \\")
    write(f"    -H 'Authorization: Bearer {welcome.token}' \\")
    write("    -H 'Content-Type: application/json' \\")
    write(f"    -d '{body}'")
    write("")
