"""The processes themselves: how they are forked, what they may, and how they end."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile

from rmr_worker import pickling
from rmr_worker.frames import Closed, Kind, read_frame

from .batches import Failed
from .case import WorkerCase, await_true, from_python, template
from .server import PROGRAM, USER, Template


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def await_end(pid: int) -> bool:
    until = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not is_alive(pid)


class Ends(WorkerCase):
    def crash(self, script: str) -> dict:
        with self.assertRaises(Closed):
            self.worker.load(script)
        self.worker.await_end()
        end: dict = template().exit_of(self.worker)
        return end

    def test_exit(self) -> None:
        self.assertEqual(self.crash("import os\nos._exit(7)")["code"], 7)

    def test_crash(self) -> None:
        end = self.crash("import ctypes\nctypes.string_at(0)")
        self.assertEqual(end["signal"], signal.SIGSEGV)
        await_true(lambda: "Fatal Python error: Segmentation fault" in "\n".join(self.worker.output))

    def test_others_go_on(self) -> None:
        other = self.fork()
        self.crash("import os\nos.kill(os.getpid(), 9)")
        other.load("x = 1")

    def test_the_server_ends_a_worker_and_what_it_has_started(self) -> None:
        self.worker.load("import subprocess\np = subprocess.Popen(['sleep', '60'])\nexecute('SET', 'pid', p.pid)")
        child = int(self.database.data["pid"])
        self.assertTrue(is_alive(child))
        template().kill(self.worker.pid)
        self.assertEqual(template().exit_of(self.worker)["signal"], signal.SIGKILL)
        self.assertTrue(await_end(child))

    def test_a_closed_socket_ends_the_worker(self) -> None:
        self.worker.close()
        self.assertEqual(template().exit_of(self.worker)["code"], 0)

    def test_a_forked_child_cannot_speak_for_the_worker(self) -> None:
        script = """
import os
read, write = os.pipe()
if os.fork() == 0:
    try:
        execute('PING')
    except Exception as error:
        os.write(write, str(error).encode())
    os._exit(0)
text = os.read(read, 1000)
raise Exception(text)
"""
        with self.assertRaisesRegex(Failed, "can not be run in a process that a script has forked"):
            self.worker.load(script)
        self.assertEqual(self.results(from_python("[1]", ".map(lambda x: execute('PING'))")), ["PONG"])

    def test_a_forked_child_that_comes_back_ends(self) -> None:
        self.worker.load("import os\nchild = os.fork()\nif child: execute('SET', 'child', child)")
        self.assertTrue(await_end(int(self.database.data["child"])))
        self.worker.load("x = 1")

    def test_much_output(self) -> None:
        self.worker.load("for i in range(20000): print('line', i)")
        self.worker.close()
        template().exit_of(self.worker)
        await_true(lambda: len(self.worker.output) == 20000)


class Limited(WorkerCase):
    def evaluated(self, expression: str, imports: str = "os") -> str:
        return self.results(f"import {imports}\n" + from_python("[1]", f".map(lambda x: {expression})"))[0]

    def test_a_group_of_its_own(self) -> None:
        self.assertEqual(self.evaluated("(os.getpgid(0), os.getsid(0))"), f"({self.worker.pid}, {self.worker.pid})")
        self.assertEqual(self.evaluated("os.getpriority(os.PRIO_PROCESS, 0) > 0"), "True")

    def test_no_files_of_the_server(self) -> None:
        # Standard files, two sockets, and what the event loop has.
        names = self.evaluated(
            "sorted(os.readlink('/proc/self/fd/%s' % n).split(':')[0] for n in os.listdir('/proc/self/fd')"
            " if os.path.exists('/proc/self/fd/%s' % n) or True and os.path.islink('/proc/self/fd/%s' % n))"
        )
        self.assertNotIn(".rdb", names)
        self.assertLess(len(names.split(",")), 12)

    def test_no_new_rights(self) -> None:
        self.assertIn("NoNewPrivs:\t1", self.evaluated("open('/proc/self/status').read()"))

    @unittest.skipUnless(os.geteuid() == 0 and USER, "only root can change to another user")
    def test_a_user_of_its_own(self) -> None:
        nobody = pwd.getpwnam("nobody")
        self.assertEqual(
            self.evaluated("(os.getuid(), os.getgid(), os.getgroups())"),
            f"({nobody.pw_uid}, {nobody.pw_gid}, [])",
        )
        with self.assertRaisesRegex(Failed, "PermissionError"):
            self.worker.load(f"import os\nos.kill({os.getpid()}, 9)")


class Memory(unittest.TestCase):
    def test_limit(self) -> None:
        own = Template(f"memory={128 << 20}")
        self.addCleanup(own.close)
        worker = own.fork()
        worker.hello()
        with self.assertRaisesRegex(Failed, "MemoryError"):
            worker.load("x = bytearray(200 << 20)")
        with self.assertRaisesRegex(Failed, "MemoryError"):
            worker.load("x = []\nwhile True: x.append('x' * 100000 + str(len(x)))")
        worker.ask(Kind.FORGET, ("s",))
        worker.load("x = bytearray(20 << 20)")


class TheTemplate(unittest.TestCase):
    def test_it_says_what_it_is(self) -> None:
        hello = template().hello
        self.assertEqual(hello.kind, Kind.HELLO)
        self.assertEqual(tuple(hello.head["python"]), sys.version_info[:3])

    def test_frames_that_make_no_sense(self) -> None:
        with self.assertRaises(Failed):
            template().kill(1)

    def test_signals_that_a_server_ignores_are_not_ignored(self) -> None:
        """A Redis without a watchdog ignores SIGALRM."""
        before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        own = Template()
        self.addCleanup(own.close)
        with open(f"/proc/{own.process.pid}/status", encoding="ascii") as status:
            ignored = next(int(line.split()[1], 16) for line in status if line.startswith("SigIgn:"))
        self.assertEqual(ignored & 1 << signal.SIGALRM - 1, 0)

    def test_workers_end_with_it(self) -> None:
        own = Template()
        worker = own.fork()
        worker.hello()
        os.kill(own.process.pid, signal.SIGKILL)
        own.process.wait()
        self.assertTrue(await_end(worker.pid))
        own.close()

    def test_all_end_with_the_server(self) -> None:
        # A server that is killed while another process holds its sockets, as the child of a BGSAVE does.
        script = f"""
