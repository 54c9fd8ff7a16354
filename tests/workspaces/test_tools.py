"""The tools on a workspace's folder: what they do, and what they refuse."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from apps.core.actor import Actor, CallerKind, Scope
from apps.core.errors import ScopeInsufficient
from apps.core.tools import ToolContext, ToolFailed, canonical_tool, find
from apps.workspaces import files
from apps.workspaces.tools import files as tools


@pytest.fixture(autouse=True)
def _own_folder(settings, tmp_path):
    settings.DATA_DIR = tmp_path


@pytest.fixture
def hands():
    return ToolContext(Actor.for_engine(uuid4()), uuid4(), None, None, "k")


def use(hands, name, **arguments):
    return asyncio.run(find(name).call(hands, arguments))


def test_what_was_written_can_be_listed_and_read(hands):
    assert use(hands, "write_file", path="notes/today.md", content="Grüße")["size"] == 7
    assert use(hands, "list_files") == {
        "path": "",
        "entries": [{"name": "notes", "type": "folder", "size": root(hands).stat().st_size}],
        "more": 0,
    }
    read = use(hands, "read_file", path="notes/today.md")
    assert read == {
        "path": "notes/today.md",
        "content": "Grüße",
        "size": 7,
        "next_offset": None,
    }


def root(hands):
    return files.files_root(hands.actor.workspace_id) / "notes"


def test_writing_again_replaces_and_appending_adds(hands):
    use(hands, "write_file", path="a.txt", content="a long first version")
    use(hands, "write_file", path="a.txt", content="short")
    use(hands, "write_file", path="a.txt", content="er", append=True)
    assert use(hands, "read_file", path="a.txt")["content"] == "shorter"


def test_a_long_file_is_read_in_windows(hands):
    use(hands, "write_file", path="long", content="x" * (tools.MAX_READ + 10))
    first = use(hands, "read_file", path="long")
    assert (len(first["content"]), first["next_offset"]) == (tools.MAX_READ, tools.MAX_READ)
    rest = use(hands, "read_file", path="long", offset=first["next_offset"])
    assert (len(rest["content"]), rest["next_offset"]) == (10, None)


def test_a_write_of_more_than_a_mebibyte_is_refused(hands):
    with pytest.raises(ToolFailed):
        use(hands, "write_file", path="big", content="x" * (tools.MAX_WRITE + 1))
    assert use(hands, "list_files")["entries"] == []


def test_a_full_folder_takes_no_more(hands, monkeypatch):
    use(hands, "write_file", path="a", content="12345")
    monkeypatch.setattr(files, "MAX_STORED", 8)
    with pytest.raises(ToolFailed, match="full"):
        use(hands, "write_file", path="b", content="12345")
    monkeypatch.setattr(files, "MAX_STORED", 100_000)
    monkeypatch.setattr(files, "MAX_FILES", 1)
    with pytest.raises(ToolFailed, match="full"):
        use(hands, "write_file", path="b", content="1")


def test_a_listing_stops_at_its_bound_and_says_so(hands, monkeypatch):
    monkeypatch.setattr(tools, "MAX_ENTRIES", 2)
    for name in "abc":
        use(hands, "write_file", path=name, content="")
    listing = use(hands, "list_files")
    assert ([entry["name"] for entry in listing["entries"]], listing["more"]) == (["a", "b"], 1)


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "/etc/passwd",
        "a/../../b",
        "a\x00b",
        "..",
        "",
        "x" * 5000,
        5,
        None,
        "a/" * 40 + "b",
    ],
)
def test_no_path_leaves_the_folder(hands, path):
    for name in ("read_file", "write_file"):
        with pytest.raises(ToolFailed):
            use(hands, name, path=path, content="x")


def test_a_link_opens_nothing(hands, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("of another tenant")
    folder = files.files_root(hands.actor.workspace_id)
    (folder / "link").symlink_to(secret)
    (folder / "dir").symlink_to(tmp_path)
    for path in ("link", "dir/secret"):
        with pytest.raises(ToolFailed):
            use(hands, "read_file", path=path)
        with pytest.raises(ToolFailed):
            use(hands, "write_file", path=path, content="overwritten")
    assert secret.read_text() == "of another tenant"


def test_one_workspace_does_not_see_the_files_of_another(hands):
    use(hands, "write_file", path="mine", content="x")
    other = ToolContext(Actor.for_engine(uuid4()), uuid4(), None, None, "k")
    assert use(other, "list_files")["entries"] == []
    with pytest.raises(ToolFailed):
        use(other, "read_file", path="mine")


def test_a_reader_does_not_write(hands):
    reader = ToolContext(
        Actor(hands.actor.workspace_id, Scope.READ, CallerKind.ENGINE), uuid4(), None, None, "k"
    )
    assert use(reader, "list_files")["entries"] == []
    with pytest.raises(ScopeInsufficient):
        use(reader, "write_file", path="a", content="x")


@pytest.mark.parametrize(
    "arguments", [{"offset": -1}, {"limit": 0}, {"limit": "5"}, {"offset": True}]
)
def test_a_wrong_window_is_refused_in_words(hands, arguments):
    use(hands, "write_file", path="a", content="x")
    with pytest.raises(ToolFailed):
        use(hands, "read_file", path="a", **arguments)


def test_a_binary_file_is_not_read_as_text(hands):
    (files.files_root(hands.actor.workspace_id) / "raw").write_bytes(b"\x00\x01")
    with pytest.raises(ToolFailed):
        use(hands, "read_file", path="raw")


# --- Editing ----------------------------------------------------------------------------------


def test_one_place_is_replaced(hands):
    use(hands, "write_file", path="a.py", content="one = 1\ntwo = 2\n")
    edited = use(hands, "edit_file", path="a.py", oldString="two = 2", newString="two = 22")
    assert edited == {"path": "a.py", "replaced": 1, "size": 17}
    assert use(hands, "read_file", path="a.py")["content"] == "one = 1\ntwo = 22\n"
    use(hands, "edit_file", path="a.py", oldString="one = 1\n", newString="")
    assert use(hands, "read_file", path="a.py")["content"] == "two = 22\n"


def test_a_place_that_is_not_certain_is_left_alone(hands):
    use(hands, "write_file", path="a", content="x y x")
    for wrong, words in (
        (("x", "z"), "2 times"),
        (("q", "z"), "not in the file"),
        (("", "z"), "empty"),
    ):
        with pytest.raises(ToolFailed, match=words):
            use(hands, "edit_file", path="a", oldString=wrong[0], newString=wrong[1])
    with pytest.raises(ToolFailed):
        use(hands, "edit_file", path="a", oldString="y", newString="y")
    assert use(hands, "read_file", path="a")["content"] == "x y x"
    edited = use(hands, "edit_file", path="a", oldString="x", newString="z", replaceAll=True)
    assert (edited["replaced"], use(hands, "read_file", path="a")["content"]) == (2, "z y z")


def test_an_edit_that_grows_too_large_changes_nothing(hands, monkeypatch):
    use(hands, "write_file", path="a", content="x" * 100)
    monkeypatch.setattr(tools, "MAX_WRITE", 150)
    with pytest.raises(ToolFailed, match="longer"):
        use(hands, "edit_file", path="a", oldString="x", newString="yy", replaceAll=True)
    assert use(hands, "read_file", path="a")["content"] == "x" * 100


def test_only_a_text_file_that_is_there_is_edited(hands, tmp_path):
    folder = files.files_root(hands.actor.workspace_id)
    (folder / "raw").write_bytes(b"a\x00b")
    (tmp_path / "secret").write_text("a")
    (folder / "link").symlink_to(tmp_path / "secret")
    for path in ("raw", "missing", "link", "../secret"):
        with pytest.raises(ToolFailed):
            use(hands, "edit_file", path=path, oldString="a", newString="b")
    assert (tmp_path / "secret").read_text() == "a"


def test_a_reader_edits_nothing(hands):
    use(hands, "write_file", path="a", content="x")
    reader = ToolContext(
        Actor(hands.actor.workspace_id, Scope.READ, CallerKind.ENGINE), uuid4(), None, None, "k"
    )
    with pytest.raises(ScopeInsufficient):
        use(reader, "edit_file", path="a", oldString="x", newString="y")


# --- Names ------------------------------------------------------------------------------------


def test_the_names_of_other_products_lead_to_our_tools():
    known = ["read", "write", "edit", "bash", "glob", "grep", "ls", "list_directory", "edit_file"]
    ours = [canonical_tool(name) for name in known]
    assert all(find(name) for name in ours), ours
    assert canonical_tool("browser_*") == "browser_*"
