"""The operator's pages of formations: importing them registers them."""

from __future__ import annotations

from apps.formations.admin import formations, means, people

__all__ = ["formations", "means", "people"]
