#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What of the parsers the tests reach: lines and branches of each file that reads bytes from outside.

    tools/coverage.py            build with clang's counters, run unit tests and replay the fuzz corpora, print the table
    tools/coverage.py --html     and write what was not reached into build/coverage/html/

tests/coverage.txt lists the files, each with the least share of its branches that must be reached. Ends with 1 when one is
below its floor, or is not in the tree any more. A parser that is new is added there; a floor is raised when tests were added,
never lowered to let a change pass.
"""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "coverage"
LIST = ROOT / "tests" / "coverage.txt"
# Tests that wait much and parse little: what a lost connection does, not what it says.
NOT_FOR_THIS = "bus_close|bus_peers"


def fail(text):
    print(f"tools/coverage.py: {text}", file=sys.stderr)
    sys.exit(1)


def tool(name):
    """llvm's tools read only what a clang of their version wrote."""
    major = subprocess.run(["clang", "-dumpversion"], capture_output=True, text=True, check=True).stdout.split(".")[0]
    path = shutil.which(f"{name}-{major}") or shutil.which(name)
    return path or fail(f"{name} is missing: scripts/deps tests installs it (llvm)")


def run(what, *command, **options):
    """A step whose output is shown only when it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode:
        print(done.stdout[-4000:], file=sys.stderr)
        fail(f"{what} failed (above)")


def read_list():
    floors = {}
    for number, line in enumerate(LIST.read_text().splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or not words[1].isdigit():
            fail(f"{LIST.name}:{number}: write a file and the floor of its branches in percent")
        if not (ROOT / words[0]).is_file():
            fail(f"{LIST.name}:{number}: {words[0]} is not in the tree: name the file that took its place, or leave it out")
        floors[words[0]] = int(words[1])
    return floors


def measure():
    raw = BUILD / "raw"
    run("cmake", "cmake", "-S", str(ROOT), "--preset", "coverage", cwd=ROOT)
    run("the build", "cmake", "--build", str(BUILD))
    shutil.rmtree(raw, ignore_errors=True)
    # One file for each binary (%m), which its processes share.
    run("ctest", "ctest", "--test-dir", str(BUILD), "--output-on-failure", "--no-tests=error", "-j", str(os.cpu_count()),
        "-E", NOT_FOR_THIS, env=os.environ | {"LLVM_PROFILE_FILE": str(raw / "%4m.profraw")})
    run("llvm-profdata", tool("llvm-profdata"), "merge", "-sparse", "-o", str(BUILD / "all.profdata"),
        *map(str, raw.glob("*.profraw")))


def binaries():
    """What the tests ran: programs that ctest knows, the library, and plugins that they loaded."""
    found = [p for p in BUILD.rglob("*") if p.is_file() and not p.is_symlink() and "CMakeFiles" not in p.parts and
             (p.name.startswith(("test_", "fuzz_", "libwatchroom.so.")) or p.suffix == ".so") and os.access(p, os.X_OK)]
    return [argument for p in sorted(found) for argument in ("-object", str(p))][1:]


def cover(command, files, *options):
    return subprocess.run([tool("llvm-cov"), command, *options, "-instr-profile", str(BUILD / "all.profdata"), *binaries(),
                           *(str(ROOT / f) for f in files)], capture_output=True, text=True, check=True).stdout


def main():
    floors = read_list()
    measure()
    data = json.loads(cover("export", floors, "-summary-only"))["data"][0]
    share = {os.path.relpath(f["filename"], ROOT): f["summary"] for f in data["files"]}
    below = []
    print(f"{'lines':>7} {'branches':>9} {'floor':>6}  file")
    for name, floor in floors.items():
        if name not in share:
            fail(f"{name} is in no test: which one reads it?")
        lines, branches = share[name]["lines"], share[name]["branches"]
        mark = ""
        if branches["percent"] < floor:
            below.append(name)
            mark = "  <- below its floor"
        print(f"{lines['percent']:6.1f}% {branches['percent']:8.1f}% {floor:5d}%  {name}"
              f" ({branches['count'] - branches['covered']} of {branches['count']} branches not reached){mark}")
    if "--html" in sys.argv[1:]:
        cover("show", floors, "-format=html", "-show-branches=count", "-output-dir", str(BUILD / "html"))
        print(f"what was not reached: {BUILD / 'html' / 'index.html'}")
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main())
