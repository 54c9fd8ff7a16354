"""What happened to people. These facts stand above workspaces: the audit entry is their record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from apps.core.facts import Fact

if TYPE_CHECKING:
    from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCreated(Fact):
    name: ClassVar[str] = "user.created"
    subject: ClassVar[tuple[str, str]] = ("user", "user_id")

    user_id: UUID
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserChanged(Fact):
    name: ClassVar[str] = "user.changed"
    subject: ClassVar[tuple[str, str]] = ("user", "user_id")

    user_id: UUID
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordChanged(Fact):
    name: ClassVar[str] = "user.password_changed"
    subject: ClassVar[tuple[str, str]] = ("user", "user_id")

    user_id: UUID
