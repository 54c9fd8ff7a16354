"""Set up `.venv` from `uv.lock`, with nothing but Python 3.11 and the package index.

    python3 polymux/embedded/bootstrap.py [--dev] [--extra NAME]…

Finds uv, or gets it into `.uv/`: by pip, else by a virtual environment's pip, else (Debian's python3
has neither) straight from the index, since a wheel is a zip file. Then `uv sync --frozen`. Does
nothing when `.venv` already is what `uv.lock` says. Standard library only; run as a script.
"""

from __future__ import annotations

import argparse
import configparser
import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
OLDEST_UV = (0, 8, 0)
DEFAULT_INDEX = "https://pypi.org/simple"
TIMEOUT = 60


class SetupFailed(SystemExit):
    """One clear line on stderr, exit code 1."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"setup: {problem}")


def say(line: str) -> None:
    print(f"setup: {line}", flush=True)


# --- the right Python ------------------------------------------------------------------------


def use_new_enough_python() -> None:
    """Continue in a Python of at least 3.11, if `python3` is an older one."""
    if tuple(sys.version_info) >= (3, 11):  # this file runs before we know
        return
    for minor in (14, 13, 12, 11):
        if other := shutil.which(f"python3.{minor}"):
            os.execv(other, [other, *sys.argv])  # noqa: S606
    raise SetupFailed(f"Python 3.11 or newer is needed, this is {platform.python_version()}")


def base_python() -> str:
    """This interpreter, or the one behind it when a virtual environment is active."""
    return getattr(sys, "_base_executable", None) or sys.executable


# --- uv ----------------------------------------------------------------------------------------


def uv_version(program: str | Path) -> tuple[int, ...]:
    """`(0, 9, 7)`; `(0,)` for what is not a working uv."""
    try:
        shown = subprocess.run(
            [str(program), "--version"], capture_output=True, text=True, timeout=30, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return (0,)
    found = re.match(r"uv (\d+)\.(\d+)\.(\d+)", shown)
    return tuple(map(int, found.groups())) if found else (0,)


def get_uv(folder: Path) -> str:
    """A working uv: the one on PATH, the one in `folder`, or a new one put there."""
    for known in (shutil.which("uv"), folder / "bin" / "uv"):
        if known and uv_version(known) >= OLDEST_UV:
            return str(known)
    say("getting uv, the package installer")
    for way in (with_pip, with_venv, with_index):
        program = way(folder)
        if program and uv_version(program) >= OLDEST_UV:
            return str(program)
    raise SetupFailed(
        "uv could not be had from the package index: check the network, or install uv and try again"
    )


def _quietly(command: list[str]) -> bool:
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    return done.returncode == 0


def with_pip(folder: Path) -> Path | None:
    command = [sys.executable, "-m", "pip", "install", "-q", "--upgrade", "--target", str(folder)]
    return folder / "bin" / "uv" if _quietly([*command, "uv"]) else None


def with_venv(folder: Path) -> Path | None:
    """Debian's venv may lack pip: then this is simply not the way."""
    home = folder / "venv"
    if not _quietly([sys.executable, "-m", "venv", "--clear", str(home)]):
        return None
    python = str(home / "bin" / "python")
    if not _quietly([python, "-m", "pip", "install", "-q", "uv"]):
        return None
    return home / "bin" / "uv"


def with_index(folder: Path) -> Path | None:
    """Fetch the newest uv wheel for this machine and take the program out of it."""
    try:
        url, digest = newest_wheel(f"{index_url().rstrip('/')}/uv/")
        content = _fetch(url)
    except (OSError, LookupError) as error:
        say(f"no uv from the index: {error}")
        return None
    if digest and hashlib.sha256(content).hexdigest() != digest:
        raise SetupFailed("the downloaded uv is not what the index says it is")
    return unpack_uv(content, folder)


def unpack_uv(wheel: bytes, folder: Path) -> Path:
    target = folder / "bin" / "uv"
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        name = next(n for n in archive.namelist() if re.fullmatch(r"uv-[^/]+/scripts/uv", n))
        target.write_bytes(archive.read(name))
    target.chmod(0o755)
    return target


