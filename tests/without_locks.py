"""Runs a command for which ``flock(2)`` is not what it is: ``without_locks.py ERRNO COMMAND``.

A seccomp filter of the kernel answers the call. With 0 every lock is granted to everybody, as on a
network file system mounted without locks between hosts; with ENOLCK there are none.
"""

import ctypes
import os
import platform
import struct
import sys

FLOCK = {"x86_64": 73, "aarch64": 32}
"""The number of the system call."""

NO_NEW_PRIVS, SECCOMP, FILTER = 38, 22, 2
LOAD_NUMBER, IF_EQUAL, ANSWER = 0x20, 0x15, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000


class Program(ctypes.Structure):
    """The kernel's ``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def answer_flock(code: int) -> None:
    """Have the kernel answer ``flock`` with an error, or 0, in this process and its children."""
    steps = [
        (LOAD_NUMBER, 0, 0, 0),
        (IF_EQUAL, 0, 1, FLOCK[platform.machine()]),
        (ANSWER, 0, 0, REFUSE | code),
        (ANSWER, 0, 0, ALLOW),
    ]
    code_bytes = b"".join(struct.pack("HBBI", *step) for step in steps)
    program = Program(len(steps), code_bytes)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(NO_NEW_PRIVS, 1, 0, 0, 0) or prctl(SECCOMP, FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "no filter of system calls can be set here")


if __name__ == "__main__":
    answer_flock(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606
