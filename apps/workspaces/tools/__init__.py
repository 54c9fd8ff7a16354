"""What agents may do in their workspace: files, searching, commands; and a look at its settings."""

from __future__ import annotations

from apps.core.tools import register
from apps.workspaces.tools.commands import RUN_COMMAND
from apps.workspaces.tools.config import GET_CONFIG
from apps.workspaces.tools.files import EDIT_FILE, LIST_FILES, READ_FILE, WRITE_FILE
from apps.workspaces.tools.search import GLOB, GREP_FILES


def register_tools() -> None:
    """Called in `ready()`."""
    files = (READ_FILE, WRITE_FILE, EDIT_FILE, LIST_FILES, GLOB, GREP_FILES)
    for tool in (*files, RUN_COMMAND, GET_CONFIG):
        register(tool)
