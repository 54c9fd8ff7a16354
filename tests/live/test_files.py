"""A project's files over a real server: streamed through the threads, in parts, and only their heads."""

from __future__ import annotations

import httpx
import pytest

from apps.workspaces.files import files_root
from tests.support.serving import serving

pytestmark = pytest.mark.django_db(transaction=True)

SIZE = 3 * 1024 * 1024 + 5


@pytest.fixture
def address(aurora, settings, tmp_path):
    settings.DATA_DIR = tmp_path / "data"
    (files_root(aurora.id) / "film.mp4").write_bytes(bytes(range(256)) * (SIZE // 256) + b"12345")
    with serving() as port:
        yield f"http://127.0.0.1:{port}/api/v1/projects/aurora/files/read?path=film.mp4"


def ask(method, address, aurora, **headers):
    key = {"X-API-Key": aurora.ada_token}
    return httpx.request(method, address, headers=key | headers, timeout=20)


def test_a_file_is_streamed_whole_in_part_and_by_its_head(address, aurora):
    whole = ask("GET", address, aurora)
    assert (whole.status_code, len(whole.content)) == (200, SIZE)
    assert whole.headers["content-length"] == str(SIZE)
    assert "sandbox" in whole.headers["content-security-policy"]
    part = ask("GET", address, aurora, Range=f"bytes=1000000-{SIZE}")
    assert (part.status_code, part.content) == (206, whole.content[1_000_000:])
    head = ask("HEAD", address, aurora)
    assert (head.content, head.headers["content-length"]) == (b"", str(SIZE))
    again = ask("GET", address, aurora, **{"If-None-Match": whole.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_client_that_leaves_in_the_middle_is_no_burden(address, aurora):
    key = {"X-API-Key": aurora.ada_token}
    for _ in range(12):  # more than there are threads for requests
        with httpx.stream("GET", address, headers=key, timeout=20) as answer:
            next(answer.iter_raw(1000))
    assert len(ask("GET", address, aurora).content) == SIZE
