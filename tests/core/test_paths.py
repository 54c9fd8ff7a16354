"""No path leaves its root: not by dots, not by links, not by a link that appears in time."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from apps.core.errors import NotFound
from apps.core.paths import (
    PathRefused,
    list_inside,
    mkdirs_inside,
    open_inside,
    remove_inside,
    resolve_inside_root,
)

ESCAPES = [
    "..",
    "../secret",
    "a/../../secret",
    "a/..",
    "/etc/passwd",
    "//etc/passwd",
    "a\x00b",
    "a\nb",
    "a\\..\\b",
    "\ud800",
    "x" * 256,
    "a/" * 40,
    "x" * 2000,
]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "secret").write_text("outside")
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a" / "file").write_text("inside")
    (root / "out").symlink_to(tmp_path)
    (root / "a" / "link").symlink_to(tmp_path / "secret")
    (root / "a" / "own").symlink_to("file")
    os.mkfifo(root / "pipe")
    return root


def read(root, relative, flags=os.O_RDONLY):
    with os.fdopen(open_inside(root, relative, flags)) as file:
        return file.read()


@pytest.mark.parametrize("relative", ESCAPES)
def test_an_escape_is_refused_by_every_door(root, relative):
    for door in (resolve_inside_root, open_inside, list_inside, mkdirs_inside, remove_inside):
        with pytest.raises(PathRefused):
            door(root, relative)


def test_a_file_inside_opens(root):
    assert read(root, "a/file") == read(root, "./a//file") == "inside"
    assert resolve_inside_root(root, "a/file") == (root / "a" / "file").resolve()


@pytest.mark.parametrize("relative", ["out/secret", "a/link", "a/own", "out"])
def test_links_open_nothing(root, relative):
    with pytest.raises(PathRefused):
        open_inside(root, relative)
    with pytest.raises(PathRefused):
        open_inside(root, relative, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    assert (root.parent / "secret").read_text() == "outside"


def test_links_out_do_not_resolve(root):
    for relative in ("out/secret", "a/link"):
        with pytest.raises(PathRefused):
            resolve_inside_root(root, relative)
    assert resolve_inside_root(root, "a/own").name == "file"


@pytest.mark.parametrize("relative", ["nothing", "a/nothing", "a", "a/file/x", "pipe", ""])
def test_what_is_no_file_is_not_found(root, relative):
    with pytest.raises(NotFound):
        open_inside(root, relative)


def test_a_listing_shows_files_and_folders_only(root):
    assert [(row.name, row.folder) for row in list_inside(root)] == [("a", True)]
    assert [row.name for row in list_inside(root, "a")] == ["file"]
    with pytest.raises(PathRefused):
        list_inside(root, "out")


def test_folders_are_made_inside_only(root):
    mkdirs_inside(root, "b/c/d")
    mkdirs_inside(root, "b/c/d")
    assert (root / "b/c/d").is_dir()
    with pytest.raises(PathRefused):
        mkdirs_inside(root, "out/made")
    assert not (root.parent / "made").exists()


def test_removing_a_link_leaves_its_target(root):
    remove_inside(root, "a/link")
    assert (root.parent / "secret").exists()
    with pytest.raises(NotFound):
        remove_inside(root, "a")


def test_no_descriptor_stays_open(root):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for relative in ("a/link", "out/secret", "nothing", "a/file/x", "pipe"):
        with pytest.raises((PathRefused, NotFound)):
            open_inside(root, relative)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def swap_until(root, stop):
    """Another hand that turns the folder into a link and back, as fast as it can."""
    folder, away, link = root / "swap", root / "away", root / "link-to-outside"
    while not stop.is_set():
        folder.rename(away)
        folder.symlink_to(root.parent / "outside")
        folder.rename(link)
        away.rename(folder)
        link.unlink()


def open_after_checking(root, relative):
    """The control: ask where it leads, then open it by name."""
    path = root / relative
    if not str(path.resolve()).startswith(str(root.resolve())):
        raise PathRefused
    return os.open(path, os.O_RDONLY)


def outside_reads(root, door, tries):
    (root / "swap").mkdir()
    (root / "swap" / "file").write_text("inside")
    (root.parent / "outside").mkdir()
    (root.parent / "outside" / "file").write_text("outside")
    stop = threading.Event()
    other = threading.Thread(target=swap_until, args=(root, stop))
    other.start()
    found = 0
    try:
        for _ in range(tries):
            try:
                with os.fdopen(door(root, "swap/file")) as file:
                    found += file.read() == "outside"
            except (PathRefused, NotFound, OSError):
                continue
            if found:
                break
    finally:
        stop.set()
        other.join()
    return found


def test_a_link_that_appears_in_between_opens_nothing(root):
    assert outside_reads(root, open_inside, 3000) == 0


def test_the_race_for_a_link_is_real(root):
    """Control: checking the name first lets it through. If this fails, the test above proves less."""
    assert outside_reads(root, open_after_checking, 200_000) > 0
