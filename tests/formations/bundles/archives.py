"""Archives made by hand, header by header: what no honest packer writes can be written here."""

from __future__ import annotations

import gzip
import io
import tarfile

BLOCK = 512
END = b"\0" * (2 * BLOCK)


def entry(name, content=b"", *, kind=b"0", size=None, mode=0o644, checksum=None):
    """One header with its content. `size` may lie; `name` is bytes as they will stand there."""
    name = name.encode() if isinstance(name, str) else name
    length = len(content) if size is None else size
    field = length if isinstance(length, bytes) else b"%011o\0" % length
    head = name[:100].ljust(100, b"\0") + b"%07o\0" % mode + b"0000000\0" * 2 + field
    head += b"00000000000\0" + b" " * 8 + kind + b"\0" * 100 + b"ustar\x0000"
    head = head.ljust(BLOCK, b"\0")
    total = sum(head) if checksum is None else checksum
    head = head[:148] + b"%06o\0 " % total + head[156:]
    return head + content + b"\0" * (-len(content) % BLOCK)


def folder(name):
    return entry(name, kind=b"5")


def pax(key, value):
    """An extended header that says `key=value` of the next entry."""
    body = b" %s=%s\n" % (key, value)
    length = len(body) + len(str(len(body) + 2))
    return entry("pax", b"%d" % length + body, kind=b"x")


def zipped(*entries, end=END):
    return gzip.compress(b"".join(entries) + end, compresslevel=1, mtime=0)


def bundle(*entries):
    """As `zipped`, below a root folder `b` that is announced first."""
    return zipped(folder("b/"), *entries)


def by_tarfile(files, form):
    """What the standard library packs: `{path: content}`."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=form) as tar:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def names(root):
    return sorted(path.name for path in root.iterdir())


def tree(root):
    """`{path: content}` of what lies below a folder; folders without files are left out."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
