"""Forks workers from a process that has imported everything already, which takes about a millisecond.

The template runs no user code and has no threads. It speaks with the server over its standard input, a Unix socket:
each FORK frame carries three descriptors (flow socket, call socket, a pipe for what the worker prints), and each
worker that ends is reported. It ends when the server does, and all workers with it.
"""

from __future__ import annotations

import array
import gc
import os
import resource
import select
import shutil
import signal
import socket
import sys
import time
from typing import Any, Dict, List, Optional, Tuple

from . import PROTOCOL_VERSION, launcher
from .frames import HEADER, Closed, Frame, Kind, encode, read_frame

# Flow socket, call socket, output.
FILES_OF_A_WORKER = 3

MISSING = 3

# How often the server is looked for where the system cannot tell of its end.
LOOK_S = 1.0


def main(words: List[str]) -> int:
    """Serves until the server ends; returns the exit status."""
    given = launcher.named(words)
    control = own_control_socket()
    os.setsid()
    launcher.forget_signals()
    launcher.close_all_but([control.fileno()])
    launcher.control(launcher.PR_SET_CHILD_SUBREAPER, 1)
    limits = launcher.Limits.of(words)
    lack = what_is_missing(limits.user)
    if lack is not None:
        control.sendall(encode(Kind.FAILED, 0, ("missing", lack)))
        return MISSING
    from . import process

    warm_up()
    control.sendall(encode(Kind.HELLO, 0, dict(process.versions(), protocol=PROTOCOL_VERSION)))
    template = Template(control, int(given.get("server", os.getppid())), limits)
    template.serve()
    if "folder" in given and template.is_alone():
        shutil.rmtree(given["folder"], ignore_errors=True)
    return 0


def what_is_missing(user: str) -> Optional[str]:
    """Says why this interpreter cannot run functions, if it cannot."""
    try:
        from . import worker  # noqa: F401
    except ImportError as error:
        return f"{sys.executable} can not run functions: {error}; install {error.name} for it"
    try:
        if launcher.can_use_library(user):
            return None
    except KeyError:
        return f"there is no user {user!r} to run Python as"
    folder = os.path.dirname(os.__file__)
    return f"the user {user!r} may not read {folder}, the library of {sys.executable}: it takes another of the two"


def own_control_socket() -> socket.socket:
    """Moves the socket away from standard input, where a script might read it."""
    control = socket.socket(fileno=os.dup(0))
    os.set_inheritable(control.fileno(), False)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    return control


def warm_up() -> None:
    """Imports what scripts commonly use, and keeps the collector from touching it, which would copy its pages."""
    import base64  # noqa: E401, F401
    import json  # noqa: E401, F401

    gc.collect()
    gc.freeze()


class Template:
    """Knows the workers that it has forked."""

    def __init__(self, control: socket.socket, server: int, limits: launcher.Limits) -> None:
        self._control = control
        self._server = server
        self._limits = limits
        self._workers: Dict[int, int] = {}
        self._pid_file = file_of_process(server)
        self._woken, self._waker = os.pipe()
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)

    def serve(self) -> None:
        """Serves until the server closes the socket or ends."""
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        if self._pid_file is not None:
            poll.register(self._pid_file, select.POLLIN)
        try:
            while self._has_server():
                ready = {number for number, _ in poll.poll(LOOK_S * 1000)}
                if self._woken in ready:
                    os.read(self._woken, 4096)
                self._bury()
                if self._control.fileno() in ready:
                    self._obey()
        except (Closed, OSError):
            pass
        finally:
            self._end_all()

    def is_alone(self) -> bool:
        """Says whether the server has ended; its sockets close a moment before that can be seen."""
        if self._pid_file is not None:
            return bool(select.select([self._pid_file], [], [], LOOK_S)[0])
        time.sleep(LOOK_S)
        return not self._has_server()

    def _has_server(self) -> bool:
        if self._pid_file is not None:
            return not select.select([self._pid_file], [], [], 0)[0]
        try:
            os.kill(self._server, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True

    def _obey(self) -> None:
        frame, files = read_with_files(self._control)
        if frame.kind == Kind.FORK and len(files) == FILES_OF_A_WORKER:
            self._fork(frame, files)
        elif frame.kind == Kind.KILL and frame.head[0] in self._workers:
            end_group(frame.head[0])
            self._control.sendall(encode(Kind.DONE, frame.id, ()))
        else:
            self._control.sendall(encode(Kind.FAILED, frame.id, ("protocol", "there is nothing to do for this frame")))
        for number in files:
            os.close(number)

    def _fork(self, frame: Frame, files: List[int]) -> None:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            text = f"no worker can be forked: {error}"
            self._control.sendall(encode(Kind.FAILED, frame.id, ("resources", text)))
            return
        if pid == 0:
            self._become_worker(files, parent)
        self._workers[pid] = frame.id
        self._control.sendall(encode(Kind.DONE, frame.id, (pid,)))

    def _become_worker(self, files: List[int], parent: int) -> None:
        """Runs a worker in the forked process; never returns."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            launcher.forget_signals()
            os.setsid()
            flow, call, output = files
            for standard in (1, 2):
                os.dup2(output, standard)
            launcher.close_all_but([flow, call])
            sys.stdout = os.fdopen(1, "w", 1, errors="backslashreplace", closefd=False)
            sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
            launcher.limit(self._limits, parent)
            from . import worker

            status = worker.serve(socket.socket(fileno=flow), socket.socket(fileno=call))
        except SystemExit as error:
            sys.stderr.write(f"{error}\n")
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            try:
                sys.stdout.flush()
            finally:
                os._exit(status)

    def _bury(self) -> None:
        """Reports the workers that have ended, and ends what they have left behind."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self._workers.pop(pid, None)
            if number is not None:
                end_group(pid)
                self._control.sendall(encode(Kind.EXITED, number, described_end(pid, status, usage)))

    def _end_all(self) -> None:
        for pid in list(self._workers):
            end_group(pid)
        for pid in orphans():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass


def described_end(pid: int, status: int, usage: "resource.struct_rusage") -> Dict[str, Any]:
    return {
        "pid": pid,
        "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        "peak": usage.ru_maxrss * 1024,
        "cpu_ms": int((usage.ru_utime + usage.ru_stime) * 1000),
    }


def end_group(pid: int) -> None:
    """Ends a worker and what it has started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        pass


def orphans() -> List[int]:
    """Returns the children of this process, among them those whose own parents have ended."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as children:
            return [int(word) for word in children.read().split()]
    except OSError:
        return []


def file_of_process(pid: int) -> Optional[int]:
    """Returns a descriptor that becomes readable when a process ends, where the system has such."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def read_with_files(control: socket.socket) -> Tuple[Frame, List[int]]:
    """Reads a frame and the descriptors that came with its first byte."""
    files = array.array("i")
    room = socket.CMSG_LEN(FILES_OF_A_WORKER * files.itemsize)
    start, ancillary, _, _ = control.recvmsg(HEADER.size, room)
    if not start:
        raise Closed
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            files.frombytes(data[: len(data) - len(data) % files.itemsize])
    return read_frame(control, start), list(files)
