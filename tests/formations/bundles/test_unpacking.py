"""Unpacking a bundle: whatever the archive holds, nothing appears outside and nothing bad stays."""

from __future__ import annotations

import errno
import gzip
import io
import os
import subprocess
import sys
import tarfile

import pytest

from apps.formations.bundles import BundleError, BundleTooLarge, DiskRefused, Limits, pack, unpack
from tests.formations.bundles.archives import (
    BLOCK,
    bundle,
    by_tarfile,
    entry,
    folder,
    names,
    pax,
    tree,
    zipped,
)

FILES = {"b/formation.afs": b"id: b\n", "b/agents/scout.afs": b"x" * 1500, "b/empty.md": b""}
LONG = "b/" + "/".join(["knowledge"] * 15) + "/a name of more than a hundred letters, in all.md"
UNICODE = "b/wissen/Größe 日本.md"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_others_pack_is_unpacked_as_it_was(place, form):
    files = FILES | {LONG: b"deep", UNICODE: b"wide"}
    root = unpack(io.BytesIO(by_tarfile(files, form)), place)
    assert root == place / "b"
    assert tree(place) == files
    assert names(place) == ["b"]


def test_what_we_pack_is_unpacked_as_it_was(place, write):
    folder_of_it = write({"knowledge/a/b.md": "deep", "tools/run.py": "x"})
    (folder_of_it / "tools/run.py").chmod(0o755)
    root = unpack(io.BytesIO(pack(folder_of_it)), place)
    assert tree(root) == tree(folder_of_it)
    assert (root / "tools/run.py").stat().st_mode & 0o777 == 0o700
    assert (root / "formation.afs").stat().st_mode & 0o777 == 0o600


def test_the_same_files_make_the_same_archive(write):
    root = write({})
    before = pack(root)
    (root / "formation.afs").touch()
    assert pack(root) == before != pack(root, name="other")


def test_what_belongs_to_a_workplace_is_not_packed(place, write):
    kept = {"secrets.enc": "s", ".key": "k", "knowledge/secrets/plan.md": "p"}
    left = [".git/config", ".muxi/x", "secrets", ".env", ".env.local", "node_modules/a/b.js"]
    left += [
        "a/__pycache__/m.pyc",
        "x.pyc",
        ".DS_Store",
        "run.log",
        "x.tmp",
        ".idea/x",
        "memory.db",
    ]
    root = unpack(io.BytesIO(pack(write(kept | dict.fromkeys(left, "x")))), place)
    expected = {"formation.afs", "agents/scout.afs", *kept}
    assert set(tree(root)) == expected


def test_a_link_is_not_packed(write):
    root = write({})
    (root / "knowledge").symlink_to("/etc")
    with pytest.raises(BundleError, match=r"^knowledge: A bundle has files and folders only"):
        pack(root)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([entry("b/../../beside", b"x")], "leads elsewhere"),
        ([entry("b/..", b"x")], "leads elsewhere"),
        ([entry("/etc/passwd", b"x")], "absolute path"),
        ([pax(b"path", b"/etc/passwd"), entry("b/x", b"x")], "absolute path"),
        ([pax(b"path", b"b/../../beside"), entry("b/x", b"x")], "leads elsewhere"),
        ([pax(b"path", b"b/a\0b"), entry("b/x", b"x")], "leads elsewhere"),
        ([entry("long", b"../../beside\0", kind=b"L"), entry("b/x")], "leads elsewhere"),
        ([entry("b\\..\\..\\beside", b"x")], "leads elsewhere"),
        ([entry("b/a\nb", b"x")], "leads elsewhere"),
        ([entry(b"b/\xff", b"x")], "not UTF-8"),
        ([entry("b/link", kind=b"2")], "is a link"),
        ([entry("b/link", kind=b"1")], "is a hard link"),
        ([entry("b/null", kind=b"3")], "is a device"),
        ([entry("b/disk", kind=b"4")], "is a device"),
        ([entry("b/pipe", kind=b"6")], "is a pipe"),
        ([entry("b/holes", kind=b"S")], "is a sparse file"),
        ([entry("b/odd", kind=b"Z")], "of a kind that bundles do not have"),
        ([pax(b"GNU.sparse.major", b"1"), entry("b/x", b"x")], "sparse file"),
        ([entry("b/a", b"1"), entry("b/a", b"2")], "there twice"),
        ([entry("b/a", b"1"), entry("b/A", b"2")], "there twice, or in two spellings"),
        ([entry("b/Ä", b"1"), entry("b/A\u0308", b"2")], "two spellings"),
        ([entry("b/x/a", b"1"), entry("b/X/b", b"2")], "two spellings"),
        ([entry("b/a", b"1"), entry("b/a/b", b"2")], "there twice"),
        ([entry("b/a/b", b"1"), entry("b/a", b"2")], "there twice"),
        ([entry("c/a", b"1")], "second folder"),
        ([entry("formation.afs", b"1")], "outside of a folder"),
        ([entry("b/" + "d/" * 21 + "x")], "too long or too deep"),
        ([pax(b"path", b"b/" + b"n" * 300), entry("b/x")], "leads elsewhere"),
        ([pax(b"path", b"b/" + b"n/" * 5 + b"n" * 499), entry("b/x")], "leads elsewhere"),
    ],
)
def test_a_hostile_entry_is_refused_by_name(refused, entries, words):
    error = refused(bundle(*entries))
    assert error.type_name == "ExtractError"
    assert words in error.message


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        (b"", "no end"),
        (b"PK\x03\x04 a zip", "no gzip file"),
        (b"\x1f\x8b\x08\x00 and then nothing", "damaged"),
        (gzip.compress(b"no tar at all".ljust(BLOCK)), "no tar file"),
        (gzip.compress(b""), "cut off"),
        (zipped(), "is empty"),
        (zipped(end=b""), "cut off"),
        (bundle(entry("b/a", b"x" * 5000))[:-9], "cut off"),
        (bundle(entry("b/a", b"x"))[:-4] + b"\0\0\0\1", "damaged"),
        (zipped(folder("b/"), entry("b/a", b"x", size=5000), end=b""), "cut off"),
        (bundle() + b"more", "behind the end"),
        (bundle() + bundle(), "behind the end"),
        (bundle(entry("b/a", b"x", checksum=7)), "no tar file"),
        (bundle(entry("b/a", size=b"\xff" * 12)), "size that cannot be"),
        (bundle(entry("b/a", size=b"12345678 9a\0")), "number that is none"),
        (bundle(pax(b"size", b"-1"), entry("b/a")), "size that cannot be"),
        (bundle(entry("pax", b"99 path=x\n", kind=b"x"), entry("b/a")), "extended header"),
        (bundle(entry("pax", b"0 path=x\n", kind=b"x"), entry("b/a")), "extended header"),
    ],
)
def test_a_damaged_archive_is_refused(refused, archive, words):
    error = refused(archive)
    assert error.type_name == "ExtractError"
    assert words in error.message


