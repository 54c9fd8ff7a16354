"""The filter of system calls, run as the kernel would run it, for machines other than this one too."""

from __future__ import annotations

import errno
import struct

import pytest

from apps.core import seccomp

ALLOWED, REFUSED = 0x7FFF0000, 0x00050000
X86_64, AARCH64, I386 = 0xC000003E, 0xC00000B7, 0x40000003
MACHINES = {"x86_64": X86_64, "aarch64": AARCH64}


def verdict(machine, call, argument=0, architecture=None):
    """What the filter returns for a system call."""
    program = list(struct.iter_unpack("=HBBI", seccomp.program(machine)))
    data = struct.pack("=IIQ6Q", call, architecture or MACHINES[machine], 0, argument, *[0] * 5)
    held = at = 0
    while True:
        code, yes, no, operand = program[at]
        at += 1
        if code == 0x06:
            return operand
        if code == 0x20:
            held = struct.unpack_from("=I", data, operand)[0]
        else:
            holds = {0x15: held == operand, 0x35: held >= operand, 0x45: bool(held & operand)}
            at += yes if holds[code] else no


def number(machine, name):
    return seccomp._MACHINES[machine][1][name]


@pytest.mark.parametrize("machine", MACHINES)
def test_what_programs_live_on_is_allowed(machine):
    known = set(seccomp._MACHINES[machine][1].values())
    others = [call for call in range(460) if call not in known]
    assert len(others) > 400
    assert {verdict(machine, call) for call in others} == {ALLOWED}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", ["mount", "unshare", "ptrace", "bpf", "keyctl", "setns", "fsopen"])
def test_doors_into_the_kernel_are_shut(machine, name):
    assert verdict(machine, number(machine, name)) == REFUSED | errno.EPERM


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", ["clone3", "memfd_create", "io_uring_setup", "shmget"])
def test_what_programs_can_do_without_looks_unknown(machine, name):
    assert verdict(machine, number(machine, name)) == REFUSED | errno.ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_a_process_is_made_and_a_namespace_is_not(machine):
    clone = number(machine, "clone")
    fork, thread, new_user, new_net = 0x01200011, 0x003D0F00, 0x10000011, 0x40000011
    assert {verdict(machine, clone, flags) for flags in (fork, thread)} == {ALLOWED}
    for flags in (new_user, new_net, 0x00020000, 0x7E020000):
        assert verdict(machine, clone, flags) == REFUSED | errno.EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_sockets_are_of_families_that_stay_inside(machine):
    call = number(machine, "socket")
    assert {verdict(machine, call, family) for family in (1, 2, 10, 16)} == {ALLOWED}
    for vsock_and_others in (40, 38, 17, 0, 3):
        assert verdict(machine, call, vsock_and_others) == REFUSED | errno.EAFNOSUPPORT


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_by_other_numbers_are_refused(machine):
    assert verdict(machine, 0, architecture=I386) == REFUSED | errno.ENOSYS
    assert verdict(machine, 0x40000000 + 165) == REFUSED | errno.ENOSYS


def test_a_machine_whose_numbers_are_unknown_gets_no_filter():
    assert seccomp.program("riscv64") == b""
