"""What agents may do in their workspace's folder: files, searching, commands."""

from __future__ import annotations

from apps.core.tools import register
from apps.workspaces.tools.commands import RUN_COMMAND
from apps.workspaces.tools.files import EDIT_FILE, LIST_FILES, READ_FILE, WRITE_FILE
from apps.workspaces.tools.search import GLOB, GREP_FILES


def register_tools() -> None:
    """Called in `ready()`."""
    for tool in (READ_FILE, WRITE_FILE, EDIT_FILE, LIST_FILES, GLOB, GREP_FILES, RUN_COMMAND):
        register(tool)
