#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run clang-tidy over what a build folder compiled, as fast as the machine has cores, and each file once.

    tools/tidy.py BUILD [PATH...]     all of the tree's files, or those below PATH

A file that was clean is not looked at again as long as nothing of it changed: itself, each header that it includes, its
command line, .clang-tidy, and clang-tidy. What that comes to is one hash, kept in build/tidy/. Findings are never
kept. Ends with 1 when there is one, with 2 when it cannot look.

Tests are spared the analyzer: it does not know that cmocka's assertions do not return, and what it would find in them the
sanitizers find when they run.

The version is pinned as clang-format's is: another one has other checks.
"""
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

VERSION = "14.0.6"
ROOT = Path(__file__).resolve().parent.parent
TESTS = re.compile(r"(_test|_suite|_conformance|_kit|_fuzz|_bench)\.c$|^tests/")
KEPT = ROOT / "build" / "tidy"


def fail(text):
    print(f"tools/tidy.py: {text}", file=sys.stderr)
    sys.exit(2)


def find_tool():
    """clang-tidy of the pinned version; where Debian has another one, the same from PyPI, once."""
    own = ROOT / "build" / "tools" / "bin" / "clang-tidy"
    for name in ("clang-tidy-14", "clang-tidy", str(own)):
        path = shutil.which(name)
        if path and f"version {VERSION}" in subprocess.run([path, "--version"], capture_output=True, text=True).stdout:
            return path
    subprocess.run([sys.executable, "-m", "venv", str(own.parent.parent)], check=True)
    subprocess.run([str(own.parent / "pip"), "install", "-q", "--disable-pip-version-check", f"clang-tidy=={VERSION}"],
                   check=True)
    return str(own)


def read_commands(build, below):
    database = build / "compile_commands.json"
    if not database.is_file():
        fail(f"{build} has no compile_commands.json: build it first (cmake --preset ci-clang && cmake --build build/ci-clang)")
    commands = {}
    for entry in json.loads(database.read_text()):
        name = os.path.relpath(entry["file"], ROOT)
        if not name.startswith(("..", "build/")) and (not below or any(name == b or name.startswith(b + "/") for b in below)):
            commands.setdefault(name, entry)
    return commands


def read_headers(build):
    """What each source file includes, from the list that ninja keeps of the last build: {source: [file, ...]}."""
    out = subprocess.run(["ninja", "-C", str(build), "-t", "deps"], capture_output=True, text=True)
    if out.returncode:
        fail(f"ninja knows nothing of {build}: {out.stderr.strip()}")
    headers = {}
    for block in out.stdout.split("\n\n"):
        lines = block.strip().splitlines()
        if len(lines) > 1:
            files = [os.path.normpath(build / line.strip()) for line in lines[1:]]
            headers.setdefault(os.path.relpath(files[0], ROOT), files)
    return headers


class Hashes:
    """Each file is read once. System headers count by name, size and time of change."""

    def __init__(self):
        self.known = {}

    def of(self, path):
        if path not in self.known:
            try:
                if path.startswith(str(ROOT)):
                    self.known[path] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
                else:
                    stat = os.stat(path)
                    self.known[path] = f"{stat.st_size} {stat.st_mtime_ns}"
            except FileNotFoundError:
                self.known[path] = "gone"
        return self.known[path]


def key_of(name, entry, headers, hashes, common):
    files = sorted({str(ROOT / name), *headers})
    text = "\n".join([common, entry["command"], *(f"{path} {hashes.of(path)}" for path in files)])
    return hashlib.sha256(text.encode()).hexdigest()


def look_at(tool, build, name):
    """What clang-tidy has to say of one file, without its count of what it kept to itself."""
    spared = ["--checks=-clang-analyzer-*"] if TESTS.search(name) else []
    run = subprocess.run([tool, "--quiet", *spared, "-p", str(build), name], cwd=ROOT, capture_output=True, text=True)
    text = "\n".join(line for line in (run.stdout + run.stderr).splitlines()
                     if not re.fullmatch(r"\d+ (warning|error)s? (and \d+ errors? )?generated\.", line))
    return run.returncode == 0 and not re.search(r": (warning|error): ", text), text.replace(f"{ROOT}/", "")


def main():
    if len(sys.argv) < 2:
        fail("which build folder? tools/tidy.py build/ci-clang")
    build = Path(sys.argv[1]).resolve()
    commands = read_commands(build, [os.path.relpath(path, ROOT) for path in sys.argv[2:]])
    if not commands:
        fail("nothing was compiled there")
    tool = find_tool()
    headers, hashes = read_headers(build), Hashes()
    common = VERSION + hashes.of(str(ROOT / ".clang-tidy"))
    KEPT.mkdir(parents=True, exist_ok=True)
    keys = {name: key_of(name, entry, headers.get(name, []), hashes, common) for name, entry in commands.items()}
    # Without the list of its headers a file cannot be known to be unchanged.
    todo = sorted(name for name in keys if name not in headers or not (KEPT / keys[name]).exists())
    printing, bad = threading.Lock(), []

    def one(name):
        clean, text = look_at(tool, build, name)
        if clean:
            (KEPT / keys[name]).touch()
            return
        with printing:
            bad.append(name)
            print(text.strip(), flush=True)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, todo))
    for path in KEPT.iterdir():
        if not sys.argv[2:] and path.name not in keys.values():
            path.unlink()
    print(f"clang-tidy: {len(keys)} files, {len(todo)} looked at, {len(bad)} with findings", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
