"""Getting uv with nothing but Python: the ways, and which one is taken."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from polymux.embedded import bootstrap

PROGRAM = b"#!/bin/sh\necho 'uv 9.9.9'\n"


def a_wheel():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as wheel:
        wheel.writestr("uv-9.9.9.data/scripts/uv", PROGRAM)
        wheel.writestr("uv/__init__.py", "")
    return content.getvalue()


def tag_of_this_machine():
    machine = os.uname().machine
    return f"macosx_11_0_{machine}" if sys.platform == "darwin" else f"manylinux_2_17_{machine}"


@pytest.fixture
def index():
    """A package index on this machine with uv 9.9.9 in it; `index.digest` may be made wrong."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            wheel = a_wheel()
            name = f"uv-9.9.9-py3-none-{tag_of_this_machine()}.whl"
            if self.path == "/simple/uv/":
                digest = self.server.digest or hashlib.sha256(wheel).hexdigest()
                old = f'<a href="../../files/uv-1.0.0-py3-none-{tag_of_this_machine()}.whl">old</a>'
                other = '<a href="../../files/uv-99.0.0-py3-none-win_arm64.whl">other</a>'
                body = f'{old}{other}<a href="../../files/{name}#sha256={digest}">it</a>'.encode()
            else:
                assert self.path == f"/files/{name}"
                body = wheel
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.digest = ""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_port}/simple"
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def no_uv(monkeypatch):
    monkeypatch.setattr(bootstrap.shutil, "which", lambda _name: None)


def test_a_uv_on_the_path_is_used(tmp_path, monkeypatch):
    there = tmp_path / "elsewhere" / "uv"
    there.parent.mkdir()
    there.write_bytes(PROGRAM)
    there.chmod(0o755)
    monkeypatch.setenv("PATH", str(there.parent), prepend=os.pathsep)
    assert bootstrap.get_uv(tmp_path) == str(there)


def test_without_pip_the_newest_wheel_that_fits_comes_from_the_index(
    tmp_path, monkeypatch, no_uv, index
):
    monkeypatch.setattr(bootstrap, "with_pip", lambda _folder: None)
    monkeypatch.setattr(bootstrap, "with_venv", lambda _folder: None)
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    found = bootstrap.get_uv(tmp_path)
    assert found == str(tmp_path / "bin" / "uv")
    assert bootstrap.uv_version(found) == (9, 9, 9)
    assert bootstrap.get_uv(tmp_path) == found


def test_a_wheel_that_is_not_what_the_index_says_is_refused(tmp_path, monkeypatch, index):
    index.digest = "0" * 64
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    with pytest.raises(bootstrap.SetupFailed, match="not what the index says"):
        bootstrap.with_index(tmp_path)


def test_an_index_out_of_reach_is_said_in_one_line(tmp_path, monkeypatch, no_uv, capsys):
    monkeypatch.setattr(bootstrap, "with_pip", lambda _folder: None)
    monkeypatch.setattr(bootstrap, "with_venv", lambda _folder: None)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    with pytest.raises(bootstrap.SetupFailed) as failure:
        bootstrap.get_uv(tmp_path)
    assert "\n" not in str(failure.value)


def test_pips_own_configuration_names_the_index(tmp_path, monkeypatch):
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = https://mirror.example/simple\n")
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    assert bootstrap.index_url() == "https://mirror.example/simple"


def test_the_script_runs_without_the_project_and_without_site_packages():
    script = Path(bootstrap.__file__)
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(script), "--help"], capture_output=True, check=False
    )
    assert done.returncode == 0
