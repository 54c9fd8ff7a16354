"""A filter of system calls for commands we confine: what no honest command needs, refused by the kernel.

Namespaces and limits stand without it. It closes what they leave open: doors into the kernel that are
rarely used and often broken (io_uring, bpf, userfaultfd, perf), new namespaces, mounts and ptrace, and
memory that no limit of a process counts (memfd, System V). AF_VSOCK is no part of a network namespace.
"""

from __future__ import annotations

import errno
import os
import struct
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# A `seccomp_data`: number of the call, architecture, instruction pointer, then its arguments.
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_LOAD, _IS, _AT_LEAST, _ANY_OF, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_X32 = 0x40000000  # the same calls by other numbers
_NEW_NAMESPACE = 0x7E020000  # CLONE_NEW*
_FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK

# Numbers since Linux 5.1 are the same everywhere.
_COMMON = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "clone3": 435,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "memfd_secret": 447,
}
_X86_64 = {
    "ptrace": 101,
    "syslog": 103,
    "pivot_root": 155,
    "chroot": 161,
    "acct": 163,
    "mount": 165,
    "umount2": 166,
    "swapon": 167,
    "swapoff": 168,
    "reboot": 169,
    "init_module": 175,
    "delete_module": 176,
    "quotactl": 179,
    "kexec_load": 246,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "unshare": 272,
    "perf_event_open": 298,
    "name_to_handle_at": 303,
    "open_by_handle_at": 304,
    "setns": 308,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "kcmp": 312,
    "finit_module": 313,
    "memfd_create": 319,
    "kexec_file_load": 320,
    "bpf": 321,
    "userfaultfd": 323,
    "shmget": 29,
    "msgget": 68,
    "clone": 56,
    "socket": 41,
}
_AARCH64 = {
    "umount2": 39,
    "mount": 40,
    "pivot_root": 41,
    "chroot": 51,
    "quotactl": 60,
    "acct": 89,
    "unshare": 97,
    "kexec_load": 104,
    "init_module": 105,
    "delete_module": 106,
    "syslog": 116,
    "ptrace": 117,
    "reboot": 142,
    "add_key": 217,
    "request_key": 218,
    "keyctl": 219,
    "swapon": 224,
    "swapoff": 225,
    "perf_event_open": 241,
    "name_to_handle_at": 264,
    "open_by_handle_at": 265,
    "setns": 268,
    "process_vm_readv": 270,
    "process_vm_writev": 271,
    "kcmp": 272,
    "finit_module": 273,
    "memfd_create": 279,
    "bpf": 280,
    "userfaultfd": 282,
    "kexec_file_load": 294,
    "msgget": 186,
    "shmget": 194,
    "socket": 198,
    "clone": 220,
}
# machine -> (the kernel's name for it, its calls)
_MACHINES: Mapping[str, tuple[int, Mapping[str, int]]] = {
    "x86_64": (0xC000003E, _X86_64 | _COMMON),
    "aarch64": (0xC00000B7, _AARCH64 | _COMMON),
}
# Programs try these and do without where the kernel is too old: let it look old.
_AS_IF_UNKNOWN = frozenset({"clone3", "memfd_create", "memfd_secret", "io_uring_setup", "shmget"})
_BY_ARGUMENT = frozenset({"clone", "socket"})


@cache
def program(machine: str = "") -> bytes:
    """The filter as `bwrap --seccomp` reads it; empty for a machine whose numbers we do not know."""
    known = _MACHINES.get(machine or os.uname().machine)
    return b"".join(_instructions(*known)) if known else b""


def _instructions(architecture: int, calls: Mapping[str, int]) -> Iterator[bytes]:
    yield _step(_LOAD, _ARCHITECTURE)
    yield _step(_IS, architecture, yes=1)
    yield _refuse(errno.ENOSYS)  # a 32 bit program: its numbers mean something else
    yield _step(_LOAD, _NUMBER)
    yield _step(_AT_LEAST, _X32, no=1)
    yield _refuse(errno.ENOSYS)
    for name, number in calls.items():
        if name not in _BY_ARGUMENT:
            yield _step(_IS, number, no=1)
            yield _refuse(errno.ENOSYS if name in _AS_IF_UNKNOWN else errno.EPERM)
    yield _step(_IS, calls["clone"], no=3)
    yield _step(_LOAD, _FIRST_ARGUMENT)
    yield _step(_ANY_OF, _NEW_NAMESPACE, yes=len(_FAMILIES) + 4)
    yield _step(_RETURN, _ALLOW)
    yield _step(_IS, calls["socket"], no=len(_FAMILIES) + 3)
    yield _step(_LOAD, _FIRST_ARGUMENT)
    for left, family in reversed(list(enumerate(_FAMILIES))):
        yield _step(_IS, family, yes=left + 2)
    yield _refuse(errno.EAFNOSUPPORT)
    yield _refuse(errno.EPERM)
    yield _step(_RETURN, _ALLOW)


def _refuse(number: int) -> bytes:
    return _step(_RETURN, _REFUSE | number)


def _step(code: int, operand: int, *, yes: int = 0, no: int = 0) -> bytes:
    """One instruction; `yes` and `no` are how many of the next ones to skip."""
    return struct.pack("=HBBI", code, yes, no, operand)
