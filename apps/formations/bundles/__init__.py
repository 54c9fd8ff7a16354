"""Bundles: what is deployed. Plain Python, no Django (contract/muxi.md §3.2-3.3 and §6).

An archive is unpacked with limits (`unpack`), read into a document with every error named by file and
line (`read`), and made again (`pack`). Nothing secret enters the document: placeholders stay, and
whoever uses a value fills it in at the last moment (`fill_secrets`).
"""

from __future__ import annotations

from apps.formations.bundles.errors import BundleError, BundleTooLarge, DiskRefused, Problem
from apps.formations.bundles.limits import USUAL, Limits
from apps.formations.bundles.names import RESERVED, checked_id
from apps.formations.bundles.packing import pack
from apps.formations.bundles.placeholders import fields_of, fill_secrets, render, secret_name
from apps.formations.bundles.reading import USUAL_VERSION, Bundle, read
from apps.formations.bundles.servers import slug_of
from apps.formations.bundles.unpacking import unpack
from apps.formations.bundles.vault import seal_secrets

__all__ = [
    "RESERVED",
    "USUAL",
    "USUAL_VERSION",
    "Bundle",
    "BundleError",
    "BundleTooLarge",
    "DiskRefused",
    "Limits",
    "Problem",
    "checked_id",
    "fields_of",
    "fill_secrets",
    "pack",
    "read",
    "render",
    "seal_secrets",
    "secret_name",
    "slug_of",
    "unpack",
]
