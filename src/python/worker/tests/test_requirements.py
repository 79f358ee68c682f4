"""Packages that scripts require: found, fetched from a folder and installed, without any index."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import unittest
import zipfile
from typing import Any, Dict

from rmr_worker import requirements

from .case import WorkerCase
from .server import PROGRAM, USER


def wheel(folder: str, name: str, version: str, needs: str = "") -> str:
    """Writes a wheel of one module; returns its file name."""
    files = {
        f"{name}.py": f"version = {version!r}\n",
        f"{name}-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{name}-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{name}-{version}.dist-info/RECORD"
    files[record] = "".join(f"{file},,\n" for file in [*files, record])
    path = os.path.join(folder, f"{name}-{version}-py3-none-any.whl")
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return os.path.basename(path)


def run(*words: str) -> Dict[str, Any]:
    environment = dict(os.environ, PIP_INDEX_URL="http://127.0.0.1:9/", PIP_RETRIES="0", PIP_TIMEOUT="1")
    command = [sys.executable, "-B", PROGRAM, "requirements", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, timeout=120)
    answer: Dict[str, Any] = json.loads(done.stdout)
    return answer


class Check(unittest.TestCase):
    def test_what_is_there(self) -> None:
        self.assertEqual(
            run("action=check", "--", "cloudpickle", "cloudpickle>=2", "cloudpickle<1", "no-such-package-here", "!"),
            {
                "satisfied": ["cloudpickle", "cloudpickle>=2"],
                "missing": ["cloudpickle<1", "no-such-package-here", "!"],
            },
        )

    def test_without_anything_that_reads_requirements(self) -> None:
        grammar = requirements.requirement_grammar
        self.addCleanup(setattr, requirements, "requirement_grammar", grammar)
        requirements.requirement_grammar = lambda: None
        self.assertTrue(requirements.is_satisfied("cloudpickle"))
        self.assertFalse(requirements.is_satisfied("cloudpickle>=2"))
        self.assertFalse(requirements.is_satisfied("no-such-package-here"))


class Install(WorkerCase):
    def test_from_a_folder(self) -> None:
        with tempfile.TemporaryDirectory() as base:
            os.chmod(base, 0o755)
            links, folder, target = (os.path.join(base, name) for name in ("links", "wheels", "target"))
            os.mkdir(links)
            first = wheel(links, "rmr_first", "1.5", "Requires-Dist: rmr_second\n")
            second = wheel(links, "rmr_second", "2.0")
            user = f"user={USER}"
            fetched = run("action=fetch", f"folder={folder}", f"find_links={links}", user, "--", "rmr-first>=1")
            self.assertEqual(fetched, {"wheels": [first, second]})
            self.assertEqual(run("action=install", f"folder={folder}", f"target={target}", user), {"target": target})
            self.worker.load("import rmr_first\nassert rmr_first.version == '1.5'\nimport rmr_second", path=[target])

    def test_all_of_a_set_together(self) -> None:
        """What the interpreter has is fetched with the rest, in a version that goes with it; or fits what is there."""
        there = requirements.version_of("cloudpickle")
        with tempfile.TemporaryDirectory() as base:
            os.chmod(base, 0o755)
            links, folder = os.path.join(base, "links"), os.path.join(base, "wheels")
            os.mkdir(links)
            fetch = ["action=fetch", f"folder={folder}", f"find_links={links}", "tries=1", f"user={USER}", "--"]
            older = wheel(links, "rmr_first", "1.5", "Requires-Dist: rmr_second\n")
            needed = wheel(links, "rmr_second", "2.0")
            wheel(links, "rmr_first", "2.5", "Requires-Dist: cloudpickle==0.1\n")
            # It is not in the folder, so that what is in the interpreter is what all has to go with.
            self.assertEqual(run(*fetch, "cloudpickle", "rmr-first"), {"wheels": [older, needed]})
            other = wheel(links, "cloudpickle", "0.1")
            newer = "rmr_first-2.5-py3-none-any.whl"
            self.assertEqual(run(*fetch, "cloudpickle", "rmr-first"), {"wheels": [other, newer]})
            refused = run(*fetch, f"cloudpickle=={there}", "rmr-first>2")
            self.assertIn("cloudpickle", refused["error"])

    def test_what_cannot_be_had(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            answer = run("action=fetch", f"folder={folder}", "tries=1", "--", "no-such-package-here")
        self.assertIn("no-such-package-here", answer["error"])
