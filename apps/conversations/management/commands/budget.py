"""`manage.py budget`: caps on what a workspace, agent, session or token may spend.

It stands here and not beside `apps.runs.budgets`, since a budget's subject may be a session.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.accounts.operating import Row, whole
from apps.conversations.selectors import get_session
from apps.core.checks import wrong
from apps.core.ids import parse_session_id
from apps.formations.selectors import find_agent
from apps.runs.budgets import set_budget
from apps.runs.models import Budget
from apps.workspaces.operating import WorkspaceCommand, token_id_of

if TYPE_CHECKING:
    from uuid import UUID

    from apps.core.actor import Actor

LISTED = 1_000
MICROS = 1_000_000
LARGEST = 2**63 - 1
LIFT = "none"


class Command(WorkspaceCommand):
    help = "List budgets; cap tokens, cost and tool calls. A cap that is not named stays."
    examples = """
  manage.py budget list --workspace default
  manage.py budget set --workspace default --tokens 5000000 --cost-usd 20
  manage.py budget set --workspace default --agent Scout --tool-calls 1000
  manage.py budget set --workspace default --token pmx_3fQa --cost-usd none
"""

    def add_verbs(self) -> None:
        self.add_verb("list", self.rows, "list the caps and what is spent")
        parser = self.add_verb("set", self.set_caps, "set caps; 'none' lifts one")
        subject = parser.add_mutually_exclusive_group()
        subject.add_argument("--agent", metavar="NAME")
        subject.add_argument("--session", metavar="ID")
        subject.add_argument("--token", metavar="PREFIX")
        parser.add_argument("--tokens", metavar="N")
        parser.add_argument("--cost-usd", metavar="X")
        parser.add_argument("--tool-calls", metavar="N")

    def rows(self, options: dict[str, Any]) -> list[Row]:
        budgets = Budget.objects.in_workspace(self.actor(options).workspace_id)
        return [_row(budget) for budget in budgets.order_by("subject_type", "pk")[:LISTED]]

    def set_caps(self, options: dict[str, Any]) -> Row:
        actor = self.actor(options)
        caps = _caps(options)
        if not caps:
            raise wrong("options", "Say which cap: --tokens, --cost-usd or --tool-calls.")
        kind, subject_id = _subject(actor, options)
        with transaction.atomic():
            return _row(set_budget(actor, kind, subject_id, **_present(actor, subject_id) | caps))


def _subject(actor: Actor, options: dict[str, Any]) -> tuple[str, UUID]:
    """What the budget is for, looked up in the workspace. Raises NotFound."""
    if options["agent"] is not None:
        return "agent", find_agent(actor, options["agent"].replace("\x00", "")).pk
    if options["session"] is not None:
        return "session", get_session(actor, parse_session_id(options["session"])[1]).pk
    if options["token"] is not None:
        return "token", token_id_of(actor, options["token"].replace("\x00", ""))
    return "workspace", actor.workspace_id


def _present(actor: Actor, subject_id: UUID) -> dict[str, int | None]:
    """The caps as they are, held until the transaction ends."""
    rows = Budget.objects.in_workspace(actor.workspace_id).select_for_update()
    known = rows.filter(subject_id=subject_id).first()
    if known is None:
        return {}
    return {
        "tokens": known.limit_tokens,
        "cost_micros": known.limit_cost_micros,
        "tool_calls": known.limit_tool_calls,
    }


def _caps(options: dict[str, Any]) -> dict[str, int | None]:
    """The caps that were given, as arguments of the service."""
    caps: dict[str, int | None] = {}
    for name in ("tokens", "tool_calls"):
        if (given := options[name]) is not None:
            caps[name] = None if given == LIFT else _bounded(name, whole(name, given))
    if (given := options["cost_usd"]) is not None:
        caps["cost_micros"] = None if given == LIFT else _micros(given)
    return caps


def _micros(given: str) -> int:
    try:
        return _bounded("cost_usd", int(Decimal(given) * MICROS))
    except (InvalidOperation, ValueError, OverflowError):
        raise wrong("cost_usd", f"{given!r} is not an amount.") from None


def _bounded(name: str, value: int) -> int:
    if not 0 <= value <= LARGEST:
        raise wrong(name, "Must be 0 or more, and fit the database.")
    return value


def _row(budget: Budget) -> Row:
    return {
        "subject": budget.subject_type,
        "id": str(budget.subject_id),
        "tokens_spent": budget.spent_tokens,
        "tokens_cap": budget.limit_tokens,
        "usd_spent": budget.spent_cost_micros / MICROS,
        "usd_cap": _usd(budget.limit_cost_micros),
        "calls_spent": budget.spent_tool_calls,
        "calls_cap": budget.limit_tool_calls,
    }


def _usd(micros: int | None) -> float | None:
    return None if micros is None else micros / MICROS
