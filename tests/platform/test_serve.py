"""`manage.py serve` from outside: the process, its words and its end."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time

import pytest

from polymux.embedded.postgres import PostgresServer

ONE_LINE = 1


def test_the_first_start_shows_a_command_that_works_and_a_later_one_does_not(serve, folder):
    first = serve().wait_until_up()
    assert f"curl {first.url}/v1/chat/completions" in first.out
    assert first.status("/me", token=first.token) == 200
    assert first.status("/me") == 401
    token = first.token
    assert first.stop() == 0
    assert "stopped" in first.out
    assert "Traceback" not in first.err

    began = time.monotonic()
    second = serve().wait_until_up()
    took = time.monotonic() - began
    assert "curl" not in second.out
    assert second.status("/me", token=token) == 200
    assert took < 25  # 5 s on an idle machine; the bench measures that, this catches minutes

    second.kill()
    third = serve().wait_until_up()
    assert third.status("/me", token=token) == 200
    assert wait_for(lambda: third.status("/readyz") == 200), third.err
    assert third.stop(signal.SIGINT) == 0
    assert PostgresServer(folder / "postgres")._running_pid() is None


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return False


def gives_up_in_one_line(serving, *words):
    code = serving.finish()
    lines = [line for line in serving.err.splitlines() if line.strip()]
    assert code == 1
    assert len(lines) == ONE_LINE, serving.err
    for word in words:
        assert word in lines[0]
    return lines[0]


def test_a_taken_port_is_said_before_anything_slow_begins(serve, folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        gives_up_in_one_line(serve("--port", port), port, "--port")
    assert not (folder / "postgres").exists()


def test_a_database_out_of_reach_is_said_without_its_password(serve):
    url = "postgresql://someone:hush-hush@127.0.0.1:1/nowhere"
    line = gives_up_in_one_line(serve(DATABASE_URL=url), "database")
    assert "hush-hush" not in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POLYMUX_DB_THREADS", "many"),
        ("DATABASE_URL", "mysql://localhost/x"),
        ("POLYMUX_SECRET_KEY_FILE", "/nowhere/at/all"),
    ],
)
def test_a_bad_setting_is_named(serve, name, value):
    gives_up_in_one_line(serve(**{name: value}), name)


@pytest.mark.parametrize("arguments", [("--workers", "2"), ("--role", "worker")], ids=" ".join)
def test_parts_that_could_not_hear_each_other_do_not_start(serve, arguments):
    gives_up_in_one_line(serve(*arguments), "REDIS_URL")


def test_a_second_signal_ends_it_at_once(serve, folder):
    serving = serve("--no-worker", "--no-beat").wait_until_up()
    serving.process.send_signal(signal.SIGTERM)
    serving.process.send_signal(signal.SIGINT)
    began = time.monotonic()
    code = serving.finish()
    assert time.monotonic() - began < 5
    assert code in (0, 128 + signal.SIGTERM, 128 + signal.SIGINT)


def test_a_start_imports_nothing_heavy(serve):
    """Start-up time is a feature: these cost seconds or tens of megabytes and can wait."""
    program = (
        "import sys, django; django.setup(); import polymux.asgi, polymux.embedded.web; "
        "heavy = {'twisted', 'daphne', 'openai', 'pydantic_ai', 'anthropic', 'onnxruntime', "
        "'xllamacpp', 'mcp', 'numpy', 'boto3'}; print(sorted(heavy & set(sys.modules)))"
    )
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "polymux.settings"},
    )
    assert done.stdout.strip() == "[]"
