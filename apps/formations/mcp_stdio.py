"""An MCP server as a child process: newline-delimited JSON-RPC over its pipes.

The SDK's own stdio transport buffers a line without end and leaves grandchildren behind when the
server exits by itself; this one caps a line and kills the whole process group, always.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import mcp_types
from django.conf import settings
from mcp.shared.message import SessionMessage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

LONGEST_LINE = 4 * 1024 * 1024  # bytes of one message
GRACE = 1.0  # seconds between closing stdin, SIGTERM and SIGKILL
# Nothing else of our environment reaches the child: no keys, no database URL.
INHERITED = ("PATH", "LANG", "LC_ALL", "TZ")


@asynccontextmanager
async def child_process(
    command: Sequence[str], env: Mapping[str, str], name: str, ended: Callable[[], None]
) -> AsyncIterator[tuple[Any, Any]]:
    """Start the server; yields the SDK's (read, write) streams. OSError when it cannot start.

    `ended` is called when the server closes its output: nobody need find out by a failed call.
    """
    home = _home(name)
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=_clean_environment(home) | dict(env),
        cwd=home,
        start_new_session=True,
        limit=LONGEST_LINE,
    )
    heard, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, said = anyio.create_memory_object_stream[SessionMessage](0)
    pumps = [
        asyncio.ensure_future(_hear(process, heard, ended)),
        asyncio.ensure_future(_say(process, said, heard)),
    ]
    try:
        yield read, write
    finally:
        # Shielded: a cancelled caller must not leave a process behind. Bounded by a few GRACE.
        await asyncio.shield(_end(process, pumps, (heard, read, write, said)))


def _home(name: str) -> Path:
    home = settings.DATA_DIR / "mcp" / name
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return home


def _clean_environment(home: Path) -> dict[str, str]:
    kept = {key: os.environ[key] for key in INHERITED if key in os.environ}
    return {**kept, "HOME": str(home), "TMPDIR": str(home)}


async def _hear(process: asyncio.subprocess.Process, heard: Any, ended: Callable[[], None]) -> None:
    try:
        await _read_lines(process, heard)
    finally:
        ended()


async def _read_lines(process: asyncio.subprocess.Process, heard: Any) -> None:
    assert process.stdout is not None
    with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        async with heard:  # closing it tells the session that the connection ended
            while True:
                try:
                    line = await process.stdout.readline()
                except ValueError:  # longer than LONGEST_LINE
                    log.warning("an MCP server sent a message of more than %d bytes", LONGEST_LINE)
                    return
                if not line:
                    return
                await heard.send(_parsed(line))


def _parsed(line: bytes) -> SessionMessage | Exception:
    try:
        return SessionMessage(mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        return error


async def _say(process: asyncio.subprocess.Process, said: Any, heard: Any) -> None:
    assert process.stdin is not None
    try:
        async with said:
            async for message in said:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                process.stdin.write(text.encode() + b"\n")
                await process.stdin.drain()
    except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        await heard.aclose()


async def _end(
    process: asyncio.subprocess.Process, pumps: list[Any], streams: tuple[Any, ...]
) -> None:
    if process.stdin is not None:
        process.stdin.close()
    if not await _gone(process):
        _signal_group(process.pid, signal.SIGTERM)
        await _gone(process)
    # Also when the server went by itself: what it started goes with it.
    _signal_group(process.pid, signal.SIGKILL)
    for pump in pumps:
        pump.cancel()
    await asyncio.gather(*pumps, return_exceptions=True)
    for stream in streams:
        await stream.aclose()
    await _gone(process)


async def _gone(process: asyncio.subprocess.Process) -> bool:
    """Polls the return code: `wait()` also waits for pipes that a grandchild may hold open."""
    for _ in range(int(GRACE / 0.02)):
        if process.returncode is not None:
            return True
        await asyncio.sleep(0.02)
    return process.returncode is not None


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
