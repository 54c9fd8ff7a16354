"""Properties: for whatever bytes somebody sends, the walls hold."""

from __future__ import annotations

import gzip
import io
import tempfile
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from apps.formations.bundles import BundleError, Limits, pack, unpack
from tests.formations.bundles.archives import END, bundle, entry, names, pax, tree, zipped

LIMITS = Limits(packed=20_000, unpacked=60_000, file=20_000, entries=8, slack=50_000, depth=4)

# Steps that climb, hide, collide or are no names at all.
STEPS = st.sampled_from(
    [
        "b",
        "c",
        "d",
        "e.md",
        "B",
        "a",
        "..",
        ".",
        "",
        "...",
        "~",
        "a\u0308",
        "ä",
        "\\",
        "\0",
        "con",
        "x" * 90,
        "._a",
        " ",
    ]
)
NAMES = st.builds(
    lambda steps, start, end: (start + "/".join(steps) + end).encode(),
    st.lists(STEPS, max_size=6),
    st.sampled_from(["b/", "b/", "b/", "b/", "b/", "", "/", "./", "//", "../"]),
    st.sampled_from(["", "", "/"]),
)
KINDS = st.sampled_from(
    [b"0", b"0", b"0", b"5", b"0", b"\0", b"5", b"0", b"1", b"2", b"6", b"S", b"V", b"7"]
)
CONTENTS = st.one_of(st.binary(max_size=600), st.sampled_from([b"\0" * 30_000, b"ab" * 9_000]))
SIZES = st.one_of(
    st.none(), st.integers(0, 2**33 - 1), st.sampled_from([b"\xff" * 12, b"\x80" * 12])
)


@st.composite
def entries(draw):
    name, kind = draw(NAMES), draw(KINDS)
    plain = entry(
        name, draw(CONTENTS), kind=kind, size=draw(SIZES) if draw(st.booleans()) else None
    )
    wrap = draw(st.sampled_from(["plain", "plain", "pax", "gnu", "global"]))
    if wrap == "pax":
        return pax(b"path", draw(NAMES)) + plain
    if wrap == "gnu":
        return entry("././@LongLink", draw(NAMES) + b"\0", kind=b"L") + plain
    return entry("g", b"9 path=x\n", kind=b"g") + plain if wrap == "global" else plain


HONEST = st.builds(entry, st.integers(0, 99).map(lambda n: f"b/file {n}"), CONTENTS)


@contextmanager
def a_place():
    """A folder to unpack into, and beside it what nobody may touch."""
    with tempfile.TemporaryDirectory() as top:
        into = Path(top) / "into"
        into.mkdir()
        (Path(top) / "beside").write_text("mine")
        yield into


def check_walls(into):
    """Nothing outside, nothing but plain files and folders inside, and not too much of it."""
    assert names(into.parent) == ["beside", "into"]
    assert (into.parent / "beside").read_text() == "mine"
    found = list(into.rglob("*"))
    assert all(path.is_file() or path.is_dir() for path in found)
    assert not any(path.is_symlink() for path in found)
    assert len(found) <= LIMITS.entries
    assert sum(path.stat().st_size for path in found if path.is_file()) <= LIMITS.unpacked
    assert all(len(path.relative_to(into).parts) <= LIMITS.depth + 1 for path in found)


def unpack_somehow(archive):
    """Unpack it or be refused, and look at the walls; whether it was unpacked."""
    with a_place() as into:
        try:
            root = unpack(io.BytesIO(archive), into, limits=LIMITS)
        except BundleError:
            assert names(into) == []
            return False
        check_walls(into)
        assert names(into) == [root.name]
        return True


@settings(max_examples=120, deadline=None)
@given(st.lists(st.one_of(HONEST, HONEST, entries()), max_size=6), st.booleans())
def test_no_archive_writes_outside_or_beyond_its_limits(parts, announced):
    unpack_somehow(bundle(*parts) if announced else zipped(*parts))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_damaged_archive_is_refused_or_harmless(data):
    whole = bytearray(
        b"".join([entry("b/a", b"x" * 700), pax(b"path", b"b/long"), entry("b/c")]) + END
    )
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
        whole[at] = data.draw(st.integers(0, 255))
    unpack_somehow(gzip.compress(bytes(whole), compresslevel=1))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 400), st.binary(max_size=300))
def test_a_cut_or_continued_archive_is_refused(cut, more):
    archive = bundle(entry("b/a", bytes(range(256))))
    assert not unpack_somehow(archive[: min(cut, len(archive) - 1)])
    assert unpack_somehow(archive + more) is not bool(more.strip(b"\0"))


# No two of these names fold to one, and no folder is called like a file.
STEM = st.text("abxyz09-_é日", min_size=1, max_size=12)
PATHS = st.builds(lambda steps: "/".join(steps) + ".md", st.lists(STEM, min_size=1, max_size=4))


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(PATHS, st.binary(max_size=900), min_size=1, max_size=6))
def test_packing_and_unpacking_keeps_every_byte(files):
    with a_place() as into, tempfile.TemporaryDirectory() as made:
        for path, content in files.items():
            (Path(made) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(made) / path).write_bytes(content)
        assert tree(unpack(io.BytesIO(pack(Path(made), name="b")), into)) == files
