"""Login attempts, counted per account and per address before the password is looked at.

A window is a row; one statement counts and answers, so that attempts made at once are all seen.
Unknown accounts are counted like known ones: being throttled tells nobody that an account exists.
"""

from __future__ import annotations

import hashlib
import ipaddress
from datetime import timedelta

from apps.accounts.errors import LoginThrottled
from apps.accounts.models import LoginAttempt
from apps.core.clock import now
from apps.core.rows import execute

WINDOW = timedelta(minutes=15)
PER_ACCOUNT = 10
PER_ADDRESS = 50
_SWEEP = 50

_COUNT = """
INSERT INTO accounts_loginattempt AS a (key, window_start, tries) VALUES (%s, now(), 1)
ON CONFLICT (key) DO UPDATE SET
    tries = CASE WHEN a.window_start <= now() - %s THEN 1 ELSE least(a.tries + 1, 1000000) END,
    window_start = CASE WHEN a.window_start <= now() - %s THEN now() ELSE a.window_start END
RETURNING tries, extract(epoch FROM window_start + %s - now())"""

_DROP_OLD = """
DELETE FROM accounts_loginattempt WHERE key IN (
    SELECT key FROM accounts_loginattempt WHERE window_start <= %s
    ORDER BY window_start LIMIT %s FOR UPDATE SKIP LOCKED)"""


def count_login(email: str, ip: str) -> None:
    """Count one attempt; raise `LoginThrottled` when account or address has had too many."""
    _count(_address_key(ip), PER_ADDRESS)
    _count(_account_key(email), PER_ACCOUNT)


def forget_login(email: str) -> None:
    """A login succeeded: the account starts anew. The address does not: it may guess others."""
    LoginAttempt.objects.filter(key=_account_key(email)).delete()


def _count(key: str, most: int) -> None:
    [(tries, seconds)] = execute(_COUNT, [key, WINDOW, WINDOW, WINDOW])
    if tries == 1:
        execute(_DROP_OLD, [now() - WINDOW, _SWEEP])
    if tries > most:
        raise LoginThrottled(retry_after=max(1, int(seconds)))


def _account_key(email: str) -> str:
    folded = email.strip().lower().encode("utf-8", "replace")
    return "account:" + hashlib.sha256(folded).hexdigest()


def _address_key(ip: str) -> str:
    """An IPv6 customer owns a /64, so that is what counts as one address."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return "address:unknown"
    if address.version == 6:
        address = ipaddress.ip_network((address, 64), strict=False).network_address
    return f"address:{address}"
