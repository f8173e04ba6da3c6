"""Something happens at the n-th call that changes the disk: SIGKILL, half a write, an error."""

import os
import signal

CHANGES = ("write", "ftruncate", "replace", "unlink", "mkdir")
"""The system calls by which publishing changes what a reader sees.

To be killed before an fsync or after it is to be killed before the next of these.
"""

CALLS = (*CHANGES, "fsync", "open")
"""Those by which it can be refused."""


class Failpoints:
    """Counts the calls that change the disk; at one of them something happens."""

    def __init__(self, number, action, calls=CHANGES):
        self.number = number
        self.calls = calls
        self.action = action
        self.count = 0

    def install(self, monkeypatch):
        """Put the counter around every such call."""
        for name in self.calls:
            monkeypatch.setattr(os, name, self._wrapped(name, getattr(os, name)))

    def _wrapped(self, name, real):
        def call(*args, **kwargs):
            self.count += 1
            if self.count == self.number:
                self.action(name, real, args)
            return real(*args, **kwargs)

        return call


def die(name, real, args):
    """Be killed before the call."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_halfway(name, real, args):
    """Be killed in the middle of a write."""
    if name == "write":
        real(args[0], bytes(args[1])[: len(args[1]) // 2])
    os.kill(os.getpid(), signal.SIGKILL)


def in_child(work):
    """Run something in a process of its own; give how it ended."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
