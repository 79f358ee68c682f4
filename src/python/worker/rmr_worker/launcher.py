"""Takes from a process what user code should not have: files, rights, memory without end, a life of its own.

The server starts the template without preparing the new process, since doing so would mean to fork all of the server;
so the template cleans up after the server's descriptors and signal masks itself, and each worker takes on its limits
before it runs any user code.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import signal
import sys
from typing import Dict, Iterable, NamedTuple, Optional

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

# Makes the kernel end a worker before the server when memory is short.
OOM_SCORE = "800"

OPEN_FILES = 1024


# The C library; None where there may be none of its functions that are called here.
libc = ctypes.CDLL(None) if sys.platform.startswith("linux") else None


def named(words: Iterable[str]) -> Dict[str, str]:
    """Reads words of the form name=value; leaves all others."""
    return dict(word.split("=", 1) for word in words if "=" in word)


class Limits(NamedTuple):
    """Says what a worker may use."""

    # bytes of private memory; 0 is no limit
    memory: int = 1 << 30
    # whom a worker of a server that is root runs as; empty: the server's own user
    user: str = "nobody"
    # processes and threads of that user
    processes: int = 4096
    nice: int = 5

    @classmethod
    def of(cls, words: Iterable[str]) -> "Limits":
        """Reads them from words of the form name=value."""
        given = named(words)
        default = cls()
        return cls(
            memory=int(given.get("memory", default.memory)),
            user=given.get("user", default.user),
            processes=int(given.get("processes", default.processes)),
            nice=int(given.get("nice", default.nice)),
        )


def close_all_but(kept: Iterable[int]) -> None:
    """Closes all files from number 3 on but these."""
    start = 3
    largest = max(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 4096)
    try:
        largest = max(int(name) for name in os.listdir("/proc/self/fd")) + 1
    except OSError:
        pass
    for number in sorted(kept):
        os.closerange(start, number)
        start = number + 1
    os.closerange(start, largest)


def forget_signals() -> None:
    """Undoes what a server does to signals, which a new process inherits."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGCHLD,
        signal.SIGALRM,
    ):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def control(option: int, value: int) -> None:
    """Calls prctl; does nothing where there is none."""
    if libc is not None:
        libc.prctl(option, value, 0, 0, 0)


def limit(limits: Limits, parent: int) -> None:
    """Takes on the limits; ends the process if its parent has ended meanwhile."""
    be_first_to_go()
    os.nice(limits.nice)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    lower(resource.RLIMIT_NOFILE, OPEN_FILES)
    if limits.memory:
        # Not the address space, of which threads and libraries reserve much that they never use.
        lower(resource.RLIMIT_DATA, limits.memory)
    if become(limits.user):
        lower(resource.RLIMIT_NPROC, limits.processes)
    control(PR_SET_NO_NEW_PRIVS, 1)
    # After the change of user, which forgets it.
    control(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def lower(what: int, most: int) -> None:
    """Sets a limit that may not be raised again."""
    hard = resource.getrlimit(what)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def become(user: str) -> bool:
    """Changes to another user, if this process may; returns whether it has."""
    entry = user_named(user)
    if entry is None or entry.pw_uid == 0:
        return False
    os.setgroups([])
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    os.environ.update(HOME="/", USER=user, LOGNAME=user)
    return True


def user_named(user: str) -> "Optional[pwd.struct_passwd]":
    """Returns a user; raises KeyError if there is no such. There need not be one where it cannot be changed to."""
    return pwd.getpwnam(user) if user and os.geteuid() == 0 else None


def can_use_library(user: str) -> bool:
    """Says whether the user to whom workers change can read Python's own library, which they go on to import from."""
    if user_named(user) is None:
        return True
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            become(user)
            status = 0 if os.access(os.__file__, os.R_OK) else 1
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] == 0


def be_first_to_go() -> None:
    try:
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write(OOM_SCORE)
    except OSError:
        pass
