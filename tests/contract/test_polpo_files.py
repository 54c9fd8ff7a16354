"""The folder of a project on the polpo surface: golden answers, ranges, and what is never shown."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from apps.accounts.models import AuditEntry
from apps.events.models import Event
from apps.surfaces import ratewindow
from apps.workspaces import files
from tests.contract.golden import assert_golden

pytestmark = pytest.mark.django_db

TEXT = "# Grüße\nline\n"
SECRETS = [".env", ".env.local", "prod.env", "server.KEY", "tls.pem", "id_rsa", ".ssh/config"]
SECRETS += ["credentials.json", "sub/.netrc", "secrets.yaml"]


class Api:
    """A client of one project (`aurora`), or of the default one."""

    def __init__(self, key, base="/api/v1/projects/aurora/files/"):
        self.client = Client(raise_request_exception=False)
        self.headers = {"X-API-Key": key} if key else {}
        self.base = base

    def get(self, what, headers=None, **query):
        sent = self.headers | (headers or {})
        return self.client.get(self.base + what, query, headers=sent)

    def post(self, what, body=None, **form):
        if form:
            return self.client.post(self.base + what, form, headers=self.headers)
        sent = json.dumps(body)
        return self.client.post(self.base + what, sent, "application/json", headers=self.headers)


@pytest.fixture
def folder(aurora, settings, tmp_path):
    settings.DATA_DIR = tmp_path / "data"
    ratewindow.store.cache_clear()
    root = files.files_root(aurora.id)
    for place in ("src/deep", ".agent", ".git", "sub", ".ssh"):
        (root / place).mkdir(parents=True)
    (root / "README.md").write_text(TEXT)
    (root / "logo.png").write_bytes(b"\x89PNG")
    (root / "noend").touch()
    (root / "src" / "deep" / "low.py").write_text("def low()")
    for name in SECRETS:
        (root / name).write_text("a great secret")
    return root


@pytest.fixture
def api(aurora, folder):
    """As Ada, in Aurora."""
    return Api(aurora.ada_token)


@pytest.fixture
def default(aurora, folder):
    """As Ada, who names no project."""
    return Api(aurora.ada_token, "/api/v1/files/")


def test_a_folder_is_listed_folders_first(api, folder):
    (folder / "sub" / ".netrc").unlink()
    (folder / "sub").rmdir()
    assert_golden(api.get("list"), "polpo/files_list.json")
    assert_golden(api.get("list", path="./src//deep/"), "polpo/files_list_below.json")


def test_both_layouts_answer_alike(api, default):
    assert api.get("list").content == default.get("list").content
    assert api.get("read", path="README.md").getvalue() == TEXT.encode()
    assert default.get("read", path="README.md").getvalue() == TEXT.encode()
    url = default.get("preview", path="src/deep/low.py").json()["data"]["url"]
    assert url == "/api/v1/files/read?path=src%2Fdeep%2Flow.py"
    assert default.client.get(url, headers=default.headers).getvalue() == b"def low()"


def test_a_file_is_read_as_it_is(api):
    assert_golden(api.get("read", path="README.md"), "polpo/files_read.json")


def test_a_file_is_previewed(api):
    assert_golden(api.get("preview", path="README.md", maxLines="1"), "polpo/files_preview.json")
    assert_golden(api.get("preview", path="noend"), "polpo/files_preview_binary.json")


def test_a_long_text_is_previewed_by_its_beginning(api, folder):
    (folder / "long.txt").write_text("x\n" * files.MAX_PREVIEW)
    shown = api.get("preview", path="long.txt").json()["data"]
    assert (len(shown["content"]), shown["truncated"]) == (files.MAX_PREVIEW, True)
    (folder / "short.txt").write_text("x\n" * 600)
    assert api.get("preview", path="short.txt").json()["data"]["content"].count("x") == 500


@pytest.mark.parametrize(
    ("name", "mime", "kind", "how"),
    [
        ("page.html", "text/html", "text", "inline"),
        ("pic.svg", "image/svg+xml", "image", "inline"),
        ("doc.pdf", "application/pdf", "pdf", "inline"),
        ("song.mp3", "audio/mpeg", "audio", "inline"),
        ("film.mp4", "video/mp4", "video", "inline"),
        ("data.JSON", "application/json", "text", "inline"),
        ("rows.ndjson", "application/x-ndjson", "text", "inline"),
        ("all.tar.gz", "application/gzip", "binary", "attachment"),
        ("tool", "application/octet-stream", "binary", "attachment"),
    ],
)
def test_the_ending_tells_the_type_and_nothing_runs_in_our_origin(
    api, folder, name, mime, kind, how
):
    (folder / name).write_bytes(b"<script>alert(1)</script>")
    assert api.get("preview", path=name).json()["data"]["type"] == kind
    answer = api.get("read", path=name)
    assert answer["Content-Type"] == mime
    assert answer["Content-Disposition"] == f'{how}; filename="{name}"'
    assert answer["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert answer["X-Content-Type-Options"] == "nosniff"
    asked = api.get("read", path=name, download="1")
    assert asked["Content-Disposition"].startswith("attachment")


def test_a_name_cannot_write_a_header(api, folder):
    name = 'a"b;é.txt'
    (folder / name).write_text("x")
    assert api.get("read", path=name)["Content-Disposition"] == (
        "inline; filename*=utf-8''a%22b%3B%C3%A9.txt"
    )


# --- Ranges -----------------------------------------------------------------------------------


def test_a_range_is_read(api):
    part = api.get("read", {"Range": "bytes=2-8"}, path="README.md")
    assert_golden(part, "polpo/files_read_range.json")
    beyond = api.get("read", {"Range": "bytes=500-"}, path="README.md")
    assert_golden(beyond, "polpo/files_read_beyond.json")


@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [
        ("bytes=4-", 206, b"456789"),
        ("bytes=-3", 206, b"789"),
        ("bytes=-100", 206, b"0123456789"),
        ("bytes=8-100", 206, b"89"),
        ("bytes=0-0", 206, b"0"),
        ("bytes=10-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=0-1,4-5", 200, b"0123456789"),
        ("bytes=5-2", 200, b"0123456789"),
        ("bytes=-", 200, b"0123456789"),
        ("bytes=x", 200, b"0123456789"),
        ("lines=1-2", 200, b"0123456789"),
        ("bytes=" + "9" * 30 + "-", 200, b"0123456789"),
    ],
)
def test_ranges_are_read_as_rfc_9110_says(api, folder, asked, status, body):
    (folder / "ten").write_text("0123456789")
    answer = api.get("read", {"Range": asked}, path="ten")
    assert answer.status_code == status
    if body is not None:
        assert answer.getvalue() == body
        assert answer["Content-Length"] == str(len(body))


def test_a_range_of_a_file_that_changed_is_the_whole_file(api, folder):
    first = api.get("read", path="README.md")
    same = {"Range": "bytes=0-0", "If-Range": first["ETag"]}
    assert api.get("read", same, path="README.md").status_code == 206
    same["If-Range"] = first["Last-Modified"]
    assert api.get("read", same, path="README.md").status_code == 206
    (folder / "README.md").write_text("another one")
    assert api.get("read", same | {"If-Range": first["ETag"]}, path="README.md").status_code == 200


def test_what_a_client_has_already_is_not_sent_again(api):
    first = api.get("read", path="README.md")
    again = api.get("read", {"If-None-Match": first["ETag"]}, path="README.md")
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])


@pytest.mark.parametrize("whole", [True, False])
def test_a_large_file_is_read_in_pieces_and_closed(api, folder, whole):
    with (folder / "large.bin").open("wb") as file:
        file.truncate(20 * 1024 * 1024)
    answer = api.get("read", path="large.bin")
    pieces = iter(answer.streaming_content)
    assert len(next(pieces)) <= 256 * 1024
    assert is_open("large.bin")
    if whole:
        assert sum(map(len, pieces)) > 19 * 1024 * 1024
    answer.close()
    assert not is_open("large.bin")


def is_open(name):
    places = [place for place in Path("/proc/self/fd").iterdir() if place.is_symlink()]
    return any(str(place.readlink()).endswith(name) for place in places)


def test_head_tells_what_get_would(api):
    answer = api.client.head(f"{api.base}read?path=README.md", headers=api.headers)
    assert (answer.status_code, answer["Content-Length"]) == (200, str(len(TEXT.encode())))


# --- Refusals ---------------------------------------------------------------------------------


def test_what_is_not_there_is_not_found(api):
    assert_golden(api.get("read", path="missing"), "polpo/files_not_found.json")
    assert api.get("list", path="missing").status_code == 404
    assert api.get("preview", path="missing/deeper").status_code == 404


@pytest.mark.parametrize(
    "path", ["../secret", "a/../../secret", "/etc/passwd", "src/..", "link", "linked/secret"]
)
def test_no_path_leaves_the_folder(api, folder, tmp_path, path):
    (tmp_path / "secret").write_text("of another tenant")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "linked").symlink_to(tmp_path)
    assert_golden(api.get("read", path=path), "polpo/files_escape.json")
    for what in ("list", "preview"):
        assert api.get(what, path=path).status_code == 403
    assert "link" not in api.get("list").content.decode()


@pytest.mark.parametrize("path", ["a\0b", "a\nb", "\ud800".encode("utf-8", "surrogatepass")])
def test_a_path_that_is_no_text_is_refused(api, path):
    answer = api.get("read", path=path)
    assert answer.status_code in {400, 403, 404}
    assert set(answer.json()) >= {"ok", "error", "code"}


def test_a_wrong_question_is_told_so(api):
    assert_golden(api.get("read"), "polpo/files_path_missing.json")
    assert api.get("list", path="README.md").json()["code"] == "VALIDATION_ERROR"
    for what in ("read", "preview"):
        assert api.get(what, path="src").json()["code"] == "VALIDATION_ERROR"
    for lines in ("0", "-1", "x", "1.5", "9" * 30):
        assert api.get("preview", path="README.md", maxLines=lines).status_code == 400


def test_without_a_key_nothing_is_shown(folder):
    assert_golden(Api("").get("list"), "polpo/files_key_missing.json")


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_not_there(api, name):
    for what in ("read", "preview"):
        assert_golden(api.get(what, path=name), "polpo/files_not_found.json")
    assert api.post("delete", {"path": name}).status_code == 403
    assert api.post("rename", {"path": name, "newName": "shown.txt"}).status_code == 403
    assert "secret" not in api.get("search", q="").content.decode()


def test_hidden_folders_are_not_listed_but_found_by_their_name(api, folder):
    (folder / ".git" / "HEAD").write_text("ref")
    names = [entry["name"] for entry in api.get("list").json()["data"]["entries"]]
    assert names == [".agent", "src", "sub", "README.md", "logo.png", "noend"]
    assert api.get("read", path=".git/HEAD").getvalue() == b"ref"
    assert api.get("list", path=".ssh").status_code == 404


def test_names_that_no_path_can_say_are_left_out(api, folder):
    for name in (b"\xff.txt", b"a\nb", b"a\\b"):
        Path(os.fsdecode(bytes(folder) + b"/" + name)).touch()
    names = [entry["name"] for entry in api.get("list").json()["data"]["entries"]]
    assert names == [".agent", "src", "sub", "README.md", "logo.png", "noend"]
    assert api.get("search", q="").status_code == 200


# --- What the SDK calls besides ---------------------------------------------------------------


def test_roots_and_names_are_found(default):
    assert_golden(default.get("roots"), "polpo/files_roots.json")
    assert_golden(default.get("search", q="LOW"), "polpo/files_search.json")
    assert default.get("search", q="", limit="1").json()["data"]["total"] == 1
    assert default.get("search", q="low", root="src").json()["data"]["files"][0]["path"] == (
        "deep/low.py"
    )


def test_files_are_uploaded(default, folder):
    sent = [SimpleUploadedFile("a.txt", b"hello"), SimpleUploadedFile("b.bin", b"\x00\x01\x02")]
    (folder / "src" / "a.txt").write_text("a longer one before")
    assert_golden(default.post("upload", file=sent, path="src"), "polpo/files_upload.json")
    assert (folder / "src" / "a.txt").read_bytes() == b"hello"
    fact = Event.objects.filter(name="file.changed").latest("seq").payload
    assert fact == {"path": "src/b.bin", "dir": "src", "action": "created", "source": "server"}


def test_an_upload_that_does_not_fit_writes_nothing(default, folder, monkeypatch):
    monkeypatch.setattr(files, "MAX_STORED", 1000)
    sent = [SimpleUploadedFile("small", b"x"), SimpleUploadedFile("big", b"x" * 2000)]
    refused = default.post("upload", file=sent)
    assert (refused.status_code, refused.json()["code"]) == (409, "CONFLICT")
    assert not (folder / "small").exists()
    monkeypatch.setattr(files, "MAX_STORED", 10**9)
    for wrong in ({"path": "missing"}, {"path": "../x"}, {"path": ".ssh"}):
        assert default.post("upload", file=sent[:1], **wrong).status_code in {403, 404}
    assert default.post("upload", path=".").status_code == 400
    assert default.post("upload", file=SimpleUploadedFile(".env", b"x")).status_code == 403


def test_folders_are_made_renamed_and_deleted(default, folder):
    assert_golden(default.post("mkdir", {"path": "src/new"}), "polpo/files_mkdir.json")
    assert_golden(default.post("mkdir", {"path": "src/new"}), "polpo/files_mkdir_taken.json")
    renamed = default.post("rename", {"path": "README.md", "newName": "README.txt"})
    assert_golden(renamed, "polpo/files_rename.json")
    assert (folder / "README.txt").read_text() == TEXT
    assert_golden(default.post("delete", {"path": "logo.png"}), "polpo/files_delete.json")
    assert_golden(default.post("delete", {"path": "src"}), "polpo/files_delete_full.json")
    assert default.post("delete", {"path": "src/new"}).status_code == 200
    actions = [entry.action for entry in AuditEntry.objects.filter(subject_type="file")]
    assert sorted(actions) == [
        "folder.created",
        "folder.deleted",
        "folder.deleted",
        "folder.renamed",
    ]


@pytest.mark.parametrize(
    ("what", "body", "status"),
    [
        ("mkdir", {"path": "a/b/c"}, 404),
        ("mkdir", {"path": "../x"}, 403),
        ("mkdir", {"path": "."}, 403),
        ("mkdir", {}, 400),
        ("mkdir", {"path": "x", "more": 1}, 400),
        ("rename", {"path": "README.md", "newName": "src"}, 409),
        ("rename", {"path": "README.md", "newName": "../x"}, 403),
        ("rename", {"path": "README.md", "newName": ".env"}, 403),
        ("rename", {"path": "missing", "newName": "x"}, 404),
        ("rename", {"path": ".", "newName": "x"}, 403),
        ("delete", {"path": "missing"}, 404),
        ("delete", {"path": "."}, 403),
        ("delete", {"path": "../data"}, 403),
    ],
)
def test_what_cannot_be_changed_is_left_alone(default, folder, what, body, status):
    before = sorted(str(path) for path in folder.rglob("*"))
    answer = default.post(what, body)
    assert (answer.status_code, answer.json()["ok"]) == (status, False)
    assert sorted(str(path) for path in folder.rglob("*")) == before
    assert not Event.objects.filter(name="file.changed").exists()


def test_a_link_is_deleted_and_what_it_names_is_not(default, folder, tmp_path):
    (tmp_path / "kept").write_text("x")
    (folder / "link").symlink_to(tmp_path / "kept")
    assert default.post("delete", {"path": "link"}).status_code == 200
    assert (tmp_path / "kept").exists()


def test_reading_costs_no_query_beyond_the_door(api, count_queries):
    api.get("list")
    with count_queries(3, at_most=True):
        api.get("list")
    with count_queries(3, at_most=True):
        api.get("read", path="README.md").getvalue()