def test_zeros_behind_the_end_are_a_tapes_padding(place):
    assert unpack(io.BytesIO(bundle(entry("b/a", b"x")) + b"\0" * 9000), place).name == "b"


def test_what_macos_lays_beside_files_is_passed_over(place):
    root = unpack(io.BytesIO(zipped(entry("._b", b"x"), entry("b/._a", b"x"), entry("b/a"))), place)
    assert set(tree(root)) == {"a"}


def test_a_leading_dot_folder_is_no_root(place):
    assert unpack(io.BytesIO(zipped(folder("./"), entry("./b/a", b"x"))), place) == place / "b"


SMALL = Limits(
    packed=4_000,
    unpacked=200_000,
    file=50_000,
    entries=10,
    ratio=20,
    slack=40_000,
    extension=2_000,
)


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        (bundle(entry("b/bomb", b"\0" * 60_000)), "20 times its size"),
        (bundle(entry("b/a", b"x", size=60_000)), "too large"),
        (bundle(*[entry(f"b/{n}") for n in range(10)]), "more than 10 files"),
        (bundle(entry("b/1/2/3/4/5/6/7/8/9/10")), "more than 10 files and folders"),
        (bundle(*[entry("._x") for _ in range(10)]), "more than 10 files"),
        (bundle(*[pax(b"mtime", b"1")] * 30), "too many headers"),
        (bundle(entry("l", b"n" * 3_000, kind=b"L")), "header that is too long"),
        (bundle(entry("b/noise", os.urandom(5_000))), "larger than 4000 bytes"),
        (zipped(folder("b/"), end=b"\0" * 60_000), "20 times its size"),
    ],
)
def test_what_is_too_large_is_refused_as_that(refused, archive, words):
    error = refused(archive, limits=SMALL)
    assert isinstance(error, BundleTooLarge)
    assert words in error.message


def test_the_unpacked_bytes_are_counted_and_not_believed(refused):
    """The header says 1 KiB; the pax header before it says as much as the stream has."""
    limits = Limits(unpacked=100_000, file=10**12, slack=10**9)
    lying = [pax(b"size", b"900000"), entry("b/a", b"\1" * 900_000, size=1024)]
    assert "unpacks to more than 100000 bytes" in refused(bundle(*lying), limits=limits).message


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_nothing_and_says_so(place, monkeypatch, number):
    real = os.fdopen

    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(number, os.strerror(number))

    def on_a_full_disk(opened, *options):
        real(opened, *options).close()
        return Full()

    monkeypatch.setattr("apps.formations.bundles.unpacking.os.fdopen", on_a_full_disk)
    with pytest.raises(DiskRefused, match="The disk is full") as caught:
        unpack(io.BytesIO(bundle(entry("b/a", b"x"))), place)
    assert caught.value.type_name == "ExtractDirError"
    assert list(place.iterdir()) == []


ON_A_SMALL_DISK = """
import io, resource, sys
from pathlib import Path
from apps.formations.bundles import DiskRefused, unpack
resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, 4_096))
try:
    unpack(io.BytesIO(sys.stdin.buffer.read()), Path(sys.argv[1]))
except DiskRefused as error:
    print(error.message)
"""


def test_a_disk_that_takes_no_more_leaves_nothing(place):
    """The kernel says so itself, in the middle of a file."""
    archive = bundle(entry("b/a", b"x"), entry("b/large", os.urandom(200_000)))
    done = subprocess.run(
        [sys.executable, "-c", ON_A_SMALL_DISK, str(place)],
        input=archive,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == b"The disk is full: nothing was kept.\n"
    assert names(place) == []


def test_what_is_there_is_never_replaced(place):
    (place / "b").mkdir()
    (place / "b" / "a").write_text("mine")
    with pytest.raises(BundleError, match="already") as caught:
        unpack(io.BytesIO(bundle(entry("b/a", b"theirs"))), place)
    assert caught.value.type_name == "ExtractDirError"
    assert tree(place) == {"b/a": b"mine"}


def test_a_place_that_is_not_there_is_named_as_the_trouble(place):
    with pytest.raises(BundleError, match="cannot be unpacked here: No such file") as caught:
        unpack(io.BytesIO(bundle()), place / "nowhere")
    assert caught.value.type_name == "ExtractDirError"