import os, sys, time
sys.path.insert(0, {PROGRAM!r})
from tests.server import Template
template = Template()
worker = template.fork()
worker.hello()
if os.fork() == 0:
    time.sleep(30)
    os._exit(0)
print(template.process.pid, worker.pid, flush=True)
time.sleep(30)
"""
        server = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, start_new_session=True)
        assert server.stdout is not None
        own, worker = map(int, server.stdout.readline().split())
        server.kill()
        server.wait()
        try:
            self.assertTrue(await_end(own))
            self.assertTrue(await_end(worker))
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.stdout.close()

    def test_the_folder_goes_with_a_server_that_has_left_it(self) -> None:
        for ends, is_left in (("os._exit(1)", False), ("template.close(); time.sleep(30)", True)):
            with tempfile.TemporaryDirectory() as place:
                folder = os.path.join(place, "laid out")
                os.mkdir(folder)
                script = f"""
import os, sys, time
sys.path.insert(0, {PROGRAM!r})
from tests.server import Template
template = Template({"folder=" + folder!r})
print(template.process.pid, flush=True)
{ends}
"""
                server = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
                assert server.stdout is not None
                self.assertTrue(await_end(int(server.stdout.readline())))
                self.assertEqual(os.path.exists(folder), is_left)
                server.kill()
                server.wait()
                server.stdout.close()

    def test_a_fork_is_quick(self) -> None:
        start = time.monotonic()
        workers = [template().fork() for _ in range(10)]
        self.assertLess(time.monotonic() - start, 2)
        for worker in workers:
            worker.close()

    def test_without_cloudpickle(self) -> None:
        # -S: without the folder in which packages are installed.
        with tempfile.TemporaryDirectory() as empty:
            ours, theirs = socket.socketpair()
            process = subprocess.Popen([sys.executable, "-I", "-S", "-B", PROGRAM], stdin=theirs.fileno(), cwd=empty)
            theirs.close()
            frame = read_frame(ours)
            self.assertEqual(process.wait(), 3)
            ours.close()
        self.assertEqual(frame.kind, Kind.FAILED)
        self.assertEqual(frame.head[0], "missing")
        self.assertIn("install cloudpickle", frame.head[1])

    def test_it_runs_from_a_zip_file(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            archive = os.path.join(folder, "worker.zip")
            with zipfile.ZipFile(archive, "w") as file:
                for name in ["__main__.py"] + ["rmr_worker/" + name for name in os.listdir(PROGRAM + "/rmr_worker")]:
                    if name.endswith(".py"):
                        file.write(os.path.join(PROGRAM, name), name)
            own = Template(program=archive)
            self.addCleanup(own.close)
            worker = own.fork()
            worker.hello()
            worker.load("x = 1")
            with self.assertRaises(Failed) as caught:
                worker.load("GB().map()")
            self.assertIn("wrong number of args to map function", str(caught.exception))

    @unittest.skipUnless(os.geteuid() == 0, "only root can change to another user")
    def test_a_user_that_does_not_exist(self) -> None:
        own = Template("user=nosuchuser")
        self.assertEqual((own.hello.kind, own.hello.head[0]), (Kind.FAILED, "missing"))
        self.assertIn("nosuchuser", own.hello.head[1])
        own.close()

    @unittest.skipIf(os.geteuid() != 0 or USER, "everyone may read this interpreter's library")
    def test_a_library_that_the_user_may_not_read(self) -> None:
        own = Template("user=nobody")
        self.assertEqual((own.hello.kind, own.hello.head[0]), (Kind.FAILED, "missing"))
        self.assertIn("may not read", own.hello.head[1])
        own.close()

    def test_deep_recursion_is_an_error(self) -> None:
        worker = template().fork()
        self.addCleanup(worker.close)
        for function in ("return f(n + 1)", "return sorted([n], key=lambda x: f(n + 1))", "return [*map(f, [n])]"):
            with self.assertRaisesRegex(Failed, "RecursionError"):
                worker.load(f"def f(n):\n  {function}\nf(0)")

    def test_versions_of_cloudpickle(self) -> None:
        self.assertTrue(pickling.too_old("1.6.0"))
        self.assertTrue(pickling.too_old(None))
        for version in ("2.0.0", "2.2", "3.1.1"):
            self.assertFalse(pickling.too_old(version))
