"""Finds the packages that a script requires, and installs them into a folder of their own.

A program by itself: `python3 -I -B <this folder> requirements action=... -- <requirement> ...`, which writes one value
as JSON to standard output and what pip says to standard error. The server calls it for a set of requirements:

- `check`: are they satisfied by what the interpreter can import? `{"satisfied": [...], "missing": [...]}`
- `fetch folder=F [find_links=L] [tries=3]`: collects wheels of them and of what they need in F, in versions that go
  together: from the folder L if that is enough, else from the index. `{"wheels": [file names]}`
- `install folder=F target=T`: installs the wheels of F into T without any index. `{"target": T}`

With `user=` all of it runs as that user where the server is root, since building a package runs its code; F and T are
made for that user. A failure is exit status 1 and `{"error": the last lines of pip}`.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Dict, List, Optional

from . import launcher

# As RedisGears: an index that does not answer gets another chance.
TRIES = 3
PAUSE_S = 1.0

# How much of pip's output an error has.
LAST_LINES = 20


class Failed(Exception):
    """Says why requirements cannot be had."""


def main(words: List[str]) -> int:
    """Runs one action; returns the exit status."""
    end = words.index("--") if "--" in words else len(words)
    given = launcher.named(words[:end])
    requirements = words[end + 1 :]
    actions: Dict[str, Callable[[], Dict[str, Any]]] = {
        "check": lambda: check(requirements),
        "fetch": lambda: fetch(requirements, given["folder"], given.get("find_links"), int(given.get("tries", TRIES))),
        "install": lambda: install(given["folder"], given["target"]),
    }
    try:
        with become(given.get("user", ""), [given[name] for name in ("folder", "target") if name in given]):
            answer, status = actions[given.get("action", "check")](), 0
    except (Failed, KeyError, OSError) as error:
        answer, status = {"error": str(error)}, 1
    json.dump(answer, sys.stdout)
    return status


class become:
    """Changes to a user who gets these folders, with a home that is removed again."""

    def __init__(self, user: str, folders: List[str]) -> None:
        self._user = user
        self._folders = folders
        self._home = ""

    def __enter__(self) -> None:
        self._home = tempfile.mkdtemp(prefix="rmr-pip-")
        entry = launcher.user_named(self._user)
        for folder in [self._home, *self._folders]:
            os.makedirs(folder, exist_ok=True)
            if entry is not None:
                os.chown(folder, entry.pw_uid, entry.pw_gid)
        launcher.become(self._user)
        launcher.control(launcher.PR_SET_NO_NEW_PRIVS, 1)
        os.environ["HOME"] = self._home
        os.environ["TMPDIR"] = self._home

    def __exit__(self, *problem: Any) -> None:
        shutil.rmtree(self._home, ignore_errors=True)


def check(requirements: List[str]) -> Dict[str, Any]:
    """Sorts requirements into those that are there and those that are not."""
    found = {requirement: is_satisfied(requirement) for requirement in requirements}
    return {
        "satisfied": [requirement for requirement, is_there in found.items() if is_there],
        "missing": [requirement for requirement, is_there in found.items() if not is_there],
    }


def is_satisfied(text: str) -> bool:
    """Says whether a package is installed in a version that a requirement allows, with all that it needs itself."""
    grammar = requirement_grammar()
    if grammar is None:
        return is_plain_name(text) and version_of(text) is not None
    try:
        return all_are_there([grammar(text)], grammar)
    except ValueError:
        return False


def all_are_there(wanted: List[Any], grammar: Callable[[str], Any]) -> bool:
    """Says whether packages are installed in versions that are wanted, and all that they need, and so on."""
    seen = set()
    while wanted:
        requirement = wanted.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        version = version_of(requirement.name)
        if requirement.url or version is None or not requirement.specifier.contains(version, prereleases=True):
            return False
        wanted += needs_of(requirement.name, requirement.extras, grammar)
    return True


def needs_of(name: str, extras: Any, grammar: Callable[[str], Any]) -> List[Any]:
    """Returns what a package needs for some of its extras."""
    needed = []
    for text in importlib.metadata.requires(name) or []:
        other = grammar(text)
        if other.marker is None or any(other.marker.evaluate({"extra": extra}) for extra in (extras or {""})):
            needed.append(other)
    return needed


def requirement_grammar() -> Optional[Callable[[str], Any]]:
    """Returns what reads requirements: of the package packaging, or the copy that pip has of it."""
    for name in ("packaging", "pip._vendor.packaging"):
        try:
            module = __import__(name + ".requirements", fromlist=["Requirement"])
        except ImportError:
            continue
        grammar: Callable[[str], Any] = module.Requirement
        return grammar
    return None


def is_plain_name(text: str) -> bool:
    return text.replace("-", "").replace("_", "").replace(".", "").isalnum()


def version_of(name: str) -> Optional[str]:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def fetch(requirements: List[str], folder: str, find_links: Optional[str], tries: int = TRIES) -> Dict[str, Any]:
    """Collects wheels in a folder: from another folder if that has all, else from the index.

    All are fetched together, so that their versions go together. Where that fails since some of them are there for the
    interpreter only, the others will do, in versions that go with those.
    """
    given = ["--find-links", find_links] if find_links else []
    others = beside_installed(requirements)
    attempts = []
    if find_links:
        attempts += [[*given, "--no-index", *wanted] for wanted in (requirements, others) if wanted]
    attempts += [[*given, *requirements]] * tries
    if others:
        attempts.append([*given, *others])
    problems: List[str] = []
    for attempt, wanted in enumerate(attempts):
        if attempt and wanted == attempts[attempt - 1]:
            time.sleep(PAUSE_S)
        for name in wheels_in(folder)["wheels"]:
            os.remove(os.path.join(folder, name))
        problem = pip(["wheel", "--wheel-dir", folder, "--no-cache-dir", *wanted])
        if problem is None:
            return wheels_in(folder)
        problems.append(problem)
    raise Failed(problems[-1])


def beside_installed(requirements: List[str]) -> List[str]:
    """Returns pip's words for those requirements that are missing, bound to the versions of those that are there.

    Nothing if none is there: the words would be the same.
    """
    found = check(requirements)
    if not found["satisfied"] or not found["missing"]:
        return []
    grammar = requirement_grammar()
    names = [grammar(text).name if grammar else text for text in found["satisfied"]]
    path = os.path.join(tempfile.mkdtemp(dir=os.environ["HOME"]), "constraints.txt")
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"{name}=={version_of(name)}\n" for name in names)
    return ["--constraint", path, *found["missing"]]


def install(folder: str, target: str) -> Dict[str, Any]:
    """Installs the wheels of a folder into another, from which they can be imported."""
    wheels = [os.path.join(folder, name) for name in wheels_in(folder)["wheels"]]
    problem = pip(["install", "--no-index", "--no-deps", "--no-cache-dir", "--upgrade", "--target", target, *wheels])
    if problem is not None:
        raise Failed(problem)
    return {"target": target}


def wheels_in(folder: str) -> Dict[str, Any]:
    return {"wheels": sorted(name for name in os.listdir(folder) if name.endswith(".whl"))}


def pip(words: List[str]) -> Optional[str]:
    """Runs pip; returns its last lines if it fails."""
    command = [sys.executable, "-I", "-m", "pip", "--disable-pip-version-check", "--no-input", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    text = done.stdout.decode(errors="replace")
    sys.stderr.write(text)
    if done.returncode == 0:
        return None
    return "\n".join(text.splitlines()[-LAST_LINES:])
