"""An MCP server as a child process: newline-delimited JSON-RPC over its pipes.

The SDK's own stdio transport buffers a line without end and leaves grandchildren behind when the
server exits by itself; this one caps a line and kills the whole process group, always. A server that
takes more memory than it may is ended alone.
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

from apps.core import processes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

LONGEST_LINE = 4 * 1024 * 1024  # bytes of one message
GRACE = 1.0  # seconds between closing stdin, SIGTERM and SIGKILL
LOOK_EVERY = 1.0  # seconds between two looks at its memory
# Nothing else of our environment reaches the child: no keys, no database URL.
INHERITED = ("PATH", "LANG", "LC_ALL", "TZ")


@asynccontextmanager
async def child_process(
    command: Sequence[str],
    env: Mapping[str, str],
    name: str,
    ended: Callable[[str], None],
    *,
    memory: int,
) -> AsyncIterator[tuple[Any, Any]]:
    """Start the server; yields the SDK's (read, write) streams. OSError when it cannot start.

    `ended` is called when the server closes its output, with the reason where we know it: nobody need
    find out by a failed call. Beyond `memory` bytes, with all that it started, it is killed.
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
        asyncio.ensure_future(_watch(process, memory, ended)),
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


async def _hear(
    process: asyncio.subprocess.Process, heard: Any, ended: Callable[[str], None]
) -> None:
    try:
        await _read_lines(process, heard)
    finally:
        ended("")


async def _watch(
    process: asyncio.subprocess.Process, memory: int, ended: Callable[[str], None]
) -> None:
    """A limit for each process of the family would not hold for all of them: they are looked at."""
    while True:
        await asyncio.sleep(LOOK_EVERY)
        held = await asyncio.to_thread(_held, process.pid, memory)
        if held > memory:
            log.warning("an MCP server took %d MiB and was ended", held >> 20)
            ended(f"It took more than {memory >> 20} MiB of memory.")
            _signal_group(process.pid, signal.SIGKILL)
            return


def _held(pid: int, enough: int) -> int:
    return processes.memory_of(processes.family_of(pid), enough)


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