def newest_wheel(page_url: str) -> tuple[str, str]:
    """(address, SHA-256) of the newest wheel for this machine; `LookupError` if there is none."""
    page = _fetch(page_url).decode()
    best: tuple[tuple[int, ...], str] | None = None
    for link in re.findall(r'href="([^"]+)"', page):
        name = urllib.parse.unquote(link.split("#")[0].rsplit("/", 1)[-1])
        found = re.fullmatch(r"uv-(\d+)\.(\d+)\.(\d+)-py3-none-(.+)\.whl", name)
        if found and fits_here(found[4]):
            version = tuple(int(part) for part in found.groups()[:3])
            best = max(best, (version, link)) if best else (version, link)
    if best is None:
        raise LookupError(f"{page_url} has no uv for {platform.system()} {platform.machine()}")
    address = urllib.parse.urljoin(page_url, best[1].replace("&amp;", "&"))
    digest = re.search(r"#sha256=([0-9a-f]{64})", address)
    return address.split("#")[0], digest[1] if digest else ""


def fits_here(tag: str) -> bool:
    """Whether a wheel with platform `tag` runs on this machine."""
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    if sys.platform == "darwin":
        return tag.startswith("macosx") and tag.endswith(machine)
    libc = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
    return libc in tag and tag.endswith(machine)


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310  (an index's https)
        return bytes(answer.read())


def index_url() -> str:
    """The package index that pip would use."""
    return configured_index() or DEFAULT_INDEX


def configured_index() -> str:
    """`PIP_INDEX_URL`, else `index-url` of pip's own files, else nothing."""
    if url := os.environ.get("PIP_INDEX_URL"):
        return url
    reader = configparser.ConfigParser(interpolation=None)
    home = Path.home()
    files = [Path("/etc/pip.conf"), home / ".pip/pip.conf", home / ".config/pip/pip.conf"]
    if named := os.environ.get("PIP_CONFIG_FILE"):
        files.append(Path(named))
    try:
        reader.read(files)
    except configparser.Error:
        return ""
    return reader.get(
        "install", "index-url", fallback=reader.get("global", "index-url", fallback="")
    )


# --- the environment -----------------------------------------------------------------------------


def stamp_of(arguments: list[str]) -> str:
    """What `.venv` was made of: the lock file, what was asked for, which Python."""
    digest = hashlib.sha256()
    for name in ("uv.lock", "pyproject.toml"):
        digest.update((ROOT / name).read_bytes())
    digest.update("\0".join([*arguments, base_python(), platform.python_version()]).encode())
    return digest.hexdigest()


def uv_environment() -> dict[str, str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    environment["UV_PROJECT_ENVIRONMENT"] = str(ROOT / ".venv")
    if (certificates := os.environ.get("PIP_CERT")) and "SSL_CERT_FILE" not in environment:
        environment["SSL_CERT_FILE"] = certificates
    return environment


def sync(uv: str, arguments: list[str]) -> None:
    """Install exactly what the lock file says.

    The lock file names the public index's files. Behind a mirror that only pip was told about, the
    same files (by hash) are asked of the mirror.
    """
    command = [uv, "sync", "--frozen", "--inexact", "--python", base_python(), *arguments]
    environment = uv_environment()
    if (mirror := configured_index()) and "UV_DEFAULT_INDEX" not in environment:
        sync_from(mirror, uv, arguments, environment)
    elif subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
        raise SetupFailed("the packages could not be installed (see above)")


def sync_from(mirror: str, uv: str, arguments: list[str], environment: dict[str, str]) -> None:
    venv, wanted = ROOT / ".venv", ROOT / ".uv" / "requirements.txt"
    wanted.parent.mkdir(exist_ok=True)
    commands = [
        [uv, "export", "-q", "--frozen", *arguments, "-o", str(wanted)],
        [uv, "venv", "-q", "--allow-existing", "--python", base_python(), str(venv)],
        [uv, "pip", "install", "--no-deps", "--require-hashes", "--default-index", mirror],
    ]
    commands[2] += ["--python", str(venv / "bin" / "python"), "-r", str(wanted)]
    for command in commands:
        if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
            raise SetupFailed(f"the packages could not be installed from {_shown(mirror)}")


def _shown(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", url)


def main() -> None:
    use_new_enough_python()
    parser = argparse.ArgumentParser(description="Set up .venv from uv.lock.")
    parser.add_argument("--dev", action="store_true", help="also what tests and checks need")
    parser.add_argument("--extra", action="append", default=[], help="an optional part")
    wish = parser.parse_args()
    arguments = ["--dev" if wish.dev else "--no-dev"]
    for name in wish.extra:
        arguments += ["--extra", name]
    stamp = ROOT / ".venv" / f".made-{'dev' if wish.dev else 'run'}"
    wanted = stamp_of(arguments)
    if stamp.exists() and stamp.read_text() == wanted and (ROOT / ".venv/bin/python").exists():
        return
    uv = get_uv(ROOT / ".uv")
    say("installing packages into .venv (the first time takes a few minutes)")
    sync(uv, arguments)
    stamp.write_text(wanted)


if __name__ == "__main__":
    main()
